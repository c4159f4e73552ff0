"""Schedules over REST, under the key and beside the jobs of their pipeline.

====================================================  ==================================
``GET    /pipelines/NAME/schedules``                  list, by name
``PUT    /pipelines/NAME/schedules/TITLE``            make (201) or replace (200)
``GET    /pipelines/NAME/schedules/TITLE``            when it is due, what it last did
``POST   /pipelines/NAME/schedules/TITLE/disable``    keep it, but let it start nothing
``POST   /pipelines/NAME/schedules/TITLE/enable``     let it start jobs, from now on
``DELETE /pipelines/NAME/schedules/TITLE``            delete (204)
====================================================  ==================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from flask import Blueprint, Response, jsonify, request

from twinml.errors import Detail, PayloadError
from twinml.platform import Schedule
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.schedules.clock import check_schedule, next_due

__all__ = ["schedule_routes"]

KINDS: Mapping[str, tuple[type, str]] = {
    "cron": (str, "five fields such as 0 6 * * 1"),
    "every": (str, "a length of time such as 6h"),
    "timezone": (str, "a name such as Europe/Berlin"),
    "on_drift": (str, "the name of an endpoint"),
    "cooldown": (str, "a length of time such as 1d"),
    "inputs": (dict, "an object"),
    "enabled": (bool, "true or false"),
}


def schedule_routes(store: JobStore) -> Blueprint:
    """Return the routes, for an application that checks the key."""
    routes = Blueprint("schedules", __name__, url_prefix="/pipelines/<name>/schedules")

    @routes.get("")
    def listing(name: str) -> Response:
        store.definition(name)
        return jsonify(schedules=[asdict(one) for one, _ in store.schedules(name)])

    @routes.put("/<title>")
    def put(name: str, title: str) -> tuple[Response, int]:
        definition, _ = store.definition(name)
        wanted = _read(name, title, request.get_data(), request.mimetype)
        check_schedule(wanted)
        definition.accepted(wanted.inputs)
        new = store.put_schedule(wanted, next_due(wanted, time.time()), own=True)
        return jsonify(asdict(store.schedule(name, title))), 201 if new else 200

    @routes.get("/<title>")
    def describe(name: str, title: str) -> Response:
        store.definition(name)
        return jsonify(asdict(store.schedule(name, title)))

    @routes.delete("/<title>")
    def delete(name: str, title: str) -> tuple[str, int]:
        store.definition(name)
        store.delete_schedule(title, name)
        return "", 204

    @routes.post("/<title>/enable")
    def enable(name: str, title: str) -> Response:
        return _switch(name, title, enabled=True)

    @routes.post("/<title>/disable")
    def disable(name: str, title: str) -> Response:
        return _switch(name, title, enabled=False)

    def _switch(name: str, title: str, *, enabled: bool) -> Response:
        store.definition(name)
        held = store.schedule(name, title)
        if held.enabled != enabled:
            # What would have been due in between is not made up for: it was not to be.
            store.put_schedule(replace(held, enabled=enabled), next_due(held, time.time()))
        return jsonify(asdict(store.schedule(name, title)))

    return routes


def _read(pipeline: str, title: str, body: bytes, kind: str) -> Schedule:
    if kind and kind != "application/json":
        raise PayloadError(
            f"found content type '{kind[:80]}', expected application/json",
            hint="Send JSON with the header Content-Type: application/json.",
            status=415,
        )
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PayloadError("the body is not JSON", hint='Send {"every": "6h"}.') from error
    if not isinstance(content, dict):
        raise PayloadError("the body is not a JSON object", hint='Send {"every": "6h"}.')
    wrong = []
    for key, value in content.items():
        if key not in KINDS:
            wrong.append(_detail(key, value, f"one of: {', '.join(KINDS)}"))
        elif value is not None and not isinstance(value, KINDS[key][0]):
            wrong.append(_detail(key, value, KINDS[key][1]))
    if wrong:
        raise PayloadError(
            f"{wrong[0].column}: found {wrong[0].value}, expected {wrong[0].expected}",
            hint='Send {"every": "6h"}.',
            details=wrong,
        )
    given: dict[str, Any] = {key: value for key, value in content.items() if value is not None}
    return Schedule(title, pipeline, **given)


def _detail(key: str, value: Any, expected: str) -> Detail:
    shown = json.dumps(value)[:80]
    return Detail(column=key[:80].encode(errors="replace").decode(), value=shown, expected=expected)
