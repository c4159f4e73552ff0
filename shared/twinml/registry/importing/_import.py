"""``twinml import``: load, describe, compare with the original, save as one of ours, register."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml import model, settings
from twinml.contract import Contract, example_rows
from twinml.data.json_rows import records
from twinml.errors import ModelError, UsageError
from twinml.platform import ModelReference, ModelVersion
from twinml.registry.importing._answers import compare_with_original
from twinml.registry.importing._columns import (
    answering,
    as_trained,
    contract_of,
    signature_types,
)
from twinml.registry.importing._estimator import load_estimator, load_files
from twinml.registry.importing._rows import Rows, read_like_training
from twinml.registry.importing._source import Source, mlflow_model, of_path
from twinml.registry.tracking import Tracking, put
from twinml.registry.training_run import model_folder

if TYPE_CHECKING:
    import pandas as pd

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
    origin: Tracking | None = None,
    name: str | None = None,
    data: str | None = None,
    target: str | None = None,
    trust: bool = False,
) -> Imported:
    """Register a model that was made elsewhere.

    Parameters
    ----------
    source
        ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``runs:/ID/PATH``, a folder with an
        ``MLmodel`` file, or a file of skops, LightGBM, XGBoost, CatBoost or pickle.
    tracking
        Where to register it.
    origin
        The registry that ``models:/`` and ``runs:/`` are of; by default ``tracking``.
    name
        What to register it as; by default as it is called there.
    data
        A file of rows like those that it was trained on: ranges, categories, reference for drift.
    target
        What the label is called; in the data, where they are named and have one.
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
        found = _fetched(source, origin or tracking, Path(scratch) / "fetched")
        called = name or _name(source)
        made = brought(found, name=called, data=data, target=target, trust=trust)
        saved = Path(scratch) / "model"
        digest = model.save(
            made.pipeline,
            made.contract,
            saved,
            extra={"best": made.kind, "imported_from": source if "://" not in source else called},
            training_rows=made.training_rows,
            required=made.required,
        )
        directory = model_folder(digest)
        if directory.exists():
            shutil.rmtree(directory)
        put(saved, directory)
    run_id = tracking.upload(
        called,
        directory,
        digest=digest,
        title=f"{made.kind}, imported",
        tags={"twinml.imported_from": source},
    )
    version = tracking.register(called, run_id=run_id, digest=digest)
    return Imported(version, directory, made.kind, made.compared)


@dataclass(frozen=True)
class Brought:
    """A model from elsewhere as it is saved: see ``twinml.model.save`` and ``Imported``."""

    pipeline: Any
    contract: Contract
    kind: str
    compared: int
    required: Sequence[str] = ()
    training_rows: pd.DataFrame | None = None


def brought(
    source: Source,
    *,
    name: str,
    data: str | None = None,
    target: str | None = None,
    trust: bool = False,
) -> Brought:
    """Load a model, describe it, and compare its answers with the original's.

    Parameters and errors are those of ``import_model``.
    """
    estimator = None if source.format == "mlflow" else load_estimator(source, trust=trust)
    files = load_files(source, trust=trust) if estimator is None else {}
    text = [
        column for column, kind in signature_types(source.signature).items() if kind == "string"
    ]
    rows = None if data is None else read_like_training(data, target, text=text)
    contract = contract_of(estimator, source, name=name, data=rows, target=target or "target")
    pipeline: Any
    predictor: Any
    if contract.task == "custom":
        if not files:
            refuse_bare(estimator, source)
            files = load_files(source, trust=trust)
        pipeline, predictor = files, model.CustomScorer(files)
        kind = "PyFuncModel" if estimator is None else kind_of(estimator)
    else:
        pipeline = as_trained(estimator, contract, source)
        predictor, kind = model.Scorer(pipeline), kind_of(estimator)
    answers, compared = compare_with_original(predictor, contract, source, _sample(contract, rows))
    labels = [] if rows is None or rows.labels is None else rows.labels.tolist()
    contract = answering(contract, answers, labels)
    training = None if rows is None else _training_rows(rows, contract)
    return Brought(pipeline, contract, kind, compared, _required(files), training)


def kind_of(estimator: Any) -> str:
    """Return the class of an estimator, of a pipeline that of its last step."""
    return type(getattr(estimator, "steps", [[None, estimator]])[-1][1]).__name__


def refuse_bare(estimator: Any, source: Source) -> None:
    """Refuse what is served by its own code, where no MLflow model says how that is called.

    Raises
    ------
    ModelError
        It came as a bare file.
    """
    if source.directory is None:
        raise ModelError(
            f"the {kind_of(estimator)} is neither a classifier with probabilities nor a regressor "
            "of one target, or it is not fitted",
            hint="Save it after fit. CalibratedClassifierCV adds probabilities; or log it with "
            "mlflow.sklearn.log_model, and any answer is taken as it is.",
        )


def _required(files: Mapping[str, bytes]) -> list[str]:
    """Return the packages that a custom model lists, pinned as they are installed here."""
    listed = files.get("requirements.txt", b"").decode("utf-8", errors="replace")
    always = {"mlflow", "numpy", "pandas", "scikit-learn", "scipy"}
    pinned: dict[str, str] = {}
    for line in listed.splitlines():
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*)(\[[\w,-]+\])?==([\w.!+-]+)", line.strip())
        if found is None or found[1].lower() in always:
            continue
        try:
            pinned[found[1]] = f"{found[1]}=={installed(found[1])}"
        except PackageNotFoundError:
            pinned[found[1]] = line.strip()
    return [pinned[each] for each in sorted(pinned)]


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


def _training_rows(data: Rows, contract: Contract) -> pd.DataFrame:
    rows = data.features[list(contract.column_names)].copy()
    if data.labels is not None:
        rows[contract.target] = data.labels
    return rows


def _sample(contract: Contract, data: Rows | None) -> list[dict[str, Any]]:
    """Return rows to compare answers on: the user's, the model's example's, or made-up ones."""
    if data is not None:
        return records(data.features[list(contract.column_names)].iloc[:ROWS_COMPARED])
    return list(contract.samples) or _made_up(contract)


def _made_up(contract: Contract) -> list[dict[str, Any]]:
    """Return rows of the contract's facts; numbers of which it knows none lie in 0 to 100."""
    rows, chance = example_rows(contract, MADE_UP), random.Random(0)  # noqa: S311 - no secret
    for column in contract.columns:
        if column.type in ("long", "double") and column.minimum is None:
            for row in rows:
                value = chance.uniform(0.0, 100.0)
                row[column.name] = round(value) if column.type == "long" else value
    return rows
