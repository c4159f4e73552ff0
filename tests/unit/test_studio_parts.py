"""Parts of the Studio's pages that are kept: by what they depend on, and made one at a time."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from markupsafe import Markup

from twinml_local.studio import _parts
from twinml_local.studio._monitoring import SPANS, beginning, state_of_files
from twinml_local.studio._parts import Part, Parts, key_of

KEY = key_of("code", ["profile", "a", "1"], "state")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TWINML_HOME", str(tmp_path))
    folder = tmp_path / "studio" / "parts"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("code", "words", "state"),
    [
        ("code2", ["profile", "a", "1"], "state"),
        ("code", ["drift", "a", "1"], "state"),
        ("code", ["profile", "a"], "1state"),
        ("code", ["profile", "a1"], "state"),
        ("code", ["profile", "a", "1"], "state2"),
        ("codeprofile", ["a", "1"], "state"),
    ],
)
def test_a_key_is_another_when_anything_is(code: str, words: list[str], state: str) -> None:
    assert key_of(code, words, state) != KEY


def test_a_part_is_found_by_all_that_it_depends_on(kept: Path) -> None:
    (kept / f"{KEY}.html").write_text("<p>1", encoding="utf-8")
    parts = Parts("code")
    found = parts.get(["profile", "a", "1"], "state")
    assert (found.html, found.waits) == (Markup("<p>1"), False)
    assert parts.look(KEY) == found
    for unknown in ("", "yes", "../keys", "0" * 64, KEY[:-1], KEY + "0"):
        assert parts.look(unknown) is None, unknown


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_a_part_that_cannot_be_made_says_so_and_is_tried_again(
    kept: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    parts = Parts("code")
    assert parts.get(["profile", "a", "1"], "state") == Part(KEY)
    problem = ended(parts).problem
    assert "the log of the site says why" in problem
    with monkeypatch.context() as patch:
        patch.setattr(_parts, "PROBLEM_SECONDS", 0.0)
        assert parts.get(["profile", "a", "1"], "state").waits
    assert ended(parts).problem == problem
    assert list(kept.iterdir()) == []


def test_a_part_is_made_once_and_the_oldest_go(
    kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_parts, "MOST_KEPT", 2)
    for number in range(3):
        (kept / f"{number}.html").touch()
        os.utime(kept / f"{number}.html", (number, number))
    program = tmp_path / "made"
    program.write_text(f'#!/bin/sh\necho "$3" >> {tmp_path}/log\necho "<p>$3"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    parts = Parts("code")
    for _ in range(3):
        parts.get(["profile", "a", "1"], "state")
    assert ended(parts).html == "<p>profile\n"
    assert (tmp_path / "log").read_text() == "profile\n"
    until = time.monotonic() + 60
    while len(list(kept.iterdir())) > 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert {file.name for file in kept.iterdir()} == {"2.html", f"{KEY}.html"}


def ended(parts: Parts) -> Part:
    until = time.monotonic() + 60
    while (found := parts.look(KEY)) is None or found.waits:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("span", "after", "later"),
    [("1h", 59, 0), ("1h", 60, 60), ("24h", 1439, 0), ("24h", 1440, 1440), ("7d", 10079, 0)],
)
def test_a_time_begins_anew_after_a_sixtieth_of_it(span: str, after: int, later: int) -> None:
    at = datetime(1970, 2, 1, tzinfo=UTC)
    at += SPANS["7d"] - timedelta(seconds=at.timestamp() % 10080)
    at += timedelta(seconds=-(at.timestamp() % (SPANS[span].total_seconds() / 60)))
    moved = beginning(at + timedelta(seconds=after), SPANS[span]) - beginning(at, SPANS[span])
    assert moved == timedelta(seconds=later)
    assert beginning(at, SPANS[span]) == at - SPANS[span]


def test_the_state_of_files_is_another_when_one_is(tmp_path: Path) -> None:
    (tmp_path / "hour").mkdir()
    file = tmp_path / "hour" / "a.jsonl"
    states = [state_of_files(tmp_path), state_of_files(tmp_path / "none")]
    assert states == ["", ""]
    file.write_text("1")
    states.append(state_of_files(tmp_path))
    os.utime(file, ns=(5, 5))
    states.append(state_of_files(tmp_path))
    file.write_text("12")
    os.utime(file, ns=(5, 5))
    states.append(state_of_files(tmp_path))
    (tmp_path / "b").touch()
    states.append(state_of_files(tmp_path))
    assert state_of_files(tmp_path) == states[-1]
    assert len(set(states)) == 5
