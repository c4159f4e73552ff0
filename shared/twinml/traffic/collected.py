"""Collected traffic: what requests held and what was answered, read from Azure ML's layout.

::

    modelDataCollector/ENDPOINT/DEPLOYMENT/
    ├── model_inputs/YYYY/MM/DD/HH/….jsonl
    └── model_outputs/YYYY/MM/DD/HH/….jsonl

The local endpoint writes it, and so does Azure ML's data collector; a folder downloaded from
its storage is read the same way. A line is a request, and ``correlationid`` joins the two files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import unquote

from twinml.errors import DataError, NotFound

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["INPUTS", "OUTPUTS", "CollectsTraffic", "Request", "Traffic", "read"]

INPUTS, OUTPUTS = "model_inputs", "model_outputs"
MOST_ROWS = 200_000


@runtime_checkable
class CollectsTraffic(Protocol):
    """A platform that can keep what its endpoints are asked and answer."""

    def collect(
        self, endpoint: str, rate: float | None = None, *, ood_scores: bool | None = None
    ) -> None:
        """Change what is kept from now on; ``None`` leaves it as it is.

        Parameters
        ----------
        rate
            Share of the requests, 0 to 1, whose inputs and outputs are kept.
        ood_scores
            Whether every request gets an out-of-distribution score, in reply and telemetry.
        """
        ...

    def collected(self, endpoint: str) -> Path:
        """Return the folder that holds what was kept; it may not be there yet."""
        ...


@dataclass(frozen=True)
class Request:
    """A collected request.

    Attributes
    ----------
    id
        Its correlation id: the ``x-request-id`` of the reply.
    deployment
        Who answered.
    model_version
        As the collector wrote it.
    time
        UTC, to the second.
    rows
        Features by name, one mapping a row.
    outputs
        One mapping a row: a probability by class name, or the label by the target's name; empty
        where the answer was not collected.
    """

    id: str
    deployment: str
    model_version: str
    time: datetime
    rows: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Traffic:
    """Collected requests of an endpoint, oldest first.

    Attributes
    ----------
    requests
        Of all deployments that were asked for.
    torn
        Lines that could not be read: what a crash cut off.
    cut_off
        Whether older requests were left out, because there were too many rows.
    """

    requests: tuple[Request, ...]
    torn: int = 0
    cut_off: bool = False

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(len(request.rows) for request in self.requests)

    def frame(self) -> pd.DataFrame:
        """Return the features of all rows."""
        import pandas as pd

        return pd.DataFrame([row for request in self.requests for row in request.rows])

    def times(self) -> list[datetime]:
        """Return when each row came, as long as the frame."""
        return [request.time for request in self.requests for _ in request.rows]


def read(
    folder: Path,
    *,
    deployments: Sequence[str] | None = None,
    since: datetime | None = None,
    most_rows: int = MOST_ROWS,
) -> Traffic:
    """Read what was collected.

    Parameters
    ----------
    folder
        ``modelDataCollector``, a folder above it, or that of one endpoint in it.
    deployments
        Names of those to read; all by default.
    since
        Leave out what came before; aware of its zone.
    most_rows
        Read the newest requests up to about so many rows.

    Raises
    ------
    NotFound
        Nothing was collected there.
    DataError
        The folder holds the requests of several endpoints.
    """
    found = _hours(folder)
    if not found:
        raise NotFound(
            f"no traffic was collected in {folder.name}",
            hint="Turn collecting on (twinml collect --rate 1) and send requests.",
        )
    endpoints = {place.endpoint for places in found.values() for place in places}
    if len(endpoints) > 1:
        raise DataError(
            f"{folder.name} holds the traffic of {len(endpoints)} endpoints: "
            f"{', '.join(sorted(endpoints))}",
            hint="Name the folder of one of them.",
        )
    requests: list[Request] = []
    torn = n_rows = 0
    cut_off = False
    for hour in sorted(found, reverse=True):
        if since is not None and hour + timedelta(hours=1) <= since:
            break
        if n_rows >= most_rows:
            cut_off = True
            break
        for place in found[hour]:
            if deployments is not None and place.deployment not in deployments:
                continue
            read_here, lost = _read_hour(place)
            torn += lost
            kept = [one for one in read_here if since is None or one.time >= since]
            requests += kept
            n_rows += sum(len(one.rows) for one in kept)
    requests.sort(key=lambda request: request.time)
    return Traffic(tuple(requests), torn, cut_off)


@dataclass(frozen=True)
class _Place:
    """The inputs of one deployment in one hour, and where the outputs would be."""

    endpoint: str
    deployment: str
    inputs: Path
    outputs: Path


def _hours(folder: Path) -> dict[datetime, list[_Place]]:
    """Return the folders of inputs by their hour."""
    hours: dict[datetime, list[_Place]] = defaultdict(list)
    for collection in sorted(folder.rglob(INPUTS)):
        deployment, endpoint = (
            unquote(part.name) for part in (collection.parent, collection.parent.parent)
        )
        for path in sorted(collection.glob("[0-9]*/[0-9]*/[0-9]*/[0-9]*")):
            relative = path.relative_to(collection)
            hour = datetime.strptime("/".join(relative.parts), "%Y/%m/%d/%H").replace(tzinfo=UTC)
            outputs = collection.parent / OUTPUTS / relative
            hours[hour].append(_Place(endpoint, deployment, path, outputs))
    return hours


def _read_hour(place: _Place) -> tuple[list[Request], int]:
    """Return the requests of one deployment in one hour, and how many lines were torn."""
    answers: dict[str, list[Mapping[str, Any]]] = {}
    torn = 0
    for line in _lines(place.outputs):
        if line is None:
            torn += 1
        else:
            answers[line["correlationid"]] = line["data"]
    requests = []
    for line in _lines(place.inputs):
        if line is None:
            torn += 1
            continue
        rows, outputs = line["data"], answers.get(line["correlationid"], [])
        requests.append(
            Request(
                id=str(line["correlationid"]),
                deployment=place.deployment,
                model_version=str(line.get("modelversion", "")),
                time=datetime.fromisoformat(line["time"]).astimezone(UTC),
                rows=rows,
                outputs=outputs if len(outputs) == len(rows) else [{} for _ in rows],
            )
        )
    return requests, torn


def _lines(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the lines of all files in ``folder``; ``None`` for one that cannot be used."""
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_bytes().splitlines():
            try:
                line = json.loads(text)
                usable = isinstance(line["data"], list) and "correlationid" in line and line["time"]
            except (ValueError, KeyError, TypeError):
                usable = False
            yield line if usable else None
