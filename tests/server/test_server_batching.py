"""Requests that arrive together are predicted together, and nobody can tell."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from werkzeug.test import Client

from twinml.contract import Contract, ScoringRequest, infer_contract
from twinml.contract.dialects import DEFAULT
from twinml_local.server import Deployment
from twinml_local.server.deployments._microbatching import (
    MOST_ROWS,
    Batches,
    predict_alone,
    same_in_batches,
)

N_CLIENTS = 16
JOBS = ["admin.", "services", "retired"]


def data() -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"balance": rng.normal(size=300), "job": rng.choice(JOBS, 300)})
    return frame, pd.Series(np.where(frame["balance"] > 0.3, "yes", "no"), name="y")


def relative(X: Any) -> Any:
    """Take the mean of all rows away: what a row is then depends on the others."""
    return X - X.mean(axis=0)


def pipeline(*, strict: bool = False, entangled: bool = False) -> tuple[Any, Contract]:
    """A forest; ``strict`` refuses unseen texts, ``entangled`` rows depend on each other."""
    frame, labels = data()
    unknown: dict[str, Any] = {} if strict else {"handle_unknown": "use_encoded_value"}
    code = OrdinalEncoder(**unknown, unknown_value=None if strict else -1)
    steps: list[Any] = [ColumnTransformer([("job", code, ["job"])], remainder="passthrough")]
    steps += [FunctionTransformer(relative)] if entangled else []
    steps.append(RandomForestClassifier(7, random_state=0, n_jobs=1))
    whole = Pipeline([(str(place), step) for place, step in enumerate(steps)])
    return whole.fit(frame, labels), infer_contract(frame, labels, name="made")


def request(contract: Contract, rows: Sequence[tuple[float, Any]], method: Any) -> ScoringRequest:
    columns = {"balance": [row[0] for row in rows], "job": [row[1] for row in rows]}
    types = tuple(column.type for column in contract.columns)
    return ScoringRequest(DEFAULT, columns, len(rows), method, types)


class Gate:
    """A pipeline whose first call waits until ``behind`` requests wait behind it."""

    def __init__(self, inner: Any, behind: Callable[[], bool]) -> None:
        self.inner = inner
        self.behind = behind
        self.sizes: list[int] = []

    def _pass(self, frame: pd.DataFrame) -> Any:
        if not self.sizes:
            while not self.behind():
                threading.Event().wait(0.002)
        self.sizes.append(len(frame))
        return frame

    def predict(self, frame: pd.DataFrame) -> Any:
        return self.inner.predict(self._pass(frame))

    def predict_proba(self, frame: pd.DataFrame) -> Any:
        return self.inner.predict_proba(self._pass(frame))


def together(inner: Any, requests: Sequence[ScoringRequest]) -> tuple[list[Any], Gate, Batches]:
    """Send all requests at once; the first one is being predicted until the others wait."""
    batches: Batches
    gate = Gate(inner, lambda: len(batches._waiting) == len(requests) - 1)
    batches = Batches(gate)

    def send(one: ScoringRequest) -> Any:
        try:
            return batches.predict(one)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests)), gate, batches


def shown(scored: Any) -> tuple[list[Any], bytes | None]:
    labels, shares = scored
    return list(labels), None if shares is None else np.ascontiguousarray(shares).tobytes()


def test_what_waits_is_predicted_in_one_call_with_the_same_bits() -> None:
    inner, contract = pipeline()
    assert same_in_batches(inner, contract)
    rng = np.random.default_rng(0)
    requests = [
        request(
            contract,
            [
                (float(rng.normal()), [*JOBS, None, "pilot"][place % 5])
                for _ in range(1 + place % 3)
            ],
            "predict" if place % 4 == 0 else "predict_proba",
        )
        for place in range(N_CLIENTS)
    ]
    scored, gate, batches = together(inner, requests)
    for one, found in zip(requests, scored, strict=True):
        assert shown(found) == shown(predict_alone(inner, one))
    # The first one, then everybody else: those who want labels and those who want shares.
    assert len(gate.sizes) == 3
    assert sum(gate.sizes) == sum(one.n_rows for one in requests)
    assert (batches.calls, batches.requests) == (3, N_CLIENTS)


def test_a_batch_has_a_largest_size() -> None:
    inner, contract = pipeline()
    requests = [request(contract, [(0.1 * place, None)] * 8, "predict") for place in range(20)]
    scored, gate, _ = together(inner, requests)
    assert max(gate.sizes) == MOST_ROWS
    assert [list(labels) for labels, _ in scored] == [
        list(predict_alone(inner, one)[0]) for one in requests
    ]


def test_only_the_request_that_fails_fails() -> None:
    inner, contract = pipeline(strict=True)
    rows = [(0.5, "pilot" if place in (3, 8) else JOBS[place % 3]) for place in range(N_CLIENTS)]
    requests = [request(contract, [row], "predict_proba") for row in rows]
    scored, _, _ = together(inner, requests)
    for place, found in enumerate(scored):
        if place in (3, 8):
            assert isinstance(found, ValueError)
            assert "pilot" in str(found)
        else:
            assert shown(found) == shown(predict_alone(inner, requests[place]))


def test_many_rows_and_numbers_for_texts_are_predicted_alone() -> None:
    inner, contract = pipeline()
    batches = Batches(inner)
    for rows in ([(0.1, None)] * 30, [(0.1, 7)]):
        one = request(contract, rows, "predict_proba")
        assert shown(batches.predict(one)) == shown(predict_alone(inner, one))
    assert batches.requests == 0


def test_a_pipeline_whose_rows_depend_on_each_other_is_not_batched() -> None:
    assert not same_in_batches(*pipeline(entangled=True))


def test_a_pipeline_that_cannot_score_the_rows_is_not_batched() -> None:
    class Broken:
        def predict(self, frame: pd.DataFrame) -> Any:
            raise ValueError("no")

        predict_proba = predict

    assert not same_in_batches(Broken(), pipeline()[1])


@pytest.mark.parametrize("route", ["/score", "/invocations"])
def test_replies_of_an_app_are_the_same_with_and_without(
    bank: Deployment, serve: Callable[..., Client], route: str
) -> None:
    """More clients than turns: those of a deployment that gathers them do not take turns."""
    batches = Batches(bank.predictor)
    gathering = replace(bank, name="green", batches=batches)
    client = serve(deployments={"blue": bank, "green": gathering}, threads=1)
    app = client.application
    key = "data" if route == "/score" else "dataframe_records"
    start = threading.Barrier(N_CLIENTS)

    def post(place: int, deployment: str) -> tuple[int, bytes]:
        row = {"age": 20 + 4 * place, "balance": 1.5 * place, "job": "retired", "owner": True}
        if place == 5:
            row["age"] = "x"
        reply = Client(app).post(
            route,
            data=json.dumps({key: [row]}),
            headers={
                "Authorization": "Bearer primary-key-0123456789",
                "Content-Type": "application/json",
                "azureml-model-deployment": deployment,
            },
        )
        return reply.status_code, reply.data

    def many(place: int) -> tuple[int, bytes]:
        start.wait(30)
        return post(place, "green")

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        found = list(pool.map(many, range(N_CLIENTS)))
    assert found == [post(place, "blue") for place in range(N_CLIENTS)]
    assert [status for status, _ in found].count(400) == 1
    assert batches.requests == N_CLIENTS - 1
