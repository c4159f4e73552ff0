"""What remains to be done once the search ends, in seconds, by what its folds took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from twinml.training._boosted_stack import USUAL_ROUNDS, turns
from twinml.training._evaluation import DEPENDENCE_SHARE, IMPORTANCE_SHARE
from twinml.training._found import Found
from twinml.training._rounds import MOST_GROWTH

__all__ = ["Reckoning"]

# To join members once, for each row, output and member.
_JOINING_SECONDS = 6e-7
# To measure what was refitted, for each row, output and member.
_MEASURING_SECONDS = 5e-6
_MEASURING_LEAST = 0.5
# What is kept for a boosted blend at most, of the budget.
_BLEND_SHARE = 0.15
# What a round of it takes, in rounds of the floor: trees are smaller, but predictions have more
# values than most features, and every round measures them.
_BLEND_ROUND = 1.5


@dataclass(frozen=True)
class Reckoning:
    """Seconds that a search has to leave.

    Attributes
    ----------
    rows
        That the search sees; ``fold_rows`` of them are fitted in each of its ``folds``.
    every_row
        All rows, which are measured.
    refits
        How many rows each refit has.
    outputs
        Classes, or 1 for a number.
    jobs
        Fits that run at the same time.
    budget
        Seconds, a share of which explains the model.
    blends
        Whether a stack may be blended by boosting.
    """

    rows: int
    fold_rows: int
    folds: int
    every_row: int
    refits: Sequence[int]
    outputs: int
    jobs: int
    budget: float
    blends: bool = False

    def blend_round(self, found: Sequence[Found]) -> float | None:
        """Return the seconds of a round of a boosted blend; ``None`` if there will be none.

        It is reckoned from what the floor took, which the same library boosted on the same rows.
        """
        for one in found:
            rounds, cost = one.learner.rounds, one.second_per_work
            if self.blends and one.learner.floor and rounds and cost is not None:
                return _BLEND_ROUND * cost * one.learner.work({**one.learner.floor, rounds.name: 1})
        return None

    def joining(self, found: Sequence[Found], slowness: float) -> float:
        """Return the seconds to join what was found, by all rows and without each fold.

        ``slowness`` is how much longer all takes because of others on the machine.
        """
        members = sum(one.best is not None for one in found)
        if members < 2:
            return 0.0
        once = _JOINING_SECONDS * self.rows * self.outputs * members
        blend = self.blend_round(found) or 0.0
        blend *= USUAL_ROUNDS * turns(self.folds, self.jobs)
        return slowness * once * (self.folds + 1) + min(blend, _BLEND_SHARE * self.budget)

    def refitting(self, found: Sequence[Found], slowness: float) -> float:
        """Return the seconds to refit what was found, to measure and to explain it.

        A refit takes what a fold took, for as many rows as it has, and boosting more rounds of
        more rows; all refits share the cores.
        """
        ready = [one for one in found if one.best is not None]
        each = []
        for one in ready:
            for size in self.refits:
                share = size / self.fold_rows
                growth = min(math.sqrt(share), MOST_GROWTH) if one.learner.rounds else 1.0
                each.append(one.fold_seconds * share * growth)
        refit = max(sum(each) / self.jobs, max(each, default=0.0))
        # What has not run yet takes longer where others use the machine too.
        values = self.every_row * self.outputs * len(ready)
        measuring = slowness * (_MEASURING_SECONDS * values + _MEASURING_LEAST)
        return refit + measuring + (IMPORTANCE_SHARE + DEPENDENCE_SHARE) * self.budget
