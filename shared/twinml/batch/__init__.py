"""Many rows: read in chunks, scored chunk by chunk, written in parts that survive a crash.

::

    read.chunks(file, types) ──▶ chunk 0 ──▶ score ──▶ OUT.parts/00000.arrow ─┐
                             ──▶ chunk 1 ──▶ score ──▶ OUT.parts/00001.arrow ─┼─▶ OUT, in one move
                             ──▶ …                                           ─┘

Only one chunk is in memory. The parts know which input and which scorer they belong to; the
same command continues after the last whole one. ``score`` takes the rows to an endpoint,
``batch`` to a model, here (``local``) or on Spark (``spark``).
"""

from __future__ import annotations

from twinml.batch._parts import Parts, result_columns
from twinml.batch._read import Source
from twinml.batch.scoring import BatchResult, Scorer, ScoresBatches, score_file

__all__ = [
    "BatchResult",
    "Parts",
    "Scorer",
    "ScoresBatches",
    "Source",
    "result_columns",
    "score_file",
]
