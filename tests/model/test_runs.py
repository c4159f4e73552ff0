"""Runs read from MLflow's file, which must say what MLflow says."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinml.errors import NotFound
from twinml.registry import runs
from twinml.registry.tracking import Tracking


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Two experiments: a job with two parts, a failed one, one without figures, a deleted one."""
    found = Tracking(f"sqlite:///{tmp_path_factory.mktemp('store')}/home/mlflow.db")
    parent = found.begin("bank", "search", {runs.MODEL_KIND: "f" * 64}, {"test_roc_auc": 0.9})
    for name in ("one", "two"):
        part = found.begin("bank", name, {runs.PARENT: parent}, {"rank": 1.0})
        found.client.set_terminated(part)
    found.client.log_param(parent, "best", "one")
    found.client.set_terminated(parent)
    failed = found.begin("bank", "Ümlaut <b>", {}, {"odd": 1.0})
    found.client.set_terminated(failed, "FAILED")
    found.begin("promotions", "open", {"twinml.reason": "better"}, {})
    found.client.delete_run(found.begin("bank", "gone", {}, {}))
    return found


@pytest.fixture
def by_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything asked of MLflow itself."""
    monkeypatch.setattr(runs, "from_file", lambda uri, read: None)


def everything(uri: str) -> list[object]:
    top = runs.latest(uri)
    parents = [one for one in top if one.is_search]
    return [
        sorted(top, key=lambda one: one.id),
        [one.name for one in runs.latest(uri, limit=1)],
        [one.name for one in runs.latest(uri, limit=5, offset=2)],
        [runs.children(uri, one) for one in parents],
        [runs.run(uri, one.id) for one in parents],
    ]


def test_the_file_says_what_mlflow_says(store: Tracking, request: pytest.FixtureRequest) -> None:
    read = everything(store.uri)
    assert [len(part) for part in read[:4]] == [3, 1, 1, 1]  # type: ignore[arg-type]
    request.getfixturevalue("by_mlflow")
    assert everything(store.uri) == read


def test_a_run_has_its_figures_and_its_folder(store: Tracking) -> None:
    (search,) = [one for one in runs.latest(store.uri) if one.is_search]
    assert (search.experiment, search.status) == ("bank", "FINISHED")
    assert search.metrics == {"test_roc_auc": 0.9}
    assert search.params == {"best": "one"}
    assert search.ended is not None
    assert search.ended >= search.started > 1.7e9
    assert search.folder is not None
    assert search.folder.name == "artifacts"
    assert [one.name for one in runs.children(store.uri, search)] == ["one", "two"]
    assert {one.status for one in runs.latest(store.uri)} == {"FINISHED", "FAILED", "RUNNING"}


@pytest.mark.parametrize("from_mlflow", [False, True])
def test_a_run_that_is_not_there_is_named(
    store: Tracking, from_mlflow: bool, request: pytest.FixtureRequest
) -> None:
    if from_mlflow:
        request.getfixturevalue("by_mlflow")
    with pytest.raises(NotFound, match="there is no run 'nothing'"):
        runs.run(store.uri, "nothing")


def test_no_store_is_no_run_and_none_is_made(tmp_path: Path) -> None:
    assert runs.latest(f"sqlite:///{tmp_path}/mlflow.db") == ()
    assert not list(tmp_path.iterdir())
