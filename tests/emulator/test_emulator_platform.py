"""The platform ``azure`` against a real emulator process, and what it says when it cannot be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinml.errors import PlatformUnavailable
from twinml_azure.connection import find_workspace

VARIABLES = {
    "AZUREML_ARM_SUBSCRIPTION": "s",
    "AZUREML_ARM_RESOURCEGROUP": "g",
    "AZUREML_ARM_WORKSPACE_NAME": "w",
}
CONFIG = {"subscription_id": "s2", "resource_group": "g2", "workspace_name": "w2"}


def write_config(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path


def test_a_workspace_is_found_in_the_environment():
    found = find_workspace(Path("/"), VARIABLES)
    assert (found.subscription_id, found.resource_group, found.workspace_name) == ("s", "g", "w")
    others = {"AZURE_SUBSCRIPTION_ID": "s", "AZURE_RESOURCE_GROUP": "g"}
    assert find_workspace(Path("/"), {**others, "AZUREML_WORKSPACE_NAME": "w"}) == found
    assert found.resource_id.endswith("/workspaces/w")


@pytest.mark.parametrize("name", ["config.json", ".azureml/config.json"])
def test_a_workspace_is_found_in_a_file_here_or_above(tmp_path: Path, name: str):
    config = write_config(tmp_path / name)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = find_workspace(below, {"AZURE_SUBSCRIPTION_ID": "another"})
    assert (found.subscription_id, found.workspace_name) == ("s2", "w2")
    assert found.source == str(config)


def test_the_environment_wins_when_it_names_the_workspace_in_full(tmp_path: Path):
    write_config(tmp_path / "config.json")
    assert find_workspace(tmp_path, VARIABLES).workspace_name == "w"
    half = {name: value for name, value in VARIABLES.items() if "WORKSPACE" not in name}
    assert find_workspace(tmp_path, half).workspace_name == "w2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"subscription_id": "s", "resource_group": ""}', "no resource_group and no workspace_na"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, message: str):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(PlatformUnavailable, match=message) as caught:
        find_workspace(tmp_path, {})
    assert str(path) in caught.value.message


def test_a_half_named_workspace_says_which_half_is_missing(tmp_path: Path):
    with pytest.raises(PlatformUnavailable, match="AZUREML_ARM_WORKSPACE_NAME not set"):
        find_workspace(tmp_path, {**VARIABLES, "AZUREML_ARM_WORKSPACE_NAME": ""})


def unconfigured() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AZURE")}


@pytest.mark.e2e
def test_without_configuration_it_says_so_in_a_line_before_it_imports_a_library(tmp_path: Path):
    code = (
        "import sys\n"
        "from twinml.errors import PlatformUnavailable\n"
        "from twinml.platform import load\n"
        "try:\n    load('azure').endpoints()\n"
        "except PlatformUnavailable as error:\n    print(error)\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('azure', 'mlflow')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=unconfigured(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said, modules = done.stdout.splitlines()
    assert said.startswith("no Azure ML workspace is configured: ")
    assert "config.json" in said
    assert "AZUREML_ARM_WORKSPACE_NAME" in said
    assert modules == "[]"


@pytest.mark.e2e
def test_a_refused_credential_is_one_line_without_the_secret(emulators, tmp_path: Path):
    emulator = emulators()
    code = (
        "from twinml.errors import PlatformUnavailable\n"
        "from twinml.platform import load\n"
        "try:\n    load('azure').endpoints()\n"
        "except PlatformUnavailable as error:\n    print(error)\n"
    )
    for changes, reason in (
        ({"AZURE_CLIENT_SECRET": "not-the-secret"}, "Invalid client secret"),
        ({"AZURE_CLIENT_ID": ""}, "client_id"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            # No sign-in of another kind may be found on this machine.
            env={**emulator.environment, **changes, "HOME": str(tmp_path), "PATH": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.startswith("no credential opens Azure: "), done.stderr[-2000:]
        assert reason in done.stdout
        assert len(done.stdout.splitlines()) == 1
        assert "not-the-secret" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen(emulators, run_program, tmp_path_factory) -> dict[str, Any]:
    emulator = emulators()
    folder = tmp_path_factory.mktemp("platform")
    # Not a dot of the SDK's among what is printed.
    answer: dict[str, Any] = run_program(
        emulator, "platform_session.py", folder, quiet=True, TWINML_HOME=str(folder / "home")
    )
    answer["uploads"] = emulator.log.read_text().count("PUT emulator")
    return answer


@pytest.mark.e2e
def test_an_unchanged_file_keeps_its_version(seen):
    first, again, dropped = seen["data"], seen["data_again"], seen["data_dropped"]
    assert first == again
    assert (first["name"], first["version"]) == ("bank", "1")
    assert (first["target"], first["n_rows"], first["n_columns"]) == ("y", 60, 3)
    assert first["path"].startswith("azureml://")
    assert first["tags"]["digest"] == first["digest"]
    assert first["created"]
    assert dropped["version"] == "2"
    assert json.loads(dropped["tags"]["dropped"]) == ["age"]


@pytest.mark.e2e
def test_an_unchanged_model_keeps_its_version(seen):
    assert seen["model"] == seen["model_again"]
    assert seen["model"]["version"] == "1"
    assert seen["model"]["uri"] == "azureml:bank:1"
    assert seen["model"]["run_id"] == "r1"
    assert len(seen["model"]["digest"]) == 64


@pytest.mark.e2e
def test_an_endpoint_is_made_and_described(seen):
    assert seen["no_endpoint"]["kind"] == "NotFound"
    assert seen["endpoints"] == ["bank-ep"]
    info = seen["info"]
    assert info["scoring_uri"] == "https://bank-ep.eastus.inference.ml.azure.com/score"
    assert info["state"] == "Succeeded"
    assert (info["traffic"], info["deployments"]) == ({}, {})
    assert seen["keys"] == 2
    assert info["scoring_uri"] in seen["client"]
    assert not seen["key_shown"]


@pytest.mark.e2e
def test_what_cannot_be_done_is_said_in_a_line(seen):
    assert seen["logs"]["kind"] == "NotFound"
    assert "no deployment" in seen["logs"]["text"]
    assert seen["foreign"]["kind"] == "PlatformError"
    assert "twinml did not make it" in seen["foreign"]["text"]
    texts = [seen["logs"], seen["no_endpoint"], seen["foreign"]]
    assert all("\n" not in item["text"] for item in texts)
    assert seen["stop"] == []


@pytest.mark.e2e
def test_a_teardown_removes_what_twinml_made_and_nothing_else(seen):
    kinds = {change["kind"] for change in seen["removable"]}
    assert kinds == {"online endpoint", "cluster", "model", "data"}
    assert all(change["action"] == "delete" for change in seen["removable"])
    assert "mine" not in {change["name"] for change in seen["removable"]}
    assert seen["left"] == []
    assert seen["foreign_left"] == ["mine"]


@pytest.mark.e2e
def test_a_plan_tells_what_is_there(seen):
    planned = {change["kind"]: change["action"] for change in seen["plan"]}
    assert planned == {
        "data": "keep",
        "cluster": "create",
        "environment": "create",
        "job": "create",
        "model": "keep",
        "online endpoint": "create",
        "online deployment": "create",
    }
    untrained = {change["kind"]: change["action"] for change in seen["plan_untrained"]}
    assert untrained == {**planned, "model": "create"}


@pytest.mark.e2e
def test_the_preflight_looks_at_everything(seen):
    levels = {check["what"]: check["level"] for check in seen["checks"]}
    assert set(levels.values()) <= {"ok", "note"}
    assert {"packages", "sign-in", "workspace", "permissions", "payload"} <= levels.keys()
    assert {"quota for the cluster", "quota for the deployment"} <= levels.keys()
    found = {check["what"]: check for check in seen["too_large"]}
    assert found["quota for the cluster"]["level"] == "error"
    assert "0 free of 0" in found["quota for the cluster"]["found"]
    assert found["region for the deployment"]["level"] == "error"
    assert "Standard_Z9" in found["region for the deployment"]["found"]


@pytest.mark.e2e
def test_a_key_is_replaced_traffic_is_checked_and_an_endpoint_deleted(seen: dict[str, Any]):
    assert seen["renewed"] == [True, True]
    assert "green" in seen["bad_traffic"]["text"]
    assert seen["deleted"] == []
