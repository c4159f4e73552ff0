"""A reference to a model is read in one place, in every form that people or platforms write."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinml.errors import ModelError, NotFound, TwinmlError, UsageError
from twinml.platform import ModelReference, TrainedModel
from twinml.registry.model_files import directory_of
from twinml.registry.tracking import Tracking

ARM = "/subscriptions/s/resourceGroups/g/providers/p/workspaces/w/models"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bank", ModelReference("bank")),
        ("bank/3", ModelReference("bank", "3")),
        ("bank:3", ModelReference("bank", "3")),
        ("bank@champion", ModelReference("bank", alias="champion")),
        ("models:/bank/3", ModelReference("bank", "3")),
        ("models:/bank@challenger", ModelReference("bank", alias="challenger")),
        ("azureml:bank", ModelReference("bank")),
        ("azureml:bank:3", ModelReference("bank", "3")),
        ("azureml:bank@latest", ModelReference("bank", alias="latest")),
        (f"{ARM}/bank/versions/3", ModelReference("bank", "3")),
        (f"azureml:{ARM}/bank/versions/3", ModelReference("bank", "3")),
        (f"{ARM}/bank/labels/latest", ModelReference("bank", alias="latest")),
        (
            "azureml://registries/azureml/models/bank/versions/3",
            ModelReference("bank", "3", registry="azureml"),
        ),
        ("azureml", ModelReference("azureml")),
        ("models:3", ModelReference("models", "3")),
        ("my bank.v2-x/1", ModelReference("my bank.v2-x", "1")),
        ("7", ModelReference("7")),
    ],
)
def test_every_form_is_read(text: str, expected: ModelReference) -> None:
    assert ModelReference.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", "bank/", "bank@", "bank:", "/bank", "@champion", "bank/3/4", "bank/3@champion",
     "bank@champion/3", " bank", "bank ", "azureml:", "azureml://datastores/d/paths/model",
     f"{ARM}/bank", "/home/me/model", "./model", "../bank", ".bank"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(UsageError, match="names no model") as found:
        ModelReference.parse(text)
    assert found.value.message.startswith(f"'{text}'")
    assert "NAME@ALIAS" in str(found.value.hint)


@pytest.mark.parametrize(
    ("reference", "shown", "deployed"),
    [
        (ModelReference("bank"), "bank", "bank"),
        (ModelReference("bank", "3"), "bank/3", "bank:3"),
        (ModelReference("bank", alias="champion"), "bank@champion", "bank@champion"),
        (ModelReference("bank", "3", registry="r"), "bank/3 of registry r", "bank:3"),
    ],
)
def test_a_reference_is_written_as_people_and_endpoints_write_it(
    reference: ModelReference, shown: str, deployed: str
) -> None:
    assert str(reference) == shown
    assert reference.deployed == deployed
    if reference.registry is None:
        assert ModelReference.parse(shown) == ModelReference.parse(deployed) == reference


def test_another_registry_s_model_is_not_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINML_HOME", str(tmp_path))
    tracking = Tracking()
    tracking.client.create_registered_model("bank")
    made = tracking.client.create_model_version("bank", source=str(tmp_path))
    assert tracking.resolve(ModelReference("bank", "1")).version == str(made.version)
    with pytest.raises(NotFound, match="bank/1 of registry azureml"):
        tracking.resolve(ModelReference("bank", "1", registry="azureml"))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("empty", "there is no MLflow model in empty"),
        ("./empty", "there is no MLflow model in ./empty"),
        ("nobody/3", "there is no registered model 'nobody/3'"),
        ("./nothing", "'./nothing' names no model"),
    ],
)
def test_verbs_say_what_was_found_instead_of_a_model(
    model: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TwinmlError) as found, directory_of(model):
        pass
    assert str(found.value).startswith(says)


def test_a_model_of_the_platform_s_automl_has_no_result(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'best' was not trained by twinml"):
        TrainedModel("best", tmp_path, "", None).searched()
