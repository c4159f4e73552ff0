"""The report of a training run: one HTML file that needs nothing else, and its pictures.

``write`` takes what a run found and makes, in one folder::

    report.html       everything inside: style, pictures, tables; opens without a network
    roc.png, …        the same pictures, to be logged with the run
"""

from __future__ import annotations

from twinml.report._page import PAGE, ReportFiles, newest, write

__all__ = ["PAGE", "ReportFiles", "newest", "write"]
