"""The unmodified SDK against a real emulator process, told where to go by variables alone."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from azureml_emulator.recordings import MASK
from tests.emulator.contract import PROVIDER, Held, management

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def recorded(
    emulators, run_program, tmp_path_factory
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """Return what the SDK saw, the exchanges on the wire, and the emulator's log."""
    folder = tmp_path_factory.mktemp("sdk")
    emulator = emulators("--record", str(folder / "record.jsonl"))
    work = folder / "work"
    work.mkdir()
    seen = run_program(emulator, "sdk_session.py", work)
    assert emulator.stop() == 0
    return seen, management(folder / "record.jsonl"), emulator.log.read_text()


@pytest.fixture(scope="module")
def seen(recorded) -> dict[str, Any]:
    return recorded[0]


def test_workspace_and_datastores(seen):
    assert seen["workspace"] == {
        "name": "emulator",
        "location": "eastus",
        "listed": ["emulator"],
        "default": "workspaceblobstore",
        "datastores": ["workspaceartifactstore", "workspaceblobstore"],
    }
    assert seen["datastore"]["key"] == "a2V5"
    assert seen["datastore"]["after"]["kind"] == "ResourceNotFoundError"


def test_the_same_file_twice_is_one_upload_and_two_versions(seen):
    data = seen["data"]
    assert data["versions"] == ["1", "2"]
    assert len(set(data["paths"])) == 1
    assert data["paths"][0].startswith("azureml://datastores/workspaceblobstore/paths/LocalUpload/")
    assert data["latest"] == "2"
    assert data["listed"] == ["1", "2"]


def test_a_version_keeps_its_path(seen):
    assert seen["data"]["changed"]["status"] == 409
    assert "already exists" in seen["data"]["changed"]["text"]


def test_archiving_hides_versions_and_assets_until_they_are_restored(seen):
    data = seen["data"]
    assert data["archived"] == ["2"]
    assert data["restored"] == ["1", "2"]
    assert data["names"] == ["bank", "bank-table"]
    assert data["names_after"] == ["bank"]


def test_a_long_list_comes_in_pages_and_is_complete(seen):
    assert seen["data"]["many"] == list(range(1, 36))


def test_an_environment_gets_a_new_version_only_when_it_changes(seen):
    assert seen["environment"] == ["1", "1", "2"]


def test_a_component_uploads_its_code_once(seen):
    component = seen["component"]
    assert component["versions"] == ["1", "1"]
    assert len(component["codes"]) == 1
    assert component["command"].startswith("python train.py")
    assert float(component["share"]) == 0.5
    assert component["listed"] == ["prepare"]


def test_a_model_folder_comes_back_byte_for_byte(seen):
    model = seen["model"]
    assert (model["version"], model["type"], model["tags"]) == (
        "1",
        "mlflow_model",
        {"digest": "d"},
    )
    assert model["same"]
    assert model["missing"]["kind"] == "ResourceNotFoundError"


def test_computes_live_through_long_running_operations(seen):
    compute = seen["compute"]
    assert compute["state"].rpartition(".")[2].lower() == "succeeded"
    assert compute["nodes"] == [0, 2]
    assert compute["started"].rpartition(".")[2].lower() == "running"
    assert compute["stopped"].rpartition(".")[2].lower() == "stopped"
    assert compute["listed"] == ["cluster", "instance"]
    assert compute["after"] == ["cluster"]


def test_endpoints_have_keys_and_send_traffic_only_to_what_is_there(seen):
    endpoint = seen["endpoint"]
    assert endpoint["uri"] == "https://bank-ep.eastus.inference.ml.azure.com/score"
    assert endpoint["primary_kept"]
    assert endpoint["secondary_changed"]
    assert endpoint["traffic"]["status"] == 400
    assert "'blue'" in endpoint["traffic"]["text"]
    assert endpoint["listed"] == ["bank-ep"]
    assert endpoint["deleted"]


def test_nothing_failed_and_only_unknown_hosts_were_refused(recorded):
    log = recorded[2]
    refused = {line.split()[-1].split("/")[0] for line in log.splitlines() if "refused:" in line}
    assert "Traceback" not in log
    # The SDK asks there for the schema of MLTable files, and does without.
    assert refused <= {"azuremlschemasprod.azureedge.net"}
    assert "no route:" not in log


def test_every_body_keeps_to_the_types_of_its_api_version(recorded, arm_types):
    found = Held(recorded[1], arm_types)
    assert found.unknown == set()
    # A deviation that no longer happens has to leave the table.
    assert found.known == {
        ("request", "workspaces/codes/versions", "/properties/properties/hash_version")
    }
    assert {kind for kind in found.checked if kind.startswith("request")} == {
        f"request workspaces/{name}"
        for name in (
            *("codes/versions", "components/versions", "computes", "data", "data/versions"),
            *("datastores", "environments/versions", "models/versions", "onlineEndpoints"),
        )
    }
    assert sum(found.checked.values()) > 150


def test_the_record_holds_no_secret(recorded):
    text = json.dumps(recorded[1])
    assert "a2V5" not in text
    assert set(re.findall(r'sig=([^&"]*)', text)) <= {MASK}
    assert set(re.findall(r'Key": "([^"]*)"', text)) == {MASK}


def test_the_check_of_bodies_can_fail(arm_types: Callable[[str], Any]):
    types = arm_types("2023-04-01-preview")
    kind = f"{PROVIDER}/workspaces/data/versions"
    good = {"properties": {"dataType": "uri_file", "dataUri": "azureml://x"}}
    assert types.deviations(kind, "1", good, response=False) == []

    def deviations(**changes: Any) -> list[str]:
        body = {"properties": {**good["properties"], **changes}}
        return types.deviations(kind, "1", body, response=False)

    assert deviations(dataUri=None) == ["/properties/dataUri: missing"]
    assert deviations(dataUri=7) == ["/properties/dataUri: 7 is not a StringType"]
    assert deviations(tags={"a": 1}) == ["/properties/tags/a: 1 is not a StringType"]
    assert deviations(isArchived="no") == ["/properties/isArchived: 'no' is not a BooleanType"]
    assert deviations(colour="red") == ["/properties/colour: unknown"]
    assert deviations(dataType="table") == ["/properties/dataType: 'table' is unknown"]
    late = {**good, "systemData": {"createdBy": "me"}}
    assert types.deviations(kind, "1", late, response=False) == ["/systemData: read-only, but sent"]
