"""Two models, or two deployments, on the same labelled rows of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import DataError, ModelError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.abtest.offline import ABResult
    from twinml.data import Dataset
    from twinml.endpoint import Endpoint
    from twinml.model import LoadedModel

__all__ = ["Scored", "compare_scored", "fitting_frame", "scored_by_endpoint", "scored_by_model"]

CHUNK_ROWS = 5000


@dataclass(frozen=True)
class Scored:
    """What one side makes of all rows: its classes, and probabilities of shape (n, k).

    Of a regression there are no classes, and the numbers have the shape (n, 1).
    """

    classes: tuple[Any, ...]
    probabilities: Any


def scored_by_model(directory: Path, dataset: Dataset) -> Scored:
    """Score all rows with the model in ``directory``.

    Raises
    ------
    DataError
        The file lacks features of the model.
    """
    from twinml.model import LoadedModel, load_contract

    load_contract(directory).check_judged("abtest")
    model = LoadedModel.open(directory)
    frame = fitting_frame(model, dataset)
    if model.contract.task == "regression":
        return Scored((), model.predictor.predict(frame)[:, None])
    return Scored(model.contract.classes, model.predictor.predict_proba(frame))


def scored_by_endpoint(endpoint: Endpoint, dataset: Dataset) -> Scored:
    """Score all rows with a deployment.

    Raises
    ------
    ModelError
        Its OpenAPI document does not tell the classes.
    """
    import numpy as np

    from twinml.endpoint.document import facts_of

    facts = facts_of(endpoint)
    facts.check_judged("abtest")
    if facts.regression:
        numbers = [each for chunk in _chunks(dataset) for each in endpoint.score(chunk)]
        return Scored((), np.array(numbers, dtype=np.float64)[:, None])
    classes = tuple(facts.classes)
    if not classes:
        raise ModelError(
            f"deployment '{endpoint.deployment}' does not tell its classes",
            hint="Compare the models instead: --a NAME/VERSION --b NAME/VERSION.",
        )
    found = [row for chunk in _chunks(dataset) for row in endpoint.score_proba(chunk)]
    return Scored(classes, np.array(found))


def _chunks(dataset: Dataset) -> Iterator[list[dict[str, Any]]]:
    frame: Any = dataset.features.astype(object)
    rows = frame.where(dataset.features.notna(), None).to_dict("records")
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


def compare_scored(dataset: Dataset, a: Scored, b: Scored, **options: Any) -> ABResult:
    """Judge B against A by the labels of the rows.

    Parameters
    ----------
    options
        Those of ``twinml.abtest.offline.compare``.

    Raises
    ------
    ModelError
        They do not predict the same classes.
    DataError
        A label is none of their classes.
    """
    from twinml.abtest.predictions import compare_predictions

    if set(a.classes) != set(b.classes):
        raise ModelError(
            f"A predicts {list(a.classes)}, B predicts {list(b.classes)}",
            hint="Compare models of the same target.",
        )
    if not a.classes:
        if dataset.labels.dtype.kind not in "iuf":
            raise DataError(
                f"the column '{dataset.target}' holds text, and the models predict numbers",
                hint="Name the column of true numbers with --target.",
            )
        return compare_predictions(
            dataset.labels.to_numpy(float), a.probabilities, b.probabilities, **options
        )
    return compare_predictions(
        indices(dataset.labels.tolist(), a.classes),
        a.probabilities,
        b.probabilities[:, [b.classes.index(label) for label in a.classes]],
        **options,
    )


def fitting_frame(model: LoadedModel, dataset: Dataset) -> pd.DataFrame:
    """Return the features of ``dataset`` with the columns and types that a model takes.

    They go through the parser of its contract, so that a file is read here as a request is.

    Raises
    ------
    DataError
        The file lacks columns; the message names them all.
    PayloadError
        A value does not fit; the message says where.
    """
    contract, features = model.contract, dataset.features
    # Reading a file leaves out columns that are wholly empty.
    missing = [
        name
        for name in contract.column_names
        if name not in features and name not in dataset.dropped
    ]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing)
        raise DataError(
            f"'{dataset.source.name}' lacks features of model '{contract.name}': "
            f"{named} {'is' if len(missing) == 1 else 'are'} missing",
            hint="A verdict needs every feature that the models were trained on.",
        )
    plain: Any = features.astype(object)
    frame = plain.where(features.notna(), None)
    for name in contract.column_names:
        if name not in frame:
            frame[name] = None
    return model.frame(frame.to_dict("records"))


def indices(labels: list[Any], classes: tuple[Any, ...]) -> list[int]:
    """Return the position of each label among the classes; a class may be spelt as text."""
    positions: dict[Any, int] = {str(label): place for place, label in enumerate(classes)}
    positions |= {label: place for place, label in enumerate(classes)}
    found = []
    for row, label in enumerate(labels):
        place = positions.get(label, positions.get(str(label)))
        if place is None:
            raise DataError(
                f"row {row} has the label {label!r}, which the models do not know",
                hint=f"Their classes: {', '.join(map(str, classes))}.",
            )
        found.append(place)
    return found
