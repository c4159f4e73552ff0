"""What the service fills in: modes, specifications of components, versions, addresses."""

from datetime import datetime
from typing import Any

import pytest

from azureml_emulator.arm.defaults import filled_component, folder_uri, moment, with_modes


@pytest.mark.parametrize(
    ("sent", "mode"),
    [
        ({"jobInputType": "uri_folder", "uri": "a"}, "ReadOnlyMount"),
        ({"jobInputType": "mlflow_model", "uri": "a", "mode": None}, "ReadOnlyMount"),
        ({"jobInputType": "uri_file", "uri": "a", "mode": "Direct"}, "Direct"),
        ({"jobInputType": "literal", "value": "3"}, None),
    ],
)
def test_an_input_has_the_mode_that_is_taken_for_it(sent: dict[str, Any], mode: str | None):
    filled = with_modes({"inputs": {"x": sent}, "outputs": None, "command": "run"})
    assert filled["inputs"]["x"].get("mode") == mode
    assert filled["command"] == "run"


def test_an_output_has_the_mode_that_is_taken_for_it():
    sent = {"o": {"jobOutputType": "uri_folder"}, "p": None}
    sent["q"] = {"jobOutputType": "uri_file", "mode": "Upload"}
    outputs = with_modes({"outputs": sent})["outputs"]
    assert outputs["o"]["mode"] == "ReadWriteMount"
    assert (outputs["p"], outputs["q"]["mode"]) == (None, "Upload")
    assert "mode" not in sent["o"]  # what was sent is left as it is


@pytest.mark.parametrize(
    ("uri", "kind", "kept"),
    [
        ("a/b", "uri_folder", "a/b/"), ("a/b/", "uri_folder", "a/b/"), ("a/b", "mltable", "a/b/"),
        ("a/b", "uri_file", "a/b"),
    ],
)  # fmt: skip
def test_a_folder_ends_with_a_slash(uri: str, kind: str, kept: str):
    assert folder_uri(uri, kind) == kept


def test_the_next_version_is_a_moment():
    assert moment(datetime(2023, 5, 11, 8, 3, 51, 123456)) == "2023-05-11-08-03-51-1234560"
    assert moment(datetime(2023, 5, 11, 8, 3, 51, 1)) == "2023-05-11-08-03-51-0000010"


@pytest.mark.parametrize(
    ("item", "filled"),
    [
        ({"type": "uri_folder"}, {"type": "uri_folder", "optional": "False"}),
        ({"type": "number", "optional": True}, {"type": "number", "optional": "True"}),
        ({"type": "number", "optional": "true"}, {"type": "number", "optional": "True"}),
        (
            {"type": "string", "default": "azureml:cpu"},
            {"type": "string", "default": "cpu", "optional": "False"},
        ),
        (
            {"type": "uri_file", "default": "azureml:cpu:1"},
            {"type": "uri_file", "default": "azureml:cpu:1", "optional": "False"},
        ),
    ],
)
def test_an_input_of_a_component_says_whether_it_is_optional(item, filled):
    assert filled_component({"inputs": {"x": item}})["inputs"] == {"x": filled}


@pytest.mark.parametrize(
    ("kind", "deterministic", "resources"),
    [
        ("command", "True", {"instance_count": "1"}),
        ("parallel", "True", None),
        ("pipeline", "False", None),
    ],
)
def test_what_a_component_of_a_kind_has(kind, deterministic, resources):
    filled = filled_component({"type": kind})
    assert (filled["is_deterministic"], filled.get("resources")) == (deterministic, resources)
    # What is sent stays, and is answered as text; of resources a command's count alone.
    other = deterministic != "True"
    given = {"type": kind, "is_deterministic": other, "resources": {"instance_count": 3, "a": 1}}
    filled = filled_component(given)
    assert filled["is_deterministic"] == str(other)
    kept = {"resources": {"instance_count": "3"}} if kind == "command" else {}
    assert {key: filled[key] for key in filled if key == "resources"} == kept


def test_numbers_of_a_distribution_are_texts():
    sent = {"type": "pytorch", "process_count_per_instance": 4, "flag": True}
    filled = filled_component({"distribution": sent})["distribution"]
    assert filled == {"type": "Pytorch", "process_count_per_instance": "4", "flag": "True"}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("azureml:AzureML-x-1:33", "AzureML-x-1/versions/33"),
        ("AzureML-x@latest", None),
        ("azureml:AzureML-x@latest", "AzureML-x/labels/latest"),
        ("/subscriptions/s/workspaces/w/environments/AzureML-x/versions/2", "AzureML-x/versions/2"),
        ("azureml:mine:1", None),
    ],
)
def test_a_curated_environment_is_the_registrys(sent: str, answered: str | None):
    where = "azureml://registries/azureml/environments/"
    wanted = sent if answered is None else f"{where}{answered}"
    assert filled_component({"environment": sent})["environment"] == wanted
