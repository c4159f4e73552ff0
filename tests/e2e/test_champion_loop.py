"""The loop: the published pipeline retrains, a better model takes 10 %, and is promoted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from twinml.cli import main
from twinml.platform import ModelReference, load
from twinml.registry.promotion import propose
from twinml.registry.tracking import Tracking

pytestmark = pytest.mark.e2e

INPUTS = {"model_name": "customers", "trials": "1", "learners": "LogisticRegression"}


class Machine:
    """A state folder and the commands that a user gives in it.

    They run in this process, which has imported what each would import for seconds; the service,
    the steps and the endpoint are processes of their own.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def twinml(self, *arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(main, [*arguments, "--json"], env={"TWINML_HOME": str(self.home)})
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def retrain(self, tmp: Path, **inputs: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """Run the pipeline; return the job, and what register and deploy wrote."""
        pairs = [f"-i{name}={value}" for name, value in inputs.items()]
        job = self.twinml("pipeline", "run", "training", *pairs, "--wait")
        read = []
        for output in ("registration", "deployed"):
            self.twinml("pipeline", "download", "training", job["id"], output, "--to", str(tmp))
            read.append(json.loads((tmp / output).read_text()))
        return job, read[0], read[1]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("loop") / "home")
    yield made
    made.twinml("stop")


@pytest.mark.timeout(1800)
def test_a_better_model_is_proposed_and_a_person_promotes_it(
    machine: Machine, table_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [f"-i{name}={value}" for name, value in INPUTS.items()]
    machine.twinml("pipeline", "publish", "--data", str(table_csv), "--target", "y", *pairs)

    # The first of its name is champion, and serves alone.
    job, held, deployed = machine.retrain(tmp_path, drop="age,income", endpoint="customers")
    assert (held["registered"], held["version"], held["alias"]) == (True, "1", "champion")
    assert "has no champion yet" in held["reason"]
    assert deployed["traffic"] == {"version-1": 100}

    # With all its columns the model is better: registered, challenger, 10 % of the requests.
    _, held, deployed = machine.retrain(tmp_path, endpoint="customers")
    assert (held["registered"], held["version"], held["alias"]) == (True, "2", "challenger")
    assert "beats" in held["reason"]
    assert "on the same 120 rows" in held["reason"]
    assert held["candidate"]["roc_auc"] > held["champion"]["roc_auc"]
    assert deployed["traffic"] == {"version-1": 90, "version-2": 10}

    # A promotion needs a reason, moves alias and traffic, and is on record.
    refused = machine.twinml("promote", "customers", "--reason", " ", code=1)
    assert "needs a reason" in refused["message"]
    made = machine.twinml("promote", "customers", "--reason", "better on test rows", "--by", "ann")
    assert (made["version"], made["previous"], made["endpoint"]) == ("2", "1", "customers")
    status = machine.twinml("status")
    [endpoint] = status["endpoints"]
    assert endpoint["traffic"]["version-2"] == 100
    assert not endpoint["mirror"]
    aliases = {one["version"]: one["aliases"] for one in machine.twinml("models", "customers")}
    assert aliases == {"2": ["champion"], "1": []}
    missing = machine.twinml("promote", "customers", "--reason", "again", code=1)
    assert "has no challenger" in missing["message"]

    # The weak model does not come back by itself; what it needs is not computed again.
    again, held, deployed = machine.retrain(tmp_path, drop="age,income", endpoint="customers")
    assert (held["registered"], held["version"]) == (False, None)
    assert "does not beat" in held["reason"], held["reason"]
    assert deployed["reason"] == "nothing was registered"
    reused = {step["name"]: step["reused"] for step in again["steps"]}
    assert reused == {
        "prepare": True,
        "train": True,
        "evaluate": False,
        "register": False,
        "deploy": False,
    }

    # A mirror gets copies; its answers go nowhere.
    monkeypatch.setenv("TWINML_HOME", str(machine.home))
    version = Tracking().resolve(ModelReference.parse("customers/1"))
    proposal = propose(load("local"), version, endpoint="customers", percent=20, mirror=True)
    assert (proposal.traffic["version-2"], proposal.mirror) == (100, {"version-1": 20})

    # A person may go back to it.
    machine.twinml(
        "promote", "customers", "--version", "1", "--reason", "way back", "--no-endpoint"
    )
    trail = machine.twinml("promotions", "customers")
    assert [(one["version"], one["previous"], one["reason"]) for one in trail] == [
        ("1", "2", "way back"),
        ("2", "1", "better on test rows"),
    ]
    assert trail[1]["by"] == "ann"
    assert trail[1]["complete"]
    assert trail[1]["figures"]["new_test_roc_auc"] > trail[1]["figures"]["previous_test_roc_auc"]
    _check_runs(machine, job)


def _check_runs(machine: Machine, job: dict[str, Any]) -> None:
    """A job is a run with a nested run for each step, its log beside."""
    from mlflow import MlflowClient

    home = machine.home
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    held = client.get_experiment_by_name("training")
    assert held is not None
    runs = client.search_runs([held.experiment_id], f"tags.`twinml.job` = '{job['id']}'")
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].data.params["drop"] == "age,income"
    nested = client.search_runs(
        [held.experiment_id], f"tags.`mlflow.parentRunId` = '{runs[0].info.run_id}'"
    )
    steps = {run.data.tags["twinml.step"]: run for run in nested}
    assert set(steps) == {"prepare", "train", "evaluate", "register", "deploy"}
    assert {run.info.status for run in nested} == {"FINISHED"}
    assert steps["evaluate"].data.metrics["candidate_roc_auc"] > 0.5
    [log] = client.list_artifacts(steps["train"].info.run_id)
    assert log.path == "std_log.txt"
