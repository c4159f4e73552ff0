"""Statistics of two models that predicted the same rows: McNemar, DeLong, paired bootstrap.

Arrays in, numbers out; ``twinml.abtest`` makes a comparison of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinml.errors import DataError

__all__ = ["Ranking", "delong", "difference_test", "mcnemar", "resamples"]

Floats = NDArray[np.float64]

# Bootstrap weights held at once, in cells; 8 bytes each.
CHUNK_CELLS = 1_000_000


def resamples(n: int, n_bootstrap: int, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn, shape (chunk, n), ``n_bootstrap`` resamples in all."""
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK_CELLS // n)
    for start in range(0, n_bootstrap, size):
        count = min(size, n_bootstrap - start)
        drawn = rng.integers(0, n, size=(count, n))
        drawn += np.arange(count)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


class Ranking:
    """One model's scores sorted once, so that the AUC of every resample is one pass.

    Parameters
    ----------
    positive
        Whether each row is of the class, shape (n,).
    scores
        Shape (n,).
    """

    def __init__(self, positive: NDArray[np.bool_], scores: Floats) -> None:
        order = np.argsort(scores, kind="stable")
        ordered, rank = scores[order], positive[order]
        negatives = np.concatenate([[0], np.cumsum(~rank)])
        self.positives = order[rank]
        self.negatives = order[~rank]
        # Negatives below each positive, and below or level with it.
        self.below = negatives[np.searchsorted(ordered, ordered[rank], side="left")]
        self.level = negatives[np.searchsorted(ordered, ordered[rank], side="right")]

    def auc(self) -> float:
        """Return the AUC on all rows; ties count one half."""
        wins = float(self.below.sum() + self.level.sum()) / 2
        return wins / (len(self.positives) * len(self.negatives))

    def weighted(self, weights: Floats) -> Floats:
        """Return the AUC of each resample, shape (chunk,); NaN where a class was not drawn."""
        count = len(weights)
        cumulated = np.zeros((count, len(self.negatives) + 1))
        np.cumsum(weights[:, self.negatives], axis=1, out=cumulated[:, 1:])
        drawn = weights[:, self.positives]
        wins = np.einsum("ij,ij->i", drawn, cumulated[:, self.below] + cumulated[:, self.level])
        pairs = drawn.sum(axis=1) * cumulated[:, -1]
        result = np.full(count, np.nan)
        np.divide(wins / 2, pairs, out=result, where=pairs > 0)
        return result


def delong(positive: ArrayLike, scores: Sequence[ArrayLike]) -> tuple[Floats, Floats]:
    """Return the AUCs of m models on the same rows, and their covariance after DeLong.

    Midranks give DeLong's structural components in O(m n log n).

    Parameters
    ----------
    positive
        Whether each row is of the positive class, shape (n,); at least two rows of either.
    scores
        One array of shape (n,) for each of the m models; higher means more positive.

    Returns
    -------
    tuple
        AUCs, shape (m,), and their covariance, shape (m, m).

    Examples
    --------
    >>> areas, covariance = delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8]])
    >>> float(areas[0]), float(covariance[0, 0])
    (0.75, 0.125)
    """
    truth = np.asarray(positive, dtype=bool)
    table = np.asarray(scores, dtype=np.float64)
    ones, zeros = table[:, truth], table[:, ~truth]
    m, n = ones.shape[1], zeros.shape[1]
    if min(m, n) < 2:
        raise DataError(f"DeLong's test needs two rows of either class, found {m} and {n}")
    together = midranks(np.concatenate([ones, zeros], axis=1))
    # Share of negatives below each positive, and of positives above each negative.
    by_positive = (together[:, :m] - midranks(ones)) / n
    by_negative = 1 - (together[:, m:] - midranks(zeros)) / m
    covariance = np.atleast_2d(np.cov(by_positive)) / m + np.atleast_2d(np.cov(by_negative)) / n
    return by_positive.mean(axis=1), covariance


def midranks(table: Floats) -> Floats:
    """Return the rank of each value in its row, from 1, ties sharing their mean rank."""
    ranks = np.empty_like(table)
    for row, values in enumerate(table):
        ordered = np.sort(values)
        left = np.searchsorted(ordered, values, side="left")
        right = np.searchsorted(ordered, values, side="right")
        ranks[row] = (left + right + 1) / 2
    return ranks


def mcnemar(only_a: int, only_b: int) -> tuple[float, float]:
    """Return the exact and the mid-p two-sided p-value of McNemar's test.

    The exact test is cautious: under equal models it rejects less often than it says. The
    mid-p counts the observed table by half and comes close to what it says.

    Parameters
    ----------
    only_a, only_b
        Rows that only A, or only B, got right.

    Examples
    --------
    >>> exact, mid_p = mcnemar(2, 8)
    >>> round(exact, 6), round(mid_p, 6)
    (0.109375, 0.06543)
    >>> mcnemar(0, 0)
    (1.0, 1.0)
    """
    discordant, fewer = only_a + only_b, min(only_a, only_b)
    if discordant == 0:
        return 1.0, 1.0
    from scipy.special import bdtr

    tail = float(bdtr(fewer, discordant, 0.5))
    before = float(bdtr(fewer - 1, discordant, 0.5)) if fewer else 0.0
    return min(1.0, 2 * tail), min(1.0, tail + before)


def difference_test(value: float, covariance: Floats) -> tuple[float, float]:
    """Return standard error and two-sided p-value of the difference of two correlated AUCs."""
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Equal rankings leave a rounding error where the variance is zero.
    error = math.sqrt(variance) if variance > 1e-18 else 0.0
    if error == 0.0:
        return 0.0, 1.0 if abs(value) < 1e-12 else 0.0
    return error, math.erfc(abs(value) / error / math.sqrt(2))
