"""The data room: read a table exactly, say what is wrong or odd, know where rows come from.

``load`` gives a ``Dataset``: a frame, its target, the digest of the file and the findings;
``read_rows`` only the frame, for rows to score.
``bundled`` is the bank marketing data of the source tree; ``fetch`` gets a file from UCI.
"""

from __future__ import annotations

from twinml.data._csv import csv_header, csv_names
from twinml.data._fetch import fetch
from twinml.data._finding import Finding
from twinml.data._json import rows_of
from twinml.data._known import bundled
from twinml.data._read import column_names, read_records, read_rows
from twinml.data._source import file_digest, near
from twinml.data._target import Rare
from twinml.data._task import TaskKind
from twinml.data.dataset import Dataset, load

__all__ = [
    "Dataset",
    "Finding",
    "Rare",
    "TaskKind",
    "bundled",
    "column_names",
    "csv_header",
    "csv_names",
    "fetch",
    "file_digest",
    "load",
    "near",
    "read_records",
    "read_rows",
    "rows_of",
]
