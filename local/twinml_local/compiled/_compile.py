"""From a fitted pipeline to a compiled model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.base import is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
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
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from twinml.contract import Contract, frame_of
from twinml.settings import home
from twinml.training.log_target import Bounds, bounds_of, learned_inside
from twinml_local.compiled import _kernel
from twinml_local.compiled._encoding import Codes, Encoding
from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import LINEAR, MEMBER_FIELDS, XGBOOST
from twinml_local.compiled._linear import Linear
from twinml_local.compiled._model import CompiledModel, Members, Stacked, Voted
from twinml_local.compiled._nodes import MOST_FEATURES, Tree, lay_out
from twinml_local.compiled._read_catboost import read_catboost
from twinml_local.compiled._read_linear import read_linear
from twinml_local.compiled._read_trees import (
    Boosted,
    read_forest,
    read_histogram,
    read_lightgbm,
    read_tree,
    read_xgboost,
)

__all__ = ["compile_model", "taken_apart"]

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


def compile_model(pipeline: Any, contract: Contract, *, digest: str = "") -> CompiledModel:
    """Return ``pipeline`` as flat arrays; not yet verified.

    The first time on a machine this translates the kernel, which takes some seconds.

    Parameters
    ----------
    pipeline
        Fitted, as ``twinml.training._recipe`` assembles it; or an estimator by itself, with or
        without an encoder before it.
    digest
        Of the model directory, kept with the compiled form.

    Raises
    ------
    Refusal
        A part of it has no compiled form; the message says which.
    """
    encode, model, threshold = taken_apart(pipeline)
    if list(getattr(pipeline, "classes_", np.array(())).tolist()) != list(contract.classes):
        raise Refusal("the pipeline's classes are not the contract's")
    encoding = _encoding(encode, contract)
    given = [_thawed(one) for one in model.estimators_]
    n_classes = len(contract.classes) or 1
    if encoding.n_features >= MOST_FEATURES:
        raise Refusal(f"{encoding.n_features:,} features are more than the compiled form can hold")
    inside = [learned_inside(one) for one in given]
    read = [
        _member(one if learned is None else learned, n_classes, encoding.n_features)
        for one, learned in zip(given, inside, strict=True)
    ]
    join: Voted | Stacked
    if isinstance(model, Alone):
        join = Voted(np.ones(1), 1.0)
    elif type(model) in VOTES:
        join = _voted(model)
    else:
        join = _stacked(model, read, n_classes, encoding.n_features)
    return CompiledModel(
        encoding,
        _members(read, n_classes, _bounds(given, inside)),
        join,
        contract.classes,
        _kernel.built(home() / "compiled"),
        threshold=threshold,
        digest=digest,
    )


class Alone:
    """An estimator by itself, as an ensemble of one member."""

    def __init__(self, estimator: Any) -> None:
        self.estimators_ = [estimator]
        self.predict = estimator.predict
        if hasattr(estimator, "predict_proba"):
            self.predict_proba = estimator.predict_proba


def taken_apart(pipeline: Any) -> tuple[Any | None, Any, float | None]:
    """Return encoder, ``None`` for none, and model inside, and the threshold around them.

    Raises
    ------
    Refusal
        It is of another kind.
    """
    threshold: float | None = None
    whole = pipeline
    if type(pipeline) is FixedThresholdClassifier:
        positive = pipeline.pos_label
        if (
            pipeline.threshold == "auto"
            or pipeline.response_method not in ("auto", "predict_proba")
            or (positive is not None and positive != pipeline.classes_[1])
        ):
            raise Refusal("the threshold is not one on the second class's probability")
        threshold = float(pipeline.threshold)
        whole = _thawed(getattr(pipeline, "estimator_", pipeline.estimator))
    if type(whole) is not Pipeline:
        return None, _alone(whole), threshold
    if len(whole.steps) != 2:
        raise Refusal(f"the model is a Pipeline of {len(whole.steps)} steps, expected two")
    encode, model = (step for _, step in whole.steps)
    if type(encode) is FunctionTransformer and encode.func is pd.DataFrame.to_numpy:
        if encode.kw_args not in (None, {}, {"dtype": "float64"}):
            raise Refusal(f"the model takes its rows as {encode.kw_args}")
        encode = None
    return encode, model if type(model) in (*VOTES, *STACKS) else _alone(model), threshold


def _alone(estimator: Any) -> Alone:
    """Return an estimator whose label is that of the highest probability, or that has none.

    Others decide by a score, which may differ from the probability in its last bit.
    """
    kind = type(estimator)
    name = f"{kind.__module__}.{kind.__name__}"
    if name in BY_PROBABILITY or is_regressor(estimator):
        return Alone(estimator)
    raise Refusal(
        f"the model is a {kind.__name__} by itself; of classifiers only LightGBM's is compiled so"
    )


def _thawed(estimator: Any) -> Any:
    while type(estimator) is FrozenEstimator:
        estimator = estimator.estimator
    return estimator


# Types of columns of which an encoder makes several numbers.
PARTED = {
    "datetime": "dates, of which only the pipeline makes parts",
    "text": "free text, of which only the pipeline makes words",
}


def _encoding(encode: Any, contract: Contract) -> Encoding:
    for column in contract.columns:
        if column.type in PARTED:
            raise Refusal(f"column '{column.name}' holds {PARTED[column.type]}")
        if encode is None and column.mlflow_type == "string":
            raise Refusal(f"column '{column.name}' is text, and no encoder is before the model")
    if encode is None:
        return Encoding({}, contract.column_names)
    low, high = -np.inf, np.inf
    columns = encode
    if type(encode) is Pipeline:
        columns, *rest = (step for _, step in encode.steps)
        for step in rest:
            if type(step) is not FunctionTransformer or step.func is not np.clip or low > -np.inf:
                raise Refusal("the encoder does more than to clip its numbers")
            given = dict(step.kw_args or {})
            low = float(given.pop("a_min"))
            high = float(given.pop("a_max"))
            if given:
                raise Refusal("the encoder clips in a way of its own")
    if type(columns) is not ColumnTransformer:
        raise Refusal(f"the encoder is a {type(columns).__name__}, expected a ColumnTransformer")
    types = {column.name: column.mlflow_type for column in contract.columns}
    strings: list[str] = []
    numbers: list[str] = []
    known: list[Any] = []
    for name, part, chosen in columns.transformers_:
        if (isinstance(part, str) and part == "drop") or not len(chosen):
            continue
        if type(part) is OrdinalEncoder and not numbers:
            strings += chosen
            known += part.categories_
        elif _as_numbers(part):
            numbers += chosen
        else:
            raise Refusal(f"the encoder's {name!r} is a {type(part).__name__}")
    if sorted(strings + numbers) != sorted(types):
        raise Refusal("the encoder's columns are not the contract's")
    for wanted, names in ((True, strings), (False, numbers)):
        for name in names:
            if (types[name] == "string") is not wanted:
                raise Refusal(f"column '{name}' is a {types[name]} that is encoded as another type")
    codes = _codes(encode, contract, strings, numbers, known)
    return Encoding(codes, tuple(numbers), low, high)


def _as_numbers(part: Any) -> bool:
    """Tell whether a transformer gives numbers as they are."""
    if type(part) is not FunctionTransformer:
        return bool(part == "passthrough")
    given = dict(part.kw_args or {})
    if part.func is np.asarray:
        return np.dtype(given.pop("dtype", None)) == np.float64 and not given
    return part.func is None


def _codes(
    encode: Any, contract: Contract, strings: list[str], numbers: list[str], known: list[Any]
) -> dict[str, Codes]:
    """Ask the encoder for the code of every category, of a null and of any other text."""
    if not strings:
        return {}
    texts = [[value for value in values if isinstance(value, str)] for values in known]
    # No category is this long.
    unseen = "?" * (1 + max((len(text) for one in texts for text in one), default=0))
    n_rows = 2 + max(len(one) for one in texts)
    columns = {
        name: [None, unseen, *one, *([None] * (n_rows - 2 - len(one)))]
        for name, one in zip(strings, texts, strict=True)
    }
    matrix = _encoded(encode, contract, columns, n_rows)
    if matrix.shape[1] != len(strings) + len(numbers):
        raise Refusal("the encoder gives more than a number a column")
    try:
        of_numbers = _encoded(encode, contract, dict.fromkeys(strings, _NUMBERS), len(_NUMBERS))
    except Exception:  # whatever the encoder says of them: then the pipeline is asked
        of_numbers = np.empty((0, len(strings)))
    return {
        name: Codes(
            dict(zip(texts[place], matrix[2:, place].tolist(), strict=False)),
            float(matrix[0, place]),
            float(matrix[1, place]),
            *_codes_of_numbers(of_numbers[:, place].tolist()),
        )
        for place, name in enumerate(strings)
    }


def _encoded(
    encode: Any, contract: Contract, given: Mapping[str, list[Any]], n_rows: int
) -> NDArray[np.float64]:
    columns = {column.name: given.get(column.name, [0] * n_rows) for column in contract.columns}
    types = contract.column_types
    frame = frame_of(columns, types)
    return np.asarray(encode.transform(frame), dtype=np.float64)


# Where a text is expected; nan comes last.
_NUMBERS: list[Any] = [7, -1, 0, 1.5, True, False, 10**25, math.inf, math.nan]


def _codes_of_numbers(codes: list[float]) -> tuple[float | None, float | None]:
    """Return the code of all numbers, if it is one, and that of nan."""
    if len(set(codes[:-1])) != 1:
        return None, None
    return codes[0], codes[-1]


BY_PROBABILITY = frozenset({"lightgbm.sklearn.LGBMClassifier"})
# By name, so that a model without them does not import them.
READERS: dict[str, Callable[[Any, int], Boosted]] = {
    "catboost.core.CatBoostClassifier": read_catboost,
    "catboost.core.CatBoostRegressor": read_catboost,
    "lightgbm.sklearn.LGBMClassifier": read_lightgbm,
    "lightgbm.sklearn.LGBMRegressor": read_lightgbm,
    "xgboost.sklearn.XGBClassifier": read_xgboost,
    "xgboost.sklearn.XGBRegressor": read_xgboost,
}


def _member(member: Any, n_classes: int, n_features: int) -> Boosted | Linear:
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


def _bounds(given: list[Any], inside: list[Any]) -> dict[int, Bounds]:
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


def _members(
    read: list[Boosted | Linear], n_classes: int, logarithms: Mapping[int, Bounds]
) -> Members:
    table = np.zeros((len(read), MEMBER_FIELDS), dtype=np.int64)
    bases = np.zeros((len(read), n_classes + 1))
    trees: list[Tree] = []
    linear: dict[int, Linear] = {}
    for place, one in enumerate(read):
        if isinstance(one, Linear):
            linear[place] = one
            table[place, 0] = LINEAR
            continue
        begin = len(trees)
        trees += one.trees
        if len(trees) == begin:
            raise Refusal("a member has no trees")
        split = any(tree.chosen is not None for tree in one.trees)
        table[place] = (one.kind, begin, len(trees), one.n_sums, one.width, one.view, split)
        bases[place, : one.n_sums] = one.base
        bases[place, n_classes] = one.sigmoid
    return Members(lay_out(trees), table, bases, linear, logarithms)


def _voted(model: Any) -> Voted:
    if getattr(model, "voting", "soft") != "soft" or model.weights is None:
        raise Refusal("the members vote without weights or without probabilities")
    if type(model) is VotingRegressor and len(model.estimators_) >= _MOST_AVERAGED:
        raise Refusal(f"{len(model.estimators_)} members are averaged in an order of numpy's own")
    weights = np.array(model._weights_not_none, dtype=np.float64)
    if len(weights) != len(model.estimators_):
        raise Refusal("the members' weights are not as many as the members")
    # As numpy.average takes it, for its order of summation.
    scale = weights.reshape(-1, 1, 1).sum(axis=0).item()
    return Voted(weights, scale)


def _stacked(model: Any, read: list[Boosted | Linear], n_classes: int, n_features: int) -> Stacked:
    final = _thawed(model.final_estimator_)
    if type(model) is StackingRegressor:
        return _blended(model, final, n_features)
    if model.passthrough or set(model.stack_method_) != {"predict_proba"}:
        raise Refusal("the stack takes more than the members' probabilities")
    if all(isinstance(one, Boosted) and one.kind == XGBOOST for one in read):
        raise Refusal("the stack is of XGBoost alone, which makes it compute in 32 bits")
    if type(final) is not Pipeline or len(final.steps) != 3:
        raise Refusal("the stack is blended by something else than clip, log-odds and logistic")
    clip, log_odds, logistic = (step for _, step in final.steps)
    if (
        type(clip) is not FunctionTransformer
        or clip.func is not np.clip
        or set(clip.kw_args or {}) != {"a_min", "a_max"}
        or type(log_odds) is not FunctionTransformer
        or log_odds.func is not logit
        or log_odds.kw_args
        or type(logistic) is not LogisticRegression
        or logistic.classes_.tolist() != list(range(n_classes))
    ):
        raise Refusal("the stack is blended by something else than clip, log-odds and logistic")
    # The layout is numpy's choice, so it is looked at; three rows are neither row nor column.
    columns: NDArray[Any] = model.transform(np.zeros((3, n_features)))
    odds = logit(clip.transform(columns))
    if odds.dtype != np.float64:
        raise Refusal("the stack computes in 32 bits")
    return Stacked(
        logistic.coef_,
        np.array(logistic.intercept_, dtype=np.float64),
        float(clip.kw_args["a_min"]),
        float(clip.kw_args["a_max"]),
        by_column=not odds.flags.c_contiguous,
    )


def _blended(model: Any, final: Any, n_features: int) -> Stacked:
    """Read a stack of numbers: least squares on the members' predictions."""
    if (
        model.passthrough
        or type(final) is not Pipeline
        or len(final.steps) != 1
        or type(linear := final.steps[0][1]) is not LinearRegression
        or linear.coef_.ndim != 1
    ):
        raise Refusal("the stack is blended by something else than least squares")
    columns: NDArray[Any] = model.transform(np.zeros((3, n_features)))
    return Stacked(
        linear.coef_,
        np.array([linear.intercept_], dtype=np.float64),
        0.0,
        0.0,
        by_column=not columns.flags.c_contiguous,
    )
