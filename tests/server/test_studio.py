"""The Studio site over real stores: data with hostile names, a model, and an endpoint that runs."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from azureml_emulator.arm.resources import ResourceStore
from twinml import platform
from twinml.data import load
from twinml.endpoint import Endpoint
from twinml.errors import NotFound
from twinml.platform import Platform
from twinml.registry import runs, training_run
from twinml.registry.searching import announced, searches
from twinml.registry.tracking import Tracking
from twinml.training import Progress, TrainingOptions
from twinml_local.server.state import EndpointState, write_state
from twinml_local.studio import _app, create_app
from twinml_local.studio._app import PARTS
from twinml_local.studio._code import mark_of
from twinml_local.studio._jobs import LABELS, SEARCH_METRICS, main_figure
from twinml_local.studio._live import follow
from twinml_local.studio._parts import WAITING

HERE = Path(__file__).parents[2]
HOST = "http://localhost"  # as the test client asks
MOST_BYTES = 150_000
MARK = "<img src=x onerror=window.PWN={}>"
CATEGORIES = (
    "<script>window.PWN=6</script>", '"><img src=x onerror=window.PWN=8>', "=1+1", "{{config}}",
    "\u202eevil", '\\"};window.PWN=9;//',
)  # fmt: skip
COLUMNS = (
    '"onmouseover="window.PWN=2', MARK.format(1), "</script><script>window.PWN=3</script>",
    "{{7*7}}", "../../x", "[x](javascript:alert(1))",
)  # fmt: skip
TARGET = "<b onclick=window.PWN=11>t"
CLASSES = (MARK.format(10), "=2+5")


@dataclass(frozen=True)
class Home:
    """A state folder with data, a model of it, and an endpoint that serves the model."""

    folder: Path
    run_id: str
    platform: Platform


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("studio")
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=240).round(4) for name in COLUMNS[:3]}
    words = {name: rng.choice(CATEGORIES, 240) for name in COLUMNS[3:]}
    frame = pd.DataFrame({**numbers, **words})
    high = frame[COLUMNS[0]] + (frame[COLUMNS[3]] == CATEGORIES[0]) > 0.2
    frame[TARGET] = np.where(high, *CLASSES)
    frame.to_csv(folder / "hostile.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("TWINML_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        here, dataset = platform.load("local"), load(folder / "hostile.csv", TARGET)
        here.register_data(dataset)
        options = TrainingOptions(trials=1, learners=("LogisticRegression",))
        done = training_run.run(dataset, options, Tracking())
        version = here.register_model(done.directory, name="hostile", run_id=done.run_id)
        for deployment in ("blue", "green"):
            here.deploy(version, endpoint="hostile", deployment=deployment)
        yield Home(folder / "home", str(done.run_id), here)
        here.stop()


@pytest.fixture
def app(home: Home, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("TWINML_HOME", str(home.folder))
    return create_app(home.platform, secret="s" * 32)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


Post = Callable[..., Any]


@pytest.fixture
def post(client: FlaskClient) -> Post:
    """Send a form as its page would."""
    page = client.get("/jobs").text
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found

    def send(path: str, **fields: str) -> Any:
        return client.post(path, data={"csrf": found[1], **fields}, headers={"Origin": HOST})

    return send


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def whole(client: FlaskClient, url: str) -> Any:
    """Ask for a page as a browser without JavaScript does until its parts are there."""
    until = time.monotonic() + 120
    while True:
        reply = client.get(url)
        again = re.search(
            r'<noscript><meta http-equiv="refresh" content="2;url=([^"]+)">', reply.text
        )
        if not again:
            return reply
        assert time.monotonic() < until, url
        assert WAITING in reply.text
        url = html.unescape(again[1])
        time.sleep(0.1)


def urls(home: Home) -> list[str]:
    return [
        "/", "/data", "/data/hostile/1", "/jobs", f"/jobs/{home.run_id}", "/models",
        "/models/hostile/1", "/endpoints", "/endpoints/hostile", "/endpoints/hostile/test",
        "/endpoints/hostile/consume", "/endpoints/hostile/documents", "/monitoring/hostile",
        "/monitoring/hostile?last=7d", "/logs/hostile", "/pipelines", "/compare", "/rehearsal",
    ]  # fmt: skip


def test_every_page_is_whole_small_and_shows_names_as_text(client: FlaskClient, home: Home) -> None:
    for url in urls(home):
        reply = whole(client, url)
        assert reply.status_code == 200, url
        assert len(reply.data) < MOST_BYTES, url
        page = Elements(reply.text)
        scripts = [found for tag, found in page.elements if tag == "script"]
        assert [found["src"].partition("?")[0] for found in scripts] == ["/static/studio.js"], url
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on")], (url, tag)
            assert attributes.get("src") != "x", (url, tag)
            assert not str(attributes.get("href", "")).startswith("javascript:"), url
        (heading,) = [tag for tag, _ in page.elements if tag == "h1"]
        assert heading
        labelled = {found.get("for") for tag, found in page.elements if tag == "label"}
        for tag, found in page.elements:
            if tag in ("input", "select", "textarea") and found.get("type") != "hidden":
                assert found.get("id") in labelled or found.get("aria-label"), (url, found)
        identifiers = [found["id"] for _, found in page.elements if "id" in found]
        assert len(set(identifiers)) == len(identifiers), url
        for header in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"):
            assert header in reply.headers, url
        assert reply.headers["Cache-Control"] == "no-store"
    words = Elements(client.get("/data/hostile/1").text).words
    assert "{{7*7}}" in words
    assert "Classification: " in words
    assert MARK.format(10) in Elements(client.get("/models/hostile/1").text).words


def test_what_is_not_there_is_a_page_with_a_status(client: FlaskClient) -> None:
    for url in (
        "/nothing", "/data/hostile/9", "/data/..%2f..%2fx/1", "/jobs/0", "/models/hostile/9",
        "/models/no/1", "/endpoints/no", "/endpoints/no/test", "/jobs/started/1",
        "/jobs/started/..", "/static/app.py",
    ):  # fmt: skip
        assert client.get(url).status_code in (400, 404), url


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:5080"}, 200),
        ({"Host": "localhost:5080"}, 200),
        ({"Host": "[::1]:5080"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:5080"}, 403),
    ],
)
def test_only_names_of_loopback_are_answered(
    app: Flask, headers: dict[str, str], status: int
) -> None:
    assert app.test_client().get("/", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "token", "status"),
    [
        ({"Origin": HOST}, True, 200),
        ({}, True, 200),
        ({"Sec-Fetch-Site": "same-origin"}, True, 200),
        ({"Origin": HOST}, False, 403),
        ({"Origin": "http://evil.example"}, True, 403),
        ({"Origin": "null"}, True, 403),
        ({"Origin": "http://127.0.0.1:5001"}, True, 403),
        ({"Sec-Fetch-Site": "cross-site"}, True, 403),
        ({"Sec-Fetch-Site": "same-site"}, True, 403),
    ],
)
def test_a_form_is_taken_from_our_own_pages_alone(
    client: FlaskClient, headers: dict[str, str], token: bool, status: int
) -> None:
    page = client.get("/endpoints/hostile").text
    mark = re.search(r'name="csrf" value="([^"]+)"', page)
    assert mark
    data = {"csrf": mark[1] if token else mark[1][::-1]}
    reply = client.post("/endpoints/hostile/keys", data=data, headers=headers)
    assert reply.status_code == status


def test_keys_are_shown_when_asked_for_and_nowhere_else(
    client: FlaskClient, post: Post, home: Home
) -> None:
    keys = home.platform.keys("hostile")
    for url in urls(home):
        assert keys.primary not in client.get(url).text, url
    shown = post("/endpoints/hostile/keys")
    assert keys.primary in shown.text
    assert keys.secondary in shown.text
    assert shown.headers["Cache-Control"] == "no-store"


def test_traffic_changes_only_once_it_is_confirmed(
    client: FlaskClient, post: Post, home: Home
) -> None:
    before = dict(home.platform.endpoint_info("hostile").traffic)
    wanted = {"share-blue": "60", "share-green": "40", "mirror-green": "0"}
    asked = post("/endpoints/hostile/traffic", **wanted)
    assert "60 %" in asked.text
    assert home.platform.endpoint_info("hostile").traffic == before
    done = post("/endpoints/hostile/traffic", **wanted, confirmed="yes")
    assert (done.status_code, done.location) == (303, "/endpoints/hostile")
    assert home.platform.endpoint_info("hostile").traffic == {"blue": 60, "green": 40}
    wrong = post("/endpoints/hostile/traffic", **{"share-blue": "x"}, back="/endpoints/hostile")
    assert wrong.location == "/endpoints/hostile"
    assert "whole per cent" in client.get("/endpoints/hostile").text
    more = {"share-blue": "60", "share-green": "60", "confirmed": "yes"}
    assert post("/endpoints/hostile/traffic", **more).status_code == 400
    assert home.platform.endpoint_info("hostile").traffic == {"blue": 60, "green": 40}


def shown_to_confirm(page: str) -> str:
    found = re.search(r'name="shown" value="([^"]+)"', page)
    assert found
    return found[1]


def test_what_has_changed_since_it_was_asked_is_asked_anew(post: Post, home: Home) -> None:
    url, wanted = "/endpoints/hostile/traffic", {"share-blue": "70", "share-green": "30"}
    asked = post(url, **wanted).text
    assert "It has changed" not in asked
    home.platform.set_traffic("hostile", {"blue": 90, "green": 10})  # in another tab, or by a verb
    again = post(url, **wanted, confirmed="yes", shown=shown_to_confirm(asked))
    assert "It has changed since you were asked" in again.text
    assert "90 %" in again.text
    assert home.platform.endpoint_info("hostile").traffic == {"blue": 90, "green": 10}
    done = post(url, **wanted, confirmed="yes", shown=shown_to_confirm(again.text))
    assert done.status_code == 303
    assert home.platform.endpoint_info("hostile").traffic == {"blue": 70, "green": 30}


def test_a_form_that_is_sent_twice_is_done_once(
    client: FlaskClient, post: Post, home: Home
) -> None:
    url, back = "/endpoints/hostile/keys/secondary", "/endpoints/hostile"
    asked = post(url).text
    (mark,) = re.findall(r'name="once" value="([^"]+)"', asked)
    assert mark not in post(url).text
    keys = [home.platform.keys("hostile").secondary]
    for _ in range(2):
        reply = post(url, confirmed="yes", once=mark, back=back)
        assert (reply.status_code, reply.location) == (303, back)
        keys.append(home.platform.keys("hostile").secondary)
    assert keys[0] != keys[1] == keys[2]
    page = client.get(back).text
    assert "The secondary key of hostile is replaced" in page
    assert "That was sent already" in page


def test_what_another_tab_deleted_is_said_to_be_gone(post: Post, client: FlaskClient) -> None:
    for url, told in (
        ("/endpoints/hostile/deployments/red/delete", "no deployment"),
        ("/pipelines/no/schedules/no/delete", "no schedule"),
    ):
        assert "not there any more" in post(url).text
        gone = post(url, confirmed="yes", back="/endpoints/hostile")
        assert (gone.status_code, gone.location) == (303, "/endpoints/hostile")
        assert told in Elements(client.get("/endpoints/hostile").text).words


def test_a_site_says_that_its_code_was_changed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINML_HOME", str(home.folder))
    told = iter([False, True])
    monkeypatch.setattr(_app, "changed_since_start", lambda: lambda: next(told))
    client = create_app(home.platform, secret="s" * 32).test_client()
    assert "was changed since" not in client.get("/data").text
    assert "twinml was changed since this site was started" in client.get("/data").text


def test_the_mark_of_the_code_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "rooms").mkdir()
    marks = [mark_of([tmp_path])]
    for name, text in (("a.py", "1"), ("rooms/b.j2", "1"), ("a.py", "22"), ("a.pyc", "1")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        marks.append(mark_of([tmp_path]))
    assert len(set(marks)) == 4
    assert marks[3] == marks[4]


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "http://evil.example", ""])
def test_nobody_is_sent_elsewhere(post: Post, back: str) -> None:
    reply = post("/endpoints/hostile/traffic", **{"share-blue": "x", "back": back})
    assert (reply.status_code, reply.location) == (400, None)


def test_the_form_scores_through_the_endpoint_and_says_why(client: FlaskClient, post: Post) -> None:
    form = Elements(client.get("/endpoints/hostile/test").text)
    row = {
        str(found["name"]): str(found["value"])
        for tag, found in form.elements
        if tag == "input" and str(found.get("name")).startswith("v-")
    }
    assert list(row) == ["v-0", "v-1", "v-2"]
    row |= {f"v-{place}": CATEGORIES[0] for place in (3, 4, 5)}
    usual = post("/endpoints/hostile/test", deployment="green", **row)
    assert usual.status_code == 200
    words = Elements(usual.text).words
    assert "log-odds" in words
    assert "exact SHAP values" in words
    assert any(f"{TARGET}: {label}" in words for label in CLASSES)
    assert "never seen in training" not in words
    odd = Elements(post("/endpoints/hostile/test", **{**row, "v-0": "1e9"}).text)
    assert "never seen in training" in odd.words
    wrong = post("/endpoints/hostile/test", **{**row, "v-1": "many"})
    assert wrong.status_code == 400
    page = Elements(wrong.text)
    (field,) = [found for _, found in page.elements if found.get("aria-invalid") == "true"]
    assert (field["id"], field["value"]) == ("v-1", "many")
    assert "found many" in page.words


def test_files_of_a_model_and_the_registered_data_are_downloaded(
    client: FlaskClient, home: Home
) -> None:
    with client.get("/models/hostile/1/files") as reply:
        packed = zipfile.ZipFile(BytesIO(reply.data))
    assert {"MLmodel", "contract.json", "requirements.txt"} <= set(packed.namelist())
    assert packed.testzip() is None
    with client.get("/data/hostile/1/file") as file:
        assert file.data == (home.folder / "data/hostile/1/data.csv").read_bytes()
        assert "attachment" in file.headers["Content-Disposition"]
    with client.get("/models/hostile/1/card") as card:
        assert card.headers["Content-Security-Policy"].startswith("sandbox")


def test_a_model_is_imported_from_the_form_but_no_program(
    client: FlaskClient, post: Post, home: Home, tmp_path: Path
) -> None:
    import lightgbm

    frame = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0) % 7})
    learned = lightgbm.train(
        {"objective": "binary", "verbose": -1}, lightgbm.Dataset(frame, frame["a"] > 50), 2
    )
    learned.save_model(tmp_path / "model.txt")
    done = post("/models", source=str(tmp_path / "model.txt"), name="brought", back="/models")
    assert (done.status_code, done.location) == (303, "/models/brought/1")
    page = client.get("/models/brought/1")
    assert "brought/1 is registered" in page.text
    assert "/models/brought/1" in client.get("/models").text
    # A deployment that has another model is replaced once that is confirmed; so goes all traffic.
    over = {"endpoint": "hostile", "deployment": "green"}
    asked = Elements(post("/models/brought/1/deploy", **over).text).words
    assert "Replace hostile:1 by brought/1 in deployment green of hostile?" in asked
    asked = Elements(post("/models/brought/1/promote", reason="so", endpoint="hostile").text).words
    assert "Make brought/1 the champion, with all traffic of hostile?" in asked
    assert set(home.platform.endpoint_info("hostile").deployments.values()) == {"hostile:1"}
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    wrong = post("/models", source=str(tmp_path / "evil.pkl"), back="/models")
    assert (wrong.status_code, wrong.location) == (303, "/models")
    assert "--trust" in client.get("/models").text
    assert post("/models", source=" ").status_code == 400


def test_many_endpoints_are_shown_in_pages(own_home: Path) -> None:
    for number in range(130):
        folder = own_home / "endpoints" / f"many-{number:03}"
        folder.mkdir(parents=True)
        write_state(folder, EndpointState(folder.name, "127.0.0.1", 20_000 + number, "2026-11-28"))
    client = create_app(platform.load("local"), secret="s" * 32).test_client()
    for start, count, links in ((0, 100, ["More"]), (100, 30, ["Before"]), (50, 80, ["Before"])):
        page = client.get(f"/endpoints?after={start}").text
        assert page.count('<th scope="row">') == count
        assert re.findall(r"after=\d+\">(\w+)<", page) == links
    assert "and 110 more" in client.get("/endpoints/none").text
    assert "of 130 endpoints" in Elements(client.get("/logs/many-007").text).words
    # One that goes while the others are listed is left out, and one that changes is read again.
    folder = own_home / "endpoints" / "many-000"
    write_state(folder, EndpointState("many-000", "127.0.0.1", 4321, "2026-11-28"))
    assert ":4321/score" in client.get("/endpoints").text
    (folder / "endpoint.json").write_text("{}", encoding="utf-8")
    assert "damaged" in client.get("/endpoints").text
    (folder / "endpoint.json").unlink()
    assert "many-000" not in client.get("/endpoints").text


def test_without_any_store_every_part_says_what_to_do(own_home: Path) -> None:
    client = create_app(platform.load("local"), secret="s" * 32).test_client()
    for _, name, url in PARTS:
        page = client.get(url)
        assert page.status_code == 200, url
        assert name in page.text
        assert "<code>" in page.text or url == "/models", url
    assert not list(own_home.glob("*/*"))


def test_a_store_that_cannot_be_read_is_said_to_be_so(own_home: Path) -> None:
    own_home.mkdir(parents=True)
    (own_home / "mlflow.db").write_text("no database", encoding="utf-8")
    client = create_app(platform.load("local"), secret="s" * 32).test_client()
    for url in ("/", "/jobs", "/models", "/compare"):
        page = client.get(url)
        assert page.status_code == 500, url
        assert "it is no SQLite file" in page.text


def test_elsewhere_than_on_loopback_the_site_asks_for_its_key(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINML_HOME", str(home.folder))
    made = create_app(home.platform, secret="s" * 32, loopback=False, key="open-sesame")
    client = made.test_client()
    host = {"Host": "studio.example:5080"}
    first = client.get("/", headers=host)
    assert (first.status_code, first.location) == (302, "/sign-in")
    assert client.get("/endpoints/hostile", headers=host).status_code == 302
    assert client.post("/endpoints/hostile/keys", headers=host).status_code == 401
    page = client.get("/sign-in", headers=host).text
    mark = re.search(r'name="csrf" value="([^"]+)"', page)
    assert mark
    origin = {**host, "Origin": "http://studio.example:5080"}
    for key, status in (("open", 401), ("", 401), ("open-sesame", 302)):
        data = {"csrf": mark[1], "key": key}
        assert client.post("/sign-in", data=data, headers=origin).status_code == status
    assert client.get("/", headers=host).status_code == 200


def test_a_live_part_is_sent_when_it_changes_and_ends_when_it_is_over() -> None:
    answers = iter(["one", "one", "two\nlines", None])
    events = list(follow(lambda: next(answers), every=0).iter_encoded())
    assert events == [
        b"data: one\n\n",
        b"data: two\ndata: lines\n\n",
        b"event: over\ndata: \n\n",
    ]


def test_a_live_part_is_over_when_what_it_shows_is_gone() -> None:
    def part() -> str:
        raise NotFound("there is no endpoint 'bank'")

    assert list(follow(part, every=0).iter_encoded()) == [b"event: over\ndata: \n\n"]


def test_a_search_is_seen_by_others_while_it_runs(
    app: Flask, client: FlaskClient, home: Home, table_csv: Path
) -> None:
    told: list[Progress] = []
    with announced(load(table_csv, "y"), told.append) as show:
        first = ("LightGBM", 0.5, 1, 2.0)
        show(Progress("search", 1, "LightGBM", 0.5, 2.0, 8.0, candidates=(first,)))
        both = (first, ("XGBoost", 0.4, 3, 2.0))
        show(Progress("floor", 2, "XGBoost", 0.4, 4.0, 6.0, candidates=both))
        show(Progress("ensemble", 2, "XGBoost", 0.4, 4.0, 6.0))
        (one,) = searches()
        assert (one.data, one.target, one.phase, one.trials) == ("customers", "y", "ensemble", 2)
        assert one.best == (("LightGBM", 0.5, 2.0, 1), ("XGBoost", 0.4, 4.0, 2))
        assert one.candidates == both[::-1]
        assert "AutoML on customers" in client.get("/jobs").text
        page = Elements(client.get(f"/searching/{one.id}").text)
        assert page.words.index("XGBoost") < page.words.index("LightGBM")
        with client.get(f"/searching/{one.id}/live", buffered=False) as stream:
            assert b"XGBoost" in next(stream.iter_encoded())
    assert [moment.trials for moment in told] == [1, 2, 2]
    assert searches() == ()
    ended = client.get(f"/searching/{one.id}")
    assert (ended.status_code, ended.location) == (303, "/jobs")
    left = home.folder / "searching" / "4194305-1.json"  # beyond the largest pid of Linux
    left.write_text("{}", encoding="utf-8")
    assert searches() == ()
    assert not left.exists()


def test_a_job_shows_curves_of_its_held_out_rows(client: FlaskClient, home: Home) -> None:
    page = client.get(f"/jobs/{home.run_id}").text
    shown = [found["aria-label"] for tag, found in Elements(page).elements
             if tag == "svg" and found.get("class") == "chart"]  # fmt: skip
    assert [str(title).partition(",")[0] for title in shown] == [
        "ROC curve", "Precision at each recall", "Share that is of the class",
    ]  # fmt: skip


def test_pictures_of_a_job_are_shown_and_no_other_file(client: FlaskClient, home: Home) -> None:
    folder = runs.run(home.platform.tracking_uri, home.run_id).folder
    assert folder is not None
    (folder / "report").mkdir()
    (folder / "report" / "benchmark.png").write_bytes(b"picture")
    (folder / "report" / "other.png").write_bytes(b"picture")
    job = f"/jobs/{home.run_id}"
    assert f"{job}/picture/benchmark" in client.get(job).text
    page = client.get(f"{job}/picture/benchmark")
    assert f'<img src="{job}/pictures/benchmark.png"' in page.text
    with client.get(f"{job}/pictures/benchmark.png") as picture:
        assert picture.data == b"picture"
    for wrong in ("picture/other", "picture/roc", "pictures/..%2fMLmodel", "pictures/roc.png"):
        assert client.get(f"{job}/{wrong}").status_code == 404, wrong


def test_metrics_of_pages_and_forms_are_those_of_training() -> None:
    from twinml.training.metrics import AUTO, HIGHER_IS_BETTER

    assert set(LABELS) <= set(HIGHER_IS_BETTER)
    assert set(SEARCH_METRICS) <= {AUTO, *LABELS}
    assert main_figure({"test_root_mean_squared_error": 2.0, "test_r2_score": 0.5}) == "R² 0.500"


def test_a_search_is_started_from_the_form(
    client: FlaskClient, post: Post, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = post("/jobs", data="hostile:1", budget="soon", back="/jobs")
    assert wrong.status_code == 303
    assert "expected seconds" in client.get("/jobs").text
    # What would train here is told its options, and no more.
    told = tmp_path / "told"
    told.write_text('#!/bin/sh\necho "$@"; sleep 3\n', encoding="utf-8")
    told.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(told))
    assert post("/jobs", data="hostile:1", budget="5s").status_code == 303
    page = client.get("/jobs").text
    (name,) = set(re.findall(r"/jobs/started/(\d+)", page))
    for _ in range(100):
        said = Elements(client.get(f"/jobs/started/{name}").text).words
        if "--budget 5s" in said:
            break
        time.sleep(0.05)
    assert f"--target {TARGET} --name hostile --budget 5s --metric auto" in said
    # What a crash left behind hides no other.
    kept = home.folder / "studio" / "searches"
    for left in ("1", "x", "2"):
        (kept / left).mkdir()
    (kept / "1" / "about.json").write_bytes(b"\0{")
    (kept / "x" / "about.json").write_text("{}", encoding="utf-8")
    (kept / "2" / "about.json").write_text('{"id": "2", "more": 1}', encoding="utf-8")
    assert set(re.findall(r"/jobs/started/(\d+)", client.get("/jobs").text)) == {name}
    assert client.get("/jobs/started/1").status_code == 404


PIPELINE = """
type: pipeline
inputs: {who: world, times: 1}
jobs:
  make:
    type: command
    command: echo "<script>${{inputs.who}}</script>" > ${{outputs.said}}
    inputs: {who: "${{parent.inputs.who}}"}
    outputs: {said: {type: uri_file}}
  read:
    type: command
    command: cat ${{inputs.said}}
    inputs: {said: "${{parent.jobs.make.outputs.said}}"}
"""


def test_a_pipeline_is_run_followed_and_scheduled(
    client: FlaskClient, post: Post, home: Home, tmp_path: Path
) -> None:
    assert client.get("/pipelines").status_code == 200
    (tmp_path / "greet.yml").write_text(PIPELINE, encoding="utf-8")
    home.platform.publish_pipeline("greet", tmp_path / "greet.yml")
    key = home.platform.pipeline_client("greet").authentication_header()["Authorization"][7:]
    page = client.get("/pipelines/greet")
    assert page.status_code == 200
    assert key not in page.text
    assert key in post("/pipelines/greet/key").text
    assert 'href="/pipelines/greet"' in client.get("/").text
    boxes = re.findall(r'<g class="node ', page.text)
    assert len(boxes) == 2
    assert page.text.count('class="edge"') == 1
    wrong = post("/pipelines/greet/jobs", **{"input-times": "many"}, back="/pipelines/greet")
    assert wrong.status_code == 303
    assert "found" in client.get("/pipelines/greet").text
    begun = post("/pipelines/greet/jobs", **{"input-who": "<b>you</b>", "input-times": "1"})
    assert begun.status_code == 303
    with home.platform.pipeline_client("greet") as service:  # type: ignore[attr-defined]
        assert service.wait(begun.location.rpartition("/")[2], timeout=120).status == "Completed"
    job = client.get(begun.location)
    shown = Elements(job.text)
    assert "<script><b>you</b></script>" in shown.words
    assert job.text.count('class="node completed"') == 2
    assert "data-live" not in job.text
    stream = list(client.get(f"{begun.location}/live").iter_encoded())
    assert stream[-1] == b"event: over\ndata: \n\n"
    assert client.get("/pipelines").text.count(begun.location) == 1
    assert post("/pipelines/greet/schedules", name="often", every="2h").status_code == 303
    (kept,) = home.platform.schedules("greet")
    assert (kept.name, kept.every, kept.cron) == ("often", "2h", None)
    assert "often" in client.get("/pipelines/greet").text
    asked = post("/pipelines/greet/schedules/often/delete")
    assert "Delete schedule often" in asked.text
    assert home.platform.schedules("greet")
    post("/pipelines/greet/schedules/often/delete", confirmed="yes")
    assert home.platform.schedules("greet") == ()
    for url in ("/pipelines/no", "/pipelines/greet/jobs/no", "/pipelines/no/jobs/no"):
        assert client.get(url).status_code == 404, url


def test_logs_are_searched_narrowed_and_followed(client: FlaskClient, home: Home) -> None:
    with home.platform.endpoint("hostile") as endpoint:
        endpoint.post(b"nonsense")
    for _ in range(100):
        page = client.get("/logs/hostile?failures=yes").text
        if "POST /score 400" in page:
            break
        time.sleep(0.05)
    entries = re.findall(r'<span class="failed">(.*?)</span>', page)
    assert entries
    assert all(re.search(r" [45]\d\d | [EC] ", entry) for entry in entries)
    assert "serving" in client.get("/logs/hostile?search=SERVING").text
    assert "GET /ready 200" not in client.get("/logs/hostile").text
    assert "GET /ready 200" in client.get("/logs/hostile?probes=yes").text
    assert "0 entries" in client.get("/logs/hostile?search=%3Cscript%3E").text
    follows = client.get(
        "/logs/hostile?search=a%26b&probes=yes&follow=yes&_scheme=javascript&_external=1"
    )
    (part,) = [found["data-live"] for _, found in Elements(follows.text).elements
               if "data-live" in found]  # fmt: skip
    assert part == "/logs/hostile/live?search=a%26b&probes=yes"
    with client.get("/logs/hostile/live?failures=yes") as stream:
        assert b"POST /score 400" in next(stream.iter_encoded())


def test_monitoring_shows_requests_and_drift(client: FlaskClient, post: Post, home: Home) -> None:
    assert post("/monitoring/hostile/collect", rate="much").status_code == 400
    assert post("/monitoring/hostile/collect", rate="1").status_code == 303
    frame = pd.read_csv(home.folder / "data/hostile/1/data.csv").drop(columns=TARGET).head(60)
    frame[COLUMNS[0]] += 9
    page = whole(client, "/monitoring/hostile?drift=yes")
    assert "no traffic was collected" in Elements(page.text).words
    uri, key = home.platform.endpoint_info("hostile").scoring_uri, home.platform.keys("hostile")
    # Whose rows are compared is the one with most of the traffic.
    with Endpoint(uri, key.primary, deployment="blue") as endpoint:
        endpoint.score(frame.to_dict("records"))
    until = time.monotonic() + 120
    while "drifted:" not in (page := whole(client, "/monitoring/hostile?drift=yes&last=1h").text):
        assert time.monotonic() < until  # what was kept is written soon
    words = Elements(page).words
    assert f"drifted: {COLUMNS[0]}" in words
    assert re.search(r"Half within", words)
    assert page.count('class="chart') == 3
    with client.get("/parts/none/live") as stream:
        assert stream.data == b"event: over\ndata: \n\n"
    assert client.get("/monitoring/hostile?last=1000y").status_code == 200
    assert client.get("/monitoring/no").status_code == 404


def test_comparisons_promotions_and_reports_are_shown_and_nothing_else(
    client: FlaskClient, post: Post, home: Home
) -> None:
    folder = home.folder / "reports" / "hostile"
    folder.mkdir(parents=True)
    shape = {"verdict": "<b>alike", "passes": True, "rows": 9, "same_labels": 9, "unexplained": 0}
    (folder / "compare.json").write_text(json.dumps(shape), encoding="utf-8")
    (folder / "compare.html").write_text("<p>the page", encoding="utf-8")
    (folder / "secret.txt").write_text("no page", encoding="utf-8")
    page = client.get("/compare").text
    assert "<b>alike" in Elements(page).words
    with client.get("/reports/hostile/compare.html") as report:
        assert report.text == "<p>the page"
        assert report.headers["Content-Security-Policy"].startswith("sandbox")
    for name in ("hostile/secret.txt", "../endpoints/hostile/keys.json", "hostile/no.html", ".."):
        assert client.get(f"/reports/{name}").status_code == 404, name
    back = {"back": "/models/hostile/1"}
    assert post("/models/hostile/1/promote", reason=" ", **back).status_code == 303
    assert "a promotion needs a reason" in client.get("/models/hostile/1").text
    assert post("/models/hostile/1/promote", reason="<i>because").status_code == 303
    assert "<i>because" in Elements(client.get("/compare").text).words


def test_the_rehearsal_shows_what_the_emulator_keeps(client: FlaskClient, home: Home) -> None:
    assert "No rehearsal was run here" in client.get("/rehearsal").text
    workspace = "/subscriptions/0/resourceGroups/g/providers/p/workspaces/w"
    body = {"properties": {"provisioningState": "Succeeded"}}
    (home.folder / "rehearsal").mkdir()
    store = ResourceStore(home.folder / "rehearsal" / "resources.sqlite")
    store.put(f"{workspace}/onlineEndpoints/bank/deployments/<blue>", body)
    store.put(f"{workspace}/models/bank/versions/3", {"properties": {}})
    store.close()
    line = "2026-11-28 00:55:41,828 INFO azureml_emulator: GET w.example/score?key=1 429 51 ms"
    (home.folder / "rehearsal.log").write_text(f"{line}\nTraceback\n", encoding="utf-8")
    words = Elements(client.get("/rehearsal").text).words
    assert "bank/<blue>" in words
    assert "bank/3" in words
    assert "1 of the last 1" in words
    assert "GET w.example/score" in words
    assert "key=1" not in words


@pytest.mark.e2e
def test_the_site_is_opened_in_the_background_and_stopped(tmp_path: Path) -> None:
    environment = {**os.environ, "TWINML_HOME": str(tmp_path / "home")}

    def twinml(*words: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "twinml", *words],
            env=environment | more, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    # As before an upgrade: the same code elsewhere is other code.
    older = tmp_path / "older"
    shutil.copytree(
        HERE / "local/twinml_local", older / "twinml_local",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    try:
        twinml("open", "--no-browser", PYTHONPATH=str(older))
        renewed = twinml("open", "--no-browser")
        assert "It ran an older state of twinml, and was started again" in renewed
        address = renewed.split()[-1]
        assert address.startswith("http://127.0.0.1:")
        page = requests.get(address, timeout=60)
        assert page.status_code == 200
        assert "Nothing is deployed" in page.text
        assert twinml("open", "--no-browser").split() == ["Studio", address]
    finally:
        assert "ended studio" in twinml("stop")
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)
