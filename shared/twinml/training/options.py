"""The options of a training run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from twinml.errors import UsageError
from twinml.training.metrics import AUTO, HIGHER_IS_BETTER
from twinml.training.splits import FORMS, is_split, split_column

__all__ = ["REFITS", "TUNED", "TrainingOptions", "parse_seconds"]

# What a threshold can be tuned for.
TUNED = ("accuracy", "balanced_accuracy", "f1")
# Rows that the model learns from at last.
REFITS = ("all", "train")
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|m|min|h)?", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_seconds(text: str) -> float:
    """Return the seconds that ``text`` names.

    Examples
    --------
    >>> parse_seconds("60s"), parse_seconds("5m"), parse_seconds("1.5h"), parse_seconds("90")
    (60.0, 300.0, 5400.0, 90.0)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"found {text!r} where a time was expected", hint="Write it as 60s, 5m or 1h."
        )
    return float(match["number"]) * _SECONDS[(match["unit"] or "s").lower()]


def _cores() -> int:
    return max(1, min(os.cpu_count() or 1, 8))


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of one training run, checked.

    Attributes
    ----------
    budget
        Seconds for search, ensemble, refit and evaluation together; ignored with ``trials``.
    trials
        Number of configurations to try instead of a time budget. The same data, options,
        package versions and kind of machine then give the same model, bit for bit.
    seed
        Seeds the splits, the learners and the search.
    metric
        Chooses the winner of the leaderboard and is the headline; the loss breaks ties.
        ``auto`` is ROC AUC, and log loss where that tells little: more than two classes, or
        candidates whose areas are the same; of numbers R². The search itself always follows the
        loss, log loss or the squared error: log loss rewards every part of the probabilities, and
        does better on the other metrics than a search on those (see docs/decisions).
    split
        ``random`` (stratified), ``ordered`` (the rows stand in time order; the last ones are
        the test), ``column:NAME`` (order by a column) or ``group:NAME`` (stratified; rows with
        the same value of a column stay on one side, in the hold-out and in the folds). The
        column then is no feature.
    test_size
        Share of the rows held out for the final estimate.
    folds
        Cross-validation folds on the training rows.
    class_weight
        ``None``, or ``balanced``: rows weigh inversely to the share of their class.
    threshold
        Decision threshold on the positive class of a binary target: a number, or
        ``accuracy``, ``balanced_accuracy`` or ``f1`` to tune it out-of-fold.
    learners
        Names to search; empty for all that are installed.
    refit
        Rows that the model learns from at last: ``all``, or ``train`` to leave out those held
        out. The figures are of the same recipe without them, either way.
    jobs
        Configurations tried at the same time, each on one core; on Spark the tasks at a time.
    engine
        Where configurations are fitted: ``local`` in this process, or ``spark``. With a number
        of trials the model is the same.
    """

    budget: float = 60.0
    trials: int | None = None
    seed: int = 0
    metric: str = AUTO
    split: str = "random"
    test_size: float = 0.2
    folds: int = 5
    class_weight: str | None = None
    threshold: float | str = 0.5
    learners: tuple[str, ...] = ()
    refit: str = "all"
    jobs: int = field(default_factory=_cores)
    engine: str = "local"

    def __post_init__(self) -> None:
        if self.trials is None and not self.budget > 0:
            raise UsageError(f"budget is {self.budget}", hint="Give more than 0 seconds.")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"trials is {self.trials}", hint="Try at least 1 configuration.")
        if self.metric not in (AUTO, *HIGHER_IS_BETTER):
            raise UsageError(
                f"there is no metric {self.metric!r}",
                hint=f"Choose one of {', '.join((AUTO, *HIGHER_IS_BETTER))}.",
            )
        if not is_split(self.split):
            raise UsageError(f"found split {self.split!r}", hint=f"Use {FORMS}.")
        if not 0.05 <= self.test_size <= 0.5:
            raise UsageError(f"test size is {self.test_size}", hint="Use 0.05 to 0.5.")
        if not 2 <= self.folds <= 20:
            raise UsageError(f"folds is {self.folds}", hint="Use 2 to 20.")
        if self.class_weight not in (None, "balanced"):
            raise UsageError(
                f"found class weight {self.class_weight!r}", hint="Use none or balanced."
            )
        if isinstance(self.threshold, str):
            if self.threshold not in TUNED:
                raise UsageError(
                    f"found threshold {self.threshold!r}",
                    hint="Use a number between 0 and 1, accuracy, balanced_accuracy or f1.",
                )
        elif not 0.0 < self.threshold < 1.0:
            raise UsageError(f"threshold is {self.threshold}", hint="Use a number between 0 and 1.")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed is {self.seed}", hint="Use 0 to 2147483647.")
        if self.engine not in ("local", "spark"):
            raise UsageError(f"found engine {self.engine!r}", hint="Use local or spark.")
        if self.refit not in REFITS:
            raise UsageError(f"found refit {self.refit!r}", hint="Use all or train.")
        if self.jobs < 1:
            raise UsageError(f"jobs is {self.jobs}", hint="Use at least 1.")

    @classmethod
    def parse(
        cls,
        *,
        budget: str,
        trials: int | None,
        seed: int,
        metric: str,
        split: str,
        class_weight: str,
        threshold: str,
        learners: str,
        refit: str = "all",
        jobs: int | None = None,
        engine: str = "local",
        workers: int | None = None,
    ) -> TrainingOptions:
        """Read the words of a command line.

        Parameters
        ----------
        budget
            A time such as ``60s``.
        class_weight
            ``none`` or ``balanced``.
        learners
            Names with commas between; empty for all.
        refit
            ``all`` or ``train``.
        workers
            Says on Spark what ``jobs`` says here.

        Raises
        ------
        UsageError
            One of them is not understood, or out of range.
        """
        limit: float | str
        try:
            limit = float(threshold)
        except ValueError:
            limit = threshold
        if workers is not None and (engine != "spark" or jobs is not None):
            raise UsageError("--workers goes with --engine spark, without --jobs", hint="Give one.")
        at_a_time = jobs if workers is None else workers
        return cls(
            budget=parse_seconds(budget),
            trials=trials,
            seed=seed,
            metric=metric,
            split=split,
            class_weight=None if class_weight == "none" else class_weight,
            threshold=limit,
            learners=tuple(name.strip() for name in learners.split(",") if name.strip()),
            refit=refit,
            jobs=_cores() if at_a_time is None else at_a_time,
            engine=engine,
        )

    @property
    def split_column(self) -> str | None:
        """The column that the rows are split by, if any."""
        return split_column(self.split)

    @property
    def reproducible(self) -> bool:
        """Whether the result depends on no clock."""
        return self.trials is not None

    def to_dict(self) -> Mapping[str, Any]:
        """Return the settings as they are shown in reports and logged to MLflow."""
        shown = asdict(self)
        shown["learners"] = list(self.learners)
        if self.reproducible:
            del shown["budget"]
        else:
            del shown["trials"]
        return shown
