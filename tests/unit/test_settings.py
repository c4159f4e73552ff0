"""Where the state folder is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinml.settings import home, home_is_elsewhere


@pytest.fixture
def nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, two below ``tmp_path / 'project'``; no home is named."""
    folder = tmp_path / "project" / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TWINML_HOME")
    return folder


def test_without_any_it_is_a_new_one_in_the_current_folder(nested: Path) -> None:
    assert home() == nested / ".twinml"
    assert not home_is_elsewhere()


@pytest.mark.parametrize("place", ["..", "../.."])
def test_the_nearest_one_above_is_used(nested: Path, place: str) -> None:
    (nested / "../../.twinml").resolve().mkdir()
    (nested / place / ".twinml").resolve().mkdir(exist_ok=True)
    assert home() == (nested / place / ".twinml").resolve()
    assert home_is_elsewhere()


def test_one_here_comes_before_one_above(nested: Path) -> None:
    (nested.parent / ".twinml").mkdir()
    (nested / ".twinml").mkdir()
    assert home() == nested / ".twinml"
    assert not home_is_elsewhere()


def test_the_environment_comes_first(
    nested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nested.parent / ".twinml").mkdir()
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "named"))
    assert home() == tmp_path / "named"
    assert not home_is_elsewhere()


def test_a_file_of_that_name_is_none(nested: Path) -> None:
    (nested.parent / ".twinml").touch()
    assert home() == nested / ".twinml"


@pytest.mark.skipif(os.name == "nt", reason="no owners of this kind")
def test_that_of_another_user_above_is_not_used(
    nested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nested.parent / ".twinml").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: (nested.parent / ".twinml").stat().st_uid + 1)
    assert home() == nested / ".twinml"
