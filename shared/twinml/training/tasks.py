"""What is predicted, a class or a number, and all that depends on it: one object a task.

Whatever the task, predictions have the shape (n, k): probabilities of k classes, or k = 1 number.
What searches, joins, measures or compares asks the task for the rest: what the truth is, what a row
loses, which metrics there are, how members are put together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.errors import DataError, ModelError, UsageError
from twinml.training import _regression_metrics, metrics
from twinml.training.learner import EstimatorKind, Shape
from twinml.training.log_target import worth_trying

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from twinml.contract import Contract
    from twinml.training.result import Evaluation, Interval

__all__ = [
    "Classification",
    "Kind",
    "Regression",
    "Task",
    "figure",
    "predictions",
    "task_of",
    "task_of_model",
]

Kind: TypeAlias = Literal["classification", "regression"]
# Classes as indices, or numbers as they are, shape (n,).
Truth: TypeAlias = NDArray[Any]
Matrix: TypeAlias = NDArray[np.float64]
Members: TypeAlias = Sequence[tuple[str, Any]]

# A regression is split so that every part has values of all sizes.
STRATA = 10


def predictions(estimator: Any, X: Any) -> Matrix:
    """Return what a fitted estimator gives, (n, k): probabilities if it has them, else numbers."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(X), dtype=np.float64)
    return np.asarray(estimator.predict(X), dtype=np.float64)[:, None]


def figure(value: float) -> str:
    """Return a figure of any unit: four decimals, fewer of what is 100 or more.

    Examples
    --------
    >>> figure(0.91234), figure(1234.5678), figure(-250.0)
    ('0.9123', '1,234.6', '-250.0')
    """
    return f"{value:.4f}" if abs(value) < 100 or value != value else f"{value:,.1f}"


@dataclass(frozen=True)
class Task(ABC):
    """The target of one data set.

    Attributes
    ----------
    kind
        ``classification`` or ``regression``.
    estimator
        What the classes of the libraries end in: ``Classifier`` or ``Regressor``.
    metrics
        In the order in which they are shown.
    shown
        Those that a line has room for, with what they are called.
    loss_name
        The mean of the rows' losses: what the search follows.
    unit
        What squared errors of a library are divided by to be comparable losses.
    """

    kind: ClassVar[Kind]
    estimator: ClassVar[EstimatorKind]
    metrics: ClassVar[tuple[str, ...]]
    shown: ClassVar[Mapping[str, str]]
    loss_name: ClassVar[str]
    unit: float = field(default=1.0, kw_only=True)

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Columns of a prediction."""

    @abstractmethod
    def truth(self, labels: pd.Series | NDArray[Any]) -> Truth:
        """Return the target's values as what predictions are judged by, shape (n,).

        Raises
        ------
        DataError
            A value is none of the classes, or no finite number.
        """

    def shape(self, n_codes: int, seed: int) -> Shape:
        """Return what learners are told of encoded rows, whose first columns are codes."""
        return Shape(n_codes, self.n_outputs, seed, self.estimator)

    @abstractmethod
    def strata(self, truth: Truth) -> NDArray[np.int64]:
        """Return the group of each row that every part of a random split is to have rows of."""

    @abstractmethod
    def classes_of(self, truth: Truth) -> NDArray[np.int64]:
        """Return the class of each row, each of which must be there to learn and to measure."""

    def divided(self, truth: Truth, split: str) -> NDArray[np.int64]:
        """Return the groups that ``hold_out`` is to have on both sides of a split.

        Rows in order, and whole groups of rows, may not hold values of all sizes.
        """
        return self.strata(truth) if split == "random" else self.classes_of(truth)

    @abstractmethod
    def row_losses(self, truth: Truth, predicted: Matrix) -> Matrix:
        """Return what each prediction loses, shape (n,); its mean is ``loss_name``."""

    def loss(self, truth: Truth, predicted: Matrix, weights: Matrix | None = None) -> float:
        """Return the mean loss."""
        return float(np.average(self.row_losses(truth, predicted), weights=weights))

    @abstractmethod
    def baseline(self, truth: Truth, n: int) -> Matrix:
        """Return n predictions of who knows nothing but the training rows' target."""

    @abstractmethod
    def score(
        self, truth: Truth, predicted: Matrix, threshold: float | None = None
    ) -> dict[str, float]:
        """Return every metric by name; ``nan`` is what the rows cannot give."""

    @abstractmethod
    def bootstrap(
        self,
        truth: Truth,
        predicted: Matrix,
        threshold: float | None = None,
        *,
        resamples: int,
        seed: int,
    ) -> dict[str, Interval]:
        """Return every metric with its 95 % interval."""

    def check(self, asked: str) -> None:
        """Refuse a metric that the task has not.

        Raises
        ------
        UsageError
            The task has no such metric.
        """
        if asked not in (metrics.AUTO, *self.metrics):
            raise UsageError(
                f"the metric {asked!r} is none of a {self.kind}",
                hint=f"Choose one of {', '.join((metrics.AUTO, *self.metrics))}.",
            )

    @abstractmethod
    def chosen(self, asked: str, found: Sequence[Mapping[str, float]] = ()) -> str:
        """Return the metric that chooses and is the headline: what was asked for, if anything.

        Parameters
        ----------
        found
            The figures of the learners, out of fold.
        """

    def line(self, found: Evaluation, headline: str) -> str:
        """Return the main figures of an evaluation in a line, the headline with its interval."""
        held, names = found.metrics, dict.fromkeys([headline, *list(self.shown)[:3]])
        words = [f"{metrics.title(name)} {figure(held[name].value)}" for name in names]
        words[0] += f" [{figure(held[headline].low)}, {figure(held[headline].high)}]"
        return f"{', '.join(words)} (baseline {figure(found.baseline[list(names)[-1]])})"

    def comparable(self, metric: str, value: float) -> float:
        """Return a figure on a scale on which four decimals are what counts."""
        return value

    @abstractmethod
    def parts(self, stack: Mapping[str, Matrix], truth: Truth) -> Matrix:
        """Return what of each member's predictions a mean's losses follow from, shape (m, n)."""

    @abstractmethod
    def losses_of(self, parts: Matrix, truth: Truth, weights: Matrix) -> Matrix:
        """Return the mean loss of each of m predictions; ``weights`` sum to 1, shape (n,)."""

    @abstractmethod
    def blend(self) -> Pipeline:
        """Return the unfitted estimator that a stack blends its members with, ``linear`` its last.

        It takes the members' columns side by side.
        """

    @abstractmethod
    def vote(self, members: Members, weights: Sequence[float]) -> Any:
        """Return the unfitted scikit-learn estimator of a weighted mean."""

    @abstractmethod
    def stack(self, members: Members, final: Any, *, passthrough: bool = False) -> Any:
        """Return the unfitted scikit-learn estimator of a stack of fitted members."""

    @abstractmethod
    def labels(self, truth: Truth) -> NDArray[Any]:
        """Return the target's own values."""

    def confusion(
        self, truth: Truth, predicted: Matrix, threshold: float | None
    ) -> NDArray[np.int64]:
        """Return the rows by true and given class, shape (k, k); without classes (0, 0)."""
        return np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True)
class Classification(Task):
    """The target is one of ``classes``, in the order of the probabilities' columns."""

    classes: tuple[Any, ...] = ()

    kind: ClassVar[Kind] = "classification"
    estimator: ClassVar[EstimatorKind] = "Classifier"
    metrics: ClassVar[tuple[str, ...]] = metrics.METRICS
    loss_name: ClassVar[str] = "log_loss"
    shown: ClassVar[Mapping[str, str]] = {
        "roc_auc": "ROC AUC",
        "log_loss": "log loss",
        "accuracy": "accuracy",
        "average_precision": "avg. prec.",
    }

    @property
    def n_outputs(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def truth(self, labels: pd.Series | NDArray[Any]) -> NDArray[np.int64]:
        """Return each label's place among the classes."""
        places = {str(label): place for place, label in enumerate(self.classes)}
        values = [str(value) for value in np.asarray(labels).tolist()]
        strange = sorted(set(values) - places.keys())
        if strange:
            raise DataError(
                f"the label {strange[0]!r} is none of the classes {', '.join(places)}",
                hint="Name rows with the labels that the model knows.",
            )
        return np.array([places[value] for value in values], dtype=np.int64)

    def strata(self, truth: Truth) -> NDArray[np.int64]:
        """Return the classes."""
        return truth

    def classes_of(self, truth: Truth) -> NDArray[np.int64]:
        """Return the classes."""
        return truth

    def row_losses(self, truth: Truth, predicted: Matrix) -> Matrix:
        """Return minus the logarithm of the true class's probability."""
        return metrics.row_losses(truth, predicted)

    def baseline(self, truth: Truth, n: int) -> Matrix:
        """Return the shares of the classes."""
        shares = np.bincount(truth, minlength=self.n_outputs) / len(truth)
        return np.tile(shares, (n, 1))

    def score(
        self, truth: Truth, predicted: Matrix, threshold: float | None = None
    ) -> dict[str, float]:
        """Return the metrics of ``twinml.training.metrics``."""
        return metrics.score(truth, predicted, threshold)

    def bootstrap(
        self,
        truth: Truth,
        predicted: Matrix,
        threshold: float | None = None,
        *,
        resamples: int,
        seed: int,
    ) -> dict[str, Interval]:
        """Return them with intervals."""
        return metrics.bootstrap(truth, predicted, threshold, resamples=resamples, seed=seed)

    def parts(self, stack: Mapping[str, Matrix], truth: Truth) -> Matrix:
        """Return the probabilities of the true classes: nothing else enters the log loss."""
        rows = np.arange(len(truth))
        return np.stack([one[rows, truth] for one in stack.values()])

    def losses_of(self, parts: Matrix, truth: Truth, weights: Matrix) -> Matrix:
        """Return the log losses of the true classes' shares."""
        return np.asarray(-np.log(np.clip(parts, 1e-15, 1.0)) @ weights)

    def blend(self) -> Pipeline:
        """Return a logistic regression on clipped log-odds."""
        from scipy.special import logit
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import FunctionTransformer

        # Functions of numpy and scipy, by name: the model loads without this package.
        clip = FunctionTransformer(np.clip, kw_args={"a_min": _CLIP, "a_max": 1 - _CLIP})
        return Pipeline(
            [
                ("clip", clip),
                ("log_odds", FunctionTransformer(logit)),
                ("linear", LogisticRegression(C=1.0, max_iter=500)),
            ]
        )

    def vote(self, members: Members, weights: Sequence[float]) -> Any:
        """Return a soft vote."""
        from sklearn.ensemble import VotingClassifier

        return VotingClassifier(list(members), voting="soft", weights=list(weights))

    def stack(self, members: Members, final: Any, *, passthrough: bool = False) -> Any:
        """Return a stack of probabilities."""
        from sklearn.ensemble import StackingClassifier

        return StackingClassifier(
            list(members),
            final_estimator=final,
            cv="prefit",
            stack_method="predict_proba",
            passthrough=passthrough,
        )

    def confusion(
        self, truth: Truth, predicted: Matrix, threshold: float | None
    ) -> NDArray[np.int64]:
        """Return the counts; rows are the true classes."""
        return metrics.confusion(truth, metrics.decide(predicted, threshold), self.n_outputs)

    def chosen(self, asked: str, found: Sequence[Mapping[str, float]] = ()) -> str:
        """Return ROC AUC or log loss, as ``metrics.chosen_metric`` says, for ``auto``."""
        return metrics.chosen_metric(asked, self.n_outputs, [one["roc_auc"] for one in found])

    def labels(self, truth: Truth) -> NDArray[Any]:
        """Return the labels of places."""
        text = isinstance(self.classes[0], str)
        return np.array(self.classes, dtype=object if text else None)[truth]


# Probabilities of 0 and 1 from a forest would be infinite log-odds.
_CLIP = 1e-4


@dataclass(frozen=True)
class Regression(Task):
    """The target is a number, between ``low`` and ``high`` in the data; ``unit`` its variance.

    ``skewness`` is the mean cube of the standardized target.
    """

    low: float = 0.0
    high: float = 0.0
    skewness: float = 0.0

    kind: ClassVar[Kind] = "regression"
    estimator: ClassVar[EstimatorKind] = "Regressor"
    metrics: ClassVar[tuple[str, ...]] = _regression_metrics.METRICS
    loss_name: ClassVar[str] = "normalized_mean_squared_error"
    shown: ClassVar[Mapping[str, str]] = {
        "r2_score": "R²",
        "root_mean_squared_error": "RMSE",
        "mean_absolute_error": "MAE",
        "spearman_correlation": "Spearman",
    }

    @property
    def n_outputs(self) -> int:
        """One number."""
        return 1

    def shape(self, n_codes: int, seed: int) -> Shape:
        """Return it with what the logarithm of the target needs to be tried."""
        return replace(
            super().shape(n_codes, seed),
            largest=self.high,
            log_target=worth_trying(self.low, self.skewness),
        )

    @property
    def span(self) -> float:
        """The range of the target in the data."""
        return self.high - self.low

    def truth(self, labels: pd.Series | NDArray[Any]) -> Matrix:
        """Return the numbers."""
        try:
            values = np.asarray(labels, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                "the target holds text, and the model predicts a number",
                hint="Name rows whose target is numbers.",
            ) from None
        if not np.isfinite(values).all():
            raise DataError(
                f"the target is no finite number in {int((~np.isfinite(values)).sum())} rows",
                hint="Drop these rows.",
            )
        return values

    def strata(self, truth: Truth) -> NDArray[np.int64]:
        """Return the tenth of the values that each lies in."""
        ranks = pd.Series(truth).rank(method="first").to_numpy() - 1.0
        # Two folds' worth of rows in each at least.
        groups = max(1, min(STRATA, len(truth) // 20))
        return np.asarray(ranks * groups // max(len(truth), 1), dtype=np.int64)

    def classes_of(self, truth: Truth) -> NDArray[np.int64]:
        """Return one class: any rows will do."""
        return np.zeros(len(truth), dtype=np.int64)

    def row_losses(self, truth: Truth, predicted: Matrix) -> Matrix:
        """Return the squared error over the target's variance: the mean is 1 - R²."""
        return np.asarray((truth - predicted[:, 0]) ** 2 / self.unit)

    def baseline(self, truth: Truth, n: int) -> Matrix:
        """Return the mean."""
        return np.full((n, 1), float(np.mean(truth)))

    def score(
        self, truth: Truth, predicted: Matrix, threshold: float | None = None
    ) -> dict[str, float]:
        """Return the metrics of a regression."""
        return _regression_metrics.score(truth, predicted[:, 0], self.span)

    def bootstrap(
        self,
        truth: Truth,
        predicted: Matrix,
        threshold: float | None = None,
        *,
        resamples: int,
        seed: int,
    ) -> dict[str, Interval]:
        """Return them with intervals."""
        return _regression_metrics.bootstrap(
            truth, predicted[:, 0], self.span, resamples=resamples, seed=seed
        )

    def comparable(self, metric: str, value: float) -> float:
        """Return a figure in the target's unit over the target's standard deviation."""
        on_unit = metric in _regression_metrics.ON_TARGET_UNIT
        return value / float(np.sqrt(self.unit)) if on_unit else value

    def parts(self, stack: Mapping[str, Matrix], truth: Truth) -> Matrix:
        """Return the predictions."""
        return np.stack([one[:, 0] for one in stack.values()])

    def losses_of(self, parts: Matrix, truth: Truth, weights: Matrix) -> Matrix:
        """Return the mean squared errors over the target's variance."""
        return np.asarray(((parts - truth) ** 2 / self.unit) @ weights)

    def blend(self) -> Pipeline:
        """Return least squares without negative coefficients."""
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import Pipeline

        return Pipeline([("linear", LinearRegression(positive=True))])

    def vote(self, members: Members, weights: Sequence[float]) -> Any:
        """Return a weighted mean."""
        from sklearn.ensemble import VotingRegressor

        return VotingRegressor(list(members), weights=list(weights))

    def stack(self, members: Members, final: Any, *, passthrough: bool = False) -> Any:
        """Return a stack of numbers."""
        from sklearn.ensemble import StackingRegressor

        return StackingRegressor(
            list(members), final_estimator=final, cv="prefit", passthrough=passthrough
        )

    def chosen(self, asked: str, found: Sequence[Mapping[str, float]] = ()) -> str:
        """Return R² for ``auto``."""
        return self.metrics[0] if asked == metrics.AUTO else asked

    def labels(self, truth: Truth) -> NDArray[Any]:
        """Return the numbers."""
        return truth


def task_of(labels: pd.Series | NDArray[Any], kind: Kind) -> Task:
    """Return the task of a target."""
    if kind == "classification":
        return Classification(classes=tuple(np.unique(np.asarray(labels)).tolist()))
    values = Regression().truth(labels)
    variance = float(np.var(values)) or 1.0
    standardized = (values - values.mean()) / np.sqrt(variance)
    return Regression(
        low=float(values.min()),
        high=float(values.max()),
        skewness=float(np.mean(standardized**3)),
        unit=variance,
    )


def task_of_model(contract: Contract) -> Task:
    """Return the task of a model."""
    if contract.task != "regression":
        return Classification(classes=tuple(contract.classes))
    if contract.target_range is None:
        raise ModelError("the contract tells no range of the target", hint="Save the model again.")
    low, high = contract.target_range
    return Regression(low=low, high=high, unit=((high - low) ** 2) or 1.0)
