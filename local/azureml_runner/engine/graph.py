"""A pipeline in memory: nodes, their typed inputs and outputs, and what feeds what.

Nothing here knows YAML, REST, files or processes: readers build a ``Graph``, ``plan`` checks
and flattens it, ``executor`` runs it. The words are those of Azure ML's v2 schemas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from azureml_runner.errors import UsageError

__all__ = [
    "LITERAL_TYPES",
    "PATH_TYPES",
    "Asset",
    "CommandNode",
    "FromInput",
    "FromOutput",
    "Graph",
    "Input",
    "Joined",
    "Literal",
    "Node",
    "OtherNode",
    "Output",
    "PipelineNode",
    "RunName",
    "Value",
    "read_binding",
    "read_value",
]

LITERAL_TYPES = ("string", "integer", "number", "boolean")
PATH_TYPES = (
    "uri_file",
    "uri_folder",
    "mltable",
    "mlflow_model",
    "custom_model",
    "triton_model",
)


@dataclass(frozen=True)
class Input:
    """A declared input; ``minimum``, ``maximum`` and ``enum`` bound a literal."""

    type: str = "string"
    optional: bool = False
    default: str | int | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    description: str = ""

    @property
    def literal(self) -> bool:
        """Whether it takes a value rather than a path."""
        return self.type in LITERAL_TYPES


@dataclass(frozen=True)
class Output:
    """A declared output: a file (``uri_file``) or a folder (everything else)."""

    type: str = "uri_folder"
    description: str = ""


@dataclass(frozen=True)
class Literal:
    """A value; it reaches a command as text."""

    value: str | int | float | bool

    @property
    def text(self) -> str:
        """The value as Azure's client writes it: ``True``, ``3``, ``0.5``, ``text``."""
        return str(self.value)


@dataclass(frozen=True)
class Asset:
    """Data or a model that is there already; only the host knows what ``uri`` means.

    ``path`` leads to a part of it.
    """

    uri: str
    type: str = "uri_folder"
    path: str = ""


@dataclass(frozen=True)
class FromInput:
    """The value of an input of the pipeline that the node is in."""

    name: str


@dataclass(frozen=True)
class FromOutput:
    """The output of another node of the same pipeline."""

    node: str
    output: str


@dataclass(frozen=True)
class RunName:
    """The name of the run that the node is in."""


@dataclass(frozen=True)
class Joined:
    """A text with bindings in it, or a path behind the binding of a folder."""

    parts: tuple[str | FromInput | FromOutput | RunName, ...]


Value = Union[Literal, Asset, FromInput, FromOutput, Joined]  # noqa: UP007 - read by get_args


@dataclass(frozen=True)
class CommandNode:
    """A command with typed inputs and outputs.

    Attributes
    ----------
    command
        Shell text with ``${{inputs.x}}``, ``${{outputs.y}}`` and optional ``$[[ … ]]``.
    inputs, outputs
        What it declares.
    values
        What feeds the inputs.
    publishes
        Output of the enclosing pipeline by own output.
    code, environment
        For the host: what the command runs in.
    timeout_seconds
        When an attempt is ended; ``None`` never.
    max_retries
        How often a failed attempt is followed by another.
    deterministic
        Whether the same command on the same inputs gives the same outputs, so that an
        earlier run's may be used.
    """

    command: str
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    publishes: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    environment: Any = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    max_retries: int = 0
    deterministic: bool = True
    display_name: str = ""


@dataclass(frozen=True)
class PipelineNode:
    """A pipeline within a pipeline."""

    graph: Graph
    values: Mapping[str, Value] = field(default_factory=dict)
    publishes: Mapping[str, str] = field(default_factory=dict)
    display_name: str = ""

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What it declares."""
        return self.graph.inputs

    @property
    def outputs(self) -> Mapping[str, Output]:
        """What it declares."""
        return self.graph.outputs


@dataclass(frozen=True)
class OtherNode:
    """A node that the host runs by itself: ``automl``, ``parallel`` and the like.

    ``spec`` is the host's business; ``values`` name what must be there before it starts.
    """

    kind: str
    spec: Any = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    publishes: Mapping[str, str] = field(default_factory=dict)
    display_name: str = ""


Node = Union[CommandNode, PipelineNode, OtherNode]  # noqa: UP007 - read by get_args


@dataclass(frozen=True)
class Graph:
    """A pipeline: its inputs, outputs and nodes by name."""

    nodes: Mapping[str, Node]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)


_EXPRESSION = re.compile(r"\s*\$\{\{\s*(.+?)\s*\}\}\s*")
_WITHIN = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
# An input of a group has the group's name before its own, with a dot.
_INPUT = re.compile(r"(?:parent\.)?inputs\.([\w-]+(?:\.[\w-]+)*)")
_NODE_OUTPUT = re.compile(r"(?:parent\.)?jobs\.([\w-]+)\.outputs\.([\w-]+)")
_OUTPUT = re.compile(r"(?:parent\.)?outputs\.([\w-]+)")
_RUN_NAME = re.compile(r"(?:parent\.)?name")


def read_binding(text: str, *, place: str = "a value") -> FromInput | FromOutput | str | None:
    """Return what a binding expression names; ``None`` if ``text`` is not an expression.

    ``${{parent.outputs.x}}`` gives the output's name, as text.

    Raises
    ------
    UsageError
        It holds an expression that is not one of those.

    Examples
    --------
    >>> read_binding("${{parent.inputs.rate}}")
    FromInput(name='rate')
    >>> read_binding("${{parent.jobs.train.outputs.model}}")
    FromOutput(node='train', output='model')
    >>> read_binding("${{parent.outputs.model}}"), read_binding("3")
    ('model', None)
    """
    whole = _EXPRESSION.fullmatch(text)
    if whole is None:
        if "${{" in text:
            raise _not_a_binding(text, place)
        return None
    content = whole.group(1)
    if found := _INPUT.fullmatch(content):
        return FromInput(found.group(1))
    if found := _NODE_OUTPUT.fullmatch(content):
        return FromOutput(found.group(1), found.group(2))
    if found := _OUTPUT.fullmatch(content):
        return found.group(1)
    raise _not_a_binding(text, place)


def read_value(
    text: str, *, place: str = "a value"
) -> FromInput | FromOutput | str | Joined | None:
    """Return what ``read_binding`` does, or the parts of a text with bindings in it.

    Raises
    ------
    UsageError
        It holds an expression that is none.

    Examples
    --------
    >>> read_value("${{parent.inputs.folder}}/a.csv")
    Joined(parts=(FromInput(name='folder'), '/a.csv'))
    >>> read_value("${{parent.name}}")
    Joined(parts=(RunName(),))
    """
    whole = _EXPRESSION.fullmatch(text)
    if "${{" not in text or (whole is not None and not _RUN_NAME.fullmatch(whole.group(1))
                             and "${{" not in whole.group(1)):  # fmt: skip
        return read_binding(text, place=place)
    parts: list[str | FromInput | FromOutput | RunName] = []
    position = 0
    for match in _WITHIN.finditer(text):
        parts.append(text[position : match.start()])
        position = match.end()
        if _RUN_NAME.fullmatch(match.group(1)):
            parts.append(RunName())
            continue
        bound = read_binding(match.group(0), place=place)
        if not isinstance(bound, FromInput | FromOutput):
            raise _not_a_binding(text, place)
        parts.append(bound)
    parts.append(text[position:])
    if any(isinstance(part, str) and "${{" in part for part in parts):
        raise _not_a_binding(text, place)
    return Joined(tuple(part for part in parts if part != ""))


def _not_a_binding(text: str, place: str) -> UsageError:
    return UsageError(
        f"{place}: '{text[:80]}' is not a binding that is known",
        hint="Write ${{parent.inputs.X}}, ${{parent.jobs.JOB.outputs.X}} or "
        "${{parent.outputs.X}}, and nothing beside it.",
    )
