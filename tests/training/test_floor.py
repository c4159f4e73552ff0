"""No result is worse out of fold than LightGBM's own defaults on all rows, whatever the budget."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn import datasets

from twinml.data import Dataset, bundled, load
from twinml.training import TrainingOptions, TrainingResult, _budget, _search, _train, train
from twinml.training import _crossvalidation as crossvalidation
from twinml.training._preprocessing import encoder
from twinml.training.metrics import log_loss
from twinml.training.splits import folds_of


def of_sklearn(name: str) -> pd.DataFrame:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.assign(target="c" + frame["target"].astype(str))


def generated(rows: int, classes: int) -> pd.DataFrame:
    X, y = datasets.make_classification(
        rows, 12, n_informative=8, n_classes=classes, n_clusters_per_class=1, random_state=3
    )
    return pd.DataFrame(X, columns=[f"x{n}" for n in range(12)]).assign(target=[f"c{k}" for k in y])


def bank(rows: int) -> pd.DataFrame:
    frame = load(bundled(), "y").frame.rename(columns={"y": "target"})
    return frame.sample(rows, random_state=0)


SETS = {
    "breast_cancer": (lambda: of_sklearn("breast_cancer"), 2.0),
    "wine": (lambda: of_sklearn("wine"), 2.0),
    "nine_classes": (lambda: generated(1_000, 9), 4.0),
    "thirty_two_classes": (lambda: generated(640, 32), 4.0),
    "bank": (lambda: bank(4_000), 3.0),
}


def default_loss(dataset: Dataset, result: TrainingResult) -> float:
    """Return the log loss of LightGBM's defaults on the folds that the search judged by."""
    rows = np.setdiff1d(np.arange(dataset.n_rows), result.test.rows)
    labels = np.unique(dataset.labels, return_inverse=True)[1].astype(np.int64)[rows]
    frame = dataset.features.iloc[rows]
    X = np.asarray(encoder(frame).fit_transform(frame), dtype=np.float64)
    truth, given = [], []
    for learn, judge in folds_of(labels, 5, 0)[: result.trials[0].folds]:
        model = LGBMClassifier(
            n_jobs=1, verbose=-1, random_state=0, deterministic=True, force_row_wise=True
        )
        given.append(model.fit(X[learn], labels[learn]).predict_proba(X[judge]))
        truth.append(labels[judge])
    return log_loss(np.concatenate(truth), np.concatenate(given))


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
    found = train(dataset, TrainingOptions(budget=budget, metric="accuracy"))
    assert not [note for note in found.notes if "sample" in note]
    assert found.best.metrics["log_loss"] <= default_loss(dataset, found) + 1e-4


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
