"""A pipeline's definition: Azure ML v2 YAML, complete in one object, and the graph it means.

``read`` gathers a YAML file and all that it refers to: components become part of it, code and
data become absolute paths. The result is again a pipeline of that schema, so it can be kept,
compared, shown and read by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from azureml_runner.engine import Asset, Graph, Input, Literal, Plan, make_plan
from azureml_runner.engine.plan import read_literal
from twinml.errors import Detail, PayloadError, UsageError
from twinml.pipeline.naming import default_name
from twinml_local.errors import twinml_errors
from twinml_local.jobs import _schema as schema
from twinml_local.jobs.definition._checks import Check, check_values, read_checks
from twinml_local.jobs.definition._nodes import build_graph, declared_inputs, literal_takers

__all__ = ["PipelineDefinition", "read"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_FILE_BYTES = 1_000_000
# One argument may hold 128 KiB on Linux; a character takes up to 4 bytes.
MAX_CHARACTERS = 16_384
MAX_DEPTH = 20


@dataclass(frozen=True)
class PipelineDefinition:
    """A pipeline, checked: a name, and Azure ML's pipeline job with everything in it.

    Raises
    ------
    UsageError
        It is not valid, or asks for what is not done here; the message names the place.

    Examples
    --------
    >>> hello = PipelineDefinition("hello", {
    ...     "type": "pipeline",
    ...     "inputs": {"who": "world"},
    ...     "jobs": {"greet": {
    ...         "type": "command",
    ...         "command": "echo hello ${{inputs.who}}",
    ...         "inputs": {"who": "${{parent.inputs.who}}"},
    ...     }},
    ... })
    >>> [step.name for step in hello.plan({"who": "you"}).steps]
    ['greet']
    """

    name: str
    content: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"pipeline name {self.name!r} is not valid",
                hint="Use up to 64 letters, digits, '-' and '_', a letter or digit first.",
            )
        # Inputs without a value are only missing once a job starts.
        self.graph  # noqa: B018
        self.checks  # noqa: B018

    @property
    def graph(self) -> Graph:
        """The nodes and bindings."""
        return build_graph(self.content)

    @property
    def checks(self) -> Mapping[str, Check]:
        """What inputs are checked for beyond their types, by input."""
        return read_checks(self.content)

    @property
    def description(self) -> str:
        """What it is for."""
        return str(self.content.get("description") or "")

    @property
    def continue_on_failure(self) -> bool:
        """Whether branches go on when a step of another one fails."""
        return bool((self.content.get("settings") or {}).get("continue_on_step_failure", True))

    @property
    def force_rerun(self) -> bool:
        """Whether every step runs even if its result is there."""
        return bool((self.content.get("settings") or {}).get("force_rerun", False))

    @property
    def digest(self) -> str:
        """SHA-256 of the content; the same content has the same digest."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def inputs(self) -> dict[str, dict[str, Any]]:
        """Return the type and the value of each input; a value may be missing."""
        graph = self.graph
        given = declared_inputs(self.content)
        shown: dict[str, dict[str, Any]] = {}
        for name, item in graph.inputs.items():
            value = given.get(name)
            shown[name] = {"type": item.type}
            limits = {"min": item.minimum, "max": item.maximum, "enum": list(item.enum) or None}
            shown[name] |= {key: limit for key, limit in limits.items() if limit is not None}
            if item.optional:
                shown[name]["optional"] = True
            if isinstance(value, Asset):
                shown[name]["path"] = value.uri
            elif value is not None:
                shown[name]["default"] = value.value
        return shown

    def with_inputs(self, values: Mapping[str, Any]) -> PipelineDefinition:
        """Return the definition with other values of some inputs."""
        if not values:
            return self
        resolved = self.resolve(values, complete=False)
        check_values(self.name, self.checks, resolved, _find, given=values)
        inputs = dict(self.content.get("inputs") or {})
        for name in values:
            item, value = inputs.get(name), resolved[name]
            if isinstance(item, Mapping) and not isinstance(value, Mapping):
                # Its type and its limits stay.
                kept = {key: part for key, part in item.items() if key not in ("value", "default")}
                value = {**kept, "default": value}
            inputs[name] = value
        return PipelineDefinition(self.name, {**self.content, "inputs": inputs})

    def resolve(self, given: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Check the inputs of a job and fill in the rest, as JSON: literals or ``{type, path}``.

        Parameters
        ----------
        given
            Literals; a path as text or as ``{"path": …, "type": …}`` where a path is wanted.
        complete
            Whether the steps, too, must be content with them.

        Raises
        ------
        PayloadError
            Inputs are unknown, missing or do not fit; ``details`` names them all, ``column``
            being the input.
        """
        declared = self.graph.inputs
        known = declared_inputs(self.content)
        takers = literal_takers(self.graph)
        problems: list[Detail] = []
        sentences: list[str] = []
        listing = ", ".join(declared) or "none"
        resolved: dict[str, Any] = {}
        for name, value in given.items():
            if name not in declared:
                problems.append(Detail(column=name, value=_shown(value), expected=listing))
                sentences.append(f"there is no input '{_shown(name)}'")
                continue
            try:
                resolved[name] = _given(declared[name], value)
                for taken in takers[name]:
                    _given(taken, resolved[name])
            except UsageError as error:
                expected = error.message.rpartition("expected ")[2]
                problems.append(Detail(column=name, value=_shown(value), expected=expected))
                sentences.append(f"input '{name}': found {_shown(value)!r}, expected {expected}")
        for name, item in declared.items():
            if name in given:
                continue
            if name in known:
                held = known[name]
                resolved[name] = (
                    {"type": held.type, "path": held.uri} if isinstance(held, Asset) else held.value
                )
            elif complete and not item.optional:
                problems.append(Detail(column=name, expected=f"a {item.type}"))
                sentences.append(f"input '{name}' is missing: expected a {item.type}")
        if not problems and complete:
            try:
                self.plan(resolved)
            except UsageError as error:
                problems.append(Detail(expected=error.message))
                sentences.append(error.message)
        if problems:
            raise PayloadError(
                "; ".join(sentences[:3]),
                hint=f"Inputs of pipeline '{self.name}': {listing}.",
                details=problems,
            )
        return {name: resolved[name] for name in declared if name in resolved}

    def accepted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a job as ``resolve`` does, if a job could run with them.

        Paths must lead to something, and values pass the checks that the pipeline asks for.

        Raises
        ------
        PayloadError
            As ``resolve``.
        """
        resolved = self.resolve(given)
        check_values(self.name, self.checks, resolved, _find)
        return resolved

    @twinml_errors()
    def plan(self, resolved: Mapping[str, Any]) -> Plan:
        """Return the plan of a job with inputs from ``resolve``."""
        values: dict[str, Literal | Asset] = {
            name: Asset(str(value["path"]), str(value["type"]))
            if isinstance(value, Mapping)
            else Literal(value)
            for name, value in resolved.items()
        }
        return make_plan(self.graph, values)


def _find(value: Mapping[str, Any]) -> Path | None:
    from twinml_local.jobs.steps.host import find

    return find(Asset(str(value["path"]), str(value["type"])))


@twinml_errors()
def _given(declared: Input, value: Any) -> Any:
    """Return a value in the form that ``resolve`` returns; the error ends in what is wanted."""
    kind = declared.type
    if declared.literal:
        read = read_literal(declared, value, "")
        return _text(read) if isinstance(read, str) else read
    content = value if isinstance(value, Mapping) else {"path": value}
    path, given = content.get("path"), content.get("type", kind)
    if not isinstance(path, str) or not path or given != kind or set(content) - {"path", "type"}:
        raise UsageError(f'expected a path, or {{"type": "{kind}", "path": "azureml:bank:1"}}')
    if not (Path(path).is_absolute() or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path)):
        # Relative to what? Who asks and who runs it may be in different folders.
        raise UsageError("expected an absolute path or a URI such as azureml:bank:1")
    return {"type": kind, "path": _text(path)}


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError("expected Unicode text") from None
    if "\0" in value or len(value) > MAX_CHARACTERS:
        raise UsageError(f"expected text of at most {MAX_CHARACTERS} characters without NUL")
    return value


def _shown(value: Any) -> Any:
    """Return ``value`` short enough, and fit, to be sent back."""
    if value is None or isinstance(value, (bool, int)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:80].encode(errors="replace").decode()


# --- reading files ------------------------------------------------------------------------


def read(
    path: Path, *, name: str | None = None, keep_code: Callable[[Path], Path] | None = None
) -> PipelineDefinition:
    """Read a pipeline's YAML file and what it refers to.

    Parameters
    ----------
    path
        A pipeline job: what ``az ml job create -f`` takes.
    name
        What it is called; by default its ``name``, else ``display_name``, else the file.
    keep_code
        Is given every code folder and returns the one to use instead: a copy that stays.

    Raises
    ------
    UsageError
        A file is missing or not valid; the message names file and place.
    """
    content = _load(path)
    if content.get("type", "pipeline") != "pipeline":
        raise schema.refused(
            f"type '{_shown(content['type'])}' of '{path.name}'", "a pipeline job is run"
        )
    schema.check_keys(content, schema.PIPELINE, "")
    inside = _Gathering(keep_code or (lambda folder: folder)).pipeline(content, path.parent, 0)
    return PipelineDefinition(name or default_name(content, path.resolve()), inside)


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"'{path}' is larger than {MAX_FILE_BYTES} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"'{path}' is not YAML{where}") from error
    if not isinstance(content, dict):
        raise UsageError(f"'{path}' holds no pipeline or component", hint="Write a YAML mapping.")
    return content


class _Gathering:
    """Puts components in place, and makes paths absolute."""

    def __init__(self, keep_code: Callable[[Path], Path]) -> None:
        self._keep_code = keep_code

    def pipeline(self, content: Mapping[str, Any], base: Path, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise UsageError(f"components are nested deeper than {MAX_DEPTH}")
        gathered = dict(content)
        gathered["inputs"] = self._inputs(content.get("inputs"), base)
        jobs = content.get("jobs")
        if isinstance(jobs, Mapping):
            gathered["jobs"] = {
                str(name): self._node(node, base, f"jobs.{name}", depth)
                for name, node in jobs.items()
            }
        return gathered

    def _node(self, node: Any, base: Path, place: str, depth: int) -> Any:
        if not isinstance(node, Mapping):
            return node
        if node.get("type") == "automl":
            return {name: self._input(item, base) for name, item in node.items()}
        gathered = self._command(node, base, place)
        gathered["inputs"] = self._inputs(node.get("inputs"), base)
        component = node.get("component")
        if isinstance(component, str):
            file = self._component_file(component, base, place)
            component, base = _load(file), file.parent
        if isinstance(component, Mapping):
            if component.get("type") == "pipeline":
                gathered["component"] = self.pipeline(component, base, depth + 1)
            else:
                gathered["component"] = self._command(component, base, f"{place}.component")
        return gathered

    def _component_file(self, reference: str, base: Path, place: str) -> Path:
        if reference.startswith(("azureml:", "azureml://")):
            raise schema.refused(
                f"{place}.component '{reference[:120]}'", "there is no registry of components"
            )
        file = base / reference.removeprefix("file:")
        if not file.is_file():
            raise UsageError(f"{place}.component: there is no file '{file}'")
        return file

    def _command(self, content: Mapping[str, Any], base: Path, place: str) -> dict[str, Any]:
        gathered = dict(content)
        code = content.get("code")
        if isinstance(code, str):
            if re.match(r"[a-z+]{2,}:", code):
                raise schema.refused(f"{place}.code '{code[:120]}'", "give a folder beside it")
            folder = (base / code).resolve()
            if not folder.exists():
                raise UsageError(f"{place}.code: there is no folder '{folder}'")
            gathered["code"] = str(self._keep_code(folder))
        environment = content.get("environment")
        if isinstance(environment, str) and environment.startswith("file:"):
            file = base / environment.removeprefix("file:")
            environment, base = _load(file), file.parent
        if isinstance(environment, Mapping):
            environment = dict(environment)
            conda = environment.get("conda_file")
            if isinstance(conda, str):
                environment["conda_file"] = _load(base / conda)
            gathered["environment"] = environment
        return gathered

    def _inputs(self, inputs: Any, base: Path) -> Any:
        if not isinstance(inputs, Mapping):
            return {} if inputs is None else inputs
        return {str(name): self._input(item, base) for name, item in inputs.items()}

    def _input(self, item: Any, base: Path) -> Any:
        if isinstance(item, Mapping) and isinstance(item.get("path"), str):
            return {**item, "path": _absolute(item["path"], base)}
        return item


def _absolute(path: str, base: Path) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path) or "${{" in path:
        return path.removeprefix("file:") if path.startswith("file:.") else path
    return os.path.abspath(base / path)
