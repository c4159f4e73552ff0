"""Scores tables in this process: with the compiled form of a model, or with its pipeline."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twinml import model
from twinml.batch.scoring import as_written
from twinml.training.tasks import predictions
from twinml_local.compiled import NotCovered, load
from twinml_local.server.deployments.compiling import compiled_form

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml_local.compiled import CompiledModel

__all__ = ["TableScorer", "matrix"]

NONE: NDArray[np.float64] = np.empty((0, 0))


def matrix(compiled: CompiledModel, table: pa.Table) -> NDArray[np.float64]:
    """Return the encoded columns of ``table``, shape (n_features, n_rows).

    What ``Encoding.matrix`` does, without a Python object for every cell: each distinct text
    is looked up once.
    """
    encoding = compiled.encoding
    X = np.empty((encoding.n_features, table.num_rows))
    for place, (name, codes) in enumerate(encoding.codes.items()):
        encoded = table.column(name).combine_chunks().dictionary_encode()
        known = codes.many([*encoded.dictionary.to_pylist(), None])
        # Null has no index; it gets that of the last entry.
        indices = encoded.indices.fill_null(len(known) - 1)
        X[place] = known[indices.to_numpy(zero_copy_only=False)]
    for place, name in enumerate(encoding.numbers, start=len(encoding.codes)):
        values = table.column(name).combine_chunks()
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        X[place] = values.to_numpy(zero_copy_only=False)
    return X


class TableScorer:
    """Scores tables of a model's contract.

    Parameters
    ----------
    directory
        A model directory; it is compiled if that was not done yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._contract: Contract = model.load_contract(directory)
        self._pipeline: Any = None
        self._alone = threading.Lock()
        self._digest = model.digest(directory)
        outcome = compiled_form(directory, self._digest)
        self._compiled = (
            None
            if outcome.refusal
            else load(Path(outcome.directory), digest=self._digest, form=outcome.form)
        )
        # A pipeline's learners make no promise about being called by several threads at once.
        self.threads = 1 if self._compiled is None else os.cpu_count() or 1
        self.form = f"pipeline ({outcome.refusal})" if outcome.refusal else "compiled"

    def score(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        """Return labels and probabilities, or numbers, to the last bit as the pipeline does."""
        if self._compiled is not None:
            try:
                return self._compiled.predict_encoded(matrix(self._compiled, table), table.num_rows)
            except NotCovered:
                pass
        return self._by_pipeline(table)

    def _by_pipeline(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        frame = _frame(table, {c.name: c.mlflow_type for c in self._contract.columns})
        with self._alone:
            if self._pipeline is None:
                self._pipeline = model.load_predictor(self._directory, self._digest)
            if self._contract.task == "custom":
                return as_written(self._contract, self._pipeline.predict(frame).tolist()), NONE
            if not self._contract.classes:
                numbers = predictions(self._pipeline, frame)
                return numbers[:, 0].tolist(), numbers
            labels = self._pipeline.predict(frame)
            return labels.tolist(), predictions(self._pipeline, frame)


def _frame(table: pa.Table, types: Mapping[str, str]) -> Any:
    """Return the columns as a request's frame has them: null text is ``None``."""
    import pandas as pd

    made = {}
    for name, kind in types.items():
        values = table.column(name).combine_chunks()
        if kind == "string":
            made[name] = np.array(values.to_pylist(), dtype=object)
        else:
            made[name] = values.to_numpy(zero_copy_only=False)
    return pd.DataFrame(made)
