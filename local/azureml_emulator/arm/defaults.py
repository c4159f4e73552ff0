"""What the service fills in where a body leaves it out, and how it spells what was sent. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azureml_runner.engine import PATH_TYPES

__all__ = ["filled_component", "filled_job", "folder_uri", "moment", "with_modes"]

INPUT_MODE, OUTPUT_MODE = "ReadOnlyMount", "ReadWriteMount"
_CURATED = re.compile(
    r"(?:azureml:|.*/environments/)(AzureML-[^:@/]+)(?:[:]|/versions/|(?P<label>@|/labels/))([^/]+)",
    re.IGNORECASE,
)

_VERSION = re.compile(r"azureml:([^:@/]+):([^:@/]+)")
_LEFT_OUT = ("_source", "sourceJobId", "source_job_id")
_PARALLEL = {
    "error_threshold": -1, "logging_level": "INFO",
    "retry_settings": {"max_retries": 3, "timeout": 60},
}  # fmt: skip
_RESOURCES = {"instanceCount": 1, "shmSize": "2g"}
_NOTED_SETTINGS = {
    "azureml.defaultComputeName": "defaultcompute",
    "azureml.defaultDataStoreName": "defaultdatastore",
    "azureml.enforceRerun": "forcererun",
}
_DISTRIBUTIONS = {"pytorch": "Pytorch", "mpi": "Mpi", "tensorflow": "TensorFlow"}
# The tables of an AutoML task, which have modes as inputs do.
_TABLES = ("trainingData", "validationData", "testData")


def with_modes(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's properties, its inputs and outputs with the modes that are taken for them.

    Examples
    --------
    >>> with_modes({"inputs": {"a": {"jobInputType": "uri_file", "uri": "azureml:a:1"}}})
    {'inputs': {'a': {'mode': 'ReadOnlyMount', 'jobInputType': 'uri_file', 'uri': 'azureml:a:1'}}}
    """
    filled = dict(properties)
    for name, kind, mode in (
        ("inputs", "jobInputType", INPUT_MODE),
        ("outputs", "jobOutputType", OUTPUT_MODE),
    ):
        items = properties.get(name)
        if isinstance(items, Mapping):
            filled[name] = {key: _with_mode(item, kind, mode) for key, item in items.items()}
    task = properties.get("taskDetails")
    if isinstance(task, Mapping):
        tables = {name: task[name] for name in _TABLES if task.get(name)}
        filled["taskDetails"] = {
            **task,
            **{key: _with_mode(item, "jobInputType", INPUT_MODE) for key, item in tables.items()},
        }
    return filled


def _with_mode(item: Any, kind: str, mode: str) -> Any:
    if not isinstance(item, Mapping) or item.get(kind) not in PATH_TYPES:
        return item
    return {"mode": mode, **{name: value for name, value in item.items() if value is not None}}


def filled_job(properties: Mapping[str, Any], workspace: str) -> dict[str, Any]:
    """Return a job's properties with all that is taken for what they leave out.

    Besides the modes these are one node, the whole id of a trial's environment, and what the
    service notes down of a pipeline. ``workspace`` is an ARM id.
    """
    filled = with_modes(properties)
    kind = filled.get("jobType")
    of_trial = kind == "Sweep" and isinstance(filled.get("trial"), Mapping)
    sized = dict(filled["trial"]) if of_trial else filled
    if of_trial or kind in ("Command", "AutoML"):
        sized["resources"] = {**_RESOURCES, **_given(sized.get("resources"))}
    if of_trial:
        named = _VERSION.fullmatch(str(sized.get("environmentId")))
        if named is not None:
            path = f"{workspace}/environments/{named[1]}/versions/{named[2]}"
            sized["environmentId"] = path
        filled["trial"] = sized
    noted = _noted(filled)
    if noted:
        filled["properties"] = {**_given(filled.get("properties")), **noted}
    return filled


def _noted(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return what the service notes down of a job.

    >>> _noted({"jobType": "Pipeline", "inputs": {"a": {"jobInputType": "literal", "value": "1"}}})[
    ...     "azureml.parameters"]
    '{"a":"1"}'
    """
    if properties.get("jobType") == "Command":
        return {"_azureml.ComputeTargetType": "amlctrain"}
    if properties.get("jobType") != "Pipeline":
        return {}
    given = _given(properties.get("settings"))
    settings = {name.replace("_", "").lower(): value for name, value in given.items()}
    literals = {
        name: str(item.get("value"))
        for name, item in _given(properties.get("inputs")).items()
        if isinstance(item, Mapping) and item.get("jobInputType") == "literal"
    }
    noted = {
        "azureml.DevPlatv2": "true",
        "runSource": "MFE",
        "runType": "HTTP",
        "azureml.parameters": json.dumps(literals, separators=(",", ":")),
        "azureml.continue_on_step_failure": str(
            str(settings.get("continueonstepfailure", True)).lower() == "true"
        ),
        "azureml.continue_on_failed_optional_input": "True",
        "azureml.runsource": "azureml.PipelineRun",
        "azureml.pipelineComponent": "pipelinerun",
    }
    for noted_as, name in _NOTED_SETTINGS.items():
        if settings.get(name) not in (None, ""):
            noted[noted_as] = str(settings[name]).rpartition("/")[2]
    return noted


def _given(items: Any) -> dict[str, Any]:
    """Return what is given of a mapping, if it is one."""
    found = items.items() if isinstance(items, Mapping) else ()
    return {name: value for name, value in found if value is not None}


def folder_uri(uri: str, kind: str) -> str:
    """Return the address of data as it is kept: that of a folder ends with a slash.

    >>> folder_uri("azureml://a/b", "uri_folder"), folder_uri("azureml://a/b.csv", "uri_file")
    ('azureml://a/b/', 'azureml://a/b.csv')
    """
    return f"{uri.rstrip('/')}/" if kind in ("uri_folder", "mltable") else uri


def moment(now: datetime) -> str:
    """Return the version that comes after all that a component has: a moment.

    >>> moment(datetime(2026, 1, 2, 3, 4, 5, 678901))
    '2026-01-02-03-04-05-6789010'
    """
    return f"{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond * 10:07d}"


def filled_component(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the specification of a component as the service answers it.

    The service keeps a component in a form of its own: every number and switch is a text, what
    is given for its running only (modes, where it came from) is left out, a curated environment
    is the registry's. A command has one instance, a parallel component its settings' defaults.
    """
    kind = str(spec.get("type", "")).lower()
    filled: dict[str, Any] = {"is_deterministic": kind != "pipeline"}
    if kind == "parallel":
        filled |= _PARALLEL
    filled |= {name: value for name, value in spec.items() if name not in _LEFT_OUT}
    for name in ("inputs", "outputs"):
        if isinstance(filled.get(name), Mapping):
            filled[name] = {key: _port(name, item) for key, item in filled[name].items()}
    count = (spec.get("resources") or {}).get("instance_count", 1)
    filled.pop("resources", None)
    if kind == "command":
        filled["resources"] = {"instance_count": count}
    # The definitions of a pipeline's steps are as they were sent.
    filled = {name: value if name == "jobs" else _text(value) for name, value in filled.items()}
    distribution = filled.get("distribution")
    if isinstance(distribution, Mapping):
        word = str(distribution.get("type"))
        filled["distribution"] = {**distribution, "type": _DISTRIBUTIONS.get(word.lower(), word)}
    task = filled.get("task")
    if isinstance(task, Mapping) and task.get("environment"):
        filled["task"] = {**task, "environment": _curated(task["environment"])}
    if filled.get("environment"):
        filled["environment"] = _curated(filled["environment"])
    return filled


def _port(where: str, item: Any) -> Any:
    """Return an input or an output of a component; its mode is the job's that uses it."""
    if not isinstance(item, Mapping):
        return item
    filled = {name: value for name, value in item.items() if name != "mode"}
    if where == "outputs":
        return filled
    filled["optional"] = str(item.get("optional")).lower() == "true"
    default = item.get("default")
    if item.get("type") == "string" and isinstance(default, str):
        # A name in the short form is answered without the form's mark.
        filled["default"] = default.removeprefix("azureml:")
    return filled


def _text(value: Any) -> Any:
    """Return a value with its numbers and switches as texts.

    >>> _text({"a": 1, "b": [True, None, "x"]})
    {'a': '1', 'b': ['True', None, 'x']}
    """
    if isinstance(value, Mapping):
        return {name: _text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return str(value) if isinstance(value, int | float) else value


def _curated(environment: Any) -> Any:
    """Return the registry's address of a curated environment; others as they are."""
    match = _CURATED.fullmatch(str(environment))
    if match is None:
        return environment
    below = "labels" if match["label"] else "versions"
    return f"azureml://registries/azureml/environments/{match[1]}/{below}/{match[3]}"
