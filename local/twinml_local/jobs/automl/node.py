"""An ``automl`` node of a pipeline on this machine: read, checked, run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_runner.engine import Control
from azureml_runner.engine.attempt import StepFolder
from azureml_runner.engine.settings import bound_settings, with_values
from twinml.errors import PlatformError
from twinml_local.jobs import _schema as schema
from twinml_local.jobs.automl._task import read_task

if TYPE_CHECKING:
    from twinml_local.jobs.automl._search import Found

__all__ = ["OUTPUT", "TABLE", "check_node", "run_node"]

TABLE, OUTPUT = "training_data", "best_model"
_KEYS = {"": schema.AUTOML, "limits": schema.AUTOML_LIMITS, "training": schema.AUTOML_TRAINING}
# Without a timeout, and with more trials than are counted out.
MOST_SECONDS = 3600.0


def check_node(content: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the task of a node.

    Raises
    ------
    UsageError
        It asks for something that is not done here; the message names it.
    """
    for name, known in _KEYS.items():
        part = content.get(name) if name else content
        if isinstance(part, Mapping):
            schema.check_keys(part, known, f"{place}.{name}" if name else place)
    mode = (content.get("featurization") or {}).get("mode", "auto")
    if set(content.get("featurization") or {}) - {"mode"} or str(mode).lower() != "auto":
        raise schema.refused(f"{place}.featurization", "mode auto is there")
    task = {
        name: value for name, value in content.items() if name not in (TABLE, "outputs", "type")
    }
    # What is bound is known once a job starts: the rest is checked now.
    bound = dict.fromkeys(bound_settings(task), "1")
    if "primary_metric" in bound:
        bound["primary_metric"] = ""  # the task's first
    read_task(with_values(task, bound), most_seconds=MOST_SECONDS, cores=1)
    return task


def run_node(
    task: Mapping[str, Any],
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
    *,
    log: Path,
    control: Control,
    variables: Mapping[str, str],
) -> None:
    """Run a node and write the best model, an MLflow model, to its output.

    Parameters
    ----------
    inputs
        The table by ``training_data``, and the values of settings that are bound, by places.
    variables
        Name the step's MLflow run, if it has one: it gets the figures of the best model.

    Raises
    ------
    TwinmlError
        It failed.
    """
    from twinml_local.jobs.automl._search import run_search

    values = {name: value for name, value in inputs.items() if name != TABLE}
    read = read_task(
        with_values(task, values), most_seconds=MOST_SECONDS, cores=os.cpu_count() or 1
    )
    table = inputs.get(TABLE)
    if not isinstance(table, Path):
        raise PlatformError(f"the automl node has no {TABLE}")
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"{remark}\n" for remark in read.remarks)
    found = run_search(
        read,
        table,
        log=log,
        mark=StepFolder(log.parent.parent).mark,
        control=control,
        timeout=read.timeout,
    )
    found.deliver(outputs)
    _log(found, variables)


def _log(found: Found, variables: Mapping[str, str]) -> None:
    run_id = variables.get("MLFLOW_RUN_ID")
    if run_id is None:
        return
    from twinml.registry.tracking import Tracking

    client, child = Tracking(variables["MLFLOW_TRACKING_URI"]).client, found.child()
    for name, value in child["metrics"].items():
        client.log_metric(run_id, name, value)
    for name in ("algorithm", "score"):
        client.set_tag(run_id, f"best_{name}", str(child[name]))
