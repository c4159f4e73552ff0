"""Models that were made elsewhere: they answer as before, and run no code that nobody trusted."""

from __future__ import annotations

import io
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
import yaml
from catboost import CatBoostClassifier, CatBoostRegressor
from click.testing import CliRunner
from mlflow.pyfunc.scoring_server import predictions_to_json
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
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
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from twinml.cli import main
from twinml.contract import Column, Contract
from twinml.errors import DataError, ModelError, UsageError
from twinml.model import CustomScorer, LoadedModel, Scorer, digest, load_contract, save
from twinml.registry.importing import import_model, of_address
from twinml.registry.importing._answers import compare_with_original
from twinml.registry.importing._columns import (
    answering,
    as_trained,
    contract_of,
    example_types,
    signature_types,
)
from twinml.registry.importing._estimator import load_estimator
from twinml.registry.importing._import import _required, _sample, brought
from twinml.registry.importing._rows import read_like_training
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


NUMBER = (ROWS["age"] * 3.7 + 11.0).to_numpy()
SERVED = "flavors: {python_function: {loader_module: mlflow.sklearn}, "


def after_encoder(model: Any) -> Any:
    return make_pipeline(ENCODED, model).fit(ROWS, NUMBER if is_regressor(model) else LABELS)


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
    assert compare_with_original(Scorer(kept), contract, source, data)[1] == 60
    assert contract.column_names == tuple(rows.columns)
    assert list(contract.classes) == estimator.classes_.tolist()
    expected = estimator.predict_proba(rows.iloc[:60])
    frame = rows.iloc[:60].astype({"age": "int64", "income": "float64"})
    assert (kept.predict_proba(frame) == expected).all()
    if "city" in rows and shape not in ("CatBoost",):
        [city] = [column for column in contract.columns if column.name == "city"]
        assert city.categories == ("Bern", "Oslo", "Rome")


REGRESSORS: dict[str, Callable[[], tuple[Any, pd.DataFrame]]] = {
    "linear": lambda: (LinearRegression().fit(FILLED, NUMBER), FILLED),
    "scaled ridge": lambda: (after_encoder(Ridge()), ROWS),
    "elastic net": lambda: (make_pipeline(ENCODED, ElasticNet()).fit(ROWS, NUMBER), ROWS),
    "poisson": lambda: (make_pipeline(StandardScaler(), PoissonRegressor()).fit(FILLED, NUMBER),
                        FILLED),
    "forest": lambda: (after_encoder(RandomForestRegressor(4, random_state=0)), ROWS),
    "extra trees": lambda: (after_encoder(ExtraTreesRegressor(4, random_state=0)), ROWS),
    "boosting": lambda: (GradientBoostingRegressor(n_estimators=4).fit(FILLED, NUMBER), FILLED),
    "histogram boosting": lambda: (
        HistGradientBoostingRegressor(max_iter=4).fit(ROWS[NUMBERS], NUMBER),
        ROWS[NUMBERS],
    ),
    "neighbours": lambda: (after_encoder(KNeighborsRegressor()), ROWS),
    "SVM": lambda: (after_encoder(SVR()), ROWS),
    "log of the target": lambda: (
        TransformedTargetRegressor(after_encoder(Ridge()), func=np.log1p, inverse_func=np.expm1)
        .fit(ROWS, NUMBER),
        ROWS,
    ),
    "vote": lambda: (
        after_encoder(VotingRegressor([("r", Ridge()), ("k", KNeighborsRegressor())])),
        ROWS,
    ),
    "stack": lambda: (
        after_encoder(StackingRegressor([("r", Ridge()), ("k", KNeighborsRegressor())], cv=2)),
        ROWS,
    ),
    "narrow numbers": lambda: (
        GradientBoostingRegressor(n_estimators=3).fit(NARROW, NUMBER),
        NARROW,
    ),
    "LightGBM": lambda: (
        lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(ROWS[NUMBERS], NUMBER),
        ROWS[NUMBERS],
    ),
    "LightGBM's booster": lambda: (
        lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(ROWS[NUMBERS], NUMBER).booster_,
        ROWS[NUMBERS],
    ),
    "XGBoost": lambda: (
        xgboost.XGBRegressor(n_estimators=5).fit(ROWS[NUMBERS], NUMBER),
        ROWS[NUMBERS],
    ),
    "CatBoost": lambda: (
        CatBoostRegressor(
            iterations=5, cat_features=["city"], verbose=0, allow_writing_files=False
        ).fit(ROWS, NUMBER),
        ROWS,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("shape", REGRESSORS)
def test_a_regressor_answers_as_mlflow_answers_with_it(shape: str, tmp_path: Path) -> None:
    estimator, rows = REGRESSORS[shape]()
    source = mlflow_model(saved(estimator, rows, tmp_path))
    made = brought(source, name="m", trust=source.format == "pickle")
    assert (made.contract.task, made.contract.methods) == ("regression", ("predict",))
    assert made.compared == 20
    data = rows.iloc[:60].to_dict(orient="records")
    frame = LoadedModel(made.contract, Scorer(made.pipeline)).frame(data)
    kept = pickle.loads(pickle.dumps(made.pipeline))
    expected = mlflow.pyfunc.load_model(str(source.directory)).predict(rows.iloc[:60])
    assert (kept.predict(frame) == np.asarray(expected)).all()
    low, high = made.contract.target_range or (0, 0)
    assert low < high


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow asks for types.

    class Custom(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        """Answers what a function makes of the rows, and of a file beside the model."""

        def __init__(self, answer: Callable[[pd.DataFrame, str], Any]) -> None:
            self.answer = answer

        def load_context(self, context):  # type: ignore[no-untyped-def]
            file = (context.artifacts or {}).get("word")
            self.word = Path(file).read_text() if file else ""

        # With types, MLflow would ask for a list of them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.answer(model_input, self.word)


@pytest.fixture(scope="module")
def word(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("word") / "word.txt"
    file.write_text("from")
    return str(file)


def saved_python(answer: Callable[[pd.DataFrame, str], Any], folder: Path, **how: Any) -> Path:
    path = folder / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That integers cannot hold null.
        how.setdefault("signature", mlflow.models.infer_signature(ROWS))
        mlflow.pyfunc.save_model(
            path, python_model=Custom(answer), pip_requirements=["scikit-learn"], **how
        )
    return path


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("answer", "answer_type", "first"),
    [
        (lambda X, word: [f"{word} {city}" for city in X["city"]], "string", "from {city}"),
        (lambda X, _: X["age"].to_numpy() * 2.5, "double", 2.5),
        (
            lambda X, _: pd.DataFrame({"old": X["age"] > 60, "of": X["city"]}),
            "object",
            ["old", "of"],
        ),
        # MLflow's server writes a series as a table.
        (lambda X, _: pd.Series(X["age"] % 2 == 0, name="even"), "object", ["even"]),
        (
            lambda X, _: [{"n": np.int64(age), "twice": np.array([age, age])} for age in X["age"]],
            "object",
            ["n", "twice"],
        ),
    ],
)
def test_a_python_model_answers_as_mlflow_answers_with_it(
    answer: Any, answer_type: str, first: Any, word: str, tmp_path: Path
) -> None:
    source = mlflow_model(saved_python(answer, tmp_path, artifacts={"word": word}))
    assert source.format == "mlflow"
    with pytest.raises(ModelError, match=r"code of its own \(mlflow.pyfunc\)"):
        brought(source, name="m")
    made = brought(source, name="m", trust=True)
    contract = made.contract
    assert (contract.task, contract.answer_type, contract.methods) == (
        "custom", answer_type, ("predict",),
    )  # fmt: skip
    rows = ROWS.iloc[:40]
    data = json.loads(rows.to_json(orient="records", double_precision=15))
    folder = tmp_path / "ours"
    save(made.pipeline, contract, folder, required=made.required)
    opened = LoadedModel.open(folder)
    ours = opened.predictor.predict(opened.frame(data)).tolist()
    theirs = io.StringIO()
    predictions_to_json(mlflow.pyfunc.load_model(str(source.directory)).predict(rows), theirs)
    assert ours == json.loads(theirs.getvalue())["predictions"]
    if answer_type == "object":
        assert list(ours[0]) == first
    elif answer_type == "string":
        assert ours[0] == first.format(city=data[0]["city"])
    else:
        assert ours[0] == first * data[0]["age"]
    # The folder is an MLflow model of its own, with the same answers.
    again = mlflow.pyfunc.load_model(str(folder)).predict(opened.frame(data))
    assert list(again) == ours


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("estimator", "answer_type"),
    [
        (lambda: RidgeClassifier().fit(FILLED, LABELS), "string"),
        (lambda: KMeans(3, n_init=1, random_state=0).fit(FILLED), "long"),
        (lambda: IsolationForest(n_estimators=4, random_state=0).fit(FILLED), "long"),
        (lambda: KNeighborsClassifier().fit(FILLED, np.c_[GRADES, LABELS]), "object"),
    ],
)
def test_an_estimator_that_fits_no_task_keeps_its_answers(
    estimator: Callable[[], Any], answer_type: str, tmp_path: Path
) -> None:
    fitted = estimator()
    path = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That integers cannot hold null.
        signature = mlflow.models.infer_signature(FILLED)
    mlflow.sklearn.save_model(
        fitted, path, signature=signature, pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )  # fmt: skip
    made = brought(mlflow_model(path), name="m", trust=True)
    assert (made.contract.task, made.contract.answer_type) == ("custom", answer_type)
    assert made.kind == type(fitted).__name__
    answers = CustomScorer(made.pipeline).predict(FILLED)
    assert list(answers) == fitted.predict(FILLED).tolist()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda X, _: [len(X)], "1 answers for 20 rows"),
        (lambda X, _: np.random.default_rng().random(len(X)), "20 of 20 rows differ"),
        (lambda X, _: [{"a": np.inf}] * len(X), "JSON cannot hold"),
        (lambda X, _: {"all": 1}, "gave a dict, expected an answer a row"),
    ],
)
def test_answers_that_cannot_be_served_are_refused(answer: Any, says: str, tmp_path: Path) -> None:
    source = mlflow_model(saved_python(answer, tmp_path))
    with pytest.raises(ModelError, match=says):
        brought(source, name="m", trust=True)


def test_what_custom_models_need_is_listed() -> None:
    listed = b"mlflow==3.1\nlightgbm==1.0\ntorchless==2.1+cpu\n-r other.txt\nname @ file:x\n"
    assert _required({"requirements.txt": listed}) == [
        f"lightgbm=={lightgbm.__version__}", "torchless==2.1+cpu",
    ]  # fmt: skip
    assert _required({}) == []


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([1, 2], "long"),
        ([1, 2.5], "double"),
        ([1.0], "double"),
        (["a"], "string"),
        ([True, False], "boolean"),
        ([True, 1], "object"),
        (["a", None], "object"),
        ([[1]], "object"),
    ],
)
def test_the_type_of_answers(answers: list[Any], kind: str) -> None:
    draft = Contract(
        name="m", columns=(Column("a", "long", nullable=False),), target="y", task="custom",
        classes=(), samples=(), n_rows=0, answer_type="object",
    )  # fmt: skip
    found = answering(draft, answers)
    assert found.answer_type == kind
    assert Contract.from_json(found.to_json()) == found


def test_the_range_of_numbers_is_that_of_labels_if_there_are_any() -> None:
    draft = Contract(
        name="m", columns=(Column("a", "long", nullable=False),), target="y", task="regression",
        classes=(), samples=(), n_rows=0, target_range=(0.0, 0.0),
    )  # fmt: skip
    assert answering(draft, [3, 1.5]).target_range == (1.5, 3.0)
    assert answering(draft, [3, 1.5], [7, 2]).target_range == (2.0, 7.0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], "long"),
        ([1, 2.5], "double"),
        ([True], "boolean"),
        ([True, 1], "double"),
        (["a", 1], "string"),
        ([None], "string"),
    ],
)
def test_types_of_an_example(values: list[Any], kind: str) -> None:
    assert example_types({"a": values}) == {"a": kind}


@pytest.mark.parametrize(
    ("address", "reference", "server"),
    [
        ("http://h:5000/#/models/churn/versions/3", "models:/churn/3", "http://h:5000"),
        ("https://h/ml/#/models/a%20b/versions/12", "models:/a b/12", "https://h/ml"),
        ("http://h/#/models/churn", "models:/churn", "http://h"),
        (
            "http://h/#/experiments/1/runs/0123456789abcdef0123456789abcdef",
            "runs:/0123456789abcdef0123456789abcdef/model",
            "http://h",
        ),
        (
            "http://h/#/experiments/1/runs/0123456789abcdef0123456789abcdef/artifacts/a/b",
            "runs:/0123456789abcdef0123456789abcdef/a/b",
            "http://h",
        ),
        ("./folder", "./folder", None),
    ],
)
def test_addresses_of_pages(address: str, reference: str, server: str | None) -> None:
    assert of_address(address) == (reference, server)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://me:secret@h/#/models/churn", "user or a password"),
        ("http://h:5000/", "h:5000 shows no model"),
        ("http://h/#/experiments/1", "shows no model under '/experiments/1'"),
    ],
)
def test_addresses_that_show_no_model(address: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        of_address(address)
    assert "secret" not in str(refused.value)


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
    assert compare_with_original(pipeline, contract, source, _sample(contract, None))[1] == 20
    other = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS[NUMBERS], LABELS)
    with pytest.raises(ModelError, match="by the original"):
        compare_with_original(other, contract, source, _sample(contract, None))


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
    assert compare_with_original(pipeline, contract, source, _sample(contract, None))[1] == 0


def test_rows_without_names_are_a_table(tmp_path: Path) -> None:
    values = FILLED.to_numpy()
    model = LogisticRegression().fit(values, LABELS)
    path = tmp_path / "model"
    signature = mlflow.models.infer_signature(values, model.predict(values))
    mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=["scikit-learn"])
    source = mlflow_model(path)
    pipeline, contract = described(source)
    assert contract.column_names == ("x0", "x1")
    assert compare_with_original(pipeline, contract, source, _sample(contract, None))[1] == 20


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
    with pytest.raises(ModelError, match=r"code of its own") as refused:
        brought(mlflow_model(path), name="m")
    assert "flavours sklearn, lightgbm" in str(refused.value.hint)


def test_another_file_than_the_flavours_own_is_not_run(tmp_path: Path) -> None:
    """Who looks at the flavour sees skops, and MLflow would run what the other file holds."""
    path = saved(
        LogisticRegression().fit(FILLED, LABELS), FILLED, tmp_path, serialization_format="skops"
    )
    assert mlflow_model(path).format == "skops"
    (path / "python_model.pkl").write_bytes(b"never loaded")
    described = yaml.safe_load((path / "MLmodel").read_text())
    for changed in (
        {"loader_module": "mlflow.pyfunc.model", "python_model": "python_model.pkl"},
        {"model_path": "python_model.pkl"},
        {"data": "python_model.pkl", "model_path": None},
        {"code": "code"},
    ):
        flavors = described["flavors"]
        other = {**described, "flavors": {**flavors}}
        other["flavors"]["python_function"] = flavors["python_function"] | changed
        if changed.get("data"):
            del other["flavors"]["python_function"]["model_path"]
        (path / "MLmodel").write_text(yaml.safe_dump(other))
        assert mlflow_model(path).format == "mlflow", changed
        with pytest.raises(ModelError, match="code of its own"):
            brought(mlflow_model(path), name="m")


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (RidgeClassifier().fit(FILLED, LABELS), "RidgeClassifier is neither"),
        (LogisticRegression(), "does not say which columns"),
        (KNeighborsClassifier().fit(FILLED, np.c_[GRADES, LABELS]), "KNeighbors.* of one target"),
        (LinearRegression().fit(FILLED, np.c_[NUMBER, NUMBER]), r"shape \(20, 2\)"),
        ({"weights": [1]}, "does not say which columns"),
    ],
)
def test_what_is_neither_classifier_nor_regressor_is_refused_as_a_bare_file(
    estimator: Any, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(estimator))
    with pytest.raises(ModelError, match=says):
        brought(of_path(file), name="m", trust=True)


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
        ("flavors: {python_function: {}}", "flavours python_function"),
        ("flavors: {sklearn: {pickled_model: a}}", "flavours sklearn, and MLflow serves"),
        ("[]", "flavours none"),
        (": {", "cannot be read"),
        (SERVED + "sklearn: {pickled_model: ../../secret}}", "does not have"),
        (SERVED + "sklearn: {pickled_model: gone.pkl}}", "does not have"),
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
    source = mlflow_model(saved(after_encoder(FOREST), ROWS, tmp_path))
    made = brought(source, name="m", data=str(file), target="bought", trust=True)
    contract = made.contract
    assert made.compared == 120
    assert made.training_rows is not None
    assert list(made.training_rows) == [*ROWS.columns, "bought"]
    # Rows without a label say the same of the columns.
    unlabelled = brought(source, name="m", data=str(file), trust=True)
    assert unlabelled.contract.columns == contract.columns
    assert unlabelled.training_rows is not None
    assert list(unlabelled.training_rows) == list(ROWS.columns)
    age, income, _ = contract.columns
    assert (age.minimum, age.maximum) == (ROWS["age"].min(), ROWS["age"].max())
    assert (income.type, income.nullable, age.nullable) == ("double", True, False)
    assert (contract.target, contract.n_rows) == ("bought", 120)
    other = tmp_path / "other.csv"
    ROWS.drop(columns="city").assign(bought=LABELS).to_csv(other, index=False)
    with pytest.raises(ModelError, match="takes column 'city', which the data do not have"):
        brought(source, name="m", data=str(other), target="bought", trust=True)
    with pytest.raises(DataError, match="no column 'sold'"):
        read_like_training(str(other), "sold")


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
