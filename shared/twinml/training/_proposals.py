"""Which configuration of a learner is tried next: FLAML's CFO, from the learner's start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twinml.training._flaml_without_spark import CFO, tune
from twinml.training._found import Found, plain
from twinml.training._rounds import rate_for

__all__ = ["begin", "propose", "turn"]

# How often a searcher is asked before another learner gets the turn.
_ASKED = 5


def turn(one: Found, found: Sequence[Found]) -> float:
    """Return the order of a learner: the untried in their own order, then by time spent.

    A learner near the best gets more time than one far behind, which may still add what the
    others lack.
    """
    if one.searcher is None:
        return -1e9 + found.index(one)
    best = min(other.loss for other in found)
    behind = (one.loss - best) / max(best, 1e-9)
    return one.spent * (1.0 + 50.0 * behind)


def begin(one: Found, seconds: float, rows: int, folds: int, seed: int) -> None:
    """Give a learner its searcher.

    Parameters
    ----------
    seconds
        What the first configuration may take, all folds. Boosting learns as fast as is needed to
        come to its end in them.
    rows
        Training rows, by which learners choose where they start.
    """
    start = one.learner.start_on(rows)
    rounds = one.learner.rounds
    if rounds is not None:
        del start[rounds.name]
        if one.second_per_work is not None and seconds < float("inf"):
            a_round = one.second_per_work * one.learner.work({**start, rounds.name: 1})
            start["learning_rate"] = rate_for(start["learning_rate"], seconds / (folds * a_round))
    one.searcher = CFO(
        metric="loss",
        mode="min",
        space=one.learner.space(tune),
        points_to_evaluate=[start],
        seed=seed + 20,
    )


def propose(
    one: Found, too_dear: Callable[[Mapping[str, Any]], bool]
) -> tuple[str, Mapping[str, Any]] | None:
    """Return the next configuration of a learner that has begun and its number; ``None`` if none.

    A searcher that proposes what is ``too_dear`` learns to look elsewhere.
    """
    for _ in range(_ASKED):
        trial_id = f"{one.learner.name}-{one.proposals}"
        one.proposals += 1
        suggested = one.searcher.suggest(trial_id)
        if suggested is None:
            continue
        config = plain(suggested)
        if not too_dear(config):
            return trial_id, config
        one.searcher.on_trial_complete(trial_id, error=True)
    return None
