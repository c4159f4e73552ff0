"""The documents say what is there, and all of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from twinml import __version__
from twinml.cli import VERBS, main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKDOWN = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data").glob("*.md")]
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme_and_explains_itself(verb: str) -> None:
    assert re.search(rf"^\| [^|]*`{verb}`[^|]* \|", README, re.MULTILINE)
    shown = CliRunner().invoke(main, [verb, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage:" in shown.output


def test_the_help_page_lists_every_verb_without_importing_it() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(re.search(rf"^  {verb} ", shown, re.MULTILINE) for verb in VERBS)


def test_the_readme_names_no_verb_that_is_not_there() -> None:
    said = set(
        re.findall(r"twinml ([a-z]+)\b(?! is| registers)", " ".join(re.findall(r"`[^`]+`", README)))
    )
    assert said <= set(VERBS)


def test_make_help_lists_every_target_a_user_calls() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"\b{target}\b", shown), target
    for target in set(re.findall(r"`make ([a-z-]+)", README)):
        assert target in phony[1].split(), target


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_drawn_house_is_the_house() -> None:
    drawn = README[README.index("## The house") :]
    for folder in re.findall(r"^([a-z_]+/(?:[a-z_]+/)?)  ", drawn, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_locks_are_hashed_and_name_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text
