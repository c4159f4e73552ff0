"""From the columns of a request to the matrix that the members take, without pandas."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml_local.compiled._errors import NotCovered

__all__ = ["Codes", "Encoding"]


@dataclass(frozen=True)
class Codes:
    """The codes of one string column.

    Attributes
    ----------
    known
        By category.
    null, unknown
        Of a null and of every other text.
    number, nan
        Of a number or boolean where a text is expected, and of nan; ``None`` when the pipeline
        has to say.
    """

    known: Mapping[str, float]
    null: float
    unknown: float
    number: float | None = None
    nan: float | None = None
    _table: dict[str | None, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table: dict[str | None, float] = {None: self.null}
        table.update(self.known)
        object.__setattr__(self, "_table", table)

    def one(self, value: Any) -> float:
        """Return the code of a value.

        Raises
        ------
        NotCovered
            It is neither text nor null, and there is no code for numbers.
        """
        code = self._table.get(value)
        if code is not None:
            return code
        if type(value) is str:
            return self.unknown
        if type(value) not in (int, float, bool):
            raise NotCovered
        code = self.number if value == value else self.nan
        if code is None:
            raise NotCovered
        return code

    def many(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return the codes of values; raises as ``one``."""
        try:
            return _doubles(map(self._table.__getitem__, values), len(values))
        except KeyError:
            return _doubles(map(self.one, values), len(values))


def _doubles(values: Iterable[Any], n_rows: int) -> NDArray[np.float64]:
    """Return an array of Python numbers; of other things, unlike numpy, an error.

    Raises
    ------
    struct.error
        Something is no number, or too large, or there are more or fewer than ``n_rows``.
    """
    # Half the time of array.array, which grows as it goes.
    return np.frombuffer(struct.pack(f"{n_rows}d", *values))


@dataclass(frozen=True)
class Encoding:
    """The columns in the order of the matrix: those of strings with their codes, then numbers.

    ``low`` and ``high`` are where the pipeline clips all of them.
    """

    codes: Mapping[str, Codes]
    numbers: tuple[str, ...]
    low: float = -math.inf
    high: float = math.inf

    @property
    def n_features(self) -> int:
        """Columns of the matrix."""
        return len(self.codes) + len(self.numbers)

    def matrix(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> NDArray[np.float64]:
        """Return the encoded columns, not yet clipped, shape (n_features, n_rows).

        Raises
        ------
        NotCovered
            A column is missing or holds something else than the contract's type.
        """
        try:
            if n_rows == 1:
                row = [codes.one(columns[name][0]) for name, codes in self.codes.items()]
                row += [columns[name][0] for name in self.numbers]
                return np.frombuffer(array("d", row))
            X = np.empty((self.n_features, n_rows))
            for place, (name, codes) in enumerate(self.codes.items()):
                X[place] = codes.many(columns[name])
            for place, name in enumerate(self.numbers, start=len(self.codes)):
                X[place] = _doubles(columns[name], n_rows)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, struct.error) as error:
            raise NotCovered from error
        return X
