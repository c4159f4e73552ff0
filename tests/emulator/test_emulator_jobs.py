"""Jobs, run history, MLflow and environments, with the unmodified SDK and real processes."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.contract import held

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def venvs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("venvs")


@pytest.fixture(scope="module")
def session(emulators, run_program, tmp_path_factory, venvs) -> tuple[dict[str, Any], Path, str]:
    folder = tmp_path_factory.mktemp("jobs")
    near = folder / "mirror" / "near"
    near.mkdir(parents=True)
    (near / "a.txt").write_text("from the mirror")
    before = os.environ.get("TWINML_VENVS")
    os.environ["TWINML_VENVS"] = str(venvs)
    try:
        emulator = emulators(
            *("--record", str(folder / "record.jsonl")),
            *("--mirror", f"https://example.org/data={near.parent}"),
        )
    finally:
        os.environ.pop("TWINML_VENVS")
        if before is not None:
            os.environ["TWINML_VENVS"] = before
    work = folder / "work"
    work.mkdir()
    seen = run_program(emulator, "jobs_session.py", work)
    assert emulator.stop() == 0
    return seen, folder / "record.jsonl", emulator.log.read_text()


@pytest.fixture(scope="module")
def seen(session) -> dict[str, Any]:
    return session[0]


def test_a_command_job_streams_its_logs_and_completes(seen):
    command = seen["command"]
    assert command["first"] == "NotStarted"
    assert command["status"] == "Completed"
    text = command["streamed"]["text"]
    assert "Streaming user_logs/std_log.txt" in text
    assert "run is True" in text
    assert "Execution Summary" in text


def test_the_web_view_is_a_page_of_the_emulator_with_the_log(seen):
    page = seen["page"]
    assert page["address"].startswith("http://127.0.0.1:")
    # The SDK prints it, and adds a tenant where it is asked for as 'studio_url'.
    printed = page["address"].partition("&tid=")[0]
    assert f"Web View: {printed}\n" in seen["command"]["streamed"]["text"]
    assert "<span class='Completed'>Completed</span>" in page["text"]
    assert "user_logs/std_log.txt" in page["text"]
    assert "run is True" in page["text"]
    assert page["guessed"] == "404"


def test_inputs_reach_the_command_and_an_optional_one_may_be_left_out(seen):
    text = seen["command"]["streamed"]["text"]
    assert "note is None" in text
    # A direct input is its address, not a copy.
    assert "place is azureml://datastores/workspaceblobstore/paths/some/where" in text


def test_outputs_are_kept_where_the_job_says_and_registered(seen):
    command = seen["command"]
    files = command["files"]
    assert files["named-outputs/model/MLmodel"] == "flavors: {}\n"
    assert files["named-outputs/report/report.txt"] == "share 0.5"
    assert command["report_path"].endswith("/paths/mine/report.txt")
    version, kind, job, path = command["model"]
    assert (version, kind, job) == ("1", "mlflow_model", command["name"])
    assert path.rstrip("/").endswith(f"/azureml/{command['name']}/model")


def test_artifacts_and_logs_come_down_with_the_job(seen):
    files = seen["command"]["files"]
    assert files["artifacts/outputs/made.txt"] == "made"
    assert files["artifacts/notes/note.txt"] == "a note"
    assert "run is True" in files["artifacts/user_logs/std_log.txt"]
    assert "curated" in files["artifacts/azureml-logs/20_image_build_log.txt"]


def test_jobs_are_archived_restored_and_changed(seen):
    command = seen["command"]
    assert command["name"] not in command["archived"]
    assert command["name"] in command["restored"]
    assert command["tags"] == {"from": "me", "colour": "green"}
    name, tags = command["updated"]
    assert name == "Trained"
    assert tags == {"from": "me", "colour": "green", "more": "1"}
    assert command["services"] is None


def test_the_job_is_an_mlflow_run_of_the_same_name(seen):
    logged = seen["mlflow"]
    assert logged["metrics"]["rows"] == 2
    assert logged["params"] == {"share": "0.5"}
    assert logged["status"] == "FINISHED"
    assert logged["history"] == [1.0, 0.5, 1 / 3]
    assert {"notes", "outputs", "user_logs"} <= set(logged["artifacts"])
    assert logged["note"] == "a note"
    assert logged["inner_parent"] == [seen["command"]["name"]]


def test_mlflow_works_from_outside_and_shares_the_registry(seen):
    logged = seen["mlflow"]
    assert logged["mine"] == {"x": 1}
    assert logged["registered"] == [
        "1",
        "mlflow_model",
        f"ExperimentRun/dcid.{logged['run']}/model",
    ]
    assert set(logged["found"]) == {"by-mlflow", "trained"}
    assert "MLmodel" in logged["files"]


def test_logged_models_are_a_gap_as_in_the_service(seen):
    assert "/logged-models failed with error code 404" in seen["mlflow"]["gap"]


def test_a_conda_file_becomes_an_environment_of_its_own(seen, venvs):
    environments = seen["environments"]
    assert environments["statuses"] == ["Completed", "Failed", "Failed"]
    assert f"python {venvs}" in environments["good"]["text"]
    assert "iniconfig" in environments["good"]["text"]
    # What the environment does not list is not there.
    assert "No module named 'mlflow'" in environments["plain"]["error"]


def test_an_environment_that_cannot_be_built_fails_the_job_with_the_installers_words(seen):
    error = seen["environments"]["bad"]["error"]
    assert "ImageBuildFailure" in error
    assert "iniconfig==99.99.99" in error


def test_cancel_ends_the_process(seen):
    assert seen["cancel"] == {"status": "Canceled", "still": False}


def test_a_sweep_runs_its_trials_and_names_the_best(seen):
    sweep = seen["sweep"]
    name = sweep["name"]
    assert (sweep["type"], sweep["status"]) == ("SweepJob", "Completed"), sweep
    assert sweep["children"] == {
        f"{name}_0": ["Completed", {"rate": 0.25, "kernel": "b"}],
        f"{name}_1": ["Completed", {"rate": 0.75, "kernel": "b"}],
    }
    assert sweep["best"] == f"{name}_1"
    # The sweep's output is the best trial's, and a trial's output can be registered.
    assert sweep["model"] == "0.75"
    assert sweep["registered"] == "1"
    assert "rate=0.75, kernel=b): Completed, auc = 0.75" in sweep["streamed"]
    assert "early termination policy is not applied" in sweep["streamed"]


def test_models_and_tables_are_inputs_of_a_command(seen):
    listed = seen["sent"]["listed"]
    for name in ("MLmodel", "conda.yaml", "model.pkl", "MLTable", "rows.csv"):
        assert name in listed


def test_mlflow_loads_a_model_that_the_sdk_uploaded(seen):
    sent = seen["sent"]
    assert "MLmodel" in sent["files"]
    assert sent["answer"] == sent["latest"] == [1]


def test_jobs_are_listed_by_view_and_type_and_deleted(seen):
    lists = seen["lists"]
    assert lists["archived"] == [seen["command"]["name"]]
    assert lists["everything"] is True
    assert lists["sweeps"] == [seen["sweep"]["name"]]
    assert lists["deleted"].startswith("404")


def test_what_cannot_be_run_is_refused_by_name(seen):
    refused = seen["refused"]
    assert "does not run jobs of type 'Spark'" in refused["spark"]
    assert "${{inputs.nothing}}" in refused["unbound"]
    assert "example.com" in refused["far"]
    assert "fetches nothing from elsewhere" in refused["far"]
    assert refused["missing"].startswith("404")


def test_a_folder_stands_for_an_address_elsewhere(seen):
    assert "from the mirror" in seen["mirrored"]


def test_every_body_keeps_to_the_types_of_its_api_version(session, arm_types):
    found = held(session[1], arm_types)
    assert found.unknown == set()
    assert found.known == {
        ("request", "workspaces/codes/versions", "/properties/properties/hash_version"),
        ("request", "workspaces/jobs", "/properties/objective/goal"),
        ("request", "workspaces/jobs", "/properties/earlyTermination/slackFactor"),
        ("response", "workspaces/jobs", "/properties/earlyTermination/slackFactor"),
    }


def test_nothing_failed_and_no_process_is_left(session):
    log = session[2]
    assert "Traceback" not in log
    refused = {line.split()[-1].split("/")[0] for line in log.splitlines() if "refused:" in line}
    assert refused <= {"config.mlflow-telemetry.io", "azuremlschemasprod.azureedge.net"}
