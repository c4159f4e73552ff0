"""What the service refuses of a component's specification before any job uses it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._bindings import read_declared
from azureml_runner.engine.plan import read_literal
from azureml_runner.errors import RunnerError

__all__ = ["check_component"]

_KINDS = ("command", "parallel", "pipeline")


def check_component(spec: Mapping[str, Any]) -> None:
    """Refuse a command without its text, limits that cross, and a default that is none.

    Raises
    ------
    ArmError
        400: what it is, and of which input.
    """
    kind = str(spec.get("type", "command")).lower()
    if kind not in _KINDS:
        return
    if kind == "command" and not str(spec.get("command") or "").strip():
        raise ArmError(400, "ValidationError", "The Command field of a component is required.")
    for name, item in (spec.get("inputs") or {}).items():
        declared = read_declared(item)
        least, most = declared.minimum, declared.maximum
        if least is not None and most is not None and least > most:
            raise ArmError(
                400,
                "ValidationError",
                f"Input '{name}' is to be {least:g} to {most:g}: the least is above the most.",
            )
        if declared.literal and declared.default is not None:
            try:
                read_literal(declared, declared.default, f"The default of input '{name}'")
            except RunnerError as error:
                raise ArmError(400, "ValidationError", error.message) from error
