"""Replies in each dialect's own shape."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinml.contract import Column, Contract, ScoringRequest, render
from twinml.contract.dialects import DIALECTS
from twinml.errors import ModelError


def contract(*classes):
    return Contract(
        name="t",
        target="y",
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        n_rows=2,
        columns=(Column("x", "long", False),),
        samples=(),
    )


def request(dialect, n_rows=2, method="predict"):
    return ScoringRequest(DIALECTS[dialect], {"x": [1] * n_rows}, n_rows, method, ("long",))


BANK = contract("no", "yes")
MLFLOW = ["dataframe_split", "dataframe_records", "instances", "mlflow_inputs", "csv"]


def test_each_dialect_has_its_own_shape():
    labels = ["no", "yes"]
    reply = render(BANK, request("data"), labels, None)
    assert reply == b'"{\\"result\\": [\\"no\\", \\"yes\\"]}"'
    assert render(BANK, request("inputs"), labels, None) == b'{"Results":["no","yes"]}'
    assert render(BANK, request("input_data"), labels, None) == b'["no","yes"]'


@pytest.mark.parametrize("dialect", MLFLOW)
def test_mlflows_dialects_and_csv_give_predictions(dialect):
    assert render(BANK, request(dialect), ["no", "yes"], None) == b'{"predictions":["no","yes"]}'


def test_probabilities_are_rows_in_class_order():
    rows = np.array([[0.25, 0.75], [0.1 + 0.2, 0.7]])
    asked = {d: request(d, method="predict_proba") for d in ("data", "inputs", "input_data", "csv")}
    replies = {d: json.loads(render(BANK, r, [], rows)) for d, r in asked.items()}
    assert json.loads(replies["data"]) == {"result": rows.tolist()}
    assert replies["inputs"] == {"Results": rows.tolist()}
    assert replies["input_data"] == rows.tolist()
    assert replies["csv"] == {"predictions": rows.tolist()}


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    ("classes", "dtype"), [(("no", "yes"), object), ((0, 1), "int64"), ((False, True), "bool")]
)
def test_the_reply_is_what_the_mlflow_server_sends(classes, dtype, method):
    from io import StringIO

    from mlflow.pyfunc.scoring_server import predictions_to_json

    labels = np.array(classes, dtype=dtype)
    rows = np.array([[1 / 3, 2 / 3], [1e-17, 1.0]])
    expected = StringIO()
    predictions_to_json(labels if method == "predict" else rows, expected)
    reply = render(contract(*classes), request("instances", 2, method), labels, rows)
    assert json.loads(reply) == json.loads(expected.getvalue())
    assert [type(v) for v in json.loads(reply)["predictions"]] == [
        type(v) for v in json.loads(expected.getvalue())["predictions"]
    ]


def test_lists_of_numpy_scalars_are_written():
    reply = render(contract(0, 1), request("input_data"), [np.int64(0), np.int64(1)], None)
    assert reply == b"[0,1]"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from(["data", "inputs"]))
def test_floats_read_back_exactly(values, dialect):
    rows = np.array([[value, 1 - value] for value in values])
    reply = json.loads(render(BANK, request(dialect, len(values), "predict_proba"), [], rows))
    found = json.loads(reply)["result"] if dialect == "data" else reply["Results"]
    assert np.array(found).tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("method", "labels", "probabilities", "message"),
    [
        ("predict", ["no"], None, "1 predictions for 2 rows"),
        ("predict_proba", [], None, "0 predictions for 2 rows"),
        ("predict_proba", [], [[1.0], [1.0]], "1 probabilities a row for 2 classes"),
    ],
)
def test_a_model_that_does_not_fit_its_contract_is_told(method, labels, probabilities, message):
    with pytest.raises(ModelError, match=message):
        render(BANK, request("csv", 2, method), labels, probabilities)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dialect", ["data", "inputs", "input_data", "csv"])
def test_what_is_no_finite_number_is_never_a_reply(dialect, value):
    """JSON has no such number, and a null would be a wrong answer."""
    shares = np.array([[0.5, 0.5], [0.5, value]])
    for gave in (shares, shares.tolist(), shares.astype(np.float32)):
        with pytest.raises(ModelError, match="for row 1, expected a finite number"):
            render(BANK, request(dialect, method="predict_proba"), [], gave)
    labels = [1.0, value]
    for gave in (np.array(labels), labels, np.array(labels, dtype=object)):
        with pytest.raises(ModelError, match="for row 1, expected a finite number"):
            render(BANK, request(dialect), gave, None)


@pytest.mark.parametrize(
    "labels", [["nan", "inf"], [1, 2], [True, False], np.array([1e308, 1e308]), [-1e308, 0.0]]
)
def test_what_is_finite_or_no_number_is_a_reply(labels):
    reply = json.loads(render(BANK, request("input_data"), labels, None))
    assert reply == (labels.tolist() if isinstance(labels, np.ndarray) else labels)
