"""What deployments collect, written to the default datastore as the service's collector writes it.

Scoring scripts use Microsoft's ``azureml-ai-monitoring``, which posts each collected frame to
``AZUREML_MDC_HOST``:``AZUREML_MDC_PORT``; here that is the emulator. A line is a CloudEvent, in
``modelDataCollector/ENDPOINT/DEPLOYMENT/COLLECTION/YYYY/MM/DD/HH/INSTANCE.jsonl``.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from werkzeug.wrappers import Response

from azureml_emulator.account import LOCAL_HOST
from azureml_emulator.arm.assets import DatastorePath, Datastores
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError, EmulatorError
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["DataCollector", "cloud_event", "folder_of"]

ROOT = "azureml://datastores/workspaceblobstore/paths/modelDataCollector"
TYPE = "azureml.inference."
# A file is replaced as a whole, so lines are kept for a moment.
FLUSH_SECONDS = 1.0
# How much of a moment is in the path, by the rolling rate.
PARTS = {"Year": "%Y", "Month": "%Y/%m", "Day": "%Y/%m/%d", "Hour": "%Y/%m/%d/%H"}
PARTS["Minute"] = f"{PARTS['Hour']}/%M"

_log = logging.getLogger("azureml_emulator.inference.collector")


@dataclass(frozen=True)
class _Enrolled:
    """A deployment that collects: its collections, and where each of them is kept."""

    source: str
    secret: str
    places: Mapping[str, DatastorePath]
    rate: str
    version: str
    instance: str


def cloud_event(
    headers: Mapping[str, str], body: bytes, *, source: str, version: str
) -> dict[str, Any]:
    """Return what was collected as the service writes it.

    Parameters
    ----------
    headers
        Of the request that Microsoft's client sends, names in lower case.
    body
        Records in JSON.
    source
        The deployment's ARM id.
    version
        The model's, unless the client names another.
    """
    moment = datetime.fromtimestamp(float(headers["ce-time"]), UTC)
    correlation = headers.get("ce-x-request-id", "")
    return {
        "specversion": "1.0",
        "id": headers.get("trace-id") or str(uuid.uuid4()),
        "source": source,
        "type": headers["ce-type"],
        "datacontenttype": "application/json",
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "data": orjson.loads(body),
        "contentrange": f"bytes 0-{max(len(body) - 1, 0)}/{len(body)}",
        "correlationid": correlation,
        "xrequestid": correlation,
        "modelversion": headers.get("ce-model-version", version),
        "collectdatatype": headers.get("ce-collect-data-type", ""),
        "agent": headers.get("ce-agent", ""),
    }


def folder_of(moment: datetime, rate: str) -> str:
    """Return the folder of a moment, below that of a collection.

    Examples
    --------
    >>> noon = datetime(2026, 7, 1, 12, 5, tzinfo=UTC)
    >>> [folder_of(noon, rate) for rate in ("Day", "Hour", "Minute")]
    ['2026/07/01', '2026/07/01/12', '2026/07/01/12/05']
    """
    return moment.strftime(PARTS[rate])


class DataCollector:
    """Takes what deployments collect."""

    def __init__(self, datastores: Datastores) -> None:
        self._datastores = datastores
        self._enrolled: dict[str, _Enrolled] = {}
        self._waiting: dict[DatastorePath, list[bytes]] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self.port = 0

    def routes(self) -> list[Route]:
        """Return the route that Microsoft's client posts to."""
        return [Route("POST", LOCAL_HOST, "/modeldata/log", self._receive)]

    def enrol(
        self, deployment: Resource, workspace: str, folder: Path, version: str
    ) -> dict[str, str]:
        """Return the variables of a deployment's server, so that it collects what it should.

        Parameters
        ----------
        folder
            Gets the file of settings.
        version
            The model's.
        """
        settings = deployment.properties.get("dataCollector")
        if not settings:
            return {}
        *_, endpoint, _, name = deployment.id.split("/")
        collections, places = {}, {}
        for collection, asked in settings["collections"].items():
            if asked.get("dataCollectionMode") != "Enabled":
                continue
            share = asked.get("samplingRate")
            percent = 100 if share is None else round(100 * float(share))
            collections[collection] = {"enabled": True, "sampleRatePercentage": percent}
            uri = asked.get("dataId") or f"{ROOT}/{endpoint}/{name}/{collection}"
            places[collection.lower()] = self._datastores.resolve(str(uri), workspace)
        if not collections:
            return {}
        key, secret = uuid.uuid4().hex, secrets.token_hex(16)
        self._enrolled[key] = _Enrolled(
            deployment.id,
            secret,
            places,
            settings.get("rollingRate") or "Hour",
            version,
            uuid.uuid4().hex,
        )
        file = folder / "collector.json"
        file.write_text(json.dumps({"runMode": "cloud", "collections": collections}))
        return {
            "AZUREML_MDC_CONFIG_PATH": str(file),
            # The client puts it before the port, and so says who it is.
            "AZUREML_MDC_HOST": f"{key}:{secret}@127.0.0.1",
            "AZUREML_MDC_PORT": str(self.port),
            "ENABLE_MDC": "true",
        }

    def close(self) -> None:
        """Write what waits."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._flush()

    def _receive(self, call: Call) -> Response:
        known = self._known(call.headers.get("authorization", ""))
        kind = call.headers.get("ce-type", "")
        place = known.places.get(kind.removeprefix(TYPE).lower())
        if place is None:
            raise ArmError(400, "BadArgument", f"The deployment does not collect '{kind}'.")
        try:
            body = call.request.get_data()
            event = cloud_event(call.headers, body, source=known.source, version=known.version)
        except (ValueError, KeyError, OverflowError, OSError) as error:
            raise ArmError(400, "BadArgument", "What was collected is not JSON records.") from error
        below = folder_of(datetime.fromisoformat(event["time"]), known.rate)
        with self._lock:
            target = place / below / f"{known.instance}.jsonl"
            self._waiting.setdefault(target, []).append(orjson.dumps(event) + b"\n")
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush)
                self._timer.daemon = True
                self._timer.start()
        return json_response({"id": event["id"]})

    def _known(self, given: str) -> _Enrolled:
        scheme, _, word = given.partition(" ")
        try:
            key, _, secret = base64.b64decode(word).decode().partition(":")
        except ValueError:
            key, secret = "", ""
        found = self._enrolled.get(key)
        known = found is not None and secrets.compare_digest(found.secret, secret)
        if scheme.lower() != "basic" or found is None or not known:
            raise ArmError(401, "Unauthorized", "Only deployments of this emulator collect data.")
        return found

    def _flush(self) -> None:
        """Add the lines that wait to their files."""
        with self._lock:
            waiting, self._waiting, self._timer = self._waiting, {}, None
        blobs = self._datastores.blobs
        for place, lines in waiting.items():
            try:
                before = blobs.get(place.container, place.path)
                whole = b"".join([*(before.pieces() if before else ()), *lines])
                blobs.put(
                    place.container,
                    place.path,
                    BytesIO(whole),
                    metadata={},
                    content_type="application/octet-stream",
                )
            except (EmulatorError, OSError):
                _log.exception("collected data could not be written")
