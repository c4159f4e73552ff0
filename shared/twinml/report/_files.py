"""The names of the files that a report consists of."""

from __future__ import annotations

__all__ = ["CARD", "CARD_TEXT", "PAGE", "PREDICTIONS"]

PAGE = "report.html"
PREDICTIONS = "predictions.csv"
# The model card, also in the model's folder.
CARD = "model-card.html"
CARD_TEXT = "model-card.md"
