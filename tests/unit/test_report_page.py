"""The report page, written from small models fitted here and read back with a parser."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import shlex
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from PIL import Image
from sklearn import metrics
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from twinml.cli.deploy import command as deploy_verb
from twinml.cli.score import command as score_verb
from twinml.contract import infer_contract, parse
from twinml.data import Dataset, load
from twinml.platform import EndpointInfo, ModelVersion
from twinml.report import ReportFiles, write
from twinml.report._measures import measure
from twinml.training._dependence import partial_dependence
from twinml.training.result import Candidate, Evaluation, Interval, TrainingResult, Trial

EVIL = "<script>alert('x')</script>"
QUOTES = "\"'><img src=x onerror=alert(1)>"
ENDPOINT = EndpointInfo(
    "bank", "http://127.0.0.1:5001/score", "http://127.0.0.1:5001/swagger.json",
    "http://127.0.0.1:5001/docs", "Healthy", {"blue": 90, "green": 10},
)  # fmt: skip
MODEL = ModelVersion("bank", "3", "models:/bank/3", "ab" * 32, "0f" * 16, ("champion",))
STEPS = (
    {"number": 1, "name": "data", "seconds": 0.84, "summary": "600 rows"},
    {"number": 2, "name": "train", "seconds": 92.4, "summary": "blend wins"},
)
VOID = {"meta", "img", "br", "hr", "link", "input"}


def pipeline(model: Any) -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    text = make_column_selector(dtype_include=object)
    return make_pipeline(make_column_transformer((encoder, text), remainder="passthrough"), model)


def boosted() -> Any:
    return pipeline(LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1, random_state=0))


def measured(y: np.ndarray, p: np.ndarray, threshold: float | None) -> dict[str, float]:
    k = p.shape[1]
    named = p.argmax(axis=1) if threshold is None else (p[:, 1] >= threshold).astype(int)
    everything = list(range(k))
    found = {
        "accuracy": metrics.accuracy_score(y, named),
        "balanced_accuracy": metrics.recall_score(
            y, named, labels=everything, average="macro", zero_division=0
        ),
        "f1": metrics.f1_score(y, named, labels=everything, average="macro", zero_division=0),
        "log_loss": metrics.log_loss(y, p, labels=everything),
    }
    if k == 2:
        found["roc_auc"] = metrics.roc_auc_score(y, p[:, 1])
        found["average_precision"] = metrics.average_precision_score(y, p[:, 1])
    return {name: float(value) for name, value in found.items()}


def evaluated(
    data: Dataset, split: str, train: np.ndarray, test: np.ndarray, threshold: float | None
) -> tuple[Evaluation, Any]:
    classes = np.unique(data.labels)
    model = boosted().fit(data.features.iloc[train], data.labels.iloc[train])
    y = np.searchsorted(classes, data.labels.iloc[test])
    p = model.predict_proba(data.features.iloc[test])
    point = measured(y, p, threshold)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(20):
        rows = rng.integers(0, len(y), len(y))
        draws.append(measured(y[rows], p[rows], threshold))
    intervals = {
        name: Interval(value, *np.percentile([draw[name] for draw in draws], [2.5, 97.5]).tolist())
        for name, value in point.items()
    }
    shares = data.labels.iloc[train].value_counts(normalize=True).loc[classes].to_numpy()
    baseline = measured(y, np.tile(shares, (len(y), 1)), None if threshold is None else 0.5)
    named = p.argmax(axis=1) if threshold is None else (p[:, 1] >= threshold).astype(int)
    confusion = metrics.confusion_matrix(y, named, labels=range(len(classes)))
    return Evaluation(
        split, len(train), len(test), intervals, baseline, confusion, y, p, test
    ), model


def trained(data: Dataset, metric: str) -> TrainingResult:
    binary = data.labels.nunique() == 2
    threshold = 0.31 if binary else None
    rows = np.arange(data.n_rows)
    train, held_out = train_test_split(rows, test_size=0.3, random_state=0, stratify=data.labels)
    test, model = evaluated(data, "random", train, held_out, threshold)
    cut = int(0.7 * data.n_rows)
    forward, _ = evaluated(data, "ordered", rows[:cut], rows[cut:], threshold)
    drop = permutation_importance(
        model, data.features.iloc[held_out], data.labels.iloc[held_out], n_repeats=2,
        random_state=0,
    )  # fmt: skip
    importance = pd.DataFrame(
        {
            "feature": data.features.columns,
            "mean": drop.importances_mean,
            "std": drop.importances_std,
        }
    ).sort_values("mean", ascending=False, ignore_index=True)
    y = np.searchsorted(np.unique(data.labels), data.labels.iloc[train])
    members = {
        "lightgbm": boosted(),
        "tree": pipeline(DecisionTreeClassifier(min_samples_leaf=20, random_state=0)),
    }
    folds = {
        name: cross_val_predict(
            member, data.features.iloc[train], data.labels.iloc[train], cv=3,
            method="predict_proba",
        )
        for name, member in members.items()
    }  # fmt: skip
    board = [
        Candidate(
            name, "learner", measured(y, p, threshold), {"n_estimators": 20}, {}, 24, 31.27, EVIL
        )
        for name, p in folds.items()
    ]
    blend = 0.75 * folds["lightgbm"] + 0.25 * folds["tree"]
    weights = {"lightgbm": 0.75, "tree": 0.25}
    board.append(Candidate("blend", "ensemble", measured(y, blend, threshold), {}, weights, 0, 0.4))
    board.sort(key=lambda each: each.metrics[metric], reverse=metric != "log_loss")
    trials = tuple(Trial(i, "lightgbm", {}, None if i % 4 == 0 else 0.1, 1.2, 3) for i in range(8))
    options = {"seed": 7, "budget": 60, "api_key": "hunter2", "learners": ["lightgbm"]}
    return TrainingResult(
        infer_contract(data.features, data.labels, name=data.name), model, None, None,
        tuple(board), trials, metric, threshold, test, forward, "", importance,
        {"search": 61.3, "refit": 12.2}, options,
        dependence=partial_dependence(
            model.predict_proba, data.features.iloc[held_out], importance["feature"].tolist()[:2]
        ),
    )  # fmt: skip


def rows_of_calls(n: int = 600) -> pd.DataFrame:
    """Rows with the columns of the bank data whose classes drift with their position."""
    rng = np.random.default_rng(1)
    duration = rng.integers(0, 900, n)
    score = duration / 300 - 2 + np.linspace(0, 1.5, n) + rng.normal(0, 1, n)
    return pd.DataFrame(
        {
            "campaign": rng.integers(1, 9, n),
            "contact": rng.choice(["cellular", "O'Hare", "unknown"], n),
            "duration": duration,
            "month": rng.choice(["may", "jun", "jul"], n),
            "pdays": rng.integers(-1, 300, n),
            "previous": rng.integers(0, 4, n),
            "poutcome": rng.choice(["failure", "success", "unknown"], n),
            "balance": rng.normal(1000, 400, n).round(2),
            "y": np.where(score > 0.6, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def bank(folder: Path) -> Dataset:
    rows_of_calls().to_csv(folder / "calls.csv", index=False)
    return load(folder / "calls.csv", "y")


@pytest.fixture(scope="module")
def result(bank: Dataset) -> TrainingResult:
    return trained(bank, "roc_auc")


@pytest.fixture(scope="module")
def evil(folder: Path) -> tuple[TrainingResult, Dataset]:
    """Three classes, and markup wherever a file can carry text."""
    frame = rows_of_calls().rename(columns={"balance": EVIL, "contact": QUOTES})
    frame["y"] = pd.qcut(frame["duration"] + frame["campaign"], 3, labels=["a", EVIL, "{{ 7*7 }}"])
    frame.to_csv(folder / "evil.csv", index=False)
    data = load(folder / "evil.csv", "y", drop=["duration"])
    data = replace(data, name="<b>evil</b>")
    return trained(data, "log_loss"), data


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """What a browser would see: elements with their text, tables as lists of rows."""

    elements: list[Element] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)
        if tag == "tr" and self.tables:
            self.tables[next(reversed(self.tables))].append([])

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def handle_endtag(self, tag: str) -> None:
        element = self.open.pop()
        assert element.tag == tag, f"<{element.tag}> is closed by </{tag}>"
        text = " ".join(element.text.split())
        if tag == "caption":
            self.tables[text] = []
        elif tag in ("th", "td"):
            self.tables[next(reversed(self.tables))][-1].append(text)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def table(self, words: str) -> list[list[str]]:
        (found,) = [rows for caption, rows in self.tables.items() if words in caption]
        return found

    @property
    def text(self) -> str:
        return " ".join(self.all("body")[0].text.split())


def read(files: ReportFiles) -> Page:
    page = Page()
    page.feed(files.html.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def written(result: TrainingResult, bank: Dataset, folder: Path) -> ReportFiles:
    return write(result, bank, folder / "full", endpoint=ENDPOINT, model=MODEL, steps=STEPS)


@pytest.fixture(scope="module")
def page(written: ReportFiles) -> Page:
    return read(written)


@pytest.fixture(scope="module")
def evil_page(evil: tuple[TrainingResult, Dataset], written: ReportFiles, folder: Path) -> Page:
    extras, versions = {"Latency <p95>": written.pictures["roc"]}, {"scikit-learn": "9.9"}
    return read(write(*evil, folder / "evil", extras=extras, environment=versions))


def test_every_picture_is_inside_and_beside_the_page(written: ReportFiles, page: Page) -> None:
    inside = []
    for image in page.all("img"):
        head, _, body = image.attributes["src"].partition(",")
        assert head == "data:image/png;base64"
        png = base64.b64decode(body, validate=True)
        with Image.open(io.BytesIO(png)) as opened:
            opened.verify()
            size = (int(image.attributes["width"]), int(image.attributes["height"]))
            assert opened.size == size
        inside.append(png)
    assert sorted(inside) == sorted(path.read_bytes() for path in written.pictures.values())
    assert set(written.pictures) == {
        "splits", "leaderboard", "roc", "pr", "calibration", "confusion", "confusion_forward",
        "scores", "gain", "lift", "importance", "dependence_1", "dependence_2",
    }  # fmt: skip
    assert {path.name for path in written.html.parent.iterdir()} == {
        "report.html", "predictions.csv", "model-card.html", "model-card.md",
        *(f"{name}.png" for name in written.pictures),
    }  # fmt: skip


def test_the_page_loads_nothing(page: Page, written: ReportFiles) -> None:
    beside = {path.name for path in written.html.parent.iterdir()}
    for element in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            value = element.attributes.get(name, "")
            link = element.tag == "a" and value in beside
            assert value == "" or link or value.startswith(("data:", "#")), (element.tag, value)
        assert {"link", "iframe", "object", "embed", "base"}.isdisjoint(
            e.tag for e in page.elements
        )
    (style,) = page.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    policy = [meta.attributes.get("content", "") for meta in page.all("meta")]
    assert any(content.startswith("default-src 'none'") for content in policy)


def test_the_page_can_be_read_without_seeing(page: Page) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch("h[1-6]", e.tag)]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(len(image.attributes["alt"]) > 30 for image in page.all("img"))
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    links = {link.attributes["href"] for link in page.all("a")}
    assert {link[1:] for link in links if link.startswith("#")} == set(ids)
    assert links - {f"#{each}" for each in ids} == {"predictions.csv", "model-card.html"}


def test_the_headline(page: Page, result: TrainingResult, bank: Dataset) -> None:
    assert page.all("h1")[0].text == "bank version 3"
    assert f"{bank.n_rows} rows, 8 columns, target y" in page.text
    tiles = " ".join(tile.text for tile in page.all("li"))
    auc, accuracy = result.test.metrics["roc_auc"], result.test.metrics["accuracy"]
    assert f"{auc.value:.3f}" in tiles
    assert f"95% interval {auc.low:.3f} – {auc.high:.3f}" in tiles
    assert f"{100 * accuracy.value:.1f}%" in tiles
    assert f"majority baseline {100 * result.test.baseline['accuracy']:.1f}%" in tiles
    assert result.best.name in tiles
    assert result.forward is not None
    later = 100 * np.mean(result.forward.labels == 1)
    assert f"{later:.1f}% in the later ones" in page.text


def test_estimates_are_those_of_the_result(page: Page, result: TrainingResult) -> None:
    assert result.forward is not None
    head, *rows = page.table("How the recipe did")
    assert [head[0], head[1], head[4]] == ["Metric", "Random split", "Forward in time"]
    shown = {row[0]: row[1:] for row in rows}
    assert rows[0][0] == "ROC AUC"
    assert set(shown) == {measure(name).label for name in result.test.metrics}
    for name in result.test.metrics:
        wanted = []
        for found in (result.test, result.forward):
            value = found.metrics[name]
            wanted += [f"{value.value:.3f}", f"{value.low:.3f} – {value.high:.3f}"]
            wanted.append(f"{found.baseline[name]:.3f}")
        assert shown[measure(name).label] == wanted


def test_the_leaderboard_names_every_candidate(page: Page, result: TrainingResult) -> None:
    head, *rows = page.table("Candidates, best first by ROC AUC")
    assert [row[0] for row in rows] == [each.name for each in result.leaderboard]
    place = head.index("ROC AUC")
    assert [row[place] for row in rows] == [
        f"{each.metrics['roc_auc']:.4f}" for each in result.leaderboard
    ]
    weights = page.table("What the ensembles are made of")
    assert weights[1:] == [
        ["blend", "lightgbm", "0.750", "75.0%"],
        ["blend", "tree", "0.250", "25.0%"],
    ]
    assert "8 configurations of 1 learner; 2 were stopped early or failed" in page.text


def test_figures_by_class_come_from_the_confusion_matrix(
    page: Page, result: TrainingResult
) -> None:
    truth, given = result.test.labels, result.test.probabilities[:, 1] >= 0.31
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(truth, given)
    assert page.table("By class, random split")[1:] == [
        [name, f"{rows[k]}", f"{(given == k).sum()}", f"{precision[k]:.3f}", f"{recall[k]:.3f}",
         f"{f1[k]:.3f}"]
        for k, name in enumerate(("no", "yes"))
    ]  # fmt: skip
    assert "at least 0.310, the decision threshold stored with the model" in page.text


def test_a_dropped_column_is_shown(evil_page: Page) -> None:
    assert "Dropped before training: “duration”." in evil_page.text
    assert not [e for e in evil_page.elements if e.attributes.get("class") == "warning"]


def test_text_from_the_data_is_text(evil_page: Page, evil: tuple[TrainingResult, Dataset]) -> None:
    assert len(evil_page.all("script")) == 1
    assert "alert" not in evil_page.all("script")[0].text
    assert all("onerror" not in element.attributes for element in evil_page.elements)
    assert "b" not in {element.tag for element in evil_page.elements}
    assert EVIL in evil_page.text
    assert QUOTES in evil_page.text
    assert "{{ 7*7 }}" in evil_page.text
    assert "<b>evil</b>" in evil_page.all("h1")[0].text
    assert len(evil_page.all("img")) == 13


def test_many_classes_are_shown_each_against_the_rest(
    evil_page: Page, evil: tuple[TrainingResult, Dataset]
) -> None:
    result, _ = evil
    alts = [image.attributes["alt"] for image in evil_page.all("img")]
    (roc,) = [alt for alt in alts if alt.startswith("ROC")]
    for k, name in enumerate(result.contract.classes):
        area = metrics.roc_auc_score(result.test.labels == k, result.test.probabilities[:, k])
        assert f"{name} {area:.3f}" in roc
    assert "The class with the highest probability is predicted." in evil_page.text
    assert [row[0] for row in evil_page.table("By class, random split")[1:]] == list(
        result.contract.classes
    )
    assert evil_page.table("Candidates, best first by Log loss")[1][0] == result.best.name


def test_without_forward_rows_and_with_one_class_among_the_test_rows(
    result: TrainingResult, bank: Dataset, tmp_path: Path
) -> None:
    nan = Interval(float("nan"), float("nan"), float("nan"))
    one = replace(
        result.test,
        labels=np.zeros_like(result.test.labels),
        confusion=np.array([[result.test.n_test, 0], [0, 0]]),
        metrics={**result.test.metrics, "roc_auc": nan},
    )
    note = "the order of the rows is not known"
    files = write(replace(result, test=one, forward=None, forward_note=note), bank, tmp_path)
    page = read(files)
    assert {"roc", "pr", "confusion_forward"}.isdisjoint(files.pictures)
    assert page.table("How the recipe did")[1][:3] == ["ROC AUC", "–", "–"]
    assert "The order of the rows is not known." in page.text
    assert "Forward in time" not in page.text
    assert "Next month" not in page.text


def test_the_commands_shown_would_work(page: Page, bank: Dataset, result: TrainingResult) -> None:
    blocks = [block.text for block in page.all("pre")]
    curl = next(block for block in blocks if "curl" in block)
    words = shlex.split(curl.replace("\\\n", " "), comments=True)
    assert "URI=http://127.0.0.1:5001/score" in words
    assert "Authorization: Bearer $KEY" in words
    body = words[words.index("-d") + 1]
    request = parse(result.contract, body.encode(), content_type="application/json", route="score")
    assert request.n_rows == 1
    python = ast.parse(next(block for block in blocks if "import requests" in block))
    values: dict[str, Any] = {}
    for statement in python.body:
        if isinstance(statement, ast.Assign) and not isinstance(statement.value, ast.Call):
            exec(compile(ast.Module([statement], []), "page", "exec"), values)
    assert values["uri"] == ENDPOINT.scoring_uri
    again = parse(
        result.contract, json.dumps(values["body"]).encode(), content_type="application/json",
        route="score",
    )  # fmt: skip
    assert again.columns == request.columns
    (score,) = [shlex.split(block) for block in blocks if block.startswith("twinml score ")]
    # click raises UsageError for an option that the verb does not have.
    assert score_verb.make_context("score", score[2:]).params["data"] == "rows.csv"
    assert "twinml status --show-keys" in page.text


def test_without_an_endpoint_the_page_says_how_to_deploy(evil_page: Page) -> None:
    assert "This run did not deploy the model." in evil_page.text
    words = shlex.split(evil_page.all("pre")[0].text)
    assert words[:2] == ["twinml", "deploy"]
    assert deploy_verb.make_context("deploy", words[2:]).params["reference"] == "<b>evil</b>"


def test_steps_and_origin(page: Page, bank: Dataset, result: TrainingResult) -> None:
    assert "hunter2" not in page.text
    assert ["budget", "60"] in page.table("Options of the run")
    assert page.table("Steps of the run, 93.2 s in all")[1:] == [
        ["1", "data", "0.8 s", "600 rows"],
        ["2", "train", "92.4 s", "blend wins"],
    ]
    identity = dict(page.table("Identity")[1:])
    assert identity["data digest (SHA-256)"] == bank.digest
    assert identity["model digest"] == MODEL.digest
    assert identity["contract digest"] == result.contract.digest
    assert identity["seed"] == "7"
    assert "scikit-learn" in dict(page.table("Versions")[1:])
    assert str(bank.source.parent) not in page.text


def test_every_column_of_the_data_is_profiled(page: Page, bank: Dataset) -> None:
    assert {row[0] for row in page.table("Columns of ")[1:]} >= set(bank.features.columns)
    assert all(finding.message[1:] in page.text for finding in bank.findings)


def test_pictures_and_versions_that_are_given_are_shown(
    evil_page: Page, written: ReportFiles
) -> None:
    (image,) = [e for e in evil_page.all("img") if e.attributes["alt"] == "Latency <p95>."]
    uri = "data:image/png;base64," + base64.b64encode(written.pictures["roc"].read_bytes()).decode()
    assert image.attributes["src"] == uri
    assert evil_page.table("Versions")[1:] == [["scikit-learn", "9.9"]]
