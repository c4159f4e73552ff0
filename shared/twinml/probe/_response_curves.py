"""How the probability answers to one feature: swept through and beyond its training range.

The other features stay as they are in some real rows (individual conditional expectation,
Goldstein et al. 2015; their mean is Friedman's partial dependence). A curve shows where labels
flip, whether the model goes on rising beyond what it saw, and whether it only ever rises or falls
where that was declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinml.contract import Column, Contract
from twinml.contract.dates import written
from twinml.errors import UsageError

__all__ = ["Direction", "ResponseCurve", "read_monotonic", "sweep"]

Floats = NDArray[np.float64]
Score = Callable[[list[dict[str, Any]]], list[list[float]]]
Direction = Literal["+", "-"]

INSIDE = 15  # places within the training range
OUTSIDE = (0.05, 0.25, 1.0)  # widths of the range beyond each end
MOST_CATEGORIES = 24
REQUEST_ROWS = 1_000
# A step against the declared direction that is no rounding.
LEAST_STEP = 1e-9


@dataclass(frozen=True)
class ResponseCurve:
    """The answers to one feature; ``values`` and what follows have one entry a place.

    Attributes
    ----------
    feature
        Its name.
    values
        What was sent, ascending for numbers.
    inside
        Whether training had it.
    mean, low, high
        Of the probability of the last class, or the number, over the rows: mean, 10th and 90th
        percentile.
    positive
        Share of the rows that are predicted to be of that class; 0 of numbers.
    flipping
        Share of the rows whose label is not the same at all places inside the range.
    declared
        ``+`` or ``-`` where the probability must never fall, or never rise.
    violations, worst
        Rows that break this, and the largest step against it; 0 where nothing is declared.
    """

    feature: str
    values: tuple[Any, ...]
    inside: tuple[bool, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    positive: tuple[float, ...]
    flipping: float
    declared: Direction | None
    violations: int
    worst: float

    def to_dict(self) -> dict[str, Any]:
        """Return the response as JSON-able values."""
        return asdict(self)

    @property
    def reach(self) -> float:
        """Difference of the largest and the smallest mean inside the training range."""
        kept = [mean for mean, inside in zip(self.mean, self.inside, strict=True) if inside]
        return max(kept) - min(kept) if kept else 0.0


def read_monotonic(contract: Contract, given: Sequence[str]) -> dict[str, Direction]:
    """Read declarations such as ``duration:+`` and ``campaign:-``.

    Raises
    ------
    UsageError
        One is spelt otherwise, or names no numeric feature.
    """
    numeric = {column.name for column in contract.columns if column.type in ("long", "double")}
    found: dict[str, Direction] = {}
    for text in given:
        name, _, sign = text.rpartition(":")
        if sign not in ("+", "-") or not name:
            raise UsageError(
                f"'{text}' declares nothing", hint="It looks like duration:+ or age:-."
            )
        if name not in numeric:
            raise UsageError(
                f"'{name}' is no numeric feature",
                hint=f"Numeric are: {', '.join(sorted(numeric))}.",
            )
        found[name] = "+" if sign == "+" else "-"
    return found


def sweep(
    contract: Contract,
    score_proba: Score,
    rows: Sequence[Mapping[str, Any]],
    *,
    monotonic: Mapping[str, Direction] | None = None,
    threshold: float = 0.5,
) -> tuple[ResponseCurve, ...]:
    """Sweep every feature of ``rows`` and return the answers, strongest feature first.

    Parameters
    ----------
    contract
        Gives features, ranges and categories.
    score_proba
        Takes rows as dicts and returns their class probabilities, or numbers in lists of one.
    rows
        Real rows with every feature, n of them.
    monotonic
        What was declared, by feature.
    threshold
        Of the decision between two classes.

    Raises
    ------
    EndpointError
        The endpoint refuses values that the contract allows, or stopped answering.
    """
    declared = monotonic or {}
    places = {column.name: _places(column) for column in contract.columns}
    sent = [
        {**row, name: value}
        for name, values in places.items()
        for value, _ in values
        for row in rows
    ]
    answers: list[list[float]] = []
    for start in range(0, len(sent), REQUEST_ROWS):
        answers += score_proba(sent[start : start + REQUEST_ROWS])
    table = np.asarray(answers, dtype=np.float64)
    decided = (
        table[:, 1] >= threshold
        if table.shape[1] == 2
        else (table.argmax(axis=1) == table.shape[1] - 1) & (table.shape[1] > 1)
    )
    found, start = [], 0
    for name, values in places.items():
        end = start + len(values) * len(rows)
        if values:
            shape = len(values), len(rows)
            found.append(
                _response(
                    name,
                    values,
                    table[start:end, -1].reshape(shape),
                    decided[start:end].reshape(shape),
                    declared.get(name),
                )
            )
        start = end
    return tuple(sorted(found, key=lambda one: -one.reach))


def _response(
    name: str,
    values: Sequence[tuple[Any, bool]],
    shares: Floats,
    decided: NDArray[np.bool_],
    declared: Direction | None,
) -> ResponseCurve:
    """Put a feature's answers together; ``shares`` and ``decided`` are (places, rows)."""
    inside = np.array([known for _, known in values])
    kept = decided[inside]
    flipping = float((kept.any(axis=0) & ~kept.all(axis=0)).mean()) if len(kept) else 0.0
    against = np.zeros((1, shares.shape[1]))
    if declared is not None and len(shares) > 1:
        steps = np.diff(shares, axis=0)
        against = np.maximum(-steps if declared == "+" else steps, 0.0)
    return ResponseCurve(
        name,
        tuple(value for value, _ in values),
        tuple(inside.tolist()),
        tuple(shares.mean(axis=1).tolist()),
        tuple(np.quantile(shares, 0.1, axis=1).tolist()),
        tuple(np.quantile(shares, 0.9, axis=1).tolist()),
        tuple(decided.mean(axis=1).tolist()),
        flipping,
        declared,
        int((against > LEAST_STEP).any(axis=0).sum()),
        float(against.max()),
    )


def _places(column: Column) -> list[tuple[Any, bool]]:
    """Return the values to send, and whether training had each."""
    if column.type == "boolean":
        return [(False, True), (True, True)]
    if column.type == "string":
        return [(name, True) for name in (column.categories or ())[:MOST_CATEGORIES]]
    low, high = column.minimum, column.maximum
    if low is None or high is None:
        return []
    width = (high - low) or max(1.0, abs(high))
    numbers = [
        *(low - width * part for part in reversed(OUTSIDE)),
        *np.linspace(low, high, INSIDE).tolist(),
        *(high + width * part for part in OUTSIDE),
    ]
    if column.dates is not None:
        form = column.dates
        return [(written(number, form), low <= number <= high) for number in numbers]
    if column.type == "long":
        numbers = sorted({max(-(2**63), min(2**63 - 1, round(value))) for value in numbers})
    return [(value, low <= value <= high) for value in numbers]
