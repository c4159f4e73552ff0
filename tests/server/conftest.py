"""A served model whose answers can be told from its rows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier
from werkzeug.test import Client

from twinml.contract import infer_contract
from twinml_local.server import Deployment, RequestLog, ServerSettings, Serving, create_app

KEY = "primary-key-0123456789"
SECOND_KEY = "secondary-key-0123456789"

Serve = Callable[..., Client]


@pytest.fixture(scope="session")
def bank() -> Deployment:
    """Predicts ``yes`` for those over 60 and for the retired."""
    rng = np.random.default_rng(7)
    n = 400
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "balance": rng.normal(1000, 500, n).round(2),
            "job": rng.choice(["admin.", "services", "retired"], n),
            "owner": rng.random(n) < 0.5,
        }
    )
    labels = pd.Series(
        np.where((rows["age"] > 60) | (rows["job"] == "retired"), "yes", "no"), name="y"
    )
    encode = ColumnTransformer(
        [("job", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["job"])],
        remainder="passthrough",
    )
    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    pipeline = Pipeline([("encode", encode), ("tree", tree)]).fit(rows, labels)
    contract = infer_contract(rows, labels, name="bank-test")
    return Deployment("blue", contract, pipeline, model="bank-test:1", digest="d" * 64)


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def serve(bank: Deployment, log_directory: Path) -> Iterator[Serve]:
    """Make a client of an app; ``predictor`` and settings can be given."""
    log = RequestLog(log_directory)

    def client(
        *,
        deployments: dict[str, Deployment] | None = None,
        traffic: dict[str, int] | None = None,
        predictor: object = None,
        **settings: object,
    ) -> Client:
        blue = bank if predictor is None else replace(bank, predictor=predictor)
        now = Serving(
            endpoint="bank-test",
            deployments=deployments or {"blue": blue},
            traffic=traffic or {"blue": 100},
            keys=(KEY, SECOND_KEY),
            settings=ServerSettings(**settings),  # type: ignore[arg-type]
        )
        return Client(create_app(lambda: now, log=log))

    yield client
    log.close()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve()
