"""The main job as a user runs it: eleven steps, left running, run again, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from twinml.training.metrics import is_better
from twinml.workflow import STEPS

pytestmark = pytest.mark.e2e


class Machine:
    """A state folder and the commands that a user gives in it."""

    def __init__(self, home: Path, data: Path) -> None:
        self.home, self.data = home, data
        self.environment = {**os.environ, "TWINML_HOME": str(home)}

    def twinml(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "twinml", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    def run(self) -> tuple[dict[str, Any], str]:
        done = self.twinml(
            "run", "--data", str(self.data), "--target", "y", "--trials", "7", "--json"
        )
        return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, table_csv: Path) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine") / "home", table_csv)
    yield made
    made.twinml("stop", check=False)


@pytest.fixture(scope="module")
def first(machine: Machine) -> tuple[dict[str, Any], str]:
    return machine.run()


def test_all_eleven_steps_are_printed_as_they_run(first) -> None:
    result, printed = first
    assert [step["name"] for step in result["steps"]] == list(STEPS)
    assert len(STEPS) == 11
    for number, name in enumerate(STEPS, start=1):
        assert f"{number:>2}/11 {name}" in printed
    assert all(step["summary"] for step in result["steps"])
    version = result["model"]
    assert f"deployed is {version['name']}/{version['version']}" in result["steps"][8]["summary"]
    assert "trials" in printed


def test_the_endpoint_answers_with_the_key_and_refuses_without(machine: Machine, first) -> None:
    endpoint = first[0]["endpoint"]
    body = {"data": [{"age": 30, "income": 41_000.5, "job": "student", "member": True}]}
    refused = requests.post(endpoint["scoring_uri"], json=body, timeout=30)
    assert refused.status_code == 401
    shown = json.loads(machine.twinml("status", "--show-keys", "--json").stdout)
    key = shown["endpoints"][0]["keys"]["primary"]
    answered = requests.post(
        endpoint["scoring_uri"],
        json=body,
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answered.status_code == 200
    assert json.loads(answered.json())["result"][0] in {"no", "yes"}
    assert requests.get(endpoint["docs_uri"], timeout=30).status_code == 200


def test_the_pipeline_ran_over_rest_and_judged_its_model(machine: Machine, first) -> None:
    job = first[0]["job"]
    assert job["status"] == "Completed"
    assert [step["status"] for step in job["steps"]] == ["Completed"] * 5
    held = json.loads(Path(job["outputs"]["registration"]["path"]).read_text())
    # On the same rows as the champion of step 3, whichever is better.
    assert "on the same" in held["reason"]
    assert held["champion_version"] == first[0]["model"]["version"]
    metric = held["metric"]
    better = is_better(metric, held["candidate"][metric], held["champion"][metric])
    assert held["registered"] == better
    models = json.loads(machine.twinml("models", "--json").stdout)
    assert (held["version"] in {one["version"] for one in models}) == better
    [champion] = [one["version"] for one in models if "champion" in one["aliases"]]
    assert champion == held["champion_version"], "a pipeline proposes; it does not promote"


def test_the_report_is_one_page_about_this_run(first) -> None:
    page = Path(first[0]["report"]).read_text(encoding="utf-8")
    assert first[0]["model"]["digest"][:12] in page
    assert "VotingEnsemble" in page
    assert 'src="http' not in page
    assert 'href="http' not in page.replace(first[0]["endpoint"]["docs_uri"], "")


def test_no_key_is_in_any_file_that_is_not_a_key_file(machine: Machine, first) -> None:
    shown = json.loads(machine.twinml("status", "--show-keys", "--json").stdout)
    key = shown["endpoints"][0]["keys"]["primary"].encode()
    assert len(key) > 20
    holders = {
        path.name for path in machine.home.rglob("*") if path.is_file() and key in path.read_bytes()
    }
    assert holders == {"keys.json"}
    for path in machine.home.rglob("keys.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_run_finds_everything_and_trains_nothing(machine: Machine, first) -> None:
    again, _ = machine.run()
    assert again["asset"]["version"] == first[0]["asset"]["version"]
    assert again["model"]["version"] == first[0]["model"]["version"]
    assert again["endpoint"]["scoring_uri"] == first[0]["endpoint"]["scoring_uri"]
    reused = {step["name"]: step["reused"] for step in again["job"]["steps"]}
    assert (reused["prepare"], reused["train"], reused["evaluate"]) == (True, True, False)
    assert "not trained again" in again["steps"][1]["summary"]


def test_everyday_verbs_work_on_what_is_running(machine: Machine, first) -> None:
    scored = json.loads(machine.twinml("score", "--sample", "3", "--json").stdout)
    assert len(str(scored)) > 10
    assert "POST /score 200" in machine.twinml("logs").stdout
    assert json.loads(
        machine.twinml("swagger", "--url", first[0]["endpoint"]["scoring_uri"]).stdout
    )
    assert machine.twinml("report", "--no-open").stdout.strip() == first[0]["report"]


def test_stop_ends_every_process_and_a_deploy_brings_the_endpoint_back(
    machine: Machine, first
) -> None:
    uri = first[0]["endpoint"]["scoring_uri"]
    machine.twinml("stop")
    with pytest.raises(requests.ConnectionError):
        requests.get(uri.replace("/score", "/health"), timeout=5)
    assert (
        str(machine.home)
        not in subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, check=True
        ).stdout
    )
    machine.twinml("deploy", "--model", first[0]["model"]["name"])
    assert requests.get(uri.replace("/score", "/health"), timeout=5).status_code == 200
