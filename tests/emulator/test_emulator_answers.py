"""What the service accepts, fills in and refuses, asked in this process without running a job."""

import re
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from werkzeug.test import Client

from azureml_emulator.app import Emulator
from azureml_emulator.arm.availability import check_version
from azureml_emulator.arm.defaults import filled_component, filled_job
from azureml_emulator.arm.refusals import check_counts
from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._definitions import read_job
from azureml_emulator.jobs.runs import RunStore
from tests.emulator.contract import Ask

ENVIRONMENT = "azureml:AzureML-sklearn-1.5:1"
COMMAND = {"jobType": "Command", "environmentId": ENVIRONMENT}
FOLDER = {"jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/a/"}


def component(kind: str = "command", **more: Any) -> dict[str, Any]:
    spec = {"type": kind, "command": "run ${{inputs.n}}", "environment": ENVIRONMENT,
            "inputs": {"n": {"type": "integer", "default": "1"}}, **more}  # fmt: skip
    return {"properties": {"componentSpec": spec}}


@pytest.fixture
def cluster(ask: Ask) -> None:
    body = {"properties": {"computeType": "AmlCompute", "properties": {}}}
    assert ask("PUT", "/computes/cpu-cluster", body).status_code == 201


@pytest.fixture
def pipeline(ask: Ask, emulator: Emulator, cluster: None) -> Any:
    """Return a function that submits a pipeline of one node, and returns the answer."""
    made = ask("PUT", "/components/step/versions/1", component())
    assert made.status_code == 201, made.text
    number = iter(range(100))

    def submit(node: dict[str, Any] | None = None, *, compute: str = "cpu-cluster", **more: Any):
        workspace = emulator.account.workspace_id
        properties = {
            "jobType": "Pipeline",
            "settings": {"default_compute": f"{workspace}/computes/{compute}"},
            "jobs": {"a": {"type": "command", "componentId": made.json["id"], **(node or {})}},
            **more,
        }
        return ask("PUT", f"/jobs/job{next(number)}", {"properties": properties})

    return submit


def test_a_component_is_answered_as_the_service_fills_it(ask: Ask):
    sent = component(name="other", version="7")
    answer = ask("PUT", "/components/c/versions/1", sent).json["properties"]["componentSpec"]
    assert (answer["name"], answer["version"]) == ("c", "1")
    assert answer["inputs"]["n"]["optional"] == "False"
    assert answer["resources"] == {"instance_count": "1"}
    where = "azureml://registries/azureml/environments/AzureML-sklearn-1.5/versions/1"
    assert answer["environment"] == where
    # What was answered may be sent back.
    again = ask("PUT", "/components/c/versions/1", {"properties": {"componentSpec": answer}})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "headers", "status", "text"),
    [
        ("GET", "https://example.org/data/near/a%20b.csv", {}, 200, "x,y\n1,2\n"),
        ("HEAD", "https://example.org/data/near/a%20b.csv", {}, 200, ""),
        ("GET", "https://example.org/data/near/a%20b.csv", {"Range": "bytes=0-2"}, 206, "x,y"),
        ("GET", "https://example.org/data/none.csv", {}, 404, "is not in its mirror"),
        ("GET", "https://example.org/data/near", {}, 404, "is a folder of a mirror"),
        ("GET", "https://example.org/data/..%2Fsecret", {}, 404, "is not in its mirror"),
        ("GET", "http://example.org/data/near/a%20b.csv", {}, 403, "does not stand in"),
        ("GET", "https://example.org/database/a.csv", {}, 403, "does not stand in"),
        ("PUT", "https://example.org/data/near/a%20b.csv", {}, 403, "does not stand in"),
    ],
)
def test_any_client_reads_what_a_folder_stands_for(
    method: str, address: str, headers: dict[str, str], status: int, text: str, tmp_path: Path
):
    near = tmp_path / "data" / "near"
    near.mkdir(parents=True)
    (near / "a b.csv").write_text("x,y\n1,2\n")
    (tmp_path / "secret").write_text("mine")
    mirrors = {"https://example.org/data": tmp_path / "data"}
    emulator = Emulator(tmp_path / "state", mirrors=mirrors)
    url = urlsplit(address)
    place = {"azureml_emulator.host": url.netloc, "azureml_emulator.path": url.path}
    answer = Client(emulator).open(
        url.path, base_url=f"{url.scheme}://{url.netloc}", method=method, headers=headers,
        environ_overrides=place, buffered=True,
    )  # fmt: skip
    emulator.close()
    assert (answer.status_code, text in answer.text) == (status, True)


@pytest.mark.parametrize(
    ("kind", "command", "status"),
    [
        ("command", "", 400), ("Command", " ", 400), ("command", None, 400),
        ("command", "x", 201), ("pipeline", None, 201),
    ],
)  # fmt: skip
def test_a_command_component_has_a_command(ask: Ask, kind: str, command: Any, status: int):
    answer = ask("PUT", "/components/c/versions/1", component(kind, command=command))
    assert answer.status_code == status
    # A default beyond the limits is taken, as recorded of the service.
    beyond = component(inputs={"n": {"type": "integer", "max": "8", "default": "10"}})
    assert ask("PUT", "/components/d/versions/1", beyond).status_code == 201


CURATED = "azureml://registries/azureml/environments"
NUMBERS = {"a": 1, "b": {"c": True, "d": [2.5, None]}, "type": "spark"}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"type": "command"}, {"is_deterministic": "True", "resources": {"instance_count": "1"}}),
        ({"type": "command", "resources": {"instance_count": 2, "instance_type": "D3"}},
         {"resources": {"instance_count": "2"}}),
        ({"type": "pipeline", "jobs": {"a": {"n": 1}}, "resources": {"instance_count": 2}},
         {"is_deterministic": "False", "jobs": {"a": {"n": 1}}, "resources": None}),
        (NUMBERS, {"a": "1", "b": {"c": "True", "d": ["2.5", None]}, "resources": None}),
        ({"type": "parallel", "mini_batch_error_threshold": 5, "resources": {"instance_count": 2},
          "task": {"environment": "azureml:AzureML-Minimal:2"}},
         {"error_threshold": "-1", "logging_level": "INFO", "resources": None,
          "retry_settings": {"max_retries": "3", "timeout": "60"},
          "mini_batch_error_threshold": "5",
          "task": {"environment": f"{CURATED}/AzureML-Minimal/versions/2"}}),
        ({"type": "parallel", "error_threshold": 1, "retry_settings": {"timeout": 2}},
         {"error_threshold": "1", "retry_settings": {"timeout": "2"}}),
        ({"type": "command", "_source": "CLASS", "sourceJobId": None}, {"_source": None}),
        ({"type": "command", "environment": "azureml:mine:1"}, {"environment": "azureml:mine:1"}),
        ({"type": "command", "distribution": {"type": "mpi", "process_count_per_instance": 2}},
         {"distribution": {"type": "Mpi", "process_count_per_instance": "2"}}),
        ({"type": "command", "inputs": {"i": {"type": "integer", "min": 1, "mode": "ro_mount"}},
          "outputs": {"o": {"type": "uri_file", "mode": "rw_mount"}}},
         {"inputs": {"i": {"type": "integer", "min": "1", "optional": "False"}},
          "outputs": {"o": {"type": "uri_file"}}}),
        ({"inputs": {"i": {"type": "string", "default": "azureml:c", "optional": True}}},
         {"inputs": {"i": {"type": "string", "default": "c", "optional": "True"}}}),
    ],
)  # fmt: skip
def test_what_is_answered_of_a_component(sent: dict[str, Any], answered: dict[str, Any]):
    filled = filled_component(sent)
    assert {name: filled.get(name) for name in answered} == answered
    assert filled_component(filled) == filled


PIPELINE = {
    "jobType": "Pipeline",
    "inputs": {"n": {"jobInputType": "literal", "value": 2}, "p": FOLDER},
    "settings": {"default_compute": "/x/computes/c", "forceRerun": "True"},
}


@pytest.mark.parametrize(
    ("sent", "place", "wanted"),
    [
        ({"jobType": "Command"}, "resources", {"instanceCount": 1, "shmSize": "2g"}),
        ({"jobType": "Command", "resources": {"instanceCount": 2}}, "resources.instanceCount", 2),
        ({"jobType": "AutoML", "taskDetails": {"trainingData": FOLDER}},
         "taskDetails.trainingData.mode", "ReadOnlyMount"),
        ({"jobType": "AutoML", "taskDetails": {}}, "resources.shmSize", "2g"),
        ({"jobType": "AutoML", "taskDetails": {}}, "outputs", None),
        ({"jobType": "Sweep", "trial": {}}, "trial.resources.instanceCount", 1),
        ({"jobType": "Sweep", "trial": {}}, "resources", None),
        ({"jobType": "Sweep", "trial": {"environmentId": "azureml:e:2"}},
         "trial.environmentId", "/w/environments/e/versions/2"),
        ({"jobType": "Sweep", "trial": {"environmentId": "azureml:e@latest"}},
         "trial.environmentId", "azureml:e@latest"),
        ({"jobType": "Command", "environmentId": "azureml:e:2"}, "environmentId", "azureml:e:2"),
        (PIPELINE, "inputs.p.mode", "ReadOnlyMount"),
        (PIPELINE, "resources", None),
        (PIPELINE, "properties",
         {"azureml.DevPlatv2": "true", "runSource": "MFE", "runType": "HTTP",
          "azureml.parameters": '{"n":"2"}', "azureml.continue_on_step_failure": "True",
          "azureml.continue_on_failed_optional_input": "True",
          "azureml.runsource": "azureml.PipelineRun", "azureml.pipelineComponent": "pipelinerun",
          "azureml.defaultComputeName": "c", "azureml.enforceRerun": "True"}),
        ({"jobType": "Command", "properties": {"mine": "1", "none": None}}, "properties",
         {"mine": "1", "_azureml.ComputeTargetType": "amlctrain"}),
    ],
)  # fmt: skip
def test_what_is_answered_of_a_job(sent: dict[str, Any], place: str, wanted: Any):
    found: Any = filled_job(sent, "/w")
    for name in place.split("."):
        found = found.get(name)
    assert found == wanted


def test_a_pipeline_that_ended_is_not_canceled(pipeline, ask: Ask, tmp_path: Path):
    assert pipeline().status_code == 201
    assert ask("POST", "/jobs/job0/cancel").status_code == 202
    runs = RunStore(tmp_path / "state" / "runs.sqlite")
    assert runs.set_status("job0", "Completed")
    runs.close()
    refused = ask("POST", "/jobs/job0/cancel")
    assert refused.status_code == 400
    assert "is in terminal status" in refused.json["error"]["message"]


def test_what_is_not_there_is_said_to_be_not_found(ask: Ask):
    error = ask("GET", "/schedules/s").json["error"]
    assert error["message"].endswith("/schedules/s was not found.")


def test_a_condition_of_deleting_is_answered_as_it_was_sent(ask: Ask):
    setting = {"condition": "createdGreaterThan", "value": "30d"}
    sent = {"dataType": "uri_file", "dataUri": "azureml://x", "autoDeleteSetting": setting}
    made = ask("PUT", "/data/d/versions/1", {"properties": sent})
    assert made.json["properties"]["autoDeleteSetting"] == setting
    setting["condition"] = "whenever"
    assert ask("PUT", "/data/d/versions/2", {"properties": sent}).status_code == 400


def test_an_anonymous_component_keeps_name_and_version(ask: Ask):
    sent = component(name="mine", version="0.0.1")
    answer = ask("PUT", "/components/azureml_anonymous/versions/0a1b", sent).json
    spec = answer["properties"]["componentSpec"]
    assert (spec["name"], spec["version"], answer["name"]) == ("mine", "0.0.1", "0a1b")


def test_after_its_first_version_a_component_is_numbered_by_moments(ask: Ask):
    ask("PUT", "/components/c/versions/1", component())
    following = ask("GET", "/components/c").json["properties"]["nextVersion"]
    assert re.fullmatch(r"\d{4}(-\d\d){5}-\d{7}", following)
    ask("PUT", "/models/m/versions/1", {"properties": {"modelUri": "azureml://m"}})
    assert ask("GET", "/models/m").json["properties"]["nextVersion"] == "2"


@pytest.mark.parametrize(
    ("kind", "uri"), [("uri_folder", "azureml://x/"), ("uri_file", "azureml://x")]
)
def test_a_folder_of_data_is_answered_with_a_slash(ask: Ask, kind: str, uri: str):
    sent = {"properties": {"dataType": kind, "dataUri": "azureml://x"}}
    assert ask("PUT", "/data/d/versions/1", sent).json["properties"]["dataUri"] == uri
    assert ask("PUT", "/data/d/versions/1", sent).status_code == 200


def test_a_command_is_answered_with_the_modes_that_it_has(ask: Ask, cluster: None):
    sent = {
        **COMMAND, "command": "ls ${{inputs.a}} > ${{outputs.o}}/f",
        "inputs": {"a": FOLDER}, "outputs": {"o": {"jobOutputType": "uri_folder"}},
    }  # fmt: skip
    answer = ask("PUT", "/jobs/j", {"properties": sent})
    assert answer.status_code == 201, answer.text
    properties = answer.json["properties"]
    assert properties["inputs"]["a"]["mode"] == "ReadOnlyMount"
    assert properties["outputs"]["o"]["mode"] == "ReadWriteMount"


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ({"inputs": {"n": "${{parent.inputs.x}}"}}, {"x": {"value": "10.01"}}),
        ({"inputs": {"n": "1${{parent.inputs.x}}"}}, {"x": {"value": "2"}}),
        ({"inputs": {"n": "${{parent.inputs.group.x}}"}}, {"group.x": {"value": "2"}}),
        ({"inputs": {"n": "${{parent.name}}"}}, {}),
        ({"limits": {"timeout": "${{parent.inputs.x}}"}}, {"x": {"value": "60"}}),
    ],
)
def test_a_pipeline_may_bind_what_it_likes(pipeline, node: dict[str, Any], inputs: dict[str, Any]):
    given = {name: {"jobInputType": "literal", **item} for name, item in inputs.items()}
    for name, text in node.get("inputs", {}).items():
        node["inputs"][name] = {"job_input_type": "literal", "value": text}
    answer = pipeline(node, inputs=given)
    assert answer.status_code == 201, answer.text
    # It is answered as it was sent.
    sent = answer.json["properties"]["jobs"]["a"]
    assert {name: sent[name] for name in node} == node


PARALLEL = {"type": "parallel", "input_data": "${{inputs.n}}", "task": {"entry_script": "s.py"}}


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"mini_batch_error_threshold": "${{parent.inputs.x}}", "mini_batch_size": "2"}, 201),
        ({"mini_batch_size": "${{parent.inputs.x}}"}, 201),
        ({"retry_settings": {"max_retries": "${{parent.inputs.x}}"}}, 201),
        ({"resources": {"instance_count": "${{parent.inputs.x}}"}}, 201),
        # Azure takes it too; the job fails.
        ({"input_data": "${{inputs.nothing}}"}, 201),
        ({"input_data": "nothing"}, 400),
        ({"mini_batch_error_threshold": "few"}, 400),
        ({"retry_settings": {"max_retries": "1.5"}}, 400),
    ],
)
def test_settings_of_a_parallel_step(pipeline, settings: dict[str, Any], status: int):
    given = {"x": {"jobInputType": "literal", "value": "5"}}
    answer = pipeline({**PARALLEL, **settings}, inputs=given)
    assert answer.status_code == status, answer.text
    assert status == 201 or answer.json["error"]["code"] == "ValidationError"


INNER = {
    "train": {"outputs": {"o": {"value": "${{parent.outputs.inner}}"}, "p": {"assetName": "q"}}}
}


@pytest.mark.parametrize(
    ("outer", "whole", "wanted"),
    [
        ({}, {}, None),
        ({"inner": {"assetName": "middle"}}, {}, "middle"),
        ({"inner": {"value": "${{parent.outputs.all}}"}}, {"all": {"assetName": "top"}}, "top"),
        ({"inner": {"value": "${{parent.outputs.all}}"}}, {"all": {}}, None),
        ({"inner": {"assetName": "middle"}}, {"all": {"assetName": "top"}}, "middle"),
    ],
)
def test_the_outermost_name_of_an_output_counts(
    outer: dict[str, Any], whole: dict[str, Any], wanted: str | None
):
    outputs = {"o": {"type": "uri_folder"}, "p": {"type": "mltable"}}
    specs = {
        "leaf": {"type": "command", "command": "run", "outputs": outputs},
        "both": {
            "type": "pipeline",
            "jobs": {name: {"componentId": "leaf", **job} for name, job in INNER.items()},
            "outputs": {"inner": {"type": "uri_folder"}},
        },
    }
    jobs = {"two": {"type": "pipeline", "componentId": "both", "outputs": outer}}
    job = read_job({"jobType": "Pipeline", "jobs": jobs, "outputs": whole}, specs.__getitem__)
    assert job.place("two.train", "o").asset == wanted
    assert job.place("two.train", "p").asset == "q"


@pytest.mark.parametrize(
    ("node", "code"),
    [
        ({"limits": {"timeout": "soon"}}, "ValidationError"),
        ({"inputs": {"n": {"job_input_type": "literal", "value": "${{nothing.x}}"}}}, "UserError"),
        ({"inputs": {"n": {"job_input_type": "literal", "value": "x"}}}, "UserError"),
    ],
)
def test_what_cannot_be_meant_is_refused(pipeline, node: dict[str, Any], code: str):
    answer = pipeline(node)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, code)


def test_serverless_compute_needs_no_cluster_and_others_do(pipeline):
    assert pipeline(compute="serverless").status_code == 201
    assert pipeline(compute="Serverless").status_code == 201
    missing = pipeline(compute="gpu-cluster")
    assert missing.status_code == 404
    assert "'gpu-cluster' was not found" in missing.json["error"]["message"]


def test_the_default_version_of_a_component_may_be_named(ask: Ask, emulator: Emulator, pipeline):
    default = f"{emulator.account.workspace_id}/components/step/labels/default"
    answer = pipeline({"componentId": default})
    assert answer.status_code == 201, answer.text
    assert answer.json["properties"]["jobs"]["a"]["componentId"] == default


def test_an_enabled_schedule_is_not_deleted(ask: Ask):
    action = {"actionType": "CreateJob", "jobDefinition": {
        **COMMAND, "command": "ls ${{inputs.a}}", "inputs": {"a": FOLDER}}}  # fmt: skip
    trigger = {"triggerType": "Cron", "expression": "15 10 * * 1", "timeZone": "UTC"}
    sent = {"properties": {"trigger": trigger, "action": action}}
    answer = ask("PUT", "/schedules/s", sent)
    defined = answer.json["properties"]["action"]["jobDefinition"]
    assert defined["inputs"]["a"]["mode"] == "ReadOnlyMount"
    settle(ask, "/schedules/s")
    refused = ask("DELETE", "/schedules/s")
    assert refused.status_code == 400
    assert "Cannot delete an active trigger" in refused.json["error"]["message"]
    sent["properties"]["isEnabled"] = False
    ask("PUT", "/schedules/s", sent)
    settle(ask, "/schedules/s")
    assert ask("DELETE", "/schedules/s").status_code == 202


def settle(ask: Ask, path: str) -> None:
    """Wait for the operation on a resource, which takes a twentieth of a second here."""
    while ask("GET", path).json["properties"]["provisioningState"] != "Succeeded":
        pass


@pytest.mark.parametrize(
    ("name", "properties", "status", "words"),
    [
        ("c/1", component()["properties"], 200, ""),
        ("c/1", {"componentSpec": "x"}, 400, "componentSpec is not an object"),
        ("c/1", {}, 400, "ComponentSpec field is required"),
        ("c.c/1", component()["properties"], 400, "is not a name"),
    ],
)
def test_a_component_is_validated_and_not_made(
    ask: Ask, emulator: Emulator, name: str, properties: Any, status: int, words: str
):
    group = emulator.account.workspace_id.split("/providers/")[0]
    path = f"/~{group}/providers/Microsoft.Resources/deployments/d/validate"
    kind = "Microsoft.MachineLearningServices/workspaces/components/versions"
    resource = {"type": kind, "name": f"emulator/{name}", "properties": properties}
    template = {"template": {"resources": [resource]}, "mode": "Incremental"}
    answer = ask("POST", path, {"properties": template})
    assert answer.status_code == status
    if words:
        (detail,) = answer.json["error"]["details"]
        assert words in detail["message"]
    assert ask("GET", "/components/c").status_code == 404


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        ("STANDARD_DS3_v2", True), ("Standard_NC24ads_A100_v4", True), ("Standard_E4-2s_v5", True),
        ("Basic_A1", True), ("Standard_F2", True), ("Standard_NOPE", False), ("DS3_v2", False),
        ("Standard_DS3 v2", False), ("Standard_DS3_v", False),
        ("Standard_DS99_v2", False), ("Standard_D3s_v5", False),
    ],
)  # fmt: skip
def test_a_machine_is_of_a_size_that_there_may_be(ask: Ask, size: str, taken: bool):
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": size}}}
    assert ask("PUT", "/computes/machine", body).status_code == (201 if taken else 400)


def cluster_of(least: int, most: int, size: str = "Standard_DS3_v2") -> dict[str, Any]:
    scale = {"minNodeCount": least, "maxNodeCount": most}
    wanted = {"vmSize": size, "scaleSettings": scale}
    return {"properties": {"computeType": "AmlCompute", "properties": wanted}}


@pytest.mark.parametrize(
    ("least", "most", "status"), [(0, 0, 201), (2, 2, 201), (3, 2, 400), (-1, 2, 400)]
)
def test_a_cluster_has_as_many_nodes_as_can_be(ask: Ask, least: int, most: int, status: int):
    assert ask("PUT", "/computes/c-a", cluster_of(least, most)).status_code == status


def test_a_cluster_keeps_its_size_and_bounds_its_jobs(ask: Ask, emulator: Emulator):
    assert ask("PUT", "/computes/nodes", cluster_of(0, 2)).status_code == 201
    settle(ask, "/computes/nodes")
    assert ask("PUT", "/computes/nodes", cluster_of(0, 3, "STANDARD_DS3_V2")).status_code == 200
    settle(ask, "/computes/nodes")
    refused = ask("PUT", "/computes/nodes", cluster_of(0, 3, "Standard_NC6"))
    assert refused.status_code == 400
    assert "cannot be changed" in refused.json["error"]["message"]
    for count, status in ((3, 201), (4, 400)):
        properties = {
            **COMMAND, "command": "true", "resources": {"instanceCount": count},
            "computeId": f"{emulator.account.workspace_id}/computes/nodes",
        }  # fmt: skip
        assert ask("PUT", f"/jobs/of{count}", {"properties": properties}).status_code == status


def test_a_name_is_one_jobs(ask: Ask):
    def put(**more: Any) -> Any:
        sent = {**COMMAND, "command": "echo one", **more}
        return ask("PUT", "/jobs/twice", {"properties": sent})

    assert put().status_code == 201
    assert put(tags={"a": "b"}).json["properties"]["tags"] == {"a": "b"}
    refused = put(command="echo two")
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "UserError")
    assert "its command cannot be changed" in refused.json["error"]["message"]


@pytest.mark.parametrize(("store", "status"), [("workspaceblobstore", 201), ("nope", 404)])
def test_data_are_on_a_datastore_that_is_there(ask: Ask, store: str, status: int):
    uri = f"azureml://datastores/{store}/paths/x.csv"
    sent = {"properties": {"dataType": "uri_file", "dataUri": uri}}
    assert ask("PUT", "/data/d/versions/1", sent).status_code == status


def test_the_default_datastore_stays(ask: Ask):
    refused = ask("DELETE", "/datastores/workspaceblobstore")
    assert refused.status_code == 400
    assert "default datastore" in refused.json["error"]["message"]
    assert ask("GET", "/datastores/workspaceblobstore").status_code == 200
    assert ask("DELETE", "/datastores/workspaceartifactstore").status_code == 200


@pytest.mark.parametrize(
    ("properties", "status"),
    [
        ({}, 400),
        ({"description": "x"}, 400),
        ({"image": "i"}, 201),
        ({"build": {"contextUri": "b"}}, 201),
    ],
)
def test_an_environment_is_made_of_something(ask: Ask, properties: dict[str, Any], status: int):
    answer = ask("PUT", "/environments/e/versions/1", {"properties": properties})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"tags": {"a": "b"}}, None), ({"displayName": "d"}, None), ({"description": "d"}, None),
        ({"isArchived": True}, None), ({"environmentId": "azureml:AzureML-sklearn-1.1:1"},
                                       "environmentId"),
        ({"inputs": {"a": {**FOLDER, "mode": "Download"}}}, None),
        ({"inputs": {"a": {**FOLDER, "uri": f"{FOLDER['uri']}b"}}}, "inputs"),
        ({"experimentName": "other"}, "experimentName"),
    ],
)  # fmt: skip
def test_what_a_job_consists_of_stays(ask: Ask, change: dict[str, Any], changed: str | None):
    sent = {**COMMAND, "command": "ls ${{inputs.a}}", "inputs": {"a": FOLDER}}
    assert ask("PUT", "/jobs/j", {"properties": sent}).status_code == 201
    again = ask("PUT", "/jobs/j", {"properties": {**sent, **change}})
    assert again.status_code == (409 if changed else 200)
    assert not changed or f"its {changed} cannot be changed" in again.json["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"resources": {"instanceCount": 1}}, 201), ({"resources": {"instanceCount": 0}}, 400),
        ({"resources": {"instanceCount": -1}}, 400),
        ({"experimentName": "a_b-c"}, 201), ({"experimentName": "a/b c"}, 400),
        ({"experimentName": "-a"}, 400), ({"experimentName": "a" * 255}, 201),
        ({"experimentName": "a b"}, 201),
        ({"experimentName": "a" * 256}, 400),
        ({"environmentId": "azureml:AzureML-no-such-env:1"}, 404),
        ({"environmentId": "azureml://registries/azureml/environments/none/labels/latest"}, 404),
        ({"environmentId": "azureml://registries/azureml/environments/sklearn-1.5/versions/9"},
         201),
        ({"environmentId": "azureml://registries/other/environments/sklearn-1.5/versions/9"}, 400),
        ({"environmentId": "azureml:mine:1"}, 404), ({"environmentId": "azureml:mine@latest"}, 404),
    ],
)  # fmt: skip
def test_a_job_has_counts_and_names_that_can_be(ask: Ask, sent: dict[str, Any], status: int):
    answer = ask("PUT", "/jobs/j", {"properties": {**COMMAND, "command": "ls", **sent}})
    assert answer.status_code == status, answer.text


def test_an_environment_of_the_workspace_may_be_named(ask: Ask):
    ask("PUT", "/environments/mine/versions/1", {"properties": {"image": "ubuntu"}})
    for job, name in (("a", "mine:1"), ("b", "mine@latest")):
        sent = {**COMMAND, "command": "ls", "environmentId": f"azureml:{name}"}
        assert ask("PUT", f"/jobs/{job}", {"properties": sent}).status_code == 201
    for path in ("azureml-mine/versions/1", "AzureML-sklearn-1.5/versions/1", "AzureML-mine"):
        sent = {"properties": {"image": "ubuntu"}}
        assert ask("PUT", f"/environments/{path}", sent).status_code == 400
    assert ask("GET", "/environments/AzureML-none/versions/1").status_code == 404
    assert ask("GET", "/environments/AzureML-sklearn-1.5/versions/1").status_code == 200


@pytest.mark.parametrize(
    ("most", "at_once", "taken"),
    [(2, 2, True), (2, 10, True), (1, 1, True), (0, 1, False), (1, 0, False)],
)
def test_a_sweep_has_a_trial_and_may_allow_more_at_once(most: int, at_once: int, taken: bool):
    limits = {"jobLimitsType": "Sweep", "maxTotalTrials": most, "maxConcurrentTrials": at_once}
    if taken:
        check_counts({"limits": limits})
    else:
        with pytest.raises(ArmError):
            check_counts({"limits": limits})


@pytest.mark.parametrize(
    ("expression", "job", "status"),
    [
        ("15 10 * * 1", {}, 201), ("0 15 10 * * 1", {}, 400), ("15 10 * *", {}, 400),
        ("15 10 * * 1", {"environmentId": "azureml:mine:1"}, 404),
        ("15 10 * * 1", {"computeId": "/subscriptions/s/computes/none"}, 404),
        ("15 10 * * 1", {"sourceJobId": "/subscriptions/s/jobs/none"}, 404),
    ],
)  # fmt: skip
def test_a_schedule_is_of_what_is_there(
    ask: Ask, expression: str, job: dict[str, Any], status: int
):
    definition = {**COMMAND, "command": "ls", **job}
    sent = {
        "trigger": {"triggerType": "Cron", "expression": expression},
        "action": {"actionType": "CreateJob", "jobDefinition": definition},
    }
    answer = ask("PUT", "/schedules/s", {"properties": sent})
    assert answer.status_code == status, answer.text


def test_a_schedule_invokes_an_endpoint_that_is_there(ask: Ask):
    sent = {
        "trigger": {"triggerType": "Cron", "expression": "1 1 * * *"},
        "action": {
            "actionType": "InvokeBatchEndpoint",
            "endpointInvocationDefinition": {"endpointName": "be-1"},
        },
    }
    assert ask("PUT", "/schedules/s", {"properties": sent}).status_code == 404
    endpoint = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    assert ask("PUT", "/batchEndpoints/be-1", endpoint).status_code == 201
    assert ask("PUT", "/schedules/s", {"properties": sent}).status_code == 201


def test_what_is_in_use_is_not_deleted(ask: Ask, emulator: Emulator, cluster: None):
    workspace = emulator.account.workspace_id
    settle(ask, "/computes/cpu-cluster")
    compute = f"{workspace}/computes/cpu-cluster"
    sent = {**COMMAND, "command": "ls", "computeId": compute}
    assert ask("PUT", "/jobs/j", {"properties": sent}).status_code == 201
    refused = ask("DELETE", "/computes/cpu-cluster")
    assert refused.status_code == 409
    assert "in use by j" in refused.json["error"]["message"]
    assert ask("POST", "/jobs/j/cancel").status_code == 202
    for version in ("1", "12"):
        uri = "azureml://datastores/workspaceblobstore/paths/m"
        assert ask("PUT", f"/models/m/versions/{version}", {"properties": {"modelUri": uri}}).json
    assert ask("PUT", "/batchEndpoints/be-1", located({"authMode": "AADToken"})).status_code == 201
    settle(ask, "/batchEndpoints/be-1")
    model = {"referenceType": "Id", "assetId": f"{workspace}/models/m/versions/12"}
    deployment = located({"model": model, "compute": compute})
    assert ask("PUT", "/batchEndpoints/be-1/deployments/d", deployment).status_code == 201
    for path, status in (("m/versions/12", 409), ("m", 409), ("m/versions/1", 200)):
        assert ask("DELETE", f"/models/{path}").status_code == status


def located(properties: Any, location: str = "eastus") -> dict[str, Any]:
    return {"location": location, "properties": properties}


@pytest.mark.parametrize(
    ("location", "status"), [("East US", 201), ("westeurope", 201), ("atlantis", 400)]
)
def test_a_region_is_one_of_azures(ask: Ask, location: str, status: int):
    answer = ask("PUT", "/onlineEndpoints/ep-1", located({"authMode": "Key"}, location))
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("2023-04-01", None), ("2025-12-01", None), ("2026-05-02-preview", None),
        ("2026-11-28", None), ("2026-11-29", "NoRegisteredProviderFound"),
        ("2023-04-02", "NoRegisteredProviderFound"), ("2099-01-01", "NoRegisteredProviderFound"),
        ("1.0", "InvalidApiVersionParameter"), ("latest", "InvalidApiVersionParameter"),
        ("", "MissingApiVersionParameter"),
    ],
)  # fmt: skip
def test_an_api_version_is_one_that_there_is(version: str, code: str | None):
    path = "/subscriptions/s/providers/Microsoft.MachineLearningServices/workspaces"
    today = date(2026, 11, 28)
    if code is None:
        check_version(path, version, today)
    else:
        with pytest.raises(ArmError) as refused:
            check_version(path, version, today)
        assert refused.value.code == code
    if version == "2023-04-02":
        # Of other providers nothing is known.
        check_version("/subscriptions/s/resourceGroups/g", version, today)
        check_version(f"{path}/w/providers/Microsoft.Authorization/permissions", version, today)


API = "eastus.api.azureml.ms"
GIVEN = "/data/d/versions/1"


@pytest.mark.parametrize(
    ("uri", "kind", "answered"),
    [
        ("azureml://datastores/workspaceblobstore/paths/a/b", "uri_file", "UriFile"),
        ("azureml://datastores/workspaceblobstore/paths/a/", "mltable", "MLTable"),
        ("https://host/a/", "uri_folder", "UriFolder"),
    ],
)
def test_native_readers_find_data(ask: Ask, emulator: Emulator, uri: str, kind: str, answered: str):
    workspace = emulator.account.workspace_id
    ask("PUT", GIVEN, {"properties": {"dataUri": uri, "dataType": kind}})
    found = ask("GET", f"/~/data/v1.0{workspace}/dataversion/d/versions/1", host=API).json
    assert (found["isV2"], found["dataVersion"]["dataType"]) == (True, answered)
    # Their reader knows the long form of an address alone.
    short = uri.removeprefix("azureml://")
    assert found["dataVersion"]["dataUri"].endswith(short)
    if short != uri:
        assert found["dataVersion"]["dataUri"].startswith("azureml://subscriptions/")
    missing = ask("GET", f"/~/data/v1.0{workspace}/dataversion/d/versions/2", host=API)
    assert missing.status_code == 404


def test_native_readers_get_what_opens_the_emulated_account_alone(ask: Ask, emulator: Emulator):
    stores = f"/~/datastore/v1.0{emulator.account.workspace_id}/datastores"
    own = {"datastoreType": "AzureBlob", "accountName": "mine", "containerName": "c",
           "credentials": {"credentialsType": "AccountKey",
                           "secrets": {"secretsType": "AccountKey", "key": "secret"}}}  # fmt: skip
    assert ask("PUT", "/datastores/mine", {"properties": own}).status_code == 201
    given = ask("GET", f"{stores}/workspaceblobstore", host=API).json["azureStorageSection"]
    assert given["credentialType"] == "Sas"
    blob = f"/~/{given['containerName']}/x"
    query = dict(parse_qsl(given["credential"].removeprefix("?")))
    host = emulator.account.blob_host
    put = ask("PUT", blob, host=host, query=query, data=b"x", headers={"authorization": ""})
    assert put.status_code == 201
    mine = ask("GET", f"{stores}/mine", host=API)
    assert mine.json["azureStorageSection"]["credentialType"] == "None"
    assert "secret" not in mine.text
    listed = ask("GET", stores, host=API).json["value"]
    assert [item["name"] for item in listed if item["isDefault"]] == ["workspaceblobstore"]
    shut = ask("GET", stores, host=API, headers={"authorization": "Bearer no"})
    assert shut.status_code == 401


def test_the_registry_holds_curated_environments_and_refuses_the_rest(ask: Ask):
    found = ask("GET", "/~/registrymanagement/v1.0/registries/azureml/discovery", host=API).json
    base = (
        f"/~/mferp/managementfrontend/subscriptions/{found['subscriptionId']}/resourceGroups/"
        f"{found['resourceGroup']}/providers/Microsoft.MachineLearningServices/registries"
    )

    def get(path: str) -> Any:
        return ask("GET", f"{base}/{path}", host=API)

    assert "sklearn-1.5" in [item["name"] for item in get("azureml/environments").json["value"]]
    one = "azureml/environments/sklearn-1.5"
    assert get(one).json["properties"]["latestVersion"] == "1"
    (version,) = get(f"{one}/versions").json["value"]
    assert version == get(f"{one}/versions/1").json
    assert version["properties"]["environmentType"] == "Curated"
    assert get(f"{one}/versions/2").status_code == 404
    assert get("azureml/environments/none").status_code == 404
    assert get("azureml/models").json == {"value": []}
    for path in ("models/bert", "models/bert/versions", "components/c/versions/1"):
        refused = get(f"azureml/{path}")
        assert refused.json["error"]["code"] == "NotImplementedByEmulator"
        assert "/".join(path.split("/")[:2]) in refused.json["error"]["message"]
    for path in ("other/environments", "other/models", "other/models/a"):
        assert get(path).json["error"]["code"] == "RegistryNotFound"
    uri = "azureml://registries/azureml/models/bert/versions/1"
    sent = {**COMMAND, "command": "ls ${{inputs.m}}",
            "inputs": {"m": {"jobInputType": "custom_model", "uri": uri}}}  # fmt: skip
    refused = ask("PUT", "/jobs/j", {"properties": sent})
    assert refused.json["error"]["code"] == "NotImplementedByEmulator"


@pytest.mark.parametrize("given", ["", "Bearer x", "Basic ", "Basic YTpi"])
def test_only_deployments_hand_in_what_they_collect(ask: Ask, given: str):
    refused = ask("POST", "/~/modeldata/log", host="127.0.0.1", headers={"authorization": given})
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("PUT", "/featuresets/f/versions/1", "no feature sets"),
        ("GET", "/featurestoreEntities", "no feature store entities"),
        ("POST", "/models/m/versions/1/package", "no model packages"),
        ("PUT", "/serverlessEndpoints/e", "no serverless endpoints"),
    ],
)
def test_what_is_not_emulated_is_named(ask: Ask, method: str, path: str, words: str):
    refused = ask(method, path, {})
    assert refused.status_code == 501
    assert refused.json["error"]["code"] == "NotImplementedByEmulator"
    assert words in refused.json["error"]["message"]


def test_a_component_of_a_registry_is_named(pipeline: Any):
    where = "azureml://registries/azureml/components/c/labels/latest"
    refused = pipeline({"componentId": f"azureml:{where.removeprefix('azureml:')}"})
    assert refused.json["error"]["code"] == "NotImplementedByEmulator"
    assert "registries/azureml/components/c" in refused.json["error"]["message"]


def test_curated_environments_are_listed(ask: Ask):
    listed = [item["name"] for item in ask("GET", "/environments").json["value"]]
    assert "AzureML-sklearn-1.5" in listed
    for name in listed:
        assert ask("GET", f"/environments/{name}").status_code == 200
