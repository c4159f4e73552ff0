"""``twinml report``, run as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def twinml_report(home: Path, *options: str, browser: Path | None = None) -> tuple[int, str, str]:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["TWINML_HOME"] = str(home)
    if browser:
        environment["BROWSER"] = f"{browser} %s"
    done = subprocess.run(
        [sys.executable, "-m", "twinml", "report", *options],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A home with two reports; the one that is first by name is the newer."""
    for name, written in (("a-run", 2_000), ("b-run", 1_000)):
        path = tmp_path / "reports" / name / "report.html"
        path.parent.mkdir(parents=True)
        path.write_text("<!DOCTYPE html>", encoding="utf-8")
        os.utime(path, (written, written))
    return tmp_path


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A program that writes down what it is asked to open."""
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def test_prints_the_newest_report(reports: Path) -> None:
    code, out, _ = twinml_report(reports)
    assert code == 0
    assert out.strip() == str(reports / "reports" / "a-run" / "report.html")


def test_opens_it_in_the_browser(reports: Path, browser: Path) -> None:
    code, out, _ = twinml_report(reports, "--json", browser=browser)
    newest = reports / "reports" / "a-run" / "report.html"
    assert code == 0
    assert json.loads(out) == {"report": str(newest), "opened": True}
    assert (reports / "opened").read_text().strip() == newest.as_uri()


def test_no_open_does_not_open(reports: Path, browser: Path) -> None:
    code, out, _ = twinml_report(reports, "--no-open", "--json", browser=browser)
    assert code == 0
    assert json.loads(out)["opened"] is False
    assert not (reports / "opened").exists()


def test_without_a_display_it_only_prints(reports: Path) -> None:
    code, out, _ = twinml_report(reports, "--json")
    assert code == 0
    assert json.loads(out)["opened"] is False


def test_without_a_report_it_says_how_to_make_one(tmp_path: Path) -> None:
    code, out, err = twinml_report(tmp_path)
    assert (code, out) == (1, "")
    assert "there is no report" in err
    assert "twinml run" in err
    assert "Traceback" not in err


def test_without_a_report_json_has_the_one_error_shape(tmp_path: Path) -> None:
    code, out, _ = twinml_report(tmp_path, "--json")
    assert code == 1
    assert json.loads(out)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
