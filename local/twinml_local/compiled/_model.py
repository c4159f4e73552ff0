"""The compiled model: scores columns of a request."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.training.log_target import Bounds
from twinml_local.compiled import _kernel
from twinml_local.compiled._encoding import Encoding
from twinml_local.compiled._errors import NotCovered
from twinml_local.compiled._layout import GRADIENT, HISTOGRAM, MANY, XGBOOST
from twinml_local.compiled._linear import Linear, Product, softmax
from twinml_local.compiled._nodes import Forest
from twinml_local.compiled._preparation import Preparation
from twinml_local.compiled._ranks import ranked

__all__ = ["Blended", "CompiledModel", "Members", "Stacked", "Voted", "said_by", "tied"]

# Rows that go down a tree together: enough to be worth a visit of its nodes, few enough that
# their columns stay in the cache.
_BLOCK = 16384
# Numbers of a block in each of its views: fewer rows where there are many columns.
_CELLS = 2**20

# Rows from which on another thread is worth to be begun.
_PART = 500

# Rows that are scored without letting other threads run: less than they would take to come back.
_SHORT = 8

# Rows of which a thread keeps the working memory: to get it takes as long as to score them.
_KEPT = 16

Label = str | int | bool | float
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Voted:
    """A weighted mean; ``scale`` is the sum of the weights as numpy takes it."""

    weights: F8
    scale: float


@dataclass(frozen=True)
class Stacked:
    """A logistic regression on clipped log-odds, or a linear one on what members say.

    ``by_column`` is the layout of its input, ``odds`` whether that is log-odds.
    """

    coefficients: F8
    intercept: F8
    low: float
    high: float
    by_column: bool
    odds: bool = True


@dataclass(frozen=True)
class Blended:
    """Boosting: ``final`` takes what the members say, then the columns that they take."""

    final: CompiledModel


@dataclass(frozen=True)
class Members:
    """The members in the pipeline's order.

    Attributes
    ----------
    forest
        All their trees.
    table
        Shape (n_members, MEMBER_FIELDS); see ``_layout``.
    bases
        What each member's sums start from (XGBoost's for two classes as a probability; CatBoost
        adds it last), then LightGBM's sigmoid parameter or CatBoost's scale, shape
        (n_members, k + 1).
    linear
        By place, those that are no trees.
    logarithms
        By place, those whose answer is a logarithm, and how it is turned back.
    """

    forest: Forest
    table: I8
    bases: F8
    linear: Mapping[int, Linear | Product] = field(default_factory=dict)
    logarithms: Mapping[int, Bounds] = field(default_factory=dict)


class CompiledModel:
    """A fitted pipeline as flat arrays.

    Not bound to a thread; may be called by several at once.

    Attributes
    ----------
    classes
        In the order of the probabilities' columns; none of a regression.
    n_outputs
        Columns of a prediction: classes, or 1 for a number.
    digest
        Of the model that it was made from.
    preparation
        What a pipeline of scikit-learn does before its members; ``None`` where ``encoding`` is all.
    by_score
        Whether labels follow from scores, which differ where probabilities no longer do: of rows
        whose largest probability is shared the pipeline has to say the label.
    threshold
        From which probability of the second class on a row belongs to it, where it is not the
        larger one that decides.
    threads
        How many share the rows of one call, where there are enough of them; 1 unless changed.
    portable
        Whether it is for any usual processor of this architecture, and for machines without the
        libraries that trained it.
    """

    def __init__(
        self,
        encoding: Encoding,
        members: Members,
        join: Voted | Stacked | Blended,
        classes: Sequence[Label],
        kernel: _kernel.Kernel,
        *,
        preparation: Preparation | None = None,
        by_score: bool = False,
        threshold: float | None = None,
        digest: str = "",
    ) -> None:
        self.encoding = encoding
        self.preparation = preparation
        self.by_score = by_score
        self.n_features = (encoding if preparation is None else preparation).n_features
        self.members = members
        self.join = join
        self.classes = tuple(classes)
        self.n_outputs = len(self.classes) or 1
        self.threshold = threshold
        self.digest = digest
        self.threads = 1
        self.portable = False
        self._kernel = kernel
        self._own = threading.local()
        forest = members.forest
        ranks = self._ranks = ranked(forest, members.table)
        nodes = forest.nodes.ctypes.data
        self._trees = (
            nodes,
            nodes,
            nodes,
            forest.sets.ctypes.data,
            forest.values.ctypes.data,
            forest.roots.ctypes.data,
            forest.starts.ctypes.data,
            forest.groups.ctypes.data,
            members.table.ctypes.data,
            members.bases.ctypes.data,
            len(members.table),
            ranks.nodes.ctypes.data,
            ranks.questions.ctypes.data,
            len(ranks.questions),
            ranks.thresholds.ctypes.data,
            ranks.members.ctypes.data,
        )
        self._limits = (self.n_features, self.n_outputs, float(encoding.low), float(encoding.high))
        self._weights = join.weights.ctypes.data if isinstance(join, Voted) else 0
        self._softmax = [
            place
            for place, row in enumerate(members.table)
            if row[0] in (HISTOGRAM, GRADIENT) and row[3] > 1
        ]

    def __repr__(self) -> str:
        """Name what is inside, without its contents."""
        return (
            f"CompiledModel({len(self.members.table)} members, "
            f"{len(self.members.forest.roots):,} trees, {len(self.members.forest.nodes):,} nodes)"
        )

    def predict_columns(
        self, columns: Mapping[str, Sequence[Any]], n_rows: int
    ) -> tuple[list[Label], F8]:
        """Return labels and probabilities, to the last bit as the pipeline gives them.

        Parameters
        ----------
        columns
            What ``ScoringRequest.columns`` holds: values of the contract's types, ``None`` for
            null in string columns, nan in double ones.

        Returns
        -------
        labels
            Length n_rows, Python scalars; of a regression the numbers.
        probabilities
            Shape (n_rows, n_classes); of a regression the numbers, shape (n_rows, 1).

        Raises
        ------
        NotCovered
            The pipeline has to answer: there are no rows, a column is missing, one holds
            something else than its type that the encoder does not take for an unknown text, or
            a value that the pipeline refuses.
        """
        if n_rows < 1:
            raise NotCovered
        return self.predict_encoded(self.encoding.matrix(columns, n_rows), n_rows)

    def predict_encoded(self, X: F8, n_rows: int) -> tuple[list[Label], F8]:
        """Return what ``predict_columns`` does of columns as ``encoding`` gives them.

        Raises
        ------
        NotCovered
            As there.
        """
        X, covered = self._prepared(X, n_rows)
        if covered is not None and not covered.all():
            raise NotCovered
        chosen, probabilities = self.score(X, n_rows)
        if self.by_score and tied(probabilities).any():
            raise NotCovered
        classes = self.classes
        if not classes:
            return probabilities[:, 0].tolist(), probabilities
        return [classes[place] for place in chosen], probabilities

    def prepared(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> tuple[F8, I8 | None]:
        """Return the matrix that the members take, and which rows the pipeline takes, if not all.

        Raises
        ------
        NotCovered
            As ``predict_columns``.
        """
        return self._prepared(self.encoding.matrix(columns, n_rows), n_rows)

    def _prepared(self, X: F8, n_rows: int) -> tuple[F8, I8 | None]:
        if self.preparation is None:
            return X, None
        return self.preparation.matrix(self._functions(n_rows).prepare, X, n_rows)

    def score(self, X: F8, n_rows: int) -> tuple[list[int], F8]:
        """Return the places of the labels among the classes, and probabilities.

        Parameters
        ----------
        X
            The prepared matrix by columns, shape (n_features, n_rows), C-contiguous.
        """
        n_classes, kernel = self.n_outputs, self._functions(n_rows)
        room = self._scored_members(X, n_rows)
        probabilities = room.probabilities
        if isinstance(self.join, Voted):
            kernel.vote(
                room.address,
                len(self.members.table),
                n_rows,
                n_classes,
                self._weights,
                self.join.scale,
                room.probabilities_at,
            )
            chosen = probabilities.argmax(axis=1)
        elif isinstance(self.join, Blended):
            chosen, probabilities = self._blended(self.join.final, room.members, X, n_rows)
        else:
            chosen, probabilities = self._stacked(self.join, room, n_rows)
        if n_rows <= _KEPT:
            probabilities = probabilities.copy()
        if self.threshold is not None:
            chosen = probabilities[:, 1] >= self.threshold
        return chosen.tolist(), probabilities

    def score_members(self, X: F8, n_rows: int) -> F8:
        """Return every member's own probabilities, shape (n_members, n_rows, n_classes).

        Parameters
        ----------
        X
            As for ``score``.
        """
        return self._scored_members(X, n_rows).members.copy()

    def _scored_members(self, X: F8, n_rows: int) -> _Room:
        n_classes, kernel = self.n_outputs, self._functions(n_rows)
        room = self._room(n_rows)
        if len(self.members.forest.roots) and n_rows <= _KEPT:
            room.columns[:] = X.reshape(room.columns.shape)
            kernel.trees_of(room.given_at)
        elif len(self.members.forest.roots):
            self._walk(room, X.ctypes.data, n_rows)
        members = room.members
        for place in self._softmax:
            # By columns is how scikit-learn holds the raw predictions of histograms.
            by_column = self.members.table[place, 0] == HISTOGRAM
            members[place] = softmax(np.array(members[place], order="F" if by_column else "C"))
        for place, linear in self.members.linear.items():
            scores = linear.scores(kernel, X, n_rows, self.encoding.low, self.encoding.high)
            if n_classes == 1:
                members[place] = scores
            elif n_classes == 2:
                kernel.sigmoid(scores.ctypes.data, n_rows, members[place].ctypes.data)
            elif isinstance(linear, Product) and linear.each_by_itself:
                pairs = np.empty((scores.size, 2))
                kernel.sigmoid(scores.ctypes.data, scores.size, pairs.ctypes.data)
                shares = np.ascontiguousarray(pairs[:, 1]).reshape(scores.shape)
                members[place] = shares / shares.sum(axis=1).reshape(n_rows, -1)
            else:
                members[place] = softmax(scores)
        for place, bounds in self.members.logarithms.items():
            # XGBoost answers in 32 bits, and what turns it back stays there.
            single = self.members.table[place, 0] == XGBOOST
            learned = members[place].astype(np.float32 if single else np.float64)
            members[place] = bounds.turned_back(learned)
        return room

    def _walk(self, room: _Room, columns: int, n_rows: int) -> None:
        """Score the members made of trees; many rows in parts, side by side."""
        kernel, limits = self._functions(n_rows), self._limits
        parts = min(self.threads, n_rows // _PART)
        if parts < 2:
            kernel.trees(*self._trees, columns, n_rows, 0, n_rows, *limits, *room.addresses)
            return
        cuts = list(pairwise(n_rows * part // parts for part in range(parts + 1)))
        # Own working memory for each, and the rows' own places in the members' probabilities.
        # All that could raise comes before the threads: the kernel does not.
        work = [_Work(self, end - begin) for begin, end in cuts]

        def walk(part: int) -> None:
            rest = (*cuts[part], *limits, *work[part].addresses, room.address)
            kernel.trees(*self._trees, columns, n_rows, *rest)

        others = [
            threading.Thread(target=walk, args=(part,), name="walk-trees")
            for part in range(1, parts)
        ]
        for other in others:
            other.start()
        walk(0)
        for other in others:
            other.join()

    def _stacked(self, join: Stacked, room: _Room, n_rows: int) -> tuple[NDArray[Any], F8]:
        n_classes, kernel = self.n_outputs, self._functions(n_rows)
        n_columns = join.coefficients.shape[-1]
        if n_classes == 1:
            order: Any = "F" if join.by_column else "C"
            columns = np.array(room.members[:, :, 0].T, order=order)
            numbers = columns @ join.coefficients + join.intercept[0]
            return np.zeros(n_rows, dtype=np.int64), numbers.reshape(n_rows, 1)
        odds = room.odds
        if join.odds:
            kernel.log_odds(
                room.address,
                len(self.members.table),
                n_rows,
                n_classes,
                join.low,
                join.high,
                room.odds_at,
                *((1, n_rows) if join.by_column else (n_columns, 1)),
            )
        else:
            odds[:] = said_by(room.members).T
        # Of the same shape and layout as the pipeline's, so that BLAS sums in the same order.
        scores = odds @ join.coefficients.T + join.intercept
        if n_classes == 2:
            kernel.sigmoid(scores.ctypes.data, n_rows, room.probabilities_at)
            return scores.ravel() > 0, room.probabilities
        chosen = scores.argmax(axis=1)
        return chosen, softmax(scores)

    def _blended(
        self, final: CompiledModel, members: F8, X: F8, n_rows: int
    ) -> tuple[NDArray[Any], F8]:
        taken = np.clip(X.reshape(-1, n_rows), self.encoding.low, self.encoding.high)
        final.threads = self.threads
        chosen, probabilities = final.score(np.vstack([said_by(members), taken]), n_rows)
        return np.array(chosen), probabilities

    def _functions(self, n_rows: int) -> _kernel.Functions:
        return self._kernel.holding if n_rows <= _SHORT else self._kernel.releasing

    def _room(self, n_rows: int) -> _Room:
        """Return working memory; a thread keeps that of a few rows, which comes most often."""
        if n_rows > _KEPT:
            return _Room(self, n_rows)
        rooms: dict[int, _Room] = self._own.__dict__.setdefault("rooms", {})
        room = rooms.get(n_rows)
        if room is None:
            room = rooms[n_rows] = _Room(self, n_rows)
        return room

    def made_portable(self, directory: Path) -> CompiledModel:
        """Return the same model as ``portable``; ``directory`` keeps the kernel for that.

        Raises
        ------
        ModelError
            There is no portable code for this architecture.
        """
        kernel = _kernel.built(directory, portable=True)
        join = self.join
        if isinstance(join, Blended):
            join = Blended(join.final.made_portable(directory))
        made = CompiledModel(
            self.encoding, self.members, join, self.classes, kernel,
            preparation=self.preparation, by_score=self.by_score, threshold=self.threshold,
            digest=self.digest,
        )  # fmt: skip
        made.portable = True
        return made


def said_by(members: F8) -> F8:
    """Return the columns that a stack makes of its members' predictions: for two classes one each.

    Parameters
    ----------
    members
        Shape (n_members, n_rows, n_classes).

    Returns
    -------
    Shape (n_columns, n_rows).
    """
    said = members[:, :, 1:] if members.shape[2] == 2 else members
    return said.transpose(0, 2, 1).reshape(-1, members.shape[1])


def tied(probabilities: F8) -> NDArray[np.bool_]:
    """Return which rows have no largest probability of their own, shape (n_rows,).

    Examples
    --------
    >>> tied(np.array([[0.5, 0.5], [0.4, 0.6], [np.nan, np.nan]])).tolist()
    [True, False, True]
    """
    largest = probabilities.max(axis=1, keepdims=True)
    ones: NDArray[np.bool_] = (probabilities == largest).sum(axis=1) != 1
    return ones


class _Work:
    """Working memory of one walk; ``addresses`` is as the kernel takes it."""

    def __init__(self, model: CompiledModel, n_rows: int) -> None:
        block = min(n_rows, _BLOCK, max(MANY, _CELLS // max(1, model.n_features)))
        planes = 2 * len(model._ranks.questions)
        self._rows = np.empty((3, block, model.n_features))
        self._sums = np.empty((block, model.n_outputs))
        self._stack = np.empty(4 * 64, dtype=np.int64)
        self._order = np.empty((2, block), dtype=np.uint16)
        self._ranks = np.empty((min(block, MANY), planes), dtype=np.uint32)
        self.addresses = (
            block,
            self._rows.ctypes.data,
            self._sums.ctypes.data,
            self._stack.ctypes.data,
            self._order.ctypes.data,
            self._ranks.ctypes.data,
        )


class _Room:
    """Memory for a number of rows; to ask an array for its address takes as long as a tree.

    Attributes
    ----------
    members
        Each one's probabilities, shape (n_members, n_rows, n_classes), and their ``address``.
    addresses
        As the kernel takes them.
    odds, probabilities
        What a stack's join takes, and what a join gives.
    columns, given_at
        Of few rows: the prepared matrix, and where all is that the kernel's trees take.
    """

    def __init__(self, model: CompiledModel, n_rows: int) -> None:
        n_classes = model.n_outputs
        self.members = np.empty((len(model.members.table), n_rows, n_classes))
        self.address = self.members.ctypes.data
        self._work = _Work(model, n_rows)
        self.addresses = (*self._work.addresses, self.address)
        self.probabilities = np.empty((n_rows, n_classes))
        self.probabilities_at = self.probabilities.ctypes.data
        if isinstance(model.join, Stacked):
            shape = n_rows, model.join.coefficients.shape[-1]
            self.odds = np.empty(shape, order="F" if model.join.by_column else "C")
            self.odds_at = self.odds.ctypes.data
        if n_rows <= _KEPT:
            self.columns = np.empty((model.n_features, n_rows))
            rows = self.columns.ctypes.data, n_rows, 0, n_rows
            given = (*model._trees, *rows, *model._limits, *self.addresses)
            self._given = np.array(
                [np.float64(value).view(np.int64) if isinstance(value, float) else value
                 for value in given], dtype=np.int64,
            )  # fmt: skip
            self.given_at = self._given.ctypes.data
