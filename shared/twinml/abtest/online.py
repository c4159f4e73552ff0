"""Which of two deployments is better on the requests that came, judged while they come.

Requests were shared out between A and B by the traffic rules, their labels came later::

    collected requests ─┬─ of A ─┐                       ┌─ as many each as the traffic says?
    ground truth ───────┴─ of B ─┴─▶ metric a request ──▶├─ difference, valid at every look
    telemetry: failures, latency ───────────────────────▶└─ guardrails
                                                          ▼
                                            ship B · keep A · not yet

The unit is the request: the metric of its rows is averaged, because traffic is shared out by
request and the rows of one are not independent. Requests that both deployments scored are mirror
traffic; with ``mirrored`` they alone are compared, as pairs, otherwise they are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.abtest._guardrail import FAILURES, Guardrail, guardrails
from twinml.abtest._request_losses import METRICS, Metric, best_metric, known, value
from twinml.abtest.offline import Verdict, small
from twinml.abtest.sequential import BURN_IN, Track, critical, paired, ratio_p_value, unpaired
from twinml.errors import UsageError
from twinml.traffic.collected import Request, Traffic
from twinml.traffic.metrics import RequestMetrics

__all__ = ["RULE", "Arm", "OnlineResult", "compare"]

Floats = NDArray[np.float64]

MISMATCH = 0.001  # below it nobody argues with a sample ratio mismatch
RULE = (
    "Not yet while the requests are not shared out as the traffic says, or labels are missing in "
    "one arm more than in the other; ship B once the interval of the difference lies on its better "
    "side and no guardrail is broken; keep A once it lies on the worse side, B fails more often, "
    "or, with a smallest effect named, the interval lies within it; otherwise not yet. The "
    "interval holds at every look, so one may look any time and stop when it says so."
)


@dataclass(frozen=True)
class Arm:
    """What one deployment got and did.

    Attributes
    ----------
    requests, labelled
        Collected requests, and those with a label for at least one row.
    value, deviation
        Mean and standard deviation of the metric over labelled requests; NaN without any.
    """

    deployment: str
    requests: int
    labelled: int
    value: float
    deviation: float


@dataclass(frozen=True)
class OnlineResult:
    """The outcome so far.

    Attributes
    ----------
    arms
        A and B.
    metric, alpha, tuned_for, effect
        What was asked: the metric, the chance of a wrong decision over all looks, the number of
        requests where the interval is narrowest, and the smallest effect that matters.
    mirrored
        Whether pairs of mirror traffic were compared.
    difference, low, high, p_value
        B minus A in the metric, its interval and its always-valid p-value, now; NaN before the
        burn-in.
    expected_share, mismatch_p
        Share of the requests that B should have, and the always-valid p-value of that; ``None``
        with ``mirrored``.
    labels_p
        p-value of "labels are as complete in B as in A".
    required
        Labelled requests that would decide, were the difference so far the true one.
    guardrails
        Failures and latency.
    left_out
        Requests that were left out, by reason.
    track, times
        How the difference developed, by request; for pictures, not in ``to_dict``.
    """

    arms: tuple[Arm, Arm]
    metric: Metric
    alpha: float
    tuned_for: int
    effect: float | None
    mirrored: bool
    difference: float
    low: float
    high: float
    p_value: float
    expected_share: float | None
    mismatch_p: float | None
    labels_p: float
    required: int | None
    guardrails: tuple[Guardrail, ...]
    left_out: Mapping[str, int]
    verdict: Verdict
    track: Track | None = field(repr=False)
    times: tuple[datetime, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values, the rule included."""
        shape = {
            name: value for name, value in vars(self).items() if name not in ("track", "times")
        }
        shape["arms"] = [asdict(arm) for arm in self.arms]
        shape["guardrails"] = [asdict(rail) for rail in self.guardrails]
        shape["verdict"] = asdict(self.verdict)
        return {**_null_for_nan(shape), "rule": RULE}

    def text(self) -> str:
        """Return the result as a table and a verdict."""
        title = METRICS[self.metric]
        lines = [f"{'':<4}{'deployment':<20}{'requests':>10}{'labelled':>10}{title:>14}"]
        for letter, arm in zip("AB", self.arms, strict=True):
            lines.append(
                f"{letter:<4}{arm.deployment:<20}{arm.requests:>10,}{arm.labelled:>10,}"
                f"{arm.value:>14.5f}"
            )
        lines.append("")
        if math.isfinite(self.low):
            lines.append(
                f"B - A  {self.difference:+.5f}, {1 - self.alpha:.0%} confidence sequence "
                f"{self.low:+.5f} to {self.high:+.5f}, always-valid p {small(self.p_value)}"
            )
        if self.mismatch_p is not None and self.expected_share is not None:
            requests = sum(arm.requests for arm in self.arms)
            lines.append(
                f"share of B {self.arms[1].requests / max(requests, 1):.1%}, expected "
                f"{self.expected_share:.1%}: mismatch p {small(self.mismatch_p)}"
            )
        lines += [f"guardrail {rail.name}: {rail.told}" for rail in self.guardrails]
        lines += [f"left out: {count:,} {reason}" for reason, count in self.left_out.items()]
        return "\n".join([*lines, "", f"Verdict: {self.verdict}", f"Rule: {RULE}"])


def compare(
    traffic: Traffic,
    labels: Mapping[tuple[str, int], str],
    *,
    deployments: tuple[str, str],
    expected_share: float | None = None,
    metric: Metric | None = None,
    threshold: float = 0.5,
    alpha: float = 0.05,
    tuned_for: int = 2_000,
    effect: float | None = None,
    mirrored: bool = False,
    measured: Sequence[RequestMetrics] = (),
    slowdown: float = 1.2,
) -> OnlineResult:
    """Compare deployments A and B on collected requests with labels.

    Parameters
    ----------
    traffic
        Collected requests of both.
    labels
        By request id and row, see ``twinml.traffic.feedback``.
    deployments
        Names of A, today's, and B, which may replace it.
    expected_share
        Of the requests of both that B should have got; needed unless ``mirrored``.
    metric
        Log loss where every answer holds probabilities, else accuracy, by default.
    threshold
        With two classes and probabilities: the second class is predicted from here on.
    alpha
        Chance of a wrong "ship B" or "keep A" over all looks, under equal deployments.
    tuned_for
        Labelled requests at which the interval is narrowest; choose it before looking.
    effect
        The smallest difference that matters; lets "no difference" be a reason to keep A.
    mirrored
        Compare requests that both scored, as pairs.
    measured
        What telemetry says about the deployments, for the guardrails.
    slowdown
        How many times A's 95th percentile B's may be.

    Raises
    ------
    DataError
        A label is no class, or answers do not hold what the metric needs.
    UsageError
        An option is out of range.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}", hint="It must be between 0 and 1.")
    if tuned_for < 2 * BURN_IN:
        raise UsageError(f"the test is tuned for {tuned_for} requests", hint="Take 200 or more.")
    if not mirrored and (expected_share is None or not 0 < expected_share < 1):
        raise UsageError(
            f"the share that B should have is {expected_share}",
            hint="Give both deployments traffic, or say it: --expected 90/10.",
        )
    arms, left_out = _arms(traffic, deployments, mirrored=mirrored)
    scored = [
        [(request, truth) for request in arm if (truth := known(request, labels))] for arm in arms
    ]
    chosen = metric or best_metric([request for arm in scored for request, _ in arm])
    values = [
        {request.id: value(request, truth, chosen, threshold) for request, truth in arm}
        for arm in scored
    ]
    if mirrored:
        order = [request for request, _ in scored[0] if request.id in values[1]]
        pairs = np.array([[one[request.id] for request in order] for one in values])
        track = paired(pairs[0], pairs[1], tuned_for=tuned_for, alpha=alpha) if order else None
        mismatch = None
    else:
        order, which, found = _in_order(scored, values)
        track = unpaired(which, found, tuned_for=tuned_for, alpha=alpha) if order else None
        assert expected_share is not None
        mismatch = _mismatch(arms, expected_share)
    described = (
        _described(deployments[0], arms[0], values[0]),
        _described(deployments[1], arms[1], values[1]),
    )
    labels_p = _labels_p(described)
    rails = guardrails(deployments, measured, slowdown=slowdown, alpha=alpha)
    low, high, difference, p_value = math.nan, math.nan, math.nan, 1.0
    required = None
    if track is not None:
        low, high, difference, p_value = (
            float(part[-1]) for part in (track.low, track.high, track.difference, track.p_value)
        )
        required = _required(track, tuned_for, alpha)
    outcome = _Outcome(
        chosen, difference, low, high, alpha, effect, described, mismatch, labels_p, rails, required
    )
    return OnlineResult(
        arms=described,
        metric=chosen,
        alpha=alpha,
        tuned_for=tuned_for,
        effect=effect,
        mirrored=mirrored,
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        expected_share=None if mirrored else expected_share,
        mismatch_p=mismatch,
        labels_p=labels_p,
        required=required,
        guardrails=rails,
        left_out=left_out,
        verdict=_judge(outcome),
        track=track,
        times=tuple(request.time for request in order),
    )


def _arms(
    traffic: Traffic, deployments: tuple[str, str], *, mirrored: bool
) -> tuple[tuple[list[Request], list[Request]], dict[str, int]]:
    """Sort requests to A and B; those that do not belong to the comparison are counted."""
    by_id: dict[str, list[Request]] = defaultdict(list)
    for request in traffic.requests:
        by_id[request.id].append(request)
    arms: tuple[list[Request], list[Request]] = ([], [])
    left_out: dict[str, int] = defaultdict(int)
    for same in by_id.values():
        asked = [one for one in same if one.deployment in deployments]
        names = {one.deployment for one in asked}
        if len(asked) > len(names):
            # The caller chooses the id, and may choose one twice: labels cannot be told apart.
            left_out["requests with an id that came more than once"] += len(asked)
        elif len(names) == 2 and not mirrored:
            left_out["copies and originals of mirror traffic"] += len(asked)
        elif len(names) == 1 and mirrored:
            left_out["requests that only one of them scored"] += 1
        else:
            for one in asked:
                arms[deployments.index(one.deployment)].append(one)
    return arms, dict(left_out)


def _in_order(
    scored: Sequence[Sequence[tuple[Request, Any]]], values: Sequence[Mapping[str, float]]
) -> tuple[list[Request], NDArray[np.int64], Floats]:
    """Return labelled requests of both arms by time, their arms (n,) and values (n,)."""
    both = [
        (request.time, request.id, which, request)
        for which, arm in enumerate(scored)
        for request, _ in arm
    ]
    both.sort(key=lambda item: item[:2])
    which = np.array([item[2] for item in both], dtype=np.int64)
    found = np.array([values[item[2]][item[1]] for item in both], dtype=np.float64)
    return [item[3] for item in both], which, found


def _mismatch(arms: tuple[list[Request], list[Request]], share: float) -> float:
    """Return the always-valid p-value of B's share among all requests, labelled or not."""
    both = [(one.time, one.id, which) for which, arm in enumerate(arms) for one in arm]
    if not both:
        return 1.0
    which = np.array([item[2] for item in sorted(both)], dtype=np.int64)
    return float(ratio_p_value(which, share)[-1])


def _described(name: str, arm: Sequence[Request], values: Mapping[str, float]) -> Arm:
    found = np.array(list(values.values()))
    return Arm(
        name,
        len(arm),
        len(values),
        float(found.mean()) if len(found) else math.nan,
        float(found.std(ddof=1)) if len(found) > 1 else math.nan,
    )


def _labels_p(arms: tuple[Arm, Arm]) -> float:
    """Return the chi-squared p-value of "labels are as complete in B as in A"."""
    table = np.array([[arm.labelled, arm.requests - arm.labelled] for arm in arms])
    if not (table.sum(axis=0).all() and table.sum(axis=1).all()):
        return 1.0
    from scipy.stats import chi2_contingency

    return float(chi2_contingency(table, correction=False).pvalue)


def _required(track: Track, tuned_for: int, alpha: float) -> int | None:
    """Return how many labelled requests would make the difference so far significant."""
    n, difference, error = (
        float(part[-1]) for part in (track.n, track.difference, track.standard_error)
    )
    sizes = n * np.logspace(0, 3, 600)
    reach = critical(sizes, tuned_for=tuned_for, alpha=alpha) * error * np.sqrt(n / sizes)
    enough = np.flatnonzero(reach < abs(difference))
    return math.ceil(sizes[enough[0]]) if len(enough) else None


@dataclass(frozen=True)
class _Outcome:
    """All that the verdict depends on."""

    metric: Metric
    difference: float
    low: float
    high: float
    alpha: float
    effect: float | None
    arms: tuple[Arm, Arm]
    mismatch: float | None
    labels_p: float
    rails: tuple[Guardrail, ...]
    required: int | None


def _judge(found: _Outcome) -> Verdict:
    """Carry out ``RULE``."""
    title = METRICS[found.metric]
    if found.mismatch is not None and found.mismatch < MISMATCH:
        return Verdict(
            "not yet",
            "the requests are not shared out as the traffic says, so A and B did not get the same "
            "kind of request; find out why first (deployments named by header, lost requests, "
            "traffic changed meanwhile: --last, --expected)",
        )
    if found.labels_p < MISMATCH:
        shares = [arm.labelled / arm.requests for arm in found.arms]
        return Verdict(
            "not yet",
            f"labels are known for {shares[0]:.1%} of A's requests and {shares[1]:.1%} of B's, "
            "which is not chance; wait until they are complete",
        )
    fewer = [rail for rail in found.rails if rail.name == FAILURES and rail.broken]
    if fewer:
        return Verdict("keep A", f"B fails more often: {fewer[0].told}")
    if not math.isfinite(found.low):
        return Verdict(
            "not yet",
            f"{found.arms[0].labelled:,} and {found.arms[1].labelled:,} labelled requests that "
            f"differ are too few; {BURN_IN} of each come before the first look",
        )
    seen = f"{found.difference:+.5f} ({found.low:+.5f} to {found.high:+.5f})"
    above, below = found.low > 0, found.high < 0
    better, worse = (above, below) if found.metric == "accuracy" else (below, above)
    if worse:
        return Verdict("keep A", f"B is worse in {title}: {seen}")
    if better:
        broken = [rail for rail in found.rails if rail.broken]
        if broken:
            return Verdict("not yet", f"B is better in {title}: {seen}, but {broken[0].told}")
        return Verdict("ship B", f"it is better in {title}: {seen}")
    if found.effect is not None and max(abs(found.low), abs(found.high)) < found.effect:
        return Verdict(
            "keep A", f"the difference in {title}, {seen}, is smaller than {found.effect:g}"
        )
    reason = f"the difference in {title}, {seen}, may be chance"
    if found.required is None:
        return Verdict("not yet", reason)
    return Verdict(
        "not yet",
        f"{reason}; were it the true one, about {found.required:,} labelled requests would show "
        f"it (now {sum(arm.labelled for arm in found.arms):,})",
    )


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _null_for_nan(item) for key, item in value.items()}
    return [_null_for_nan(item) for item in value] if isinstance(value, (list, tuple)) else value
