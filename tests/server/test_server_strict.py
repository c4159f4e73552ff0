"""What Azure ML would refuse or answer otherwise: flagged, counted, and refused when strict."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from tests.server.conftest import KEY, Serve
from twinml_local.server import Deployment, ServerSettings, Serving, create_app
from twinml_local.telemetry import TelemetryClient

HEADERS = {"Authorization": f"Bearer {KEY}"}
ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": False}
SPLIT = {"input_data": {"columns": list(ROW), "data": [list(ROW.values())]}}
FLAG = "x-twinml-azure"


def test_a_request_that_azure_takes_has_no_flag(serve: Serve) -> None:
    for strict in (False, True):
        reply = serve(strict=strict).post("/score", json=SPLIT, headers=HEADERS)
        assert (reply.status_code, reply.json) == (200, ["yes"])
        assert FLAG not in reply.headers


@pytest.mark.parametrize(
    ("body", "flag", "status", "says"),
    [
        ({"input_data": [ROW]}, "refused; form", 424, "is no object of columns and data"),
        ({"data": [ROW]}, "refused; dialect", 424, "it needs 'input_data', and finds 'data'"),
        ({**SPLIT, "method": "predict_proba"}, "differs; method", 400, "it ignores 'method'"),
    ],
)
def test_others_are_flagged_and_a_strict_endpoint_refuses_them(
    serve: Serve, body: Any, flag: str, status: int, says: str
) -> None:
    reply = serve().post("/score", json=body, headers=HEADERS)
    assert (reply.status_code, reply.headers[FLAG]) == (200, flag)
    refused = serve(strict=True).post("/score", json=body, headers=HEADERS)
    assert (refused.status_code, refused.headers[FLAG]) == (status, flag)
    assert refused.json["error_code"] == "INVALID_PAYLOAD"
    assert says in refused.json["message"]
    assert refused.json["hint"]


@pytest.mark.parametrize(
    ("encoding", "packs"), [("gzip", True), (" GZIP ", True), ("identity", False)]
)
def test_packed_bodies(serve: Serve, encoding: str, packs: bool) -> None:
    body = json.dumps(SPLIT).encode()
    headers = HEADERS | {"Content-Encoding": encoding, "Content-Type": "application/json"}
    data = gzip.compress(body) if packs else body
    reply = serve().post("/score", data=data, headers=headers)
    assert reply.status_code == 200
    assert reply.headers.get(FLAG) == ("refused; encoding" if packs else None)
    status = serve(strict=True).post("/score", data=data, headers=headers).status_code
    assert status == (424 if packs else 200)


def test_each_is_a_value_of_a_metric(bank: Deployment, tmp_path: Path) -> None:
    with TelemetryClient(tmp_path / "shop") as telemetry:
        now = Serving("bank-test", {"blue": bank}, {"blue": 100}, (KEY,), settings=ServerSettings())
        client = Client(create_app(lambda: now, telemetry=telemetry))
        for body in (SPLIT, {"data": [ROW]}, {"data": [ROW]}):
            client.post("/score", json=body, headers=HEADERS)
    with closing(sqlite3.connect(tmp_path / "shop" / "telemetry.db")) as store:
        found = store.execute(
            "SELECT valueCount, customDimensions FROM customMetrics WHERE name = ?",
            ("azure_differences",),
        ).fetchall()
    [(count, dimensions)] = found
    assert count == 2
    assert json.loads(dimensions)["what"] == "refused; dialect"
