"""The learners that the search may use: the one place that knows their names and packages.

A further learner is a further entry of ``LEARNERS``, an extra in pyproject.toml where it is
optional, and a reader in ``twinml_local.compiled`` if it is to have a compiled form. What needs to
know which learners there are asks here; importing this module imports none of their libraries.

Every learner starts from a configuration that is good on most tables, so that the first
round alone gives a useful ensemble, and searches from there with FLAML. One has a floor too: its
library's defaults, measured before anything else. All run on one
thread: the search runs several configurations at the same time instead, which uses the
cores better on tables of this size and makes the result independent of their number.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinml.errors import UsageError
from twinml.training import _rounds
from twinml.training._rounds import MOST_ROUNDS
from twinml.training.learner import Build, Config, EstimatorKind, Explainer, Learner, Shape
from twinml.training.log_target import logarithmic, of_logarithm

__all__ = [
    "LEARNERS",
    "MOST_SPLIT",
    "absent",
    "blending",
    "installed",
    "modules",
    "packages",
    "select",
    "splittable",
    "suitable",
]

Matrix: TypeAlias = NDArray[np.float64]
# Columns of texts with more categories are not split by sets of them.
MOST_SPLIT = 256
# Packages whose module has another name.
_MODULES = {"scikit-learn": "sklearn"}


def _of(estimator: str, seed: str = "random_state", **fixed: Any) -> Build:
    """Return a ``build`` of a class, imported when it is first built.

    In its name ``{}`` stands for the kind of estimator. ``fixed`` are its parameters where the
    configuration has no others.
    """

    def build(config: Config, X: Matrix, shape: Shape) -> Any:
        module, _, name = estimator.format(shape.estimator).rpartition(".")
        return getattr(importlib.import_module(module), name)(
            **{**fixed, **config, seed: shape.seed}
        )

    return build


_LIGHTGBM = _of(
    "lightgbm.LGBM{}",
    subsample=0.75,
    subsample_freq=1,
    min_child_weight=1e-7,
    n_jobs=1,
    deterministic=True,
    force_row_wise=True,
    verbose=-1,
)


_LIGHTGBM_START: Config = {
    "n_estimators": 250,
    "learning_rate": 0.04,
    "num_leaves": 50,
    "min_child_samples": 40,
    "colsample_bytree": 1.0,
    "reg_lambda": 1e-3,
}


def _lightgbm_space(tune: Any) -> dict[str, Any]:
    return {
        "learning_rate": tune.loguniform(0.015, 0.2),
        "num_leaves": tune.lograndint(4, 128),
        "min_child_samples": tune.lograndint(5, 300),
        "colsample_bytree": tune.uniform(0.3, 1.0),
        "reg_lambda": tune.loguniform(1e-3, 100.0),
    }


def _lightgbm_categorical(config: Config, X: Matrix, shape: Shape) -> Any:
    # By this name, for by its proper one LightGBM warns although it takes it.
    return _LIGHTGBM({**config, "cat_feature": splittable(X, shape.n_codes)}, X, shape)


def _lightgbm_randomized(config: Config, X: Matrix, shape: Shape) -> Any:
    given = {**config, "extra_trees": True}
    return _on_every_row(given, splittable(X, shape.n_codes), X, shape)


def _on_every_row(config: Config, columns: list[int], X: Matrix, shape: Shape) -> Any:
    """Return LightGBM whose trees see all rows; ``columns`` are split by sets of categories."""
    splits = {"cat_feature": columns} if columns else {}
    return _LIGHTGBM({**config, **splits, "subsample": 1.0, "subsample_freq": 0}, X, shape)


def splittable(X: Matrix, n_codes: int) -> list[int]:
    """Return the columns of codes that are split by sets of categories.

    Two categories have one split either way; more than the compiled form holds stay codes.

    Parameters
    ----------
    X
        Encoded rows, shape (n, p); the first ``n_codes`` columns are codes.
    """
    most = X[:, :n_codes].max(axis=0, initial=-1.0)
    return [column for column in range(n_codes) if 2 <= most[column] < MOST_SPLIT]


def _without_unknown(X: Matrix, shape: Shape) -> Matrix:
    # LightGBM takes what is below zero for this, and says so for each fit.
    codes = np.zeros(X.shape[1], dtype=np.bool_)
    codes[splittable(X, shape.n_codes)] = True
    return np.where(codes & (X < 0), np.nan, X)


def _logistic_regression(config: Config, X: Matrix, shape: Shape) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from twinml.training._preprocessing import linear_features

    return make_pipeline(
        linear_features(X, shape.n_codes), LogisticRegression(**config, max_iter=200, tol=1e-3)
    )


def _ridge(config: Config, X: Matrix, shape: Shape) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    from twinml.training._preprocessing import linear_features

    return make_pipeline(linear_features(X, shape.n_codes), Ridge(**config))


def _tidy_catboost(estimator: Any) -> None:
    metadata = estimator.get_metadata()
    for key in ("model_guid", "train_finish_time"):
        if key in list(metadata.keys()):
            del metadata[key]


def _xgboost_contributions(member: Any, X: Matrix) -> Any:
    import xgboost

    return member.get_booster().predict(xgboost.DMatrix(X), pred_contribs=True, strict_shape=True)


def _catboost_contributions(member: Any, X: Matrix) -> Any:
    import catboost

    return member.get_feature_importance(catboost.Pool(X), type="ShapValues")


_OF_LIGHTGBM = Explainer(
    lambda member, X: member.predict(X, raw_score=True),
    lambda member, X: member.predict(X, pred_contrib=True),
)


def _of_logarithm(one: Learner) -> Learner:
    """Return the regressor of the target's logarithm: see ``twinml.training.log_target``."""
    return replace(
        one,
        name=f"{one.name}Log",
        build=logarithmic(one.build),
        rounds=of_logarithm(one.rounds) if one.rounds else None,
        floor=None,
        kinds=("Regressor",),
        suits=lambda X, shape: shape.log_target,
        lacks="no use for the logarithm: the target is below zero, or hardly skewed",
    )


def _boosting_work(rounds: str, leaves: Callable[[Config], float]) -> Callable[[Config], float]:
    # Histograms cost the same at every leaf's parent, the rest grows with the leaves.
    return lambda config: float(config.get(rounds, MOST_ROUNDS)) * (8.0 + leaves(config))


def _forest_work(config: Config) -> float:
    return (
        float(config["n_estimators"])
        * float(config["max_features"])
        * float(config.get("max_samples", 1.0))
        * float(np.log2(2.0 + 20_000.0 / config["min_samples_leaf"]))
    )


_CATEGORICAL = Learner(
    "LightGBMCategorical",
    _lightgbm_categorical,
    lambda tune: {
        **_lightgbm_space(tune),
        "cat_smooth": tune.loguniform(1.0, 100.0),
        "min_data_per_group": tune.lograndint(10, 300),
    },
    {**_LIGHTGBM_START, "cat_smooth": 10.0, "min_data_per_group": 100},
    _boosting_work("n_estimators", lambda config: float(config["num_leaves"])),
    leaf="min_child_samples",
    rounds=_rounds.LIGHTGBM,
    packages=("lightgbm", "scikit-learn"),
    automl="LightGBM",
    explainer=_OF_LIGHTGBM,
    suits=lambda X, shape: bool(splittable(X, shape.n_codes)),
    lacks=f"nothing to split: no column of texts has 3 to {MOST_SPLIT} values",
    seen=_without_unknown,
)
# Of each column and node one threshold is tried, drawn at random: alone that is about as good as
# the others, in a vote it errs elsewhere.
_RANDOMIZED = replace(
    _CATEGORICAL,
    name="LightGBMExtraTrees",
    build=_lightgbm_randomized,
    space=_lightgbm_space,
    start={**_LIGHTGBM_START, "learning_rate": 0.05, "min_child_samples": 20},
    suits=lambda X, shape: True,
    lacks="",
)
_XGBOOST = Learner(
    "XGBoost",
    _of("xgboost.XGB{}", subsample=0.65, tree_method="hist", n_jobs=1, verbosity=0),
    lambda tune: {
        "learning_rate": tune.loguniform(0.015, 0.2),
        "max_depth": tune.randint(2, 9),
        "min_child_weight": tune.loguniform(1e-2, 100.0),
        "colsample_bytree": tune.uniform(0.3, 1.0),
        "reg_lambda": tune.loguniform(1e-2, 100.0),
    },
    {
        "n_estimators": 150,
        "learning_rate": 0.08,
        "max_depth": 6,
        "min_child_weight": 1e-2,
        "colsample_bytree": 0.9,
        "reg_lambda": 1e-2,
    },
    _boosting_work("n_estimators", lambda config: 2.0 ** min(config["max_depth"], 6)),
    rounds=_rounds.XGBOOST,
    packages=("xgboost", "scikit-learn"),
    automl="XGBoost{}",
    explainer=Explainer(
        lambda member, X: member.predict(X, output_margin=True), _xgboost_contributions
    ),
)
_LINEAR = Learner(
    "Ridge",
    _ridge,
    lambda tune: {"alpha": tune.loguniform(1e-3, 1e3)},
    {"alpha": 1.0},
    lambda config: 1.0,
    automl="ElasticNet",
    kinds=("Regressor",),
)


def blending(n_columns: int) -> Learner:
    """Return what blends a stack by boosting: its rows begin with ``n_columns`` of the members."""

    def build(config: Config, X: Matrix, shape: Shape) -> Any:
        codes = [n_columns + one for one in splittable(X[:, n_columns:], shape.n_codes)]
        return _on_every_row(config, codes, X, shape)

    def seen(X: Matrix, shape: Shape) -> Matrix:
        return np.hstack([X[:, :n_columns], _without_unknown(X[:, n_columns:], shape)])

    start = {"n_estimators": MOST_ROUNDS, "learning_rate": 0.04, "num_leaves": 15}
    return replace(
        _CATEGORICAL,
        name="LightGBM",
        build=build,
        space=lambda tune: {},
        start={**_LIGHTGBM_START, **start, "min_child_samples": 20, "colsample_bytree": 0.6},
        suits=lambda X, shape: True,
        lacks="",
        seen=seen,
    )


# In the order of the first round when a number of trials is given: the most useful first.
LEARNERS: tuple[Learner, ...] = (
    Learner(
        "LightGBM",
        _LIGHTGBM,
        _lightgbm_space,
        _LIGHTGBM_START,
        _boosting_work("n_estimators", lambda config: float(config["num_leaves"])),
        leaf="min_child_samples",
        rounds=_rounds.LIGHTGBM,
        floor={
            "n_estimators": 100,
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_child_samples": 20,
            "min_child_weight": 1e-3,
            "colsample_bytree": 1.0,
            "reg_lambda": 0.0,
            "subsample": 1.0,
            "subsample_freq": 0,
        },
        packages=("lightgbm", "scikit-learn"),
        automl="LightGBM",
        explainer=_OF_LIGHTGBM,
    ),
    _CATEGORICAL,
    _RANDOMIZED,
    replace(_of_logarithm(_CATEGORICAL), name="LightGBMLog"),
    Learner(
        "RandomForest",
        _of("sklearn.ensemble.RandomForest{}", n_jobs=1),
        lambda tune: {
            "n_estimators": tune.lograndint(60, 300),
            "min_samples_leaf": tune.lograndint(1, 60),
            "max_features": tune.uniform(0.1, 1.0),
            "max_samples": tune.uniform(0.3, 0.95),
        },
        {"n_estimators": 120, "min_samples_leaf": 5, "max_features": 0.4, "max_samples": 0.5},
        _forest_work,
        trees="n_estimators",
        automl="RandomForest",
    ),
    Learner(
        "HistGradientBoosting",
        _of("sklearn.ensemble.HistGradientBoosting{}", early_stopping=False),
        lambda tune: {
            "max_iter": tune.lograndint(50, 500),
            "learning_rate": tune.loguniform(0.01, 0.2),
            "max_leaf_nodes": tune.lograndint(4, 64),
            "min_samples_leaf": tune.lograndint(5, 300),
            "l2_regularization": tune.loguniform(1e-3, 100.0),
            "max_features": tune.uniform(0.3, 1.0),
        },
        {
            "max_iter": 120,
            "learning_rate": 0.06,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 40,
            "l2_regularization": 1e-3,
            "max_features": 1.0,
        },
        _boosting_work("max_iter", lambda config: float(config["max_leaf_nodes"])),
        automl="GradientBoosting",
    ),
    _XGBOOST,
    _of_logarithm(_XGBOOST),
    Learner(
        "ExtraTrees",
        _of("sklearn.ensemble.ExtraTrees{}", bootstrap=True, n_jobs=1),
        lambda tune: {
            "n_estimators": tune.lograndint(60, 300),
            "min_samples_leaf": tune.lograndint(1, 60),
            "max_features": tune.uniform(0.1, 1.0),
            "max_samples": tune.uniform(0.3, 0.95),
        },
        {"n_estimators": 100, "min_samples_leaf": 4, "max_features": 0.7, "max_samples": 0.7},
        _forest_work,
        trees="n_estimators",
        automl="ExtremeRandomTrees",
    ),
    Learner(
        "LogisticRegression",
        _logistic_regression,
        lambda tune: {"C": tune.loguniform(1e-3, 100.0)},
        {"C": 0.3},
        lambda config: 1.0,
        automl="LogisticRegression",
        kinds=("Classifier",),
    ),
    _LINEAR,
    _of_logarithm(_LINEAR),
    Learner(
        "CatBoost",
        _of(
            "catboost.CatBoost{}",
            seed="random_seed",
            thread_count=1,
            allow_writing_files=False,
            verbose=False,
        ),
        lambda tune: {
            "learning_rate": tune.loguniform(0.015, 0.2),
            "depth": tune.randint(3, 8),
            "l2_leaf_reg": tune.loguniform(0.5, 50.0),
        },
        {"iterations": 250, "learning_rate": 0.08, "depth": 6, "l2_leaf_reg": 3.0},
        lambda config: (
            float(config.get("iterations", MOST_ROUNDS)) * (16.0 + 2.0 ** config["depth"])
        ),
        rounds=_rounds.CATBOOST,
        packages=("catboost",),
        extra="catboost",
        explainer=Explainer(
            lambda member, X: member.predict(X, prediction_type="RawFormulaVal"),
            _catboost_contributions,
        ),
        tidy=_tidy_catboost,
    ),
)


def packages(*, optional: bool = True) -> tuple[str, ...]:
    """Return the packages of all learners, or of those that are always installed, sorted."""
    chosen = (one for one in LEARNERS if optional or one.extra is None)
    return tuple(sorted({package for one in chosen for package in one.packages}))


def modules(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the modules of packages, by default of all learners' packages.

    Examples
    --------
    >>> modules(["lightgbm", "scikit-learn"])
    ('lightgbm', 'sklearn')
    """
    return tuple(_MODULES.get(name, name) for name in (packages() if names is None else names))


def installed() -> tuple[Learner, ...]:
    """Return the learners whose packages are installed."""
    return tuple(
        learner
        for learner in LEARNERS
        if all(importlib.util.find_spec(module) for module in modules(learner.packages))
    )


def absent(kind: EstimatorKind) -> tuple[str, ...]:
    """Return a sentence for each learner of a kind that could be tried if it were installed."""
    there = installed()
    return tuple(
        f"{one.name} was not tried: it is not installed (pip install 'twinml[{one.extra}]')."
        for one in LEARNERS
        if one.extra is not None and kind in one.kinds and one not in there
    )


def select(names: tuple[str, ...], kind: EstimatorKind = "Classifier") -> tuple[Learner, ...]:
    """Return the learners called ``names``, in the order of a kind; all installed for none.

    Raises
    ------
    UsageError
        A name is unknown, of another kind, or its package is not installed.
    """
    chosen = _called(names) if names else tuple(one for one in installed() if kind in one.kinds)
    for one in chosen:
        if kind not in one.kinds:
            raise UsageError(
                f"{one.name} is no {kind.lower()}",
                hint="Choose from "
                f"{', '.join(other.name for other in LEARNERS if kind in other.kinds)}.",
            )
    # Here, so that no configuration is charged for an import, nor the budget: see _train.
    for module in modules({package for learner in chosen for package in learner.packages}):
        importlib.import_module(module)
    return tuple(sorted(chosen, key=_turn_of_numbers)) if kind == "Regressor" else chosen


def _turn_of_numbers(one: Learner) -> int:
    """Return what regressors are sorted by: linear ones cost next to nothing, forests say least.

    The one whose defaults are measured first stays so.
    """
    if one.floor is not None:
        return 0
    if one.work is _forest_work:
        return 3
    return 1 if one.work(one.start) <= 1.0 else 2


def suitable(learners: Sequence[Learner], X: Matrix, shape: Shape) -> tuple[Learner, ...]:
    """Return the learners that have something of their own to try on these rows, in order.

    Raises
    ------
    UsageError
        There is none.
    """
    chosen = tuple(one for one in learners if one.suits(X, shape))
    if not chosen:
        raise UsageError(
            f"{learners[0].name} has {learners[0].lacks}", hint="Name another learner, too."
        )
    return chosen


def _called(names: tuple[str, ...]) -> tuple[Learner, ...]:
    known = {learner.name.lower(): learner for learner in LEARNERS}
    there = {learner.name for learner in installed()}
    chosen = []
    for name in names:
        learner = known.get(name.lower())
        if learner is None:
            raise UsageError(
                f"there is no learner {name!r}",
                hint=f"Choose from {', '.join(learner.name for learner in LEARNERS)}.",
            )
        if learner.name not in there:
            raise UsageError(
                f"{learner.name} needs the package {learner.packages[0]}, which is not installed",
                hint=f"Install it: pip install 'twinml[{learner.extra}]'.",
            )
        chosen.append(learner)
    return tuple(learner for learner in LEARNERS if learner in chosen)
