"""A scikit-learn pipeline's steps before its model, read as operations on single columns.

Which column comes from which is told by the kinds of the transformers, all of which treat each
column by itself. What they make of a category is not computed but asked: the fitted steps are given
each category of each column, a null and another text, and their answers are the table.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from twinml.contract import Contract, frame_of
from twinml_local.compiled._encoding import Codes, Encoding
from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import (
    ADDED,
    CLIPPED,
    DIVIDED,
    FILLED,
    IS_NULL,
    LOOKED_UP,
    MULTIPLIED,
    NARROWED,
    SUBTRACTED,
    ZERO_AS_NULL,
)
from twinml_local.compiled._preparation import Preparation

__all__ = ["Asking", "Block", "Sources", "opened", "prepared", "read_columns"]

F8 = NDArray[np.float64]
Operation: TypeAlias = tuple[int, float, float]
Steps: TypeAlias = Sequence[Any]

ENCODERS = (OneHotEncoder, OrdinalEncoder, TargetEncoder)
SCALERS = (MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler)
SEARCHES = (GridSearchCV, RandomizedSearchCV)
# What a number may be: the first of these, with both signs, that the pipeline takes.
BOUNDS = (math.inf, float(np.finfo(np.float32).max), 1e15)
# Integers above this are no doubles.
LARGEST_WHOLE = 2.0**53
# So many rows are asked for in one call.
ASKED = 4096


def opened(estimator: Any) -> tuple[list[Any], Any]:
    """Return the steps before the last model inside an estimator, and that model."""
    if type(estimator) is FrozenEstimator:
        return opened(estimator.estimator)
    if type(estimator) in SEARCHES and hasattr(estimator, "best_estimator_"):
        return opened(estimator.best_estimator_)
    if type(estimator) is not Pipeline:
        return [], estimator
    *before, last = (step for _, step in estimator.steps)
    more, model = opened(last)
    return [*before, *more], model


def prepared(steps: Steps, given: Any) -> Any:
    """Return what fitted steps make of a frame or matrix, as the next step is given it."""
    for step in steps:
        if step is not None and not isinstance(step, str):
            given = step.transform(given)
    return given


@dataclass(frozen=True)
class Column:
    """A column on its way to the members.

    Attributes
    ----------
    source
        Place of the contract's column.
    operations
        What was done to its numbers.
    coded
        Whether an encoder has seen it: then its values are looked up.
    """

    source: int
    operations: tuple[Operation, ...] = ()
    coded: bool = False

    def then(self, *operations: Operation) -> Column:
        return self if self.coded else replace(self, operations=(*self.operations, *operations))


@dataclass(frozen=True)
class Block:
    """The columns that a member takes, in order."""

    steps: tuple[Any, ...]
    columns: tuple[Column, ...]
    sparse: bool

    def for_xgboost(self) -> Block:
        """Return the block as XGBoost sees it: what a sparse matrix leaves out is a null."""
        if not self.sparse:
            return self
        zero = (ZERO_AS_NULL, 0.0, 0.0)
        columns = tuple(
            replace(one, operations=(*one.operations, zero)) for one in self.columns
        )  # fmt: skip
        return replace(self, columns=columns)


@dataclass
class Sources:
    """A contract's columns, and what is known of those that encoders see.

    Attributes
    ----------
    known
        By place, the categories: texts or numbers.
    """

    contract: Contract
    known: dict[int, dict[Any, None]] = field(default_factory=dict)

    def is_text(self, place: int) -> bool:
        return self.contract.columns[place].mlflow_type == "string"

    def block(self, steps: Steps, before: Block | None = None) -> Block:
        """Return the columns after some more steps.

        Raises
        ------
        Refusal
            A step is of a kind whose columns are not known.
        """
        if before is None:
            before = Block((), tuple(map(Column, range(len(self.contract.columns)))), False)
        columns, sparse = list(before.columns), before.sparse
        for step in steps:
            columns, sparse = self._after(step, columns, sparse)
        return Block((*before.steps, *steps), tuple(columns), sparse)

    def _after(self, step: Any, columns: list[Column], sparse: bool) -> tuple[list[Column], bool]:
        kind = type(step)
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return columns, sparse
        if kind is Pipeline:
            for _, one in step.steps:
                columns, sparse = self._after(one, columns, sparse)
            return columns, sparse
        if kind is ColumnTransformer:
            return self._side_by_side(step, columns, sparse)
        if kind is FunctionTransformer:
            return self._function(step, columns), sparse
        if kind in SCALERS:
            return [
                one.then(*operations)
                for one, operations in zip(
                    columns, _scaled(step, len(columns), sparse), strict=True
                )
            ], sparse
        if kind is SimpleImputer:
            return self._filled(step, columns), sparse
        if kind is MissingIndicator:
            return self._indicators(step, columns), sparse
        if kind in ENCODERS:
            return self._encoded(step, columns), bool(getattr(step, "sparse_output", False))
        if isinstance(step, SelectorMixin):
            return [columns[place] for place in step.get_support(indices=True)], sparse
        raise Refusal(f"a step before the model is a {kind.__name__}")

    def _side_by_side(
        self, step: Any, columns: list[Column], sparse: bool
    ) -> tuple[list[Column], bool]:
        found: list[Column] = []
        for name, part, _ in step.transformers_:
            places = step._transformer_to_input_indices[name]
            if (isinstance(part, str) and part == "drop") or not len(places):
                continue
            found += self._after(part, [columns[place] for place in places], sparse)[0]
        return found, bool(step.sparse_output_)

    def _function(self, step: Any, columns: list[Column]) -> list[Column]:
        given = dict(step.kw_args or {})
        if step.func is None:
            return columns
        if step.func is pd.DataFrame.astype and set(given) == {"dtype"}:
            narrow = given["dtype"]
            names = self.contract.column_names
            if set(narrow.values()) == {"float32"} and columns == [*map(Column, range(len(names)))]:
                narrowed = (NARROWED, 0.0, 0.0)
                return [
                    one.then(narrowed) if name in narrow else one
                    for name, one in zip(names, columns, strict=True)
                ]
        whole = step.func in (pd.DataFrame.to_numpy, np.asarray)
        if whole and (not given or (set(given) == {"dtype"} and np.dtype(given["dtype"]) == "f8")):
            return columns
        raise Refusal(f"the model takes its rows as {getattr(step.func, '__name__', '?')} {given}")

    def _filled(self, step: Any, columns: list[Column]) -> list[Column]:
        statistics = step.statistics_
        if not (isinstance(step.missing_values, float) and math.isnan(step.missing_values)):
            if not all(one.coded or self.is_text(one.source) for one in columns):
                raise Refusal(f"numbers are missing where they are {step.missing_values!r}")
            if isinstance(step.missing_values, str):
                self._learn(columns, [[step.missing_values]] * len(columns))
        found = [
            one.then((FILLED, float(value), 0.0)) if not self.is_text(one.source) else one
            for one, value in zip(columns, statistics, strict=True)
            if step.keep_empty_features or not pd.isna(value)
        ]
        return found + (
            [] if step.indicator_ is None else self._indicators(step.indicator_, columns)
        )

    def _indicators(self, step: Any, columns: list[Column]) -> list[Column]:
        if not (isinstance(step.missing_values, float) and math.isnan(step.missing_values)):
            raise Refusal(f"numbers are missing where they are {step.missing_values!r}")
        return [
            replace(one, coded=True) if self.is_text(one.source) else one.then((IS_NULL, 0.0, 0.0))
            for one in (columns[place] for place in step.features_)
        ]

    def _encoded(self, step: Any, columns: list[Column]) -> list[Column]:
        self._learn(columns, step.categories_)
        for one in columns:
            if any(operation[0] not in (FILLED, NARROWED) for operation in one.operations):
                raise Refusal("numbers are scaled before they are encoded")
        widths = [1] * len(columns)
        if type(step) is OneHotEncoder:
            widths = _widths(step)
        elif type(step) is TargetEncoder and step.target_type_ == "multiclass":
            widths = [len(step.classes_)] * len(columns)
        return [
            Column(one.source, coded=True)
            for one, width in zip(columns, widths, strict=True)
            for _ in range(width)
        ]

    def _learn(self, columns: list[Column], categories: Sequence[Any]) -> None:
        for one, values in zip(columns, categories, strict=True):
            kinds = (str,) if self.is_text(one.source) else (int, float, bool)
            known = self.known.setdefault(one.source, {})
            for value in np.asarray(values, dtype=object).tolist():
                if isinstance(value, kinds) and value == value:
                    known[value] = None


def _widths(encoder: Any) -> list[int]:
    """Return how many columns a one-hot encoder makes of each."""
    widths = []
    for place, known in enumerate(encoder.categories_):
        # Without a bound on rare ones there is no such attribute.
        rare = getattr(encoder, "infrequent_categories_", [None] * (place + 1))[place]
        dropped = encoder.drop_idx_ is not None and encoder.drop_idx_[place] is not None
        widths.append(len(known) - (0 if rare is None else len(rare) - 1) - dropped)
    return widths


def _scaled(step: Any, width: int, sparse: bool) -> list[list[Operation]]:
    """Return what a scaler does to each column; a sparse matrix is multiplied, not divided."""

    def each(operation: int, values: Any) -> list[Operation | None]:
        return [None if values is None else (operation, float(value), 0.0)
                for value in ([0.0] * width if values is None else values)]  # fmt: skip

    def over(values: Any) -> list[Operation | None]:
        if sparse and values is not None:
            return each(MULTIPLIED, 1.0 / values)
        return each(DIVIDED, values)

    limits: tuple[float, float] | None = None
    if type(step) is MinMaxScaler:
        done = [each(MULTIPLIED, step.scale_), each(ADDED, step.min_)]
        limits = (float(step.feature_range[0]), float(step.feature_range[1])) if step.clip else None
    elif type(step) is MaxAbsScaler:
        done = [over(step.scale_)]
        limits = (-1.0, 1.0) if step.clip else None
    elif type(step) is RobustScaler:
        done = [each(SUBTRACTED, step.center_ if step.with_centering else None),
                over(step.scale_ if step.with_scaling else None)]  # fmt: skip
    else:
        done = [each(SUBTRACTED, step.mean_ if step.with_mean else None),
                over(step.scale_ if step.with_std else None)]  # fmt: skip
    if limits is not None:
        done.append([(CLIPPED, *limits)] * width)
    return [
        [one for one in operations if one is not None] for operations in zip(*done, strict=True)
    ]


class Asking:
    """Asks fitted steps, and the whole pipeline, about rows that differ from one in one column."""

    def __init__(self, pipeline: Any, contract: Contract) -> None:
        self._pipeline = pipeline
        self._contract = contract
        samples = [dict(sample) for sample in contract.samples]
        plain = {one.name: _plain(one) for one in contract.columns}
        for row in [*samples, plain]:
            for one in contract.columns:
                if row[one.name] is None and one.mlflow_type == "double":
                    row[one.name] = math.nan
            self.row = row
            if self.answers([{}]):
                return
        raise Refusal("the pipeline cannot score the contract's samples")

    def frame(self, changes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Return the row as often as there are changes of it, with them."""
        names = self._contract.column_names
        columns = {name: [one.get(name, self.row[name]) for one in changes] for name in names}
        return frame_of(columns, self._contract.column_types)

    def answers(self, changes: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether the pipeline answers at all."""
        return _quietly(lambda: self._pipeline.predict(self.frame(changes))) is not None

    def matrix(self, steps: Steps, changes: Sequence[Mapping[str, Any]]) -> F8 | None:
        """Return what the steps make of the rows, ``None`` where they raise."""
        made = _quietly(lambda: prepared(steps, self.frame(changes)))
        if made is None:
            return None
        dense = made.toarray() if issparse(made) else np.asarray(made)
        return np.asarray(dense, dtype=np.float64)

    def one_by_one(
        self, steps: Steps, changes: Sequence[Mapping[str, Any]], width: int
    ) -> tuple[F8, NDArray[np.bool_]]:
        """Return what the steps make of the rows, and which of these they take."""
        found = np.full((len(changes), width), np.nan)
        taken = np.zeros(len(changes), dtype=np.bool_)
        for first in range(0, len(changes), ASKED):
            chosen = slice(first, first + ASKED)
            many = self.matrix(steps, changes[chosen])
            if many is not None:
                _check_width(many, width)
                found[chosen], taken[chosen] = many, True
                continue
            for place in range(first, min(first + ASKED, len(changes))):
                one = self.matrix(steps, changes[place : place + 1])
                if one is not None:
                    _check_width(one, width)
                    found[place], taken[place] = one[0], True
        return found, taken


def _check_width(matrix: F8, width: int) -> None:
    if matrix.shape[1] != width:
        raise Refusal(f"the steps before the model make {matrix.shape[1]} columns, not {width}")


def _plain(column: Any) -> Any:
    if column.mlflow_type == "string":
        return column.categories[0] if column.categories else ""
    if column.mlflow_type == "boolean":
        return False
    return column.minimum if column.minimum is not None else 0


def _quietly(call: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except Exception:  # whatever a pipeline makes of a value that it does not take
        return None


def read_columns(
    asking: Asking, sources: Sources, blocks: Sequence[Block]
) -> tuple[Encoding, Preparation]:
    """Return how requests become the columns of all blocks, one after the other.

    Raises
    ------
    Refusal
        A text reaches the model as it is, or the pipeline takes no row that it is asked about.
    """
    contract = sources.contract
    for block in blocks:
        for one in block.columns:
            if sources.is_text(one.source) and not one.coded:
                name = contract.columns[one.source].name
                raise Refusal(f"column '{name}' is text that reaches the model as it is")
    # Of columns that no member takes a step may still refuse values.
    coded = {one.source for block in blocks for one in block.columns if one.coded}
    coded |= set(sources.known)
    every = range(len(contract.columns))
    texts = [place for place in every if sources.is_text(place) and place in coded]
    numbers = [place for place in every if not sources.is_text(place)]
    asked = {place: _values(contract.columns[place], sources.known.get(place, {}))
             for place in sorted(coded)}  # fmt: skip
    changes = [
        {contract.columns[place].name: value} for place, values in asked.items() for value in values
    ]
    answers: list[F8] = []
    taken = np.ones(len(changes), dtype=np.bool_)
    for block in blocks:
        matrix, able = asking.one_by_one(block.steps, changes, len(block.columns))
        answers.append(matrix)
        taken &= able
    # What the steps make of a value the model may still refuse.
    odd = ~np.all([np.isfinite(matrix).all(axis=1) for matrix in answers], axis=0)
    for place in np.flatnonzero(taken & odd).tolist():
        taken[place] = asking.answers(changes[place : place + 1])
    first = dict(zip(asked, np.cumsum([0, *map(len, asked.values())]).tolist(), strict=False))
    both = [*texts, *numbers]
    order = {place: at for at, place in enumerate(both)}
    tables = _Tables()
    codes: dict[str, Codes] = {}
    searched: list[tuple[int, int, int]] = []
    searched_as: dict[int, int] = {}
    for place, values in asked.items():
        able = taken[first[place] : first[place] + len(values)]
        places = np.where(able, np.arange(len(values)), np.nan)
        if sources.is_text(place):
            known = dict(zip(values[:-2], places.tolist(), strict=False))
            codes[contract.columns[place].name] = Codes(known, float(places[-1]), float(places[-2]))
        else:
            at = tables.add([*map(float, values[:-2]), *places])
            searched.append((order[place], at, len(values) - 2))
            searched_as[place] = len(both) + len(searched) - 1
    columns, operations = [], _Operations()
    for block, matrix in zip(blocks, answers, strict=True):
        for at, one in enumerate(block.columns):
            done = list(one.operations)
            source = order[one.source]
            if one.coded:
                begin = first[one.source]
                table = tables.add(matrix[begin : begin + len(asked[one.source]), at])
                done.insert(0, (LOOKED_UP, float(table), 0.0))
                source = searched_as.get(one.source, source)
            columns.append((source, *operations.add(done)))
    preparation = Preparation(
        _limits(asking, contract, texts, numbers),
        np.array(searched, dtype=np.int64).reshape(-1, 3),
        tables.all(),
        np.array(columns, dtype=np.int64).reshape(-1, 3),
        *operations.all(),
    )
    names = tuple(contract.columns[place].name for place in numbers)
    by_name = {contract.columns[place].name: codes[contract.columns[place].name] for place in texts}
    return Encoding(by_name, names), preparation


class _Tables:
    def __init__(self) -> None:
        self._parts: list[F8] = []
        self._places: dict[bytes, int] = {}
        self._length = 0

    def add(self, values: Sequence[float] | F8) -> int:
        part = np.asarray(values, dtype=np.float64)
        place = self._places.setdefault(part.tobytes(), self._length)
        if place == self._length:
            self._parts.append(part)
            self._length += len(part)
        return place

    def all(self) -> F8:
        return np.concatenate(self._parts) if self._parts else np.zeros(0)


class _Operations:
    def __init__(self) -> None:
        self._all: list[Operation] = []
        self._places: dict[tuple[Operation, ...], int] = {}

    def add(self, operations: Sequence[Operation]) -> tuple[int, int]:
        begin = self._places.setdefault(tuple(operations), len(self._all))
        if begin == len(self._all):
            self._all += operations
        return begin, begin + len(operations)

    def all(self) -> tuple[NDArray[np.int64], F8]:
        looked_up = [int(a) if code == LOOKED_UP else 0 for code, a, _ in self._all]
        codes = [code for code, _, _ in self._all]
        return (
            np.array([codes, looked_up], dtype=np.int64).T.copy(),
            np.array([one[1:] for one in self._all], dtype=np.float64).reshape(-1, 2),
        )


def _values(column: Any, known: Mapping[Any, None]) -> list[Any]:
    """Return the values to ask about: the known ones, another one, and a null."""
    if column.mlflow_type == "string":
        texts = [*known, *(one for one in column.categories or () if one not in known)]
        # No category is this long.
        return [*texts, "?" * (1 + max(map(len, texts), default=0)), None]
    numbers = sorted(map(float, known))
    if column.mlflow_type == "double":
        return [*numbers, 1.5 + max(map(abs, numbers), default=0.0), math.nan]
    if column.mlflow_type == "boolean":
        return [False, True, True, True]
    whole = [int(one) for one in numbers if one.is_integer()]
    # A request has no null here.
    other = 1 + max(map(abs, whole), default=0)
    return [*whole, other, other]


def _limits(asking: Asking, contract: Contract, texts: list[int], numbers: list[int]) -> F8:
    """Ask the pipeline how great numbers may be and which columns may hold nulls."""
    doubles = [contract.columns[place].name for place in numbers
               if contract.columns[place].mlflow_type == "double"]  # fmt: skip
    bound = 0.0
    for bound in BOUNDS:
        signs = [dict.fromkeys(doubles, bound), dict.fromkeys(doubles, -bound)]
        if not doubles or all(asking.answers([sign]) for sign in signs):
            break
    else:
        raise Refusal("the pipeline takes no great numbers")
    limits = [(-math.inf, math.inf, 0.0)] * len(texts)
    for place in numbers:
        column = contract.columns[place]
        if column.mlflow_type == "double":
            limits.append((-bound, bound, float(asking.answers([{column.name: math.nan}]))))
        else:
            limits.append((-LARGEST_WHOLE, LARGEST_WHOLE, 0.0))
    return np.array(limits, dtype=np.float64).reshape(-1, 3)
