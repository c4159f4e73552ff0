"""Replay: the loop that keeps a model up to date, shown on data whose order in time is known.

::

    period after period, in time order
      rows ──▶ endpoint ──▶ predictions            the challenger has its share of the traffic
      labels come when the period is over
        ├─ challenger better on these rows? ──▶ promoted, or kept waiting, or withdrawn
        └─ rows drifted, or predictions worse? ──▶ the published pipeline trains on the last
                                                   rows and proposes a challenger

A second deployment of the first model answers the same rows and never learns again: the
distance between the two is what the loop is worth.
"""

from __future__ import annotations

from twinml.workflow.replay._history import Entry, Foretold, History, Scores
from twinml.workflow.replay._periods import Period, by_column, by_count, periods_of

__all__ = [
    "Entry",
    "Foretold",
    "History",
    "Period",
    "Scores",
    "by_column",
    "by_count",
    "periods_of",
]
