"""ISO 8601 durations, as the management plane writes times. Pure."""

from __future__ import annotations

import re
from typing import overload

from azureml_emulator.errors import ArmError

__all__ = ["seconds"]

_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?(?:T(?=.)(?:(?P<hours>\d+)H)?"
    r"(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


@overload
def seconds(duration: str | None) -> float | None: ...
@overload
def seconds(duration: str | None, default: float) -> float: ...
def seconds(duration: str | None, default: float | None = None) -> float | None:
    """Return the seconds of a duration; ``default`` where there is none.

    Raises
    ------
    ArmError
        It is none, or of months or years, whose seconds are not known.

    Examples
    --------
    >>> seconds("PT1H30M"), seconds("P1DT5S"), seconds("P1W"), seconds("PT1M30.5S"), seconds(None)
    (5400.0, 86405.0, 604800.0, 90.5, None)
    >>> seconds("", 5.0), seconds("PT0S", 5.0)
    (5.0, 0.0)
    """
    if not duration:
        return default
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ArmError(
            400, "ValidationError", f"'{duration}' is not an ISO 8601 duration of weeks or shorter."
        )
    return sum(float(match[name] or 0) * factor for name, factor in _SECONDS.items())
