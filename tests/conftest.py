"""What all tests share: a state folder of their own and a small, honest data set."""

from __future__ import annotations

import signal
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from twinml import settings

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training import TrainingResult

settings.quiet_libraries()

# In a background shell SIGINT is ignored, and what the tests start would inherit that: then no
# test of Ctrl-C could reach it.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that take minutes, the longest first, then the folders whose files take long: a run on
# several cores that kept such a file for the end would wait for it alone.
LONG = ("test_rehearsal.py", "test_walkthrough.py", "emulator", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that take longest first; everything else keeps its order."""

    def rank(item: pytest.Item) -> int:
        names = (item.path.name, item.path.parent.name)
        return min((LONG.index(name) for name in names if name in LONG), default=len(LONG))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from the state of this checkout and of other tests."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TWINML_HOME", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def make_table(n: int = 600, *, classes: int = 2, seed: int = 0) -> pd.DataFrame:
    """Return a table with every kind of column, and a target that it can partly predict."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n)
    income = rng.normal(30_000, 8_000, n).round(2)
    job = rng.choice(["admin", "technician", "retired", "student"], n, p=[0.4, 0.3, 0.2, 0.1])
    member = rng.random(n) < 0.3
    signal = (
        (age - 50) / 15
        + (income - 30_000) / 10_000
        + np.where(job == "student", 1.5, 0)
        + member * 0.8
    )
    noisy = signal + rng.normal(0, 1.0, n)
    frame = pd.DataFrame({"age": age, "income": income, "job": job, "member": member})
    frame.loc[rng.random(n) < 0.05, "income"] = np.nan
    cuts = np.quantile(noisy, np.linspace(0, 1, classes + 1)[1:-1])
    names = np.array(["no", "yes"] if classes == 2 else [f"c{i}" for i in range(classes)])
    frame["y"] = names[np.digitize(noisy, cuts)]
    return frame


@pytest.fixture(scope="session")
def table_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a binary data set as a file."""
    path = tmp_path_factory.mktemp("data") / "customers.csv"
    make_table().to_csv(path, index=False, lineterminator="\n")
    return path


@pytest.fixture(scope="session")
def three_classes_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set with three classes as a file."""
    path = tmp_path_factory.mktemp("data") / "segments.csv"
    make_table(classes=3).to_csv(path, index=False, lineterminator="\n")
    return path


@pytest.fixture(scope="session")
def described_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model directory as training makes it, with what describes its training rows.

    Two boosted learners and a forest vote on the columns of ``make_table``.
    """
    from twinml import model
    from twinml.contract import infer_contract
    from twinml.training._ensemble import Vote
    from twinml.training._recipe import Recipe
    from twinml.training.learners import LEARNERS
    from twinml.training.tasks import Classification

    table = make_table(1500, seed=3)
    features, labels = table.drop(columns="y"), table["y"]
    configs = {
        "LightGBM": {"n_estimators": 15, "num_leaves": 8, "min_child_samples": 5},
        "XGBoost": {"n_estimators": 15, "max_leaves": 8},
        "RandomForest": {"n_estimators": 10},
    }
    members = {one.name: (one, configs[one.name]) for one in LEARNERS if one.name in configs}
    truth = (labels == "yes").to_numpy().astype(np.int64)
    task = Classification(classes=("no", "yes"))
    fitted = Recipe(members, task, seed=0).fit(features, truth, np.ones(len(truth)), jobs=1)
    vote = Vote({"LightGBM": 0.5, "XGBoost": 0.3, "RandomForest": 0.2})
    pipeline = fitted.pipeline(vote, 0.4)
    contract = infer_contract(features, labels, name="customers")
    directory = tmp_path_factory.mktemp("described") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        model.save(pipeline, contract, directory, training_rows=table)
    return directory


@pytest.fixture(scope="session")
def diabetes_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return scikit-learn's diabetes data as a file: 442 rows, the target a number."""
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    path = tmp_path_factory.mktemp("data") / "diabetes.csv"
    # A column of words, so that the encoder has codes as well.
    frame["sex"] = frame["sex"].map({1.0: "one", 2.0: "two"})
    frame.to_csv(path, index=False, lineterminator="\n")
    return path


@dataclass(frozen=True)
class TrainedRegression:
    """A regression as training leaves it: shared by all tests of the chain."""

    dataset: Dataset
    result: TrainingResult
    directory: Path


@pytest.fixture(scope="session")
def regression(diabetes_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRegression:
    """Return a small model of the diabetes data, trained and saved once."""
    from twinml.data import load
    from twinml.registry import training_run
    from twinml.training import TrainingOptions

    dataset = load(diabetes_csv, "target")
    folder = tmp_path_factory.mktemp("regression")
    options = TrainingOptions(trials=4, learners=("LightGBM", "RandomForest", "Ridge"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        result = training_run.train_into(dataset, options, folder)
    return TrainedRegression(dataset, result, folder / "model")
