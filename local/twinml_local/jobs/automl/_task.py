"""What an AutoML task asks for, in the words of twinml's training. Pure.

REST bodies of jobs have ``camelCase`` and ``AUCWeighted``, nodes of pipelines
``snake_case`` and ``AUC_weighted``; both are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from twinml.errors import UsageError
from twinml.training import learners

if TYPE_CHECKING:
    from twinml.training.learner import EstimatorKind
    from twinml.training.tasks import Kind

__all__ = [
    "ENSEMBLES",
    "PRIMARY_METRICS",
    "AutoMLTask",
    "TaskNotRun",
    "algorithms",
    "read_task",
]

# The kinds of task that are run, and the estimators that they need.
KINDS: dict[Kind, EstimatorKind] = {"classification": "Classifier", "regression": "Regressor"}
ENSEMBLES = ("VotingEnsemble", "StackEnsemble")
# Azure's metrics by the metric of twinml's that is nearest, the default first.
PRIMARY_METRICS: dict[Kind, dict[str, str]] = {
    "classification": {
        "AUC_weighted": "roc_auc",
        "accuracy": "accuracy",
        "average_precision_score_weighted": "average_precision",
        "norm_macro_recall": "balanced_accuracy",
        "precision_score_weighted": "f1",
    },
    "regression": {
        name: name
        for name in (
            "normalized_root_mean_squared_error",
            "r2_score",
            "spearman_correlation",
            "normalized_mean_absolute_error",
        )
    },
}
DEFAULT_FOLDS = 5
MOST_EXACT_TRIALS = 40
N = TypeVar("N", int, float)
_REFUSED = ("weightColumnName", "cvSplitColumnNames")


class TaskNotRun(UsageError):
    """A task is valid on Azure, and of a kind that is not run here."""


@dataclass(frozen=True)
class AutoMLTask:
    """A task of classification or regression.

    Attributes
    ----------
    kind
        Which of the two.
    target, primary_metric
        The column, and the metric by Azure's name.
    folds
        Of the cross-validation.
    budget
        Seconds; with ``trials`` it does not count.
    timeout
        Seconds after which the search is ended, where ``budget`` does not end it.
    trials
        Number of configurations; ``None`` leaves it to the budget.
    learners
        Names of twinml's learners.
    ensembles
        Those that are allowed.
    jobs
        Trials at the same time.
    remarks
        Where this departs from what was asked for.
    """

    kind: Kind
    target: str
    primary_metric: str
    folds: int
    budget: float
    timeout: float | None
    trials: int | None
    learners: tuple[str, ...]
    ensembles: tuple[str, ...]
    jobs: int
    remarks: tuple[str, ...]


def read_task(
    task: Mapping[str, Any], *, most_seconds: float, cores: int, others: tuple[str, ...] = ()
) -> AutoMLTask:
    """Return what a task asks for.

    Parameters
    ----------
    most_seconds
        The time that a run may take here, whatever the task allows.
    cores
        Of this machine.
    others
        Data sets beside the training data, such as ``validation_data``.

    Raises
    ------
    TaskNotRun
        The task is of a kind that is not run here, or asks for something that would be
        answered wrongly.
    UsageError
        A setting is missing or not valid.
    """
    asked = str(_of(task, "taskType") or _of(task, "task") or "").lower()
    kind = next((one for one in KINDS if one == asked), None)
    if kind is None:
        raise TaskNotRun(
            f"AutoML tasks of type '{asked}' are not run here",
            hint=f"There are {' and '.join(KINDS)}.",
        )
    target = _of(task, "targetColumnName")
    if not target:
        raise UsageError("the AutoML task has no target_column_name")
    for name in _REFUSED:
        if _of(task, name):
            raise TaskNotRun(f"'{name}' of AutoML tasks is not there here")
    remarks = [
        f"'{name}' is not used: every child is judged by cross-validation." for name in others
    ]
    limits = _mapping(_of(task, "limitSettings") or _of(task, "limits"))
    training = _mapping(_of(task, "trainingSettings") or _of(task, "training"))
    minutes = _of(limits, "timeoutMinutes")
    timeout = 60.0 * _number(minutes, float, "timeout_minutes") if minutes else None
    budget, trials = _limits(limits, timeout, most_seconds, remarks)
    return AutoMLTask(
        kind=kind,
        target=str(target),
        primary_metric=_metric(kind, _of(task, "primaryMetric")),
        folds=_folds(_of(task, "nCrossValidations")),
        budget=budget,
        timeout=None if trials is None else timeout,
        trials=trials,
        learners=_learners(kind, training, remarks),
        ensembles=tuple(
            name
            for name, setting in zip(
                ENSEMBLES, ("enableVoteEnsemble", "enableStackEnsemble"), strict=True
            )
            if str(_first(_of(training, setting), True)).lower() != "false"
        ),
        jobs=min(
            cores, _number(_of(limits, "maxConcurrentTrials") or cores, int, "max_concurrent")
        ),
        remarks=tuple(remarks),
    )


def _number(value: Any, kind: Callable[[Any], N], name: str) -> N:
    try:
        number = kind(value)
        if number > 0:
            return number
    except (TypeError, ValueError):
        pass
    raise UsageError(f"'{name}' of the AutoML task is {value!r}, expected a number above 0")


def _of(items: Mapping[str, Any], name: str) -> Any:
    """Return a value by its camelCase name, or by the same name in snake_case."""
    snake = re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)
    return items.get(name, items.get(snake))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(value: Any, default: Any) -> Any:
    return default if value is None else value


def algorithms(kind: Kind) -> dict[str, str]:
    """Return Azure's algorithms by the learners that stand for them here.

    Examples
    --------
    >>> algorithms("regression")["XGBoost"], algorithms("classification")["XGBoost"]
    ('XGBoostRegressor', 'XGBoostClassifier')
    """
    estimator = KINDS[kind]
    return {
        one.name: one.automl.format(estimator)
        for one in learners.LEARNERS
        if one.automl is not None and estimator in one.kinds
    }


def _metric(kind: Kind, asked: Any) -> str:
    metrics = PRIMARY_METRICS[kind]
    if not asked:
        return next(iter(metrics))
    plain = re.sub("_", "", str(asked)).lower()
    for name in metrics:
        if name.replace("_", "").lower() == plain:
            return name
    raise UsageError(
        f"the primary metric '{asked}' is not one that {kind} has here",
        hint=f"It has {', '.join(metrics)}.",
    )


def _folds(asked: Any) -> int:
    if isinstance(asked, Mapping):
        asked = asked.get("value") if str(asked.get("mode")).lower() == "custom" else None
    if asked in (None, "auto", "Auto"):
        return DEFAULT_FOLDS
    return max(2, min(20, _number(asked, int, "n_cross_validations")))


def _limits(
    limits: Mapping[str, Any], timeout: float | None, most_seconds: float, remarks: list[str]
) -> tuple[float, int | None]:
    budget = min(timeout or most_seconds, most_seconds)
    asked = _of(limits, "maxTrials")
    trials = _number(asked, int, "max_trials") if asked else None
    if trials is not None and trials <= MOST_EXACT_TRIALS:
        return budget, trials
    if timeout is None or timeout > most_seconds:
        remarks.append(f"The run ends after {most_seconds:g} s, the most that one gets here.")
    return budget, None


def _learners(kind: Kind, training: Mapping[str, Any], remarks: list[str]) -> tuple[str, ...]:
    there = algorithms(kind)
    by_azure: dict[str, list[str]] = {}
    for name, azure in there.items():
        by_azure.setdefault(_plain(azure), []).append(name)
    allowed = _of(training, "allowedTrainingAlgorithms") or []
    blocked = _of(training, "blockedTrainingAlgorithms") or []
    unknown = [str(name) for name in allowed if _plain(name) not in by_azure]
    if unknown:
        remarks.append(f"These algorithms are not there and are left out: {', '.join(unknown)}.")
    # Who names an algorithm gets the learner that is most like it; who blocks one, none of them.
    chosen = [by_azure[_plain(name)][0] for name in allowed if _plain(name) in by_azure]
    if allowed and not chosen:
        raise TaskNotRun(
            f"none of the allowed algorithms is there: {', '.join(map(str, allowed))}",
            hint=f"There are {', '.join(dict.fromkeys(there.values()))}.",
        )
    barred = {one for name in blocked for one in by_azure.get(_plain(name), ())}
    left = tuple(name for name in chosen or there if name not in barred)
    if not left:
        raise UsageError("every algorithm that is there is blocked")
    return left


def _plain(name: Any) -> str:
    return re.sub("_", "", str(name)).lower()
