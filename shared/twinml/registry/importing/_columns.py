"""What an estimator from elsewhere takes and gives, as a contract.

The signature says the types, rows that the user names say the rest; without either the estimator
itself does: scikit-learn's names of features, and the categories of its encoders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twinml.contract import Column, Contract, infer_contract
from twinml.errors import ModelError
from twinml.registry.importing._source import Source

if TYPE_CHECKING:
    import pandas as pd

    from twinml.data import Dataset

__all__ = [
    "as_signed",
    "as_trained",
    "categories_of",
    "classes_of",
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


def contract_of(
    estimator: Any,
    source: Source,
    *,
    name: str,
    data: Dataset | None = None,
    target: str = "target",
) -> Contract:
    """Return the contract of a classifier.

    Parameters
    ----------
    estimator
        Fitted.
    name
        Of the model.
    data
        Rows like those that it was trained on; what they show goes into the contract.
    target
        What the label is called, where no data say it.

    Raises
    ------
    ModelError
        It is no classifier with probabilities, or its columns cannot be told or promised.
    """
    classes = classes_of(estimator)
    types = signature_types(source.signature)
    names = _names(estimator, types, data)
    facts = _facts(data, names, name)
    encoded = categories_of(estimator)
    columns = tuple(
        _column(each, types.get(each), facts.get(each), encoded.get(each)) for each in names
    )
    samples = [dict(zip(names, row, strict=True)) for row in _rows(source.example, names)]
    return Contract(
        name=name,
        columns=columns,
        target=data.target if data is not None else target,
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        samples=tuple(samples[:5]),
        n_rows=0 if data is None else len(data.features),
    )


def classes_of(estimator: Any) -> tuple[Any, ...]:
    """Return a classifier's labels in the order of its probabilities.

    Raises
    ------
    ModelError
        It is not fitted, no classifier, or gives no probabilities.
    """
    kind = type(estimator).__name__
    if not callable(getattr(estimator, "predict_proba", None)):
        raise ModelError(
            f"the model is a {kind}, which gives no probabilities",
            hint="Import a classifier with predict_proba; CalibratedClassifierCV adds it to one "
            "without.",
        )
    found = getattr(estimator, "classes_", None)
    if found is None or isinstance(found, list) or getattr(found, "ndim", 1) != 1:
        raise ModelError(
            f"the {kind} has no classes: it is not fitted, or predicts several targets at once",
            hint="Save it after fit, with one target.",
        )
    return tuple(getattr(found, "tolist", lambda: list(found))())


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


def _names(estimator: Any, types: Mapping[str, str], data: Dataset | None) -> list[str]:
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


def _facts(data: Dataset | None, names: Sequence[str], name: str) -> dict[str, Column]:
    if data is None:
        return {}
    missing = [each for each in names if each not in data.features.columns]
    if missing:
        raise ModelError(
            f"the model takes column '{missing[0]}', which the data do not have"
            + (f" ({len(missing)} in all)" if len(missing) > 1 else ""),
            hint=f"The data have: {', '.join(map(str, list(data.features.columns)[:20]))}.",
        )
    inferred = infer_contract(data.features[list(names)], data.labels, name=name)
    return {column.name: column for column in inferred.columns}


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


def as_signed(frame: pd.DataFrame, source: Source) -> Any:
    """Return the contract's frame as a client of MLflow hands it to the original."""
    dtype = _tensor_type(source)
    if dtype is not None:
        return frame.to_numpy(dtype=dtype)
    types = signature_types(source.signature)
    narrow = {"integer": "int32", "float": "float32"}
    return frame.astype({name: narrow[kind] for name, kind in types.items() if kind in narrow})


def _tensor_type(source: Source) -> str | None:
    """Return the type of a signature's tensor, ``None`` where it has columns."""
    for one in source.signature or ():
        if one.get("type") == "tensor":
            return str(one["tensor-spec"]["dtype"])
    return None
