"""The out-of-distribution score of a request, for those who ask for it.

Asked for by the header ``x-twinml-ood-score`` of a request (any value), or for all requests by
``ServerSettings.ood_scores``. The reply then has

* the header ``x-twinml-ood-score``: the largest score of the rows, or ``unavailable`` where the
  model came without a scorer;
* where the reply is an object, its member ``ood_scores``: one number a row.

The largest score of each such request is a value of the metric ``ood_score``. What the score
means is told in ``twinml.model.ood``. Who does not ask pays for one look into the headers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twinml.contract import ScoringRequest
from twinml.errors import ModelError

if TYPE_CHECKING:
    from twinml.model.ood import OODScorer

__all__ = ["ASKED", "HEADER", "METRIC", "OODLater"]

HEADER = "x-twinml-ood-score"
ASKED = "HTTP_X_TWINML_OOD_SCORE"  # as WSGI has the header
METRIC = "ood_score"


class OODLater:
    """The scorer of a model directory, loaded when it is first asked.

    Parameters
    ----------
    directory
        The model directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loaded: tuple[OODScorer | None] | None = None

    def scores(self, request: ScoringRequest) -> list[float] | None:
        """Return the score of each row, to four digits; ``None`` if the model has no scorer."""
        if self._loaded is None:  # two threads that load it load the same
            from twinml.model.ood import load

            try:
                self._loaded = (load(self._directory),)
            except ModelError:
                self._loaded = (None,)
        (scorer,) = self._loaded
        if scorer is None:
            return None
        found: list[float] = scorer.score(request.columns, request.n_rows).round(4).tolist()
        return found
