"""The results of a replay by period, and overall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinml.errors import DataError

__all__ = ["Entry", "Foretold", "History", "Metric", "Scores", "scores"]

# An estimate without labels is right if it is off by no more, in ROC AUC.
RIGHT = 0.02

Floats = NDArray[np.float64]
Metric = Literal["ranking", "loss"]
NAMES: dict[Metric, str] = {"ranking": "ROC AUC", "loss": "log loss"}
NAMES_OF_NUMBERS: dict[Metric, str] = {"ranking": "Spearman correlation", "loss": "RMSE"}
Decision = Literal["kept", "promoted", "no challenger"]


@dataclass(frozen=True)
class Scores:
    """How well rows of a period were ranked, and what was lost on them.

    Attributes
    ----------
    ranking
        ROC AUC, ``None`` where the rows have one class only; with more than two classes the mean
        of each class against the rest, weighted by its rows. Of numbers Spearman's correlation,
        ``None`` where they are all the same.
    loss
        Log loss (nats), or the root mean squared error in the target's unit.
    """

    ranking: float | None
    loss: float


@dataclass(frozen=True)
class Foretold:
    """The ROC AUC of a period as it was estimated before its labels came, and as it was.

    Attributes
    ----------
    estimated, margin, doubt
        As in ``twinml.drift.estimated``.
    truth
        By the labels; nan where the period has one class only.
    """

    estimated: float
    truth: float
    margin: float
    doubt: str

    @property
    def right(self) -> bool:
        """Whether it was off by no more than .02."""
        return abs(self.estimated - self.truth) <= RIGHT + 1e-9


def scores(truth: NDArray[Any], probabilities: Floats) -> Scores:
    """Return the scores of ``probabilities``, shape (n, k), against class numbers, shape (n,).

    Of a regression these are numbers, shapes (n, 1) and (n,).

    Probabilities of 0 and 1 are drawn in by the machine's smallest step, as scikit-learn does.

    Raises
    ------
    DataError
        There are no rows.

    Examples
    --------
    >>> scores(np.array([0, 1]), np.array([[0.8, 0.2], [0.4, 0.6]])).ranking
    1.0
    """
    from sklearn.metrics import log_loss, roc_auc_score

    from twinml.training.tasks import Regression

    if not len(truth):
        raise DataError("no rows to measure")
    if probabilities.shape[1] == 1:
        found = Regression().score(truth, probabilities)
        ranking = found["spearman_correlation"]
        return Scores(None if math.isnan(ranking) else ranking, found["root_mean_squared_error"])
    classes = np.arange(probabilities.shape[1])
    loss = float(log_loss(truth, probabilities, labels=classes))
    seen = np.unique(truth)
    if len(seen) < 2:
        return Scores(None, loss)
    if len(classes) == 2:
        return Scores(float(roc_auc_score(truth, probabilities[:, 1])), loss)
    areas = [float(roc_auc_score(truth == each, probabilities[:, each])) for each in seen]
    weights = [int(np.sum(truth == each)) for each in seen]
    return Scores(float(np.average(areas, weights=weights)), loss)


@dataclass(frozen=True)
class Entry:
    """One period.

    Attributes
    ----------
    number, label, n_rows
        The period.
    shares
        Share of each class among its labels; of numbers their mean, under the target's name.
    first, kept
        Scores of the model that never learns again, and of what the endpoint answered.
    champion
        The version that had most of the traffic.
    challenger
        The version that had the rest, if any.
    drifted
        Features whose distribution changed against the rows that the champion learned from.
    why
        Why the pipeline was run after this period; empty if it was not.
    decision, reason
        What became of the challenger once the labels were there, and why.
    proposed
        The version that the pipeline registered after this period, if any.
    seconds
        How long the period took in all.
    foretold
        How the endpoint's answers were estimated before the labels came; ``None`` of numbers.
    """

    number: int
    label: str
    n_rows: int
    shares: dict[str, float]
    first: Scores
    kept: Scores
    champion: str
    challenger: str | None
    drifted: tuple[str, ...]
    why: str
    decision: Decision
    reason: str
    proposed: str | None
    seconds: float
    foretold: Foretold | None = None


@dataclass(frozen=True)
class History:
    """A whole replay.

    ``random_split`` holds the figures of a model that was trained and measured on rows drawn
    at random from the whole table: what one would have expected.
    """

    name: str
    classes: tuple[str, ...]
    learned_from: str
    window: int
    random_split: Scores
    entries: tuple[Entry, ...]
    seconds: float

    @property
    def names(self) -> dict[Metric, str]:
        """What the scores are called."""
        return NAMES if self.classes else NAMES_OF_NUMBERS

    @property
    def promotions(self) -> int:
        """How often a challenger became champion."""
        return sum(entry.decision == "promoted" for entry in self.entries)

    @property
    def retrainings(self) -> int:
        """How often the pipeline was run."""
        return sum(bool(entry.why) for entry in self.entries)

    @property
    def honesty(self) -> tuple[int, int, int]:
        """How many periods were estimated, of how many it said that it knows, and was right."""
        told = [entry.foretold for entry in self.entries if entry.foretold is not None]
        known = [one for one in told if not one.doubt]
        return len(told), len(known), sum(one.right for one in known)

    def overall(self, which: Literal["first", "kept"]) -> Scores:
        """Return the scores over all periods, weighted by rows."""
        found: Sequence[Scores] = [getattr(entry, which) for entry in self.entries]
        rows = [entry.n_rows for entry in self.entries]
        ranked = [
            (one.ranking, n) for one, n in zip(found, rows, strict=True) if one.ranking is not None
        ]
        area = (
            float(np.average([a for a, _ in ranked], weights=[n for _, n in ranked]))
            if ranked
            else None
        )
        losses = np.array([one.loss for one in found])
        if not self.classes:  # a root of means
            return Scores(area, math.sqrt(float(np.average(losses**2, weights=rows))))
        return Scores(area, float(np.average(losses, weights=rows)))

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        first, kept = self.overall("first").loss, self.overall("kept").loss
        name = self.names["loss"]
        if math.isclose(first, kept, rel_tol=0.01):
            return f"Learning again changed little: {name} {kept:.3f} against {first:.3f}."
        better = "lower" if kept < first else "higher"
        return (
            f"With the loop the {name} is {kept:.3f}, without it {first:.3f}: "
            f"{abs(kept / first - 1):.0%} {better}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **asdict(self),
            "verdict": self.verdict,
            "overall": {
                "first": asdict(self.overall("first")),
                "kept": asdict(self.overall("kept")),
            },
            "promotions": self.promotions,
            "retrainings": self.retrainings,
            "estimates": dict(zip(("made", "known", "right"), self.honesty, strict=True)),
        }
