"""Whether a compiled model answers as its pipeline does, to the last bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.contract import Contract, frame_of
from twinml.training.tasks import predictions
from twinml_local.compiled._compile import taken_apart
from twinml_local.compiled._compile_columns import parts_of
from twinml_local.compiled._errors import NotCovered, Refusal
from twinml_local.compiled._layout import LINEAR, MANY
from twinml_local.compiled._model import Blended, CompiledModel, said_by
from twinml_local.compiled._probes import (
    Columns,
    columns_of,
    edge_columns,
    random_columns,
    threshold_rows,
)
from twinml_local.compiled._read_columns import prepared
from twinml_local.compiled._verify_columns import (
    covered_rows,
    requests_near,
    without_uncovered,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Verification", "verify"]

F8 = NDArray[np.float64]

# Batches of other sizes than one, seven and all: around those at which the kernel or BLAS
# goes another way.
_SIZES = (2, 3, 4, 5, 8, 9, 16, 17, 33, 63, 64, 65, 257, 1025)

# Of the rows at thresholds, which are seven a node, one in so many is scored by all members
# together. Prime to seven, so that all seven kinds are among them.
_SHARE = 5


@dataclass(frozen=True)
class Verification:
    """What was compared: rows of requests, encoded rows, and calls of the pipeline."""

    rows: int
    encoded_rows: int
    calls: int


def verify(
    compiled: CompiledModel,
    pipeline: Any,
    contract: Contract,
    rows: pd.DataFrame | Mapping[str, Sequence[Any]] | None = None,
    *,
    seed: int = 0,
    n_random: int = 2000,
    most_nodes: int = 4000,
    singles: int = 15,
    sizes: Sequence[int] = _SIZES,
) -> Verification:
    """Compare ``compiled`` with the pipeline it was made from, bit by bit.

    Compared are labels and probabilities of the given rows, of random rows in and out of the
    training rows' ranges, of unseen texts, nulls, infinite and huge numbers, and of rows on and
    next to thresholds of all members' trees; one by one, in sevens, in other sizes and all at
    once. Takes some seconds.

    Parameters
    ----------
    rows
        Training rows, as a frame or as columns; without them the contract's samples.
    n_random
        Random rows, and as many extreme ones.
    most_nodes
        Nodes to put rows on the thresholds of, seven rows each.
    singles
        Rows that are also sent one by one.
    sizes
        Of other batches.

    Raises
    ------
    Refusal
        One bit differs, or one of the two does not answer; the message says where.
    """
    # One thread, as in a server; more would also wait for each other on a busy machine.
    with threadpool_limits(1):
        check = _Check(compiled, pipeline, contract)
        verified = _verify if compiled.preparation is None else _verify_columns
        return verified(
            compiled, check, contract, _given(contract, rows), np.random.default_rng(seed),
            n_random, most_nodes, singles, sizes,
        )  # fmt: skip


def _verify(
    compiled: CompiledModel,
    check: _Check,
    contract: Contract,
    given: Columns,
    rng: np.random.Generator,
    n_random: int,
    most_nodes: int,
    singles: int,
    sizes: Sequence[int],
) -> Verification:
    base = compiled.encoding.matrix(given, _length(given))
    probes = _requests(contract, given, n_random, rng)
    codes = compiled.encoding.codes
    if no_texts := [name for name, one in codes.items() if one.number is not None]:
        probes["a row with numbers for texts"] = edge_columns(
            contract, n_random // 4, rng, no_texts=no_texts
        )
    # Trees are walked from the random rows, too: the given ones may be five.
    start = np.hstack([base, compiled.encoding.matrix(probes["a random row"], n_random)])
    start = np.clip(start, compiled.encoding.low, compiled.encoding.high)
    near = threshold_rows(compiled, start, most_nodes, rng)
    if near.shape[1]:
        some = near[:, rng.permutation(near.shape[1])[: 5 * n_random]]
        probes["a row at a threshold"] = columns_of(compiled.encoding, contract, some)
    for name, columns in probes.items():
        check.columns(columns, name)
    mixed = _mixed(probes, rng)
    for size, batches in ((1, singles), (7, singles)):
        for columns in _batches(mixed, size, batches):
            check.columns(columns, f"a batch of {size}")
    encoded = np.clip(np.hstack([near, start]), compiled.encoding.low, compiled.encoding.high)
    encoded = _with_nulls_where_known(encoded, compiled, contract)
    check.members(encoded, "an encoded row at a threshold")
    if isinstance(compiled.join, Blended):
        final = compiled.join.final
        said = said_by(compiled.score_members(np.ascontiguousarray(start), start.shape[1]))
        blended = threshold_rows(final, np.vstack([said, start]), most_nodes, rng)
        check.final(final, blended, "a row at a threshold of what blends the members")
    # Joining asks all members once more, and has nothing of its own at a threshold.
    check.encoded(encoded[:, ::_SHARE], "an encoded row at a threshold")
    # Repeated where there are fewer rows than the sizes take together.
    order = np.resize(rng.permutation(encoded.shape[1]), sum(sizes))
    first = 0
    for size in sizes:
        chosen = encoded[:, order[first : first + size]]
        check.encoded(chosen, f"a batch of {size} encoded rows")
        first += size
    return Verification(check.rows, check.encoded_rows, check.calls)


def _requests(
    contract: Contract, given: Columns, n_random: int, rng: np.random.Generator
) -> dict[str, Columns]:
    """Return the requests that every model is compared on, by what one of their rows is."""
    return {
        "a training row": given,
        "a random row": random_columns(contract, n_random, rng),
        "an extreme row": edge_columns(contract, n_random, rng),
    }


def _verify_columns(
    compiled: CompiledModel,
    check: _Check,
    contract: Contract,
    given: Columns,
    rng: np.random.Generator,
    n_random: int,
    most_nodes: int,
    singles: int,
    sizes: Sequence[int],
) -> Verification:
    """Compare on requests alone: what the pipeline refuses is left to it."""
    covered = covered_rows(compiled, given)
    if not covered.any():
        raise Refusal("the compiled form answers none of the contract's samples")
    base = {name: values[int(covered.argmax())] for name, values in given.items()}
    probes = {
        name: without_uncovered(compiled, columns, base, rng)
        for name, columns in _requests(contract, given, n_random, rng).items()
    }
    starts = [
        compiled.prepared(probes[name], _length(probes[name]))[0]
        for name in ("a training row", "a random row")
    ]
    near = threshold_rows(compiled, np.hstack(starts), most_nodes, rng)
    if near.shape[1]:
        requests = requests_near(compiled, contract, near, base, rng)
        probes["a row at a threshold"] = without_uncovered(compiled, requests, base, rng)
    for name, columns in probes.items():
        check.columns(columns, name)
        check.members_of_requests(columns, name)
    mixed = _mixed(probes, rng)
    for size, batches in ((1, singles), (7, singles)):
        for columns in _batches(mixed, size, batches):
            check.columns(columns, f"a batch of {size}")
    for size in sizes:
        order = rng.integers(0, _length(mixed), size)
        check.columns(
            {name: [values[row] for row in order] for name, values in mixed.items()},
            f"a batch of {size}",
        )
    return Verification(check.rows, check.encoded_rows, check.calls)


class _Check:
    def __init__(self, compiled: CompiledModel, pipeline: Any, contract: Contract) -> None:
        self.compiled = compiled
        self.pipeline = pipeline
        self.types = contract.column_types
        if compiled.preparation is None:
            self.model = taken_apart(pipeline)[1]
        self.rows = self.encoded_rows = self.calls = 0

    def columns(self, columns: Columns, what: str) -> None:
        n_rows = _length(columns)
        self.rows += n_rows
        self.calls += 1
        frame = frame_of(columns, self.types)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = predictions(self.pipeline, frame)
                labels = self.pipeline.predict(frame).tolist()
        except Exception as error:
            raise Refusal(f"the pipeline cannot score {what}: {type(error).__name__}") from error
        try:
            found, probabilities = self.compiled.predict_columns(columns, n_rows)
        except NotCovered as error:
            raise Refusal(f"the compiled form does not cover {what}") from error
        _same(expected, probabilities, what)
        if labels != found:
            raise Refusal(f"{what} has another label")

    def encoded(self, X: F8, what: str) -> None:
        """Compare what comes after the encoder, which values between codes reach as well."""
        n_rows = X.shape[1]
        self.calls += 1
        matrix = np.ascontiguousarray(X.T)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = predictions(self.model, matrix)
        # Labels are compared on requests.
        _same(expected, self.compiled.score(np.ascontiguousarray(X), n_rows)[1], what)

    def final(self, final: CompiledModel, X: F8, what: str) -> None:
        """Compare what blends the members by itself, on columns that no members need to say."""
        self.encoded_rows += X.shape[1]
        self.calls += 1
        blend = self.model.final_estimator_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = predictions(blend, np.ascontiguousarray(X.T))
        _same(expected, final.score(np.ascontiguousarray(X), X.shape[1])[1], what)

    def members(self, X: F8, what: str) -> None:
        """Compare every member by itself: what differs in one may be rounded away in the mean."""
        self.encoded_rows += X.shape[1]
        matrix = np.ascontiguousarray(X.T)
        found = self.compiled.score_members(np.ascontiguousarray(X), X.shape[1])
        for place, member in enumerate(self.model.estimators_):
            self.calls += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = predictions(member, matrix)
            _same(expected, found[place], f"{what}, in member {place + 1},")
        self.few(X, found, what)

    def few(self, X: F8, found: F8, what: str) -> None:
        """Compare what few rows at a time are given, which go down trees in another way."""
        trees = [place for place, row in enumerate(self.compiled.members.table) if row[0] != LINEAR]
        size = MANY - 1
        for first in range(0, X.shape[1] - size + 1, size):
            part = np.ascontiguousarray(X[:, first : first + size])
            few = self.compiled.score_members(part, size)
            for place in trees:
                _same(found[place, first : first + size], few[place], f"{what}, among few,")

    def members_of_requests(self, columns: Columns, what: str) -> None:
        """Compare every member of a bare pipeline by itself, where there are several."""
        parts = parts_of(self.pipeline)
        n_rows = _length(columns)
        X = self.compiled.prepared(columns, n_rows)[0]
        found = self.compiled.score_members(X, n_rows)
        self.few(X, found, what)
        if len(parts.members) == 1:
            return
        self.encoded_rows += n_rows
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = prepared(parts.steps, frame_of(columns, self.types))
            for place, member in enumerate(parts.members):
                self.calls += 1
                _same(predictions(member, rows), found[place], f"{what}, in member {place + 1},")


def _same(expected: Any, found: F8, what: str) -> None:
    wanted = np.ascontiguousarray(expected)
    if wanted.dtype != np.float64 or wanted.shape != found.shape:
        raise Refusal(f"the pipeline's predictions are {wanted.dtype} of shape {wanted.shape}")
    differs = (wanted.view(np.int64) != found.view(np.int64)).any(axis=1)
    if differs.any():
        row = int(np.flatnonzero(differs)[0])
        raise Refusal(
            f"{what} has another prediction: {found[row].tolist()}, "
            f"the pipeline says {wanted[row].tolist()} "
            f"({int(differs.sum()):,} of {len(differs):,} rows differ)"
        )


def _given(contract: Contract, rows: pd.DataFrame | Mapping[str, Sequence[Any]] | None) -> Columns:
    if rows is None:
        rows = {
            name: [sample[name] for sample in contract.samples] for name in contract.column_names
        }
    columns: Columns = {}
    for column in contract.columns:
        values = list(rows[column.name])
        if column.type == "string":
            columns[column.name] = [value if isinstance(value, str) else None for value in values]
        elif column.mlflow_type == "double":
            columns[column.name] = [float("nan" if value is None else value) for value in values]
        else:
            cast = int if column.type == "long" else bool
            columns[column.name] = [cast(value) for value in values]
    return columns


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _mixed(probes: Mapping[str, Columns], rng: np.random.Generator) -> Columns:
    """Return the rows of all probes in one random order."""
    names = next(iter(probes.values()))
    whole = {name: [value for one in probes.values() for value in one[name]] for name in names}
    order = rng.permutation(_length(whole))
    return {name: [values[place] for place in order] for name, values in whole.items()}


def _batches(columns: Columns, size: int, count: int) -> Iterator[Columns]:
    count = min(count, _length(columns) // size)
    # From both ends, so that batches of one and of seven are of different rows.
    for place in range(count):
        first = place * size if size > 1 else -1 - place
        end = first + size or None
        yield {name: values[first:end] for name, values in columns.items()}


def _with_nulls_where_known(X: F8, compiled: CompiledModel, contract: Contract) -> F8:
    """Take nulls away from columns that a request cannot have them in."""
    types = {column.name: column.mlflow_type for column in contract.columns}
    names = [*compiled.encoding.codes, *compiled.encoding.numbers]
    for place, name in enumerate(names):
        if types[name] != "double":
            X[place] = np.nan_to_num(X[place], nan=0.0, posinf=np.inf, neginf=-np.inf)
    return X
