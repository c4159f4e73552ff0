"""What Microsoft's types take of a body, change in it, and refuse."""

from typing import Any

import pytest

from azureml_emulator.arm.contract import fitted, known
from azureml_emulator.errors import ArmError
from tests.emulator import microsoft_types
from tests.emulator.conftest import TYPES

COMMAND = {"jobType": "Command", "command": "ls", "environmentId": "azureml:e:1"}


def job(**more: Any) -> dict[str, Any]:
    return {"properties": {**COMMAND, **more}}


def deployment(sku: Any = None, **more: Any) -> dict[str, Any]:
    properties = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", **more}
    return {"location": "eastus", "properties": properties, **({"sku": sku} if sku else {})}


INSTANCES = "properties.resources.instanceCount"


def instances(count: Any) -> dict[str, Any]:
    return job(resources={"instanceCount": count})


def schedule(**more: Any) -> dict[str, Any]:
    trigger = {"triggerType": "Cron", "expression": "* * * * *", **more}
    action = {"actionType": "CreateJob", "jobDefinition": COMMAND}
    return {"properties": {"trigger": trigger, "action": action}}


SWEEP: dict[str, Any] = {
    "jobType": "Sweep",
    "objective": {"goal": "maximize", "primaryMetric": "auc"},
    "samplingAlgorithm": {"samplingAlgorithmType": "random"},
    "searchSpace": {"a": ["choice", [[1]]]},
    "trial": {"command": "ls", "environmentId": "azureml:e:1"},
}


@pytest.mark.parametrize(
    ("kind", "sent", "read"),
    [
        # Words in any case, spelled as the types spell them.
        ("jobs", job(jobType="command"), {"jobType": "Command"}),
        ("jobs", {"properties": SWEEP}, {"objective": {**SWEEP["objective"], "goal": "Maximize"}}),
        ("jobs", {"properties": SWEEP}, {"samplingAlgorithm": {"samplingAlgorithmType": "Random"}}),
        # Texts for whole numbers and truths, numbers and truths for texts.
        ("jobs", job(resources={"instanceCount": "2"}), {"resources": {"instanceCount": 2}}),
        ("jobs", job(resources={"instanceCount": 2.0}), {"resources": {"instanceCount": 2}}),
        ("jobs", job(isArchived="True"), {"isArchived": True}),
        ("jobs", job(properties={"a": 1, "b": True}), {"properties": {"a": "1", "b": "true"}}),
        # What is read-only is left out; what is not known, and what is null, stays.
        ("jobs", job(status="Completed"), {"status": KeyError}),
        ("jobs", job(novelty={"a": 1}), {"novelty": {"a": 1}}),
        ("jobs", job(limits=None), {"limits": None}),
        ("jobs", job(limits={"jobLimitsType": "Command", "timeout": "PT0.5S"}), {}),
        ("jobs", job(resources={"shmSize": "2g"}), {}),
        ("schedules", schedule(), {}),
        ("onlineEndpoints/deployments", deployment(requestSettings={"maxQueueWait": "P1DT2H"}), {}),
    ],
)  # fmt: skip
def test_a_body_is_read_as_the_types_have_it(kind: str, sent: Any, read: dict[str, Any]):
    answered = fitted(f"workspaces/{kind}", sent)["properties"]
    for name, value in read.items():
        if value is KeyError:
            assert name not in answered
        else:
            assert answered[name] == value
    # It is a fixed point: what was answered may be sent again.
    assert fitted(f"workspaces/{kind}", {**sent, "properties": answered})["properties"] == answered


@pytest.mark.parametrize(
    ("kind", "sent", "place", "words"),
    [
        ("jobs", {}, "properties", "The Properties field is required"),
        ("jobs", {"properties": []}, "properties", "not an object"),
        ("jobs", {"properties": {"command": "ls"}}, "properties.jobType", "JobType field"),
        ("jobs", job(jobType="Magic"), "properties.jobType", '"Magic", not one of AutoML, Command'),
        ("jobs", job(command=" "), "properties.command", "The Command field is required"),
        ("jobs", job(command=["ls"]), "properties.command", "not text"),
        ("jobs", job(command=" "), "properties.command", "Command field"),
        ("jobs", job(isArchived="yes"), "properties.isArchived", "neither true nor false"),
        ("jobs", job(isArchived=1), "properties.isArchived", "neither true nor false"),
        ("jobs", instances(True), INSTANCES, "whole"),
        ("jobs", instances("x"), INSTANCES, "whole"),
        ("jobs", instances(1.5), INSTANCES, "whole"),
        ("jobs", job(resources={"shmSize": "big"}), "properties.resources.shmSize", "has to match"),
        ("jobs", job(limits={"jobLimitsType": "Command", "timeout": "30 s"}),
         "properties.limits.timeout", "not a duration"),
        ("jobs", job(limits={"jobLimitsType": "Command", "timeout": "PT"}),
         "properties.limits.timeout", "not a duration"),
        ("jobs", job(inputs={"a": {"jobInputType": "uri_file"}}), "properties.inputs.a.uri", "Uri"),
        ("jobs", job(inputs={"a": {"jobInputType": "url", "uri": "x"}}),
         "properties.inputs.a.jobInputType", "not one of"),
        ("jobs", {"properties": {**SWEEP, "objective": {"goal": "best", "primaryMetric": "a"}}},
         "properties.objective.goal", "not one of Minimize, Maximize"),
        ("jobs", {"properties": {**SWEEP,
                                 "earlyTermination": {"policyType": "Bandit", "slackFactor": "x"}}},
         "properties.earlyTermination.slackFactor", "not a number"),
        ("schedules", schedule(expression=""), "properties.trigger.expression", "Expression field"),
        ("onlineEndpoints/deployments", deployment(requestSettings={"requestTimeout": "5"}),
         "properties.requestSettings.requestTimeout", "not a duration"),
        ("onlineEndpoints", {"properties": {"authMode": "Key"}}, "location", "Location field"),
        ("onlineEndpoints", {"location": "eastus",
                             "properties": {"authMode": "Key", "traffic": {"a": "x"}}},
         "properties.traffic.a", "not a whole number"),
    ],
)  # fmt: skip
def test_what_the_types_do_not_take_is_refused(kind: str, sent: Any, place: str, words: str):
    with pytest.raises(ArmError) as refused:
        fitted(f"workspaces/{kind}", sent)
    error = refused.value.body()["error"]
    assert (refused.value.status, error["code"]) == (400, "ValidationError")
    assert error["target"] == error["details"][0]["target"] == place
    assert words in error["message"]


def test_all_that_is_wrong_is_said():
    sent = job(command=None, environmentId=None, isArchived=3, displayName=[], tags=[])
    with pytest.raises(ArmError) as refused:
        fitted("workspaces/jobs", sent)
    error = refused.value.body()["error"]
    assert len(error["details"]) == 5
    assert error["message"].endswith("And 2 more.")
    with pytest.raises(ArmError, match=r"required\.$"):
        fitted("workspaces/jobs", job(command=None, environmentId=None))


@pytest.mark.parametrize(
    ("spec", "value", "taken"),
    [
        ({"is": "text", "least": 2, "most": 4}, "abc", True),
        ({"is": "text", "least": 2, "most": 4}, "ab", True),
        # "Not blank", as the types write it.
        ({"is": "text", "pattern": r"\S"}, "/", True),
        ({"is": "text", "least": 2, "most": 4}, "abcd", True),
        ({"is": "text", "least": 2, "most": 4}, "a", False),
        ({"is": "text", "least": 2, "most": 4}, "abcde", False),
        ({"is": "integer", "from": 0}, 0, True),
        ({"is": "integer", "from": 0}, -1, False),
        ({"is": "number"}, 0.5, True),
        ({"is": "number"}, "NaN", False),
        ({"is": "number"}, "inf", False),
        ({"is": "list", "of": {"is": "integer"}}, [1, 2], True),
        ({"is": "list", "of": {"is": "integer"}}, [1, "b"], False),
        ({"is": "list", "of": {"is": "integer"}}, 1, False),
    ],
)
def test_bounds_are_held(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], value: Any, taken: bool
):
    objects = {"workspaces/x@": {"fields": {"a": spec}}}
    monkeypatch.setattr("azureml_emulator.arm.contract._objects", lambda: objects)
    if taken:
        assert fitted("workspaces/x", {"a": value}) == {"a": value}
    else:
        with pytest.raises(ArmError):
            fitted("workspaces/x", {"a": value})


def test_without_types_a_body_is_as_it_was_sent():
    assert not known("workspaces/nothing")
    assert fitted("workspaces/nothing", {"a": [1]}) == {"a": [1]}


@pytest.mark.filterwarnings("ignore")  # the SDK's own, when it is imported
def test_the_table_is_what_microsofts_types_make_it():
    if not TYPES.is_dir():
        pytest.skip(f"Microsoft's types are not at {TYPES}")
    made = microsoft_types.table(TYPES)
    assert made == microsoft_types.TABLE.read_text()
