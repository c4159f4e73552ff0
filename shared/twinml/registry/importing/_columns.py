"""What an estimator from elsewhere takes and gives, as a contract.

The signature says the types, rows that the user names say the rest; without either the estimator
itself does: scikit-learn's names of features, and the categories of its encoders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from twinml.contract import AnswerType, Column, Contract, example_rows, infer_contract
from twinml.errors import ModelError
from twinml.registry.importing._source import Source

if TYPE_CHECKING:
    from twinml.registry.importing._rows import Rows

__all__ = [
    "answering",
    "as_trained",
    "categories_of",
    "contract_of",
    "signature_types",
]

# MLflow's types of columns, and the contract's that takes the same values.
_TYPES = {
    "long": "long",
    "integer": "long",
    "double": "double",
    "float": "double",
    "string": "string",
    "boolean": "boolean",
}
_TENSORS = ("float64", "float32", "int64", "int32")
_MOST_CATEGORIES = 1000
MOST_SAMPLES = 5
Task: TypeAlias = Literal["binary", "multiclass", "regression", "custom"]
_ANSWER_TYPES: Mapping[type, AnswerType] = {
    int: "long",
    float: "double",
    str: "string",
    bool: "boolean",
}


def contract_of(
    estimator: Any,
    source: Source,
    *,
    name: str,
    data: Rows | None = None,
    target: str = "target",
) -> Contract:
    """Return the contract of a model, but for what its answers say: ``answering`` adds it.

    Parameters
    ----------
    estimator
        Fitted; ``None`` of what MLflow alone can load.
    name
        Of the model.
    data
        Rows like those that it was trained on; what they show goes into the contract.
    target
        What the label is called.

    Raises
    ------
    ModelError
        Its columns cannot be told or promised.
    """
    task, classes = task_of(estimator)
    types = signature_types(source.signature)
    if estimator is None and not types:
        types = example_types(source.example)
    names = _names(estimator, types, data)
    described = None if data is None else _described(data, names, name)
    facts = {} if described is None else {each.name: each for each in described.columns}
    encoded = categories_of(estimator)
    columns = tuple(
        _column(each, types.get(each), facts.get(each), encoded.get(each)) for each in names
    )
    samples = [dict(zip(names, row, strict=True)) for row in _rows(source.example, names)]
    if not samples and described is not None:
        samples = example_rows(replace(described, columns=columns, samples=()), MOST_SAMPLES)
    return Contract(
        name=name,
        columns=columns,
        target=target,
        task=task,
        classes=classes,
        target_range=(0.0, 0.0) if task == "regression" else None,
        answer_type="object" if task == "custom" else None,
        samples=tuple(samples[:MOST_SAMPLES]),
        n_rows=0 if data is None else len(data.features),
    )


def task_of(estimator: Any) -> tuple[Task, tuple[Any, ...]]:
    """Return the task of a fitted estimator, and its classes in the order of the probabilities.

    What is neither a classifier with probabilities of one target nor a regressor is custom.
    """
    from sklearn.base import BaseEstimator, is_regressor

    found = getattr(estimator, "classes_", None)
    flat = found is not None and not isinstance(found, list) and getattr(found, "ndim", 1) == 1
    if callable(getattr(estimator, "predict_proba", None)) and flat:
        classes = tuple(getattr(found, "tolist", lambda: list(found or ()))())
        return ("binary" if len(classes) == 2 else "multiclass"), classes
    numbers = isinstance(estimator, BaseEstimator) or hasattr(estimator, "__sklearn_tags__")
    return ("regression" if numbers and is_regressor(estimator) else "custom"), ()


def answering(contract: Contract, answers: Sequence[Any], labels: Sequence[float] = ()) -> Contract:
    """Return a contract with what answers say: the range of numbers, or the type of others.

    Parameters
    ----------
    answers
        JSON values, one a row; at least one.
    labels
        True values, if there are any: they say a regression's range better.
    """
    if contract.task == "regression":
        known = [float(value) for value in labels or answers]
        return replace(contract, target_range=(min(known), max(known)))
    if contract.task != "custom":
        return contract
    types = {_ANSWER_TYPES.get(type(value), "object") for value in answers}
    if types == {"long", "double"}:
        types = {"double"}
    return replace(contract, answer_type=types.pop() if len(types) == 1 else "object")


def signature_types(signature: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the types of a signature's columns, in their order; none without names.

    Raises
    ------
    ModelError
        A column has a type that requests cannot hold.

    Examples
    --------
    >>> signature_types([{"name": "age", "type": "integer"}, {"name": "city", "type": "string"}])
    {'age': 'integer', 'city': 'string'}
    >>> signature_types([{"type": "tensor", "tensor-spec": {"dtype": "float64"}}])
    {}
    """
    found: dict[str, str] = {}
    for one in signature or ():
        kind = str(one.get("type"))
        if kind == "any":  # MLflow's word for rows that it could not tell the types of.
            return {}
        if kind == "tensor":
            dtype = (one.get("tensor-spec") or {}).get("dtype")
            if dtype not in _TENSORS or len(signature or ()) > 1:
                raise ModelError(
                    f"the signature takes a tensor of {dtype}",
                    hint=f"One tensor of {', '.join(_TENSORS)} is a table; log other models with "
                    "columns.",
                )
            return {}
        if kind not in _TYPES:
            raise ModelError(
                f"column '{one.get('name', len(found))}' of the signature has the type {kind}",
                hint=f"Columns of an imported model are {', '.join(_TYPES)}.",
            )
        found[str(one.get("name", f"x{len(found)}"))] = kind
    return found


def example_types(example: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the types of an input example's columns, as a signature names them.

    Examples
    --------
    >>> example_types({"age": [41, 30], "income": [1, 2.5], "city": ["Rome", None]})
    {'age': 'long', 'income': 'double', 'city': 'string'}
    """
    found: dict[str, str] = {}
    for name, values in example.items():
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int, float, bool} and len(kinds) > 1:
            kinds = {float}
        kind = {int: "long", float: "double", bool: "boolean"}.get(next(iter(kinds), str))
        found[name] = kind if kind and len(kinds) == 1 else "string"
    return found


def categories_of(estimator: Any) -> dict[str, list[Any]]:
    """Return the values that the estimator's encoders know, by column; nulls left out."""
    import pandas as pd

    found: dict[str, list[Any]] = {}
    for names, step in _steps(estimator, None):
        categories = getattr(step, "categories_", None)
        own = getattr(step, "feature_names_in_", None)
        columns = list(own) if own is not None else names
        if categories is None or columns is None or len(columns) != len(categories):
            continue
        for column, values in zip(columns, categories, strict=True):
            known = [value for value in values.tolist() if not pd.isna(value)]
            found.setdefault(str(column), known)
    return found


def _steps(estimator: Any, names: list[Any] | None) -> list[tuple[list[Any] | None, Any]]:
    """Return all first transformers inside, each with the columns that it is given if known."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        return _steps(estimator.steps[0][1], names)
    if isinstance(estimator, ColumnTransformer):
        return [
            step
            for _, transformer, columns in estimator.transformers_
            if not isinstance(transformer, str)
            for step in _steps(transformer, columns if isinstance(columns, list) else None)
        ]
    inner = getattr(estimator, "estimator", None)
    return [(names, estimator), *(_steps(inner, names) if inner is not None else [])]


def _names(estimator: Any, types: Mapping[str, str], data: Rows | None) -> list[str]:
    count = getattr(estimator, "n_features_in_", None)
    own = getattr(estimator, "feature_names_in_", None)
    if own is None:
        own = getattr(estimator, "feature_names_", None)  # CatBoost's
    if types:
        names = list(types)
    elif own is not None:
        names = [str(one) for one in own]
    elif data is not None and count == data.features.shape[1]:
        names = [str(one) for one in data.features.columns]
    elif count:
        names = [f"x{at}" for at in range(int(count))]
    else:
        raise ModelError(
            "the model does not say which columns it takes",
            hint="Log it with a signature, or name rows like those it was trained on: "
            "--data FILE --target COLUMN.",
        )
    if count is not None and int(count) > len(names):
        raise ModelError(
            f"the model takes {int(count)} columns, and {len(names)} are named",
            hint="Log it with the signature of the rows that it was fitted on.",
        )
    return names


def _described(data: Rows, names: Sequence[str], name: str) -> Contract:
    import pandas as pd

    missing = [each for each in names if each not in data.features.columns]
    if missing:
        raise ModelError(
            f"the model takes column '{missing[0]}', which the data do not have"
            + (f" ({len(missing)} in all)" if len(missing) > 1 else ""),
            hint=f"The data have: {', '.join(map(str, list(data.features.columns)[:20]))}.",
        )
    # The columns alone count here; the target may be of any kind.
    any_number = pd.Series(0.0, index=data.features.index)
    return infer_contract(data.features[list(names)], any_number, name=name, regression=True)


def _column(
    name: str, given: str | None, fact: Column | None, categories: Sequence[Any] | None
) -> Column:
    """Return a column by what is known of it: signature, data, encoder, in this order."""
    text = (
        categories is not None
        and bool(categories)
        and all(isinstance(one, str) for one in categories)
    )
    kept = tuple(sorted(categories)) if text and categories is not None else None
    if kept is not None and len(kept) > _MOST_CATEGORIES:
        kept = None
    kind = _TYPES[given] if given else fact.type if fact else "string" if text else "double"
    if fact is not None and (fact.type == "string") != (kind == "string"):
        raise ModelError(
            f"column '{name}' is {fact.type} in the data, and {given} in the model's signature",
            hint="Name rows like those that it was trained on.",
        )
    nullable = kind in ("double", "string") or (
        fact is not None and given is None and fact.nullable
    )
    if kind == "string":
        return Column(
            name, "string", nullable=True,
            categories=kept or (fact.categories if fact else None),
        )  # fmt: skip
    number = fact if fact is not None and kind != "boolean" else None
    whole = int if kind == "long" else float
    low, high = (None, None) if number is None else (number.minimum, number.maximum)
    return Column(
        name,
        kind,  # type: ignore[arg-type]
        nullable=nullable,
        minimum=None if low is None else whole(low),
        maximum=None if high is None else whole(high),
    )


def _rows(example: Mapping[str, list[Any]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of an input example that has all columns and plain values."""
    if any(name not in example for name in names):
        return []
    rows = [
        tuple(None if value != value else value for value in row)  # nan stands for null
        for row in zip(*(example[name] for name in names), strict=True)
    ]
    plain = (str, int, float, bool, type(None))
    return [row for row in rows if all(isinstance(value, plain) for value in row)]


def as_trained(estimator: Any, contract: Contract, source: Source) -> Any:
    """Return a pipeline that takes the contract's frame and hands on what MLflow would.

    That is the frame itself where names and types are the model's own; else a step in front
    narrows numbers as the signature says, or leaves the names away.
    """
    from pandas import DataFrame
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    types = signature_types(source.signature)
    # MLflow rounds to 32 bits what it calls a float. Integers of 32 bits are the same numbers.
    narrow = {name: "float32" for name, kind in types.items() if kind == "float"}
    steps: list[tuple[str, Any]] = []
    if narrow:
        steps.append(("types", FunctionTransformer(DataFrame.astype, kw_args={"dtype": narrow})))
    dtype = _tensor_type(source)
    named = getattr(estimator, "feature_names_in_", getattr(estimator, "feature_names_", None))
    unnamed = named is None or [str(one) for one in named] != list(contract.column_names)
    if dtype is not None:
        steps.append(("values", FunctionTransformer(DataFrame.to_numpy, kw_args={"dtype": dtype})))
    elif unnamed and all(column.type != "string" for column in contract.columns):
        steps.append(("values", FunctionTransformer(DataFrame.to_numpy)))
    return Pipeline([*steps, ("model", estimator)]) if steps else estimator


def _tensor_type(source: Source) -> str | None:
    """Return the type of a signature's tensor, ``None`` where it has columns."""
    for one in source.signature or ():
        if one.get("type") == "tensor":
            return str(one["tensor-spec"]["dtype"])
    return None
