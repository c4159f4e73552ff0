"""``twinml import``: load, describe, compare with the original, save as one of ours, register."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml import model, settings
from twinml.contract import Contract, example_rows
from twinml.data.json_rows import records
from twinml.errors import ModelError, UsageError
from twinml.platform import ModelReference, ModelVersion
from twinml.registry.importing._columns import as_signed, as_trained, contract_of
from twinml.registry.importing._estimator import load_estimator
from twinml.registry.importing._source import Source, mlflow_model, of_path
from twinml.registry.tracking import Tracking, put
from twinml.registry.training_run import model_folder

if TYPE_CHECKING:
    import pandas as pd

    from twinml.data import Dataset

__all__ = ["Imported", "import_model"]

SCHEMES = ("models:/", "runs:/")
ROWS_COMPARED = 200
MADE_UP = 20


@dataclass(frozen=True)
class Imported:
    """A model that was brought in.

    Attributes
    ----------
    version
        As what it is registered.
    directory
        Its model directory.
    kind
        Class of the estimator.
    compared
        Rows on which it was found to answer, bit for bit, as MLflow answers with the original;
        0 where the original is no MLflow model, or one whose signature says nothing.
    """

    version: ModelVersion
    directory: Path
    kind: str
    compared: int


def import_model(
    source: str,
    tracking: Tracking,
    *,
    name: str | None = None,
    data: Dataset | None = None,
    target: str = "target",
    trust: bool = False,
) -> Imported:
    """Register a model that was made elsewhere.

    Parameters
    ----------
    source
        ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``runs:/ID/PATH``, a folder with an
        ``MLmodel`` file, or a file of skops, LightGBM, XGBoost, CatBoost or pickle.
    name
        What to register it as; by default as it is called there.
    data
        Rows like those that it was trained on: ranges, categories, reference for drift.
    target
        What the label is called, where no data say it.
    trust
        Whether code that the file brings may run.

    Raises
    ------
    ModelError
        It cannot be loaded, described, or does not answer as it did.
    UsageError
        It has no name of its own, and none was given.
    """
    settings.private_folder(settings.home() / "models")
    with tempfile.TemporaryDirectory(dir=settings.home() / "models", prefix=".saving-") as scratch:
        found = _fetched(source, tracking, Path(scratch) / "fetched")
        called = name or _name(source)
        estimator = load_estimator(found, trust=trust)
        contract = contract_of(estimator, found, name=called, data=data, target=target)
        pipeline = as_trained(estimator, contract, found)
        compared = _compare(pipeline, contract, found, _sample(contract, data))
        saved = Path(scratch) / "model"
        kind = type(getattr(estimator, "steps", [[None, estimator]])[-1][1]).__name__
        digest = model.save(
            pipeline,
            contract,
            saved,
            extra={"best": kind, "imported_from": source if "://" not in source else called},
            training_rows=None if data is None else _rows(data, contract),
        )
        directory = model_folder(digest)
        if directory.exists():
            shutil.rmtree(directory)
        put(saved, directory)
    run_id = tracking.upload(
        called,
        directory,
        digest=digest,
        title=f"{kind}, imported",
        tags={"twinml.imported_from": source},
    )
    version = tracking.register(called, run_id=run_id, digest=digest)
    return Imported(version, directory, kind, compared)


def _fetched(source: str, tracking: Tracking, destination: Path) -> Source:
    if not source.startswith(SCHEMES):
        return of_path(Path(source).expanduser())
    uri = source
    if source.startswith("models:/"):
        uri = tracking.resolve(ModelReference.parse(source)).uri
    return mlflow_model(tracking.download(uri, destination))


def _name(source: str) -> str:
    """Return what a model is called where it is.

    Examples
    --------
    >>> _name("models:/churn/3"), _name("models:/churn@champion"), _name("forests/churn.skops")
    ('churn', 'churn', 'churn')
    """
    if source.startswith("models:/"):
        return source.removeprefix("models:/").split("/")[0].split("@")[0]
    if source.startswith("runs:/"):
        raise UsageError("a model of a run has no name of its own", hint="Give it one: --name.")
    return Path(source).expanduser().resolve().stem


def _rows(data: Dataset, contract: Contract) -> pd.DataFrame:
    rows = data.features[list(contract.column_names)].copy()
    rows[contract.target] = data.labels
    return rows


def _sample(contract: Contract, data: Dataset | None) -> list[dict[str, Any]]:
    """Return rows to compare answers on: the user's, the model's example's, or made-up ones."""
    if data is not None:
        return records(data.features[list(contract.column_names)].iloc[:ROWS_COMPARED])
    return list(contract.samples) or example_rows(contract, MADE_UP)


def _compare(pipeline: Any, contract: Contract, source: Source, rows: list[dict[str, Any]]) -> int:
    """Compare with the answers that MLflow gives with the original, bit for bit.

    Raises
    ------
    ModelError
        The model cannot score the rows, or answers otherwise.
    """
    import numpy as np

    frame = model.LoadedModel(contract, model.Scorer(pipeline)).frame(rows)
    try:
        answers = pipeline.predict(frame)
        probabilities = pipeline.predict_proba(frame)
    except Exception as error:  # whatever a model from elsewhere may raise
        raise ModelError(
            f"the model cannot score rows of its own columns: {type(error).__name__}: "
            f"{str(error)[:200]}",
            hint="Name rows like those that it was trained on: --data FILE --target COLUMN.",
        ) from error
    if probabilities.shape != (len(frame), len(contract.classes)):
        raise ModelError(
            f"the model gives probabilities of shape {probabilities.shape}, expected "
            f"{(len(frame), len(contract.classes))}",
            hint="Import a classifier with one target.",
        )
    if source.directory is None or any(one.get("type") == "any" for one in source.signature or ()):
        return 0  # With a signature of "any", MLflow hands on one column, whatever it is sent.
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's remarks on versions and optional columns.
        original = mlflow.pyfunc.load_model(str(source.directory))
        theirs = np.asarray(original.predict(as_signed(frame, source)))
    # A bare booster's flavour gives probabilities, of two classes those of the second.
    numeric = theirs.dtype.kind == "f" and theirs.shape != answers.shape
    ours = probabilities if theirs.ndim == 2 and numeric else np.asarray(answers).reshape(-1)
    if theirs.ndim == 1 and theirs.dtype.kind == "f" and not set(theirs) <= set(contract.classes):
        ours = probabilities[:, 1]
    differ = np.flatnonzero(
        (ours != theirs.reshape(ours.shape)).reshape(len(frame), -1).any(axis=1)
    )
    if len(differ):
        raise ModelError(
            f"row {differ[0]} is answered {ours[differ[0]]!r}, and {theirs[differ[0]]!r} by the "
            f"original ({len(differ)} of {len(frame)} rows differ)",
            hint="Log the model again with the signature of the rows that it was fitted on.",
        )
    return len(frame)
