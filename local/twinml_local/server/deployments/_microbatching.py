"""Micro-batching: requests that arrive together are predicted in one call of the pipeline.

A pipeline takes milliseconds for one row and hardly more for fifty, most of it overhead of
pandas and scikit-learn. So whoever wants a prediction queues it and then waits for the lock;
who gets the lock predicts all that is queued, and the others find their answer ready. A
request that comes alone is predicted at once; one that comes while others are predicted is in
the next batch, or in a later one only if more rows wait before it than a batch holds. Where a
batch fails, each of its requests is predicted by itself and has its own error.

Not every pipeline gives a row the same last bit whatever rows stand around it: products by
BLAS, as a linear member or a stack has them, depend on the size of the batch. ``same_in_batches``
compares, and a pipeline that differs is never batched.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import warnings
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from twinml.contract import Contract, ScoringRequest
from twinml.contract.dialects import DEFAULT
from twinml.errors import PlatformUnavailable
from twinml_local.compiled import random_columns

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["MOST_ROWS", "Batches", "Predictor", "predict_alone", "same_in_batches"]

# Rows of one call. What a batch of this size costs more than one row, a request waits at most.
MOST_ROWS = 64
# Requests of more rows than this gain nothing from company.
FEW_ROWS = 8
COMPARED_ROWS = 20
COMPARED_SIZES = (2, 3, 5, 8, 17, 33, MOST_ROWS)

Scored = tuple[Sequence[str | int | float | bool], "NDArray[Any] | None"]


class Predictor(Protocol):
    """What scores a frame whose columns and dtypes are those of the contract."""

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return labels, shape (n_rows,)."""
        ...

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return class probabilities, shape (n_rows, n_classes), in contract order."""
        ...


def predict_alone(predictor: Predictor, request: ScoringRequest) -> Scored:
    """Return labels, or no labels but probabilities when the request asks for those."""
    frame = request.frame()
    if request.method == "predict":
        return predictor.predict(frame).tolist(), None
    return (), predictor.predict_proba(frame)


class _Seat:
    """A request that waits; ``scored`` or ``error`` is set when ``done``."""

    __slots__ = ("done", "error", "request", "scored")

    def __init__(self, request: ScoringRequest) -> None:
        self.request = request
        self.done = False
        self.scored: Scored | None = None
        self.error: Exception | None = None


class Batches:
    """Predicts what several threads ask for at the same time in one call.

    Parameters
    ----------
    predictor
        The pipeline; ``same_in_batches`` must be true of it.

    Attributes
    ----------
    calls, requests
        How many calls of the pipeline answered how many small requests.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: deque[_Seat] = deque()
        self._small = threading.Lock()
        self._large = threading.Lock()
        self.calls = 0
        self.requests = 0

    def predict(self, request: ScoringRequest) -> Scored:
        """Return what ``predict_alone`` does, to the last bit; raises what it raises."""
        if request.n_rows > FEW_ROWS or not _plain(request):
            with self._large:
                return predict_alone(self._predictor, request)
        seat = _Seat(request)
        self._waiting.append(seat)
        with self._small:
            while not seat.done:
                self._predict_waiting()
        if seat.scored is None:
            raise seat.error or PlatformUnavailable(
                "scoring was interrupted", hint="Send the request again."
            )
        return seat.scored

    def _predict_waiting(self) -> None:
        """Predict those that have waited longest, as many as go into one batch."""
        seats: list[_Seat] = []
        room = MOST_ROWS
        while self._waiting and (room := room - self._waiting[0].request.n_rows) >= 0:
            seats.append(self._waiting.popleft())
        self.requests += len(seats)
        for method in ("predict", "predict_proba"):
            asked = [seat for seat in seats if seat.request.method == method]
            if not asked:
                continue
            self.calls += 1
            try:
                self._together(asked)
            except Exception:
                # One of them is at fault, or the batch is: each is tried by itself.
                for seat in asked:
                    self._by_itself(seat)
            finally:
                for seat in asked:
                    seat.done = True

    def _together(self, seats: Sequence[_Seat]) -> None:
        first = seats[0].request
        if len(seats) == 1:
            seats[0].scored = predict_alone(self._predictor, first)
            return
        columns = {
            name: [value for seat in seats for value in seat.request.columns[name]]
            for name in first.columns
        }
        n_rows = sum(seat.request.n_rows for seat in seats)
        whole = ScoringRequest(first.dialect, columns, n_rows, first.method, first.types)
        labels, probabilities = predict_alone(self._predictor, whole)
        begin = 0
        for seat in seats:
            end = begin + seat.request.n_rows
            seat.scored = (
                labels[begin:end],
                None if probabilities is None else probabilities[begin:end],
            )
            begin = end

    def _by_itself(self, seat: _Seat) -> None:
        try:
            seat.scored = predict_alone(self._predictor, seat.request)
        except Exception as error:
            seat.error = error


def _plain(request: ScoringRequest) -> bool:
    """Tell whether text columns hold text and nulls: numbers there concern a whole column."""
    return all(
        value is None or type(value) is str
        for type_, values in zip(request.types, request.columns.values(), strict=True)
        if type_ == "string"
        for value in values
    )


def same_in_batches(predictor: Predictor, contract: Contract, *, seed: int = 0) -> bool:
    """Tell whether the pipeline gives rows the same labels and bits alone and in batches.

    Compared are the contract's samples and random rows, with nulls and unseen texts, one by one
    and in batches of up to ``MOST_ROWS``: some forty calls, a second or two. That is a sample
    and no proof. Rows that the pipeline cannot score are left out; one that can score none of
    them is not to be batched.
    """
    columns = random_columns(contract, COMPARED_ROWS, np.random.default_rng(seed))
    for column in contract.columns:
        null = math.nan if column.mlflow_type == "double" else None
        given = [sample[column.name] for sample in contract.samples]
        columns[column.name] += [null if value is None else value for value in given]
    types = contract.column_types

    exact: Literal["predict", "predict_proba"] = "predict_proba" if contract.classes else "predict"

    def asked(places: Sequence[int], method: Literal["predict", "predict_proba"]) -> list[Any]:
        chosen = {name: [values[place] for place in places] for name, values in columns.items()}
        request = ScoringRequest(DEFAULT, chosen, len(places), method, types)
        labels, shares = predict_alone(predictor, request)
        if shares is None:
            return [json.dumps(label) for label in labels]  # in which nan equals itself
        return [row.tobytes() for row in np.ascontiguousarray(shares)]

    alone: dict[int, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in range(COMPARED_ROWS + len(contract.samples)):
            # Whatever a pipeline raises for a row that it cannot take.
            with contextlib.suppress(Exception):
                alone[place] = asked([place], exact)[0]
        if len(alone) < 2:
            return False
        scored = list(alone)
        try:
            for first, size in enumerate(COMPARED_SIZES):
                places = [scored[(first + step) % len(scored)] for step in range(size)]
                if asked(places, exact) != [alone[place] for place in places]:
                    return False
            # Labels follow from the same numbers, so that fewer calls will do.
            some = scored[:: max(1, len(scored) // 6)]
            labels = [asked([place], "predict")[0] for place in some]
            return bool(asked(some * 5, "predict") == labels * 5)
        except Exception:
            return False
