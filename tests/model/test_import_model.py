"""Models that were made elsewhere: they answer as before, and run no code that nobody trusted."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from catboost import CatBoostClassifier
from click.testing import CliRunner
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from twinml.cli import main
from twinml.data import load as load_data
from twinml.errors import ModelError, UsageError
from twinml.model import LoadedModel, digest, load_contract
from twinml.registry.importing import import_model
from twinml.registry.importing._columns import as_trained, contract_of, signature_types
from twinml.registry.importing._estimator import load_estimator
from twinml.registry.importing._import import _compare, _sample
from twinml.registry.importing._source import Source, format_of, mlflow_model, of_path
from twinml.registry.tracking import Tracking

NUMBERS = ["age", "income"]


def table(rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    made = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "income": rng.normal(30_000, 8_000, rows).round(2),
            "city": rng.choice(["Oslo", "Rome", "Bern"], rows).tolist(),
        }
    )
    made.loc[::9, "income"] = np.nan
    return made


ROWS = table()
LABELS = np.where(ROWS["age"] + 20 * (ROWS["city"] == "Rome") > 55, "yes", "no")
GRADES = np.array(["low", "middle", "high"])[np.digitize(ROWS["age"], [40, 65])]
ENCODED = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["city"]),
    (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
)
FILLED = ROWS[NUMBERS].fillna(0.0)
NARROW = FILLED.astype({"age": "int32", "income": "float32"})


def after_encoder(model: Any) -> Any:
    return make_pipeline(ENCODED, model).fit(ROWS, LABELS)


FOREST = RandomForestClassifier(5, random_state=0)
SHAPES: dict[str, Callable[[], tuple[Any, pd.DataFrame]]] = {
    "logistic": lambda: (LogisticRegression().fit(FILLED, LABELS), FILLED),
    "scaled": lambda: (
        make_pipeline(StandardScaler(), LogisticRegression()).fit(FILLED, LABELS),
        FILLED,
    ),
    "one-hot and forest": lambda: (after_encoder(FOREST), ROWS),
    "one-hot that refuses the unknown": lambda: (
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=5),
        ).fit(ROWS, LABELS),
        ROWS,
    ),
    "ordinal and boosting": lambda: (
        make_pipeline(
            make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=5),
        ).fit(ROWS, LABELS),
        ROWS,
    ),
    "target encoder": lambda: (
        make_pipeline(
            make_column_transformer(
                (TargetEncoder(random_state=0), ["city"]), (SimpleImputer(), NUMBERS)
            ),
            LogisticRegression(max_iter=500),
        ).fit(ROWS, LABELS),
        ROWS,
    ),
    "bins and products": lambda: (
        make_pipeline(
            SimpleImputer(),
            make_column_transformer(
                (KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), [0]),
                (PolynomialFeatures(2), [0, 1]),
            ),
            StandardScaler(with_mean=False),
            LogisticRegression(max_iter=500),
        ).fit(ROWS[NUMBERS], LABELS),
        ROWS[NUMBERS],
    ),
    "quantiles and components": lambda: (
        make_pipeline(
            SimpleImputer(), QuantileTransformer(n_quantiles=20), PCA(2), LogisticRegression()
        ).fit(ROWS[NUMBERS], LABELS),
        ROWS[NUMBERS],
    ),
    "histogram boosting": lambda: (
        HistGradientBoostingClassifier(max_iter=5).fit(ROWS[NUMBERS], LABELS),
        ROWS[NUMBERS],
    ),
    "boosting": lambda: (GradientBoostingClassifier(n_estimators=5).fit(FILLED, LABELS), FILLED),
    "extra trees": lambda: (after_encoder(ExtraTreesClassifier(5, random_state=0)), ROWS),
    "one tree": lambda: (DecisionTreeClassifier(max_depth=3).fit(FILLED, LABELS), FILLED),
    "neighbours": lambda: (KNeighborsClassifier().fit(FILLED, LABELS), FILLED),
    "naive Bayes": lambda: (GaussianNB().fit(FILLED, LABELS), FILLED),
    "calibrated SVM": lambda: (after_encoder(CalibratedClassifierCV(LinearSVC(), cv=2)), ROWS),
    "network": lambda: (after_encoder(MLPClassifier([4], max_iter=30, early_stopping=True)), ROWS),
    "AdaBoost": lambda: (AdaBoostClassifier(n_estimators=5).fit(FILLED, LABELS), FILLED),
    "bagging": lambda: (after_encoder(BaggingClassifier(n_estimators=3, random_state=0)), ROWS),
    "vote": lambda: (
        after_encoder(VotingClassifier([("f", FOREST), ("n", GaussianNB())], voting="soft")),
        ROWS,
    ),
    "stack": lambda: (
        after_encoder(StackingClassifier([("f", FOREST), ("n", GaussianNB())], cv=2)),
        ROWS,
    ),
    "grid": lambda: (
        GridSearchCV(
            after_encoder(LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2
        ).fit(ROWS, LABELS),
        ROWS,
    ),
    "three classes": lambda: (LogisticRegression(max_iter=500).fit(FILLED, GRADES), FILLED),
    "true and false": lambda: (FOREST.fit(FILLED, LABELS == "yes"), FILLED),
    "0 and 1": lambda: (FOREST.fit(FILLED, (LABELS == "yes").astype(int)), FILLED),
    "narrow numbers": lambda: (
        DecisionTreeClassifier(max_depth=5).fit(NARROW, LABELS),
        NARROW,
    ),
    "LightGBM": lambda: (
        lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(ROWS[NUMBERS], LABELS),
        ROWS[NUMBERS],
    ),
    "XGBoost": lambda: (
        xgboost.XGBClassifier(n_estimators=5).fit(ROWS[NUMBERS], (LABELS == "yes").astype(int)),
        ROWS[NUMBERS],
    ),
    "CatBoost": lambda: (
        CatBoostClassifier(
            iterations=5, cat_features=["city"], verbose=0, allow_writing_files=False
        ).fit(ROWS, LABELS),
        ROWS,
    ),
}  # fmt: skip


def saved(estimator: Any, rows: pd.DataFrame, folder: Path, **how: Any) -> Path:
    """Save a model as MLflow's users do."""
    kind = type(estimator).__module__.partition(".")[0]
    flavor = getattr(mlflow, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That integers cannot hold null.
        signature = mlflow.models.infer_signature(rows, estimator.predict(rows).reshape(-1))
    path = folder / "model"
    if kind == "sklearn":
        how.setdefault("serialization_format", "cloudpickle")
    flavor.save_model(estimator, path, signature=signature, pip_requirements=[kind], **how)
    return path


def described(source: Source, **options: Any) -> tuple[Any, Any]:
    estimator = load_estimator(source, **options)
    contract = contract_of(estimator, source, name="m")
    return as_trained(estimator, contract, source), contract


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_it_answers_as_mlflow_answers_with_it(shape: str, tmp_path: Path) -> None:
    estimator, rows = SHAPES[shape]()
    path = saved(estimator, rows, tmp_path)
    source = mlflow_model(path)
    pipeline, contract = described(source, trust=source.format == "pickle")
    kept = pickle.loads(pickle.dumps(pipeline))
    data = [
        {name: None if value != value else value for name, value in row.items()}
        for row in json.loads(rows.iloc[:60].to_json(orient="records", double_precision=15))
    ]
    assert _compare(kept, contract, source, data) == 60
    assert contract.column_names == tuple(rows.columns)
    assert list(contract.classes) == estimator.classes_.tolist()
    expected = estimator.predict_proba(rows.iloc[:60])
    frame = rows.iloc[:60].astype({"age": "int64", "income": "float64"})
    assert (kept.predict_proba(frame) == expected).all()
    if "city" in rows and shape not in ("CatBoost",):
        [city] = [column for column in contract.columns if column.name == "city"]
        assert city.categories == ("Bern", "Oslo", "Rome")


def test_a_bare_booster_gets_classes(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(ROWS[NUMBERS], GRADES)
    file = tmp_path / "grades.txt"
    model.booster_.save_model(file)
    pipeline, contract = described(of_path(file))
    assert contract.classes == (0, 1, 2)
    assert contract.column_names == ("age", "income")
    assert (pipeline.predict_proba(ROWS[NUMBERS]) == model.predict_proba(ROWS[NUMBERS])).all()
    assert (model.classes_[pipeline.predict(ROWS[NUMBERS])] == model.predict(ROWS[NUMBERS])).all()


def test_a_booster_of_mlflow_answers_with_its_probabilities(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(ROWS[NUMBERS], LABELS)
    source = mlflow_model(saved(model.booster_, ROWS[NUMBERS], tmp_path))
    pipeline, contract = described(source)
    assert _compare(pipeline, contract, source, _sample(contract, None)) == 20
    other = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS[NUMBERS], LABELS)
    with pytest.raises(ModelError, match="by the original"):
        _compare(other, contract, source, _sample(contract, None))


def test_a_signature_of_anything_says_nothing(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(ROWS[NUMBERS], LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Then MLflow gives up.
        signature = mlflow.models.infer_signature(ROWS[NUMBERS], LABELS)
    path = tmp_path / "model"
    mlflow.lightgbm.save_model(model, path, signature=signature, pip_requirements=["lightgbm"])
    source = mlflow_model(path)
    assert source.signature == [{"type": "any", "required": True}]
    pipeline, contract = described(source)
    assert contract.column_names == ("age", "income")
    assert _compare(pipeline, contract, source, _sample(contract, None)) == 0


def test_rows_without_names_are_a_table(tmp_path: Path) -> None:
    values = FILLED.to_numpy()
    model = LogisticRegression().fit(values, LABELS)
    path = tmp_path / "model"
    signature = mlflow.models.infer_signature(values, model.predict(values))
    mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=["scikit-learn"])
    source = mlflow_model(path)
    pipeline, contract = described(source)
    assert contract.column_names == ("x0", "x1")
    assert _compare(pipeline, contract, source, _sample(contract, None)) == 20


def files(folder: Path) -> dict[str, Path]:
    """Return a model in every format."""
    numbers, truth = ROWS[NUMBERS], (LABELS == "yes").astype(int)
    booster = xgboost.XGBClassifier(n_estimators=3).fit(numbers, truth)
    made = {name: folder / name for name in ("a.skops", "b.pkl", "c.joblib", "d.txt", "e.json")}
    logistic = LogisticRegression().fit(FILLED, LABELS)
    skops.io.dump(logistic, made["a.skops"])
    made["b.pkl"].write_bytes(pickle.dumps(logistic))
    joblib.dump(logistic, made["c.joblib"], compress=3)
    lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(numbers, truth).booster_.save_model(
        made["d.txt"]
    )
    booster.save_model(made["e.json"])
    made["f.ubj"] = folder / "f.ubj"
    booster.save_model(made["f.ubj"])
    made["g.cbm"] = folder / "g.cbm"
    CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(
        numbers, truth
    ).save_model(made["g.cbm"])
    return made


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    made = files(tmp_path)
    found = {name: format_of(path) for name, path in made.items()}
    assert list(found.values()) == [
        "skops", "pickle", "pickle", "lightgbm", "xgboost", "xgboost", "catboost",
    ]  # fmt: skip
    for name, path in made.items():
        pipeline, contract = described(of_path(path), trust=found[name] == "pickle")
        assert contract.column_names == ("age", "income"), name
        assert pipeline.predict_proba(FILLED.iloc[:2]).shape == (2, 2)
    renamed = made["b.pkl"].rename(tmp_path / "safe.skops")
    with pytest.raises(ModelError, match="is a pickle"):
        load_estimator(of_path(renamed))


class Loud(LogisticRegression):
    """A type that skops does not know."""


def test_code_is_run_for_those_alone_who_trust_it(tmp_path: Path) -> None:
    file = tmp_path / "loud.skops"
    skops.io.dump(Loud().fit(FILLED, LABELS), file)
    with pytest.raises(ModelError, match=r"1 types that may run code: .*Loud"):
        load_estimator(of_path(file))
    assert type(load_estimator(of_path(file), trust=True)) is Loud
    path = saved(LogisticRegression().fit(FILLED, LABELS), FILLED, tmp_path, code_paths=[__file__])
    with pytest.raises(ModelError, match="code of its own"):
        mlflow_model(path)


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (RidgeClassifier().fit(FILLED, LABELS), "gives no probabilities"),
        (LogisticRegression(), "not fitted"),
        (KNeighborsClassifier().fit(FILLED, np.c_[GRADES, LABELS]), "several targets"),
        ({"weights": [1]}, "dict"),
    ],
)
def test_what_cannot_be_a_classifier_is_refused(estimator: Any, says: str, tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(estimator))
    with pytest.raises(ModelError, match=says):
        described(of_path(file), trust=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no model"),
        (b"age,income\n1,2\n", "holds no model"),
        (b"tree\nversion=v4\n", "cannot be loaded as lightgbm"),
        (b'{"learner": 1}', "cannot be loaded as xgboost"),
        (b"CBM1" + bytes(20), "cannot be loaded as catboost"),
        (b"\x80\x04.", "cannot be loaded as pickle"),
    ],
)
def test_files_that_are_not_whole(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        load_estimator(of_path(file), trust=True)


@pytest.mark.parametrize(
    ("described_as", "says"),
    [
        ("flavors: {python_function: {loader_module: x}}", "flavours python_function"),
        ("[]", "flavours none"),
        (": {", "cannot be read"),
        ("flavors: {sklearn: {pickled_model: ../../secret}}", "does not have"),
        ("flavors: {sklearn: {pickled_model: gone.pkl}}", "does not have"),
    ],
)
def test_directories_that_are_not_whole(described_as: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"\x80\x04.")
    (folder / "MLmodel").write_text(described_as)
    with pytest.raises(ModelError, match=says):
        of_path(folder)
    with pytest.raises(ModelError, match="no such file or folder"):
        of_path(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="MLmodel"):
        of_path(tmp_path / "a")


@pytest.mark.parametrize(
    ("kind", "fine"),
    [("long", True), ("boolean", True), ("datetime", False), ("binary", False), ("array", False)],
)
def test_types_of_a_signature(kind: str, fine: bool) -> None:
    signature = [{"name": "a", "type": "double"}, {"type": kind}]
    if fine:
        assert signature_types(signature) == {"a": "double", "x1": kind}
    else:
        with pytest.raises(ModelError, match=f"column '1' of the signature has the type {kind}"):
            signature_types(signature)


def test_rows_say_what_a_signature_does_not(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    ROWS.assign(bought=LABELS, note="x").to_csv(file, index=False)
    data = load_data(str(file), "bought", keep=["note"])
    source = mlflow_model(saved(after_encoder(FOREST), ROWS, tmp_path))
    contract = contract_of(load_estimator(source, trust=True), source, name="m", data=data)
    age, income, _ = contract.columns
    assert (age.minimum, age.maximum) == (ROWS["age"].min(), ROWS["age"].max())
    assert (income.type, income.nullable, age.nullable) == ("double", True, False)
    assert (contract.target, contract.n_rows) == ("bought", 120)
    other = tmp_path / "other.csv"
    ROWS.drop(columns="city").assign(bought=LABELS).to_csv(other, index=False)
    with pytest.raises(ModelError, match="takes column 'city', which the data do not have"):
        contract_of(
            load_estimator(source, trust=True),
            source,
            name="m",
            data=load_data(str(other), "bought"),
        )


def test_from_the_registry_and_back(tmp_path: Path, own_home: Path) -> None:
    tracking = Tracking()
    estimator = after_encoder(FOREST)
    path = saved(estimator, ROWS, tmp_path, input_example=ROWS.head(3))
    run = tracking.begin("theirs", "a run", {}, {})
    tracking.add_artifacts(run, path, "m")
    tracking.client.create_registered_model("churn")
    uri = tracking.client.get_run(run).info.artifact_uri
    tracking.client.create_model_version("churn", source=f"{uri}/m", run_id=run)
    with pytest.raises(UsageError, match="no name of its own"):
        import_model(f"runs:/{run}/m", tracking)
    done = CliRunner().invoke(main, ["import", "models:/churn/1", "--trust", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["version"], said["aliases"], said["compared"]) == ("2", ["champion"], 3)
    directory = Path(said["directory"])
    assert digest(directory) == said["digest"]
    assert [row["age"] for row in load_contract(directory).samples] == ROWS["age"].iloc[:3].tolist()
    model = LoadedModel.open(directory)
    frame = model.frame(ROWS.iloc[1:9].to_dict(orient="records"))
    assert (model.predictor.predict_proba(frame) == estimator.predict_proba(ROWS.iloc[1:9])).all()
    # The same again is the same version, under another name another model.
    again = import_model("models:/churn/1", tracking, trust=True)
    assert again.version.version == "2"
    assert import_model(f"runs:/{run}/m", tracking, name="b", trust=True).version.version == "1"
