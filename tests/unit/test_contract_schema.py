"""A contract from rows, and its JSON form."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twinml.contract
from twinml.contract import Column, Contract, infer_contract, model_frame
from twinml.errors import DataError, ModelError


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [30, 41, 52, 63, 25, 36],
            "days": [1, None, 3, 4, 5, 6],
            "balance": [1.5, -2.25, 3.0, 4.0, 5.0, 6.0],
            "job": ["b", "a", None, "c", "a", "a"],
            "loan": [True, False, True, False, True, False],
        }
    )


def labels(*values: object) -> pd.Series:
    return pd.Series(values or ("no", "no", "no", "yes", "no", "yes"), name="y")


def test_public_names_are_sorted_and_complete():
    assert twinml.contract.__all__ == sorted(twinml.contract.__all__)
    assert all(hasattr(twinml.contract, name) for name in twinml.contract.__all__)


def test_types_ranges_and_categories_come_from_the_rows():
    contract = infer_contract(frame(), labels(), name="bank")
    assert contract.columns == (
        Column("age", "long", False, None, 25, 63),
        Column("days", "double", True, None, 1.0, 6.0),
        Column("balance", "double", True, None, -2.25, 6.0),
        Column("job", "string", True, ("a", "b", "c")),
        Column("loan", "boolean", False),
    )
    assert type(contract.columns[0].minimum) is int
    assert type(contract.columns[1].minimum) is float
    assert (contract.name, contract.target, contract.n_rows) == ("bank", "y", 6)
    assert contract.column_names == ("age", "days", "balance", "job", "loan")
    assert contract.column_types == ("long", "double", "double", "string", "boolean")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1, 2], dtype="int8"), "long"),
        (pd.Series([1, 2], dtype="uint64"), "long"),
        (pd.Series([1, 2], dtype="Int64"), "double"),
        (pd.Series([1, None], dtype="Int64"), "double"),
        (pd.Series([1, 2], dtype="float32"), "double"),
        (pd.Series([None, None], dtype="float64"), "double"),
        (pd.Series([True, False], dtype="boolean"), "double"),
        (pd.Series([True, False], dtype="object"), "boolean"),
        (pd.Series(["a", None], dtype="string"), "string"),
        (pd.Series(["a", None], dtype="category"), "string"),
        (pd.Series([np.str_("a"), "b"], dtype="object"), "string"),
        (pd.Series([None, None], dtype="object"), "string"),
    ],
)
def test_each_pandas_type_has_one_contract_type(values, expected):
    contract = infer_contract(pd.DataFrame({"x": values}), labels("a", "b"), name="t")
    assert contract.column_types == (expected,)
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"x": pd.to_datetime(["2024-01-01", "2024-01-02"])}, "strftime"),
        ({"x": pd.to_timedelta([1, 2])}, "timedelta64"),
        ({"x": [1, "a"]}, "int, str"),
        ({"x": pd.Series([1, 2], dtype="category")}, "int"),
        ({"x": [1.0, math.inf]}, "infinite"),
        ({"x": pd.Series([1, 2**63], dtype="uint64")}, "64-bit"),
        ({"x": [1j, 2j]}, "complex128"),
        ({"y": [1, 2]}, "also a feature"),
        ({"": [1, 2]}, "called ''"),
        ({5: [1, 2]}, "called 5"),
        ({}, "no features"),
    ],
)
def test_a_column_that_cannot_be_promised_is_refused(features, message):
    data = pd.DataFrame(features, index=range(2))
    with pytest.raises(DataError) as caught:
        infer_contract(data, labels("a", "b"), name="t")
    assert message in str(caught.value)
    assert caught.value.hint


def test_duplicate_columns_are_named():
    data = pd.DataFrame([[1, 2, 3], [4, 5, 6]], columns=["a", "b", "a"])
    with pytest.raises(DataError, match="column 'a' appears more than once"):
        infer_contract(data, labels("a", "b"), name="t")


@pytest.mark.parametrize(
    ("values", "classes", "task"),
    [
        (["yes", "no"], ("no", "yes"), "binary"),
        (["a", "B", "ä"], ("B", "a", "ä"), "multiclass"),
        ([10, 9], (9, 10), "binary"),
        ([True, False], (False, True), "binary"),
        ([0.5, -1.0, 2.0], (-1.0, 0.5, 2.0), "multiclass"),
        (pd.Categorical(["b", "a"]), ("a", "b"), "binary"),
        (pd.array([3, 1], dtype="Int64"), (1, 3), "binary"),
    ],
)
def test_classes_stand_as_numpy_sorts_them(values, classes, task):
    series = pd.Series(values, name="y")
    contract = infer_contract(pd.DataFrame({"x": range(len(series))}), series, name="t")
    assert contract.classes == classes
    assert contract.classes == tuple(np.unique(np.asarray(series.astype(object))).tolist())
    assert [type(label) for label in contract.classes] == [type(label) for label in classes]
    assert contract.task == task
    assert contract.positive_class == (classes[1] if task == "binary" else None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, "a"], "1 null values, the first in row 0"),
        (["a", "a"], "1 distinct value"),
        ([1, "a"], "int, str"),
        ([math.inf, 1.0], "infinite"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), "Timestamp"),
    ],
)
def test_labels_that_are_no_classes_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        infer_contract(pd.DataFrame({"x": [1, 2]}), pd.Series(values, name="y"), name="t")


def test_a_target_with_thousands_of_values_is_no_classification():
    n = 1001
    with pytest.raises(DataError, match="1001 distinct values"):
        infer_contract(pd.DataFrame({"x": range(n)}), pd.Series(range(n)), name="t")


def test_no_rows_and_unequal_lengths_are_refused():
    with pytest.raises(DataError, match="no rows"):
        infer_contract(pd.DataFrame({"x": []}), pd.Series([], dtype=object), name="t")
    with pytest.raises(DataError, match="2 rows and 3 labels"):
        infer_contract(pd.DataFrame({"x": [1, 2]}), labels("a", "b", "a"), name="t")


def test_samples_are_made_of_the_columns_and_no_rows_of_the_data():
    contract = infer_contract(frame(), labels(), name="bank")
    assert len(contract.samples) == 5
    rows = frame().astype(object).to_dict("records")
    assert not any(sample in rows for sample in contract.samples)
    assert infer_contract(frame(), labels(), name="bank") == contract


@pytest.mark.parametrize(
    ("values", "kind", "nullable", "mlflow"),
    [
        (pd.Series([True, None], dtype="boolean"), "boolean", True, "double"),
        (pd.Series([True, None], dtype=object), "boolean", True, "double"),
        (pd.Series([True, False], dtype="boolean"), "boolean", True, "double"),
        (pd.Series([True, False]), "boolean", False, "boolean"),
        (pd.Series([1, None], dtype="Int64"), "long", True, "double"),
        (pd.Series([1, 2]), "long", False, "long"),
        (pd.Series([1.0, None]), "double", True, "double"),
    ],
)
def test_nullable_types(values, kind, nullable, mlflow):
    contract = infer_contract(pd.DataFrame({"x": values}), labels("a", "b"), name="t")
    column = contract.columns[0]
    assert (column.type, column.nullable, column.mlflow_type) == (kind, nullable, mlflow)
    assert contract.signature().inputs.inputs[0].type.name == mlflow
    assert contract.to_dict()["format_version"] == (2 if kind != mlflow else 1)
    assert Contract.from_json(contract.to_json()) == contract
    dtype = values.dtype if mlflow != "double" or values.dtype == object else "float64"
    assert model_frame(pd.DataFrame({"x": values})).dtypes["x"] == dtype


def test_more_than_a_thousand_categories_are_not_listed():
    texts = [f"v{number}" for number in range(1001)]
    target = pd.Series(["a", "b"] * 500 + ["a"], name="y")
    contract = infer_contract(pd.DataFrame({"x": texts}), target, name="t")
    assert contract.columns[0].categories is None
    contract = infer_contract(pd.DataFrame({"x": texts[:1000]}), target[:1000], name="t")
    assert contract.columns[0].categories == tuple(sorted(texts[:1000]))


def test_json_is_stable_and_the_digest_follows_the_content():
    contract = infer_contract(frame(), labels(), name="bank")
    again = Contract.from_json(contract.to_json())
    assert again == contract
    assert again.to_json() == contract.to_json()
    assert again.digest == contract.digest
    assert len(contract.digest) == 64
    other = infer_contract(frame(), labels(), name="other")
    assert other.digest != contract.digest
    assert json.loads(contract.to_json())["format_version"] == 1


def changed(**changes: object) -> str:
    document = infer_contract(frame(), labels(), name="bank").to_dict() | changes
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "format_version is None"),
        ("[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (changed(format_version=7), "format_version 7; this twinml reads up to 6"),
        (changed(format_version=True), "format_version is True"),
        (changed(n_rows=math.nan), "NaN"),
        (changed(n_rows=-1), "n_rows"),
        (changed(name=3), "name"),
        (changed(task="regression"), "regression"),
        (changed(classes=["no"]), "at least two"),
        (changed(classes=[["no"], ["yes"]]), "unhashable"),
        (changed(classes=[None, "yes"]), "class is None"),
        (changed(columns=[]), "no columns"),
        (changed(columns=[{"name": "age"}]), "'categories'"),
        (changed(samples=[{"age": 1}]), "differ"),
        (changed(samples=3), "cannot be read"),
    ],
)
def test_what_is_no_contract_is_refused(text, message):
    with pytest.raises(ModelError, match=message):
        Contract.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", 3),
        ("type", "integer"),
        ("nullable", 1),
        ("categories", [1]),
        ("minimum", "low"),
        ("description", None),
    ],
)
def test_a_column_that_is_none_is_refused(field, value):
    document = infer_contract(frame(), labels(), name="bank").to_dict()
    document["columns"][0][field] = value
    with pytest.raises(ModelError):
        Contract.from_dict(document)


def test_a_key_that_is_missing_is_named():
    document = infer_contract(frame(), labels(), name="bank").to_dict()
    del document["target"]
    with pytest.raises(ModelError, match="no 'target'"):
        Contract.from_dict(document)


def test_a_sample_holds_json_values():
    with pytest.raises(DataError, match="holds nan"):
        Contract(
            name="t",
            columns=(Column("x", "double", True),),
            target="y",
            task="binary",
            classes=("a", "b"),
            samples=({"x": math.nan},),
            n_rows=1,
        )


names = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True)
cells = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "object": st.none() | st.text(max_size=6),
    "bool": st.booleans(),
}


@st.composite
def training_rows(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.Series]:
    n = draw(st.integers(2, 8))
    data = {}
    for name in draw(names):
        dtype = draw(st.sampled_from(sorted(cells)))
        data[name] = pd.Series(
            draw(st.lists(cells[dtype], min_size=n, max_size=n)), dtype=dtype, index=range(n)
        )
    kind = draw(
        st.sampled_from(
            [st.text(max_size=4), st.integers(), st.booleans(), st.floats(allow_nan=False)]
        )
    )
    label = draw(
        st.lists(
            kind.filter(lambda v: abs(v) != math.inf if v != str(v) else True),
            min_size=n,
            max_size=n,
        ).filter(lambda v: len(set(v)) > 1)
    )
    target = draw(st.text(min_size=1).filter(lambda name: name not in data))
    return pd.DataFrame(data), pd.Series(label, name=target, dtype=object)


@settings(deadline=None, max_examples=80)
@given(training_rows())
def test_every_contract_survives_json(rows):
    features, target = rows
    contract = infer_contract(features, target, name="t")
    text = contract.to_json()
    again = Contract.from_json(text)
    assert again == contract
    assert again.to_json() == text
    assert [type(label) for label in again.classes] == [type(label) for label in contract.classes]
    assert again.digest == contract.digest


def test_the_signature_is_what_mlflow_would_enforce():
    from mlflow.models import ModelSignature

    contract = infer_contract(frame(), labels(), name="bank")
    signature = contract.signature()
    assert [(spec.name, spec.type.name) for spec in signature.inputs.inputs] == list(
        zip(contract.column_names, contract.column_types, strict=True)
    )
    assert [spec.type.name for spec in signature.outputs.inputs] == ["string"]
    assert [(p.name, p.dtype.name, p.default) for p in signature.params.params] == [
        ("method", "string", "predict")
    ]
    assert ModelSignature.from_dict(signature.to_dict()) == signature


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2], "long"), ([True, False], "boolean"), ([0.5, 1.0], "double")],
)
def test_the_signature_gives_the_type_of_the_labels(values, expected):
    contract = infer_contract(pd.DataFrame({"x": [1, 2]}), pd.Series(values, name="y"), name="t")
    assert [spec.type.name for spec in contract.signature().outputs.inputs] == [expected]
