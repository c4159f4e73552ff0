"""An endpoint against the model that it should serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twinml.comparison.answers import ask, recalculate
from twinml.comparison.judgement import Comparison, Side, judge
from twinml.endpoint import Endpoint
from twinml.model import digest, load_contract, load_predictor

__all__ = ["against_model"]


def against_model(
    client: Endpoint, directory: Path, rows: Sequence[Mapping[str, Any]]
) -> Comparison:
    """Compare an endpoint with the model in ``directory`` on ``rows``, sent in one request.

    Raises
    ------
    EndpointError
        The endpoint refused the rows or did not answer.
    """
    contract = load_contract(directory)
    size = len(rows)
    answers = ask(client, rows, len(contract.classes), size=size, alone_from=size)
    predictor = load_predictor(directory, digest(directory))
    reference = recalculate(predictor, contract, rows, size=size, alone_from=size)
    sides = (Side("the model", str(directory)), Side("the endpoint", client.scoring_uri))
    return judge(sides, (reference.exact, answers), reference=reference)
