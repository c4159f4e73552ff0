"""A pipeline job's content turned into the engine's graph: pure, and strict about every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from azureml_runner.engine import (
    LITERAL_TYPES,
    PATH_TYPES,
    Asset,
    CommandNode,
    FromInput,
    FromOutput,
    Graph,
    Input,
    Joined,
    Literal,
    Node,
    OtherNode,
    Output,
    PipelineNode,
    Value,
    read_binding,
)
from azureml_runner.engine.plan import read_literal
from azureml_runner.engine.settings import bound_settings
from twinml.errors import UsageError
from twinml_local.errors import twinml_errors
from twinml_local.jobs import _schema as schema
from twinml_local.jobs.automl.node import OUTPUT, TABLE, check_node

__all__ = ["RETRIES", "build_graph", "declared_inputs", "literal_takers"]

RETRIES = "twinml.max_retries"
MAX_RETRIES = 10
_LITERALS = (str, int, float, bool)


@twinml_errors()
def build_graph(content: Mapping[str, Any]) -> Graph:
    """Return the graph of a pipeline job.

    Raises
    ------
    UsageError
        A key is unknown or holds what it may not; the message names the place.
    """
    schema.check_keys(content, schema.PIPELINE, "")
    settings = _mapping(content.get("settings"), "settings")
    schema.check_keys(settings, schema.SETTINGS, "settings")
    values = declared_inputs(content)
    outputs = _outputs(content.get("outputs"), "outputs")
    jobs = _jobs(content, "", outputs)
    inputs = {
        name: _job_input(name, item, values.get(name))
        for name, item in _mapping(content.get("inputs"), "inputs").items()
    }
    return Graph(jobs, inputs, outputs)


@twinml_errors()
def declared_inputs(content: Mapping[str, Any]) -> dict[str, Literal | Asset]:
    """Return the values that a pipeline job gives its own inputs."""
    values: dict[str, Literal | Asset] = {}
    for name, item in _mapping(content.get("inputs"), "inputs").items():
        value = _value(item, f"inputs.{name}")
        if isinstance(value, (FromInput, FromOutput, Joined)):
            raise UsageError(f"inputs.{name}: a pipeline's own input cannot be bound")
        if value is not None:
            values[name] = value
    return values


def literal_takers(graph: Graph) -> dict[str, list[Input]]:
    """Return what the steps declare that take each input of a pipeline, where it is a value."""
    found: dict[str, list[Input]] = {name: [] for name in graph.inputs}
    for node in graph.nodes.values():
        inner = literal_takers(node.graph) if isinstance(node, PipelineNode) else {}
        for item, value in node.values.items():
            if isinstance(value, FromInput) and value.name in found:
                declared = node.inputs.get(item)
                own = [declared] if declared is not None and declared.literal else []
                found[value.name] += [*own, *inner.get(item, [])]
    return found


def _job_input(name: str, item: Any, value: Literal | Asset | None) -> Input:
    if isinstance(value, Asset):
        return Input(value.type)
    if isinstance(item, Mapping):
        declared = _input({"type": "string", **item}, f"inputs.{name}", schema.JOB_INPUT)
        if isinstance(value, Literal) and declared.literal:
            read_literal(declared, value.value, f"inputs.{name}")
        # What it is given is kept beside the declaration: a job may give something else.
        return replace(declared, default=None)
    if value is None:
        return Input("string")
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return Input(kinds[type(value.value)])


def _jobs(content: Mapping[str, Any], place: str, outer: Mapping[str, Output]) -> dict[str, Node]:
    jobs = _mapping(content.get("jobs"), f"{place}jobs")
    if not jobs:
        raise UsageError(f"{place}jobs: the pipeline has no jobs", hint="Give at least one.")
    return {str(name): _node(node, f"{place}jobs.{name}", outer) for name, node in jobs.items()}


def _node(content: Any, place: str, outer: Mapping[str, Output]) -> Node:
    content = _mapping(content, place)
    component = content.get("component")
    kind = str(content.get("type") or (component or {}).get("type") or "command")
    if kind == "automl":
        return _automl(content, place)
    inner = (component or {}).get("type") if isinstance(component, Mapping) else None
    if kind not in ("command", "pipeline") or inner not in (None, "command", "pipeline"):
        raise schema.refused(
            f"{place}: type '{inner or kind}'", "command, pipeline and automl are run"
        )
    schema.check_keys(content, schema.NODE, place)
    values = {
        name: value
        for name, item in _mapping(content.get("inputs"), f"{place}.inputs").items()
        if (value := _value(item, f"{place}.inputs.{name}")) is not None
    }
    publishes = _publishes(content.get("outputs"), f"{place}.outputs")
    title = str(content.get("display_name") or "")
    if isinstance(component, str):
        raise UsageError(f"{place}.component: '{component[:120]}' was not read")
    if component is None:
        return _written_out(content, place, values, publishes, title, outer)
    if (component.get("type") or kind) == "pipeline":
        schema.check_keys(component, schema.PIPELINE_COMPONENT, f"{place}.component")
        made = _outputs(component.get("outputs"), f"{place}.component.outputs")
        graph = Graph(
            _jobs(component, f"{place}.component.", made),
            _inputs(component.get("inputs"), f"{place}.component.inputs"),
            made,
        )
        return PipelineNode(graph, values, publishes, title)
    schema.check_keys(component, schema.COMPONENT, f"{place}.component")
    _check_resources(component, f"{place}.component")
    return _command(
        {**component, **{key: content[key] for key in _OVERRIDES if content.get(key)}},
        node=content,
        place=place,
        inputs=_inputs(component.get("inputs"), f"{place}.component.inputs"),
        outputs=_outputs(component.get("outputs"), f"{place}.component.outputs"),
        values=values,
        publishes=publishes,
        title=title,
        variables=_mapping(component.get("environment_variables"), place),
    )


_OVERRIDES = ("environment",)


def _automl(content: Mapping[str, Any], place: str) -> OtherNode:
    """Return a node that searches: its table, and the settings that are bound, are its inputs."""
    task = check_node(content, place)
    table = _value(content.get(TABLE), f"{place}.{TABLE}")
    if table is None:
        raise UsageError(f"{place}: it has no {TABLE}", hint="Bind an mltable.")
    if isinstance(table, Literal):
        table = Asset(table.text, "mltable")
    values: dict[str, Value] = {TABLE: table}
    for name, text in bound_settings(task).items():
        value = _value(text, f"{place}.{name}")
        if value is not None:
            values[name] = value
    written = _mapping(content.get("outputs"), f"{place}.outputs")
    for name in written:
        if name != OUTPUT:
            raise schema.refused(f"{place}.outputs.{name}", f"an automl node has {OUTPUT}")
    return OtherNode(
        "automl",
        spec=task,
        inputs={TABLE: Input("mltable")},
        outputs={OUTPUT: Output("mlflow_model")},
        values=values,
        publishes=_publishes(written, f"{place}.outputs"),
        display_name=str(content.get("display_name") or ""),
    )


def _written_out(
    content: Mapping[str, Any],
    place: str,
    values: Mapping[str, Value],
    publishes: Mapping[str, str],
    title: str,
    outer: Mapping[str, Output],
) -> CommandNode:
    """Return a command that stands in the pipeline itself: its inputs are what it is given.

    An output that is only bound has the type of the pipeline's output.
    """
    outputs = _outputs(content.get("outputs"), f"{place}.outputs")
    for name, item in _mapping(content.get("outputs"), f"{place}.outputs").items():
        if isinstance(item, str) and publishes.get(name) in outer:
            outputs[name] = outer[publishes[name]]
    inputs = {}
    for name, item in _mapping(content.get("inputs"), f"{place}.inputs").items():
        value = values.get(name)
        if isinstance(value, Literal):
            inputs[name] = Input("any")
        elif isinstance(value, Asset):
            inputs[name] = Input(value.type)
        else:
            declared = item.get("type") if isinstance(item, Mapping) else None
            inputs[name] = Input(declared or "any", optional=value is None)
    return _command(
        content,
        node=content,
        place=place,
        inputs=inputs,
        outputs=outputs,
        values=values,
        publishes=publishes,
        title=title,
        variables={},
    )


def _command(
    content: Mapping[str, Any],
    *,
    node: Mapping[str, Any],
    place: str,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    values: Mapping[str, Value],
    publishes: Mapping[str, str],
    title: str,
    variables: Mapping[str, Any],
) -> CommandNode:
    command = content.get("command")
    if not isinstance(command, str) or not command.strip():
        raise UsageError(f"{place}: it has no command", hint="Give the shell text to run.")
    _check_resources(node, place)
    code = content.get("code")
    if code is not None and not isinstance(code, str):
        raise schema.refused(f"{place}.code", "expected the path of a folder")
    own = _mapping(node.get("environment_variables"), f"{place}.environment_variables")
    tags = {
        **_mapping(content.get("tags"), f"{place}.component.tags"),
        **_mapping(node.get("tags"), f"{place}.tags"),
    }
    return CommandNode(
        command=command,
        inputs=inputs,
        outputs=outputs,
        values=values,
        publishes=publishes,
        code=code,
        environment=content.get("environment"),
        environment_variables={str(key): str(value) for key, value in {**variables, **own}.items()},
        timeout_seconds=_timeout(node.get("limits"), f"{place}.limits"),
        max_retries=_retries(tags, place),
        deterministic=bool(content.get("is_deterministic", True)),
        display_name=title or str(content.get("display_name") or ""),
    )


def _check_resources(content: Mapping[str, Any], place: str) -> None:
    resources = _mapping(content.get("resources"), f"{place}.resources")
    count = resources.get("instance_count", 1)
    if count != 1:
        raise schema.refused(f"{place}.resources.instance_count {count}", "there is one machine")


def _timeout(limits: Any, place: str) -> float | None:
    limits = _mapping(limits, place)
    schema.check_keys(limits, schema.Keys(frozenset({"timeout"})), place)
    timeout = limits.get("timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
        raise UsageError(f"{place}.timeout: found {timeout!r}, expected seconds above 0")
    return float(timeout)


def _retries(tags: Mapping[str, Any], place: str) -> int:
    text = str(tags.get(RETRIES, 0))
    if not (text.isdecimal() and int(text) <= MAX_RETRIES):
        raise UsageError(
            f"{place}.tags.{RETRIES}: found '{text[:20]}', expected 0 to {MAX_RETRIES}"
        )
    return int(text)


def _inputs(content: Any, place: str) -> dict[str, Input]:
    return {
        name: _input(item, f"{place}.{name}") for name, item in _mapping(content, place).items()
    }


def _input(item: Any, place: str, known: schema.Keys = schema.INPUT) -> Input:
    item = _mapping(item, place)
    schema.check_keys(item, known, place)
    kind = item.get("type")
    if kind not in (*LITERAL_TYPES, *PATH_TYPES):
        raise schema.refused(f"{place}.type '{kind}'", f"types: {_types()}")
    default = item.get("default")
    if default is not None and not isinstance(default, _LITERALS):
        raise UsageError(f"{place}.default: expected a {kind}")
    try:
        minimum, maximum = (
            None if item.get(key) is None else float(item[key]) for key in ("min", "max")
        )
    except (TypeError, ValueError):
        raise UsageError(f"{place}: min and max must be numbers") from None
    enum = item.get("enum") or ()
    return Input(
        kind,
        optional=bool(item.get("optional", False)),
        default=default,
        minimum=minimum,
        maximum=maximum,
        enum=tuple(map(str, enum)),
        description=str(item.get("description") or ""),
    )


def _outputs(content: Any, place: str) -> dict[str, Output]:
    outputs = {}
    for name, item in _mapping(content, place).items():
        if item is None or isinstance(item, str):
            outputs[name] = Output()  # A binding; the type is the component's business.
            continue
        item = _mapping(item, f"{place}.{name}")
        schema.check_keys(item, schema.OUTPUT, f"{place}.{name}")
        kind = item.get("type") or "uri_folder"
        if kind not in PATH_TYPES:
            raise schema.refused(f"{place}.{name}.type '{kind}'", f"types: {_types()}")
        outputs[name] = Output(kind, str(item.get("description") or ""))
    return outputs


def _publishes(content: Any, place: str) -> dict[str, str]:
    publishes = {}
    for name, item in _mapping(content, place).items():
        if item is None:
            continue
        if isinstance(item, Mapping):
            path = item.get("path")
            if path is None:
                continue
            item = path
        bound = read_binding(str(item), place=f"{place}.{name}")
        if not isinstance(bound, str):
            raise UsageError(
                f"{place}.{name}: expected a binding such as ${{{{parent.outputs.{name}}}}}",
                hint="On this machine outputs stay in the job's folder.",
            )
        publishes[name] = bound
    return publishes


def _value(item: Any, place: str) -> Value | None:
    """Return what an input is given; ``None`` where it is given nothing."""
    if item is None:
        return None
    if isinstance(item, str):
        bound = read_binding(item, place=place)
        if isinstance(bound, str):
            raise UsageError(f"{place}: an input cannot take an output of the pipeline itself")
        return Literal(item) if bound is None else bound
    if isinstance(item, _LITERALS):
        return Literal(item)
    item = _mapping(item, place)
    schema.check_keys(item, schema.JOB_INPUT, place)
    for key in ("value", "default"):
        if item.get(key) is not None:
            return _value(item[key], f"{place}.{key}")
    path = item.get("path")
    if path is None:
        return None
    bound = read_binding(str(path), place=f"{place}.path")
    if isinstance(bound, (FromInput, FromOutput)):
        return bound
    kind = item.get("type", "uri_folder")
    if kind not in PATH_TYPES:
        raise schema.refused(f"{place}.type '{kind}'", f"types: {_types()}")
    return Asset(str(path), kind)


def _types() -> str:
    return ", ".join((*LITERAL_TYPES, *PATH_TYPES))


def _mapping(content: Any, place: str) -> Mapping[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UsageError(f"{place}: found {str(content)[:80]!r}, expected a mapping")
    return content
