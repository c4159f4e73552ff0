"""A training run with its records: train, save the model, log everything, or reuse.

The fingerprint of a run covers the data, the options and the versions of the packages that
compute. A run with the same fingerprint that is complete is not done again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from twinml import model, settings
from twinml.data import Dataset
from twinml.data.reading import NONE, text_of
from twinml.errors import ModelError
from twinml.platform import TrainedModel
from twinml.registry.searching import announced
from twinml.registry.tracking import LoggedRun, Tracking, put
from twinml.report import model_card
from twinml.training import learners

if TYPE_CHECKING:
    import pandas as pd

    from twinml.training import Progress, TrainingOptions, TrainingResult

__all__ = [
    "adopt",
    "computing_versions",
    "fingerprint",
    "known",
    "model_folder",
    "run",
    "train_into",
]

# Raised when other files are written beside the model, so that what was trained before is not
# reused.
MODEL_FORMAT = 5
# What computes, beside the learners.
_COMPUTING = {"flaml", "numpy", "pandas", "scikit-learn", "scipy"}


def model_folder(digest: str) -> Path:
    """Return where the model directory with this digest is kept on this machine.

    Raises
    ------
    ModelError
        There is no digest: the folder would be that of all models.
    """
    if not digest:
        raise ModelError(
            "the model has no digest: it was not registered by twinml",
            hint="If it was made elsewhere: twinml import models:/NAME/VERSION.",
        )
    return settings.home() / "models" / digest


def fingerprint(dataset: Dataset, options: TrainingOptions) -> str:
    """Return a SHA-256 that changes with everything that could change the model."""
    parts = {
        "model format": MODEL_FORMAT,
        "data": dataset.digest,
        "target": dataset.target,
        "features": list(dataset.features.columns),
        # Left out where nothing was asked, as in fingerprints of earlier versions.
        **({} if (asked := text_of(dataset.reading)) == NONE else {"reading": asked}),
        "options": {
            # The same model, whatever fits it and however many at a time.
            k: v
            for k, v in options.to_dict().items()
            if k not in ("jobs", "engine")
        },
        # A job on another machine has this code, but not as an installed package.
        "versions": {"twinml": settings.__version__, **computing_versions()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def computing_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a model's numbers depend on."""
    return {
        name: version(name)
        for name in sorted(_COMPUTING | set(learners.packages()))
        if all(importlib.util.find_spec(module) for module in learners.modules([name]))
    }


def _rows_learned(result: TrainingResult, dataset: Dataset) -> pd.DataFrame | None:
    """Return the rows that the model learned from, features and labels."""
    if result.trained_on is None:
        return None
    rows = dataset.features[list(result.contract.column_names)].iloc[result.trained_on].copy()
    rows[result.contract.target] = dataset.labels.iloc[result.trained_on]
    return rows


def run(
    dataset: Dataset,
    options: TrainingOptions,
    tracking: Tracking,
    *,
    again: bool = False,
    progress: Callable[[Progress], None] = lambda moment: None,
) -> TrainedModel:
    """Train and log, or return the complete run with the same fingerprint.

    Parameters
    ----------
    again
        Train even if such a run is there.

    Raises
    ------
    TrainingError, DataError
        As ``twinml.training.train``.
    """
    mark = fingerprint(dataset, options)
    if not again:
        found = tracking.find(dataset.name, mark)
        if found is not None:
            digest = tracking.digest_of(found.run_id)
            try:
                directory = tracking.download(found.model_uri, model_folder(digest))
                model.check_digest(directory, digest)
            except ModelError:
                # Removed or changed since: the run is done again.
                shutil.rmtree(model_folder(digest), ignore_errors=True)
            else:
                return _logged(found, digest, directory, reused=True)
    from twinml.training import train

    tracking.prepare(dataset.name)  # What cannot be logged is not worth a search.
    with announced(dataset, progress) as watched:
        result = train(dataset, options, watched)
    models = settings.home() / "models"
    settings.private_folder(models)
    with tempfile.TemporaryDirectory(dir=models, prefix=".saving-") as scratch:
        saved = Path(scratch) / "model"
        digest = _save(result, dataset, saved)
        directory = model_folder(digest)
        put(saved, directory)
        # An earlier version may have left the same model there, with other files beside it.
        for path in saved.rglob("*"):
            if path.is_file():
                path.replace(directory / path.relative_to(saved))
    # An interrupted search is a good model but not what the options asked for, so it is
    # logged without the fingerprint: the next run searches in full.
    logged = tracking.log(
        result,
        dataset,
        directory,
        fingerprint="" if result.interrupted else mark,
        digest=digest,
    )
    return _logged(logged, digest, directory, reused=False)


def known(dataset: Dataset, options: TrainingOptions, tracking: Tracking) -> str | None:
    """Return the digest of the model that ``run`` would find instead of training, or ``None``."""
    found = tracking.find(dataset.name, fingerprint(dataset, options))
    return None if found is None else tracking.digest_of(found.run_id)


def _save(result: TrainingResult, dataset: Dataset, directory: Path) -> str:
    digest = model.save(
        result.pipeline,
        result.contract,
        directory,
        metrics={name: held.value for name, held in result.test.metrics.items()},
        extra={
            "best": result.best.name,
            "metric": result.metric,
            "threshold": result.threshold,
            "split": result.test.how,
            "data": dataset.digest,
            "learned_from": result.learned_from,
        },
        training_rows=_rows_learned(result, dataset),
        measured=result.measured,
    )
    model_card.write(result, dataset, directory, digest=digest)
    return digest


def train_into(
    dataset: Dataset,
    options: TrainingOptions,
    directory: Path,
    progress: Callable[[Progress], None] = lambda moment: None,
) -> TrainingResult:
    """Train and leave everything in ``directory``; nothing is logged or registered.

    ``model/`` is the model directory, ``result.pkl`` the result without the pipelines, and
    ``result.json`` its main figures with the digest, for a machine that only fetches them.

    Raises
    ------
    TrainingError, DataError
        As ``twinml.training.train``.
    ModelError
        The folder holds a model already.
    """
    from twinml.training import train

    result = train(dataset, options, progress)
    digest = _save(result, dataset, directory / "model")
    light = result.without_models()
    (directory / "result.pkl").write_bytes(pickle.dumps(light, protocol=5))
    figures = {
        "digest": digest,
        "best": result.best.name,
        "metric": result.metric,
        result.test.prefix: {name: held.value for name, held in result.test.metrics.items()},
    }
    (directory / "result.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return result


def adopt(
    trained: TrainedModel, dataset: Dataset, options: TrainingOptions, tracking: Tracking
) -> TrainedModel:
    """Log a run that was done elsewhere as if it had been done here, once.

    Raises
    ------
    ModelError
        It is not a run of twinml's own search, or its files were changed.
    """
    result = trained.searched()
    digest, mark = model.digest(trained.directory), fingerprint(dataset, options)
    found = tracking.find(dataset.name, mark)
    reused = found is not None and tracking.digest_of(found.run_id) == digest
    if found is None or not reused:
        found = tracking.log(result, dataset, trained.directory, fingerprint=mark, digest=digest)
    return replace(_logged(found, digest, trained.directory, reused=reused), where=trained.where)


def _logged(run: LoggedRun, digest: str, directory: Path, *, reused: bool) -> TrainedModel:
    best = run.result.best.name
    return TrainedModel(best, directory, digest, run.result, run.run_id, reused=reused)
