"""How unlike the training rows a row is: a score that costs microseconds and needs numpy alone.

Made at training time and kept beside the model as ``ood.npz``::

    a value that training never had (beyond the range, unseen category, first null) ──▶ 1
    otherwise: isolation forest ──▶ share of the training rows that are less odd, below 1

So 0.5 is as odd as the median training row, and 0.99 odder than all but one in a hundred. The
forest (Liu, Ting, Zhou, "Isolation Forest", ICDM 2008) finds odd combinations of values that
are ordinary one by one. It is scikit-learn's, taken apart into arrays, so that scoring loads no
scikit-learn and a model's requirements stay as they are.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinml.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Column, Contract

__all__ = ["FILE", "OODScorer", "columns_of", "fit", "load"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FILE = "ood.npz"
FORMAT = 1
TREES = 64
ROWS_A_TREE = 256
# Rows that say how odd is how common; more do not change the third digit.
CALIBRATION_ROWS = 5_000
LEVELS = 1_001
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Encoding:
    """How one column becomes a number, and the values of it that training had.

    Attributes
    ----------
    name
        Of the column.
    codes
        Number of each category, frequent ones first; ``None`` for numbers and booleans.
    low, high
        Range of the training rows; NaN where all are null.
    fill
        What stands for null: the median of numbers, a code of its own for categories.
    had_null
        Whether a training row had null here.
    """

    name: str
    codes: Mapping[str, int] | None
    low: float
    high: float
    fill: float
    had_null: bool

    def encode(self, values: Sequence[Any]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the numbers of ``values``, and which of them training never had; both (n,)."""
        if self.codes is not None:
            known, fill, unseen = self.codes, self.fill, len(self.codes) + 1.0
            numbers = np.array(
                [
                    fill if value is None or value != value else known.get(value, unseen)
                    for value in values
                ],
                dtype=np.float64,
            )
            outside = numbers == unseen
            null = numbers == fill
        else:
            numbers = np.array(
                [math.nan if value is None else value for value in values], dtype=np.float64
            )
            null = np.isnan(numbers)
            outside = ~null & ~((numbers >= self.low) & (numbers <= self.high))
            numbers = np.where(null, self.fill, np.clip(numbers, -LARGEST, LARGEST))
        return numbers, outside if self.had_null else outside | null


@dataclass(frozen=True)
class OODScorer:
    """Scores rows; see the module's description of the score.

    Attributes
    ----------
    encodings
        One a column that is looked at.
    feature, threshold, left, right
        Nodes of the trees, shape (n_trees, n_nodes): a row goes left where its feature is at
        most the threshold. A leaf leads to itself.
    path
        Path length that a row has which ends at a node, shape (n_trees, n_nodes).
    depth
        Of the deepest tree.
    levels
        Mean path lengths of training rows, ascending, shape (n_levels,).
    """

    encodings: tuple[Encoding, ...]
    feature: Integers
    threshold: Floats
    left: Integers
    right: Integers
    path: Floats
    depth: int
    levels: Floats

    def score(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> Floats:
        """Return the score of each row, 0 to 1, shape (n_rows,).

        Parameters
        ----------
        columns
            Values by column as in ``ScoringRequest.columns``; a column that is missing counts
            as null.
        n_rows
            Length of each column.
        """
        outside = np.zeros(n_rows, dtype=bool)
        matrix = np.empty((n_rows, len(self.encodings)), dtype=np.float32)
        for place, encoding in enumerate(self.encodings):
            values = columns.get(encoding.name)
            numbers, odd = encoding.encode([None] * n_rows if values is None else values)
            matrix[:, place] = numbers
            outside |= odd
        lengths = self.path_lengths(matrix)
        below = len(self.levels) - np.searchsorted(self.levels, lengths, side="left")
        # The oddest training row is not outside: 1 is for what training never had.
        shares = np.minimum(below / len(self.levels), 1 - 1 / len(self.levels))
        return np.where(outside, 1.0, shares)

    def path_lengths(self, matrix: NDArray[np.float32]) -> Floats:
        """Return the mean path length of encoded rows (n, p) over the trees, shape (n,)."""
        if len(matrix) > 4_096:  # one place a row and tree is held at a time
            parts = [matrix[start : start + 4_096] for start in range(0, len(matrix), 4_096)]
            return np.concatenate([self.path_lengths(part) for part in parts])
        trees = np.arange(len(self.feature))
        rows = np.arange(len(matrix))[:, None]
        node = np.zeros((len(matrix), len(trees)), dtype=np.int64)
        for _ in range(self.depth):
            goes_left = matrix[rows, self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        lengths: Floats = self.path[trees, node].mean(axis=1)
        return lengths

    def to_bytes(self) -> bytes:
        """Return the scorer as the content of ``ood.npz``."""
        about = {
            "format": FORMAT,
            "depth": self.depth,
            "columns": [
                {
                    "name": one.name,
                    "categories": None if one.codes is None else list(one.codes),
                    "low": _or_none(one.low),
                    "high": _or_none(one.high),
                    "fill": one.fill,
                    "had_null": one.had_null,
                }
                for one in self.encodings
            ],
        }
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            feature=self.feature.astype(np.int16),
            threshold=self.threshold,
            left=self.left.astype(np.int16),
            right=self.right.astype(np.int16),
            path=self.path.astype(np.float32),
            levels=self.levels,
        )
        return stream.getvalue()


def columns_of(contract: Contract) -> tuple[Column, ...]:
    """Return the columns that are looked at: no free text, and no dates, which move on."""
    return tuple(column for column in contract.columns if column.type not in ("datetime", "text"))


def fit(frame: pd.DataFrame, contract: Contract, *, seed: int = 0) -> OODScorer:
    """Learn what the training rows are like.

    Parameters
    ----------
    frame
        Rows that the model learned from, with the contract's columns.
    contract
        Of the model; one at least of its ``columns_of``.
    seed
        Of the forest; the same rows and seed give the same scorer.
    """
    from sklearn.ensemble import IsolationForest

    encodings = tuple(
        _encoding(column.name, column.mlflow_type, frame[column.name].tolist())
        for column in columns_of(contract)
    )
    matrix = np.column_stack([one.encode(frame[one.name].tolist())[0] for one in encodings]).astype(
        np.float32
    )
    # One job: the model's own fits have used the cores, and this takes a fraction of a second.
    forest = IsolationForest(
        n_estimators=TREES, max_samples=min(ROWS_A_TREE, len(frame)), random_state=seed
    )
    forest.fit(matrix)
    trees = [tree.tree_ for tree in forest.estimators_]
    shape = len(trees), max(tree.node_count for tree in trees)
    feature, left, right = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    threshold, path = np.zeros(shape), np.zeros(shape)
    for row, tree in enumerate(trees):
        count = tree.node_count
        own, leaf = np.arange(count), tree.children_left < 0
        feature[row, :count] = np.where(leaf, 0, tree.feature)
        threshold[row, :count] = tree.threshold
        left[row, :count] = np.where(leaf, own, tree.children_left)
        right[row, :count] = np.where(leaf, own, tree.children_right)
        path[row, :count] = _depths(tree) + _mean_path(tree.n_node_samples)
    scorer = OODScorer(
        encodings,
        feature,
        threshold,
        left,
        right,
        path,
        depth=max(int(tree.max_depth) for tree in trees),
        levels=np.zeros(0),
    )
    chosen = np.random.default_rng(seed).permutation(len(matrix))[:CALIBRATION_ROWS]
    lengths = scorer.path_lengths(matrix[chosen])
    levels = np.quantile(lengths, np.linspace(0, 1, min(LEVELS, len(lengths))))
    return replace(scorer, levels=levels)


def load(directory: Path) -> OODScorer:
    """Return the scorer of a model directory.

    Raises
    ------
    ModelError
        It has none, or a newer version of twinml wrote it.
    """
    path = directory / FILE
    if not path.is_file():
        raise ModelError(
            f"the model has no {FILE}", hint="Train it again: older models have no OOD score."
        )
    with np.load(path, allow_pickle=False) as stored:
        about = json.loads(stored["about"].tobytes())
        if about["format"] > FORMAT:
            raise ModelError(
                f"{FILE} has format {about['format']}, this version reads {FORMAT}",
                hint="Update twinml.",
            )
        arrays = {name: stored[name] for name in ("feature", "left", "right")}
        return OODScorer(
            encodings=tuple(_read(column) for column in about["columns"]),
            **{name: array.astype(np.int64) for name, array in arrays.items()},
            threshold=stored["threshold"],
            path=stored["path"].astype(np.float64),
            depth=int(about["depth"]),
            levels=stored["levels"],
        )


def _read(column: Mapping[str, Any]) -> Encoding:
    categories = column["categories"]
    low, high = (math.nan if column[end] is None else float(column[end]) for end in ("low", "high"))
    codes = None if categories is None else {name: code for code, name in enumerate(categories)}
    return Encoding(
        column["name"], codes, low, high, float(column["fill"]), bool(column["had_null"])
    )


def _encoding(name: str, kind: str, values: Sequence[Any]) -> Encoding:
    known = [value for value in values if value is not None and value == value]
    had_null = len(known) < len(values)
    if kind == "string":
        counts: dict[str, int] = {}
        for value in known:
            counts[value] = counts.get(value, 0) + 1
        ordered = sorted(counts, key=lambda value: (-counts[value], value))
        codes = {value: code for code, value in enumerate(ordered)}
        return Encoding(name, codes, math.nan, math.nan, float(len(codes)), had_null)
    numbers = np.array(known, dtype=np.float64)
    if not len(numbers):
        return Encoding(name, None, math.nan, math.nan, 0.0, had_null)
    median = float(np.clip(np.median(numbers), -LARGEST, LARGEST))
    return Encoding(name, None, float(numbers.min()), float(numbers.max()), median, had_null)


def _depths(tree: Any) -> Floats:
    """Return how many splits lie above each node of a scikit-learn tree."""
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before their children
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    return depths


def _mean_path(n: NDArray[Any]) -> Floats:
    """Return the mean path length of an unsuccessful search among n rows (Liu et al., eq. 1)."""
    rows = np.asarray(n, dtype=np.float64)
    many = np.maximum(rows, 3)
    found = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, found))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
