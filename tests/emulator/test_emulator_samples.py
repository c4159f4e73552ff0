"""Some forty calls of public samples, with the unmodified SDK, against a real emulator."""

from typing import Any

import pytest

from tests.emulator.contract import held

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def session(emulators, run_program, tmp_path_factory) -> tuple[Any, dict[str, Any]]:
    emulator = emulators(record=True)
    folder = tmp_path_factory.mktemp("samples")
    return emulator, run_program(emulator, "samples_session.py", folder)


def test_what_samples_do_works_or_is_refused_by_name(session):
    seen = session[1]
    refused = {
        name: value["refused"]
        for name, value in seen.items()
        if isinstance(value, dict) and "refused" in value
    }
    assert set(refused) == {"data import", "a model of the registry"}, refused
    assert refused["data import"].startswith("(NotImplementedByEmulator)")
    assert "nothing of registries but" in refused["a model of the registry"]
    assert seen == {
        "config": "emulator",
        "workspace made": "Two",
        "workspaces": ["emulator", "second"],
        "workspace changed": "mine",
        "keys": True,
        "keys synchronised": None,
        "workspace deleted": None,
        "tracking": "azureml://",
        "sizes": True,
        "usage": True,
        "cluster": 5,
        "nodes": [],
        "instance": "Running",
        "clusters": ["cpu-cluster"],
        "datastore by_sas": "by_sas",
        "datastore lake": "lake",
        "datastore files": "files",
        "datastore by_identity": "by_identity",
        "datastores": 6,
        "data by address": "https://azuremlexamples.blob.core.windows.net/datasets/credit.csv",
        "data import": seen["data import"],
        "environment image": "1",
        "environment context": "1",
        "environment with-conda": "1",
        "environments": ["context", "image", "with-conda"],
        "model": [{"k": "v"}, [], "x"],
        "component": ["1", "train_data"],
        "connection": ["https://example.org", ["feed"], None, []],
        "registries": [],
        "curated of the registry": "mcr.microsoft.com/azureml/curated/sklearn-1.5:1",
        "a model of the registry": seen["a model of the registry"],
        "rules": [],
        "serverless": [],
        "marketplace": [],
        "schedules": [],
        "batch endpoints": [],
        "endpoint": ["aad_token", True],
    }


def test_no_route_was_missing_and_no_secret_recorded(session):
    emulator = session[0]
    log = emulator.log.read_text()
    assert "no route:" not in log
    assert "Traceback" not in log
    assert "the-secret" not in emulator.directory.with_name("record.jsonl").read_text()


def test_bodies_of_samples_keep_to_the_types(session, arm_types):
    found = held(session[0].directory.with_name("record.jsonl"), arm_types)
    assert found.unknown == set()
    assert found.checked["request workspaces/connections"] == 1
