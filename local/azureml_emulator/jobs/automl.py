"""AutoML tasks: not run yet, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azureml_emulator.errors import ArmError

__all__ = ["check_task"]


def check_task(task: Mapping[str, Any]) -> None:
    """Raise ``ArmError`` for a task that is not run here."""
    raise ArmError(
        400,
        "NotImplementedByEmulator",
        f"This version of the emulator does not run AutoML ({task.get('taskType')}).",
    )
