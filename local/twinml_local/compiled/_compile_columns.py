"""From a bare pipeline of scikit-learn to a compiled model: single columns, then the members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_regressor
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.svm import LinearSVR
from sklearn.utils import check_array

from twinml.contract import Contract
from twinml_local.compiled import _kernel
from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._linear import Linear, Product
from twinml_local.compiled._model import CompiledModel, Stacked, Voted
from twinml_local.compiled._read_columns import (
    Asking,
    Block,
    Sources,
    opened,
    prepared,
    read_columns,
)
from twinml_local.compiled._read_members import (
    STACKS,
    VOTES,
    gathered,
    is_xgboost,
    labels_by_probability,
    read_member,
    read_stack,
    read_vote,
)
from twinml_local.compiled._read_trees import Boosted

__all__ = ["Parts", "compile_columns", "parts_of"]

LOGISTIC = (LogisticRegression, LogisticRegressionCV, SGDClassifier)
LINEAR = (
    BayesianRidge, ElasticNet, ElasticNetCV, HuberRegressor, Lars, Lasso, LassoCV, LassoLars,
    LinearRegression, LinearSVR, Ridge, RidgeCV, SGDRegressor,
)  # fmt: skip
# More columns than this are not worth to be written out one by one.
MOST_COLUMNS = 1024


@dataclass(frozen=True)
class Parts:
    """A bare pipeline: the steps before the model, the model, and its members."""

    steps: Sequence[Any]
    model: Any
    members: Sequence[Any]


def parts_of(pipeline: Any) -> Parts:
    """Take a pipeline apart."""
    steps, model = opened(pipeline)
    joined = type(model) in (*VOTES, *STACKS)
    return Parts(steps, model, list(model.estimators_) if joined else [model])


def compile_columns(
    pipeline: Any, contract: Contract, kernel: _kernel.Kernel, *, digest: str
) -> CompiledModel:
    """Return a bare pipeline as flat arrays; not yet verified.

    Raises
    ------
    Refusal
        A part of it has no compiled form; the message says which.
    """
    parts = parts_of(pipeline)
    n_classes = len(contract.classes) or 1
    sources = Sources(contract)
    shared = sources.block(parts.steps)
    given = [opened(one) for one in parts.members]
    blocks: list[Block] = []
    for own, estimator in given:
        block = sources.block(own, shared)
        blocks.append(block.for_xgboost() if is_xgboost(estimator) else block)
    # Members that take the same columns share them.
    different = list(dict.fromkeys(blocks))
    begins = dict(
        zip(different, np.cumsum([0, *(len(one.columns) for one in different)]), strict=False)
    )
    if (width := sum(len(one.columns) for one in different)) > MOST_COLUMNS:
        raise Refusal(f"{width:,} columns before the model are more than are compiled")
    found: dict[int, Boosted | Linear | Product] = {}
    # What has no compiled form says so before anything is asked.
    for place, ((_, estimator), block) in enumerate(zip(given, blocks, strict=True)):
        if type(estimator) not in (*LOGISTIC, *LINEAR):
            one = read_member(estimator, n_classes, len(block.columns))
            if isinstance(one, Boosted):
                begin = int(begins[block])
                trees = [replace(tree, feature=tree.feature + begin) for tree in one.trees]
                one = replace(one, trees=trees)
            found[place] = one
    asking = Asking(pipeline, contract)
    for place, ((_, estimator), block) in enumerate(zip(given, blocks, strict=True)):
        if place not in found:
            found[place] = _product(estimator, block, int(begins[block]), n_classes, asking)
    read = [found[place] for place in range(len(given))]
    encoding, preparation = read_columns(asking, sources, different)
    join: Voted | Stacked
    if type(parts.model) in STACKS:
        rows = prepared(parts.steps, asking.frame([{}] * 3))
        join = read_stack(parts.model, read, n_classes, rows)
    else:
        join = read_vote(parts.model) if type(parts.model) in VOTES else Voted(np.ones(1), 1.0)
    return CompiledModel(
        encoding,
        gathered(read, n_classes, {}),
        join,
        contract.classes,
        kernel,
        preparation=preparation,
        by_score=not (is_regressor(parts.model) or labels_by_probability(parts.model)),
        digest=digest,
    )


def _product(estimator: Any, block: Block, begin: int, n_classes: int, asking: Asking) -> Product:
    """Read a linear model; how numpy lays its matrix out is looked at."""
    name = type(estimator).__name__
    if type(estimator) is SGDClassifier and estimator.loss != "log_loss":
        raise Refusal(f"SGDClassifier's loss is {estimator.loss}, expected log_loss")
    coefficients = np.asarray(estimator.coef_)
    if issparse(estimator.coef_) or coefficients.dtype != np.float64:
        raise Refusal(f"{name} has coefficients of {coefficients.dtype}")
    n_scores = 1 if n_classes == 2 else n_classes
    width = len(block.columns)
    if coefficients.shape != ((width,) if n_classes == 1 else (n_scores, width)):
        raise Refusal(f"{name} has another number of scores than of classes, or of columns")
    three, one = (
        check_array(
            prepared(block.steps, asking.frame([{}] * count)), accept_sparse="csr",
            ensure_all_finite=False,
        )
        for count in (3, 1)
    )  # fmt: skip
    if three.dtype not in (np.float64, np.int64):
        raise Refusal(f"{name} computes in {three.dtype}")
    if issparse(three):
        layout = [True, False, False, False]
    else:
        # A single row is both; what BLAS goes by is how far it is to the next.
        by_column = not three.flags.c_contiguous
        one_by_column = one.strides[0] == one.itemsize
        layout = [False, by_column, one_by_column, three.dtype == np.int64]
    each = type(estimator) is SGDClassifier
    return Product(
        estimator.coef_,
        np.array(np.broadcast_to(estimator.intercept_, n_scores), dtype=np.float64),
        np.array([begin, *layout, each], dtype=np.int64),
    )
