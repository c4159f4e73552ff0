"""From a file to a fitted estimator, running no code but that of installed packages.

skops files name the types that they are made of, and the libraries' own formats hold numbers
alone. A pickle is a program: it is run only for those who trust whoever made it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twinml.errors import ModelError, PlatformUnavailable
from twinml.registry.importing._source import Format, Source

__all__ = ["load_estimator"]

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

    return _with_classes(lightgbm.Booster(model_file=str(file)))


def _with_classes(booster: Any) -> Any:
    """Return a scikit-learn classifier around a booster, whose classes are 0, 1, …."""
    import lightgbm
    import numpy as np
    from sklearn.preprocessing import LabelEncoder

    objective = str(booster.dump_model(num_iteration=1).get("objective", "")).split(" ")[0]
    if objective not in ("binary", "multiclass", "multiclassova"):
        raise ModelError(
            f"the LightGBM model has the objective '{objective}', expected a classifier's",
            hint="Train it with objective binary or multiclass.",
        )
    n_classes = max(2, booster.num_model_per_iteration())
    model = lightgbm.LGBMClassifier(objective=objective)
    # What ``fit`` leaves behind. The answers are compared with the booster's own afterwards.
    model._Booster = booster
    model._objective = objective
    model._n_features = model._n_features_in = booster.num_feature()
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
    if not objective.startswith(("binary:", "multi:")):
        raise ModelError(
            f"the XGBoost model has the objective '{objective}', expected a classifier's",
            hint="Train it with objective binary:logistic or multi:softprob.",
        )
    if "c" in (booster.feature_types or []):
        raise ModelError(
            "the XGBoost model has categorical columns of its own kind",
            hint="Encode them in a scikit-learn pipeline, so that clients may send their text.",
        )
    model = xgboost.XGBClassifier()
    model.load_model(str(file))
    return model


def _catboost(file: Path, _trust: bool) -> Any:
    import catboost

    model = catboost.CatBoostClassifier()
    model.load_model(str(file))
    return model


_READERS: Mapping[Format, Callable[[Path, bool], Any]] = {
    "skops": _skops,
    "pickle": _pickle,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}
