"""Two sides' answers to the same rows: where they differ, and why. Values in, values out.

::

    row ─▶ A answers ┐                    ┌ both as the model answers the row as sent: agreed
        └▶ B answers ┴ differ? ─▶ cause ──┤ one as the model answers what read_json made of it:
                                          │   input parsing
                                          ├ only one side scored it: refusal
                                          └ neither: the model, or its environment, differs
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinml.comparison._adversarial import Case
from twinml.comparison._answers import Answers, Reference
from twinml.comparison._environment import Package
from twinml.comparison.parsing import Changed
from twinml.errors import UsageError

__all__ = ["CAUSES", "Comparison", "Difference", "Side", "judge"]

Cause = Literal["input parsing", "model", "refusal", "unknown"]
CAUSES: Mapping[Cause, str] = {
    "input parsing": "the server read another number than was sent; the model agrees",
    "model": "the model, or the packages it runs on, answered otherwise",
    "refusal": "one side scored the row, the other refused it",
    "unknown": "no model at hand to tell input parsing from the model",
}
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
MOST_LISTED = 200


@dataclass(frozen=True)
class Side:
    """One of the two sides: its name, its address, and the digest of its model.

    ``latencies`` are the milliseconds of single-row requests; ``packages`` says where the
    versions of its packages were read.
    """

    name: str
    scoring_uri: str
    digest: str | None = None
    latencies: tuple[float, ...] = field(default=(), repr=False)
    packages: str = "not known"

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latencies in ms; NaN where there are none."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else math.nan


@dataclass(frozen=True)
class Difference:
    """A row that the sides answered differently.

    ``change`` is the largest |Δp| over the classes, NaN when a side refused the row; ``what``
    says which adversarial case it is, empty for a row of the data; ``told`` what a reply itself
    said of Azure's side.
    """

    row: int
    cause: Cause
    change: float
    labels: tuple[Any, Any]
    refusals: tuple[str, str]
    what: str
    changed: tuple[Changed, ...] = ()
    told: str = ""


def is_flagged(found: Difference) -> bool:
    """Tell whether a reply said so, or the reader of JSON changed a cell: that is never flagged."""
    return bool(found.told) or (found.cause == "input parsing" and bool(found.changed))


def is_explained(found: Difference, tolerance: float) -> bool:
    """Tell whether input parsing explains a difference, or the tolerance forgives it."""
    if found.cause == "input parsing":
        return True
    return found.cause != "refusal" and found.change <= tolerance and _equal(*found.labels)


@dataclass(frozen=True)
class Comparison:
    """The outcome.

    Attributes
    ----------
    sides
        A and B.
    n_rows, n_adversarial
        Rows in all, and how many of them were made up to be difficult.
    tolerance
        |Δp| up to which answers count as equal.
    same_labels, both_refused
        Rows.
    changes
        |Δp| of each row that both scored: the largest over the classes.
    differences
        Rows with another label, |Δp| > 0 or a one-sided refusal, in row order.
    changed_cells
        How many cells ``read_json`` changes among the rows; ``None`` without a model.
    packages
        That differ, or are on one side only.
    """

    sides: tuple[Side, Side]
    n_rows: int
    n_adversarial: int
    tolerance: float
    same_labels: int
    both_refused: int
    changes: NDArray[np.float64] = field(repr=False)
    differences: tuple[Difference, ...] = field(repr=False)
    changed_cells: int | None
    packages: tuple[Package, ...] = ()

    @property
    def n_scored(self) -> int:
        """Rows that both sides scored."""
        return len(self.changes)

    @property
    def causes(self) -> dict[str, int]:
        """Differing rows by cause, most frequent first."""
        return dict(Counter(each.cause for each in self.differences).most_common())

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """Differences beyond the tolerance that input parsing does not explain."""
        return tuple(each for each in self.differences if not is_explained(each, self.tolerance))

    @property
    def unflagged(self) -> tuple[Difference, ...]:
        """Differences of which no reply said that Azure's side takes the request otherwise."""
        return tuple(each for each in self.differences if not is_flagged(each))

    @property
    def same_model(self) -> bool | None:
        """Whether both serve the same model; ``None`` where a digest is not known."""
        one, other = (side.digest for side in self.sides)
        return None if one is None or other is None else one == other

    @property
    def passes(self) -> bool:
        """Whether nothing is left that input parsing does not explain."""
        return not self.unexplained and self.same_model is not False

    @property
    def max_change(self) -> float:
        """The largest |Δp|; 0 when no row was scored by both."""
        return float(self.changes.max()) if len(self.changes) else 0.0

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        a, b = (side.name for side in self.sides)
        if self.same_model is False:
            return f"{a} and {b} serve different models"
        if self.unexplained:
            return (
                f"{a} and {b} differ: {len(self.unexplained):,} of {self.n_rows:,} rows beyond "
                "what input parsing explains"
            )
        if not self.differences:
            return f"{a} and {b} predict alike, to the last bit, on all {self.n_rows:,} rows"
        return (
            f"{a} and {b} predict alike on {self.n_rows:,} rows: {len(self.differences):,} "
            "differ, and " + self._explained()
        )

    def _explained(self) -> str:
        parsing = self.causes.get("input parsing", 0)
        if parsing == len(self.differences):
            return "input parsing explains every one"
        return f"none by more than {self.tolerance:g} that input parsing does not explain"

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-able values; at most 200 differing rows are listed."""
        return {
            "verdict": self.verdict,
            "passes": self.passes,
            "rows": self.n_rows,
            "adversarial": self.n_adversarial,
            "scored": self.n_scored,
            "both_refused": self.both_refused,
            "same_labels": self.same_labels,
            "label_agreement": self.same_labels / self.n_scored if self.n_scored else None,
            "tolerance": self.tolerance,
            "max_change": self.max_change,
            "changes": {
                f"p{100 * share:g}": float(np.quantile(self.changes, share))
                for share in QUANTILES
                if len(self.changes)
            },
            "identical": int((self.changes == 0).sum()),
            "causes": self.causes,
            "unexplained": len(self.unexplained),
            "unflagged": len(self.unflagged),
            "changed_cells": self.changed_cells,
            "same_model": self.same_model,
            "sides": [_side(side) for side in self.sides],
            "packages": [asdict(package) for package in self.packages],
            "differences": [_difference(each) for each in self.differences[:MOST_LISTED]],
        }

    def text(self) -> str:
        """Return the comparison as text: labels, probabilities, causes, latencies, packages."""
        scored = self.n_scored
        lines = [
            self.verdict + ".",
            f"  Labels     {self.same_labels:,} of {scored:,} agree"
            + (f", {self.both_refused:,} rows refused by both" if self.both_refused else ""),
            f"  |Δp|       at most {self.max_change:.3g}, "
            f"0 on {int((self.changes == 0).sum()):,} of {scored:,} rows",
        ]
        lines += [f"  Cause      {cause}: {n:,} rows" for cause, n in self.causes.items()]
        if self.differences:
            told = len(self.differences) - len(self.unflagged)
            lines.append(f"  Flagged    {told:,} of {len(self.differences):,} differing rows")
        lines += [
            f"  Latency    {side.name}: median {side.percentile(50):.1f} ms, "
            f"99 % below {side.percentile(99):.1f} ms"
            for side in self.sides
            if side.latencies
        ]
        used = [package for package in self.packages if package.used]
        lines += [
            f"  Package    {package.name}: {' and '.join(v or 'none' for v in package.versions)}"
            for package in used
        ]
        for each in self.unexplained[:5]:
            answers = [each.refusals[n] or str(each.labels[n]) for n in (0, 1)]
            lines.append(
                f"  Row {each.row:<6} {each.what or 'data'}: {each.cause}, "
                f"{' against '.join(answers)}, |Δp| {each.change:.3g}"
            )
        return "\n".join(lines)


def _side(side: Side) -> dict[str, Any]:
    latency = {f"p{p}": side.percentile(p) for p in (50, 90, 99)} if side.latencies else None
    return {
        "name": side.name,
        "scoring_uri": side.scoring_uri,
        "digest": side.digest,
        "packages": side.packages,
        "latency_ms": latency,
    }


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "row": each.row,
        "what": each.what,
        "cause": each.cause,
        "change": None if math.isnan(each.change) else each.change,
        "labels": list(each.labels),
        "refusals": list(each.refusals),
        "told": each.told,
        "changed": [
            {"column": cell.column, "sent": cell.sent, "became": _plain(cell.became)}
            for cell in each.changed
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def judge(
    sides: tuple[Side, Side],
    answers: tuple[Answers, Answers],
    *,
    cases: Sequence[Case] = (),
    reference: Reference | None = None,
    tolerance: float = 0.0,
    packages: Sequence[Package] = (),
) -> Comparison:
    """Compare two sides' answers row by row.

    Parameters
    ----------
    answers
        Of A and B to the same rows.
    cases
        The adversarial cases, which are the last rows.
    reference
        What the model itself answers; without it every difference is of unknown cause.
    tolerance
        |Δp| up to which answers count as equal.

    Raises
    ------
    UsageError
        The two did not get the same number of rows.
    """
    a, b = answers
    n_rows = len(a.labels)
    if len(b.labels) != n_rows:
        raise UsageError(f"one side answered {n_rows} rows, the other {len(b.labels)}")
    first_case = n_rows - len(cases)
    cells: dict[int, list[Changed]] = {}
    for cell in reference.changed if reference else ():
        cells.setdefault(cell.row, []).append(cell)
    moved = np.abs(a.probabilities - b.probabilities).max(axis=1, initial=0.0)
    differences, same_labels = [], 0
    for row in range(n_rows):
        refused = [row in side.refusals for side in answers]
        labels = (a.labels[row], b.labels[row])
        same_label = _equal(*labels)
        if all(refused):
            continue
        same_labels += same_label and not any(refused)
        if same_label and moved[row] == 0 and not any(refused):
            continue
        case = cases[row - first_case] if row >= first_case else None
        differences.append(
            Difference(
                row=row,
                cause=_cause(row, answers, reference),
                change=math.nan if any(refused) else float(moved[row]),
                labels=labels,
                refusals=(_words(a, row), _words(b, row)),
                what=f"{case.column}: {case.what}" if case else "",
                changed=tuple(cells.get(row, ())),
                told=a.told.get(row) or b.told.get(row, ""),
            )
        )
    scored = np.array([row not in a.refusals and row not in b.refusals for row in range(n_rows)])
    return Comparison(
        sides=sides,
        n_rows=n_rows,
        n_adversarial=len(cases),
        tolerance=tolerance,
        same_labels=same_labels,
        both_refused=len(a.refusals.keys() & b.refusals.keys()),
        changes=moved[scored] if n_rows else moved,
        differences=tuple(differences),
        changed_cells=len(reference.changed) if reference else None,
        packages=tuple(packages),
    )


def _cause(row: int, answers: tuple[Answers, Answers], reference: Reference | None) -> Cause:
    if reference is None:
        refused = [row in side.refusals for side in answers]
        return "refusal" if any(refused) else "unknown"
    readings = (reference.exact, reference.parsed)
    # Each side answers as the model does to one of the two readings, and not both to one.
    if all(any(_agree(side, reading, row) for reading in readings) for side in answers):
        return "input parsing"
    return "refusal" if any(row in side.refusals for side in answers) else "model"


def _agree(side: Answers, model: Answers, row: int) -> bool:
    """Whether a side answered a row as the model did, to the last bit, refusals included."""
    if row in side.refusals or row in model.refusals:
        return row in side.refusals and row in model.refusals
    return _equal(side.labels[row], model.labels[row]) and bool(
        np.array_equal(side.probabilities[row], model.probabilities[row])
    )


def _equal(one: Any, other: Any) -> bool:
    # JSON knows true from 1, and Python does not.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _words(side: Answers, row: int) -> str:
    refusal = side.refusals.get(row)
    return f"{refusal.status}: {refusal.message}" if refusal else ""
