"""The out-of-distribution score of a request: only for those who ask, in every dialect."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from twinml import model
from twinml.model import ood
from twinml_local.server import Deployment, ServerSettings, Serving, create_app
from twinml_local.server.deployments.deployment import load
from twinml_local.telemetry import TelemetryClient

KEY = {"Authorization": "Bearer key"}
ASK = KEY | {"x-twinml-ood-score": "yes"}
USUAL = {"age": 50, "income": 30_000.0, "job": "admin", "member": False}
ODD = USUAL | {"age": 999}


@pytest.fixture(scope="module")
def deployment(described_model: Path) -> Deployment:
    return load("blue", described_model, model="customers:1", digest=model.digest(described_model))


@pytest.fixture
def client(deployment: Deployment) -> Callable[..., Client]:
    def make(given: Deployment = deployment, telemetry: Any = None, **settings: Any) -> Client:
        serving = Serving(
            "shop", {"blue": given}, {"blue": 100}, ["key"], settings=ServerSettings(**settings)
        )
        return Client(create_app(lambda: serving, telemetry=telemetry))

    return make


def split(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}


def test_who_does_not_ask_gets_what_azure_gives(client):
    reply = client().post("/score", json={"Inputs": {"data": [USUAL]}}, headers=KEY)
    assert list(reply.json) == ["Results"]
    assert "x-twinml-ood-score" not in reply.headers


def test_objects_hold_a_score_a_row_and_the_header_the_largest(client, described_model):
    rows = [USUAL, ODD]
    columns = {name: [row[name] for row in rows] for name in USUAL}
    expected = ood.load(described_model).score(columns, 2).round(4).tolist()
    assert expected[0] < 1
    assert expected[1] == 1
    asked = client()
    for route, body, unwrap in (
        ("/score", {"Inputs": {"data": rows}}, lambda shape: shape),
        ("/score", {"data": rows}, json.loads),
        ("/invocations", {"dataframe_split": split(*rows)}, lambda shape: shape),
    ):
        reply = asked.post(route, json=body, headers=ASK)
        assert unwrap(reply.json)["ood_scores"] == expected
        assert reply.headers["x-twinml-ood-score"] == "1.0000"
    listed = asked.post("/score", json={"input_data": split(*rows)}, headers=ASK)
    assert len(listed.json) == 2
    assert listed.headers["x-twinml-ood-score"] == "1.0000"


def test_a_setting_asks_for_all_and_telemetry_keeps_the_largest(client, tmp_path: Path):
    with TelemetryClient(tmp_path / "shop") as telemetry:
        scored = client(telemetry=telemetry, ood_scores=True)
        reply = scored.post("/score", json={"Inputs": {"data": [USUAL, ODD]}}, headers=KEY)
        assert reply.headers["x-twinml-ood-score"] == "1.0000"
    with closing(sqlite3.connect(tmp_path / "shop" / "telemetry.db")) as database:
        found = database.execute(
            "SELECT valueMax, valueCount FROM customMetrics WHERE name = 'ood_score'"
        ).fetchall()
    assert found == [(1.0, 1)]


def test_a_model_without_a_scorer_answers_all_the_same(client, described_model, tmp_path: Path):
    import shutil

    bare = shutil.copytree(described_model, tmp_path / "bare")
    (bare / ood.FILE).unlink()
    given = load("blue", bare, model="customers:1", digest=model.digest(bare))
    reply = client(given).post("/score", json={"Inputs": {"data": [ODD]}}, headers=ASK)
    assert reply.status_code == 200
    assert list(reply.json) == ["Results"]
    assert reply.headers["x-twinml-ood-score"] == "unavailable"


@pytest.mark.parametrize("version", ["2", "3", "3.1"])
def test_the_document_tells_the_header_in_both_directions(client, version):
    paths = client().get(f"/swagger.json?version={version}").json["paths"]
    for operation in (
        paths["/score"]["post"],
        paths["/score"]["get"],
        paths["/invocations"]["post"],
    ):
        (asked,) = (p for p in operation["parameters"] if p["name"] == "x-twinml-ood-score")
        assert (asked["in"], asked["required"]) == ("header", False)
        assert "x-twinml-ood-score" in operation["responses"]["200"]["headers"]
