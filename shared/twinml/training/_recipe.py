"""A recipe is what the search chose; fitted on rows it becomes a scikit-learn pipeline.

The pipeline holds objects of scikit-learn, LightGBM, XGBoost and CatBoost only, so it loads
where neither this package nor FLAML is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from twinml.training._boosted_stack import BoostedStack, Join
from twinml.training._crossvalidation import fit
from twinml.training._ensemble import Vote
from twinml.training._preprocessing import Forms, encoder, string_columns
from twinml.training.learner import Learner
from twinml.training.tasks import Task

__all__ = ["Fitted", "Fitting", "Recipe", "fit_all"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """Encoder and members fitted on some rows; pipelines of them are cheap to assemble."""

    encoder: Pipeline
    members: Mapping[str, Any]
    task: Task
    sample: pd.DataFrame
    sample_truth: NDArray[Any]

    def encoded(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the encoded features of raw ones, (n, p)."""
        return np.asarray(self.encoder.transform(frame), dtype=np.float64)

    def pipeline(self, join: Join, threshold: float | None = None) -> Any:
        """Return the fitted pipeline that joins members and answers in the target's own values.

        Only public interfaces are used: members are frozen, so that ``fit`` on a few rows
        sets up the joining estimator without touching them.
        """
        rows = self.encoded(self.sample)
        labels = self.task.labels(self.sample_truth)
        if isinstance(join, Vote):
            members = [(name, FrozenEstimator(self.members[name])) for name in join.weights]
            model = self.task.vote(members, list(join.weights.values()))
        else:
            members = [(name, FrozenEstimator(self.members[name])) for name in join.members]
            boosted = isinstance(join, BoostedStack)
            final = join.final if isinstance(join, BoostedStack) else join.blend
            model = self.task.stack(members, FrozenEstimator(final), passthrough=boosted)
        model = model.fit(rows, labels)
        whole: Any = Pipeline([("encode", self.encoder), ("model", model)])
        if threshold is None or threshold == 0.5:
            return whole
        # The decision threshold goes with the model, so that every server applies it.
        return FixedThresholdClassifier(
            FrozenEstimator(whole),
            threshold=threshold,
            pos_label=self.task.labels(np.array([1]))[0],
            response_method="predict_proba",
        ).fit(self.sample, labels)


@dataclass(frozen=True)
class Recipe:
    """Learners with their configurations; ``fit`` trains each on the given rows."""

    members: Mapping[str, tuple[Learner, Mapping[str, Any]]]
    task: Task
    seed: int
    forms: Forms = field(default_factory=dict)

    def fit(
        self, frame: pd.DataFrame, y: NDArray[Any], weights: NDArray[np.float64], jobs: int
    ) -> Fitted:
        """Fit encoder and members; members at the same time, each on one core.

        Parameters
        ----------
        frame
            Raw features, n rows.
        y
            The truth as the task has it, shape (n,); every class must be there.
        """
        return fit_all([Fitting(self, frame, y, weights)], jobs)[0]


@dataclass(frozen=True)
class Fitting:
    """A recipe and rows to fit it on: see ``Recipe.fit``."""

    recipe: Recipe
    frame: pd.DataFrame
    y: NDArray[Any]
    weights: NDArray[np.float64]


def fit_all(fittings: Sequence[Fitting], jobs: int) -> list[Fitted]:
    """Fit several recipes, the members of all of them at the same time, each on one core."""
    encoders = [encoder(one.frame, one.recipe.forms) for one in fittings]
    encoded = [
        np.asarray(encode.fit_transform(one.frame), dtype=np.float64)
        for encode, one in zip(encoders, fittings, strict=True)
    ]
    shapes = [
        one.recipe.task.shape(len(string_columns(one.frame, one.recipe.forms)), one.recipe.seed)
        for one in fittings
    ]

    def fit_one(which: tuple[int, str]) -> Any:
        number, name = which
        one = fittings[number]
        learner, config = one.recipe.members[name]
        return fit(learner, config, encoded[number], one.y, one.weights, shapes[number])

    # Dearest first, so that no long fit starts when the others are done.
    order = sorted(
        ((number, name) for number, one in enumerate(fittings) for name in one.recipe.members),
        key=lambda which: (
            not which[1].endswith(("Forest", "Trees", "Boost")),
            -len(fittings[which[0]].y),
        ),
    )
    with ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,)) as pool:
        fitted = dict(zip(order, pool.map(fit_one, order), strict=True))
    result = []
    for number, one in enumerate(fittings):
        task = one.recipe.task
        # A row of each class sets up what joins the members; of numbers two will do.
        firsts = np.unique(task.classes_of(one.y), return_index=True)[1]
        some = firsts if len(firsts) > 1 else np.arange(2)
        result.append(
            Fitted(
                encoders[number],
                {name: fitted[number, name] for name in one.recipe.members},
                task,
                one.frame.iloc[some],
                one.y[some],
            )
        )
    return result
