"""The pytest plugin, as somebody else's project uses it."""

import pytest

pytestmark = pytest.mark.e2e
pytest_plugins = ["pytester"]

THEIRS = """
import os, time
from azureml_emulator.pytest_plugin import Workspace

times = []

def names(client):
    return [item.name for item in client.data.list()]

def test_one(azureml_client, azureml, tmp_path):
    from azure.ai.ml.entities import Data
    path = tmp_path / "x.csv"
    path.write_text("a,b")
    azureml_client.data.create_or_update(Data(name="d", version="1", type="uri_file", path=path))
    assert names(azureml_client) == ["d"]
    assert os.environ["AZUREML_ARM_WORKSPACE_NAME"] == azureml.name == azureml_client.workspace_name

def test_two(azureml_client, azureml):
    assert names(azureml_client) == []
    assert azureml.name == "test-2"

def test_three(request):
    assert "AZURE_CLIENT_SECRET" not in os.environ
    assert isinstance(request.getfixturevalue("azureml"), Workspace)
    assert os.environ["AZURE_CLIENT_SECRET"] and "AZURE_OTHER" not in os.environ
"""


def test_each_test_has_a_workspace_of_its_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_OTHER", "leads elsewhere")
    monkeypatch.delenv("AZURE_CLIENT_SECRET", raising=False)
    pytester.makepyfile(THEIRS)
    done = pytester.runpytest_subprocess(
        "-p", "azureml_emulator.pytest_plugin", "-p", "no:cacheprovider", "-W", "default"
    )
    done.assert_outcomes(passed=3)
