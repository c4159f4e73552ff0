"""Two samples of rows, feature by feature: how far apart, and whether that is more than chance.

=================  ==============================  =======================================
feature            how far apart                   more than chance?
=================  ==============================  =======================================
many numbers       PSI over ten equal parts of     Kolmogorov-Smirnov on the values
                   the reference, null apart
few numbers,       PSI over the values             chi-squared on the counts, rare values
strings, booleans                                  together
=================  ==============================  =======================================

A feature has drifted if both say so: with many rows a test finds differences too small to
matter, with few rows the PSI is large by chance. The p-values of all features are adjusted
together (Benjamini and Hochberg 1995), so that at most a share ``alpha`` of those that are
called drifted are so by chance.

The PSI is the symmetric Kullback-Leibler divergence of two histograms; below 0.1 is usually
called stable, above 0.25 a major shift (Siddiqi, Credit Risk Scorecards, 2006).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinml.contract.dates import DateForm, date_form_of, moment
from twinml.contract.free_text import is_free_text
from twinml.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DriftReport", "FeatureDrift", "compare"]

Counts = NDArray[np.float64]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PARTS = 10  # of the reference, for the PSI of many numbers
FEW_VALUES = 10  # up to which numbers are compared value by value
MOST_VALUES = 50  # strings beyond the most frequent ones are compared together
LEAST_EXPECTED = 5  # rows; the usual bound for a chi-squared test
LEAST_ROWS = 50  # of the current sample; fewer tell nothing about a distribution
MODERATE, MAJOR = 0.1, 0.25
OTHER, NULL = "(other values)", "(null)"


@dataclass(frozen=True)
class FeatureDrift:
    """How one feature differs between reference and current rows.

    Attributes
    ----------
    feature
        Its name.
    kind
        ``numeric`` (compared by order) or ``categorical`` (value by value).
    psi
        Population stability index, 0 and up.
    level
        ``stable`` below 0.1, ``moderate`` below 0.25, else ``major``.
    test, statistic, p_value
        ``KS`` or ``chi2``; where nulls are on either side, the smaller of its p-value and that
        of the null shares, doubled.
    p_adjusted
        After Benjamini and Hochberg, over all features of the report.
    drifted
        ``p_adjusted < alpha`` and ``psi >= min_psi``.
    null_reference, null_current
        Shares of null, 0 to 1.
    outside
        Share of the current values that the reference does not have: an unseen category, or
        beyond its range.
    labels, reference, current
        The histogram behind the PSI: names of the parts, and the share of the rows in each.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    psi: float
    level: Literal["stable", "moderate", "major"]
    test: Literal["KS", "chi2"]
    statistic: float
    p_value: float
    p_adjusted: float
    drifted: bool
    null_reference: float
    null_current: float
    outside: float
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True)
class DriftReport:
    """The outcome of a comparison.

    Attributes
    ----------
    features
        Drifted ones first, then by PSI.
    n_reference, n_current
        Rows.
    alpha, min_psi
        What counts as drifted.
    missing, unknown
        Features of the reference that the current rows lack, and the other way round.
    enough
        Whether there are 50 current rows at least; with fewer nothing is called drifted.
    """

    features: tuple[FeatureDrift, ...]
    n_reference: int
    n_current: int
    alpha: float
    min_psi: float
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    enough: bool = True

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that have drifted."""
        return tuple(one.feature for one in self.features if one.drifted)

    def __getitem__(self, feature: str) -> FeatureDrift:
        """Return what was found about ``feature``."""
        for one in self.features:
            if one.feature == feature:
                return one
        raise KeyError(feature)

    def verdict(self) -> str:
        """Return the outcome in a sentence."""
        if not self.enough:
            return (
                f"not enough rows: {self.n_current:,} of the {LEAST_ROWS} that a comparison needs"
            )
        lacking = f"; {', '.join(self.missing)} did not come at all" if self.missing else ""
        if not self.drifted:
            return (
                f"no drift in {len(self.features)} features over {self.n_current:,} rows{lacking}"
            )
        return (
            f"{len(self.drifted)} of {len(self.features)} features drifted: "
            f"{', '.join(self.drifted)}{lacking}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {**asdict(self), "drifted": list(self.drifted), "verdict": self.verdict()}

    def text(self) -> str:
        """Return the report as a table and a verdict."""
        width = max([len(one.feature) for one in self.features] + [len("feature")])
        lines = [
            f"{self.n_current:,} rows against {self.n_reference:,} reference rows",
            "",
            f"{'feature':<{width}}  {'PSI':>7}  {'level':<8}  {'test':<5} {'p adjusted':>10}  "
            f"{'outside':>8}  {'null':>6} {'(was)':>7}",
        ]
        for one in self.features:
            adjusted = "< 0.0001" if one.p_adjusted < 1e-4 else f"{one.p_adjusted:.4f}"
            lines.append(
                f"{one.feature:<{width}}  {one.psi:>7.4f}  {one.level:<8}  {one.test:<5} "
                f"{adjusted:>10}  {one.outside:>8.1%}  {one.null_current:>6.1%} "
                f"{one.null_reference:>7.1%}{'  DRIFT' if one.drifted else ''}"
            )
        return "\n".join([*lines, "", f"Verdict: {self.verdict()}"])


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    features: Sequence[str] | None = None,
    alpha: float = 0.05,
    min_psi: float = MODERATE,
) -> DriftReport:
    """Compare current rows with reference rows, feature by feature.

    Parameters
    ----------
    reference
        Rows that the model was trained on, or a sample of them.
    current
        Rows to judge, with the same columns; others are ignored and named in the report.
    features
        Columns to compare; all of ``reference`` by default.
    alpha
        Share of wrong alarms among the features that are called drifted.
    min_psi
        A smaller PSI is never called drift, however sure it is.

    Returns
    -------
    DriftReport

    Raises
    ------
    UsageError
        ``alpha`` or ``min_psi`` is out of range, or ``features`` names no column.
    DataError
        The reference has no rows.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> before = pd.DataFrame({"age": rng.normal(40, 9, 900), "job": ["a", "b", "c"] * 300})
    >>> after = pd.DataFrame({"age": rng.normal(55, 9, 300), "job": ["a", "b", "c"] * 100})
    >>> compare(before, after).drifted
    ('age',)
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}, expected a number between 0 and 1")
    if not min_psi >= 0:
        raise UsageError(f"the least PSI is {min_psi}, expected 0 or more")
    if not len(reference):
        raise DataError("the reference has no rows", hint="Give rows that the model learned from.")
    wanted = [str(name) for name in (reference.columns if features is None else features)]
    strange = [name for name in wanted if name not in reference]
    if strange:
        raise UsageError(
            f"the reference has no column '{strange[0]}'",
            hint=f"It has: {', '.join(map(str, reference.columns))}.",
        )
    both = [name for name in wanted if name in current]
    enough = len(current) >= LEAST_ROWS
    found = []
    if len(current):
        found = [_compare_one(name, reference[name], current[name]) for name in both]
    adjusted = benjamini_hochberg(np.array([one["p_value"] for one in found]))
    judged = [
        FeatureDrift(
            **one,
            p_adjusted=float(p),
            drifted=is_drift(float(p), one["psi"], alpha=alpha, min_psi=min_psi, enough=enough),
        )
        for one, p in zip(found, adjusted, strict=True)
    ]
    return DriftReport(
        features=tuple(sorted(judged, key=lambda one: (not one.drifted, -one.psi))),
        n_reference=len(reference),
        n_current=len(current),
        alpha=alpha,
        min_psi=min_psi,
        missing=tuple(name for name in wanted if name not in current),
        unknown=tuple(str(name) for name in current.columns if name not in reference),
        enough=enough,
    )


def is_drift(p: float, psi: float, *, alpha: float, min_psi: float, enough: bool) -> bool:
    """Tell whether a feature has drifted: more than chance, far enough apart, enough rows."""
    return enough and p < alpha and psi >= min_psi


def level_of(psi: float) -> Literal["stable", "moderate", "major"]:
    """Return what a PSI is usually called."""
    if psi < MODERATE:
        return "stable"
    return "moderate" if psi < MAJOR else "major"


def either(p_value: float, null_p: float) -> float:
    """Return the p-value of two tests together, values and nulls: the smaller one, doubled."""
    return min(1.0, 2 * min(p_value, null_p))


def benjamini_hochberg(p_values: Counts) -> Counts:
    """Return p-values adjusted for the false discovery rate, in the given order.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    if not len(p_values):
        return p_values
    from scipy.stats import false_discovery_control

    adjusted: Counts = false_discovery_control(p_values)
    return adjusted


def psi(reference: Counts, current: Counts) -> float:
    """Return the population stability index of two histograms over the same parts, in rows.

    Half a row is added to every part, so that an empty one does not make it infinite.

    Examples
    --------
    >>> round(psi(np.array([50.0, 50.0]), np.array([90.0, 10.0])), 2)
    0.85
    """
    before = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    after = (current + 0.5) / (current.sum() + 0.5 * len(current))
    return float(np.sum((after - before) * np.log(after / before)))


def _compare_one(name: str, reference: pd.Series[Any], current: pd.Series[Any]) -> dict[str, Any]:
    """Return the fields of ``FeatureDrift`` but the two that need the other features."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    gone = np.array([float(part.isna().sum()) for part in (reference, current)])
    totals = np.array([float(len(reference)), float(len(current))])
    before, after = reference.dropna(), current.dropna()
    form = _date_form(reference)
    if form is not None:
        # Dates move on; what may change is on which days of the week.
        before, after = (part.map(lambda text: _weekday(text, form)) for part in (before, after))
    elif _is_free_text(reference):
        # No text comes again; what may change is how long they are.
        before, after = (part.map(lambda text: len(str(text).split())) for part in (before, after))
    numeric = (
        is_numeric_dtype(before) and not is_bool_dtype(before) and before.nunique() > FEW_VALUES
    )
    if numeric:
        values = [_numbers(name, part) for part in (before, after)]
        labels, counts = _parts(*values)
        test, statistic, p_value = "KS", *_kolmogorov_smirnov(*values)
        low, high = values[0].min(), values[0].max()
        outside = (values[1] < low) | (values[1] > high)
    else:
        before, after = before.map(_spelling), after.map(_spelling)
        labels, counts = _values(before, after)
        test, statistic, p_value = "chi2", *_chi_squared(counts)
        outside = ~after.isin(set(before)).to_numpy()
    if gone.any():
        null_p = _chi_squared(np.array([gone, totals - gone]).T)[1]
        p_value = either(p_value, null_p)
        labels = (*labels, NULL)
        counts = np.column_stack([counts, gone])
    shares = counts / totals[:, None]
    index = psi(counts[0], counts[1])
    return {
        "feature": name,
        "kind": "numeric" if numeric else "categorical",
        "psi": index,
        "level": level_of(index),
        "test": test,
        "statistic": statistic,
        "p_value": p_value,
        "null_reference": float(gone[0] / totals[0]),
        "null_current": float(gone[1] / totals[1]),
        "outside": float(outside.mean()) if len(outside) else 0.0,
        "labels": labels,
        "reference": tuple(shares[0].tolist()),
        "current": tuple(shares[1].tolist()),
    }


def _date_form(values: pd.Series[Any]) -> DateForm | None:
    """Return the form of the dates that texts are, if they are."""
    texts = values.dropna().unique().tolist() if values.dtype == object else []
    return date_form_of(texts) if texts and all(isinstance(one, str) for one in texts) else None


def _is_free_text(values: pd.Series[Any]) -> bool:
    texts = values.dropna().unique().tolist() if values.dtype == object else []
    return all(isinstance(one, str) for one in texts) and is_free_text(texts, values.notna().sum())


def _weekday(text: Any, form: DateForm) -> str:
    try:
        return WEEKDAYS[int(moment(text, form) // 86_400 + 3) % 7]
    except (TypeError, ValueError, AttributeError):
        return "no date"


def _numbers(name: str, values: pd.Series[Any]) -> Counts:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column '{name}' holds numbers in the reference and something else now: {error}",
            hint="Compare rows of the same contract.",
        ) from None


def _spelling(value: Any) -> str:
    """Return one spelling of what is one value: a whole number may have become a float."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _parts(before: Counts, after: Counts) -> tuple[tuple[str, ...], Counts]:
    """Count both in equal parts of the reference; what is beyond counts to the outer ones."""
    cuts = np.unique(np.quantile(before, np.linspace(0, 1, PARTS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(cuts, values, side="left"), minlength=len(cuts) + 1)
        for values in (before, after)
    ]
    inner = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(cuts)]
    labels = (f"up to {cuts[0]:g}", *inner, f"above {cuts[-1]:g}")
    return labels, np.array(counts, dtype=np.float64)


def _values(
    before: pd.Series[Any], after: pd.Series[Any]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Count both value by value, the most frequent of the reference first."""
    of_before, of_after = before.value_counts(), after.value_counts()
    known = list(of_before.index)
    names = [*known, *(name for name in of_after.index if name not in of_before.index)]
    kept = names[:MOST_VALUES]
    counts = [[float(part.get(name, 0)) for name in kept] for part in (of_before, of_after)]
    if len(names) > MOST_VALUES:
        kept.append(OTHER)
        for row, part in zip(counts, (of_before, of_after), strict=True):
            row.append(float(part.sum()) - sum(row))
    return tuple(kept), np.array(counts).reshape(2, -1)


def _kolmogorov_smirnov(before: Counts, after: Counts) -> tuple[float, float]:
    if not len(before) or not len(after):
        return 0.0, 1.0
    from scipy.stats import ks_2samp

    found = ks_2samp(before, after, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _chi_squared(counts: Counts) -> tuple[float, float]:
    """Return statistic and p-value of a table (2, k); values that are too rare go together."""
    total = counts.sum(axis=0)
    smaller = counts.sum(axis=1).min()
    if smaller == 0:
        return 0.0, 1.0
    rare = total * smaller / counts.sum() < LEAST_EXPECTED
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    from scipy.stats import chi2_contingency

    found = chi2_contingency(table, correction=False)
    return float(found.statistic), float(found.pvalue)
