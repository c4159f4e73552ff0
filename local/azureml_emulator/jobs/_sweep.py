"""Runs sweeps: every trial is a child run with a command of its own, the best one is named.

::

    job             best_child_run_id, score; its outputs are those of the best trial
    ├── job_0       one trial each: hyperparameters, metrics, logs, artifacts, outputs
    └── job_1 …

A sweep that was interrupted goes on: trials that ended stay as they ended.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azureml_emulator.jobs._sweep_task import SweepTask
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import (
    Asset,
    CommandNode,
    Control,
    Literal,
    Outcome,
)
from azureml_runner.errors import RunnerError

__all__ = ["Trial", "run_sweep"]

# Of each trial's process there is one more of a shell; more at once would only wait.
MOST_AT_ONCE = 4
POLL_SECONDS = 0.2

# Runs the command of a trial in a folder as a given run: the host does.
RunTrial = Callable[[Run, CommandNode, Path, Control], Outcome]


@dataclass(frozen=True)
class Trial:
    """How a trial ended; ``outputs`` are paths of this machine."""

    number: int
    run: str
    status: str
    metric: float | None
    outputs: Mapping[str, Path]
    error: str | None = None


def run_sweep(
    records: Records,
    run: Run,
    task: SweepTask,
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
    run_trial: RunTrial,
    *,
    log: Path,
    control: Control,
) -> None:
    """Run the trials of a sweep and keep the best one's outputs.

    Parameters
    ----------
    run
        The sweep's own run.
    inputs
        Text or path by name.
    outputs
        Where the outputs of the best trial go.
    log
        Gets a line for every trial that ended.

    Raises
    ------
    RunnerError
        No trial completed, or none logged the primary metric.
    """
    for remark in task.remarks:
        records.warn(run, remark)
    sweep = _Sweep(records, run, task, _given(inputs), run_trial, log, control)
    trials = sweep.run()
    control.check()
    best = _best(trials, task)
    records.runs.change(
        run.id,
        properties={"best_child_run_id": best.run, "score": repr(best.metric)},
    )
    sweep.say(f"best: {best.run} with {task.metric} = {best.metric:.6g}")
    for name, path in outputs.items():
        _copy(best.outputs[name], path)


class _Sweep:
    def __init__(
        self,
        records: Records,
        run: Run,
        task: SweepTask,
        given: Mapping[str, Literal | Asset],
        run_trial: RunTrial,
        log: Path,
        control: Control,
    ) -> None:
        self._records, self._run, self._task, self._given = records, run, task, given
        self._run_trial, self._log, self._asked = run_trial, log, control
        # Beside the attempts of the step: a later attempt finds the trials of an earlier one.
        self._folder = log.parent.parent / "trials"
        self._control = Control(parent=control)
        self._deadline = None if task.seconds is None else time.monotonic() + task.seconds
        self._saying = threading.Lock()

    def say(self, text: str) -> None:
        """Write a line to the sweep's log."""
        with self._saying, self._log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def run(self) -> list[Trial]:
        """Run all trials and return those that began."""
        drawn = self._task.values(self._run.id)
        workers = max(1, min(self._task.most_at_once, os.cpu_count() or 1, MOST_AT_ONCE))
        self.say(f"{len(drawn)} trials ({self._task.algorithm}), {workers} at once")
        watch = threading.Thread(target=self._watch, name="sweep-timeout", daemon=True)
        watch.start()
        try:
            with ThreadPoolExecutor(workers, "trial") as pool:
                found = list(pool.map(self._trial, range(len(drawn)), drawn))
        finally:
            self._control.cancel()
            watch.join()
        return [trial for trial in found if trial is not None]

    def _watch(self) -> None:
        while self._deadline is not None and not self._control.stopping:
            if time.monotonic() > self._deadline:
                self.say(f"the timeout of {self._task.seconds:g} s is over")
                self._control.cancel()
            time.sleep(POLL_SECONDS)

    def _trial(self, number: int, values: Mapping[str, Any]) -> Trial | None:
        if self._control.stopping:
            return None
        records, parent = self._records, self._run
        name = f"{parent.id}_{number}"
        words = json.dumps(dict(values))
        child = records.runs.add(
            name,
            workspace=parent.workspace,
            kind="azureml.scriptrun",
            experiment=parent.experiment,
            display=name,
            parent=parent,
            details={
                "target": parent.details.get("target"),
                "tags": {"hyperparameters": words},
                "properties": {"azureml.runsource": "hyperdrive", "hyperparameters": words},
            },
        )
        node = self._task.node(values, self._given)
        folder = self._folder / str(number)
        outcome = None
        if child.status not in ("Failed", "Canceled"):
            folder.mkdir(parents=True, exist_ok=True)
            outcome = self._run_trial(child, node, folder, self._control)
        status = outcome.status if outcome is not None else child.status
        metric = self._metric(name) if status == "Completed" else None
        self.say(
            f"trial {number} ({', '.join(f'{k}={v}' for k, v in values.items())}): {status}"
            + ("" if metric is None else f", {self._task.metric} = {metric:.6g}")
        )
        steps = outcome.steps.values() if outcome is not None else ()
        outputs = {item: path for event in steps for item, path in event.outputs.items()}
        error = outcome.error if outcome is not None else None
        return Trial(number, name, status, metric, outputs, error)

    def _metric(self, run: str) -> float | None:
        logged = self._records.tracking.find(self._run.workspace, run)
        value = None if logged is None else logged.data.metrics.get(self._task.metric)
        return None if value is None or math.isnan(value) else float(value)


def _given(inputs: Mapping[str, str | Path | None]) -> dict[str, Literal | Asset]:
    return {
        name: Asset(str(value)) if isinstance(value, Path) else Literal(value)
        for name, value in inputs.items()
        if value is not None
    }


def _best(trials: list[Trial], task: SweepTask) -> Trial:
    completed = [trial for trial in trials if trial.status == "Completed"]
    if not completed:
        first = next((trial.error for trial in trials if trial.error), "none began")
        raise RunnerError(f"none of the {len(trials)} trials completed; the first: {first}")
    rated = [trial for trial in completed if trial.metric is not None]
    if not rated:
        raise RunnerError(
            f"no trial logged the primary metric '{task.metric}'",
            hint="Log it with mlflow.log_metric in the trial's script.",
        )
    sign = 1.0 if task.maximise else -1.0
    return max(rated, key=lambda trial: (sign * (trial.metric or 0.0), -trial.number))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
