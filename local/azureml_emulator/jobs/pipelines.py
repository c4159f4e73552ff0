"""Pipelines of the REST interface, read into graphs: their nodes, and those within them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._bindings import (
    TABLES,
    OutputTarget,
    is_true,
    prepared,
    read_declared,
    read_given,
    read_outputs,
    read_place,
    read_texts,
)
from azureml_emulator.jobs._monitor import SIGNAL, check_measured, is_signal
from azureml_emulator.jobs._sweep_task import read_sweep
from azureml_emulator.jobs.parallel import parallel_node
from azureml_runner.engine import (
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
    read_value,
)
from azureml_runner.engine.settings import bound_settings

__all__ = ["FindComponent", "PipelineReader", "component_of_job"]

FindComponent = Callable[[str], Mapping[str, Any]]
# What of a node may be bound to an input of its pipeline, besides the node's own inputs.
BOUND = (
    "display_name", "distribution", "early_termination", "environment", "environment_variables",
    "error_threshold", "limits", "logging_level", "max_concurrency_per_instance",
    "mini_batch_error_threshold", "mini_batch_size", "objective", "partition_keys", "resources",
    "retry_settings", "sampling_algorithm", "search_space",
)  # fmt: skip
OF_INPUT = re.compile(r"\$\{\{\s*(?:parent\.)?inputs\.([\w.-]+)\s*\}\}")


def settled(value: Any, known: Mapping[str, str]) -> Any:
    """Return a part of a body with the bindings to inputs whose values are known replaced.

    Examples
    --------
    >>> settled({"timeout": "${{parent.inputs.t}}", "other": "${{parent.inputs.u}}"}, {"t": "60"})
    {'timeout': '60', 'other': '${{parent.inputs.u}}'}
    """
    if isinstance(value, Mapping):
        return {name: settled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [settled(item, known) for item in value]
    if isinstance(value, str):
        return OF_INPUT.sub(lambda match: known.get(match[1], match[0]), value)
    return value


def known_values(
    declared: Mapping[str, Input], given: Mapping[str, Any], above: Mapping[str, str]
) -> dict[str, str]:
    """Return the texts of a pipeline's inputs that are known before it runs.

    ``given`` is what a job or a node gives, ``above`` what is known of the pipeline around it.
    """
    known: dict[str, str] = {}
    for name in {**declared, **given}:
        value = given.get(name)
        if isinstance(value, Literal):
            known[name] = value.text
        elif isinstance(value, FromInput) and value.name in above:
            known[name] = above[value.name]
        elif value is None and name in declared and declared[name].default is not None:
            known[name] = str(declared[name].default)
    return known


class PipelineReader:
    """Reads the nodes of a pipeline, and of those within it."""

    def __init__(self, find: FindComponent) -> None:
        self._find = find
        self.places: dict[tuple[str, str], OutputTarget] = {}
        self.components: dict[str, str] = {}

    def graph(
        self,
        jobs: Mapping[str, Any],
        inputs: Mapping[str, Input],
        outputs: Mapping[str, Output],
        prefix: str,
        known: Mapping[str, str],
    ) -> Graph:
        """Return the graph of a pipeline's nodes.

        ``prefix`` is what their names begin with; ``known`` are the texts of its inputs.
        """
        nodes = {name: self._node(f"{prefix}{name}", job, known) for name, job in jobs.items()}
        return Graph(nodes, inputs, outputs)

    def _node(self, name: str, sent: Mapping[str, Any], known: Mapping[str, str]) -> Node:
        job = {key: settled(item, known) if key in BOUND else item for key, item in sent.items()}
        kind = str(job.get("type", "command")).lower()
        if kind == "automl":
            return self._automl(name, job)
        if kind == "sweep":
            return self._sweep(name, job)
        if is_signal(job):
            return self._signal(job)
        if kind not in ("command", "pipeline", "parallel"):
            raise ArmError(
                400,
                "NotImplementedByEmulator",
                f"Node '{name}' is of type '{kind}'; the emulator runs command, parallel, sweep, "
                "pipeline and automl nodes.",
            )
        spec = self._component(name, job.get("componentId") or job.get("component"))
        declared = _inputs(spec)
        outputs = read_outputs(spec.get("outputs"))
        values = self._values(job.get("inputs"))
        publishes = self._published(name, job.get("outputs"), outputs)
        if str(spec.get("type", kind)).lower() == "pipeline":
            within = known_values(declared, values, known)
            inner = self.graph(spec.get("jobs") or {}, declared, outputs, f"{name}.", within)
            return PipelineNode(inner, values, publishes, str(job.get("display_name") or ""))
        if kind == "parallel":
            return parallel_node(name, spec, job, declared, outputs, values, publishes)
        command = self._command(spec, job, declared, outputs)
        return replace(command, values=values, publishes=publishes)

    def _component(self, name: str, component: Any) -> Mapping[str, Any]:
        if isinstance(component, Mapping):
            component = component.get("componentId")
        if not isinstance(component, str):
            raise ArmError(400, "ValidationError", f"Node '{name}' names no component.")
        spec = self._find(component)
        self.components[name] = str(spec.get("name", name))
        return spec

    @staticmethod
    def _command(
        spec: Mapping[str, Any],
        job: Mapping[str, Any],
        declared: Mapping[str, Input],
        outputs: Mapping[str, Output],
    ) -> CommandNode:
        return CommandNode(
            prepared(str(spec["command"]), outputs),
            inputs=declared,
            outputs=outputs,
            code=spec.get("code"),
            environment=job.get("environment") or spec.get("environment"),
            environment_variables={
                **read_texts(spec.get("environment_variables")),
                **read_texts(job.get("environment_variables")),
            },
            timeout_seconds=_limit(job, "timeout"),
            deterministic=is_true(spec.get("is_deterministic", True)),
            display_name=str(job.get("display_name") or ""),
        )

    def _sweep(self, name: str, job: Mapping[str, Any]) -> OtherNode:
        spec = self._component(name, job.get("trial"))
        declared = _inputs(spec)
        outputs = read_outputs(spec.get("outputs"))
        trial = self._command(spec, job, declared, outputs)
        task = read_sweep(
            job,
            trial,
            seconds=_limit(job, "timeout"),
            trial_seconds=_limit(job, "trial_timeout"),
        )
        return OtherNode(
            "sweep",
            spec=task,
            inputs={item: entry for item, entry in declared.items() if item not in task.space},
            outputs=outputs,
            values=self._values(job.get("inputs")),
            publishes=self._published(name, job.get("outputs"), outputs),
            display_name=str(job.get("display_name") or ""),
        )

    def _automl(self, name: str, job: Mapping[str, Any]) -> OtherNode:
        values: dict[str, Value] = {}
        for item in TABLES:
            if job.get(item):
                values.update(self._values({item: job[item]}))
        outputs = read_outputs(job.get("outputs")) or {"best_model": Output("mlflow_model")}
        spec = {
            key: value
            for key, value in job.items()
            if key not in (*TABLES, "outputs", "name", "type")
        }
        tables = tuple(values)
        for place, text in bound_settings(spec).items():
            values.update(self._values({place: text}))
        return OtherNode(
            "automl",
            spec=spec,
            inputs={item: Input("mltable") for item in tables},
            outputs=outputs,
            values=values,
            publishes=self._published(name, job.get("outputs"), outputs),
            display_name=str(job.get("display_name") or ""),
        )

    def _signal(self, job: Mapping[str, Any]) -> OtherNode:
        """Return a signal of a monitor, which schedules make of their definitions."""
        check_measured()
        inputs = dict(job["inputs"])
        return OtherNode(
            "signal",
            spec=json.loads(inputs.pop(SIGNAL)["value"]),
            inputs={item: Input("uri_folder") for item in inputs},
            outputs={"signal_output": Output("uri_folder")},
            values=self._values(inputs),
        )

    def _values(self, items: Mapping[str, Any] | None) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, item in (items or {}).items():
            text = item
            if isinstance(item, Mapping):
                text = item.get("value") or item.get("path") or item.get("uri")
            bound = read_value(text, place=f"input '{name}'") if isinstance(text, str) else None
            if isinstance(bound, FromInput | FromOutput | Joined):
                values[name] = bound
                continue
            given = read_given(name, item)
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
                self.places[name, output] = read_place(item)
        return published


def component_of_job(
    properties: Mapping[str, Any], component: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a pipeline component has of a pipeline job: jobs, inputs and outputs.

    What the job gives to an input that is no path becomes its default; ``component`` is what
    the job itself was made of, if it has no jobs of its own.
    """
    if component is not None:
        return {name: component.get(name) or {} for name in ("jobs", "inputs", "outputs")}
    inputs: dict[str, Any] = {}
    for name, item in (properties.get("inputs") or {}).items():
        kind = str(item.get("jobInputType") or "literal")
        inputs[name] = {"type": "string" if kind == "literal" else kind}
        if kind == "literal":
            inputs[name]["default"] = item.get("value")
    outputs = {
        name: {"type": item.get("jobOutputType") or "uri_folder"}
        for name, item in (properties.get("outputs") or {}).items()
    }
    return {"jobs": dict(properties.get("jobs") or {}), "inputs": inputs, "outputs": outputs}


def _inputs(spec: Mapping[str, Any]) -> dict[str, Input]:
    return {name: read_declared(item) for name, item in (spec.get("inputs") or {}).items()}


def _limit(job: Mapping[str, Any], name: str) -> float | None:
    """Return a limit of time in seconds: a number, or a duration as ``PT1H``."""
    limit = (job.get("limits") or {}).get(name)
    if limit in (None, ""):
        return None
    if str(limit).startswith("P"):
        return seconds(limit)
    try:
        return float(limit)
    except (TypeError, ValueError):
        raise ArmError(
            400, "ValidationError", f"'{str(limit)[:80]}' is not a limit in seconds."
        ) from None
