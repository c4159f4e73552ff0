"""What the service fills in where a body leaves it out, and how it spells what was sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azureml_runner.engine import PATH_TYPES

__all__ = ["filled_component", "folder_uri", "moment", "with_modes"]

INPUT_MODE, OUTPUT_MODE = "ReadOnlyMount", "ReadWriteMount"
_CURATED = re.compile(
    r"(?:azureml:|.*/environments/)(AzureML-[^:@/]+)(?:[:]|/versions/|(?P<label>@|/labels/))([^/]+)",
    re.IGNORECASE,
)


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
    return filled


def _with_mode(item: Any, kind: str, mode: str) -> Any:
    if not isinstance(item, Mapping) or item.get(kind) not in PATH_TYPES:
        return item
    return {"mode": mode, **{name: value for name, value in item.items() if value is not None}}


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

    Every input says whether it is optional, as text; a command has one instance; the numbers of
    a distribution are texts; a curated environment is the registry's.
    """
    pipeline = str(spec.get("type", "")).lower() == "pipeline"
    filled: dict[str, Any] = {"is_deterministic": not pipeline, **spec}
    if isinstance(spec.get("inputs"), Mapping):
        filled["inputs"] = {name: _input(item) for name, item in spec["inputs"].items()}
    if str(spec.get("type", "")).lower() == "command":
        filled.setdefault("resources", {"instance_count": 1})
    if isinstance(spec.get("distribution"), Mapping):
        filled["distribution"] = {
            name: str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in spec["distribution"].items()
        }
    curated = _CURATED.fullmatch(str(spec.get("environment") or ""))
    if curated:
        below = "labels" if curated["label"] else "versions"
        where = f"azureml://registries/azureml/environments/{curated[1]}"
        filled["environment"] = f"{where}/{below}/{curated[3]}"
    return filled


def _input(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    optional = "True" if str(item.get("optional")).lower() == "true" else "False"
    filled = {**item, "optional": optional}
    default = item.get("default")
    if item.get("type") == "string" and isinstance(default, str):
        # A name in the short form is answered without the form's mark.
        filled["default"] = default.removeprefix("azureml:")
    return filled
