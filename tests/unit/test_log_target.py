"""The logarithm of the target: when it is tried, how it is learned, and the way back."""

from __future__ import annotations

import pickle
import pickletools
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml.explanation.members import explain
from twinml.training._crossvalidation import FoldData
from twinml.training._ensemble import Vote
from twinml.training._recipe import Fitted, Recipe
from twinml.training.learners import LEARNERS, select, suitable
from twinml.training.log_target import Bounds, bounds_of, learned_inside, worth_trying
from twinml.training.tasks import predictions, task_of

# The search has them off: LightGBM has two names for the rows to measure.
pytestmark = pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")

NAMES = [one.name for one in LEARNERS if one.name.endswith("Log")]


@pytest.mark.parametrize(
    ("numbers", "skewness"),
    [
        ([0.0, 0.0, 0.0, 4.0], 2 / 3**0.5),
        ([1.0, 2.0, 3.0], 0.0),
        ([4.0, 4.0, 4.0, 0.0], -2 / 3**0.5),
        ([7.0, 7.0], 0.0),
    ],
)
def test_how_skewed_a_target_is(numbers: list[float], skewness: float) -> None:
    task: Any = task_of(np.array(numbers), "regression")
    assert task.skewness == pytest.approx(skewness)
    # Whatever its unit and its place.
    moved: Any = task_of(np.array(numbers) * 1e6 - 3.0, "regression")
    assert moved.skewness == pytest.approx(skewness, abs=1e-9)
    assert task.shape(3, 5).log_target == worth_trying(min(numbers), skewness)
    assert task.shape(3, 5).largest == max(numbers)


@cache
def skewed() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 400))
    word = rng.choice(["a", "b", "c", "d"], 400)
    y = np.exp(1.0 + x + 0.5 * (word == "b") + 0.2 * rng.normal(size=400))
    return pd.DataFrame({"word": word, "x": x, "z": z}), y


def chosen(name: str) -> tuple[Any, dict[str, Any]]:
    learner = next(one for one in LEARNERS if one.name == name)
    few = {learner.rounds.name: 30} if learner.rounds else {}
    return learner, {**learner.start, **few}


@cache
def fitted() -> Fitted:
    frame, y = skewed()
    members = {name: chosen(name) for name in NAMES}
    return Recipe(members, task_of(y, "regression"), 0).fit(frame, y, np.ones(len(y)), 1)


def test_it_is_a_learner_of_its_own_for_some_targets() -> None:
    assert NAMES == ["LightGBMLog", "XGBoostLog", "RidgeLog"]
    frame, y = skewed()
    X = frame[["x", "z"]].to_numpy()
    regressors = select((), "Regressor")
    assert set(NAMES) <= {one.name for one in regressors}
    assert not set(NAMES) & {one.name for one in select(())}

    def tried(target: np.ndarray) -> set[str]:
        shape = task_of(target, "regression").shape(0, 0)
        return {one.name for one in suitable(regressors, X, shape)} & set(NAMES)

    assert tried(y) == set(NAMES)
    assert tried(-y) == tried(y - y.min() - 1e-3) == tried(np.log(y) + 9.0) == set()


def test_linear_models_come_early_and_forests_last() -> None:
    names = [one.name for one in select((), "Regressor") if one.extra is None]
    assert names == [
        "LightGBM", "Ridge", "RidgeLog", "LightGBMCategorical", "LightGBMExtraTrees", "LightGBMLog",
        "HistGradientBoosting", "XGBoost", "XGBoostLog", "RandomForest", "ExtraTrees",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if name != "RidgeLog"])
def test_losses_of_rounds_are_in_the_targets_unit(name: str) -> None:
    frame, y = skewed()
    X, task = frame[["x", "z"]].to_numpy(), task_of(y, "regression")
    folds = [(np.arange(300), np.arange(300, 400))]
    data = FoldData(X, y, np.ones(400), folds, task.shape(0, 0), task)
    learner, config = chosen(name)
    found = data.fitted(learner, config, 0)
    assert len(found.losses) == 30
    for rounds in (1, 12, 30):
        given = data.predictions(learner, found, 0, rounds)
        assert task.loss(y[300:], given) == pytest.approx(found.losses[rounds - 1], rel=1e-3)
    # What a worker on Spark sends back.
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(data.predictions(learner, again, 0, 30), given)


def test_boosting_stops_where_the_number_gains_nothing() -> None:
    frame, y = skewed()
    X, task = frame[["x", "z"]].to_numpy(), task_of(y, "regression")
    data = FoldData(
        X, y, np.ones(400), [(np.arange(300), np.arange(300, 400))], task.shape(0, 0), task
    )
    learner, config = chosen("LightGBMLog")
    found = data.fitted(learner, {**config, "n_estimators": 1000, "learning_rate": 0.2}, 0)
    assert np.argmin(found.losses) + 1 + 15 == len(found.losses) < 1000


def test_what_is_learned_is_the_logarithm() -> None:
    parts = fitted()
    frame, y = skewed()
    X = np.asarray(parts.encoder.transform(frame), dtype=np.float64)
    for name, member in parts.members.items():
        inside = learned_inside(member)
        assert inside is not None
        bounds = bounds_of(member)
        assert bounds == Bounds(0.0, 2 * y.max())
        np.testing.assert_array_equal(
            member.predict(X), bounds.turned_back(inside.predict(X)), err_msg=name
        )
        residual = np.log1p(y) - np.asarray(inside.predict(X), dtype=np.float64)
        assert abs(residual.mean()) < 0.02
    assert learned_inside(inside) is None


def test_explanations_are_in_the_targets_unit_and_sum_to_the_number() -> None:
    frame, _ = skewed()
    parts = fitted()
    vote = Vote({"LightGBMLog": 0.5, "XGBoostLog": 0.25, "RidgeLog": 0.25})
    pipeline = parts.pipeline(vote)
    found = explain(pipeline, frame.iloc[:60], background=frame)
    assert found.unit == "the target's unit"
    assert found.share == 1.0
    np.testing.assert_allclose(found.score, pipeline.predict(frame.iloc[:60]), rtol=1e-4)
    assert list(np.abs(found.contributions).mean(axis=0).argsort()) == [2, 0, 1]  # z, word, x
    # One member: the same order of features as in logarithms, all stretched alike.
    alone = explain(parts.pipeline(Vote({"LightGBMLog": 1.0})), frame.iloc[:5])
    X = np.asarray(parts.encoder.transform(frame.iloc[:5]), dtype=np.float64)
    learned = learned_inside(parts.members["LightGBMLog"]).predict(X, pred_contrib=True)
    stretch = alone.contributions[:, [1]] / learned[:, [1]]
    np.testing.assert_allclose(alone.contributions, learned[:, :-1] * stretch)
    assert (stretch > 0).all()


def test_the_model_holds_nothing_of_twinml() -> None:
    """So that it loads where twinml is not installed, as ``test_regression`` shows of others."""
    pickled = pickle.dumps(fitted().pipeline(Vote(dict.fromkeys(NAMES, 1 / 3))))
    texts = [str(given) for _, given, _ in pickletools.genops(pickled) if isinstance(given, str)]
    modules = {text.partition(".")[0] for text in texts}
    assert {"sklearn", "lightgbm", "xgboost", "numpy"} <= modules
    assert "twinml" not in modules


def test_members_may_learn_the_number_and_its_logarithm() -> None:
    frame, y = skewed()
    parts = fitted()
    X = np.asarray(parts.encoder.transform(frame), dtype=np.float64)
    given = {name: predictions(one, X)[:, 0] for name, one in parts.members.items()}
    mean = sum(given.values()) / 3
    vote = parts.pipeline(Vote(dict.fromkeys(NAMES, 1 / 3)))
    np.testing.assert_allclose(vote.predict(frame), mean)
    assert np.corrcoef(mean, y)[0, 1] > 0.9
