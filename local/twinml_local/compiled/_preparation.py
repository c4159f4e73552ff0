"""What a pipeline of scikit-learn does before its model, as operations on single columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Preparation"]

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Preparation:
    """The columns that the members take, each made of one column of a request.

    Attributes
    ----------
    limits
        By source, the least and the greatest number that the pipeline takes, and whether it takes
        nulls; shape (n_sources, 3). A text is the place of its category, and nan if it is refused.
    searched
        Numbers that are categories: source, first of its known ones in ``tables`` and how many
        there are. Their codes follow them, then those of another number and of a null. Each is a
        source more, after the others.
    tables
        What those and the operation ``LOOKED_UP`` find.
    columns
        Source, first and end of the operations, by column; shape (n_columns, 3).
    operations
        See ``_layout``; ``constants`` has the two numbers of each.
    """

    limits: F8
    searched: I8
    tables: F8
    columns: I8
    operations: I8
    constants: F8

    @property
    def n_features(self) -> int:
        """Columns of the prepared matrix."""
        return len(self.columns)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def matrix(self, prepare: Callable[..., None], sources: F8, n_rows: int) -> tuple[F8, I8]:
        """Return the prepared columns, and which rows the pipeline takes at all.

        Parameters
        ----------
        prepare
            The kernel's function.
        sources
            Shape (n_sources, n_rows).

        Returns
        -------
        Shapes (n_features, n_rows) and (n_rows,): 0 where it is for the pipeline to refuse.
        """
        out = np.empty((len(self.columns), n_rows))
        codes = np.empty((len(self.searched), n_rows))
        covered = np.empty(n_rows, dtype=np.int64)
        prepare(
            sources.ctypes.data,
            n_rows,
            len(self.limits),
            self.limits.ctypes.data,
            self.searched.ctypes.data,
            len(self.searched),
            self.tables.ctypes.data,
            self.columns.ctypes.data,
            len(self.columns),
            self.operations.ctypes.data,
            self.constants.ctypes.data,
            codes.ctypes.data,
            out.ctypes.data,
            covered.ctypes.data,
        )
        return out, covered
