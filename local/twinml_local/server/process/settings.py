"""Settings of a server from the environment of whoever deploys or starts it.

``TWINML_SERVER_MAX_ROWS=1000`` sets ``max_rows``, and so on for every field of
``ServerSettings``; values are written as in JSON. ``AML_CORS_ORIGINS`` and ``WORKER_COUNT`` are
read as Azure ML's inference server reads them; ``TWINML_ALLOWED_HOSTS`` has names with commas
between them, ``TWINML_ROOT_PATH`` a path. What is set so is kept with the endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from twinml.errors import UsageError
from twinml_local.server._cors import read_origins
from twinml_local.server._hosts import read_hosts, read_root_path
from twinml_local.server.state import ServerSettings

__all__ = ["with_environment"]

PREFIX = "TWINML_SERVER_"
AZURES = {"WORKER_COUNT": "workers"}
HOSTS, ROOT = "TWINML_ALLOWED_HOSTS", "TWINML_ROOT_PATH"
NULLABLE = frozenset({"max_rows"})


def with_environment(settings: ServerSettings, environment: Mapping[str, str]) -> ServerSettings:
    """Return ``settings`` with what the environment says.

    Raises
    ------
    UsageError
        A variable's value cannot be that setting.

    Examples
    --------
    >>> with_environment(ServerSettings(), {"TWINML_SERVER_MAX_ROWS": "1000"}).max_rows
    1000
    """
    names = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(ServerSettings)}
    for name in ("CORS_ORIGINS", "ALLOWED_HOSTS", "ROOT_PATH"):  # those have names of their own
        del names[f"{PREFIX}{name}"]
    changes: dict[str, Any] = {}
    for variable, name in {**AZURES, **names}.items():
        if variable in environment:
            now = getattr(ServerSettings(), name)
            changes[name] = _value(variable, environment[variable], now, null=name in NULLABLE)
    if "AML_CORS_ORIGINS" in environment:
        changes["cors_origins"] = read_origins(environment["AML_CORS_ORIGINS"])
    if HOSTS in environment:
        changes["allowed_hosts"] = read_hosts(environment[HOSTS])
    if ROOT in environment:
        changes["root_path"] = read_root_path(environment[ROOT])
    return replace(settings, **changes)


def _value(variable: str, text: str, like: Any, *, null: bool) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if value is None and null:
        return None
    if isinstance(like, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(like, float):
        fits, kind = type(value) in (int, float) and value >= 0, "a number from 0"
    else:
        fits, kind = type(value) is int and value > 0, "a whole number above 0"
    if not fits:
        raise UsageError(f"{variable} is '{text[:40]}', expected {kind}", hint=f"Unset {variable}.")
    return value
