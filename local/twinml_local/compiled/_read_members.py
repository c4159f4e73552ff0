"""Fitted members, and what joins them, read into arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from twinml.training.log_target import Bounds, bounds_of
from twinml_local.compiled._encoding import Encoding
from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._kernel import Kernel
from twinml_local.compiled._layout import LINEAR, MEMBER_FIELDS, XGBOOST
from twinml_local.compiled._linear import Linear, Product
from twinml_local.compiled._model import Blended, CompiledModel, Members, Stacked, Voted
from twinml_local.compiled._nodes import Tree, lay_out
from twinml_local.compiled._read_catboost import read_catboost
from twinml_local.compiled._read_linear import read_linear
from twinml_local.compiled._read_trees import (
    Boosted,
    read_forest,
    read_gradient,
    read_histogram,
    read_lightgbm,
    read_tree,
    read_xgboost,
)

__all__ = [
    "STACKS",
    "VOTES",
    "gathered",
    "is_xgboost",
    "labels_by_probability",
    "read_blend",
    "read_bounds",
    "read_member",
    "read_stack",
    "read_vote",
    "thawed",
]

VOTES = (VotingClassifier, VotingRegressor)
STACKS = (StackingClassifier, StackingRegressor)
FORESTS = (
    RandomForestClassifier, ExtraTreesClassifier, RandomForestRegressor, ExtraTreesRegressor,
)  # fmt: skip
TREES = (
    DecisionTreeClassifier, ExtraTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor,
)  # fmt: skip
# From so many on numpy sums the members of a single row in pairs.
_MOST_AVERAGED = 8


def thawed(estimator: Any) -> Any:
    """Return the estimator inside frozen ones."""
    while type(estimator) is FrozenEstimator:
        estimator = estimator.estimator
    return estimator


BY_PROBABILITY = ("lightgbm.sklearn.LGBMClassifier", "xgboost.sklearn.XGBClassifier")
# By name, so that a model without them does not import them.
READERS: dict[str, Callable[[Any, int], Boosted]] = {
    "catboost.core.CatBoostClassifier": read_catboost,
    "catboost.core.CatBoostRegressor": read_catboost,
    "lightgbm.sklearn.LGBMClassifier": read_lightgbm,
    "lightgbm.sklearn.LGBMRegressor": read_lightgbm,
    "xgboost.sklearn.XGBClassifier": read_xgboost,
    "xgboost.sklearn.XGBRegressor": read_xgboost,
}


def read_member(member: Any, n_classes: int, n_features: int) -> Boosted | Linear:
    """Read a fitted member.

    Raises
    ------
    Refusal
        It has no compiled form.
    """
    kind = type(member)
    # CatBoost forgets the number when it is pickled, but not the names.
    names = getattr(member, "feature_names_", None)
    taken = getattr(member, "n_features_in_", n_features) if names is None else len(names)
    if taken != n_features:
        raise Refusal(f"{kind.__name__} takes another number of features than the encoder gives")
    if getattr(member, "n_classes_", n_classes) != n_classes:
        raise Refusal(f"{kind.__name__} has another number of classes than the contract")
    if kind in FORESTS:
        return read_forest(member, n_classes)
    if kind in TREES:
        return read_tree(member, n_classes)
    if kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        return read_histogram(member, n_classes)
    if kind in (GradientBoostingClassifier, GradientBoostingRegressor):
        return read_gradient(member, n_classes)
    reader = READERS.get(f"{kind.__module__}.{kind.__name__}")
    if reader is not None:
        return reader(member, n_classes)
    if (
        kind is Pipeline
        and len(member.steps) == 2
        and type(member.steps[0][1]) is ColumnTransformer
        and type(member.steps[1][1]) is (Ridge if n_classes == 1 else LogisticRegression)
    ):
        return read_linear(member.steps[0][1], member.steps[1][1], n_classes, n_features)
    raise Refusal(f"a member is a {kind.__name__}, which has no compiled form")


def labels_by_probability(model: Any) -> bool:
    """Tell whether a classifier's label is the first of its largest probabilities.

    Others go by a score, which may differ where probabilities no longer do.
    """
    kind = type(model)
    name = f"{kind.__module__}.{kind.__name__}"
    return kind in (*FORESTS, *TREES, *VOTES, *STACKS) or name in BY_PROBABILITY


def is_xgboost(model: Any) -> bool:
    """Tell whether it is of XGBoost, which takes what a sparse matrix leaves out for missing."""
    return READERS.get(f"{type(model).__module__}.{type(model).__name__}") is read_xgboost


def is_lightgbm(model: Any) -> bool:
    """Tell whether it is of LightGBM."""
    return READERS.get(f"{type(model).__module__}.{type(model).__name__}") is read_lightgbm


def read_bounds(given: list[Any], inside: list[Any]) -> dict[int, Bounds]:
    """Return, by place, how the members that learned the target's logarithm turn it back."""
    found = {}
    for place, (member, learned) in enumerate(zip(given, inside, strict=True)):
        if learned is None:
            continue
        bounds = bounds_of(member)
        if bounds is None:
            raise Refusal("a member learned another function of the target than its logarithm")
        found[place] = bounds
    return found


def gathered(
    read: Sequence[Boosted | Linear | Product], n_classes: int, logarithms: Mapping[int, Bounds]
) -> Members:
    """Return the members side by side, their trees one after the other."""
    table = np.zeros((len(read), MEMBER_FIELDS), dtype=np.int64)
    bases = np.zeros((len(read), n_classes + 1))
    trees: list[Tree] = []
    linear: dict[int, Linear | Product] = {}
    for place, one in enumerate(read):
        if not isinstance(one, Boosted):
            linear[place] = one
            table[place, 0] = LINEAR
            continue
        begin = len(trees)
        trees += one.trees
        if len(trees) == begin:
            raise Refusal("a member has no trees")
        table[place] = (one.kind, begin, len(trees), one.n_sums, one.width, one.view)
        bases[place, : one.n_sums] = one.base
        bases[place, n_classes] = one.sigmoid
    return Members(lay_out(trees), table, bases, linear, logarithms)


def read_vote(model: Any) -> Voted:
    """Read how members are averaged; without weights all count alike."""
    if getattr(model, "voting", "soft") != "soft":
        raise Refusal("the members vote without probabilities")
    if type(model) is VotingRegressor and len(model.estimators_) >= _MOST_AVERAGED:
        raise Refusal(f"{len(model.estimators_)} members are averaged in an order of numpy's own")
    if model.weights is None:
        return Voted(np.ones(len(model.estimators_)), float(len(model.estimators_)))
    weights = np.array(model._weights_not_none, dtype=np.float64)
    if len(weights) != len(model.estimators_):
        raise Refusal("the members' weights are not as many as the members")
    # As numpy.average takes it, for its order of summation.
    scale = weights.reshape(-1, 1, 1).sum(axis=0).item()
    return Voted(weights, scale)


def read_stack(
    model: Any, read: Sequence[Boosted | Linear | Product], n_classes: int, rows: Any
) -> Stacked:
    """Read what is learned on the members' predictions.

    Parameters
    ----------
    rows
        Three rows as the stack takes them.
    """
    final = thawed(model.final_estimator_)
    if model.passthrough:
        raise Refusal("the stack takes more than the members' predictions")
    if type(final) is Pipeline and len(final.steps) == 1:
        final = final.steps[0][1]
    # The layout is numpy's choice, so it is looked at; three rows are neither row nor column.
    columns: NDArray[Any] = model.transform(rows)
    if type(model) is StackingRegressor:
        if type(final) not in (LinearRegression, Ridge, RidgeCV) or final.coef_.ndim != 1:
            raise Refusal("the stack is blended by something else than least squares")
        return Stacked(
            final.coef_,
            np.array([final.intercept_], dtype=np.float64),
            0.0,
            0.0,
            by_column=not columns.flags.c_contiguous,
            odds=False,
        )
    if set(model.stack_method_) != {"predict_proba"}:
        raise Refusal("the stack takes more than the members' probabilities")
    if all(isinstance(one, Boosted) and one.kind == XGBOOST for one in read):
        raise Refusal("the stack is of XGBoost alone, which makes it compute in 32 bits")
    limits, logistic = _limits_of_odds(final)
    if type(logistic) is not LogisticRegression or logistic.classes_.tolist() != list(
        range(n_classes)
    ):
        raise Refusal("the stack is blended by something else than a logistic regression")
    if limits is not None:
        columns = logit(np.clip(columns, *limits))
    if columns.dtype != np.float64:
        raise Refusal("the stack computes in 32 bits")
    return Stacked(
        logistic.coef_,
        np.array(logistic.intercept_, dtype=np.float64),
        *(limits or (0.0, 0.0)),
        by_column=not columns.flags.c_contiguous,
        odds=limits is not None,
    )


def read_blend(
    model: Any, n_members: int, n_classes: int, n_features: int, kernel: Kernel
) -> Blended:
    """Read boosting on what the members say and the features behind.

    Raises
    ------
    Refusal
        It is something else.
    """
    n_columns = n_members * (1 if n_classes == 2 else n_classes) + n_features
    columns: NDArray[Any] = model.transform(np.zeros((3, n_features)))
    if columns.shape[1] != n_columns or columns.dtype != np.float64:
        raise Refusal("the stack takes other columns than its members' and the features")
    if type(model) is StackingClassifier and set(model.stack_method_) != {"predict_proba"}:
        raise Refusal("the stack takes more than the members' probabilities")
    final = thawed(model.final_estimator_)
    classes = getattr(final, "classes_", np.arange(n_classes))
    if not is_lightgbm(final) or classes.tolist() != list(range(n_classes)):
        raise Refusal("the stack is blended by something else than LightGBM")
    names = tuple(str(place) for place in range(n_columns))
    read = gathered([read_member(final, n_classes, n_columns)], n_classes, {})
    places = range(n_classes if n_classes > 1 else 0)
    return Blended(CompiledModel(Encoding({}, names), read, Voted(np.ones(1), 1.0), places, kernel))


def _limits_of_odds(final: Any) -> tuple[tuple[float, float] | None, Any]:
    """Return what probabilities are clipped to before their log-odds, if so, and what follows."""
    if type(final) is not Pipeline:
        return None, final
    if len(final.steps) != 3:
        raise Refusal("the stack is blended by something else than clip, log-odds and logistic")
    clip, log_odds, logistic = (step for _, step in final.steps)
    if (
        type(clip) is not FunctionTransformer
        or clip.func is not np.clip
        or set(clip.kw_args or {}) != {"a_min", "a_max"}
        or type(log_odds) is not FunctionTransformer
        or log_odds.func is not logit
        or log_odds.kw_args
    ):
        raise Refusal("the stack is blended by something else than clip, log-odds and logistic")
    return (float(clip.kw_args["a_min"]), float(clip.kw_args["a_max"])), logistic
