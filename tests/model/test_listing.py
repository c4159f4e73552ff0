"""Registered models read from MLflow's file, which must say what MLflow says."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from twinml import settings
from twinml.errors import NotFound
from twinml.platform import ModelReference
from twinml.registry import aliases
from twinml.registry import tracking as tracking_module
from twinml.registry.listing import CHAMPION, DIGEST, Listed, listed, named
from twinml.registry.store import SCHEMA
from twinml.registry.tracking import Tracking
from twinml.report import PAGE
from twinml.workflow.model_report import of_version

HEAVY = ("mlflow", "pandas", "numpy", "sklearn", "sqlalchemy", "pyarrow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A registry with two models, three versions, aliases, a deleted version and odd figures."""
    place = tmp_path_factory.mktemp("store")
    folder = place / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    found = Tracking(f"sqlite:///{place}/home/mlflow.db")
    figures = [{"test_roc_auc": 0.9, "test_log_loss": 0.25}, {"test_roc_auc": math.nan}, {}, {}]
    for number, metrics in enumerate(figures):
        digest = f"{number}" * 64
        name = "zoo-Ümlaut" if number == 2 else "bank"
        run_id = found.upload(name, folder, digest=digest)
        for key, value in metrics.items():
            found.client.log_metric(run_id, key, value)
        found.register(name, run_id=run_id, digest=digest, metric="roc_auc")
    found.client.delete_model_version("bank", "3")
    found.client.set_registered_model_alias("bank", "challenger", "2")
    found.client.set_registered_model_alias("bank", "shadow", "1")
    return found


def shown(found: tuple[Listed, ...]) -> list[tuple[object, str]]:
    """Return what can be compared: NaN does not equal itself."""
    return [(one.version, repr(sorted(one.metrics.items()))) for one in found]


def by_mlflow(tracking: Tracking, name: str | None = None) -> tuple[Listed, ...]:
    return tuple(Listed(one, tracking.metrics(str(one.run_id))) for one in tracking.versions(name))


@pytest.mark.parametrize("name", [None, "bank", "zoo-Ümlaut", "no such"])
def test_the_file_says_what_mlflow_says(store: Tracking, name: str | None) -> None:
    assert shown(listed(store.uri, name)) == shown(by_mlflow(store, name))
    assert len(listed(store.uri, name)) == {None: 3, "bank": 2, "no such": 0}.get(name, 1)


def test_a_figure_that_is_no_number_stays_none(store: Tracking) -> None:
    assert math.isnan(listed(store.uri, "bank")[0].metrics["test_roc_auc"])


def test_names_of_ours_and_the_schema_are_those_that_mlflow_writes(store: Tracking) -> None:
    assert (CHAMPION, DIGEST) == (aliases.CHAMPION, tracking_module.DIGEST)
    with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as file:
        assert file.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]
    file.close()


@pytest.mark.parametrize(
    ("text", "version"),
    [("bank", "1"), ("bank/2", "2"), ("bank@challenger", "2"), ("bank@shadow", "1")],
)
def test_a_reference_means_the_same_version_as_for_mlflow(
    store: Tracking, text: str, version: str
) -> None:
    found = named(store.uri, ModelReference.parse(text))
    assert found.version == version
    assert found == store.resolve(ModelReference.parse(text))


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("bank/3", "It has: bank/1, bank/2"),
        ("bank/9", "It has: bank/1, bank/2"),
        ("bank@nobody", "It has: bank/1, bank/2"),
        ("nothing", "Registered: bank, zoo"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(store: Tracking, text: str, there: str) -> None:
    with pytest.raises(NotFound, match=there):
        named(store.uri, ModelReference.parse(text))


def test_a_report_is_that_of_the_run_which_made_the_version(store: Tracking) -> None:
    first, second = (named(store.uri, ModelReference("bank", number)) for number in ("1", "2"))
    page = Path(urlsplit(first.uri).path).parent / "report" / PAGE
    page.parent.mkdir()
    page.write_text("<!DOCTYPE html>", encoding="utf-8")
    assert of_version(first, store.uri) == page
    with pytest.raises(NotFound, match="no report was written of model bank/2"):
        of_version(second, store.uri)


def test_another_schema_goes_through_mlflow(
    store: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinml.registry.listing.SCHEMA", "another")
    assert shown(listed(store.uri)) == shown(by_mlflow(store))


def test_no_store_is_no_model_and_none_is_made(own_home: Path) -> None:
    assert listed(settings.tracking_uri()) == ()
    assert not own_home.exists()


def test_the_verb_lists_them_without_mlflow(store: Tracking) -> None:
    program = (
        "import atexit, sys\n"
        f"told = lambda: print([n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)\n"
        "atexit.register(told)\n"
        "from twinml.cli import main\n"
        "main(['models'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "20", "MLFLOW_TRACKING_URI": store.uri},
    )  # fmt: skip
    assert done.stderr.strip() == "[]"
    heading, first, *_ = done.stdout.splitlines()
    assert heading.split()[:3] == ["model", "version", "aliases"]
    assert "challenger" in first
    assert "nan" in first
    assert len(done.stdout.splitlines()) == 4  # nothing wrapped, however narrow it claims to be
    assert "\x1b" not in done.stdout
