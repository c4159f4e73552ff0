"""Scoring and searching on a local Spark give what this process gives, to the last bit."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.conftest import make_table
from twinml import model
from twinml.batch import scoring
from twinml.batch import spark as on_spark
from twinml.data import load
from twinml.data import spark_session as spark
from twinml.training import TrainingOptions, train
from twinml_local.batch import TableScorer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(spark.missing() is not None, reason=str(spark.missing())),
]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """Return a session that every test of this file shares: starting one takes seconds."""
    with spark.session("tests", 2) as running:
        yield running


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = make_table(1500, seed=5)
    table["balance"] = table["income"]
    table["owner"] = table["member"]
    table["job"] = table["job"].replace({"student": None, "admin": "admin."})
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    table[["age", "balance", "job", "owner"]].to_csv(path, index_label="id")
    return path


def test_a_file_scored_on_spark_is_the_file_scored_here(
    session: Any, rows: Path, ensemble_directory: Path, tmp_path: Path
) -> None:
    contract = model.load_contract(ensemble_directory)
    given: dict[str, Any] = {"digest": model.digest(ensemble_directory), "chunk_rows": 1000}
    source = scoring.source_for(rows, contract)
    here = scoring.score_file(
        source, contract, TableScorer(ensemble_directory), tmp_path / "here.parquet", **given
    )
    there = on_spark.score_file(
        source, contract, ensemble_directory, tmp_path / "there.parquet", workers=2, **given
    )
    assert (here.form, here.rows, there.engine, there.rows) == ("compiled", 1500, "spark", 1500)
    one, other = pq.read_table(here.out), pq.read_table(there.out)
    assert one.equals(other)  # floats bit for bit, and the order of the rows
    assert one.column_names[:2] == ["id", "age"]
    assert set(one["prediction"].to_pylist()) == {"no", "yes"}
    assert not list(tmp_path.glob("*.parts"))


def test_a_search_on_spark_finds_the_same_model(session: Any, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    make_table(400).to_csv(path, index=False)
    dataset = load(path, "y")
    given: dict[str, Any] = {
        "trials": 4, "seed": 3, "folds": 2, "learners": ("LightGBM", "LogisticRegression"),
    }  # fmt: skip
    here = train(dataset, TrainingOptions(jobs=1, **given))
    there = train(dataset, TrainingOptions(jobs=2, engine="spark", **given))
    assert pickle.dumps(there.pipeline) == pickle.dumps(here.pipeline)
    assert [(t.learner, t.config, t.loss, t.note) for t in sorted_trials(there)] == [
        (t.learner, t.config, t.loss, t.note) for t in sorted_trials(here)
    ]
    assert isinstance(there.pipeline.predict(dataset.features)[0], str)


def sorted_trials(result: Any) -> list[Any]:
    """Return trials by learner; each learner's are in the order of its own search."""
    return sorted(result.trials, key=lambda trial: trial.learner)


def test_a_configuration_that_fails_in_a_worker_says_why(session: Any, tmp_path: Path) -> None:
    from twinml.training._crossvalidation import FoldData, RemoteFailure, judging
    from twinml.training.learner import Shape
    from twinml.training.learners import LEARNERS
    from twinml.training.tasks import Classification

    frame = pd.DataFrame({"a": range(20)}).to_numpy(dtype=float)
    labels = (frame[:, 0] % 2).astype(int)
    folds = [(labels.nonzero()[0], (labels == 0).nonzero()[0])]
    data = FoldData(
        frame, labels, frame[:, 0] + 1, folds, Shape(0, 2, 0), Classification(classes=(0, 1))
    )
    learner = next(one for one in LEARNERS if one.name == "LogisticRegression")
    with (
        judging(TrainingOptions(engine="spark", jobs=1)) as make,
        pytest.raises(RemoteFailure, match="ValueError"),
    ):
        next(make(data)(learner, {"C": 1.0}))  # one class only
