"""Batch endpoints and schedules: when triggers fire, and what the unmodified SDK makes of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from azureml_emulator.errors import ArmError
from azureml_emulator.schedules._trigger import next_time
from tests.emulator.contract import held


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CREATED = moment("2026-03-01T10:20:30")


def times(trigger: dict[str, Any], after: str, n: int = 3) -> list[str]:
    found, last = [], moment(after)
    for _ in range(n):
        upcoming = next_time(trigger, last, created=CREATED)
        if upcoming is None:
            break
        found.append(upcoming.strftime("%m-%d %H:%M"))
        last = upcoming
    return found


def recurrence(frequency: str, interval: int = 1, **more: Any) -> dict[str, Any]:
    whole = {"triggerType": "Recurrence", "frequency": frequency, "interval": interval}
    return {**whole, "timeZone": "UTC", **more}


def cron(expression: str, **more: Any) -> dict[str, Any]:
    return {"triggerType": "Cron", "expression": expression, **more}


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (cron("0 3 * * 1"), ["03-02 03:00", "03-09 03:00", "03-16 03:00"]),
        (cron("0 3 * * MON", endTime="2026-03-09T03:00:00"), ["03-02 03:00", "03-09 03:00"]),
        (
            cron("0 3 * * 1", startTime="2026-03-09T03:00:00"),
            ["03-09 03:00", "03-16 03:00", "03-23 03:00"],
        ),
        # Three o'clock in Berlin is two in winter, one in summer.
        (
            cron("0 3 28-30 3 *", timeZone="W. Europe Standard Time"),
            ["03-28 02:00", "03-29 01:00", "03-30 01:00"],
        ),
        (recurrence("minute", 90), ["03-01 11:50", "03-01 13:20", "03-01 14:50"]),
        (
            recurrence("Hour", 6, startTime="2026-03-02T00:00:00"),
            ["03-02 00:00", "03-02 06:00", "03-02 12:00"],
        ),
        (recurrence("day", 2), ["03-03 10:20", "03-05 10:20", "03-07 10:20"]),
        (
            recurrence(
                "Week", 1, schedule={"hours": [3], "minutes": [0, 30], "weekDays": ["Monday"]}
            ),
            ["03-02 03:00", "03-02 03:30", "03-09 03:00"],
        ),
        (
            recurrence("month", 1, schedule={"hours": [9], "minutes": [0], "monthDays": [15, 31]}),
            ["03-15 09:00", "03-31 09:00", "04-15 09:00"],
        ),
        (
            recurrence(
                "day",
                timeZone="America/New_York",
                startTime="2026-03-07T09:00:00",
            ),
            ["03-07 14:00", "03-08 13:00", "03-09 13:00"],
        ),
    ],
)
def test_triggers_fire_when_they_should(trigger: dict[str, Any], expected: list[str]):
    assert times(trigger, "2026-03-01T11:00:00") == expected


@pytest.mark.parametrize(
    "trigger",
    [
        {"triggerType": "Whim"},
        cron("61 * * * *"),
        cron("* * * * *", timeZone="Middle-earth"),
        cron("* * * * *", startTime="soon"),
        recurrence("fortnight"),
        recurrence("day", 0),
        recurrence("day", schedule={"hours": [24], "minutes": [0]}),
        recurrence("week", schedule={"hours": [1], "minutes": [0], "weekDays": ["Caturday"]}),
    ],
)
def test_what_is_no_trigger_is_refused(trigger: dict[str, Any]):
    with pytest.raises(ArmError):
        next_time(trigger, CREATED, created=CREATED)


@pytest.fixture(scope="module")
def session(
    emulators, run_program, small_model: Path, tmp_path_factory
) -> tuple[Any, dict[str, Any]]:
    """Return an emulator, and what the SDK saw of batch endpoints and schedules."""
    emulator = emulators(record=True)
    folder = tmp_path_factory.mktemp("batch")
    return emulator, run_program(emulator, "batch_session.py", small_model, folder)


@pytest.fixture(scope="module")
def seen(session) -> dict[str, Any]:
    return session[1]


@pytest.mark.e2e
def test_a_published_pipeline_runs_with_its_inputs(seen):
    pipeline = seen["pipeline"]
    assert (pipeline["status"], pipeline["result"]) == ("Completed", "42")
    assert pipeline["listed"] == pipeline["by_deployment"] == [pipeline["name"]]
    assert pipeline["mode"] == "aad_token"
    assert seen["wrong_input"]["status"] == 400
    assert "no input 'm': it has n" in seen["wrong_input"]["text"]


@pytest.mark.e2e
def test_a_model_scores_a_folder_in_its_own_environment(seen):
    assert seen["model"] == {
        "status": "Completed",
        "child": "batchscoring",
        "same": True,
        "scores": ["0,no,one.csv", "1,yes,one.csv", "0,yes,two.csv"],
        "deployments": ["plain"],
    }
    assert seen["endpoints"] == ["doubling-batch"]


@pytest.mark.e2e
def test_a_script_of_ones_own_scores_mini_batches(seen):
    scripted = seen["scripted"]
    assert scripted["status"] == "Completed"
    assert scripted["rows"] == ["20,0.5,a,one.csv", "70,0.5,b,one.csv", "71,0.1,a,two.csv"]


@pytest.mark.e2e
def test_a_pipeline_job_is_published_with_what_it_was_given(seen):
    # The job doubled 4; nobody gives another number.
    assert seen["from_job"] == {"status": "Completed", "result": "8"}


@pytest.mark.e2e
def test_schedules_are_made_triggered_and_listed(seen):
    assert seen["schedules"] == {
        "enabled": True,
        "weekly": ["week", [3]],
        "again": "Succeeded",
        "triggered": "Completed",
    }
    assert seen["broken"]["status"] == 400
    assert seen["listed"] == {
        "enabled": ["again", "weekly"],
        "all": ["again", "often", "weekly"],
        "disabled": ["often"],
    }
    assert seen["left"] == ["again", "weekly"]


@pytest.mark.e2e
def test_a_schedule_starts_a_job_at_its_minute(seen):
    assert seen["fired"]["status"] == "Completed"
    assert seen["fired"]["jobs"][0].startswith("often_")
    assert seen["fired"]["jobs"][0].endswith("00")
    assert len(set(seen["fired"]["jobs"])) == len(seen["fired"]["jobs"])


@pytest.mark.e2e
def test_batch_bodies_keep_to_the_types_of_their_api_version(session, arm_types):
    found = held(session[0].directory.with_name("record.jsonl"), arm_types)
    assert found.unknown == set()
    for kind in ("batchEndpoints", "batchEndpoints/deployments", "schedules"):
        assert found.checked[f"request workspaces/{kind}"] >= 2
        assert found.checked[f"response workspaces/{kind}"] >= 2


@pytest.mark.e2e
def test_an_invocation_over_rest_is_one_job_however_often_it_is_sent(session):
    emulator = session[0]
    address = "https://doubling-batch.eastus.inference.ml.azure.com/jobs"
    body = {"properties": {"InputData": {"n": {"JobInputType": "Literal", "Value": 5}}}}
    with emulator.session() as http:
        assert http.post(address, json=body, timeout=10).status_code == 401
        token = emulator.token(http, scope="https://ml.azure.com/.default").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "repeatability-request-id": "r-1"}
        names = {
            http.post(address, json=body, headers=headers, timeout=30).json()["name"]
            for _ in range(3)
        }
        assert len(names) == 1

        def refused(data: Any, **more: str) -> tuple[int, str]:
            answer: requests.Response = http.post(
                address, json={"properties": {"inputData": data}}, headers={**headers, **more},
                timeout=10,
            )  # fmt: skip
            return answer.status_code, answer.json()["error"]["message"]

        again = {"repeatability-request-id": "r-2"}
        status, text = refused({"n": {"jobInputType": "Riddle", "value": 1}}, **again)
        assert (status, "'Riddle'" in text) == (400, True)
        status, text = refused({}, **again, **{"azureml-model-deployment": "absent"})
        assert status == 404
