"""The answers of an endpoint, or of the model itself, to the rows of a comparison.

Rows are asked in chunks, and the model is asked in the same chunks: a server reads a request
as a whole, and the last bit of a matrix product may depend on its height.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.comparison.parsing import Changed, changed_cells, identical, read_as_pandas
from twinml.contract import Contract, parse
from twinml.endpoint import Endpoint, request_body
from twinml.errors import EndpointError, PayloadError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.model import Scorer

__all__ = ["Answers", "Reference", "Refusal", "ask", "latencies", "recalculate"]

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

# An answer of the server to this input: Azure gives 424 for a script that failed. Any other
# status (no permission, too busy, not there) is no answer to a row, and ends the comparison.
REFUSALS = frozenset({400, 413, 415, 422, 424, 500})


@dataclass(frozen=True)
class Refusal:
    """A row that was not scored: the status and the server's words."""

    status: int
    message: str


@dataclass(frozen=True)
class Answers:
    """Answers by row.

    Attributes
    ----------
    labels
        ``None`` where the row was refused.
    probabilities
        Shape (n_rows, n_classes), of a regression the numbers, shape (n_rows, 1); NaN where the
        row was refused.
    refusals
        By row.
    seconds
        Of each request, labels and probabilities alike; empty for the model itself.
    told
        By row, what the reply said of Azure's side.
    """

    labels: list[Any]
    probabilities: Floats = field(repr=False)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    seconds: tuple[float, ...] = field(default=(), repr=False)
    told: Mapping[int, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Reference:
    """The answers of the model itself to the rows as sent, and as ``read_json`` reads them."""

    exact: Answers
    parsed: Answers
    changed: tuple[Changed, ...]


def chunked(rows: Sequence[Row], size: int, alone_from: int) -> Iterator[tuple[int, list[Row]]]:
    """Yield the first position and the rows of each chunk; from ``alone_from`` on one by one."""
    for start in range(0, alone_from, size):
        yield start, list(rows[start : min(start + size, alone_from)])
    for start in range(alone_from, len(rows)):
        yield start, [rows[start]]


def ask(
    endpoint: Endpoint,
    rows: Sequence[Row],
    n_classes: int,
    *,
    size: int,
    alone_from: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Score ``rows`` with an endpoint, labels and probabilities, or numbers.

    Parameters
    ----------
    n_classes
        0 of a regression.
    size
        Rows in a request.
    alone_from
        Rows from this position on are sent one by one, because some may be refused.
    progress
        Told how many rows are done.

    Raises
    ------
    EndpointError
        The endpoint refused a whole request of ordinary rows, or did not answer.
    """
    labels: list[Any] = [None] * len(rows)
    probabilities = np.full((len(rows), n_classes or 1), np.nan)
    refusals: dict[int, Refusal] = {}
    seconds: list[float] = []
    told: dict[int, str] = {}
    for start, chunk in chunked(rows, size, alone_from):
        began = time.perf_counter()
        try:
            answer = endpoint.answer(chunk)
            given = answer.predictions
            seconds.append(time.perf_counter() - began)
            if n_classes:
                began = time.perf_counter()
                shares = np.asarray(endpoint.score_proba(chunk), dtype=np.float64)
                seconds.append(time.perf_counter() - began)
            else:
                shares = numbers_of(given)
        except EndpointError as error:
            if error.status not in REFUSALS or start < alone_from:
                raise
            refusals[start] = Refusal(error.status, error.message)
        else:
            if shares.shape != (len(chunk), n_classes or 1):
                raise EndpointError(
                    f"{endpoint.scoring_uri} answered probabilities of shape {shares.shape}, "
                    f"expected {(len(chunk), n_classes or 1)}",
                    hint="Its model must take params={'method': 'predict_proba'}.",
                    status=502,
                )
            labels[start : start + len(chunk)] = given
            probabilities[start : start + len(chunk)] = shares
            if answer.azure:
                told |= dict.fromkeys(range(start, start + len(chunk)), answer.azure)
        progress(start + len(chunk))
    return Answers(labels, probabilities, refusals, tuple(seconds), told)


def numbers_of(given: Any) -> NDArray[np.float64]:
    """Return answers without probabilities as numbers, shape (n, 1); 0 for what is none.

    Such answers are compared as labels are: equal or not.
    """
    try:
        return np.asarray(given, dtype=np.float64).reshape(-1, 1)
    except (TypeError, ValueError):
        return np.zeros((len(given), 1))


def recalculate(
    model: Scorer, contract: Contract, rows: Sequence[Row], *, size: int, alone_from: int
) -> Reference:
    """Score ``rows`` with the model in this process, in the chunks of ``ask``.

    One thread works, as in a server: for a few hundred rows more of them only wait for
    each other.
    """
    with threadpool_limits(1):
        return _recalculated(model, contract, rows, size=size, alone_from=alone_from)


def _recalculated(
    model: Scorer, contract: Contract, rows: Sequence[Row], *, size: int, alone_from: int
) -> Reference:
    changed: list[Changed] = []

    def exact(start: int, chunk: list[Row]) -> pd.DataFrame:
        body = request_body(chunk)
        return parse(contract, body, content_type="application/json", route="score").frame()

    def parsed(start: int, chunk: list[Row]) -> pd.DataFrame:
        frame = read_as_pandas(contract, chunk)
        changed.extend(changed_cells(contract, chunk, frame, start))
        return frame

    answers = [_unanswered(rows, contract), _unanswered(rows, contract)]
    for start, chunk in chunked(rows, size, alone_from):
        whole = slice(start, start + len(chunk))
        before: pd.DataFrame | None = None
        for into, frame_of in zip(answers, (exact, parsed), strict=True):
            try:
                # Extremes are sent on purpose; a server does not answer with warnings either.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    frame = frame_of(start, chunk)
                    if before is not None and identical(before, frame):
                        # Most rows are read alike; asking the model is what takes the time.
                        into.labels[whole] = answers[0].labels[whole]
                        into.probabilities[whole] = answers[0].probabilities[whole]
                        continue
                    given = model.predict(frame)
                    shares = model.predict_proba(frame) if contract.classes else numbers_of(given)
            except (PayloadError, ValueError, TypeError, OverflowError) as error:
                refused = {start + n: Refusal(400, str(error)) for n in range(len(chunk))}
                into.refusals.update(refused)
            else:
                into.labels[whole] = np.asarray(given).tolist()
                into.probabilities[whole] = shares
                before = frame
    return Reference(answers[0], answers[1], tuple(changed))


def _unanswered(rows: Sequence[Row], contract: Contract) -> Answers:
    return Answers([None] * len(rows), np.full((len(rows), len(contract.classes) or 1), np.nan), {})


def latencies(
    endpoints: Sequence[Endpoint], rows: Sequence[Row], repeats: int
) -> list[tuple[float, ...]]:
    """Return the milliseconds of single-row requests by endpoint, asked in turn.

    They take turns so that other load on the machine slows all of them alike. The first
    request of each opens its connection and is left out.
    """
    taken: list[list[float]] = [[] for _ in endpoints]
    for number in range(repeats + 1):
        row = [rows[number % len(rows)]]
        for endpoint, mine in zip(endpoints, taken, strict=True):
            began = time.perf_counter()
            endpoint.score(row)
            if number:
                mine.append(1000 * (time.perf_counter() - began))
    return [tuple(mine) for mine in taken]
