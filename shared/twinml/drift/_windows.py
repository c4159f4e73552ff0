"""The same comparison for one stretch of time after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from twinml.drift._compare import DriftReport, compare
from twinml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Window", "windows", "windows_text"]

MOST = 200


@dataclass(frozen=True)
class Window:
    """Rows from ``start`` up to ``end``, UTC, and how they compare."""

    start: datetime
    end: datetime
    report: DriftReport

    def to_dict(self) -> dict[str, Any]:
        """Return the window as JSON-able values."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            **self.report.to_dict(),
        }


def windows(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    times: Sequence[datetime],
    *,
    length: timedelta,
    **options: Any,
) -> tuple[Window, ...]:
    """Compare current rows with the reference, window by window; empty ones are left out.

    Parameters
    ----------
    times
        When each current row came, aware of its zone, length ``len(current)``.
    length
        Of a window. They begin at multiples of it since 1970, so that two runs agree.
    **options
        As for ``compare``.

    Raises
    ------
    UsageError
        There would be more than 200 windows, or the times are not as many as the rows.
    """
    if len(times) != len(current):
        raise UsageError(f"there are {len(times)} times for {len(current)} rows")
    seconds = length.total_seconds()
    if seconds <= 0:
        raise UsageError(f"the window is {length}, expected more than nothing")
    numbers = [int(moment.timestamp() // seconds) for moment in times]
    chosen = sorted(set(numbers))
    if len(chosen) > MOST:
        raise UsageError(
            f"there would be {len(chosen)} windows, at most {MOST} can be shown",
            hint="Take longer windows, or a shorter time: --window 1d, --last 7d.",
        )
    places: dict[int, list[int]] = {number: [] for number in chosen}
    for place, number in enumerate(numbers):
        places[number].append(place)
    return tuple(
        Window(
            datetime.fromtimestamp(number * seconds, UTC),
            datetime.fromtimestamp((number + 1) * seconds, UTC),
            compare(reference, current.iloc[places[number]], **options),
        )
        for number in chosen
    )


def windows_text(found: Sequence[Window]) -> str:
    """Return windows as text, a line each."""
    lines = [f"{'window, UTC':<17} {'rows':>8}  drifted"]
    for one in found:
        drifted = ", ".join(one.report.drifted) or "-"
        lines.append(
            f"{one.start:%Y-%m-%d %H:%M} {one.report.n_current:>8,}  "
            f"{drifted if one.report.enough else 'too few rows'}"
        )
    return "\n".join(lines)
