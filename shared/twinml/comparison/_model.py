"""An endpoint against the model that it should serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twinml.comparison._answers import Reference, ask, recalculate
from twinml.comparison._judgement import Comparison, Side, judge
from twinml.endpoint import Endpoint
from twinml.model import digest, load_contract, load_predictor

__all__ = ["against_model", "own_answers"]


def own_answers(directory: Path, rows: Sequence[Mapping[str, Any]]) -> Reference:
    """Return what the model in ``directory`` answers to ``rows``, calculated in this process."""
    contract, size = load_contract(directory), len(rows)
    predictor = load_predictor(directory, digest(directory))
    return recalculate(predictor, contract, rows, size=size, alone_from=size)


def against_model(
    client: Endpoint, directory: Path, rows: Sequence[Mapping[str, Any]]
) -> Comparison:
    """Compare an endpoint with the model in ``directory`` on ``rows``, sent in one request.

    Raises
    ------
    EndpointError
        The endpoint refused the rows or did not answer.
    """
    n_classes, size = len(load_contract(directory).classes), len(rows)
    answers = ask(client, rows, n_classes, size=size, alone_from=size)
    reference = own_answers(directory, rows)
    sides = (Side("the model", str(directory)), Side("the endpoint", client.scoring_uri))
    return judge(sides, (reference.exact, answers), reference=reference)
