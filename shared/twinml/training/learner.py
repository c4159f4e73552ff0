"""What a learner is to the search: how it is built and tried, and what its models need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinml.training._rounds import Rounds

__all__ = ["Build", "Config", "EstimatorKind", "Explainer", "Learner", "Shape"]

Config: TypeAlias = Mapping[str, Any]
Matrix: TypeAlias = NDArray[np.float64]
# What the estimators of the libraries end in.
EstimatorKind: TypeAlias = Literal["Classifier", "Regressor"]
EVERY_KIND: tuple[EstimatorKind, ...] = ("Classifier", "Regressor")
# The least that a leaf is searched with.
_SMALLEST_LEAF = 5


@dataclass(frozen=True)
class Shape:
    """The facts about the encoded training rows that a learner is built with.

    Attributes
    ----------
    n_codes
        So many columns come first that are codes of texts.
    n_outputs
        Classes, or 1 for a number.
    estimator
        Which kind of estimator is built.
    largest
        The largest number of the target.
    log_target
        Whether its logarithm is tried.
    """

    n_codes: int
    n_outputs: int
    seed: int
    estimator: EstimatorKind = "Classifier"
    largest: float = 0.0
    log_target: bool = False


Build: TypeAlias = Callable[[Config, Matrix, Shape], Any]


@dataclass(frozen=True)
class Explainer:
    """TreeSHAP of a learner's own library.

    Attributes
    ----------
    scores
        From a fitted member and encoded rows, shape (n, p), to its raw scores: log-odds, or of
        numbers the prediction.
    contributions
        From the same to what each feature added, the base last: shape (n, p + 1), or with k > 2
        classes (n, k, p + 1), flat or not.
    """

    scores: Callable[[Any, Matrix], Any]
    contributions: Callable[[Any, Matrix], Any]


@dataclass(frozen=True)
class Learner:
    """One kind of model and its search space.

    Attributes
    ----------
    name
        As on the leaderboard.
    build
        From a configuration, the encoded rows and their shape to an unfitted estimator.
    space
        From FLAML's ``tune`` to the search space.
    start
        The configuration that is tried first.
    work
        Cost of a configuration on any unit that is linear in time; ratios are what is used.
    leaf
        The parameter of the rows that a leaf has at least, where few rows begin with fewer.
    rounds
        How its boosting rounds are counted; their number is then measured, not searched.
    trees
        The parameter of a forest's number of trees: it gets fewer where not all have time.
    floor
        Its library's own defaults, where they are what no result may be worse than.
    packages
        What its models need to load and predict, by the names that pip knows.
    extra
        The extra of twinml's that installs them, where they are optional.
    automl
        The algorithm of Azure's AutoML that it stands for; ``{}`` stands for the kind.
    kinds
        Of estimators that it builds.
    explainer
        Its library's own; ``None`` leaves it to ``twinml.explanation``.
    suits
        Whether it has anything of its own to try on such encoded rows, (n, p).
    lacks
        What it says of rows that it does not suit.
    seen
        From encoded rows, (n, p), to what its library is fitted on; for predictions they stay
        as they are.
    tidy
        Removes from a fitted estimator what differs from run to run without changing any
        prediction, so that the same run gives the same bytes.
    """

    name: str
    build: Build
    space: Callable[[Any], dict[str, Any]]
    start: Config
    work: Callable[[Config], float]
    leaf: str | None = None
    rounds: Rounds | None = None
    trees: str | None = None
    floor: Config | None = None
    packages: tuple[str, ...] = ("scikit-learn",)
    extra: str | None = None
    automl: str | None = None
    kinds: tuple[EstimatorKind, ...] = EVERY_KIND
    explainer: Explainer | None = None
    suits: Callable[[Matrix, Shape], bool] = field(default=lambda X, shape: True)
    lacks: str = ""
    seen: Callable[[Matrix, Shape], Matrix] = field(default=lambda X, shape: X)
    tidy: Callable[[Any], None] = field(default=lambda estimator: None)

    def start_on(self, rows: int) -> dict[str, Any]:
        """Return the configuration that is tried first on so many rows.

        Where a leaf needs more than a tenth of them, a tree hardly splits at all.

        Examples
        --------
        >>> from twinml.training.learners import LEARNERS
        >>> [LEARNERS[0].start_on(rows)["min_child_samples"] for rows in (30, 59, 60, 399, 400)]
        [5, 5, 6, 39, 40]
        """
        start = dict(self.start)
        if self.leaf is not None:
            start[self.leaf] = min(start[self.leaf], max(_SMALLEST_LEAF, rows // 10))
        return start
