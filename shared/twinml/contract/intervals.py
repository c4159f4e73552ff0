"""Prediction intervals of a regression model, by conformal residuals.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018) on out-of-fold predictions: a score
is the absolute residual over the spread that is typical where the prediction lies. Of m scores the
ceil((m + 1) * level)-th smallest, times the spread, is what an interval goes to each side. Only
the prediction is needed, so that whatever gives it can give the interval as well.

A copy of this file travels inside every model directory of a regression: it may import nothing but
numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DEFAULT_LEVEL", "PredictionIntervals"]

DEFAULT_LEVEL = 0.9


@dataclass(frozen=True)
class PredictionIntervals:
    """What the residuals of predictions were.

    Attributes
    ----------
    knots
        Predictions in the target's unit, ascending.
    spreads
        The typical absolute residual at each, more than 0; between knots on the line, beyond them
        as at the last one.
    scores
        Absolute residuals over their spreads, ascending.

    Examples
    --------
    >>> made = PredictionIntervals((0.0, 10.0), (1.0, 2.0), (0.5, 1.0, 1.5, 2.0))
    >>> made.bounds([5.0], 0.8).tolist(), made.highest_level
    ([[2.0, 8.0]], 0.8)
    """

    knots: tuple[float, ...]
    spreads: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check what :meth:`bounds` relies on."""
        values = (*self.knots, *self.spreads, *self.scores)
        if not all(isinstance(one, float) and math.isfinite(one) for one in values):
            raise ValueError("intervals are made of finite numbers")
        if not self.knots or len(self.knots) != len(self.spreads) or not self.scores:
            raise ValueError("intervals need as many spreads as knots, and scores")
        if min(self.spreads) <= 0 or min(self.scores) < 0:
            raise ValueError("spreads are more than 0, and scores not less")
        if list(self.knots) != sorted(self.knots) or list(self.scores) != sorted(self.scores):
            raise ValueError("knots and scores ascend")

    @property
    def highest_level(self) -> float:
        """The highest level that so many scores can give."""
        return len(self.scores) / (len(self.scores) + 1)

    def spread(self, predicted: Any) -> Any:
        """Return the typical absolute residual at predictions, shape (n,)."""
        import numpy as np

        return np.interp(np.asarray(predicted, dtype=np.float64), self.knots, self.spreads)

    def bounds(self, predicted: Any, level: float = DEFAULT_LEVEL) -> Any:
        """Return the lower and the upper bound of each prediction, shape (n, 2).

        Raises
        ------
        ValueError
            The level is not above 0, or above the highest one.
        """
        import numpy as np

        if not 0 < level <= self.highest_level:
            raise ValueError(
                f"the level is {level}, expected more than 0 and at most {self.highest_level:.6g}"
            )
        place = math.ceil((len(self.scores) + 1) * level - 1e-9)
        centre = np.asarray(predicted, dtype=np.float64)
        reach = self.scores[max(place, 1) - 1] * self.spread(centre)
        return np.column_stack([centre - reach, centre + reach])

    def to_dict(self) -> dict[str, list[float]]:
        """Return JSON values."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PredictionIntervals:
        """Read what :meth:`to_dict` wrote; raises ``KeyError``, ``TypeError``, ``ValueError``."""
        return cls(*(tuple(map(float, document[name])) for name in ("knots", "spreads", "scores")))
