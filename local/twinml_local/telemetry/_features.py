"""Which values of the scored rows are not like those that the model was trained on.

Only counts come out of here, never a value: per feature how many were looked at, below or
above the training range, of an unseen category, or null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twinml.contract import Contract

__all__ = ["KINDS", "FeatureChecks", "sample"]

KINDS = ("out_of_range", "unseen", "null")


class FeatureChecks:
    """A contract made ready to compare values with.

    Examples
    --------
    >>> from twinml.contract import Column
    >>> checks = FeatureChecks(Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=9, samples=(),
    ...     columns=(Column("age", "long", nullable=False, minimum=18, maximum=95),
    ...              Column("job", "string", nullable=True, categories=("admin.", "services"))),
    ... ))
    >>> checks.count({"age": [17, 41], "job": ["pilot", None]})
    {('age', 'out_of_range'): 1, ('job', 'unseen'): 1, ('job', 'null'): 1}
    """

    def __init__(self, contract: Contract) -> None:
        # Exact comparison: a range check against ±inf passes everything but nan.
        self._numeric = [
            (
                column.name,
                float("-inf") if column.minimum is None else column.minimum,
                float("inf") if column.maximum is None else column.maximum,
            )
            for column in contract.columns
            if column.type in ("long", "double")
        ]
        self._text = [
            (column.name, None if column.categories is None else frozenset(column.categories))
            for column in contract.columns
            if column.mlflow_type == "string"
        ]

    def count(self, columns: Mapping[str, Sequence[Any]]) -> dict[tuple[str, str], int]:
        """Return how many values of each feature are of each kind, where there are any.

        Parameters
        ----------
        columns
            Values by feature, as in ``ScoringRequest.columns``; a feature that is missing is
            not counted.
        """
        counts: dict[tuple[str, str], int] = {}
        for name, low, high in self._numeric:
            outside = nulls = 0
            for value in columns.get(name, ()):
                # nan differs from itself.
                if value is None or value != value:
                    nulls += 1
                elif not low <= value <= high:
                    outside += 1
            if outside:
                counts[name, "out_of_range"] = outside
            if nulls:
                counts[name, "null"] = nulls
        for name, known in self._text:
            unseen = nulls = 0
            for value in columns.get(name, ()):
                if value is None or value != value:
                    nulls += 1
                elif known is not None and value not in known:
                    unseen += 1
            if unseen:
                counts[name, "unseen"] = unseen
            if nulls:
                counts[name, "null"] = nulls
        return counts


def sample(
    columns: Mapping[str, Sequence[Any]], most: int
) -> tuple[Mapping[str, Sequence[Any]], int]:
    """Return at most ``most`` rows, evenly spread, and how many they are.

    Examples
    --------
    >>> sample({"age": [1, 2, 3, 4, 5]}, 2)
    ({'age': [1, 4]}, 2)
    """
    n_rows = len(next(iter(columns.values()), ()))
    if n_rows <= most:
        return columns, n_rows
    step = -(-n_rows // most)
    return {name: values[::step] for name, values in columns.items()}, -(-n_rows // step)
