"""From a file to a fitted estimator, running no code but that of installed packages.

What MLflow alone can load is no estimator: its files are kept as they are.

skops files name the types that they are made of, and the libraries' own formats hold numbers
alone. A pickle is a program: it is run only for those who trust whoever made it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twinml.errors import ModelError, PlatformUnavailable
from twinml.registry.importing._source import FLAVORS, Format, Source

__all__ = ["load_estimator", "load_files"]

# What skops does not know of, of packages whose estimators can be imported: plain data.
_PLAIN_TYPES = {
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
}
_LIGHTGBM_NUMBERS = (
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma",
    "tweedie",
)  # fmt: skip
_MOST_BYTES = 2 * 2**30


def load_estimator(source: Source, *, trust: bool = False) -> Any:
    """Return the fitted estimator of a model from elsewhere.

    Parameters
    ----------
    trust
        Whether code that the file brings may run.

    Raises
    ------
    ModelError
        The file needs trust that was not given, or holds no fitted estimator.
    PlatformUnavailable
        The package that reads it is not installed.
    """
    read = _READERS[source.format]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A library's remarks on its own older files.
            return read(source.file, trust)
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise PlatformUnavailable(
            f"the model needs {error.name}, which is not installed here",
            hint=f"Install {error.name} in the version that the model was trained with.",
        ) from error
    except Exception as error:  # whatever a reader of files from elsewhere may raise
        raise ModelError(
            f"{source.file.name} cannot be loaded as {source.format}: "
            f"{type(error).__name__}: {str(error)[:200]}",
            hint="Is it whole, and were the packages of the same versions when it was saved?",
        ) from error


def _skops(file: Path, trust: bool) -> Any:
    from skops.io import get_untrusted_types, load

    unknown = sorted(set(get_untrusted_types(file=file)) - _PLAIN_TYPES)
    if unknown and not trust:
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise ModelError(
            f"{file.name} holds objects of {len(unknown)} types that may run code: {shown}",
            hint="If you trust whoever made it: --trust.",
        )
    return load(file, trusted=sorted({*unknown, *_PLAIN_TYPES}))


def _pickle(file: Path, trust: bool) -> Any:
    if not trust:
        raise ModelError(
            f"{file.name} is a pickle, which runs whatever code whoever made it put in",
            hint="If you trust it: --trust. Else have it saved with skops "
            "(MLflow: serialization_format='skops').",
        )
    import joblib

    return joblib.load(file)


def _lightgbm(file: Path, _trust: bool) -> Any:
    import lightgbm

    return _of_scikit_learn(lightgbm.Booster(model_file=str(file)))


def _of_scikit_learn(booster: Any) -> Any:
    """Return a scikit-learn estimator around a booster; classes are 0, 1, …."""
    import lightgbm
    import numpy as np
    from sklearn.preprocessing import LabelEncoder

    objective = str(booster.dump_model(num_iteration=1).get("objective", "")).split(" ")[0]
    classifier = objective in ("binary", "multiclass", "multiclassova")
    if not classifier and objective not in _LIGHTGBM_NUMBERS:
        raise ModelError(
            f"the LightGBM model has the objective '{objective}', expected a classifier's or a "
            "regression's",
            hint=f"Train it with binary, multiclass or {', '.join(_LIGHTGBM_NUMBERS)}; or log it "
            "with MLflow.",
        )
    made = lightgbm.LGBMClassifier if classifier else lightgbm.LGBMRegressor
    model = made(objective=objective)
    # What ``fit`` leaves behind. The answers are compared with the booster's own afterwards.
    model._Booster = booster
    model._objective = objective
    model._n_features = model._n_features_in = booster.num_feature()
    if classifier:
        n_classes = max(2, booster.num_model_per_iteration())
        model._le = LabelEncoder().fit(np.arange(n_classes))
        model._classes, model._n_classes = model._le.classes_, n_classes
        model._class_map = {label: label for label in range(n_classes)}
    made_up = [f"Column_{at}" for at in range(booster.num_feature())]
    model._fitted_with_feature_names = booster.feature_name() != made_up
    model.fitted_ = True
    return model


def _xgboost(file: Path, _trust: bool) -> Any:
    import json

    import xgboost

    booster = xgboost.Booster(model_file=str(file))
    learner = json.loads(booster.save_config())["learner"]
    objective = str(learner["objective"]["name"])
    classifier = objective.startswith(("binary:", "multi:"))
    if not classifier and not objective.startswith(("reg:", "count:")):
        raise ModelError(
            f"the XGBoost model has the objective '{objective}', expected a classifier's or a "
            "regression's",
            hint="Train it with binary:logistic, multi:softprob or reg:squarederror; or log it "
            "with MLflow.",
        )
    if "c" in (booster.feature_types or []):
        raise ModelError(
            "the XGBoost model has categorical columns of its own kind",
            hint="Encode them in a scikit-learn pipeline, so that clients may send their text.",
        )
    model = xgboost.XGBClassifier() if classifier else xgboost.XGBRegressor()
    model.load_model(str(file))
    return model


def _catboost(file: Path, _trust: bool) -> Any:
    import catboost

    model = catboost.CatBoost()
    model.load_model(str(file))
    kind = catboost.CatBoostClassifier if len(model.classes_) else catboost.CatBoostRegressor
    return kind().load_model(str(file))


def load_files(source: Source, *, trust: bool = False) -> dict[str, bytes]:
    """Return the files of an MLflow model, by their path in its folder.

    Raises
    ------
    ModelError
        It brings code, and nobody trusts it; or it is too large, or no folder.
    """
    if source.directory is None:
        raise ModelError(
            f"{source.file.name} is no MLflow model", hint="Log it with MLflow: mlflow.pyfunc."
        )
    if source.format == "mlflow" and not trust:
        raise ModelError(
            "the model brings code of its own (mlflow.pyfunc), which runs when it is loaded",
            hint="If you trust whoever made it: --trust. Else have the estimator itself logged, "
            f"in one of the flavours {', '.join(FLAVORS)}.",
        )
    files = [path for path in sorted(source.directory.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > _MOST_BYTES:
        raise ModelError(
            f"the model has {size / 2**30:.1f} GiB of files, at most "
            f"{_MOST_BYTES / 2**30:.0f} are kept",
            hint="Have it fetch what is larger when it is loaded.",
        )
    return {
        path.relative_to(source.directory).as_posix(): path.read_bytes()
        for path in files
        if "__pycache__" not in path.parts
    }


_READERS: Mapping[Format, Callable[[Path, bool], Any]] = {
    "skops": _skops,
    "pickle": _pickle,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}
