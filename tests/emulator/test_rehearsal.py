"""``twinml rehearse`` for real: emulator, unmodified SDK, Microsoft's server, and a comparison."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from tests.emulator.warm import Warm
from twinml_azure.rehearsal import Stage

pytestmark = pytest.mark.e2e

NAME = "tiny"
SEARCH = ("--trials", "2", "--learners", "LogisticRegression")


class Shell:
    """Runs command lines of twinml, each in a process of its own, in one state folder."""

    def __init__(self, warm: Warm, folder: Path) -> None:
        self._warm, self.folder, self.said = warm, folder, ""
        self.home = folder / "home"

    def __call__(self, *words: str, code: int = 0) -> Any:
        found, out = self.run(*words)
        assert found == code, f"{out[-1500:]}\n{self.said[-2500:]}"
        return json.loads(out)

    def run(self, *words: str) -> tuple[int, str]:
        """Return the exit code of a command line and what it printed."""
        mine = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AZURE", "HTTP", "MLFLOW_TRACKING"))
        }
        done = self._warm.run(
            *("-m", "twinml", *words, "--json"),
            env={**mine, "TWINML_HOME": str(self.home)},
            cwd=self.folder,
        )
        self.said = done.stderr
        return done.returncode, done.stdout

    def data(self) -> tuple[str, ...]:
        return "--data", str(self.folder / f"{NAME}.csv"), "--target", "y"


VERSIONED = {"data": "data", "models": "model", "components": "component",
             "environments": "environment"}  # fmt: skip
OTHERS = {"computes": "cluster", "onlineEndpoints": "online endpoint",
          "batchEndpoints": "batch endpoint", "schedules": "schedule"}  # fmt: skip


class Workspace:
    """The emulator's workspace over plain REST, to see and make what twinml does not."""

    def __init__(self, home: Path) -> None:
        variables = Stage(home / "rehearsal").variables()
        assert variables is not None
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.proxies = {"https": variables["HTTPS_PROXY"]}
        self.session.verify = variables["REQUESTS_CA_BUNDLE"]
        token = self.session.post(
            f"https://login.microsoftonline.com/{variables['AZURE_TENANT_ID']}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": variables["AZURE_CLIENT_ID"],
                "client_secret": variables["AZURE_CLIENT_SECRET"],
                "scope": "https://management.azure.com/.default",
            },
            timeout=30,
        ).json()["access_token"]
        self._bearer = {"Authorization": f"Bearer {token}"}
        self._at = (
            f"https://management.azure.com/subscriptions/{variables['AZURE_SUBSCRIPTION_ID']}"
            f"/resourceGroups/{variables['AZUREML_ARM_RESOURCEGROUP']}/providers"
            "/Microsoft.MachineLearningServices/workspaces/"
            f"{variables['AZUREML_ARM_WORKSPACE_NAME']}"
        )

    def _request(self, verb: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(
            verb,
            f"{self._at}/{path}",
            params={"api-version": "2024-10-01"},
            headers=self._bearer,
            json=body,
            timeout=60,
        )
        assert answer.ok, f"{verb} {path}: {answer.text}"
        return answer.json()

    def holds(self) -> set[tuple[str, str]]:
        """Return kind and name of all that is there and not archived.

        But the SDK's unnamed, and the environments that every workspace has.
        """
        found: set[tuple[str, str]] = set()
        for path, kind in (VERSIONED | OTHERS).items():
            for item in self._request("GET", path)["value"]:
                name = item["name"]
                if path in VERSIONED:
                    versions = self._request("GET", f"{path}/{name}/versions")["value"]
                    named = any(not each["properties"].get("isAnonymous") for each in versions)
                    if named and not name.startswith(("azureml_", "CliV2", "AzureML-")):
                        found.add((kind, name))
                    continue
                found.add((kind, name))
                if path.endswith("Endpoints"):
                    below = self._request("GET", f"{path}/{name}/deployments")["value"]
                    deployment = f"{kind.split()[0]} deployment"
                    found |= {(deployment, f"{name}/{each['name']}") for each in below}
        return found

    def make(self) -> None:
        """Make what others may have there, without a tag."""
        at = "azureml://datastores/workspaceblobstore/paths/others/"
        asset = {"isAnonymous": False, "isArchived": False, "properties": {}, "tags": {}}
        versions = {
            f"data/{NAME}-of-others": {**asset, "dataType": "uri_file", "dataUri": f"{at}a.csv"},
            "models/theirs": {**asset, "modelType": "custom_model", "modelUri": f"{at}m"},
            "environments/theirs": {**asset, "image": "ubuntu:22.04"},
        }
        for path, properties in versions.items():
            self._request("PUT", f"{path}/versions/1", {"properties": properties})
        plain = {"location": "eastus", "tags": {"team": "risk"}}
        cluster = {
            "computeType": "AmlCompute",
            "properties": {
                "vmSize": "Standard_DS3_v2",
                "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1},
            },
        }
        self._request("PUT", "computes/theirs", {**plain, "properties": cluster})
        for path, mode in (("onlineEndpoints", "Key"), ("batchEndpoints", "AADToken")):
            body = {
                **plain,
                "identity": {"type": "SystemAssigned"},
                "properties": {"authMode": mode},
            }
            self._request("PUT", f"{path}/theirs", body)


@pytest.fixture(scope="module")
def twinml(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with data whose floats ``pandas.read_json`` does not read exactly."""
    shell = Shell(warm, tmp_path_factory.mktemp("rehearsal"))
    rng = np.random.default_rng(3)
    n = 400
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "rate": rng.random(n),
            "job": rng.choice(["cook", "clerk", "none"], n),
        }
    )
    signal = table["age"] / 20 + table["rate"] + rng.normal(0, 0.5, n)
    table["y"] = np.where(signal > np.median(signal), "yes", "no")
    table.to_csv(shell.folder / f"{NAME}.csv", index=False)
    yield shell
    shell("stop")


@pytest.fixture(scope="module")
def foreign(twinml: Shell) -> set[tuple[str, str]]:
    """What others have in the same workspace, made before twinml comes, with names alike."""
    twinml("teardown", "--on", "rehearsal", "--plan")  # which starts the emulator
    workspace = Workspace(twinml.home)
    workspace.make()
    found = workspace.holds()
    assert len(found) == 6
    return found


@pytest.fixture(scope="module")
def planned(twinml: Shell, foreign) -> list[dict[str, str]]:
    """What a run says that it would do, before it does."""
    plan: list[dict[str, str]] = twinml(
        "run", "--on", "rehearsal", "--plan", *twinml.data(), *SEARCH
    )
    assert Workspace(twinml.home).holds() == foreign
    return plan


@pytest.fixture(scope="module")
def rehearsed(twinml: Shell, planned) -> Any:
    done = twinml("rehearse", *twinml.data(), *SEARCH, "--rows", "all", "--keep")
    return {**done, "said": twinml.said}


def test_every_step_runs_against_the_emulator(rehearsed):
    steps = rehearsed["run"]["steps"]
    assert [step["number"] for step in steps] == list(range(1, 12))
    assert rehearsed["run"]["endpoint"]["scoring_uri"] == (
        f"https://{NAME}.eastus.inference.ml.azure.com/score"
    )
    assert rehearsed["run"]["endpoint"]["traffic"] == {"blue": 100}
    assert steps[6]["details"]["failed"] == 0
    # It was left running, and so nothing was stopped.
    assert list(rehearsed["phases"]) == ["start the emulator", "run", "serve it here", "compare"]
    assert 0 < sum(rehearsed["phases"].values()) <= rehearsed["seconds"]
    times = [time for step in steps for time in (step["started"], step["ended"])]
    assert times == sorted(times)


def test_the_pipeline_runs_over_rest_and_its_steps_carry_times(rehearsed):
    job = rehearsed["run"]["job"]
    assert (job["status"], len(job["steps"])) == ("Completed", 5)
    assert job["started"] < job["ended"]
    for step in job["steps"]:
        assert step["status"] == "Completed"
        assert job["started"] <= step["started"] <= step["ended"] <= job["ended"]
    names = [step["name"] for step in job["steps"]]
    assert names == ["prepare", "train", "evaluate", "register", "deploy"]
    # As on this machine: the model of step 3 is champion, and the same one does not beat it.
    held = rehearsed["run"]["steps"][10]["details"]["registration"]
    assert held["champion_version"] == rehearsed["run"]["model"]["version"]
    assert (held["registered"], held["candidate"]) == (False, held["champion"])
    assert "other data" not in held["reason"]


def test_what_is_printed_is_ours(rehearsed):
    said = rehearsed["said"]
    assert "11/11 Publish and run the pipeline" in said
    for noise in ("experimental", "Downloading", "Uploading", "Check:", "Class ", "Warning"):
        assert noise not in said, noise


def test_a_plan_lists_all_that_a_run_makes(twinml: Shell, foreign, planned, rehearsed):
    assert {each["action"] for each in planned} == {"create"}
    named = {(each["kind"], each["name"]) for each in planned}
    jobs = {each for each in named if each[0].endswith("job")}
    steps = {each for each in named if each[1].startswith("steps of")}
    assert (len(jobs), len(steps)) == (1, 1)
    assert Workspace(twinml.home).holds() - foreign == named - jobs - steps


def test_after_a_run_the_plan_keeps_everything(twinml: Shell, planned, rehearsed):
    words = ("run", "--on", "rehearsal", "--plan", *twinml.data(), *SEARCH)
    again = twinml(*words)
    assert [each["action"] for each in again] == ["keep"] * len(planned), again
    assert [each["kind"] for each in again] == [each["kind"] for each in planned]
    less = twinml(*words, "--no-pipeline", "--train", "job", "--endpoint", "another")
    actions = {each["kind"]: each["action"] for each in less}
    assert actions == {
        "data": "keep",
        "cluster": "keep",
        "environment": "create",
        "job": "create",
        "model": "keep",
        "online endpoint": "create",
        "online deployment": "create",
    }


def test_both_answer_alike_once_input_parsing_is_told_apart(rehearsed):
    found = rehearsed["comparison"]
    assert rehearsed["passes"] is True
    assert found["same_model"] is True
    assert found["rows"] == 400 + found["adversarial"]
    assert found["adversarial"] > 40
    assert found["same_labels"] == found["scored"]
    assert found["unexplained"] == 0
    # The floats of this table make the point: some are read otherwise, and all are explained.
    assert found["changed_cells"] > 0
    assert set(found["causes"]) <= {"input parsing"}
    assert Path(found["page"]).is_file()


def test_a_second_run_keeps_everything(twinml: Shell, rehearsed):
    log = twinml.home / "rehearsal.log"
    before = len(log.read_text().splitlines())
    again = twinml("run", "--on", "rehearsal", *twinml.data(), *SEARCH)
    assert again["model"] == rehearsed["run"]["model"]
    assert again["job"]["id"] == rehearsed["run"]["job"]["id"]
    assert again["asset"] == rehearsed["run"]["asset"]
    assert again["steps"][1]["details"]["reused"] is True
    later = log.read_text().splitlines()[before:]
    made = [line for line in later if " PUT " in line or " DELETE " in line]
    assert made == []


def test_a_promotion_moves_azures_champion_and_its_traffic(twinml: Shell, rehearsed):
    on = ("--on", "rehearsal")
    version = rehearsed["run"]["model"]["version"]
    twinml("deploy", *on, "--model", f"{NAME}/{version}", "--endpoint", NAME, "--name", "green")
    twinml("traffic", *on, "--endpoint", NAME, "blue=0", "green=100")
    made = twinml("promote", NAME, *on, "--version", version, "--reason", "tried it", "--by", "me")
    assert (made["version"], made["endpoint"], made["complete"]) == (version, NAME, True)
    (trail,) = twinml("promotions", NAME, *on)
    assert (trail["reason"], trail["by"], trail["version"]) == ("tried it", "me", version)
    (held,) = [each for each in twinml("models", NAME, *on) if each["version"] == version]
    assert held["aliases"] == ["champion"]
    (endpoint,) = twinml("status", *on)["endpoints"]
    serving = {name for name, share in endpoint["traffic"].items() if share}
    assert [endpoint["deployments"][name] for name in serving] == [f"{NAME}:{version}"]
    # The registry of this machine is another one, and was left alone.
    assert twinml("promotions", NAME) == []
    error = twinml("promote", NAME, *on, "--version", "99", "--reason", "no", code=1)
    assert "99" in error["message"]


def test_a_deployments_document_is_the_models(twinml: Shell, rehearsed):
    found = twinml("swagger", "--on", "rehearsal", "--version", "3.1")
    scoring = rehearsed["run"]["endpoint"]["scoring_uri"]
    assert found["servers"] == [{"url": scoring.removesuffix("/score")}]
    assert found["info"]["title"] == NAME
    content = found["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    (endpoint,) = twinml("status", "--on", "rehearsal", "--show-keys")["endpoints"]
    workspace = Workspace(twinml.home)
    for example in content["examples"].values():
        answer = workspace.session.post(
            scoring,
            json=example["value"],
            headers={"Authorization": f"Bearer {endpoint['keys']['primary']}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) == len(example["value"]["input_data"]["data"])


def test_a_job_on_the_cluster_gives_the_same_model_bit_for_bit(twinml: Shell, rehearsed):
    words = ("run", "--on", "rehearsal", "--train", "job", *twinml.data(), *SEARCH)
    done = twinml(*words, "--no-pipeline")
    assert done["model"]["digest"] == rehearsed["run"]["model"]["digest"]
    assert "twinml-" in done["steps"][1]["details"]["where"]


@pytest.fixture(scope="module")
def consumed(twinml: Shell, rehearsed) -> dict[str, Any]:
    """A second deployment, and what each verb said to the rehearsal."""
    file, on = str(twinml.folder / f"{NAME}.csv"), ["--on", "rehearsal"]
    model = f"{NAME}/{rehearsed['run']['model']['version']}"
    twinml("deploy", *on, "--model", model, "--endpoint", NAME, "--name", "green")
    asked = {
        "score": ["score", *on, "--data", file, "--out", "scored.csv", "--proba"],
        "data": ["score", *on, "--sample", "2", "--dialect", "data"],
        "example": ["score", *on, "--example", "--out", "example.json"],
        "a body": ["score", *on, "--data", "example.json"],
        "explain": ["score", *on, "--explain", "--data", file],
        "batch": ["batch", *on, "--model", NAME, "--data", file, "--out", "batch.csv"],
        "benchmark": [
            *("benchmark", "local", "rehearsal", "--requests", "40", "--concurrency", "2"),
            *("--model", NAME, "--report", "benchmark.html"),
        ],
        "probe": ["probe", *on, "--base", "4", "--out", "probe.html"],
        "abtest": [
            *("abtest", *on, "--endpoint", NAME, "--a", "blue", "--b", "green"),
            *("--labels", file, "--target", "y", "--bootstrap", "100"),
        ],
        "no model": [
            *("abtest", *on, "--a", "blue", "--b", "green", "--labels", file, "--target", "y"),
        ],
        "online": ["abtest", *on, "--online", "--a", "blue", "--b", "green"],
        "drift": ["drift", *on],
        "a file": ["drift", *on, "--current", file],
        "collect": ["collect", *on, "--rate", "1"],
        "feedback": ["feedback", *on, "--labels", file],
        "metrics": ["metrics", *on],
        "logs": ["logs", *on, "--lines", "20"],
    }
    said = {}
    for name, command in asked.items():
        code, out = twinml.run(*command)
        said[name] = {"code": code, "stdout": out, "stderr": twinml.said}
    return said


def test_every_verb_for_a_deployed_endpoint_works_in_the_rehearsal(twinml: Shell, consumed):
    def told(verb: str) -> Any:
        answer = consumed[verb]
        assert answer["code"] == 0, answer
        return json.loads(answer["stdout"])

    scored = told("score")
    assert scored["n_rows"] == 400
    table = pd.read_csv(twinml.folder / "scored.csv")
    assert table["request_id"].notna().all()
    shares = table[["probability_no", "probability_yes"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert set(told("example")) == {"input_data"}
    assert len(told("a body")) == 2
    explained = told("explain")
    assert len(explained["rows"]) == 400
    # To what input parsing changes of the last digits of a float, the same model's answer.
    mine = np.array([row["probability"] for row in explained["rows"]])
    np.testing.assert_allclose(mine, table["probability_yes"], atol=1e-9)
    runs = told("benchmark")["runs"]
    assert [run["name"] for run in runs] == ["local", "rehearsal"]
    assert [run["failed"] for run in runs] == [0, 0]
    assert (twinml.folder / "benchmark.html").is_file()
    probed = told("probe")
    assert probed["counts"]["failed"] == probed["counts"]["broken"] == 0
    assert probed["counts"]["answered"] > 10
    assert (twinml.folder / "probe.html").is_file()
    assert told("abtest")["verdict"]["decision"] == "keep A"  # green is blue's model
    assert told("a file")["n_current"] == 400
    assert "POST /score 200" in consumed["logs"]["stdout"]


def test_what_is_not_there_in_the_rehearsal_says_so_in_a_line(consumed):
    expected = {
        "data": "do not take the dialect data",
        "batch": "nothing to score files with",
        "no model": "name the endpoint: --endpoint",
        "online": "--collected DIR",
        "drift": "--collected DIR",
        "collect": "--collected DIR",
        "feedback": "--collected DIR",
        "metrics": "Application Insights",
    }
    for verb, words in expected.items():
        answer = consumed[verb]
        assert answer["code"] == 1, (verb, answer)
        shape = json.loads(answer["stdout"])
        assert words in f"{shape['message']} {shape.get('hint', '')}", verb
        assert "Traceback" not in answer["stderr"]


def test_a_teardown_removes_all_of_ours_and_nothing_else(twinml: Shell, foreign, rehearsed):
    words = ("--cron", "0 6 * * 1", "--as", "mondays")
    twinml("pipeline", "schedule", "training", "--on", "rehearsal", *words)
    held = {kind for kind, _ in Workspace(twinml.home).holds() - foreign}
    planned = twinml("teardown", "--on", "rehearsal", "--plan")
    # Deployments go with their endpoint.
    assert {each["kind"] for each in planned} == held - {"online deployment", "batch deployment"}
    assert {"schedule", "batch endpoint", "online endpoint", "cluster"} <= held
    assert not {(each["kind"], each["name"].partition(":")[0]) for each in planned} & foreign
    assert twinml("teardown", "--on", "rehearsal", code=1)["error_code"]  # not without --yes
    assert twinml("teardown", "--on", "rehearsal", "--yes") == planned
    assert twinml("teardown", "--on", "rehearsal", "--plan") == []
    assert Workspace(twinml.home).holds() == foreign


def test_stop_ends_the_emulator(twinml: Shell, rehearsed):
    stage = Stage(twinml.home / "rehearsal")
    assert stage.variables() is not None
    assert "rehearsal" in twinml("stop")["ended"]
    assert stage.variables() is None
