"""Runs AutoML tasks, and leaves what the service leaves: children, metrics, tags, artifacts.

::

    job                      tags automl_best_child_run_id, …; the best child's metrics
    ├── job_0 … job_4        one learner each, outputs/mlflow-model, metrics, run_algorithm
    ├── job_5                VotingEnsemble
    └── job_6                StackEnsemble
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs.automl_task import AutoMLTask, read_task
from azureml_emulator.jobs.automl_worker import task_json
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from twinml.errors import PlatformError
from twinml_local.jobs.engine import Control, Step
from twinml_local.jobs.engine.process import StepFiles, StepProcess
from twinml_local.processes import write_atomic

__all__ = ["check_task", "keep_children", "run_automl"]

OUT = "automl"
POLL_SECONDS = 0.3
TAIL_LINES = 8


def check_task(task: Mapping[str, Any]) -> None:
    """Raise ``ArmError`` for a task that is not run here."""
    read_task(task, most_seconds=1.0, cores=1)


def run_automl(
    records: Records,
    run: Run,
    step: Step,
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
    *,
    log: Path,
    control: Control,
    mark: tuple[str, str],
    most_seconds: float,
) -> None:
    """Run a task as a process of its own and keep its children as they appear.

    Parameters
    ----------
    run
        The run of the task.
    log
        Where the process writes.
    mark
        A variable that marks its processes, so that the engine finds what a crash leaves.
    most_seconds
        The time that it may take.

    Raises
    ------
    PlatformError
        It failed.
    """
    others = tuple(name for name in inputs if name != "training_data" and inputs[name])
    try:
        task = read_task(
            step.node.spec,  # type: ignore[union-attr]
            most_seconds=most_seconds,
            cores=os.cpu_count() or 1,
            others=others,
        )
    except ArmError as error:
        raise PlatformError(error.message) from error
    for remark in task.remarks:
        records.warn(run, remark)
    data = inputs.get("training_data")
    if not isinstance(data, Path):
        raise PlatformError("the task has no training_data")
    files = StepFiles(log.parent)
    out = files.folder / OUT
    out.mkdir(parents=True, exist_ok=True)
    task_file = files.folder / "task.json"
    write_atomic(task_file, task_json(task))
    records.runs.change(run.id, properties=_parent_properties(task, run))
    _run_worker([str(task_file), str(data), str(out)], files, control, mark, records, run, task)
    best = _best(out)
    for path in outputs.values():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(out / str(best) / "mlflow-model", path)


def _run_worker(
    arguments: list[str],
    files: StepFiles,
    control: Control,
    mark: tuple[str, str],
    records: Records,
    run: Run,
    task: AutoMLTask,
) -> None:
    name, value = mark
    process = StepProcess(
        [sys.executable, "-m", "azureml_emulator.jobs.automl_worker", *arguments],
        files=files,
        directory=files.folder,
        env={**os.environ, name: value, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    out = files.folder / OUT
    try:
        process.go()
        while not process.ended():
            if control.stopping:
                process.end()
                break
            keep_children(records, run, out, task)
            time.sleep(POLL_SECONDS)
    finally:
        code = process.close()
    control.check()
    if code != 0:
        words = files.log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise PlatformError("\n".join(words[-TAIL_LINES:]) or f"it ended with exit code {code}")
    keep_children(records, run, out, task)
    _finish(records, run, out, task)


def keep_children(records: Records, run: Run, out: Path, task: AutoMLTask) -> None:
    """Keep the children that are complete and not kept yet."""
    for path in sorted(out.glob("*/child.json"), key=lambda path: int(path.parent.name)):
        number = int(path.parent.name)
        child = records.runs.get(f"{run.id}_{number}")
        if child is None or not child.over:
            _keep_child(records, run, path.parent, number, task)


def _keep_child(records: Records, run: Run, folder: Path, number: int, task: AutoMLTask) -> None:
    content = json.loads((folder / "child.json").read_text(encoding="utf-8"))
    name = f"{run.id}_{number}"
    weights: Mapping[str, float] = content["weights"]
    properties = {
        "runTemplate": "automl_child",
        "iteration": str(number),
        "run_algorithm": content["algorithm"],
        "run_preprocessor": "",
        "primary_metric": task.primary_metric,
        "score": repr(content["score"]),
        "fit_time": f"{content['seconds']:.3f}",
        "model_output_path": "outputs/mlflow-model",
        "model_name": f"AutoML{run.id.replace('_', '')[:16]}{number}",
        "azureml.runsource": "automl",
    }
    if weights:
        properties["ensembled_algorithms"] = json.dumps(list(weights))
        properties["ensemble_weights"] = json.dumps(list(weights.values()))
    child = records.runs.add(
        name,
        workspace=run.workspace,
        kind="azureml.scriptrun",
        experiment=run.experiment,
        display=name,
        parent=run,
        details={"properties": properties, "target": run.details.get("target")},
    )
    records.begin(child)
    records.set_status(child, "Running")
    artifacts = records.artifacts(child) / "outputs"
    records.places.remove(artifacts)
    records.places.store(folder / "mlflow-model", artifacts / "mlflow-model")
    records.places.store_file(
        folder / "mlflow-model" / "conda.yaml", artifacts / "conda_env_v_1_0_0.yml"
    )
    records.tracking.log(
        run.workspace,
        name,
        metrics=content["metrics"],
        params={"algorithm": content["algorithm"], **content["params"]},
        tags={"model_explain_run": "no"},
    )
    records.set_status(child, "Completed")


def _finish(records: Records, run: Run, out: Path, task: AutoMLTask) -> None:
    """Give the parent what clients look for: the best child's name and metrics."""
    best = _best(out)
    content = json.loads((out / str(best) / "child.json").read_text(encoding="utf-8"))
    records.tracking.log(
        run.workspace,
        run.id,
        metrics=content["metrics"],
        tags={
            "automl_best_child_run_id": f"{run.id}_{best}",
            "model_explain_run": "best_run",
            "_aml_system_azureml.automlComponent": "AutoML",
            "best_score": repr(content["score"]),
            "best_algorithm": content["algorithm"],
        },
    )
    count = json.loads((out / "best.json").read_text(encoding="utf-8"))["children"]
    records.runs.change(run.id, properties={"num_iterations": str(count)})


def _best(out: Path) -> int:
    return int(json.loads((out / "best.json").read_text(encoding="utf-8"))["best"])


def _parent_properties(task: AutoMLTask, run: Run) -> dict[str, str]:
    return {
        "runTemplate": "AutoML",
        "azureml.runsource": "automl",
        "task_type": "classification",
        "primary_metric": task.primary_metric,
        "num_cross_validation": str(task.folds),
        "target": str(run.details.get("target")),
        "label_column_name": task.target,
    }
