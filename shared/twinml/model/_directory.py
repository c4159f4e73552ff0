"""A model directory: an MLflow model that loads without this package.

::

    model/
    ├── MLmodel                  flavours python_function and sklearn, signature, metadata
    ├── contract.json            the promise: columns, types, classes, ranges, samples
    ├── swagger2.json, swagger3.json   as Azure's scoring server serves them
    ├── input_example.json, serving_input_example.json
    ├── requirements.txt, conda.yaml, python_env.yaml   pinned
    ├── reference.parquet        values of up to 2,000 training rows, shuffled among like rows,
    │                            for drift and probe (``twinml.model._reference``)
    ├── ood.npz                  the out-of-distribution score (``twinml.model.ood``)
    ├── model-card.md, model-card.html   for people (``twinml.report.model_card``), where it was
    │                            trained by twinml
    ├── code/twinml_scoring_v1.py    of a regression twinml_regression_v1 and twinml_intervals_v1,
    │                            of a custom model twinml_custom_v1
    ├── data/pipeline.pkl        the fitted scikit-learn pipeline; of a custom model the files of
    │                            the MLflow model that it was
    └── measured.pkl             the same recipe without the test rows, if the pipeline saw them

Nothing of a prediction depends on ``reference.parquet``, ``ood.npz`` and the card: they are no part
of the digest, and a model without them answers the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.contract import Contract, example_rows, intervals, model_frame, openapi
from twinml.errors import ModelError
from twinml.model import _custom_scoring, _regression_scoring, _scoring
from twinml.model._custom_scoring import CustomScorer
from twinml.model._regression_scoring import RegressionScorer
from twinml.model._scoring import PIPELINE, Scorer
from twinml.model.azure_requirements import MONITORING
from twinml.training import learners

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check_digest",
    "digest",
    "load_contract",
    "load_measured",
    "load_predictor",
    "load_reference",
    "metadata",
    "packages",
    "requirements",
    "save",
]

# What travels with a model, by its name there; the first is what MLflow loads.
CLASSIFIER_CODE = {"twinml_scoring_v1": _scoring}
REGRESSION_CODE = {"twinml_regression_v1": _regression_scoring, "twinml_intervals_v1": intervals}
CUSTOM_CODE = {"twinml_custom_v1": _custom_scoring}
REFERENCE = "reference.parquet"
MEASURED = "measured.pkl"
EXAMPLE_ROWS = 5
REFERENCE_ROWS = 2_000
_ALWAYS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy")
_MODULES = ("mlflow", "numpy", "pandas", "sklearn", "scipy")
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def requirements(pipeline: Any) -> list[str]:
    """Return the pinned packages that ``pipeline`` needs to load and predict.

    Packages beside those of every model are listed where the pickle really refers to them.
    """
    used = packages(pipeline)
    of_learners = {name for name in learners.packages() if used & {*learners.modules([name])}}
    known = {*_MODULES, *learners.modules(), *sys.stdlib_module_names}
    pinned = []
    for name in sorted(of_learners.union(_ALWAYS, _distributions(used - known))):
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError as error:
            raise ModelError(
                f"the pipeline needs {name}, which is not installed here",
                hint=f"Install {name} in the version that the model was trained with.",
            ) from error
    return pinned


def _distributions(modules: set[str]) -> set[str]:
    """Return the packages that modules are of.

    Raises
    ------
    ModelError
        A module is of no installed package.
    """
    if not modules:
        return set()
    owners = packages_distributions()  # Looks at all installed packages: a second or two.
    for module in sorted(modules - owners.keys()):
        raise ModelError(
            f"the pipeline needs the module {module}, which is of no installed package",
            hint="Put it into a package, or use estimators of packages alone.",
        )
    return {name for module in modules for name in owners[module]}


def save(
    pipeline: Any,
    contract: Contract,
    directory: Path,
    *,
    metrics: Mapping[str, float] | None = None,
    extra: Mapping[str, Any] | None = None,
    training_rows: pd.DataFrame | None = None,
    measured: Any | None = None,
    required: Sequence[str] = (),
) -> str:
    """Write a model directory and return its digest.

    Parameters
    ----------
    pipeline
        Fitted; takes the contract's raw feature frame. Of a custom model its files, by path.
    metrics, extra
        Go into the metadata of ``MLmodel``: figures of the test rows, threshold and the like.
    training_rows
        All rows that the pipeline learned from: values of a sample of them go into the
        directory, and what is usual is learned from all of them. ``None`` leaves both out.
    measured
        The same recipe fitted without the test rows: what the figures are of, and what is
        compared with another model on rows that ``pipeline`` has seen.
    required
        Pinned packages that are needed besides those that the pickle refers to.

    Raises
    ------
    ModelError
        ``directory`` exists and holds something, or the pipeline needs twinml or FLAML.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ModelError(
            "the folder for the model is not empty", hint="Name one that does not exist yet."
        )
    stored = pickle.dumps(pipeline, protocol=5)
    compared = b"" if measured is None else pickle.dumps(measured, protocol=5)
    for package in sorted({"twinml", "flaml"} & _packages(stored)):
        raise ModelError(
            f"the pipeline holds an object of {package}, so it would not load elsewhere",
            hint=f"Use estimators of {', '.join(learners.packages())}.",
        )
    import mlflow.pyfunc
    import mlflow.sklearn
    import sklearn
    from mlflow.models import Model

    directory.parent.mkdir(parents=True, exist_ok=True)
    pinned = [*requirements(pipeline), *required]
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".saving-") as scratch:
        folder = Path(scratch)
        (folder / PIPELINE).write_bytes(stored)
        travelling = code_of(contract)
        code = [folder / f"{name}.py" for name in travelling]
        for path, module in zip(code, travelling.values(), strict=True):
            shutil.copyfile(Path(str(module.__file__)), path)
        joined = b"".join(path.read_bytes() for path in code)
        whole = _digest(stored, contract, pinned, joined, compared)
        model = Model(
            metadata={
                "twinml": {
                    "digest": whole,
                    "task": contract.task,
                    "target": contract.target,
                    "classes": list(contract.classes),
                    "metrics": dict(metrics or {}),
                    **dict(extra or {}),
                }
            }
        )
        if contract.task != "custom":
            # Loads with mlflow.sklearn.load_model as well, for those who want the pipeline.
            model.add_flavor(
                "sklearn",
                pickled_model=f"data/{PIPELINE}",
                sklearn_version=sklearn.__version__,
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
                code="code",
            )
        made = folder / "model"
        mlflow.pyfunc.save_model(
            path=str(made),
            loader_module=code[0].stem,
            data_path=str(folder / PIPELINE),
            code_paths=[str(path) for path in code],
            mlflow_model=model,
            signature=contract.signature(),
            input_example=_example(contract),
            pip_requirements=pinned,
        )
        (made / "contract.json").write_text(contract.to_json(), encoding="utf-8")
        for number in ("2", "3"):
            document = openapi(contract, version=number)
            (made / f"swagger{number}.json").write_text(
                json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8"
            )
        if compared:
            (made / MEASURED).write_bytes(compared)
        if training_rows is not None:
            _describe(training_rows, contract, made)
        for compiled in made.rglob("__pycache__"):
            shutil.rmtree(compiled)
        if directory.exists():
            directory.rmdir()
        made.rename(directory)
    return whole


def code_of(contract: Contract) -> dict[str, Any]:
    """Return the modules that travel with a model, by their names there."""
    if contract.classes:
        return CLASSIFIER_CODE
    return CUSTOM_CODE if contract.task == "custom" else REGRESSION_CODE


def _example(contract: Contract) -> pd.DataFrame:
    """Return rows made of the contract, none of the training data's, as MLflow stores them."""
    import pandas as pd

    doubles = {
        column.name: "float64" for column in contract.columns if column.mlflow_type == "double"
    }
    rows = example_rows(contract, EXAMPLE_ROWS)
    return pd.DataFrame(rows, columns=list(contract.column_names)).astype(doubles)


def _describe(rows: pd.DataFrame, contract: Contract, made: Path) -> None:
    """Write what later rows can be compared with."""
    import numpy as np

    from twinml.model import ood
    from twinml.model._reference import shuffled, sound

    rows = model_frame(rows)
    kept = np.sort(np.random.default_rng(0).permutation(len(rows))[:REFERENCE_ROWS])
    sample = rows.iloc[kept][list(contract.column_names)]
    sound(sample, shuffled(sample)).to_parquet(made / REFERENCE)
    (made / REFERENCE).chmod(0o600)
    if ood.columns_of(contract):
        (made / ood.FILE).write_bytes(ood.fit(rows, contract).to_bytes())


def load_reference(directory: Path) -> pd.DataFrame:
    """Return what a model directory keeps of its training rows: features, no row as it was.

    A model that was saved by version 0.2 or earlier has rows as they were, with the target.

    Raises
    ------
    ModelError
        The model was saved without.
    """
    import pandas as pd

    path = directory / REFERENCE
    if not path.is_file():
        raise ModelError(
            f"the model has no {REFERENCE}",
            hint="Train it again, or name the rows that it learned from.",
        )
    return pd.read_parquet(path)


class _Looking(pickle.Unpickler):
    """Loads a pickle and notes from which packages its objects are."""

    def __init__(self, stored: bytes) -> None:
        super().__init__(io.BytesIO(stored))
        self.packages: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


def packages(pipeline: Any) -> set[str]:
    """Return the top-level modules that the objects of a pipeline are from."""
    return _packages(pickle.dumps(pipeline, protocol=5))


def _packages(stored: bytes) -> set[str]:
    looking = _Looking(stored)
    looking.load()
    return looking.packages


def _digest(
    stored: bytes, contract: Contract, pinned: list[str], code: bytes, measured: bytes
) -> str:
    """Return the SHA-256 of all that a prediction or a comparison depends on.

    What Azure's script imports counts as always required: a model has one digest here and there.
    """
    whole = hashlib.sha256()
    required = "\n".join([*(line for line in pinned if line != MONITORING), MONITORING])
    parts = [stored, contract.to_json().encode(), required.encode(), code]
    for part in parts + ([measured] if measured else []):
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def metadata(directory: Path) -> dict[str, Any]:
    """Return what ``save`` wrote into ``MLmodel``; empty for models made elsewhere."""
    import yaml

    path = directory / "MLmodel"
    if not path.is_file():
        raise ModelError(
            f"there is no MLflow model in {directory}", hint="Name a folder with an MLmodel file."
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = (content.get("metadata") or {}).get("twinml") or {}
    return dict(found)


def digest(directory: Path) -> str:
    """Return the digest that ``save`` gave, checked against the files.

    Raises
    ------
    ModelError
        The files are not those that were saved.
    """
    stated = metadata(directory).get("digest")
    if stated is None:
        raise ModelError(
            f"the model in {directory} has no digest: it was not saved by twinml",
            hint="Save it with twinml.model.save.",
        )
    check_digest(directory, str(stated))
    return str(stated)


def check_digest(directory: Path, expected: str) -> bytes:
    """Return the pickled pipeline of a model directory, if its files are those of ``expected``.

    What is returned is what was checked: a file that is changed afterwards is not read again.

    Raises
    ------
    ModelError
        The files are other ones, or lack something that a prediction depends on.
    """
    return _checked(directory, expected)[0]


def _checked(directory: Path, expected: str) -> tuple[bytes, bytes]:
    """Return the pickles of the pipeline and of what was measured, empty without it, checked."""
    contract = load_contract(directory)
    measured = directory / MEASURED
    try:
        compared = measured.read_bytes() if measured.is_file() else b""
        stored, pinned, *code = (
            (directory / name).read_bytes()
            for name in (
                f"data/{PIPELINE}",
                "requirements.txt",
                *(f"code/{name}.py" for name in code_of(contract)),
            )
        )
    except OSError as error:
        raise ModelError(
            f"the model in {directory} is not whole: it lacks {Path(str(error.filename)).name}",
            hint="Download or train it again.",
        ) from error
    required = pinned.decode(errors="replace").split()
    found = _digest(stored, contract, required, b"".join(code), compared)
    if found != expected:
        raise ModelError(
            f"the model in {directory} was changed after it was saved: "
            f"its digest is {found[:12]}, expected {expected[:12]}",
            hint="Download or train it again.",
        )
    return stored, compared


def load_contract(directory: Path) -> Contract:
    """Return the contract of a model directory.

    Raises
    ------
    ModelError
        There is none, or a newer version of twinml wrote it.
    """
    path = directory / "contract.json"
    if not path.is_file():
        raise ModelError(
            f"there is no contract.json in {directory}",
            hint="Name a model directory that twinml saved.",
        )
    return Contract.from_json(path.read_text(encoding="utf-8"))


def load_predictor(directory: Path, digest: str) -> Any:
    """Return the model's scorer: ``predict(frame)``, and of classes ``predict_proba(frame)``.

    Does what ``mlflow.pyfunc.load_model`` does, without importing MLflow and without its
    schema check: the contract's parser has checked the frame already. A pickle is code: none is
    run but that of the model that is meant.

    Parameters
    ----------
    directory
        A model directory that twinml saved.
    digest
        Of the model that is meant: as it was registered, or as ``digest`` found it.

    Raises
    ------
    ModelError
        The files are not those of ``digest``, or the environment forbids pickles
        (``MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false``).
    """
    return _scorer(check_digest(directory, digest), directory)


def load_measured(directory: Path, digest: str) -> Any:
    """Return the scorer of what was measured on the test rows: it has not seen them.

    That is ``load_predictor`` for a model that learned from the training rows alone. Parameters
    and errors are the same.
    """
    stored, measured = _checked(directory, digest)
    return _scorer(measured or stored, directory)


def _scorer(stored: bytes, directory: Path) -> Scorer | RegressionScorer | CustomScorer:
    if not pickles_allowed(os.environ.get(PICKLE_SWITCH)):
        raise ModelError(
            f"the pipeline in {directory} is a pickle, and {PICKLE_SWITCH} forbids to load one",
            hint=f"Unset {PICKLE_SWITCH} if you trust the model; what a compiled form covers is "
            "served without.",
        )
    pipeline = pickle.loads(stored)  # noqa: S301 - its digest is that of the model meant
    contract = load_contract(directory)
    if contract.task == "regression":
        return RegressionScorer(pipeline, contract.intervals)
    if contract.task == "custom":
        return CustomScorer(pipeline)
    return Scorer(pipeline)


def pickles_allowed(value: str | None) -> bool:
    """Tell what MLflow's switch says, as MLflow reads it: true where it is unset.

    Raises
    ------
    ModelError
        It is neither true nor false.

    Examples
    --------
    >>> pickles_allowed(None), pickles_allowed("False"), pickles_allowed("1")
    (True, False, True)
    """
    said = {"true": True, "1": True, "false": False, "0": False}
    if value is None:
        return True
    if value.lower() not in said:
        raise ModelError(
            f"{PICKLE_SWITCH} is '{value[:40]}', expected true or false",
            hint=f"Unset {PICKLE_SWITCH}.",
        )
    return said[value.lower()]
