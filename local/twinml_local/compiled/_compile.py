"""From a fitted pipeline to a compiled model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from twinml.contract import Contract, frame_of
from twinml.settings import home
from twinml.training.log_target import learned_inside
from twinml_local.compiled import _kernel
from twinml_local.compiled._compile_columns import compile_columns
from twinml_local.compiled._encoding import Codes, Encoding
from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._model import Blended, CompiledModel, Stacked, Voted
from twinml_local.compiled._nodes import MOST_FEATURES
from twinml_local.compiled._read_members import (
    STACKS,
    VOTES,
    gathered,
    read_blend,
    read_bounds,
    read_member,
    read_stack,
    read_vote,
    thawed,
)

__all__ = ["compile_model", "taken_apart"]


def compile_model(pipeline: Any, contract: Contract, *, digest: str = "") -> CompiledModel:
    """Return ``pipeline`` as flat arrays; not yet verified.

    The first time on a machine this translates the kernel, which takes some seconds.

    Parameters
    ----------
    pipeline
        Fitted, as ``twinml.training._recipe`` assembles it; or one of scikit-learn whose steps
        treat each column by itself.
    digest
        Of the model directory, kept with the compiled form.

    Raises
    ------
    Refusal
        A part of it has no compiled form; the message says which.
    """
    if list(getattr(pipeline, "classes_", np.array(())).tolist()) != list(contract.classes):
        raise Refusal("the pipeline's classes are not the contract's")
    kernel = _kernel.built(home() / "compiled")
    try:
        encode, model, threshold = taken_apart(pipeline)
    except Refusal:
        # Not as twinml builds them, then: by its columns, which says why not in its own words.
        return compile_columns(pipeline, contract, kernel, digest=digest)
    encoding = _encoding(encode, contract)
    given = [thawed(one) for one in model.estimators_]
    n_classes = len(contract.classes) or 1
    if encoding.n_features >= MOST_FEATURES:
        raise Refusal(f"{encoding.n_features:,} features are more than the compiled form can hold")
    inside = [learned_inside(one) for one in given]
    read = [
        read_member(one if learned is None else learned, n_classes, encoding.n_features)
        for one, learned in zip(given, inside, strict=True)
    ]
    join: Voted | Stacked | Blended
    if type(model) in VOTES:
        join = read_vote(model)
    elif model.passthrough:
        join = read_blend(model, len(read), n_classes, encoding.n_features, kernel)
    else:
        join = read_stack(model, read, n_classes, np.zeros((3, encoding.n_features)))
    return CompiledModel(
        encoding,
        gathered(read, n_classes, read_bounds(given, inside)),
        join,
        contract.classes,
        kernel,
        threshold=threshold,
        digest=digest,
    )


def taken_apart(pipeline: Any) -> tuple[Any, Any, float | None]:
    """Return encoder and ensemble inside a pipeline of ours, and the threshold around them.

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
        whole = thawed(getattr(pipeline, "estimator_", pipeline.estimator))
    if type(whole) is not Pipeline or len(whole.steps) != 2:
        raise Refusal("the model is no encoder and what is after it")
    encode, model = (step for _, step in whole.steps)
    if type(encode) is not Pipeline or type(model) not in (*VOTES, *STACKS):
        raise Refusal("the model is not an ensemble after an encoder that clips its numbers")
    return encode, model, threshold


# Types of columns of which an encoder makes several numbers.
PARTED = {
    "datetime": "dates, of which only the pipeline makes parts",
    "text": "free text, of which only the pipeline makes words",
}


def _encoding(encode: Any, contract: Contract) -> Encoding:
    for column in contract.columns:
        if column.type in PARTED:
            raise Refusal(f"column '{column.name}' holds {PARTED[column.type]}")
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
    frame = frame_of(columns, contract.column_types)
    return np.asarray(encode.transform(frame), dtype=np.float64)


# Where a text is expected; nan comes last.
_NUMBERS: list[Any] = [7, -1, 0, 1.5, True, False, 10**25, math.inf, math.nan]


def _codes_of_numbers(codes: list[float]) -> tuple[float | None, float | None]:
    """Return the code of all numbers, if it is one, and that of nan."""
    if len(set(codes[:-1])) != 1:
        return None, None
    return codes[0], codes[-1]
