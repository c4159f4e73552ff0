"""How many requests with labels an online test needs, before it begins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twinml.errors import UsageError

if TYPE_CHECKING:
    from twinml.abtest.sequential import SampleSize

__all__ = ["planned", "shares", "text"]


def shares(given: str) -> tuple[float, float]:
    """Read a split such as ``90/10``; returns the shares of A and B, together 1.

    Examples
    --------
    >>> shares("90/10")
    (0.9, 0.1)
    """
    parts = given.split("/")
    try:
        first, second = (float(part) for part in parts)
    except ValueError:
        raise UsageError(
            f"'{given}' is not a split", hint="Give the parts of A and B, such as 90/10."
        ) from None
    total = first + second
    if not (first > 0 and second > 0 and math.isfinite(total)):
        raise UsageError(f"the split {given} leaves one of them nothing", hint="Such as 90/10.")
    return first / total, second / total


def planned(
    *,
    effect: float | None,
    baseline: float | None,
    deviation: float | None,
    split: str,
    alpha: float,
    power: float,
) -> SampleSize:
    """Return the sample size for the options as given.

    Raises
    ------
    UsageError
        The effect or the spread of the metric is not told, or out of range.
    """
    from twinml.abtest.sequential import sample_size

    if effect is None:
        raise UsageError(
            "--plan needs the smallest difference that matters", hint="Give it: --effect 0.01."
        )
    if (baseline is None) == (deviation is None):
        raise UsageError(
            "--plan needs to know how the metric spreads, once",
            hint="Give A's accuracy (--baseline 0.91) or, for another metric, its standard "
            "deviation over requests (--deviation 0.35; abtest --online --json prints it).",
        )
    if baseline is None or deviation is not None:
        return sample_size(
            deviation_a=deviation or 0.0,
            effect=effect,
            share=shares(split)[1],
            alpha=alpha,
            power=power,
        )
    better = baseline + effect
    if not (0 < baseline < 1 and 0 < better < 1):
        raise UsageError(
            f"an accuracy of {baseline:g} cannot become {better:g}",
            hint="Accuracies lie between 0 and 1.",
        )
    return sample_size(
        deviation_a=math.sqrt(baseline * (1 - baseline)),
        deviation_b=math.sqrt(better * (1 - better)),
        effect=effect,
        share=shares(split)[1],
        alpha=alpha,
        power=power,
    )


def text(size: SampleSize, per_day: float | None) -> str:
    """Return the sample size as text."""

    def days(requests: int) -> str:
        return "" if not per_day else f", {requests / per_day:,.1f} days"

    return "\n".join(
        [
            f"To find a difference of {size.effect:g} with power {size.power:.0%} "
            f"(alpha {size.alpha:g}, {size.share:.0%} of the requests to B), in labelled requests "
            "of both:",
            f"  looked at once, at the end      {size.fixed:>10,}{days(size.fixed)}",
            f"  looked at any time, at most     {size.sequential:>10,}{days(size.sequential)}",
            f"  looked at any time, on average  {size.expected:>10,}{days(size.expected)}",
            f"Then: twinml abtest --online --tuned-for {size.sequential} --effect {size.effect:g}",
        ]
    )
