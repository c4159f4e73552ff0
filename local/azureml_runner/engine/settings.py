"""The settings of a step that are bound: ``${{…}}`` found in nested ones, and values put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["bound_settings", "with_values"]


def bound_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that hold ``${{…}}``, by their place: ``limits.max_trials``."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": text for key, text in bound_settings(value).items()}
        elif isinstance(value, str) and "${{" in value:
            found[name] = value
    return found


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the values of ``bound_settings`` in their places.

    Examples
    --------
    >>> with_values({"limits": {"max_trials": "${{parent.inputs.n}}"}}, {"limits.max_trials": "3"})
    {'limits': {'max_trials': '3'}}
    """
    filled = dict(settings)
    for place, value in values.items():
        head, _, rest = place.partition(".")
        filled[head] = with_values(filled.get(head) or {}, {rest: value}) if rest else value
    return filled
