"""Runs AutoML tasks and records child runs, metrics, tags and artifacts as the service does.

::

    job                      tags automl_best_child_run_id, …; the best child's metrics
    ├── job_0 … job_4        one learner each: metrics, run_algorithm, and in outputs
    │                        mlflow-model, model.pkl, scoring_file_v_1_0_0.py, …
    ├── job_5                VotingEnsemble
    └── job_6                StackEnsemble
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._bindings import TABLES
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import Control, Step
from azureml_runner.engine.settings import with_values
from azureml_runner.errors import RunnerError

__all__ = ["AutoML", "check_task", "keep_children", "run_automl"]

_SCORING = Path(__file__).parents[1] / "inference" / "inside"
ENTRY_POINT = "azureml_emulator.automl"


class Task(Protocol):
    """A task that was read; ``remarks`` say where a run departs from it."""

    kind: str
    target: str
    primary_metric: str
    folds: int
    remarks: tuple[str, ...]


class Found(Protocol):
    """What a search found: its best child's number, and how many there are."""

    best: int
    children: int

    def child(self) -> dict[str, Any]:
        """Return the best child's ``algorithm``, ``score``, ``metrics`` and ``params``."""

    def deliver(self, outputs: Mapping[str, Path]) -> None:
        """Write the best child's MLflow model to every output."""


class AutoML(Protocol):
    """What runs AutoML tasks: whichever package offers the entry point ``ENTRY_POINT``.

    ``TwinmlError`` is the base of what it refuses, with a ``message``; ``TaskNotRun`` is for a
    task that is valid on Azure and not run here.
    """

    TwinmlError: type[Exception]
    TaskNotRun: type[Exception]

    def read_task(
        self, task: Mapping[str, Any], *, most_seconds: float, cores: int, others: tuple[str, ...]
    ) -> Task:
        """Return what a task asks for; ``others`` names tables beside the training data."""

    def run_search(
        self,
        task: Task,
        data: Path,
        *,
        log: Path,
        mark: tuple[str, str],
        control: Control,
        look: Callable[[Path], None],
    ) -> Found:
        """Run it; ``look`` is called with the folder in which a folder for each child appears."""


@cache
def _automl() -> AutoML:
    """Return what runs tasks; raises ``ArmError`` if no installed package does."""
    try:
        (point,) = entry_points(group=ENTRY_POINT)
        found: AutoML = point.load()
    except (ValueError, ImportError) as error:
        raise ArmError(
            400,
            "NotImplementedByEmulator",
            "AutoML jobs are run by a package that is not installed: install twinml.",
        ) from error
    return found


def check_task(task: Mapping[str, Any]) -> None:
    """Raise ``ArmError`` for a task that is not run here."""
    _read(task, most_seconds=1.0)


def _read(task: Mapping[str, Any], *, most_seconds: float, others: tuple[str, ...] = ()) -> Task:
    """Return what a task asks for; raises ``ArmError``."""
    automl = _automl()
    limits = task.get("limitSettings")
    if isinstance(limits, Mapping) and (asked := seconds(limits.get("timeout"))):
        task = {**task, "limitSettings": {**limits, "timeoutMinutes": asked / 60}}
    try:
        return automl.read_task(
            task, most_seconds=most_seconds, cores=os.cpu_count() or 1, others=others
        )
    except automl.TaskNotRun as error:
        raise ArmError(400, "NotImplementedByEmulator", str(error)) from error
    except automl.TwinmlError as error:
        raise ArmError(400, "ValidationError", str(error)) from error


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
    inputs
        Tables by name, and the values of settings that are bound, by their places.
    log
        Where the process writes.
    mark
        A variable that marks its processes, so that the engine finds what a crash leaves.
    most_seconds
        The time that it may take.

    Raises
    ------
    ArmError
        It is not run here, or its settings are not valid.
    RunnerError
        It failed.
    """
    bound = {name: value for name, value in inputs.items() if name not in TABLES}
    tables = tuple(name for name in TABLES if name != "training_data" and inputs.get(name))
    task = _read(
        with_values(step.node.spec, bound),  # type: ignore[union-attr]
        most_seconds=most_seconds,
        others=tables,
    )
    for remark in task.remarks:
        records.warn(run, remark)
    data = inputs.get("training_data")
    if not isinstance(data, Path):
        raise RunnerError("the task has no training_data")
    records.runs.change(run.id, properties=_parent_properties(task, run))
    automl = _automl()
    try:
        found = automl.run_search(
            task,
            data,
            log=log,
            mark=mark,
            control=control,
            look=lambda folder: keep_children(records, run, folder, task),
        )
    except automl.TwinmlError as error:
        raise RunnerError(getattr(error, "message", str(error))) from error
    _finish(records, run, found)
    found.deliver(outputs)


def keep_children(records: Records, run: Run, out: Path, task: Task) -> None:
    """Keep the children that are complete and not kept yet."""
    for path in sorted(out.glob("*/child.json"), key=lambda path: int(path.parent.name)):
        number = int(path.parent.name)
        child = records.runs.get(f"{run.id}_{number}")
        if child is None or not child.over:
            _keep_child(records, run, path.parent, number, task)


def _keep_child(records: Records, run: Run, folder: Path, number: int, task: Task) -> None:
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
    records.datastores.remove(artifacts)
    records.datastores.store(folder / "mlflow-model", artifacts / "mlflow-model")
    for path, kept_as in _beside(folder / "mlflow-model"):
        records.datastores.store_file(path, artifacts / kept_as)
    records.tracking.log(
        run.workspace,
        name,
        metrics=content["metrics"],
        params={"algorithm": content["algorithm"], **content["params"]},
        tags={"model_explain_run": "no"},
    )
    records.set_status(child, "Completed")


def _beside(model: Path) -> list[tuple[Path, str]]:
    """Return what a child run's outputs have beside the MLflow model, and under which names.

    The pickled model is the one in it; where that needs modules of its own, they are beside it.
    """
    pickled = model / "data" / "pipeline.pkl"
    return [
        (model / "conda.yaml", "conda_env_v_1_0_0.yml"),
        *((_SCORING / f"automl_v{n}.py", f"scoring_file_v_{n}_0_0.py") for n in (1, 2)),
        *([(pickled, "model.pkl")] if pickled.is_file() else []),
        *((path, path.name) for path in sorted((model / "code").glob("*.py"))),
    ]


def _finish(records: Records, run: Run, found: Found) -> None:
    """Record the best child's name and metrics in the parent run, where clients read them."""
    content = found.child()
    records.tracking.log(
        run.workspace,
        run.id,
        metrics=content["metrics"],
        tags={
            "automl_best_child_run_id": f"{run.id}_{found.best}",
            "model_explain_run": "best_run",
            "_aml_system_azureml.automlComponent": "AutoML",
            "best_score": repr(content["score"]),
            "best_algorithm": content["algorithm"],
        },
    )
    records.runs.change(run.id, properties={"num_iterations": str(found.children)})


def _parent_properties(task: Task, run: Run) -> dict[str, str]:
    return {
        "runTemplate": "AutoML",
        "azureml.runsource": "automl",
        "task_type": task.kind,
        "primary_metric": task.primary_metric,
        "num_cross_validation": str(task.folds),
        "target": str(run.details.get("target")),
        "label_column_name": task.target,
    }
