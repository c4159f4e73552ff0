"""Inputs and outputs of requests as files, laid out as Azure ML's data collector lays them out.

::

    modelDataCollector/ENDPOINT/DEPLOYMENT/
    ├── model_inputs/YYYY/MM/DD/HH/INSTANCE.jsonl
    └── model_outputs/YYYY/MM/DD/HH/INSTANCE.jsonl

A line is a request, rows in ``data``; its ``correlationid`` joins inputs and outputs::

    {"specversion":"1.0","id":"…","source":"/onlineEndpoints/bank/deployments/blue",
     "type":"azureml.inference.model_inputs","datacontenttype":"application/json",
     "time":"2026-11-23T10:00:00Z","data":[{"age":41,…}],"contentrange":"bytes 0-115/116",
     "correlationid":"…","xrequestid":"…","modelversion":"3",
     "collectdatatype":"pandas.core.frame.DataFrame","agent":"twinml/0.1.0"}

This is the only place where payloads are kept, and only when collection is on. Files can be
read by their owner alone. Lines are appended whole and nobody appends to the file of another
process, so that a crash can tear no more than the last line of a file.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

__all__ = ["FOLDER", "Collector", "Payload"]

FOLDER = "modelDataCollector"
INPUTS, OUTPUTS = "model_inputs", "model_outputs"
JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Payload(NamedTuple):
    """A scored request."""

    time: float
    deployment: str
    model_version: str
    correlation_id: str
    columns: Mapping[str, Sequence[Any]]
    target: str
    classes: Sequence[Any]
    labels: Sequence[Any]
    # Array or nested lists, shape (n_rows, n_classes), or None; bounds, shape (n_rows, 2), of
    # what has no classes.
    probabilities: Any


class Collector:
    """Appends payloads to the files of this process.

    Parameters
    ----------
    directory
        Where ``modelDataCollector`` is; made when something is collected.
    endpoint
        Its name.
    agent
        Who writes, with the version.
    file_bytes
        Size from which a new file is begun.
    """

    def __init__(self, directory: Path, *, endpoint: str, agent: str, file_bytes: int) -> None:
        self._root = directory / FOLDER
        self._endpoint = endpoint
        self._agent = agent
        self._file_bytes = file_bytes
        self._instance = str(uuid.uuid4())
        self._written: dict[Path, int] = defaultdict(int)

    def write(self, payloads: Iterable[Payload]) -> None:
        """Append payloads to the files of their hour.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        lines: dict[Path, list[bytes]] = defaultdict(list)
        for payload in payloads:
            for collection, rows in (
                (INPUTS, _input_rows(payload)),
                (OUTPUTS, _output_rows(payload)),
            ):
                line = self._line(payload, collection, rows)
                lines[self._folder(payload, collection)].append(line)
        for folder, group in lines.items():
            self._append(folder, b"".join(group))

    def remove_older(self, seconds: float, *, now: float | None = None) -> int:
        """Remove files that nobody has written to for so long; returns how many."""
        oldest = (time.time() if now is None else now) - seconds
        removed = 0
        for path in sorted(self._root.rglob("*.jsonl")):
            # Another worker may be removing them, too.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        if removed:
            for folder in sorted(self._root.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()
        return removed

    def _append(self, folder: Path, content: bytes) -> None:
        path = folder / f"{self._instance}.jsonl"
        if self._written[path] >= self._file_bytes:
            self._instance = str(uuid.uuid4())
            self._written.clear()
            path = folder / f"{self._instance}.jsonl"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        self._written[path] += len(content)

    def _folder(self, payload: Payload, collection: str) -> Path:
        moment = datetime.fromtimestamp(payload.time, UTC)
        # Names are checked where they are given; here only a path is kept from being left.
        places = [quote(name, safe="") for name in (self._endpoint, payload.deployment)]
        return self._root.joinpath(*places, collection, *f"{moment:%Y %m %d %H}".split())

    def _line(self, payload: Payload, collection: str, rows: list[dict[str, Any]]) -> bytes:
        data = orjson.dumps(rows, option=JSON)
        envelope = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"/onlineEndpoints/{self._endpoint}/deployments/{payload.deployment}",
            "type": f"azureml.inference.{collection}",
            "datacontenttype": "application/json",
            "time": f"{datetime.fromtimestamp(payload.time, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "data": orjson.Fragment(data),
            "contentrange": f"bytes 0-{len(data) - 1}/{len(data)}",
            "correlationid": payload.correlation_id,
            "xrequestid": payload.correlation_id,
            "modelversion": payload.model_version,
            "collectdatatype": "pandas.core.frame.DataFrame",
            "agent": self._agent,
        }
        return orjson.dumps(envelope, option=orjson.OPT_APPEND_NEWLINE)


def _input_rows(payload: Payload) -> list[dict[str, Any]]:
    names = list(payload.columns)
    return [
        dict(zip(names, values, strict=True))
        for values in zip(*payload.columns.values(), strict=True)
    ]


def _output_rows(payload: Payload) -> list[dict[str, Any]]:
    if payload.probabilities is None:
        return [{payload.target: label} for label in payload.labels]
    names = [str(label) for label in payload.classes] or [
        f"{payload.target}_{bound}" for bound in ("lower", "upper")
    ]
    return [dict(zip(names, row, strict=True)) for row in payload.probabilities]
