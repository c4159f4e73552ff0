"""Every supported Python, on every supported kind of machine, installs from wheels alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
MACHINES = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"]
# What the resolver says when no index answers.
NO_INDEX = ("Failed to fetch", "error sending request", "dns error")

pytestmark = pytest.mark.e2e


def test_the_classifiers_name_the_pythons_that_are_tried() -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [line for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert named == [f"Programming Language :: Python :: {one}" for one in PYTHONS]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_is_of_wheels(python: str, machine: str) -> None:
    """The locked versions, with their hashes: each has a wheel for this Python and machine."""
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", python, "--python-platform", machine),
            ROOT / "requirements" / "base.lock",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if any(words in done.stderr for words in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    assert "mlflow==" in done.stdout
