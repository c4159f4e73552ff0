"""Which of two models is better on the same labelled rows, and whether that is more than chance.

Both models predict every row, so the comparison is paired: what both get right or wrong
alike cancels out, and far fewer rows show a difference than two separate groups would need.

* accuracy: McNemar's test on the rows where just one of the two is right
* ROC AUC, two classes: DeLong's test and interval, which know that both score the same rows
* log loss, and everything with more than two classes: paired bootstrap over rows

One metric, the primary one, decides; the others can only hold a decision back. ``RULE``
states it in words and ``ABResult.verdict`` carries it out. Under equal models "ship B"
comes up in at most about 2.5 % of comparisons, because only one test can cause it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinml.abtest._paired import Ranking, delong, difference_test, mcnemar, resamples
from twinml.errors import DataError, UsageError

__all__ = ["RULE", "ABResult", "Difference", "Verdict", "compare"]

Metric = Literal[
    "roc_auc", "log_loss", "accuracy", "root_mean_squared_error", "mean_absolute_error"
]
Floats = NDArray[np.float64]

LEVEL = 0.05
POWER = 0.8
RULE = (
    "Ship B if it is better on the primary metric at the two-sided 5 % level and not worse on "
    "another metric at that level; keep A if B is worse on the primary metric at that level or "
    "both give the same predictions; otherwise not yet."
)
METRIC_NAMES = {
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "root_mean_squared_error": "RMSE",
    "mean_absolute_error": "MAE",
}
HIGHER_IS_BETTER = ("roc_auc", "accuracy")

# Two-sided 95 % of the normal distribution, and the quantile of the power asked for.
Z_LEVEL = NormalDist().inv_cdf(1 - LEVEL / 2)
Z_POWER = NormalDist().inv_cdf(POWER)
# Past this many times the rows at hand, "collect more" is no advice.
HOPELESS = 100


@dataclass(frozen=True)
class Difference:
    """B minus A in one metric.

    Attributes
    ----------
    metric
        ``roc_auc``, ``log_loss`` or ``accuracy``; of numbers ``root_mean_squared_error`` or
        ``mean_absolute_error``.
    a, b, difference
        The values of A and B on all rows, and ``b - a``.
    low, high
        95 % interval of the difference, by ``interval_method``.
    interval_method
        ``DeLong`` or ``paired bootstrap``.
    p_value, test
        Two-sided; ``None`` where the interval is the test.
    bootstrap_low, bootstrap_high
        95 % paired bootstrap percentile interval of the same difference.
    standard_error
        Of the difference, at this number of rows.
    required_rows
        Labelled rows that would show this difference with power 0.8, were it the true one;
        ``None`` where the difference is zero.
    """

    metric: Metric
    a: float
    b: float
    difference: float
    low: float
    high: float
    interval_method: str
    p_value: float | None
    test: str
    bootstrap_low: float
    bootstrap_high: float
    standard_error: float
    required_rows: int | None

    @property
    def gain(self) -> float:
        """The difference turned so that positive means B is better."""
        return self.difference if self.metric in HIGHER_IS_BETTER else -self.difference

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 %: by the test, else by the interval."""
        if self.p_value is not None:
            return self.p_value < LEVEL
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Verdict:
    """What to do, and why in one sentence."""

    decision: Literal["ship B", "keep A", "not yet"]
    reason: str

    def __str__(self) -> str:
        return f"{self.decision}: {self.reason}"


@dataclass(frozen=True)
class ABResult:
    """The outcome of a paired comparison of two models.

    Attributes
    ----------
    names
        Of A and B.
    n_rows, n_classes, threshold, n_bootstrap, seed
        What was compared and how. ``threshold`` is the decision threshold on the second
        class when there are two classes, else ``None`` (argmax). Of numbers ``n_classes`` is 0.
    primary
        The metric that decides.
    differences
        One a metric, the primary one first.
    both_right, only_a_right, only_b_right, both_wrong
        Rows; McNemar's table. Of numbers "right" is the model that is nearer to the truth, and
        both are where both are as near.
    mcnemar_exact, mcnemar_mid_p
        Two-sided p-values of that table.
    verdict
        The decision by ``RULE``.
    """

    names: tuple[str, str]
    n_rows: int
    n_classes: int
    threshold: float | None
    n_bootstrap: int
    seed: int
    primary: Metric
    differences: tuple[Difference, ...]
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    mcnemar_exact: float
    mcnemar_mid_p: float
    verdict: Verdict

    def __getitem__(self, metric: str) -> Difference:
        """Return the difference in ``metric``."""
        for difference in self.differences:
            if difference.metric == metric:
                return difference
        raise KeyError(metric)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values, the rule included."""
        shape = asdict(self)
        shape["names"] = list(self.names)
        shape["differences"] = [
            asdict(item) | {"significant": item.significant} for item in self.differences
        ]
        shape["rule"] = RULE
        return shape

    def text(self) -> str:
        """Return the result as a table and a verdict."""
        first, second = self.names
        lines = [
            f"A = {first}",
            f"B = {second}",
            f"{self.n_rows:,} labelled rows, "
            f"{f'{self.n_classes} classes' if self.n_classes else 'a number'}, "
            "both models on every row",
            "",
            f"{'metric':<10}{'A':>10}{'B':>10}{'B - A':>11}   {'95 % interval':<24}"
            f"{'p':>8}  {'rows needed':>12}",
        ]
        for item in self.differences:
            p_value = "" if item.p_value is None else small(item.p_value)
            needed = "" if item.required_rows is None else f"{item.required_rows:,}"
            interval = f"{item.low:+.5f} to {item.high:+.5f}"
            lines.append(
                f"{METRIC_NAMES[item.metric]:<10}{item.a:>10.5f}{item.b:>10.5f}{item.difference:>+11.5f}"
                f"   {interval:<24}{p_value:>8}  {needed:>12}"
            )
        lines += [
            "",
            f"{self.on_rows()} "
            f"({'McNemar' if self.n_classes else 'sign test'}: "
            f"exact p {small(self.mcnemar_exact)}, mid-p {small(self.mcnemar_mid_p)})",
            "",
            f"Verdict: {self.verdict}",
            f"Rule: {RULE} Primary metric: {METRIC_NAMES[self.primary]}.",
        ]
        return "\n".join(lines)

    def on_rows(self) -> str:
        """Say on how many rows which of the two is right, or nearer."""
        if self.n_classes:
            return (
                f"right on a row: both {self.both_right:,}, only A {self.only_a_right:,}, "
                f"only B {self.only_b_right:,}, neither {self.both_wrong:,}"
            )
        return (
            f"nearer on a row: A {self.only_a_right:,}, B {self.only_b_right:,}, "
            f"as near {self.both_right:,}"
        )


def small(p_value: float) -> str:
    """Return a p-value in two digits; the far tail is not worth more than its order."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def compare(
    y_true: ArrayLike,
    prob_a: ArrayLike,
    prob_b: ArrayLike,
    *,
    names: tuple[str, str] = ("A", "B"),
    n_bootstrap: int = 1000,
    seed: int = 0,
    threshold: float = 0.5,
    primary: Metric | None = None,
) -> ABResult:
    """Compare two models on the same labelled rows.

    Parameters
    ----------
    y_true
        True classes as indices into the columns of the probabilities, shape (n,).
    prob_a, prob_b
        Class probabilities of each model, shape (n, k), rows sum to 1.
    names
        What to call A and B.
    n_bootstrap
        Resamples of the rows for the bootstrap intervals, at least 100.
    seed
        Of the resampling; the same seed gives the same result.
    threshold
        With two classes, class 1 is predicted where its probability is at least this.
    primary
        The metric that decides; ROC AUC with two classes, else log loss, by default.

    Returns
    -------
    ABResult

    Raises
    ------
    UsageError
        The arrays do not fit together or are not probabilities, or an option is out of range.
    DataError
        The labels cannot tell the models apart: fewer than two rows of a class.

    Examples
    --------
    >>> truth = [0, 1] * 200
    >>> unsure = [[0.6, 0.4], [0.4, 0.6]] * 200
    >>> sure = [[0.9, 0.1], [0.1, 0.9]] * 200
    >>> compare(truth, unsure, sure, primary="log_loss").verdict.decision
    'ship B'
    """
    labels, first, second = check(y_true, prob_a, prob_b)
    n, k = first.shape
    if n_bootstrap < 100:
        raise UsageError(f"n_bootstrap is {n_bootstrap}, expected at least 100")
    if not 0 < threshold < 1:
        raise UsageError(f"threshold is {threshold}, expected a number between 0 and 1")
    if primary not in (None, "roc_auc", "log_loss", "accuracy"):
        raise UsageError(f"primary is {primary!r}", hint="Choose roc_auc, log_loss or accuracy.")
    chosen: Metric = primary or ("roc_auc" if k == 2 else "log_loss")

    right_a = decide(first, threshold) == labels
    right_b = decide(second, threshold) == labels
    only_a = int(np.sum(right_a & ~right_b))
    only_b = int(np.sum(right_b & ~right_a))
    exact, mid_p = mcnemar(only_a, only_b)
    rows = {
        "accuracy": right_b.astype(np.float64) - right_a,
        "log_loss": row_losses(labels, second) - row_losses(labels, first),
    }
    rankings = [
        (Ranking(labels == j, first[:, j]), Ranking(labels == j, second[:, j]))
        for j in ([1] if k == 2 else range(k))
    ]
    # The same resamples serve every metric.
    drawn: dict[str, list[Floats]] = {"accuracy": [], "log_loss": [], "roc_auc": []}
    for weights in resamples(n, n_bootstrap, seed):
        for metric, values in rows.items():
            drawn[metric].append(weights @ values / n)
        gains = [b.weighted(weights) - a.weighted(weights) for a, b in rankings]
        drawn["roc_auc"].append(np.mean(gains, axis=0))
    draws = {metric: np.concatenate(parts) for metric, parts in drawn.items()}

    root = math.sqrt(n)
    area_a, area_b = (float(np.mean([pair[i].auc() for pair in rankings])) for i in (0, 1))
    auc_error = auc_p = None
    if k == 2:
        _, covariance = delong(labels == 1, [first[:, 1], second[:, 1]])
        auc_error, auc_p = difference_test(area_b - area_a, covariance)
    loss_a, loss_b = (float(row_losses(labels, given).mean()) for given in (first, second))
    differences = [
        difference("roc_auc", area_a, area_b, n, draws["roc_auc"], auc_error, auc_p, "DeLong"),
        difference(
            "log_loss", loss_a, loss_b, n, draws["log_loss"], rows["log_loss"].std(ddof=1) / root
        ),
        difference(
            "accuracy",
            float(right_a.mean()),
            float(right_b.mean()),
            n,
            draws["accuracy"],
            rows["accuracy"].std(ddof=1) / root,
            mid_p,
            "McNemar mid-p",
        ),
    ]
    ordered = sorted(differences, key=lambda item: item.metric != chosen)
    return ABResult(
        names=names,
        n_rows=n,
        n_classes=k,
        threshold=threshold if k == 2 else None,
        n_bootstrap=n_bootstrap,
        seed=seed,
        primary=chosen,
        differences=tuple(ordered),
        both_right=int(np.sum(right_a & right_b)),
        only_a_right=only_a,
        only_b_right=only_b,
        both_wrong=int(np.sum(~right_a & ~right_b)),
        mcnemar_exact=exact,
        mcnemar_mid_p=mid_p,
        verdict=judge(ordered, n, same=bool(np.array_equal(first, second))),
    )


def check(
    y_true: ArrayLike, prob_a: ArrayLike, prob_b: ArrayLike
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return labels (n,) and both probabilities (n, k) as arrays that fit together."""
    labels = np.asarray(y_true)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise UsageError(
            f"y_true has shape {labels.shape} and type {labels.dtype}",
            hint="Pass class indices, shape (n,), as integers.",
        )
    arrays = []
    for name, given in (("prob_a", prob_a), ("prob_b", prob_b)):
        array = np.asarray(given, dtype=np.float64)
        if array.ndim != 2 or len(array) != len(labels) or array.shape[1] < 2:
            raise UsageError(
                f"{name} has shape {array.shape}, expected ({len(labels)}, k) with k >= 2"
            )
        if not (np.all(array >= 0) and np.all(np.abs(array.sum(axis=1) - 1) <= 1e-6)):
            raise UsageError(
                f"{name} holds rows that are not probabilities",
                hint="Each row must be finite, not negative and sum to 1.",
            )
        arrays.append(array)
    first, second = arrays
    k = first.shape[1]
    if second.shape[1] != k:
        raise UsageError(f"prob_a has {k} classes, prob_b has {second.shape[1]}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < k):
        raise UsageError(
            f"y_true holds indices from {labels.min()} to {labels.max()}, expected 0 to {k - 1}"
        )
    indices = labels.astype(np.int64)
    counts = np.bincount(indices, minlength=k)
    if counts.min() < 2:
        raise DataError(
            f"the labelled rows hold {counts.min()} of class {int(counts.argmin())}, "
            "too few to compare models",
            hint="Give at least two labelled rows of every class, better hundreds.",
        )
    return indices, first, second


def decide(probabilities: Floats, threshold: float) -> NDArray[np.int64]:
    """Return the predicted class indices: by threshold with two classes, else the largest."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def row_losses(labels: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return each row's log loss in nats, shape (n,)."""
    given = probabilities[np.arange(len(labels)), labels]
    losses: Floats = -np.log(np.clip(given, np.finfo(np.float64).eps, 1.0))
    return losses


def difference(
    metric: Metric,
    a: float,
    b: float,
    n: int,
    draws: Floats,
    error: float | None,
    p_value: float | None = None,
    test: str = "bootstrap interval",
) -> Difference:
    """Put the difference in one metric together.

    ``draws`` are its resampled values, shape (n_bootstrap,); without ``error`` their spread is
    the standard error. DeLong's test comes with its own interval.
    """
    usable = draws[~np.isnan(draws)]
    low, high = (float(bound) for bound in np.quantile(usable, [LEVEL / 2, 1 - LEVEL / 2]))
    value = b - a
    spread = float(usable.std(ddof=1)) if error is None else float(error)
    normal = test == "DeLong" and error is not None
    half = Z_LEVEL * spread
    needed = None
    if value and spread:
        needed = math.ceil(n * ((Z_LEVEL + Z_POWER) * spread / value) ** 2)
    return Difference(
        metric=metric,
        a=a,
        b=b,
        difference=value,
        low=value - half if normal else low,
        high=value + half if normal else high,
        interval_method="DeLong" if normal else "paired bootstrap",
        p_value=p_value,
        test="bootstrap interval" if p_value is None else test,
        bootstrap_low=low,
        bootstrap_high=high,
        standard_error=spread,
        required_rows=needed,
    )


def judge(differences: Sequence[Difference], n: int, *, same: bool) -> Verdict:
    """Carry out ``RULE``; the first of ``differences`` is the primary metric's."""
    if same:
        return Verdict("keep A", "both give the same predictions on every row")
    primary, *others = differences
    title = METRIC_NAMES[primary.metric]
    seen = f"{primary.difference:+.5f} (95 % interval {primary.low:+.5f} to {primary.high:+.5f})"
    worse = " and ".join(METRIC_NAMES[d.metric] for d in others if d.significant and d.gain < 0)
    if primary.significant and primary.gain < 0:
        return Verdict("keep A", f"B is worse in {title}: {seen}")
    if primary.significant and not worse:
        return Verdict("ship B", f"it is better in {title}: {seen}, and worse in nothing else")
    if primary.significant:
        return Verdict("not yet", f"B is better in {title}: {seen}, but worse in {worse}")
    reason = f"the difference in {title} of {seen} may be chance"
    if worse:
        reason += f", and B is worse in {worse}"
    needed = primary.required_rows
    if primary.gain <= 0:
        reason += "; B is not ahead"
    elif needed and needed <= HOPELESS * n:
        reason += f"; were it the true one, {needed:,} labelled rows would show it (now {n:,})"
    elif needed:
        reason += f"; even {HOPELESS} times the {n:,} rows would hardly show one so small"
    return Verdict("not yet", reason)
