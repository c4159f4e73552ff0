"""The report of a training run: one HTML file that needs nothing else, and its pictures.

``write`` takes what a run found and makes, in one folder::

    report.html       everything inside: style, pictures, tables; opens without a network
    roc.png, …        the same pictures, to be logged with the run
    predictions.csv   every held-out row with its prediction
    model-card.html, model-card.md   as in the model's folder
"""

from __future__ import annotations

from twinml.report._files import CARD, CARD_TEXT, PAGE
from twinml.report._page import ReportFiles, newest, write

__all__ = ["CARD", "CARD_TEXT", "PAGE", "ReportFiles", "newest", "write"]
