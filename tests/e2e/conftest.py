"""A small model directory, saved as every other, for tests that need one to deploy."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from twinml import model
from twinml.contract import Contract


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predicts ``yes`` for those over 60."""
    rng = np.random.default_rng(7)
    n = 300
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "balance": rng.normal(1000, 500, n).round(2),
            "job": rng.choice(["admin.", "services", "retired"], n),
            "owner": rng.random(n) < 0.5,
        }
    )
    labels = pd.Series(np.where(rows["age"] > 60, "yes", "no"), name="y")
    encode = ColumnTransformer(
        [("job", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["job"])],
        remainder="passthrough",
    )
    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    pipeline = Pipeline([("encode", encode), ("tree", tree)]).fit(rows, labels)
    directory = tmp_path_factory.mktemp("models") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        model.save(pipeline, Contract.from_frame(rows, labels, name="bank-test"), directory)
    return directory
