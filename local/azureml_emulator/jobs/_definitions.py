"""Job bodies of the REST interface, read into the graph that the engine runs.

A command job is a graph of one node, an AutoML job is too; a pipeline has its nodes. Pure:
components are looked up through a function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._bindings import (
    TABLES,
    OutputTarget,
    input_for,
    is_true,
    prepared,
    read_declared,
    read_given,
    read_outputs,
    read_place,
    read_texts,
    setting,
)
from azureml_emulator.jobs._sweep_task import read_sweep
from azureml_emulator.jobs.pipelines import (
    OF_INPUT,
    FindComponent,
    PipelineReader,
    known_values,
)
from azureml_runner.engine import (
    Asset,
    CommandNode,
    Graph,
    Input,
    Literal,
    OtherNode,
    Output,
    Value,
)

__all__ = ["ONLY_STEP", "Definition", "read_job"]

ONLY_STEP = "job"
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)


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
    places: Mapping[tuple[str, str], OutputTarget]
    components: Mapping[str, str]
    continue_on_failure: bool = False
    force_rerun: bool = False

    def node(self, step: str) -> Any:
        """Return the node of a step: ``train``, or ``both.train`` of a pipeline within."""
        graph: Any = self.graph
        *above, name = step.split(".")
        for part in above:
            graph = graph.nodes[part].graph
        return graph.nodes[name]

    def place(self, step: str, output: str) -> OutputTarget:
        """Return where a step's output is to go: the outermost pipeline that says so decides."""
        found = self.places.get((step, output))
        if found is None:
            found = OutputTarget(type=self.node(step).outputs[output].type)
        while step and (outer := self.node(step).publishes.get(output)):
            step, output = step.rpartition(".")[0], outer
            said = self.places.get((step, output))
            if said is not None and (said.uri or said.asset):
                found = said
        return found


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
    if kind == "Sweep":
        return _sweep_job(properties)
    if kind == "Pipeline":
        return _pipeline_job(properties, find)
    raise ArmError(
        400,
        "NotImplementedByEmulator",
        f"The emulator does not run jobs of type '{kind}'; it runs Command, Sweep, Pipeline and "
        "AutoML.",
    )


# Jobs of one step


def _command_job(properties: Mapping[str, Any]) -> Definition:
    given = {
        name: read_given(name, item) for name, item in (properties.get("inputs") or {}).items()
    }
    values = {name: value for name, value in given.items() if value is not None}
    outputs = read_outputs(properties.get("outputs"))
    command = str(properties["command"])
    # A job does not list the optional inputs that it does not give.
    left_out = {name for part in _OPTIONAL.findall(command) for name in OF_INPUT.findall(part)}
    node = CommandNode(
        prepared(command, outputs),
        inputs={name: input_for(given.get(name)) for name in {**given, **dict.fromkeys(left_out)}},
        outputs=outputs,
        values=values,
        code=properties.get("codeId"),
        environment=properties.get("environmentId"),
        environment_variables=read_texts(properties.get("environmentVariables")),
        timeout_seconds=seconds((properties.get("limits") or {}).get("timeout")),
        deterministic=False,
    )
    places = {
        (ONLY_STEP, name): read_place(item)
        for name, item in (properties.get("outputs") or {}).items()
        if name in outputs
    }
    return Definition(Graph({ONLY_STEP: node}), {}, True, places, {})


def _sweep_job(properties: Mapping[str, Any]) -> Definition:
    trial = {
        **properties["trial"],
        "inputs": properties.get("inputs"),
        "outputs": properties.get("outputs"),
    }
    definition = _command_job(trial)
    command = definition.graph.nodes[ONLY_STEP]
    assert isinstance(command, CommandNode)
    limits = properties.get("limits") or {}
    task = read_sweep(
        properties,
        replace(command, values={}),
        seconds=seconds(limits.get("timeout")),
        trial_seconds=seconds(limits.get("trialTimeout")),
    )
    node = OtherNode(
        "sweep",
        spec=task,
        inputs=command.inputs,
        outputs=command.outputs,
        values=command.values,
    )
    return replace(definition, graph=Graph({ONLY_STEP: node}))


def _automl_job(properties: Mapping[str, Any]) -> Definition:
    task = dict(properties["taskDetails"])
    values: dict[str, Value] = {}
    for name in TABLES:
        head, _, tail = name.partition("_")
        item = task.pop(f"{head}{tail.title()}", None)
        if item:
            given = read_given(name, item)
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
    values = {
        name: value
        for name, item in inputs.items()
        if (value := read_given(name, item)) is not None
    }
    if component := properties.get("componentId"):
        spec = find(str(component))
        reader = PipelineReader(find)
        declared = {name: read_declared(item) for name, item in (spec.get("inputs") or {}).items()}
        known = known_values(declared, values, {})
        graph = reader.graph(
            spec.get("jobs") or {}, declared, read_outputs(spec.get("outputs")), "", known
        )
    else:
        reader = PipelineReader(find)
        declared = {name: input_for(read_given(name, item)) for name, item in inputs.items()}
        known = known_values(declared, values, {})
        outputs = read_outputs(properties.get("outputs"))
        graph = reader.graph(properties.get("jobs") or {}, declared, outputs, "", known)
    if not graph.nodes:
        raise ArmError(400, "UserError", "The pipeline has no jobs.")
    places = dict(reader.places)
    for name, item in (properties.get("outputs") or {}).items():
        places["", name] = read_place(item)
    return Definition(
        graph,
        values,
        False,
        places,
        reader.components,
        continue_on_failure=is_true(setting(settings, "continue_on_step_failure", True)),
        force_rerun=is_true(setting(settings, "force_rerun", False)),
    )
