"""The parts of the Azure platform that need no workspace."""

import json
from pathlib import Path
from typing import Any

import pytest

from twinml.contract import Column, Contract
from twinml.contract.dates import DateForm
from twinml.data import load as load_data
from twinml.errors import ModelError, PlatformUnavailable, UsageError
from twinml.platform.abilities import Checks, Plans, Rehearses, Removes, Trains, able
from twinml.training import TrainingOptions
from twinml_azure import preflight
from twinml_azure.pipelines import component_of, with_inputs
from twinml_azure.platform import AzurePlatform
from twinml_azure.rehearsal import RehearsalPlatform, rehearsed
from twinml_azure.resources import Sizes, refuse_dates


def test_the_environment_sets_the_sizes():
    assert Sizes.from_environment({}) == Sizes()
    found = Sizes.from_environment(
        {"TWINML_AZURE_INSTANCE_TYPE": "Standard_F2s_v2", "TWINML_AZURE_CLUSTER_NODES": "3"}
    )
    assert (found.instance_type, found.cluster_nodes) == ("Standard_F2s_v2", 3)
    with pytest.raises(UsageError, match="TWINML_AZURE_IDLE_SECONDS is 'soon'"):
        Sizes.from_environment({"TWINML_AZURE_IDLE_SECONDS": "soon"})


def test_a_plan_is_listed_without_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_WORKSPACE_NAME", "AZURE_SUBSCRIPTION_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "bank.csv"
    table.write_text("age,y\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(40)))
    platform = AzurePlatform()
    changes = platform.plan(load_data(table, "y"), TrainingOptions(trials=2), train="job")
    assert [(each.action, each.kind) for each in changes] == [
        ("keep", "workspace"),
        *(("create", kind) for kind in (
            "data", "cluster", "environment", "job", "model", "online endpoint",
            "online deployment", "component", "component", "batch endpoint", "batch deployment",
            "pipeline job",
        )),
    ]  # fmt: skip
    # The name of an endpoint that is made from the workspace's is not made up.
    assert [each.name for each in changes if each.kind == "batch endpoint"] == ["p-training-…"]
    with pytest.raises(PlatformUnavailable, match="no Azure ML workspace is configured"):
        platform.endpoints()


def test_a_rehearsal_leaves_nothing_that_leads_to_the_cloud_or_another_proxy():
    mine = {
        "PATH": "/bin",
        "TWINML_AZURE_CLUSTER_NODES": "3",
        "AZURE_CLIENT_SECRET": "mine",
        "AZUREML_ARM_WORKSPACE_NAME": "production",
        "IDENTITY_ENDPOINT": "http://169.254.1.1",
        "https_proxy": "http://corporate",
        "no_proxy": "azure.com",
        "CURL_CA_BUNDLE": "/etc/ca.pem",
    }
    found = rehearsed(mine, {"HTTPS_PROXY": "http://127.0.0.1:1", "AZURE_CLIENT_SECRET": "s"})
    assert found["AZURE_CLIENT_SECRET"] == "s"
    assert found["HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert found["PATH"] == "/bin"
    assert found["TWINML_AZURE_CLUSTER_NODES"] == "3"
    assert not {"https_proxy", "no_proxy", "IDENTITY_ENDPOINT", "CURL_CA_BUNDLE"} & found.keys()
    assert "AZUREML_ARM_WORKSPACE_NAME" not in found


@pytest.mark.parametrize("what", [Plans, Checks, Removes, Trains])
def test_azure_and_its_rehearsal_can_do_what_the_verbs_ask(what: Any):
    for kind in (AzurePlatform, RehearsalPlatform):
        platform = object.__new__(kind)
        assert able(platform, what, "do it") is platform
    assert isinstance(object.__new__(RehearsalPlatform), Rehearses)
    assert not isinstance(object.__new__(AzurePlatform), Rehearses)


def test_a_platform_that_cannot_says_so():
    from twinml.platform import load

    with pytest.raises(UsageError, match="platform 'local' has nothing to remove"):
        able(load("local"), Removes, "remove")


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ([{"actions": ["*"]}], True),
        ([{"actions": ["*/read"]}], False),
        ([{"actions": ["Microsoft.MachineLearningServices/workspaces/*/write"]}], True),
        ([{"actions": ["*"], "notActions": ["*/computes/*"]}], False),
        ([{"actions": ["*"], "notActions": ["*/computes/*"]}, {"actions": ["*/Write"]}], True),
        ([], False),
    ],
)
def test_rights_are_read_as_arm_reads_them(given: list[dict[str, Any]], allowed: bool):
    action = "Microsoft.MachineLearningServices/workspaces/computes/write"
    assert preflight._allowed(action, given) is allowed


def test_an_environment_that_does_not_resolve_is_named():
    reason = preflight._unresolved(["numpy==99.0.0"], "3.11")
    assert reason is not None
    assert "numpy" in reason
    assert "\n" not in reason


def saved(folder: Path, columns: list[dict[str, Any]], samples: list[dict[str, Any]]) -> Path:
    from sklearn.dummy import DummyClassifier

    from twinml import model

    contract = Contract.from_dict(
        {
            "format_version": 1, "name": "bank", "task": "binary", "target": "y",
            "classes": ["no", "yes"], "n_rows": 2, "samples": samples,
            "columns": [
                {"nullable": False, "categories": None, "minimum": 0, "maximum": 9,
                 "description": "", **column}
                for column in columns
            ],
        }
    )  # fmt: skip
    model.save(DummyClassifier().fit([[0], [1]], ["no", "yes"]), contract, folder)
    return folder


def test_a_payload_that_azure_would_read_otherwise_is_found(tmp_path: Path):
    model = saved(
        tmp_path / "model",
        [
            {"name": "date", "type": "long"},
            {"name": "rate", "type": "double"},
            {"name": "id", "type": "long", "maximum": 2**60},
        ],
        [{"date": 1, "rate": 1 / 3, "id": 1}],
    )
    found = {(check.level, check.found.split("'")[1] if "'" in check.found else check.found[:9])
             for check in preflight._payload(model)}  # fmt: skip
    assert ("warning", "date") in found
    assert ("warning", "id") in found
    assert any(level in ("note", "error") for level, _ in found)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("created_at", True),
        ("Start_Time", True),
        ("DATE", True),
        ("datetime", True),
        ("modified", True),
        ("timestamp2", True),
        ("created", False),
        ("at", False),
        ("day", False),
        ("dates", False),
        ("my_timestamp", False),
    ],
)
def test_a_date_column_whose_name_azure_reads_as_dates_is_refused(name: str, refused: bool):
    column = Column(name, "datetime", True, None, 0.0, 86_400.0, dates=DateForm())
    other = Column("date", "string", True, ("a",))  # text that is no date stays text there
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=2, samples=(),
        columns=(column,) if name.lower() == "date" else (column, other),
    )  # fmt: skip
    if not refused:
        assert refuse_dates(contract) is None
        return
    with pytest.raises(ModelError, match=f"turns '{name}' into dates"):
        refuse_dates(contract)
    (check,) = (check for check in preflight._columns(contract) if f"'{name}'" in check.found)
    assert check.level == "error"


def test_a_plain_payload_passes(tmp_path: Path):
    model = saved(tmp_path / "model", [{"name": "age", "type": "long"}], [{"age": 3}])
    (check,) = preflight._payload(model)
    assert (check.level, check.found) == ("ok", "1 sample rows are read and scored")


def test_a_pipeline_job_becomes_a_component_with_defaults():
    job = {
        "type": "pipeline",
        "display_name": "training",
        "inputs": {
            "data": {"type": "uri_file", "path": "azureml:bank@latest", "mode": "download"},
            "trials": 3, "share": 0.5, "quick": True, "budget": "60s",
        },
        "outputs": {"model": {"type": "mlflow_model"}},
        "jobs": {"train": {"type": "command"}},
    }  # fmt: skip
    component, paths = component_of(job, "twinml_pipeline_training")
    assert paths == {"data": "azureml:bank@latest"}
    assert component["inputs"]["data"] == {"type": "uri_file"}
    kinds = {name: each["type"] for name, each in component["inputs"].items()}
    assert kinds == {
        "data": "uri_file", "trials": "integer", "share": "number", "quick": "boolean",
        "budget": "string",
    }  # fmt: skip
    assert component["inputs"]["trials"]["default"] == 3
    assert json.loads(json.dumps(component))["jobs"] == job["jobs"]


def test_inputs_of_a_pipeline_are_replaced_and_strangers_refused():
    job = {"inputs": {"data": {"type": "uri_file", "path": "a"}, "budget": "60s"}}
    changed = with_inputs(job, {"data": "azureml:bank:2", "budget": "5s"})
    assert changed["inputs"] == {
        "data": {"type": "uri_file", "path": "azureml:bank:2"}, "budget": "5s",
    }  # fmt: skip
    assert job["inputs"]["budget"] == "60s"
    with pytest.raises(UsageError, match="no input 'budgte'"):
        with_inputs(job, {"budgte": "5s"})
