"""``/metrics`` for Prometheus: sums over all workers since the endpoint began.

They come from the database and not from this process, so that any worker answers for all of
them and a restart does not set them back. What was recorded less than ``flush_seconds`` ago
is not in yet. The route shows counts by deployment, operation and feature, and no data.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from twinml_local.telemetry._flush import DURATION_BUCKETS
from twinml_local.telemetry._schema import existing

if TYPE_CHECKING:
    from flask import Blueprint, Response

__all__ = ["CONTENT_TYPE", "blueprint", "prometheus_text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTERS: Mapping[str, str] = {
    "twinml_requests_total": "Requests answered, by deployment, operation and status.",
    "twinml_rows_total": "Rows scored.",
    "twinml_exceptions_total": "Errors, by type.",
    "twinml_rows_observed_total": "Rows whose values were compared with the contract.",
    "twinml_feature_out_of_range_total": "Values below or above the training range.",
    "twinml_feature_unseen_total": "Values of a category that training did not show.",
    "twinml_feature_null_total": "Null values.",
    "twinml_telemetry_dropped_total": "Records let go because too many waited.",
    "twinml_telemetry_failed_total": "Records that could not be understood or written.",
}
HISTOGRAMS: Mapping[str, str] = {
    "twinml_request_duration_seconds": "Time to answer a request.",
    "twinml_scoring_duration_seconds": "Time that the model took of it.",
}

Labels = tuple[tuple[str, str], ...]


def blueprint(directory: Path) -> Blueprint:
    """Return a Flask blueprint with the route ``GET /metrics``.

    Parameters
    ----------
    directory
        The endpoint's folder.
    """
    # Here and not above: the command line reads figures without a server.
    from flask import Blueprint, Response

    room = Blueprint("metrics", __name__)

    @room.get("/metrics")
    def metrics() -> Response:
        return Response(prometheus_text(directory), content_type=CONTENT_TYPE)

    return room


def prometheus_text(directory: Path) -> str:
    """Return the counters of the endpoint in ``directory`` in Prometheus' text format.

    Before anything was recorded there are no samples, only what they will be.

    Raises
    ------
    sqlite3.Error
        The database cannot be read.
    """
    values: dict[str, dict[Labels, float]] = defaultdict(dict)
    connection = existing(directory)
    if connection is not None:
        with closing(connection):
            _read(connection, values)
    lines: list[str] = []
    for name, text in COUNTERS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [
            f"{name}{_labels(labels)} {_number(value)}"
            for labels, value in sorted(values[name].items())
        ]
    for name, text in HISTOGRAMS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
        lines += _histogram(name, values)
    return "\n".join(lines) + "\n"


def _read(connection: sqlite3.Connection, values: dict[str, dict[Labels, float]]) -> None:
    for name, labels, value in connection.execute("SELECT name, labels, value FROM counters"):
        values[name][tuple(json.loads(labels).items())] = value


def _histogram(name: str, values: Mapping[str, Mapping[Labels, float]]) -> list[str]:
    counts: dict[Labels, dict[str, float]] = defaultdict(dict)
    for labels, value in values[f"{name}_bucket"].items():
        counts[labels[:-1]][labels[-1][1]] = value
    lines: list[str] = []
    for labels, found in sorted(counts.items()):
        total = 0.0
        for bound in [*(f"{bound:g}" for bound in DURATION_BUCKETS), "+Inf"]:
            total += found.get(bound, 0)
            lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {_number(total)}")
        seconds = values[f"{name}_sum"].get(labels, 0.0)
        lines.append(f"{name}_sum{_labels(labels)} {_number(seconds)}")
        lines.append(f"{name}_count{_labels(labels)} {_number(total)}")
    return lines


def _labels(labels: Labels) -> str:
    r"""Return labels as Prometheus writes them.

    Examples
    --------
    >>> print(_labels((("operation", 'a"b'), ("code", "200"))))
    {operation="a\"b",code="200"}
    """
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + inner + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
