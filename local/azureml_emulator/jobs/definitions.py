"""Job bodies of the REST interface, read into the graph that the engine runs.

A command job is a graph of one node, an AutoML job is too; a pipeline has its nodes. Pure:
components are looked up through a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azureml_emulator.errors import ArmError
from twinml_local.jobs.engine import (
    LITERAL_TYPES,
    PATH_TYPES,
    Asset,
    CommandNode,
    FromInput,
    FromOutput,
    Graph,
    Input,
    Literal,
    Node,
    OtherNode,
    Output,
    PipelineNode,
    Value,
    read_binding,
)

__all__ = [
    "ONLY_STEP",
    "Definition",
    "FindComponent",
    "OutputPlace",
    "read_job",
    "seconds",
]

ONLY_STEP = "job"
# The working folder of a job has these on the service.
PREPARE = "mkdir -p outputs logs\n"
_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_INPUT = re.compile(r"\$\{\{\s*inputs\.([\w-]+)\s*\}\}")
_AUTOML_DATA = ("training_data", "validation_data", "test_data")

FindComponent = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class OutputPlace:
    """Where an output is to go, as far as the job says: an address, and an asset's name."""

    uri: str | None = None
    asset: str | None = None
    version: str | None = None
    type: str = "uri_folder"


@dataclass(frozen=True)
class Definition:
    """A job that can be planned.

    Attributes
    ----------
    graph, values
        What the engine takes.
    single
        Whether it has no children of its own: its one step is the job.
    places
        Output places by step and output: ``("train", "model")``; those of the pipeline
        itself by ``("", "model")``.
    components
        The component of each step, by the step's name.
    continue_on_failure, force_rerun
        As the pipeline's settings say.
    """

    graph: Graph
    values: Mapping[str, Literal | Asset]
    single: bool
    places: Mapping[tuple[str, str], OutputPlace]
    components: Mapping[str, str]
    continue_on_failure: bool = False
    force_rerun: bool = False


def read_job(properties: Mapping[str, Any], find: FindComponent) -> Definition:
    """Return the graph of a job.

    Parameters
    ----------
    properties
        As the REST interface has them.
    find
        Returns the specification of a component by its id; raises ``ArmError``.

    Raises
    ------
    ArmError
        The job is of a kind that is not run here, or something in it cannot be understood.
    """
    kind = properties["jobType"]
    if kind == "Command":
        return _command_job(properties)
    if kind == "AutoML":
        return _automl_job(properties)
    if kind == "Pipeline":
        return _pipeline_job(properties, find)
    raise ArmError(
        400,
        "NotImplementedByEmulator",
        f"The emulator does not run jobs of type '{kind}'; it runs Command, Pipeline and AutoML.",
    )


def seconds(duration: str | None) -> float | None:
    """Return the seconds of an ISO 8601 duration.

    Examples
    --------
    >>> seconds("PT1H30M"), seconds("P1DT5S"), seconds(None)
    (5400.0, 86405.0, None)
    """
    if not duration:
        return None
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ArmError(400, "ValidationError", f"'{duration}' is not an ISO 8601 duration.")
    days, hours, minutes, rest = (float(match[name] or 0) for name in match.groupdict())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


# Inputs and outputs


def _type(item: Mapping[str, Any]) -> str:
    for name in ("jobInputType", "job_input_type", "jobOutputType", "job_output_type", "type"):
        if item.get(name):
            return str(item[name])
    return "literal"


def _given(name: str, item: Any) -> Literal | Asset | None:
    """Return what a job gives to an input."""
    if not isinstance(item, Mapping):
        return None if item is None else Literal(item)
    kind = _type(item)
    if kind == "literal" or kind in LITERAL_TYPES:
        value = item.get("value", item.get("default"))
        return None if value is None else Literal(value)
    uri = item.get("uri") or item.get("path") or item.get("value")
    if not uri:
        return None
    if kind not in PATH_TYPES:
        raise ArmError(400, "ValidationError", f"Input '{name}' has the unknown type '{kind}'.")
    if str(item.get("mode", "")).lower() == "direct":
        # The command gets the address itself.
        return Literal(str(uri))
    return Asset(str(uri), kind)


def _declared(item: Any) -> Input:
    """Return the declaration of a component's input."""
    if not isinstance(item, Mapping):
        return Input("string")
    kind = str(item.get("type", "string")).lower()
    kind = kind if kind in LITERAL_TYPES or kind in PATH_TYPES else "string"
    return Input(
        kind,
        optional=_truth(item.get("optional")),
        default=item.get("default"),
        enum=tuple(str(choice) for choice in item.get("enum") or ()),
    )


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _outputs(items: Mapping[str, Any] | None) -> dict[str, Output]:
    return {
        name: Output(_output_type(item))
        for name, item in (items or {}).items()
        if name != "default"
    }


def _output_type(item: Any) -> str:
    kind = _type(item) if isinstance(item, Mapping) else "uri_folder"
    return kind if kind in PATH_TYPES else "uri_folder"


def _place(item: Any) -> OutputPlace:
    if not isinstance(item, Mapping):
        return OutputPlace()
    uri = item.get("uri") or item.get("path")
    name = item.get("assetName") or item.get("name")
    version = item.get("assetVersion") or item.get("version")
    return OutputPlace(
        None if not uri or "${{parent." in str(uri) else str(uri),
        str(name) if name else None,
        str(version) if version else None,
        _output_type(item),
    )


# Jobs of one step


def _command_job(properties: Mapping[str, Any]) -> Definition:
    given = {name: _given(name, item) for name, item in (properties.get("inputs") or {}).items()}
    values = {name: value for name, value in given.items() if value is not None}
    outputs = _outputs(properties.get("outputs"))
    command = str(properties["command"])
    # A job does not list the optional inputs that it does not give.
    left_out = {name for part in _OPTIONAL.findall(command) for name in _INPUT.findall(part)}
    node = CommandNode(
        PREPARE + command,
        inputs={name: _input_for(given.get(name)) for name in {**given, **dict.fromkeys(left_out)}},
        outputs=outputs,
        values=values,
        code=properties.get("codeId"),
        environment=properties.get("environmentId"),
        environment_variables=_text(properties.get("environmentVariables")),
        timeout_seconds=seconds((properties.get("limits") or {}).get("timeout")),
        deterministic=False,
    )
    places = {
        (ONLY_STEP, name): _place(item)
        for name, item in (properties.get("outputs") or {}).items()
        if name in outputs
    }
    return Definition(Graph({ONLY_STEP: node}), {}, True, places, {})


def _input_for(value: Literal | Asset | None) -> Input:
    if isinstance(value, Asset):
        return Input(value.type)
    return Input("string", optional=value is None)


def _text(variables: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (variables or {}).items() if value is not None}


def _automl_job(properties: Mapping[str, Any]) -> Definition:
    task = dict(properties["taskDetails"])
    values: dict[str, Value] = {}
    for name in _AUTOML_DATA:
        head, _, tail = name.partition("_")
        item = task.pop(f"{head}{tail.title()}", None)
        if item:
            given = _given(name, item)
            if given is not None:
                values[name] = given
    node = OtherNode(
        "automl",
        spec=task,
        inputs={name: Input("mltable") for name in values},
        outputs={"best_model": Output("mlflow_model")},
        values=values,
    )
    return Definition(Graph({ONLY_STEP: node}), {}, True, {}, {})


# Pipelines


def _pipeline_job(properties: Mapping[str, Any], find: FindComponent) -> Definition:
    settings = properties.get("settings") or {}
    inputs = properties.get("inputs") or {}
    if component := properties.get("componentId"):
        spec = find(str(component))
        reader = _PipelineReader(find)
        declared = {name: _declared(item) for name, item in (spec.get("inputs") or {}).items()}
        graph = reader.graph(spec.get("jobs") or {}, declared, _outputs(spec.get("outputs")), "")
    else:
        reader = _PipelineReader(find)
        declared = {name: _input_for(_given(name, item)) for name, item in inputs.items()}
        graph = reader.graph(
            properties.get("jobs") or {}, declared, _outputs(properties.get("outputs")), ""
        )
    if not graph.nodes:
        raise ArmError(400, "UserError", "The pipeline has no jobs.")
    values = {
        name: value for name, item in inputs.items() if (value := _given(name, item)) is not None
    }
    places = dict(reader.places)
    for name, item in (properties.get("outputs") or {}).items():
        places["", name] = _place(item)
    return Definition(
        graph,
        values,
        False,
        places,
        reader.components,
        continue_on_failure=_truth(_either(settings, "continue_on_step_failure", False)),
        force_rerun=_truth(_either(settings, "force_rerun", False)),
    )


def _either(settings: Mapping[str, Any], name: str, default: Any) -> Any:
    head, *rest = name.split("_")
    other = head + "".join(part.title() for part in rest)
    found = settings.get(name, settings.get(other))
    return default if found is None else found


class _PipelineReader:
    """Reads the nodes of a pipeline, and of those within it."""

    def __init__(self, find: FindComponent) -> None:
        self._find = find
        self.places: dict[tuple[str, str], OutputPlace] = {}
        self.components: dict[str, str] = {}

    def graph(
        self,
        jobs: Mapping[str, Any],
        inputs: Mapping[str, Input],
        outputs: Mapping[str, Output],
        prefix: str,
    ) -> Graph:
        nodes = {name: self._node(f"{prefix}{name}", job) for name, job in jobs.items()}
        return Graph(nodes, inputs, outputs)

    def _node(self, name: str, job: Mapping[str, Any]) -> Node:
        kind = str(job.get("type", "command")).lower()
        if kind == "automl":
            return self._automl(name, job)
        if kind not in ("command", "pipeline"):
            raise ArmError(
                400,
                "NotImplementedByEmulator",
                f"Node '{name}' is of type '{kind}'; the emulator runs command, pipeline and "
                "automl nodes.",
            )
        component = job.get("componentId") or job.get("component")
        if not isinstance(component, str):
            raise ArmError(400, "ValidationError", f"Node '{name}' names no component.")
        spec = self._find(component)
        self.components[name] = str(spec.get("name", name))
        declared = {item: _declared(entry) for item, entry in (spec.get("inputs") or {}).items()}
        outputs = _outputs(spec.get("outputs"))
        values = self._values(job.get("inputs"))
        publishes = self._published(name, job.get("outputs"), outputs)
        if str(spec.get("type", kind)).lower() == "pipeline":
            inner = self.graph(spec.get("jobs") or {}, declared, outputs, f"{name}.")
            return PipelineNode(inner, values, publishes, str(job.get("display_name") or ""))
        limits = job.get("limits") or {}
        return CommandNode(
            PREPARE + str(spec["command"]),
            inputs=declared,
            outputs=outputs,
            values=values,
            publishes=publishes,
            code=spec.get("code"),
            environment=job.get("environment") or spec.get("environment"),
            environment_variables={
                **_text(spec.get("environment_variables")),
                **_text(job.get("environment_variables")),
            },
            timeout_seconds=seconds(limits.get("timeout")) if _iso(limits) else _number(limits),
            deterministic=_truth(spec.get("is_deterministic", True)),
            display_name=str(job.get("display_name") or ""),
        )

    def _automl(self, name: str, job: Mapping[str, Any]) -> OtherNode:
        values: dict[str, Value] = {}
        for item in _AUTOML_DATA:
            if job.get(item):
                values.update(self._values({item: job[item]}))
        outputs = _outputs(job.get("outputs")) or {"best_model": Output("mlflow_model")}
        spec = {
            key: value
            for key, value in job.items()
            if key not in (*_AUTOML_DATA, "outputs", "name", "type")
        }
        return OtherNode(
            "automl",
            spec=spec,
            inputs={item: Input("mltable") for item in values},
            outputs=outputs,
            values=values,
            publishes=self._published(name, job.get("outputs"), outputs),
            display_name=str(job.get("display_name") or ""),
        )

    def _values(self, items: Mapping[str, Any] | None) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, item in (items or {}).items():
            text = item
            if isinstance(item, Mapping):
                text = item.get("value") or item.get("path") or item.get("uri")
            bound = read_binding(text, place=f"input '{name}'") if isinstance(text, str) else None
            if isinstance(bound, FromInput | FromOutput):
                values[name] = bound
                continue
            given = _given(name, item)
            if given is not None:
                values[name] = given
        return values

    def _published(
        self, name: str, items: Mapping[str, Any] | None, outputs: Mapping[str, Output]
    ) -> dict[str, str]:
        published: dict[str, str] = {}
        for output, item in (items or {}).items():
            text = item
            if isinstance(item, Mapping):
                text = item.get("value") or item.get("path")
            bound = (
                read_binding(text, place=f"output '{output}'") if isinstance(text, str) else None
            )
            if isinstance(bound, str):
                published[output] = bound
            elif isinstance(item, Mapping) and output in outputs:
                self.places[name, output] = _place(item)
        return published


def _iso(limits: Mapping[str, Any]) -> bool:
    return isinstance(limits.get("timeout"), str) and limits["timeout"].startswith("P")


def _number(limits: Mapping[str, Any]) -> float | None:
    timeout = limits.get("timeout")
    return None if timeout in (None, "") else float(timeout)
