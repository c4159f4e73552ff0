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
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from twinml.training._crossvalidation import fit
from twinml.training._ensemble import Stack, Vote
from twinml.training._preprocessing import Forms, encoder, string_columns
from twinml.training.learners import Learner, Shape

__all__ = ["Fitted", "Recipe", "Task", "fit_all"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """Encoder and members fitted on some rows; pipelines of them are cheap to assemble."""

    encoder: Pipeline
    members: Mapping[str, Any]
    shape: Shape
    sample: pd.DataFrame
    sample_labels: Rows

    def pipeline(
        self, join: Vote | Stack, classes: NDArray[Any], threshold: float | None = None
    ) -> Any:
        """Return the fitted pipeline that joins members and answers in ``classes``.

        Only public interfaces are used: members are frozen, so that ``fit`` on a few rows
        sets up the joining estimator without touching them.
        """
        rows = np.asarray(self.encoder.transform(self.sample), dtype=np.float64)
        labels = classes[self.sample_labels]
        if isinstance(join, Vote):
            model = VotingClassifier(
                [(name, FrozenEstimator(self.members[name])) for name in join.weights],
                voting="soft",
                weights=list(join.weights.values()),
            ).fit(rows, labels)
        else:
            model = StackingClassifier(
                [(name, FrozenEstimator(self.members[name])) for name in join.members],
                final_estimator=FrozenEstimator(join.blend),
                cv="prefit",
                stack_method="predict_proba",
            ).fit(rows, labels)
        whole: Any = Pipeline([("encode", self.encoder), ("model", model)])
        if threshold is None or threshold == 0.5:
            return whole
        # The decision threshold goes with the model, so that every server applies it.
        return FixedThresholdClassifier(
            FrozenEstimator(whole),
            threshold=threshold,
            pos_label=classes[1],
            response_method="predict_proba",
        ).fit(self.sample, labels)


@dataclass(frozen=True)
class Recipe:
    """Learners with their configurations; ``fit`` trains each on the given rows."""

    members: Mapping[str, tuple[Learner, Mapping[str, Any]]]
    n_classes: int
    seed: int
    forms: Forms = field(default_factory=dict)

    def fit(self, frame: pd.DataFrame, y: Rows, weights: NDArray[np.float64], jobs: int) -> Fitted:
        """Fit encoder and members; members at the same time, each on one core.

        Parameters
        ----------
        frame
            Raw features, n rows.
        y
            Labels 0 … k-1, shape (n,); every class must be there.
        """
        return fit_all([Task(self, frame, y, weights)], jobs)[0]


@dataclass(frozen=True)
class Task:
    """A recipe and rows to fit it on: see ``Recipe.fit``."""

    recipe: Recipe
    frame: pd.DataFrame
    y: Rows
    weights: NDArray[np.float64]


def fit_all(tasks: Sequence[Task], jobs: int) -> list[Fitted]:
    """Fit several recipes, the members of all of them at the same time, each on one core."""
    encoders = [encoder(task.frame, task.recipe.forms) for task in tasks]
    encoded = [
        np.asarray(encode.fit_transform(task.frame), dtype=np.float64)
        for encode, task in zip(encoders, tasks, strict=True)
    ]
    shapes = [
        Shape(
            len(string_columns(task.frame, task.recipe.forms)),
            task.recipe.n_classes,
            task.recipe.seed,
        )
        for task in tasks
    ]

    def fit_one(which: tuple[int, str]) -> Any:
        number, name = which
        task = tasks[number]
        learner, config = task.recipe.members[name]
        return fit(learner, config, encoded[number], task.y, task.weights, shapes[number])

    # Dearest first, so that no long fit starts when the others are done.
    order = sorted(
        ((number, name) for number, task in enumerate(tasks) for name in task.recipe.members),
        key=lambda which: (
            not which[1].endswith(("Forest", "Trees", "Boost")),
            -len(tasks[which[0]].y),
        ),
    )
    with ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,)) as pool:
        fitted = dict(zip(order, pool.map(fit_one, order), strict=True))
    result = []
    for number, task in enumerate(tasks):
        first_of_each = np.unique(task.y, return_index=True)[1]
        result.append(
            Fitted(
                encoders[number],
                {name: fitted[number, name] for name in task.recipe.members},
                shapes[number],
                task.frame.iloc[first_of_each],
                task.y[first_of_each],
            )
        )
    return result
