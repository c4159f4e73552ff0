"""What the search knows of a learner, and what came of one of its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.training._crossvalidation import FoldData, FoldFit
from twinml.training._rounds import MOST_ROUNDS
from twinml.training.learner import Learner

__all__ = ["Found", "Outcome", "completed", "plain"]

Matrix = NDArray[np.float64]


@dataclass
class Found:
    """The state of one learner in the search.

    ``reach`` is rate times rounds of the last boosting, until it was stopped.
    """

    learner: Learner
    searcher: Any = None
    best: Mapping[str, Any] | None = None
    loss: float = float("inf")
    out_of_fold: Matrix | None = None
    fold_losses: list[float] = field(default_factory=list)
    fold_seconds: float = 0.0
    spent: float = 0.0
    trials: int = 0
    proposals: int = 0
    second_per_work: float | None = None
    reach: float = 24.0
    note: str = ""
    closed: bool = False

    def predicted(self, config: Mapping[str, Any]) -> float:
        """Return the seconds that one fold of ``config`` should take."""
        rounds = self.learner.rounds
        if rounds is not None:
            number = min(MOST_ROUNDS, self.reach / float(config["learning_rate"]))
            config = {**config, rounds.name: number}
        return (self.second_per_work or 0.0) * self.learner.work(config)

    def learned_cost(self, config: Mapping[str, Any], fitted: FoldFit) -> None:
        """Note what a fold of ``config`` took."""
        rounds = self.learner.rounds
        if rounds is not None:
            self.reach = float(config["learning_rate"]) * len(fitted.losses)
            config = {**config, rounds.name: len(fitted.losses)}
        cost = fitted.seconds / self.learner.work(config)
        known = self.second_per_work
        # The dearer of the last and a fading memory: cheap surprises are harmless.
        self.second_per_work = cost if known is None else max(cost, 0.5 * (cost + known))


@dataclass(frozen=True)
class Outcome:
    """A configuration that ran: to its end, with ``predicted``, or not, with ``note``."""

    trial_id: str
    config: Mapping[str, Any]
    losses: list[float]
    started: float
    predicted: Matrix | None = None
    note: str = ""
    failed: bool = False
    fold_seconds: float = 0.0


def completed(
    data: FoldData,
    learner: Learner,
    trial_id: str,
    config: Mapping[str, Any],
    fits: Sequence[FoldFit],
    started: float,
) -> Outcome:
    """Return what came of a configuration, every judged row by the model that did not see it."""
    seconds = [fitted.seconds for fitted in fits]
    predicted, chosen = data.out_of_fold(learner, fits)
    if learner.rounds is not None:
        config = {**config, learner.rounds.name: chosen}
        # A refit stops at the chosen round.
        seconds = [one.seconds * min(1.0, chosen / len(one.losses)) for one in fits]
    tests = [test for _, test in data.folds[: len(fits)]]
    losses = [data.loss(test, predicted[test]) for test in tests]
    return Outcome(
        trial_id, config, losses, started, predicted, fold_seconds=float(np.mean(seconds))
    )


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in Python's own types, as learners and JSON want them."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in config.items()
    }
