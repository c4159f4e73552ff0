"""Inputs and outputs as the bodies of jobs have them, read into those of the engine. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_runner.engine import LITERAL_TYPES, PATH_TYPES, Asset, Input, Literal, Output

__all__ = [
    "TABLES",
    "OutputTarget",
    "input_for",
    "is_true",
    "prepared",
    "read_declared",
    "read_given",
    "read_outputs",
    "read_place",
    "read_texts",
    "setting",
]

# The inputs of an AutoML task that are tables.
TABLES = ("training_data", "validation_data", "test_data")
# The working folder of a job has these on the service, and the output of this name holds them.
_FOLDERS = ("outputs", "logs")
_ARTIFACTS = "artifacts"
_NAMES_ARTIFACTS = re.compile(r"\$\{\{\s*outputs\." + _ARTIFACTS + r"\b")


@dataclass(frozen=True)
class OutputTarget:
    """Where an output is to go, as far as the job says: an address, and an asset's name."""

    uri: str | None = None
    asset: str | None = None
    version: str | None = None
    type: str = "uri_folder"


def _type(item: Mapping[str, Any]) -> str:
    for name in ("jobInputType", "job_input_type", "jobOutputType", "job_output_type", "type"):
        if item.get(name):
            return str(item[name])
    return "literal"


def read_given(name: str, item: Any) -> Literal | Asset | None:
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


def read_declared(item: Any) -> Input:
    """Return the declaration of a component's input."""
    if not isinstance(item, Mapping):
        return Input("string")
    kind = str(item.get("type", "string")).lower()
    kind = kind if kind in LITERAL_TYPES or kind in PATH_TYPES else "string"
    return Input(
        kind,
        optional=is_true(item.get("optional")),
        default=item.get("default"),
        minimum=_limit(item.get("min")),
        maximum=_limit(item.get("max")),
        enum=tuple(str(choice) for choice in item.get("enum") or ()),
    )


def _limit(value: Any) -> float | None:
    """Return a limit of a component, which the service's clients send as a number or its text."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise ArmError(
            400, "ValidationError", f"'{str(value)[:80]}' is not a limit of a number."
        ) from None


def is_true(value: Any) -> bool:
    """Return whether a setting is on: ``True``, or the text of it."""
    return str(value).lower() == "true"


def read_outputs(items: Mapping[str, Any] | None) -> dict[str, Output]:
    """Return the outputs that a job or a component has."""
    return {
        name: Output(_output_type(item))
        for name, item in (items or {}).items()
        if name != "default"
    }


def _output_type(item: Any) -> str:
    kind = _type(item) if isinstance(item, Mapping) else "uri_folder"
    return kind if kind in PATH_TYPES else "uri_folder"


def read_place(item: Any) -> OutputTarget:
    """Return where an output is to go."""
    if not isinstance(item, Mapping):
        return OutputTarget()
    uri = item.get("uri") or item.get("path")
    name = item.get("assetName") or item.get("name")
    version = item.get("assetVersion") or item.get("version")
    return OutputTarget(
        None if not uri or "${{parent." in str(uri) else str(uri),
        str(name) if name else None,
        str(version) if version else None,
        _output_type(item),
    )


def input_for(value: Literal | Asset | None) -> Input:
    """Return the declaration of an input that a job gives a value."""
    if isinstance(value, Asset):
        return Input(value.type)
    return Input("string", optional=value is None)


def read_texts(variables: Mapping[str, Any] | None) -> dict[str, str]:
    """Return environment variables as texts, without those that have no value."""
    return {name: str(value) for name, value in (variables or {}).items() if value is not None}


def prepared(command: str, outputs: Container[str]) -> str:
    r"""Return a command with what the service does before it, in the working folder.

    An output ``artifacts`` that the command does not write itself is what the job keeps anyway:
    its folders ``outputs`` and ``logs``.

    Examples
    --------
    >>> prepared("python a.py", {"model"})
    'mkdir -p outputs logs\npython a.py'
    """
    lines = [f"mkdir -p {' '.join(_FOLDERS)}"]
    if _ARTIFACTS in outputs and not _NAMES_ARTIFACTS.search(command):
        lines += [
            f"mv {folder} ${{{{outputs.{_ARTIFACTS}}}}}/{folder}; "
            f"ln -s ${{{{outputs.{_ARTIFACTS}}}}}/{folder} {folder}"
            for folder in _FOLDERS
        ]
    return "\n".join([*lines, command])


def setting(settings: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a setting of a pipeline, in either spelling of its name."""
    head, *rest = name.split("_")
    other = head + "".join(part.title() for part in rest)
    found = settings.get(name, settings.get(other))
    return default if found is None else found
