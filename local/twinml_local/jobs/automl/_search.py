"""Runs a task as a process of its own, and finds what it left."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azureml_runner.engine import Control
from azureml_runner.engine.process import StepFiles, StepProcess
from azureml_runner.files import write_atomic
from twinml.errors import PlatformError
from twinml_local.jobs.automl._task import AutoMLTask
from twinml_local.jobs.automl.worker import task_json

__all__ = ["Found", "run_search"]

OUT = "automl"
POLL_SECONDS = 0.3
TAIL_LINES = 8


@dataclass(frozen=True)
class Found:
    """What a search left in its folder.

    Attributes
    ----------
    folder
        Has a folder for each child, by its number.
    best
        The number of the best child.
    children
        How many there are.
    """

    folder: Path
    best: int
    children: int

    def child(self) -> dict[str, Any]:
        """Return the best child's ``algorithm``, ``score``, ``metrics``, ``params`` and more."""
        text = (self.folder / str(self.best) / "child.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    def deliver(self, outputs: Mapping[str, Path]) -> None:
        """Write the best child's MLflow model to every output."""
        for path in outputs.values():
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.folder / str(self.best) / "mlflow-model", path)


def run_search(
    task: AutoMLTask,
    data: Path,
    *,
    log: Path,
    mark: tuple[str, str],
    control: Control,
    timeout: float | None = None,
    look: Callable[[Path], None] = lambda folder: None,
) -> Found:
    """Run a task to its end.

    Parameters
    ----------
    data
        The table: an MLTable folder, or a data file.
    log
        Where the process writes; its other files are beside it.
    mark
        A variable that marks its processes, so that the engine finds what a crash leaves.
    timeout
        Seconds after which it is ended.
    look
        Is called now and then with the folder in which children appear, and once at the end.

    Raises
    ------
    PlatformError
        It failed, or took too long.
    Interrupted, Canceled
        ``control`` asked for it.
    """
    files = StepFiles(log.parent)
    out = files.folder / OUT
    out.mkdir(parents=True, exist_ok=True)
    task_file = files.folder / "task.json"
    write_atomic(task_file, task_json(task))
    name, value = mark
    words = [str(task_file), str(data), str(out)]
    process = StepProcess(
        [sys.executable, "-m", "twinml_local.jobs.automl.worker", *words],
        files=files,
        directory=files.folder,
        env={**os.environ, name: value, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        why = process.run(
            lambda: control.stopping, poll=POLL_SECONDS, timeout=timeout, look=lambda: look(out)
        )
    finally:
        code = process.close()
    if control.stopping:
        # Ended by us: its exit code says nothing about the work.
        files.exit.unlink(missing_ok=True)
        write_atomic(files.folder / "interrupted", "")
    control.check()
    if why == "late":
        raise PlatformError(f"the search was ended after {timeout:g} s, its timeout")
    if code != 0:
        said = files.log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise PlatformError("\n".join(said[-TAIL_LINES:]) or f"it ended with exit code {code}")
    look(out)
    best = json.loads((out / "best.json").read_text(encoding="utf-8"))
    return Found(out, int(best["best"]), int(best["children"]))
