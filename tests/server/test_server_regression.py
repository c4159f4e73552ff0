"""A served regression: numbers and intervals over HTTP, documents, query arguments, feedback."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orjson
import pytest
from werkzeug.test import Client

from tests.conftest import TrainedRegression
from twinml import model
from twinml.errors import PayloadError
from twinml_local.server import Deployment
from twinml_local.server.routes.feedback import _truths

KEY = {"Authorization": "Bearer primary-key-0123456789"}


@pytest.fixture
def client(regression: TrainedRegression, serve: Callable[..., Client]) -> Client:
    predictor = model.load_predictor(regression.directory, model.digest(regression.directory))
    blue = Deployment("blue", regression.result.contract, predictor)
    return serve(deployments={"blue": blue})


def test_numbers_and_intervals_are_those_of_the_model(
    regression: TrainedRegression, client: Client
) -> None:
    contract, rows = regression.result.contract, regression.dataset.features.head(3)
    expected = regression.result.pipeline.predict(rows)
    body: dict[str, object] = {"input_data": rows.to_dict("records")}
    reply = client.post("/score", json=body, headers=KEY)
    assert reply.get_json() == expected.tolist()
    assert contract.intervals is not None
    for params, level in (({}, 0.9), ({"level": 0.5}, 0.5)):
        body["params"] = {"method": "predict_interval", **params}
        reply = client.post("/score", json=body, headers=KEY)
        np.testing.assert_array_equal(reply.get_json(), contract.intervals.bounds(expected, level))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"method": "predict_proba"}, "expected 'predict' or 'predict_interval'"),
        ({"method": "predict_interval", "level": 2}, "the level is 2"),
        ({"method": "predict_interval", "level": 0.9999}, "the level is 0.9999, at most"),
    ],
)
def test_what_it_has_not_is_refused(
    regression: TrainedRegression, client: Client, params: dict[str, object], words: str
) -> None:
    rows = [dict(regression.result.contract.samples[0])]
    reply = client.post("/score", json={"input_data": rows, "params": params}, headers=KEY)
    assert reply.status_code == 400
    assert words in reply.get_json()["message"]


def test_a_row_by_query_and_its_documents(regression: TrainedRegression, client: Client) -> None:
    row = dict(regression.result.contract.samples[0])
    one = client.get("/score", query_string=row | {"method": "predict_interval"}, headers=KEY)
    assert one.status_code == 200, one.text
    assert len(one.get_json()[0]) == 2
    for version in ("2", "3", "3.1"):
        document = client.get(f"/swagger.json?version={version}").get_data(as_text=True)
        assert "predict_interval" in document
        assert "predict_proba" not in document


@pytest.mark.parametrize(
    ("label", "kept"), [(151.5, "151.5"), (7, "7.0"), ("7.25", "7.25"), (-0.5, "-0.5")]
)
def test_what_turned_out_to_be_true_is_a_number(label: object, kept: str) -> None:
    body = orjson.dumps({"request_id": "r1", "label": label})
    (truth,) = _truths(body, [], numbers=True)
    assert truth.label == kept
    with pytest.raises(PayloadError, match="a label that cannot be used"):
        _truths(body, ["yes", "no"])


@pytest.mark.parametrize("label", ["seven", True, None, "nan", "inf", [7]])
def test_other_labels_of_numbers_are_refused(label: object) -> None:
    body = orjson.dumps({"request_id": "r1", "label": label})
    with pytest.raises(PayloadError) as refused:
        _truths(body, [], numbers=True)
    assert refused.value.hint == "Give a finite number."
