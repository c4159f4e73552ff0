"""``twinml feedback``: tell an endpoint's records what turned out to be true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from twinml.cli._collected import collected_folder
from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import contract_of
from twinml.cli._endpoints import endpoint_option
from twinml.errors import DataError, NotFound, UsageError

__all__ = ["command"]


@click.command(short_help="Record true labels of scored rows, by request id.")
@endpoint_option
@click.option(
    "--labels",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV, Parquet, JSON (a list of objects) or JSON lines with request ids and labels.",
)
@click.option("--id", "request_id", default="request_id", show_default=True, metavar="COLUMN",
              help="The column of request ids: x-request-id of the reply.")  # fmt: skip
@click.option("--row", default="row", show_default=True, metavar="COLUMN",
              help="The column of the row within the request, from 0; without one: 0.")  # fmt: skip
@click.option("--label", default="label", show_default=True, metavar="COLUMN",
              help="The column of labels; an empty one is not known yet.")  # fmt: skip
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Write the collected rows whose label is known, to train or test with.",
)
@click.option(
    "--model", metavar="MODEL", help="Whose contract names the target [default: the deployed one]."
)
@click.option(
    "--collected",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A modelDataCollector folder instead of an endpoint here.",
)
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None,
    file: Path | None,
    request_id: str,
    row: str,
    label: str,
    export: Path | None,
    model: str | None,
    folder: Path | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Record what turned out to be true of scored rows; late labels and repeats are welcome.

    For example: twinml feedback --labels outcomes.csv, or twinml feedback --export labelled.csv
    """
    from twinml.traffic.collected import Traffic, read
    from twinml.traffic.feedback import GroundTruth, labelled_frame, truths_from

    if file is None and export is None:
        raise UsageError("say what to do", hint="Give --labels FILE, --export CSV, or both.")
    place = collected_folder(platform_name, endpoint_name, folder)
    truth = GroundTruth(place)
    try:
        traffic = read(place)
    except NotFound:
        traffic = Traffic(())
    result: dict[str, Any] = {"folder": str(place)}
    told = []
    if file is not None:
        given = list(
            truths_from(_records(file, request_id), request_id=request_id, row=row, label=label)
        )
        known = {
            (request.id, number)
            for request in traffic.requests
            for number in range(len(request.rows))
        }
        unmatched = sum((one.request_id, one.row) not in known for one in given)
        done = truth.record(given)
        result |= {"new": done.new, "known": done.known, "corrected": done.corrected,
                   "unmatched": unmatched}  # fmt: skip
        told.append(
            f"{done.new:,} labels recorded, {done.known:,} known before, "
            f"{done.corrected:,} corrected"
        )
        if unmatched:
            console.print(f"{unmatched:,} labels fit no collected row (yet); they are kept")
    if export is not None:
        contract = contract_of(platform_name, endpoint_name, None, None, model)
        frame = labelled_frame(traffic, truth.labels(), contract)
        if frame.empty:
            raise DataError(
                "no collected row has a label", hint="Record some first: --labels FILE."
            )
        export.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(export, index=False, lineterminator="\n")
        result |= {"exported": len(frame), "file": str(export)}
        told.append(f"{len(frame):,} labelled rows written: {export}")
    emit(result, as_json=as_json, text="\n".join(told))


def _records(file: Path, request_id: str) -> Iterable[Mapping[str, Any]]:
    """Return the records of a file; an id made of digits stays text."""
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
