"""Requests that Azure's side and ours may take differently, of a model of age, rate and job."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PAYLOADS", "Payload"]

ROW: dict[str, Any] = {"age": 41, "rate": 0.5, "job": "a"}
JSON = "application/json"


@dataclass(frozen=True)
class Payload:
    """A request as it goes over the wire; ``body`` of ``None`` is a GET."""

    body: bytes | None
    path: str = "/score"
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)


def of(body: Any, path: str = "/score") -> Payload:
    return Payload(json.dumps(body).encode(), path)


def split(*rows: dict[str, Any], beside: dict[str, Any] | None = None, **more: Any) -> Payload:
    inside = {"columns": list(ROW), "data": [list(row.values()) for row in rows or [ROW]], **more}
    return of({"input_data": inside, **(beside or {})})


def one(**change: Any) -> Payload:
    return split({**ROW, **change})


PLAIN = split()
CSV = b"age,rate,job\n41,0.5,a\n"
PAYLOADS: dict[str, Payload] = {
    '`{"input_data": {"columns", "data"}}`': PLAIN,
    "… with index": split(index=[0]),
    "… with params": split(beside={"params": {}}),
    "… with another key beside": split(beside={"note": 1}),
    "… with another key inside": split(name="x"),
    "… columns in another order": of({"input_data": {
        "columns": list(ROW)[::-1], "data": [list(ROW.values())[::-1]],
    }}),
    "… a column more": of({"input_data": {
        "columns": [*ROW, "x"], "data": [[*ROW.values(), 1]],
    }}),
    "… blanks around a name": of({"input_data": {
        "columns": [" age ", "rate", "job"], "data": [list(ROW.values())],
    }}),
    '`{"input_data": [{…}]}`': of({"input_data": [ROW]}),
    '`{"input_data": [[…]]}`': of({"input_data": [list(ROW.values())]}),
    '`{"data": [{…}]}`': of({"data": [ROW]}),
    '`{"Inputs": {"data": [{…}]}}`': of({"Inputs": {"data": [ROW]}}),
    "CSV": Payload(CSV, content_type="text/csv"),
    "`/invocations`, dataframe_split": of(
        {"dataframe_split": json.loads(PLAIN.body or b"")["input_data"]}, "/invocations"
    ),
    "`/invocations`, dataframe_records": of({"dataframe_records": [ROW]}, "/invocations"),
    "`/invocations`, instances": of({"instances": [ROW]}, "/invocations"),
    "`/invocations`, inputs": of({"inputs": {name: [ROW[name]] for name in ROW}}, "/invocations"),
    "`/invocations`, CSV": Payload(CSV, "/invocations", "text/csv"),
    "GET, columns as arguments": Payload(None, "/score?age=41&rate=0.5&job=a"),
    "a byte order mark": Payload("\ufeff".encode() + (PLAIN.body or b"")),
    "gzip": Payload(gzip.compress(PLAIN.body or b""), headers={"Content-Encoding": "gzip"}),
    "integer: `41.0`": one(age=41.0),
    "integer: `41.5`": one(age=41.5),
    "integer: `true`": one(age=True),
    'integer: `"41"`': one(age="41"),
    'integer: `"41.0"`': one(age="41.0"),
    'integer: `"1e3"`': one(age="1e3"),
    "number: an integer": one(rate=7),
    "number: `null`": one(rate=None),
    "number: `NaN`": one(rate=float("nan")),
    "number: `Infinity`": one(rate=float("inf")),
    "number: `true`": one(rate=True),
    'number: `"7.5"`': one(rate="7.5"),
    'number: `"NaN"`': one(rate="NaN"),
    'number: `"NA"`': one(rate="NA"),
    "number: `2^64 - 1`": one(rate=2**64 - 1),
    "text: unseen": one(job="z"),
    "text: `null`": one(job=None),
    "text: a number": one(job=5),
}  # fmt: skip
