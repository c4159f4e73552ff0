"""Runs a signal of a monitor: what it measures becomes metrics and artifacts of its run.

The figures come from whichever package offers the entry point ``ENTRY_POINT``: a module that is
started with the folder of a step, reads ``request.json`` there, and writes the folder ``output``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import Control, Step
from azureml_runner.engine.process import StepFiles, StepProcess
from azureml_runner.errors import RunnerError
from azureml_runner.files import write_atomic

__all__ = ["SIGNAL", "check_measured", "is_signal", "run_monitor"]

# The input of a signal's component that holds what is asked for, as JSON.
SIGNAL = "signal"
_COMPONENT = re.compile(r"azureml://registries/azureml/components/\w+_signal_monitor/.+")
ENTRY_POINT = "azureml_emulator.monitoring"
POLL_SECONDS = 0.1
TAIL_LINES = 4


def is_signal(node: Mapping[str, Any]) -> bool:
    """Return whether a node of a pipeline is a signal that a schedule has asked for."""
    component = node.get("componentId")
    is_component = isinstance(component, str) and _COMPONENT.fullmatch(component) is not None
    return is_component and SIGNAL in (node.get("inputs") or {})


def check_measured() -> str:
    """Return the module that measures; raises ``ArmError`` if no installed package has one."""
    for point in entry_points(group=ENTRY_POINT):
        return point.value
    raise ArmError(
        400,
        "NotImplementedByEmulator",
        "Monitors are measured by a package that is not installed: install twinml.",
    )


def run_monitor(
    records: Records,
    run: Run,
    step: Step,
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
    *,
    log: Path,
    control: Control,
    mark: tuple[str, str],
) -> None:
    """Measure one signal.

    Raises
    ------
    RunnerError
        It could not be measured.
    """
    files = StepFiles(log.parent)
    spec: Any = step.node.spec  # type: ignore[union-attr]
    request = {**spec, **{name: str(path) for name, path in inputs.items() if path is not None}}
    write_atomic(files.folder / "request.json", json.dumps(request))
    name, value = mark
    process = StepProcess(
        [sys.executable, "-m", check_measured(), str(files.folder)],
        files=files,
        directory=files.folder,
        env={**os.environ, name: value, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        process.run(lambda: control.stopping, poll=POLL_SECONDS)
    finally:
        code = process.close()
    control.check()
    if code != 0:
        said = files.log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RunnerError("\n".join(said[-TAIL_LINES:]) or f"it ended with exit code {code}")
    _keep(records, run, files.folder / "output", outputs)


def _keep(records: Records, run: Run, found: Path, outputs: Mapping[str, Path]) -> None:
    """Keep what was measured: metrics of the run, artifacts, outputs, warnings of thresholds."""
    measured: list[dict[str, Any]] = json.loads((found / "metrics.json").read_text("utf-8"))
    metrics = {
        _metric_name(f"{row['feature_name']}.{row['metric_name']}"): row["metric_value"]
        for row in measured
        if row["metric_value"] is not None
    }
    beyond = [row for row in measured if row["beyond"]]
    metrics["metrics_beyond_threshold"] = float(len(beyond))
    records.tracking.log(run.workspace, run.id, metrics=metrics)
    for row in beyond:
        records.warn(
            run,
            f"{row['metric_name']} of '{row['feature_name']}' is {row['metric_value']:.4g}, beyond "
            f"its threshold, {row['threshold_value']:g}.",
        )
    records.datastores.store(found, records.artifacts(run) / "outputs")
    for path in outputs.values():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(found, path)


def _metric_name(text: str) -> str:
    """Return a name that MLflow takes for a metric."""
    return re.sub(r"[^\w.\- /]", "_", text)
