"""What estimates are called where their figures are kept: by test rows, or out of fold."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OUT_OF_FOLD", "TEST", "WORDS", "figure_of"]

# What the names of figures begin with, and what is said of the rows.
TEST, OUT_OF_FOLD = "test", "out_of_fold"
WORDS = {TEST: "on test rows", OUT_OF_FOLD: "out of fold"}


def figure_of(metrics: Mapping[str, float], name: str) -> tuple[str, float] | None:
    """Return what a run logged of a metric, and by which rows.

    Examples
    --------
    >>> figure_of({"out_of_fold_f1": 0.5, "forward_f1": 0.4}, "f1"), figure_of({}, "f1")
    (('out_of_fold', 0.5), None)
    """
    for prefix in WORDS:
        if f"{prefix}_{name}" in metrics:
            return prefix, metrics[f"{prefix}_{name}"]
    return None
