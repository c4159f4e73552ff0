"""An emulator for a measurement, and the SDK's interpreter pointed at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROOT", "emulator", "run"]

ROOT = Path(__file__).resolve().parents[2]
_NOT_OURS = ("AZURE", "MSI_", "IDENTITY_")


@contextmanager
def emulator(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """Start an emulator on ``folder``; yield the environment that leads to it alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "emulator.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "azureml_emulator", "--json", "-v", "--directory",
             folder / "state", *options],
            stdout=subprocess.PIPE,
            stderr=log,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit((folder / "emulator.log").read_text(errors="replace")[-2000:])
        mine = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
        yield {**mine, **json.loads(line)}
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def run(python: Path, program: str, words: Sequence[str | Path], env: dict[str, str]) -> None:
    """Run a program of this folder with ``python``; its output is the user's to see."""
    path = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    subprocess.run(
        [python, "-m", f"tests.conformance.{program}", *words],
        env={**env, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        cwd=ROOT,
        check=True,
    )
