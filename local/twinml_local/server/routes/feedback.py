"""``POST /feedback``: the true labels of scored rows.

A record, or a list of records, all kept or none::

    {"request_id": "8f0c…", "row": 0, "label": "yes"}

``twinml feedback`` writes to the same store (``twinml.traffic.feedback``). A call that is
repeated counts once; once it is answered with 200 the labels survive a crash.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from twinml.errors import Detail, PayloadError, PlatformUnavailable
from twinml.traffic.feedback import GroundTruth, Truth
from twinml_local.server._errors import key_refused
from twinml_local.server.routes.replies import json_response
from twinml_local.telemetry.collector import FOLDER

__all__ = ["LARGEST_ROW", "LONGEST_ID", "MOST_LABELS", "PRINTABLE", "feedback_route"]

LARGEST_ROW = 10_000_000
LONGEST_ID = 100  # characters, as of every request
MOST_LABELS = 100_000
MOST_SHOWN = 20  # labels that a message lists
PRINTABLE = "^[!-~]+$"
FIELDS = frozenset({"request_id", "row", "label"})
HINT = '{"request_id": "the x-request-id of the reply", "row": 0, "label": "…"}, or a list of them.'


def feedback_route(directory: Path, endpoint: str) -> Blueprint:
    """Return the route of the endpoint whose folder is ``directory``; its key is asked for."""
    routes = Blueprint("feedback", __name__)
    truth = GroundTruth(directory / FOLDER)

    @routes.post("/feedback")
    def feedback() -> Response:
        exchange = g.exchange
        refusal = exchange.refusal()
        if refusal is not None:
            raise key_refused(refusal, endpoint)
        body = request.get_data(cache=False)
        if len(body) > exchange.serving.settings.max_body_bytes:
            raise RequestEntityTooLarge
        contracts = [one.contract for one in exchange.serving.deployments.values()]
        numbers = any(contract.task == "regression" for contract in contracts)
        told = _truths(body, [label for one in contracts for label in one.classes], numbers=numbers)
        try:
            done = truth.record(told)
        except sqlite3.Error as error:
            raise PlatformUnavailable(
                "the labels could not be kept", hint="Send the same request again."
            ) from error
        return json_response(
            {"new": done.new, "known": done.known, "corrected": done.corrected}, 200
        )

    return routes


def _truths(body: bytes, classes: list[Any], *, numbers: bool = False) -> list[Truth]:
    """Read the labels of a request's body.

    Raises
    ------
    PayloadError
        A record is not as the module says, or its label is no class of a model that is served; with
        ``numbers`` it may be a finite number.
    """
    try:
        given = json.loads(body)
    except ValueError as error:
        raise PayloadError("the body is not JSON", hint=HINT) from error
    except RecursionError as error:
        raise PayloadError("the body is nested too deeply", hint=HINT) from error
    records = given if isinstance(given, list) else [given]
    if len(records) > MOST_LABELS:
        raise PayloadError(
            f"the request holds {len(records):,} labels",
            hint=f"Send at most {MOST_LABELS:,} at a time.",
            status=413,
        )
    if not records:
        raise PayloadError("the request holds no label", hint=HINT)
    spelt = {str(label) for label in classes}
    return [_truth(record, place, classes, spelt, numbers) for place, record in enumerate(records)]


def _truth(record: Any, place: int, classes: list[Any], spelt: set[str], numbers: bool) -> Truth:
    if not isinstance(record, dict) or not {"request_id", "label"} <= record.keys() <= FIELDS:
        raise PayloadError(f"record {place} is not an object of request_id, row, label", hint=HINT)

    def refused(name: str, expected: str) -> PayloadError:
        value = record[name]
        shown = value if isinstance(value, str | int | float | bool) else type(value).__name__
        if isinstance(shown, str):
            shown = shown[:LONGEST_ID]
        return PayloadError(
            f"record {place} has a {name} that cannot be used",
            hint=f"Give {expected}.",
            details=[Detail(row=place, column=name, value=shown, expected=expected)],
        )

    name, row, label = record["request_id"], record.get("row", 0), record["label"]
    if not isinstance(name, str) or len(name) > LONGEST_ID or not re.fullmatch(PRINTABLE, name):
        raise refused("request_id", f"1 to {LONGEST_ID} printable characters without spaces")
    if isinstance(row, float) and row.is_integer():
        row = int(row)  # to JSON 3.0 is a whole number
    if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row <= LARGEST_ROW:
        raise refused("row", "a row of the request, counted from 0")
    typed = any(type(label) is type(one) and label == one for one in classes)
    number = numbers and _is_finite(label)
    if not number and not typed and not (isinstance(label, str) and label in spelt):
        ways = [f"one of {_first(sorted(spelt))}"] * bool(spelt) + ["a finite number"] * numbers
        # Of a custom model nothing is known to be true or false.
        raise refused("label", " or ".join(ways) or "labels to a classifier or a regressor")
    return Truth(name, row, repr(float(label)) if number else str(label))


def _is_finite(label: Any) -> bool:
    """Tell whether a label is a finite number, or the text of one."""
    if type(label) not in (int, float, str):
        return False
    try:
        return math.isfinite(float(label))
    except (ValueError, OverflowError):
        return False


def _first(labels: list[str]) -> str:
    more = len(labels) - MOST_SHOWN
    text = ", ".join(label[:LONGEST_ID] for label in labels[:MOST_SHOWN])
    return f"{text} and {more:,} more" if more > 0 else text
