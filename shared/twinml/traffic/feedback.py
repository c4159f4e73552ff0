"""Ground truth that comes later: the true label of a scored row, by request id and row.

Kept in ``ground_truth.db`` beside the collected traffic. A label that is told twice counts once,
one that is told otherwise replaces the first; each call is one transaction, durable when it
returns. Labels may come before their request was collected, or after that was deleted.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import DataError, PlatformError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.traffic.collected import Traffic

__all__ = ["DATABASE", "GroundTruth", "Recorded", "Truth", "labelled_frame",
           "records_from", "truths_from"]  # fmt: skip

DATABASE = "ground_truth.db"
VERSION = 1
BUSY_SECONDS = 10.0
LONGEST = 200  # characters of a request id or label


@dataclass(frozen=True)
class Truth:
    """The true label of row ``row`` (from 0) of request ``request_id``, spelt as text."""

    request_id: str
    row: int
    label: str


@dataclass(frozen=True)
class Recorded:
    """How many labels a call of ``GroundTruth.record`` stored or left out."""

    new: int
    known: int
    corrected: int


class GroundTruth:
    """The labels beside one endpoint's collected traffic.

    Parameters
    ----------
    folder
        That of the collected traffic; made when a label is recorded.

    Examples
    --------
    >>> import tempfile
    >>> truth = GroundTruth(Path(tempfile.mkdtemp()))
    >>> truth.record([Truth("a1", 0, "yes"), Truth("a1", 1, "no")])
    Recorded(new=2, known=0, corrected=0)
    >>> truth.record([Truth("a1", 0, "yes"), Truth("a1", 1, "yes")])
    Recorded(new=0, known=1, corrected=1)
    >>> truth.labels()
    {('a1', 0): 'yes', ('a1', 1): 'yes'}
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, truths: Iterable[Truth]) -> Recorded:
        """Keep labels, all or none of them.

        Raises
        ------
        DataError
            Two labels for one row differ, or one cannot be used.
        PlatformError
            A newer version made the file.
        """
        told = _unique(truths)
        new = known = corrected = 0
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for (request_id, row), label in told.items():
                found = connection.execute(
                    "SELECT label FROM ground_truth WHERE request_id = ? AND row = ?",
                    (request_id, row),
                ).fetchone()
                if found is not None and found[0] == label:
                    known += 1
                    continue
                corrected += found is not None
                new += found is None
                connection.execute(
                    "INSERT OR REPLACE INTO ground_truth VALUES (?, ?, ?, ?)",
                    (request_id, row, label, now),
                )
            connection.execute("COMMIT")
        return Recorded(new, known, corrected)

    def labels(self) -> dict[tuple[str, int], str]:
        """Return all labels by request id and row."""
        if not (self._folder / DATABASE).is_file():
            return {}
        with closing(self._open()) as connection:
            found = connection.execute("SELECT request_id, row, label FROM ground_truth")
            return {(request_id, row): label for request_id, row, label in found}

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / DATABASE
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            # A label is often all that is left of a phone call: it must survive a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise PlatformError(
                    f"{DATABASE} has format {version}, this version writes {VERSION}",
                    hint="Update twinml, or move the file away.",
                )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS ground_truth (request_id TEXT NOT NULL, "
                "row INTEGER NOT NULL, label TEXT NOT NULL, received TEXT NOT NULL, "
                "PRIMARY KEY (request_id, row)) WITHOUT ROWID"
            )
            if version == 0:
                connection.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection


def _unique(truths: Iterable[Truth]) -> dict[tuple[str, int], str]:
    told: dict[tuple[str, int], str] = {}
    for truth in truths:
        place = (truth.request_id, truth.row)
        if told.setdefault(place, truth.label) != truth.label:
            raise DataError(
                f"request {truth.request_id} row {truth.row} is called {told[place]!r} and "
                f"{truth.label!r}",
                hint="Give one label a row; nothing was recorded.",
            )
    return told


def truths_from(
    records: Iterable[Mapping[str, Any]],
    *,
    request_id: str = "request_id",
    row: str = "row",
    label: str = "label",
) -> Iterator[Truth]:
    """Yield labels from records, such as the lines of a CSV file; those without one are skipped.

    Parameters
    ----------
    records
        Mappings of text or numbers; a row that is missing is 0, a label that is null or empty is
        not known yet.
    request_id, row, label
        Names of the fields.

    Raises
    ------
    DataError
        A record has no request id, or its row is no whole number from 0 on.
    """
    for number, record in enumerate(records):
        for name in (request_id, label):
            if name not in record:
                raise DataError(
                    f"record {number} has no '{name}'",
                    hint=f"It has: {', '.join(map(str, record)) or 'nothing'}. "
                    "Name the columns: --id, --row, --label.",
                )
        name, value = _text(record[request_id]), _text(record[label])
        if not name:
            raise DataError(
                f"record {number} has an empty '{request_id}'",
                hint="Give the x-request-id of the reply.",
            )
        for text in (name, value):
            if len(text) > LONGEST:
                raise DataError(
                    f"record {number} holds {len(text)} characters",
                    hint=f"Request ids and labels have at most {LONGEST}.",
                )
        if value:
            yield Truth(name, _row(record.get(row), number), value)


def _text(value: Any) -> str:
    """Return one spelling of a value: a whole number may have become a float, null is empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _row(value: Any, number: int) -> int:
    text = _text(value)
    if not text:
        return 0
    if not text.isdecimal():
        raise DataError(
            f"record {number} has the row {text!r}",
            hint="Rows of a request are counted from 0 on.",
        )
    return int(text)


def labelled_frame(
    traffic: Traffic, labels: Mapping[tuple[str, int], str], contract: Contract
) -> pd.DataFrame:
    """Return the collected rows whose label is known: features and target, ready for training.

    Parameters
    ----------
    traffic
        Of any deployments; a request that two of them scored (mirror traffic) counts once.
    labels
        As ``GroundTruth.labels`` returns them.
    contract
        Of a model behind the endpoint: it names the target and the classes.

    Raises
    ------
    DataError
        A label is none of the classes, or no number where the model predicts one.
    """
    import pandas as pd

    spelt: dict[str, Any] = {str(label): label for label in contract.classes}
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for request in traffic.requests:
        for number, features in enumerate(request.rows):
            told = labels.get((request.id, number))
            if told is None:
                continue
            if contract.task == "regression":
                spelt[told] = _finite(told)
            if spelt.get(told) is None:
                raise DataError(
                    f"request {request.id} row {number} has the label {told!r}",
                    hint=f"The classes are: {', '.join(map(str, contract.classes))}."
                    if contract.classes
                    else "The model's own code answers: there is nothing to judge."
                    if contract.answer_type
                    else "The model predicts numbers.",
                )
            rows[request.id, number] = {**features, contract.target: spelt[told]}
    return pd.DataFrame(list(rows.values()), columns=[*contract.column_names, contract.target])


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def records_from(file: Path, request_id: str) -> Iterable[Mapping[str, Any]]:
    """Return the records of a CSV, Parquet, JSON or JSON lines file; an id of digits stays text.

    Raises
    ------
    DataError
        It cannot be read, or holds no list of objects.
    """
    if file.suffix not in (".json", ".jsonl"):
        from twinml.data import read_rows

        rows: Any = read_rows(file, text=[request_id])
        return list(rows.astype(object).where(rows.notna(), None).to_dict("records"))
    try:
        text = file.read_text(encoding="utf-8")
        found = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if file.suffix == ".jsonl"
            else json.loads(text)
        )
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(
            f"{file.name} is not JSON: {error}", hint="Give a list of objects."
        ) from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{file.name} holds no list of objects", hint='[{"request_id": …}, …]')
    return found
