"""The linear member: features by the kernel, products by numpy in the pipeline's own way."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml_local.compiled._kernel import Functions

__all__ = ["Linear", "Product", "softmax"]

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


def softmax(scores: F8) -> F8:
    """Do as scikit-learn's ``softmax``, in place.

    numpy's exponential function is its own and its sums depend on the array's layout, so this
    must be numpy and ``scores`` must lie in memory as in the pipeline.
    """
    scores -= np.max(scores, axis=1).reshape((-1, 1))
    np.exp(scores, out=scores)
    scores /= np.sum(scores, axis=1).reshape((-1, 1))
    return scores


@dataclass(frozen=True)
class Linear:
    """One-hot columns and splines of quantiles, then a linear model.

    Attributes
    ----------
    one_hot, category_values, category_targets
        One-hot columns; see ``_layout.ONE_HOT_FIELDS``.
    spline
        Splines; see ``_layout.SPLINE_FIELDS``.
    fills
        What stands for a null, by spline.
    quantiles, references, mirrored, mirrored_references
        Of the quantile transformation in both directions, shape (n_splines, n_quantiles).
    knots
        Shape (n_splines, n_knots).
    edges
        The bases that are not zero at the lowest and at the highest knot, (n_splines, 2, degree).
    coefficients, intercept
        Shapes (n_scores, n_features) and (n_scores,); of a regression (n_features,) and (1,).
    flags
        The splines' degree, whether the features are a sparse matrix, and whether a dense one
        is laid out by columns.
    """

    one_hot: I8
    category_values: F8
    category_targets: I8
    spline: I8
    fills: F8
    quantiles: F8
    references: F8
    mirrored: F8
    mirrored_references: F8
    knots: F8
    edges: F8
    coefficients: F8
    intercept: F8
    flags: I8

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def scores(self, kernel: Functions, X: F8, n_rows: int, low: float, high: float) -> F8:
        """Return the decision function, shape (n_rows, n_scores).

        Parameters
        ----------
        kernel
            Its functions.
        X
            Shape (n_features, n_rows).
        """
        degree, sparse, by_column = (int(flag) for flag in self.flags)
        # Of one dimension where the pipeline's are: BLAS then sums in another order.
        n_scores, n_features = np.atleast_2d(self.coefficients).shape
        if sparse:
            out = np.empty((n_rows, n_scores))
        else:
            out = np.empty((n_rows, n_features), order="F" if by_column else "C")
        row_step, column_step = (1, n_rows) if by_column else (n_features, 1)
        work = np.empty(2 * (degree + 1))
        weights = np.ascontiguousarray(self.coefficients) if sparse else self.coefficients
        kernel.linear(
            X.ctypes.data,
            n_rows,
            low,
            high,
            self.one_hot.ctypes.data,
            len(self.one_hot),
            self.category_values.ctypes.data,
            self.category_targets.ctypes.data,
            self.spline.ctypes.data,
            len(self.spline),
            self.fills.ctypes.data,
            self.quantiles.ctypes.data,
            self.references.ctypes.data,
            self.mirrored.ctypes.data,
            self.mirrored_references.ctypes.data,
            self.quantiles.shape[1],
            self.knots.ctypes.data,
            self.knots.shape[1],
            degree,
            self.edges.ctypes.data,
            work.ctypes.data,
            sparse,
            weights.ctypes.data,
            n_scores,
            n_features,
            out.ctypes.data,
            row_step,
            column_step,
        )
        # Of the same shape and layout as the pipeline's, so that BLAS sums in the same order.
        products = out if sparse else out @ self.coefficients.T
        return products.reshape(n_rows, n_scores) + self.intercept


@dataclass(frozen=True)
class Product:
    """A linear model on prepared columns.

    Attributes
    ----------
    coefficients, intercept
        As in ``Linear``.
    flags
        The first of its columns, and whether they are a sparse matrix; if not, whether that is
        laid out by columns, a single row too, and whether it is of whole numbers; at last, whether
        the scores of the classes are each by itself (one against the rest).
    """

    coefficients: F8
    intercept: F8
    flags: I8

    @property
    def each_by_itself(self) -> bool:
        """Whether the probabilities of several classes are normalized and not joined."""
        return bool(self.flags[5])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def scores(self, kernel: Functions, X: F8, n_rows: int, low: float, high: float) -> F8:
        """Return the decision function as ``Linear`` does; nothing is clipped."""
        first, sparse, by_column, one_by_column, whole, _ = (int(flag) for flag in self.flags)
        n_scores, n_features = np.atleast_2d(self.coefficients).shape
        if sparse:
            products = np.empty((n_rows, n_scores))
            weights = np.ascontiguousarray(self.coefficients)
            kernel.sparse(
                X.ctypes.data,
                n_rows,
                first,
                n_features,
                weights.ctypes.data,
                n_scores,
                products.ctypes.data,
            )
        else:
            order: Any = "F" if (one_by_column if n_rows == 1 else by_column) else "C"
            kind: Any = np.int64 if whole else np.float64
            taken: NDArray[Any] = np.empty((n_rows, n_features), kind, order=order)
            # The first model may be given a matrix of one dimension for a single row.
            taken[:] = X.reshape(-1, n_rows)[first : first + n_features].T
            products = np.asarray(taken @ self.coefficients.T, dtype=np.float64)
        return products.reshape(n_rows, n_scores) + self.intercept
