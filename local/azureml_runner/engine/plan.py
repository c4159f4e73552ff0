"""A graph checked and flattened: the steps to run, and what each one waits for.

Pipelines within pipelines are taken apart here, so that the executor sees one flat set of
steps: ``train``, ``report.draw``. Every input is traced to what feeds it in the end: a
literal, an asset, the output of a step, or nothing where it is optional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from azureml_runner.engine._command import expressions
from azureml_runner.engine.graph import (
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
    PipelineNode,
    RunName,
    Value,
)
from azureml_runner.errors import UsageError

__all__ = ["Plan", "Source", "Step", "StepOutput", "make_plan", "read_literal"]

MAX_DEPTH = 20


@dataclass(frozen=True)
class StepOutput:
    """The output of a step, by the step's full name, or what ``path`` leads to in it."""

    step: str
    output: str
    path: str = ""


Source = Literal | Asset | StepOutput | None


@dataclass(frozen=True)
class Step:
    """One leaf of the graph.

    Attributes
    ----------
    name
        Its full name: the names of the enclosing nodes and its own, with dots.
    sources
        What feeds each declared input; ``None`` for an optional one that is not given.
    """

    name: str
    node: CommandNode | OtherNode
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def needs(self) -> frozenset[str]:
        """The steps that must have completed before."""
        return frozenset(
            source.step for source in self.sources.values() if isinstance(source, StepOutput)
        )


@dataclass(frozen=True)
class Plan:
    """What the executor runs; steps are in an order in which they could run one by one.

    ``groups`` are the pipelines within the pipeline, with the steps that each holds.
    """

    steps: tuple[Step, ...]
    outputs: Mapping[str, StepOutput] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def step(self, name: str) -> Step:
        """Return a step by its full name."""
        return next(step for step in self.steps if step.name == name)


def make_plan(
    graph: Graph,
    values: Mapping[str, Literal | Asset] | None = None,
    *,
    run: str = "",
    strict: bool = True,
) -> Plan:
    """Check a graph and trace every input of every step.

    Parameters
    ----------
    graph
        The pipeline.
    values
        Of its inputs; those that are left out have their default.
    run
        The name of the run, for those that ask for it.
    strict
        Whether a value that comes to an input through a binding has to fit its type, and every
        output of the pipeline has to be written by a job. The service asks for neither.

    Raises
    ------
    UsageError
        A binding leads nowhere or in a circle, a required input is not fed, a value does not
        fit its type; the message names the place.
    """
    given = dict(values or {})
    for name in given:
        if name not in graph.inputs:
            raise UsageError(
                f"the pipeline has no input '{name}'",
                hint=f"Its inputs: {', '.join(graph.inputs) or 'none'}.",
            )
    sources = {
        name: _checked(given.get(name), declared, f"input '{name}'")
        for name, declared in graph.inputs.items()
    }
    tracer = _Tracer(run, strict=strict)
    tracer.walk(graph, sources, prefix="", depth=0)
    steps = tracer.steps
    outputs = {}
    for name in graph.outputs:
        found = _published(graph, name, prefix="")
        if found is None and not strict:
            continue
        if found is None:
            raise UsageError(
                f"output '{name}' of the pipeline is not written by any job",
                hint=f"Bind an output of a job to ${{{{parent.outputs.{name}}}}}.",
            )
        outputs[name] = found
    return Plan(tuple(_in_order(steps)), outputs, tracer.groups)


class _Tracer:
    """Collects the steps of a graph, depth first."""

    def __init__(self, run: str, *, strict: bool) -> None:
        self._run, self._strict = run, strict
        self.steps: dict[str, Step] = {}
        self.groups: dict[str, tuple[str, ...]] = {}

    def walk(
        self, graph: Graph, sources: Mapping[str, Source], *, prefix: str, depth: int
    ) -> list[str]:
        if depth > MAX_DEPTH:
            raise UsageError(f"pipelines are nested deeper than {MAX_DEPTH} at '{prefix[:-1]}'")
        names: list[str] = []
        for name, node in graph.nodes.items():
            full = f"{prefix}{name}"
            fed = {
                item: self._source(graph, full, item, node, sources, prefix)
                for item in {**node.inputs, **node.values}
            }
            if isinstance(node, PipelineNode):
                inner = self.walk(node.graph, fed, prefix=f"{full}.", depth=depth + 1)
                self.groups[full] = tuple(inner)
                names += inner
            else:
                if isinstance(node, CommandNode):
                    _check_command(full, node)
                self.steps[full] = Step(full, node, fed)
                names.append(full)
        return names

    def _source(
        self,
        graph: Graph,
        full: str,
        item: str,
        node: Node,
        sources: Mapping[str, Source],
        prefix: str,
    ) -> Source:
        place = f"job '{full}', input '{item}'"
        declared = node.inputs.get(item)
        if declared is None:
            if not isinstance(node, OtherNode):
                raise UsageError(
                    f"{place}: its component has no such input",
                    hint=f"Its inputs: {', '.join(node.inputs) or 'none'}.",
                )
            declared = Input("any", optional=True)
        value: Value | None = node.values.get(item)
        source: Source
        if isinstance(value, FromInput | FromOutput):
            source = self._bound(graph, value, sources, prefix, place)
        elif isinstance(value, Joined):
            parts = [
                self._run if isinstance(part, RunName)
                else part if isinstance(part, str)
                else self._bound(graph, part, sources, prefix, place)
                for part in value.parts
            ]  # fmt: skip
            source = _join(parts, place)
        else:
            source = value
        if isinstance(source, Literal) and source is not value and not self._strict:
            declared = Input("string" if declared.literal else declared.type)
        return _checked(source, declared, place)

    @staticmethod
    def _bound(
        graph: Graph,
        value: FromInput | FromOutput,
        sources: Mapping[str, Source],
        prefix: str,
        place: str,
    ) -> Source:
        if isinstance(value, FromOutput):
            return _resolve_output(graph, value.node, value.output, prefix, place)
        if value.name not in sources:
            raise UsageError(
                f"{place}: the pipeline has no input '{value.name}'",
                hint=f"Its inputs: {', '.join(graph.inputs) or 'none'}.",
            )
        return sources[value.name]


def _join(parts: Sequence[str | Source], place: str) -> Source:
    """Return one text of texts and values, or a path behind what the first of them leads to."""
    first, *rest = parts
    texts = [part.text if isinstance(part, Literal) else part or "" for part in rest]
    for part in texts:
        if not isinstance(part, str):
            raise UsageError(
                f"{place}: a path stands within a text", hint="Only a path may follow a path."
            )
    behind = "".join(str(part) for part in texts)
    if isinstance(first, Asset | StepOutput):
        path = PurePosixPath(behind.lstrip("/"))
        if ".." in path.parts:
            raise UsageError(f"{place}: '{behind}' leads out of the folder")
        return replace(first, path=str(PurePosixPath(first.path) / path))
    return Literal((first.text if isinstance(first, Literal) else first or "") + behind)


def _resolve_output(graph: Graph, name: str, output: str, prefix: str, place: str) -> StepOutput:
    node = graph.nodes.get(name)
    if node is None:
        raise UsageError(
            f"{place}: there is no job '{name}'", hint=f"Jobs: {', '.join(graph.nodes)}."
        )
    if output not in node.outputs:
        raise UsageError(
            f"{place}: job '{name}' has no output '{output}'",
            hint=f"Its outputs: {', '.join(node.outputs) or 'none'}.",
        )
    if not isinstance(node, PipelineNode):
        return StepOutput(f"{prefix}{name}", output)
    found = _published(node.graph, output, prefix=f"{prefix}{name}.")
    if found is None:
        raise UsageError(f"{place}: no job of '{prefix}{name}' writes its output '{output}'")
    return found


def _published(graph: Graph, output: str, *, prefix: str) -> StepOutput | None:
    """Return the step output that becomes ``output`` of ``graph``."""
    for name, node in graph.nodes.items():
        for own, outer in node.publishes.items():
            if outer != output:
                continue
            if own not in node.outputs:
                raise UsageError(
                    f"job '{prefix}{name}': its component has no output '{own}'",
                    hint=f"Its outputs: {', '.join(node.outputs) or 'none'}.",
                )
            if not isinstance(node, PipelineNode):
                return StepOutput(f"{prefix}{name}", own)
            return _published(node.graph, own, prefix=f"{prefix}{name}.")
    return None


def _checked(source: Source, declared: Input, place: str) -> Source:
    """Return ``source``, or the default where there is none, if it fits ``declared``."""
    if source is None:
        if declared.default is not None:
            return Literal(read_literal(declared, declared.default, place))
        if declared.optional:
            return None
        raise UsageError(
            f"{place}: it is required and has no value", hint=f"Give a {declared.type}."
        )
    if isinstance(source, Literal) and declared.literal:
        return Literal(read_literal(declared, source.value, place))
    if isinstance(source, Literal) and declared.type in PATH_TYPES:
        # A bare text where a path is wanted is its URI, as in Azure's YAML.
        return Asset(source.text, declared.type)
    if isinstance(source, (Asset, StepOutput)) and declared.type in LITERAL_TYPES:
        raise UsageError(
            f"{place}: found a path, expected a {declared.type}",
            hint="Only inputs of a path type can take an output or an asset.",
        )
    return source


def read_literal(declared: Input, value: Any, place: str) -> str | int | float | bool:
    """Return ``value`` in the declared type; text such as ``"3"`` or ``"true"`` is read.

    Raises
    ------
    UsageError
        It does not fit the type, ``minimum``, ``maximum`` or ``enum``.

    Examples
    --------
    >>> read_literal(Input("integer", maximum=9), "3", "input 'n'")
    3
    """
    import math

    expected = f"expected {_expected(declared)}"
    problem = UsageError(f"{place}: found {str(value)[:80]!r}, {expected}")
    kind = declared.type
    if kind == "string":
        if value is None or isinstance(value, (dict, list)):
            raise problem
        read: str | int | float | bool = str(value)
    elif kind == "boolean":
        words = {"true": True, "false": False}
        found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
        if found is None:
            raise problem
        read = found
    else:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            raise problem
        try:
            number = float(value)
            if not math.isfinite(number) or (kind == "integer" and number != int(number)):
                raise problem
            read = number if kind == "number" else int(value if isinstance(value, str) else number)
        except (TypeError, ValueError, OverflowError):
            raise problem from None
        if (declared.minimum is not None and read < declared.minimum) or (
            declared.maximum is not None and read > declared.maximum
        ):
            raise problem
    if declared.enum and str(read) not in declared.enum:
        raise problem
    return read


def _expected(declared: Input) -> str:
    article = {"integer": "an integer", "boolean": "true or false"}
    text = article.get(declared.type, f"a {declared.type}")
    if declared.minimum is not None:
        text += f" of at least {declared.minimum:g}"
    if declared.maximum is not None:
        text += f"{' and' if declared.minimum is not None else ' of'} at most {declared.maximum:g}"
    if declared.enum:
        text += f", one of: {', '.join(declared.enum)}"
    return text


def _check_command(name: str, node: CommandNode) -> None:
    known = {"inputs": node.inputs, "outputs": node.outputs}
    try:
        named = expressions(node.command)
    except UsageError as error:
        raise UsageError(f"job '{name}', {error.message}", hint=error.hint) from error
    for kind, item in named:
        if item not in known[kind]:
            raise UsageError(
                f"job '{name}': its command names ${{{{{kind}.{item}}}}}, which is not declared",
                hint=f"Declared {kind}: {', '.join(known[kind]) or 'none'}.",
            )


def _in_order(steps: Mapping[str, Step]) -> list[Step]:
    """Return the steps so that each follows what it needs; the graph's order breaks ties."""
    ordered: list[Step] = []
    done: set[str] = set()
    left = dict(steps)
    while left:
        ready = [name for name, step in left.items() if step.needs <= done]
        if not ready:
            raise UsageError(
                f"these jobs wait for each other: {', '.join(sorted(left))}",
                hint="Break the circle.",
            )
        for name in ready:
            ordered.append(left.pop(name))
        done.update(ready)
    return ordered
