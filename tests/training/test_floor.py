"""No result is worse out of fold than LightGBM's own defaults on all rows, whatever the budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.metrics import r2_score

from twinml.data import Dataset, bundled, load
from twinml.training import TrainingOptions, TrainingResult, _budget, _search, _train, train
from twinml.training import _crossvalidation as crossvalidation
from twinml.training._found import Found
from twinml.training._preprocessing import encoder
from twinml.training._reckoning import Reckoning
from twinml.training.learners import LEARNERS
from twinml.training.metrics import log_loss
from twinml.training.splits import folds_of
from twinml.training.tasks import predictions, task_of


def of_sklearn(name: str) -> pd.DataFrame:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.assign(target="c" + frame["target"].astype(str))


def table(X: NDArray[Any], target: NDArray[Any]) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{n}" for n in range(X.shape[1])]).assign(target=target)


def of_classes(rows: int, features: int, **how: Any) -> pd.DataFrame:
    X, y = datasets.make_classification(rows, features, **how)
    return table(X, np.array([f"c{k}" for k in y]))


def generated(rows: int, classes: int) -> pd.DataFrame:
    return of_classes(
        rows, 12, n_informative=8, n_classes=classes, n_clusters_per_class=1, random_state=3
    )


def bank(rows: int) -> pd.DataFrame:
    frame = load(bundled(), "y").frame.rename(columns={"y": "target"})
    return frame.sample(rows, random_state=0)


def words() -> pd.DataFrame:
    return bank(3_000).select_dtypes(exclude="number")


def skewed() -> pd.DataFrame:
    X, y = datasets.make_friedman1(1_200, 8, noise=1.0, random_state=2)
    return table(X, np.exp(y / 5.0))


SETS = {
    "breast_cancer": (lambda: of_sklearn("breast_cancer"), 2.0),
    "wine": (lambda: of_sklearn("wine"), 2.0),
    "nine_classes": (lambda: generated(1_000, 9), 4.0),
    "thirty_two_classes": (lambda: generated(640, 32), 4.0),
    "bank": (lambda: bank(4_000), 3.0),
    "wide": (lambda: of_classes(300, 200, n_informative=6, random_state=5), 2.0),
    "one_of_fifty": (lambda: of_classes(3_000, 8, weights=[0.98], flip_y=0.0, random_state=4), 2.0),
    "words": (words, 2.0),
    "diabetes": (lambda: datasets.load_diabetes(as_frame=True).frame, 2.0),
    "skewed": (skewed, 2.0),
}


def defaults(dataset: Dataset, result: TrainingResult) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the truth and LightGBM's defaults' answers on the folds that the search judged by."""
    task = task_of(dataset.labels, dataset.task)
    rows = np.setdiff1d(np.arange(dataset.n_rows), result.test.rows)
    y = task.truth(dataset.labels)[rows]
    frame = dataset.features.iloc[rows]
    X = np.asarray(encoder(frame).fit_transform(frame), dtype=np.float64)
    truth, given = [], []
    copies = dataset.copies()
    folds = folds_of(task.strata(y), 5, 0, None if copies is None else copies[rows])
    for learn, judge in folds[: result.trials[0].folds]:
        kind = LGBMRegressor if dataset.task == "regression" else LGBMClassifier
        model = kind(n_jobs=1, verbose=-1, random_state=0, deterministic=True, force_row_wise=True)
        given.append(predictions(model.fit(X[learn], y[learn]), X[judge]))
        truth.append(y[judge])
    return np.concatenate(truth), np.concatenate(given)


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_worse_than_the_defaults(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The seconds are those of this process alone: what else the machine does is no matter.
    clock = SimpleNamespace(monotonic=time.process_time, thread_time=time.thread_time)
    for module in (_search, crossvalidation, _budget, _train):
        monkeypatch.setattr(module, "time", clock)
    make, budget = SETS[name]
    path = tmp_path / f"{name}.parquet"
    make().to_parquet(path)
    dataset = load(path, "target")
    metric = "r2_score" if dataset.task == "regression" else "accuracy"
    found = train(dataset, TrainingOptions(budget=budget, metric=metric))
    assert not [note for note in found.notes if "sample" in note]
    truth, given = defaults(dataset, found)
    if dataset.task == "regression":
        assert found.best.metrics["r2_score"] >= r2_score(truth, given[:, 0]) - 1e-4
    else:
        assert found.best.metrics["log_loss"] <= log_loss(truth, given) + 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("spare", "longer"), [(1e-9, True), (60.0, False), (-1.0, False)])
def test_where_nothing_else_has_time_the_floor_goes_on(
    spare: float, longer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By more rounds than the defaults have; what nothing may be worse than stays as it is."""
    monkeypatch.setattr(_search, "_FEW_ROWS", 999)
    # Without noise every round gains.
    X, y = datasets.make_friedman1(1_500, 6, noise=0.0, random_state=1)
    task = task_of(y, "regression")
    clock = _budget.Clock(60.0)

    class Left(Reckoning):
        def refitting(self, found: Sequence[Found], slowness: float) -> float:
            return clock.left - spare

    search = _search.Search(
        task, X, y, np.ones(len(y)), folds_of(task.strata(y), 3, 0), LEARNERS[:1],
        task.shape(0, 0), clock, Left(1_500, 1_000, 3, 1_500, [], 1, 2, 60.0),
        jobs=2, trials=None, progress=lambda progress: None,
    )  # fmt: skip
    assert search.measure_floor() is None
    one = search.found[0]
    assert one.best is not None
    assert one.out_of_fold is not None
    assert search.floor is not None
    assert (one.best["n_estimators"] > 100) == longer
    learn, judge = search.folds[0]
    defaults = LGBMRegressor(
        n_jobs=1, verbose=-1, random_state=0, deterministic=True, force_row_wise=True
    )
    given = predictions(defaults.fit(X[learn], y[learn]), X[judge])
    np.testing.assert_allclose(search.floor[judge], given, rtol=1e-9)
    assert task.loss(y[judge], one.out_of_fold[judge]) <= task.loss(y[judge], given)


def test_rows_are_sampled_for_the_search_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold of the floor that is cut by the clock: fewer rows to search on, all to learn from."""
    monkeypatch.setattr(_search, "FLOOR_SHARE", 1e-9)
    monkeypatch.setattr(_search, "_FEW_ROWS", 3_199)
    path = tmp_path / "t.parquet"
    generated(4_000, 2).to_parquet(path)
    dataset = load(path, "target")
    found = train(dataset, TrainingOptions(budget=0.5))
    assert any("sample of" in note for note in found.notes)
    assert found.trained_on is not None
    assert len(found.trained_on) == 4_000
    assert found.test.n_train == 3_200
    assert "sample of" in " ".join(found.notes)
