"""What several files share: small model directories to deploy, and one browser."""

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from twinml import model
from twinml.contract import infer_contract
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server.process import control


@pytest.fixture(scope="session", autouse=True)
def own_ports() -> Iterator[None]:
    """Keep endpoints off the ports that other runs of these tests look at first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "FIRST_PORT", 20_000 + os.getpid() % 1000 * 10)
        yield


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
    # A function that is not known has no compiled form.
    same = FunctionTransformer(np.array)
    pipeline = Pipeline([("encode", encode), ("same", same), ("tree", tree)]).fit(rows, labels)
    directory = tmp_path_factory.mktemp("models") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        model.save(pipeline, infer_contract(rows, labels, name="bank-test"), directory)
    return directory


@pytest.fixture(scope="session")
def compiled_forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for compiled forms that tests share: translating the kernel takes long."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def ensemble_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as training makes them, small: two learners that vote, all kinds of columns."""
    from twinml.training._ensemble import fit_vote
    from twinml.training._recipe import Recipe
    from twinml.training.learners import LEARNERS
    from twinml.training.tasks import Classification

    rng = np.random.default_rng(11)
    n = 800
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "balance": rng.normal(1000, 500, n).round(2),
            "job": rng.choice(["admin.", "services", "retired", None], n),
            "owner": rng.random(n) < 0.5,
        }
    )
    rows.loc[rng.random(n) < 0.1, "balance"] = np.nan
    signal = rows["age"] / 30 + (rows["job"] == "retired") + rows["owner"] + rng.normal(0, 0.7, n)
    truth = (signal > signal.median()).to_numpy().astype(np.int64)
    settings = {
        "LightGBM": {"n_estimators": 20, "num_leaves": 8, "min_child_samples": 5},
        "LogisticRegression": {"C": 0.5},
    }
    members = {one.name: (one, settings[one.name]) for one in LEARNERS if one.name in settings}
    task = Classification(classes=("no", "yes"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        fitted = Recipe(members, task, seed=0).fit(rows, truth, np.ones(n), jobs=1)
        X = np.asarray(fitted.encoder.transform(rows), dtype=np.float64)
        votes = {name: one.predict_proba(X) for name, one in fitted.members.items()}
        pipeline = fitted.pipeline(fit_vote(task, votes, truth, np.ones(n)), 0.4)
        labels = pd.Series(task.labels(truth), name="y")
        directory = tmp_path_factory.mktemp("models") / "ensemble"
        model.save(pipeline, infer_contract(rows, labels, name="bank-test"), directory)
    return directory


@pytest.fixture(scope="session")
def running_home(model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one running endpoint, which tests leave as it is."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("TWINML_HOME", str(home))
        with pytest.MonkeyPatch.context() as limits:
            # For this server only: what other tests start has limits of its own.
            limits.setenv("TWINML_SERVER_MAX_ROWS", "100")
            limits.setenv("TWINML_SERVER_MAX_BODY_BYTES", "20000")
            endpoints.deploy(
                "bank-test",
                "blue",
                directory=model_directory,
                model="bank-test",
                version="1",
                digest=model.digest(model_directory),
            )
        yield home
        endpoints.stop()


@pytest.fixture
def running_endpoint(
    own_home: Path, running_home: Path, monkeypatch: pytest.MonkeyPatch
) -> EndpointInfo:
    """The endpoint ``bank-test`` that runs in ``running_home``."""
    monkeypatch.setenv("TWINML_HOME", str(running_home))
    return endpoints.info("bank-test")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Drive a headless Chromium that notes what it asks for and what its console says."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver here")
    from selenium import webdriver

    with pytest.MonkeyPatch.context() as patch:
        # So that no proxy of this machine stands between the test and the browser.
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(executable_path=driver, log_output=os.devnull)
        made = webdriver.Chrome(options=options, service=service)
        yield made
        made.quit()
