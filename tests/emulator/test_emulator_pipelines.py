"""Pipelines and AutoML with the unmodified SDK; and what a crash leaves of jobs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.contract import held

pytestmark = pytest.mark.e2e

BANK = Path(__file__).resolve().parents[2] / "data" / "bank-full.csv.gz"
DEFAULT = "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"


@pytest.fixture(scope="module")
def session(emulators, run_program, tmp_path_factory) -> tuple[dict[str, Any], Path, str]:
    folder = tmp_path_factory.mktemp("pipelines")
    emulator = emulators("--lenient", "--record", str(folder / "record.jsonl"))
    work = folder / "work"
    work.mkdir()
    seen = run_program(emulator, "pipeline_session.py", work, BANK=str(BANK))
    assert emulator.stop() == 0
    return seen, folder / "record.jsonl", emulator.log.read_text()


@pytest.fixture(scope="module")
def seen(session) -> dict[str, Any]:
    return session[0]


def test_a_pipeline_from_yaml_runs_its_steps_and_keeps_its_outputs(seen):
    pipeline = seen["yaml"]
    assert pipeline["status"] == "Completed", pipeline["streamed"]
    assert {name: child["status"] for name, child in pipeline["children"].items()} == {
        "train_job": "Completed",
        "hello_job": "Completed",
        "score_job": "Completed",
    }
    files = pipeline["files"]
    assert files["named-outputs/trained/model.txt"] == "--data --epochs 20 --rate 0.01 --model"
    assert files["named-outputs/scored/score.txt"].startswith("scored --data --epochs 20")
    score = pipeline["children"]["score_job"]["name"]
    assert pipeline["outputs"]["scored"].endswith(f"/paths/mine/{score}/scored")


def test_streaming_a_pipeline_shows_its_steps(seen):
    text = seen["yaml"]["streamed"]["text"]
    assert "Streaming logs/azureml/executionlogs.txt" in text
    for step in ("train_job", "hello_job", "score_job"):
        child = seen["yaml"]["children"][step]["name"]
        assert f"{step} ({child}): Completed" in text


def test_a_child_is_got_and_downloaded_like_a_job(seen):
    assert seen["yaml"]["child_status"] == "Completed"
    assert set(seen["yaml"]["child_files"]) >= {
        "artifacts/user_logs/std_log.txt",
        "named-outputs/model/model.txt",
    }


def test_unchanged_steps_are_reused_unless_a_rerun_is_forced(seen):
    first, again = seen["yaml"]["children"], seen["yaml"]["again"]
    assert again["status"] == "Completed"
    for name, child in again["children"].items():
        assert child["properties"]["azureml.isreused"] == "true"
        assert child["properties"]["azureml.reusedrunid"] == first[name]["name"]
    forced = seen["yaml"]["forced"]
    assert forced["status"] == "Completed"
    assert "azureml.isreused" not in forced["children"]["hello_job"]["properties"]


def test_a_pipeline_within_a_pipeline_is_a_child_with_children(seen):
    pipeline = seen["dsl"]
    assert pipeline["status"] == "Completed", pipeline["streamed"]
    assert set(pipeline["children"]) == {"part", "other", "last"}
    assert sorted(pipeline["inner"]) == ["scored", "trained"]
    assert pipeline["scores"] == "scored --data --epochs 3 --rate 0.25 --model"
    assert pipeline["registered"] == pipeline["outputs"]["model"]


def test_a_failed_step_fails_the_pipeline_with_its_words(seen):
    failing = seen["dsl"]["failing"]
    assert failing["status"] == "Failed"
    assert "step 'bad' exited with 3: some words" in failing["streamed"]["error"]
    assert failing["children"]["bad"]["status"] == "Failed"


def test_a_sweep_and_a_parallel_node_run_in_a_pipeline(seen):
    pipeline = seen["searching"]
    assert pipeline["status"] == "Completed", pipeline["streamed"]
    assert pipeline["trials"] == ["Completed", "Completed"]
    assert pipeline["chosen"] == "rbf"
    # One mini batch fails once, and is done again.
    assert sorted(pipeline["counted"]) == ["file=more.csv", "file=part.csv"]
    best = pipeline["children"]["search"]["properties"]["best_child_run_id"]
    assert best.startswith(pipeline["children"]["search"]["name"])


def test_a_pipeline_that_is_canceled_ends_its_step_and_begins_no_other(seen):
    status, children = seen["badly"]["canceled"]
    assert status == "Canceled"
    assert children["ticking"] == "Canceled"
    assert children.get("waiting", "Canceled") == "Canceled"
    assert seen["badly"]["still"] is False


def test_branches_beside_a_failed_step_go_on_if_asked_for(seen):
    half = seen["badly"]["half"]
    assert half["status"] == "Failed"
    states = {name: child["status"] for name, child in half["children"].items()}
    assert states.pop("after_bad", "Canceled") == "Canceled"
    assert states == {"bad": "Failed", "slow": "Completed", "after_slow": "Completed"}
    assert "step 'bad' exited with 3: broken here" in half["streamed"]["error"]


def test_automl_leaves_the_children_and_tags_that_notebooks_look_for(seen):
    automl = seen["automl"]
    name = automl["name"]
    assert sorted(automl["children"]) == [f"{name}_{number}" for number in range(4)]
    algorithms = {algorithm for _, algorithm in automl["children"].values()}
    assert algorithms == {"LightGBM", "LogisticRegression", "RandomForest", "VotingEnsemble"}
    assert {status for status, _ in automl["children"].values()} == {"Completed"}
    assert automl["scores"][automl["best"]] == max(automl["scores"].values())
    assert automl["tags"]["model_explain_run"] == "best_run"


def test_automl_logs_azures_metrics_for_the_best_child_and_the_parent(seen):
    automl = seen["automl"]
    assert automl["metrics"] == automl["parent_metrics"]
    for name in ("AUC_weighted", "accuracy", "log_loss", "norm_macro_recall", "f1_score_macro"):
        assert 0 <= automl["metrics"][name] <= 1
    assert automl["metrics"]["AUC_weighted"] == automl["scores"][automl["best"]]
    assert automl["metrics"]["AUC_weighted"] > 0.75


def test_the_best_childs_model_is_registered_downloaded_and_answers(seen):
    automl = seen["automl"]
    assert {"conda_env_v_1_0_0.yml", "mlflow-model", "model.pkl"} <= set(automl["files"])
    assert "scoring_file_v_2_0_0.py" in automl["files"]
    assert "MLmodel" in automl["downloaded"]
    assert f"/dcid.{automl['best']}/outputs/mlflow-model" in automl["path"]
    assert automl["agreement"] > 0.87


def test_automl_predicts_numbers_and_logs_azures_metrics_of_them(seen):
    metrics = seen["automl"]["regression"]
    assert 0.1 < metrics["r2_score"] < 1
    assert 0 < metrics["normalized_root_mean_squared_error"] < 0.5
    assert metrics["spearman_correlation"] > 0.3


def test_an_automl_node_hands_its_model_to_the_next_step(seen):
    node = seen["node"]
    assert node["status"] == "Completed", node["streamed"]
    assert "MLmodel" in node["listed"]
    search = node["children"]["search"]["name"]
    assert node["grandchildren"] == [[f"{search}_0", "LogisticRegression"]]


def test_the_training_pipeline_with_an_automl_node_registers_its_model(seen):
    training = seen["training"]
    assert training["status"] == "Completed", training["streamed"]
    assert {name: child["status"] for name, child in training["children"].items()} == (
        dict.fromkeys(
            ("prepare", "split", "search", "adopt", "evaluate", "register", "deploy"), "Completed"
        )
    )
    registration = training["registration"]
    assert (registration["registered"], registration["version"]) == (True, "1")
    assert registration["digest"] == training["digest"]
    assert training["version"] == "mlflow_model"
    assert "VotingEnsemble" in training["algorithms"]
    assert registration["candidate"]["roc_auc"] > 0.7


def test_a_lenient_emulator_keeps_models_that_mlflow_logs(seen):
    assert seen["lenient"] == {"answer": [1], "registered": [0], "listed": "mlflow_model"}


def test_every_body_keeps_to_the_types_of_its_api_version(session, arm_types):
    found = held(session[1], arm_types)
    assert found.unknown == set()
    assert found.known == {
        ("request", "workspaces/codes/versions", "/properties/properties/hash_version")
    }


def test_nothing_failed_inside_the_emulator(session):
    assert "Traceback" not in session[2]


# What a crash leaves


# Only against hanging for ever: the first import of MLflow holds an answer back on a busy machine.
READ_SECONDS = 600


def put_job(client: Any, workspace: str, name: str, command: str) -> None:
    answer = client.put(
        f"https://management.azure.com{workspace}/jobs/{name}?api-version=2025-01-01-preview",
        json={
            "properties": {
                "jobType": "Command",
                "command": command,
                "environmentId": DEFAULT,
                "outputs": {"out": {"jobOutputType": "uri_folder"}},
            }
        },
        timeout=READ_SECONDS,
    )
    assert answer.status_code == 201, answer.text


def wait_for_job(client: Any, workspace: str, name: str, *statuses: str) -> dict[str, Any]:
    address = f"https://management.azure.com{workspace}/jobs/{name}?api-version=2025-01-01-preview"
    deadline = time.monotonic() + READ_SECONDS
    while time.monotonic() < deadline:
        properties: dict[str, Any] = client.get(address, timeout=READ_SECONDS).json()["properties"]
        if properties["status"] in statuses:
            return properties
        time.sleep(0.2)
    raise AssertionError(f"{name} is {properties['status']}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_emulator_loses_no_job_and_leaves_no_process(emulators, tmp_path):
    emulator = emulators("--workers", "1")
    client, workspace = emulator.signed_in(), emulator.workspace
    pids, go = tmp_path / "pids", tmp_path / "go"
    slow = f"echo $$ >>{pids}; [ -e {go} ] || sleep 600; echo made >${{{{outputs.out}}}}/file"
    put_job(client, workspace, "slow", slow)
    put_job(client, workspace, "queued", "echo queued >${{outputs.out}}/file")
    wait_for_job(client, workspace, "slow", "Running")
    while not pids.exists() or not pids.read_text():
        time.sleep(0.1)
    emulator.kill()
    first = int(pids.read_text())
    assert alive(first)
    go.touch()
    emulator.start()
    client = emulator.signed_in()
    for name in ("slow", "queued"):
        job = wait_for_job(client, workspace, name, "Completed", "Failed")
        assert job["status"] == "Completed", job
        assert job["outputs"]["out"]["uri"].endswith(f"/azureml/{name}/out/")
    assert len(pids.read_text().split()) == 2
    assert not alive(first)
    # Stopping interrupts a running job, which goes on at the next start.
    go.unlink()
    put_job(client, workspace, "paused", slow)
    while len(pids.read_text().split()) < 3:
        time.sleep(0.1)
    assert emulator.stop() == 0
    assert not alive(int(pids.read_text().split()[2]))
    go.touch()
    emulator.start()
    wait_for_job(emulator.signed_in(), workspace, "paused", "Completed")
    assert json.loads((emulator.directory / "environment.json").read_text())
