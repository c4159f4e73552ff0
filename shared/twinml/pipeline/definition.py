"""What a pipeline is: typed inputs and ordered steps, each one command. Values in, values out.

As a mapping (JSON today)::

    {"name": "training",
     "description": "Train on a file.",
     "inputs": {"trials": {"type": "integer", "default": 20, "description": "models tried"}},
     "steps": [{"name": "train", "command": ["${{python}}", "train.py", "${{inputs.trials}}"],
                "timeout_seconds": 3600}]}

A command is an argument list, never a shell line, so an input's value stays one argument.
It may hold these expressions:

==================  ==========================================================
``${{inputs.x}}``      the value of input ``x``
``${{job.id}}``        the job's id
``${{job.directory}}`` the job's folder, which is also the steps' working folder
``${{python}}``        the Python that runs the pipeline service
==================  ==========================================================
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from twinml.errors import Detail, PayloadError, UsageError

__all__ = ["InputType", "PipelineDefinition", "PipelineInput", "PipelineStep"]

InputType = Literal["string", "integer", "number", "boolean"]
InputValue = str | int | float | bool

# One argument may hold 128 KiB on Linux; a character takes up to 4 bytes.
MAX_CHARACTERS = 16_384
DEFAULT_TIMEOUT_SECONDS = 3600.0

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
EXPECTED = {
    "string": "a string",
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class PipelineInput:
    """A named, typed value that a job is started with; without a default it must be given."""

    name: str
    type: InputType = "string"
    default: InputValue | None = None
    description: str = ""

    @property
    def required(self) -> bool:
        """Whether a job must give this input."""
        return self.default is None

    def parse(self, value: Any) -> InputValue:
        """Return ``value`` in this input's type; text such as ``"3"`` or ``"true"`` is read.

        Raises
        ------
        ValueError
            It does not fit; the message says what was expected.

        Examples
        --------
        >>> PipelineInput("trials", "integer").parse("20")
        20
        """
        parsed = _parse(self.type, value)
        if parsed is None:
            raise ValueError(EXPECTED[self.type])
        if isinstance(parsed, str) and not _fits_an_argument(parsed):
            raise ValueError(f"Unicode text of at most {MAX_CHARACTERS} characters without NUL")
        return parsed


@dataclass(frozen=True)
class PipelineStep:
    """One command, and the seconds it may take."""

    name: str
    command: tuple[str, ...]
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS


@dataclass(frozen=True)
class PipelineDefinition:
    """A named pipeline: inputs and the steps that run in order; the first failure ends it.

    Raises
    ------
    UsageError
        A name, type, default, expression or timeout is not valid; the message says where.

    Examples
    --------
    >>> hello = PipelineDefinition.from_dict({
    ...     "name": "hello",
    ...     "inputs": {"who": {"type": "string", "default": "world"}},
    ...     "steps": [{"name": "greet", "command": ["echo", "hello ${{inputs.who}}"]}],
    ... })
    >>> hello.command(hello.steps[0], inputs=hello.resolve({"who": "you"}), job_id="1",
    ...               directory="/jobs/1", python="python")
    ('echo', 'hello you')
    """

    name: str
    steps: tuple[PipelineStep, ...]
    inputs: tuple[PipelineInput, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"pipeline name {self.name!r} is not valid",
                hint="Use up to 64 letters, digits, '-' and '_', a letter or digit first.",
            )
        _check_unique("input", [item.name for item in self.inputs], INPUT_NAME)
        _check_unique("step", [step.name for step in self.steps], NAME)
        if not self.steps:
            raise UsageError(f"pipeline '{self.name}' has no steps", hint="Give at least one.")
        for item in self.inputs:
            _check_input(item)
        for step in self.steps:
            self._check_step(step)

    def _check_step(self, step: PipelineStep) -> None:
        if not step.command or not step.command[0]:
            raise UsageError(
                f"step '{step.name}' has no command",
                hint="Give a list of text: the program, then its arguments.",
            )
        if not (math.isfinite(step.timeout_seconds) and step.timeout_seconds > 0):
            raise UsageError(
                f"step '{step.name}': timeout_seconds is {step.timeout_seconds}",
                hint="Give a number of seconds above 0.",
            )
        known = {*(f"inputs.{item.name}" for item in self.inputs), *JOB_EXPRESSIONS}
        for argument in step.command:
            if not _fits_an_argument(argument):
                raise UsageError(
                    f"step '{step.name}': an argument holds NUL or more than "
                    f"{MAX_CHARACTERS} characters"
                )
            for match in EXPRESSION.finditer(argument):
                if match.group(1).strip() not in known:
                    raise UsageError(
                        f"step '{step.name}': there is no value '{match.group(0)}'",
                        hint=f"Known: {', '.join(sorted(known))}.",
                    )

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], *, name: str | None = None
    ) -> PipelineDefinition:
        """Read a definition; ``name``, where given, replaces the one inside.

        Raises
        ------
        UsageError
            A key is unknown, missing or holds a value of the wrong type.
        """
        _check_keys("the pipeline", content, {"name", "description", "inputs", "steps"})
        inputs = content.get("inputs", {})
        steps = content.get("steps", [])
        if not isinstance(inputs, Mapping):
            raise _wrong("inputs", inputs, "an object of inputs by name")
        if not isinstance(steps, Sequence) or isinstance(steps, str):
            raise _wrong("steps", steps, "a list of steps")
        return cls(
            name=name if name is not None else _text("name", content.get("name", "")),
            description=_text("description", content.get("description", "")),
            inputs=tuple(_read_input(key, item) for key, item in inputs.items()),
            steps=tuple(_read_step(number, item) for number, item in enumerate(steps)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that ``from_dict`` reads."""
        inputs: dict[str, dict[str, Any]] = {}
        for item in self.inputs:
            inputs[item.name] = {"type": item.type}
            if item.default is not None:
                inputs[item.name]["default"] = item.default
            if item.description:
                inputs[item.name]["description"] = item.description
        return {
            "name": self.name,
            "description": self.description,
            "inputs": inputs,
            "steps": [
                {
                    "name": step.name,
                    "command": list(step.command),
                    "timeout_seconds": step.timeout_seconds,
                }
                for step in self.steps
            ],
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the content; the same content has the same digest."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def resolve(self, given: Mapping[str, Any]) -> dict[str, InputValue]:
        """Check the inputs of a job and fill in defaults, in the definition's order.

        Raises
        ------
        PayloadError
            Inputs are unknown, missing or of the wrong type; ``details`` names them all,
            ``column`` being the input.
        """
        problems: list[Detail] = []
        known = {item.name for item in self.inputs}
        listing = ", ".join(item.name for item in self.inputs) or "none"
        for name in given:
            if name not in known:
                problems.append(
                    Detail(column=name, value=_shown(given[name]), expected=f"one of: {listing}")
                )
        values: dict[str, InputValue] = {}
        for item in self.inputs:
            value = given.get(item.name, item.default)
            try:
                values[item.name] = item.parse(value)
            except ValueError as error:
                problems.append(Detail(column=item.name, value=_shown(value), expected=str(error)))
        if problems:
            raise PayloadError(
                "; ".join(self._sentence(problem, known, given) for problem in problems[:3]),
                hint=f"Inputs of pipeline '{self.name}': {listing}.",
                details=problems,
            )
        return values

    def _sentence(self, problem: Detail, known: set[str], given: Mapping[str, Any]) -> str:
        if problem.column not in known:
            return f"there is no input '{problem.column}'"
        if problem.column not in given:
            return f"input '{problem.column}' is missing: expected {problem.expected}"
        return f"input '{problem.column}': found {problem.value!r}, expected {problem.expected}"

    def command(
        self,
        step: PipelineStep,
        *,
        inputs: Mapping[str, InputValue],
        job_id: str,
        directory: str,
        python: str,
    ) -> tuple[str, ...]:
        """Return a step's argument list with its expressions replaced, once and not again."""
        values = {f"inputs.{name}": _as_argument(value) for name, value in inputs.items()}
        values |= {"job.id": job_id, "job.directory": directory, "python": python}
        return tuple(
            EXPRESSION.sub(lambda match: values[match.group(1).strip()], argument)
            for argument in step.command
        )


JOB_EXPRESSIONS = ("job.directory", "job.id", "python")


def _parse(kind: InputType, value: Any) -> InputValue | None:
    """Return ``value`` as ``kind``, or ``None`` where it does not fit."""
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        words = {"true": True, "false": False}
        return value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and "_" in value:
        return None  # Python reads 1_000; JSON and people do not.
    try:
        if kind == "integer":
            if isinstance(value, float):
                return int(value) if value.is_integer() else None
            return int(value)
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_argument(value: InputValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _fits_an_argument(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and len(text) <= MAX_CHARACTERS


def _shown(value: Any) -> Any:
    """Return ``value`` short enough, and fit, to be sent back."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:80].encode(errors="replace").decode()


def _check_unique(noun: str, names: Sequence[str], pattern: re.Pattern[str]) -> None:
    for number, name in enumerate(names):
        if not pattern.fullmatch(name):
            raise UsageError(
                f"{noun} name {name!r} is not valid",
                hint="Use up to 64 letters, digits and '_' (in steps also '-').",
            )
        if name in names[:number]:
            raise UsageError(f"there are two {noun}s called '{name}'", hint="Rename one.")


def _check_input(item: PipelineInput) -> None:
    if item.type not in get_args(InputType):
        raise UsageError(
            f"input '{item.name}' has type {item.type!r}",
            hint=f"Types: {', '.join(get_args(InputType))}.",
        )
    if item.default is not None:
        try:
            parsed = item.parse(item.default)
        except ValueError as error:
            raise _wrong(f"default of input '{item.name}'", item.default, str(error)) from error
        # A default is written in its own type, so that it reads the same everywhere.
        if isinstance(item.default, str) and not isinstance(parsed, str):
            raise _wrong(f"default of input '{item.name}'", item.default, EXPECTED[item.type])


def _read_input(name: Any, content: Any) -> PipelineInput:
    place = f"input '{name}'"
    if not isinstance(content, Mapping):
        raise _wrong(place, content, "an object with 'type'")
    _check_keys(place, content, {"type", "default", "description"})
    return PipelineInput(
        name=_text("input name", name),
        type=cast(InputType, _text(f"type of {place}", content.get("type", "string"))),
        default=content.get("default"),
        description=_text(f"description of {place}", content.get("description", "")),
    )


def _read_step(number: int, content: Any) -> PipelineStep:
    place = f"step {number}"
    if not isinstance(content, Mapping):
        raise _wrong(place, content, "an object with 'name' and 'command'")
    _check_keys(place, content, {"name", "command", "timeout_seconds"})
    command = content.get("command")
    if not isinstance(command, Sequence) or isinstance(command, str):
        raise _wrong(f"command of {place}", command, "a list of text")
    timeout = content.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise _wrong(f"timeout_seconds of {place}", timeout, "a number of seconds above 0")
    return PipelineStep(
        name=_text(f"name of {place}", content.get("name", "")),
        command=tuple(_text(f"command of {place}", argument) for argument in command),
        timeout_seconds=float(timeout),
    )


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(place, value, "text")
    return value


def _check_keys(place: str, content: Mapping[str, Any], known: set[str]) -> None:
    if not isinstance(content, Mapping):
        raise _wrong(place, content, "an object")
    for key in content:
        if key not in known:
            raise UsageError(
                f"{place} has an unknown key '{key}'", hint=f"Known: {', '.join(sorted(known))}."
            )


def _wrong(place: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"{place}: found {_shown(value)!r}, expected {expected}")
