"""A model directory that scores rows as its endpoint does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.contract import Contract, parse
from twinml.contract.dialects import RECORDS
from twinml.model._directory import digest, load_contract, load_predictor

if TYPE_CHECKING:
    import pandas as pd

    from twinml.model._scoring import Scorer

__all__ = ["LoadedModel"]


@dataclass(frozen=True)
class LoadedModel:
    """The contract and the predictor of a model directory."""

    contract: Contract
    predictor: Scorer

    @classmethod
    def open(cls, directory: Path) -> LoadedModel:
        """Load the model in ``directory``.

        Raises
        ------
        ModelError
            It is no model directory, was changed after it was saved, or cannot be loaded.
        """
        return cls(load_contract(directory), load_predictor(directory, digest(directory)))

    def frame(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Return ``rows`` as the predictor takes them, read as a request with them is read.

        Raises
        ------
        PayloadError
            A value does not fit the contract; the message says where.
        """
        from twinml.endpoint import request_body  # with it comes requests, which no server needs

        return self.frame_of(request_body(rows, dialect=RECORDS.name))

    def frame_of(self, body: bytes) -> pd.DataFrame:
        """Return the rows of a JSON request body as the predictor takes them.

        Raises
        ------
        PayloadError
            The body does not fit the contract; the message says where.
        """
        return parse(self.contract, body, content_type="application/json", route="score").frame()
