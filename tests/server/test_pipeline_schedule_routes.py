"""Schedules over REST: the routes, their errors, and that what is made fires."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.definition.pipeline import PipelineDefinition
from twinml_local.jobs.rest.app import create_app
from twinml_local.jobs.schedules.clock import Scheduler
from twinml_local.keys import generate_keys


class Rest:
    def __init__(self, directory: Path) -> None:
        self.key = generate_keys(directory / "keys.json").primary
        self.store = JobStore(directory / "service.db")
        job = {"command": "true", "inputs": {"n": "${{parent.inputs.n}}"}}
        content = {"type": "pipeline", "inputs": {"n": 1}, "jobs": {"s": job}}
        for name in ("demo", "other"):
            self.store.publish(PipelineDefinition(name, content))
        runner = Runner(self.store, directory)
        app = create_app(self.store, runner, directory / "keys.json")
        self.http = app.test_client()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.http.open(
            f"/pipelines/demo/schedules{path}", method=method, headers=headers, **arguments
        )


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[Rest]:
    made = Rest(tmp_path)
    yield made
    made.store.close()


def test_a_schedule_is_made_replaced_switched_and_deleted(rest: Rest) -> None:
    assert rest.call("GET", "").json == {"schedules": []}
    made = rest.call("PUT", "/weekly", json={"cron": "0 6 * * 1", "timezone": "Europe/Berlin"})
    assert made.status_code == 201, made.text
    assert (made.json["name"], made.json["pipeline"]) == ("weekly", "demo")
    assert made.json["next"] is not None
    replaced = rest.call("PUT", "/weekly", json={"every": "6h", "inputs": {"n": 5}})
    assert replaced.status_code == 200
    assert (replaced.json["cron"], replaced.json["inputs"]) == (None, {"n": 5})
    assert rest.call("GET", "/weekly").json == replaced.json
    off = rest.call("POST", "/weekly/disable").json
    assert (off["enabled"], off["next"]) == (False, None)
    scheduler = Scheduler(rest.store, lambda: None, lambda endpoint, since: (False, ""))
    assert scheduler.fire(time.time() + 30_000) == 0
    on = rest.call("POST", "/weekly/enable").json
    assert on["enabled"]
    assert scheduler.fire(time.time() + 30_000) == 1
    [job] = rest.store.jobs("demo")
    assert (job.schedule, job.inputs["n"]) == ("weekly", 5)
    gone = rest.call("DELETE", "/weekly")
    assert (gone.status_code, gone.data) == (204, b"")
    assert rest.call("DELETE", "/weekly").status_code == 404
    assert rest.call("POST", "/weekly/enable").status_code == 404


def test_a_look_for_drift_is_made_over_rest(rest: Rest) -> None:
    wish = {"every": "1h", "on_drift": "bank", "cooldown": "2d"}
    made = rest.call("PUT", "/watch", json=wish)
    assert made.status_code == 201, made.text
    assert {key: made.json[key] for key in wish} == wish


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "needs either cron or every"),
        ({"every": "soon"}, "expected a number and s, m, h, d or w"),
        ({"cron": "0 25 * * *"}, "is not valid"),
        ({"every": 6}, "every: found 6"),
        ({"every": "1h", "enabled": "no"}, "enabled: found"),
        ({"every": "1h", "colour": "red"}, "colour: found"),
        ({"every": "1h", "cooldown": "1d"}, "nothing to look for"),
        ({"every": "1h", "inputs": {"m": 1}}, "'m'"),
        ([], "not a JSON object"),
    ],
)
def test_a_wrong_wish_is_refused_and_nothing_kept(rest: Rest, body: Any, words: str) -> None:
    reply = rest.call("PUT", "/s", json=body)
    assert reply.status_code == 400, reply.text
    assert words in reply.json["message"]
    assert rest.call("GET", "").json == {"schedules": []}


def test_a_name_is_not_taken_from_another_pipeline(rest: Rest) -> None:
    headers = {"Authorization": f"Bearer {rest.key}"}
    path = "/pipelines/other/schedules/mine"
    assert rest.http.put(path, headers=headers, json={"every": "1h"}).status_code == 201
    reply = rest.call("PUT", "/mine", json={"every": "1h"})
    assert reply.status_code == 409
    assert "belongs to pipeline 'other'" in reply.json["message"]
    assert rest.call("DELETE", "/mine").status_code == 404
    assert rest.call("GET", "").json == {"schedules": []}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_without_the_key_nothing_is_told(rest: Rest, method: str) -> None:
    reply = rest.http.open("/pipelines/demo/schedules/s", method=method)
    assert reply.status_code == 401
