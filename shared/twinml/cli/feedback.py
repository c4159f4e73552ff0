"""``twinml feedback``: tell an endpoint's records what turned out to be true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import console, emit, errors_in_one_line, json_option, safe_csv_option
from twinml.cli._types import MODEL_OR_DIRECTORY
from twinml.errors import DataError, NotFound, UsageError

__all__ = ["command"]


@click.command(short_help="Record true labels of scored rows, by request id.")
@endpoint_options("on", "deployment", "collected")
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
    "--model",
    type=MODEL_OR_DIRECTORY,
    metavar="MODEL",
    help="Whose contract names the target [default: the deployed one].",
)
@safe_csv_option
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    file: Path | None,
    request_id: str,
    row: str,
    label: str,
    export: Path | None,
    model: str | None,
    safe_csv: bool,
    as_json: bool,
) -> None:
    """Record what turned out to be true of scored rows; late labels and repeats are welcome.

    For example: twinml feedback --labels outcomes.csv, or twinml feedback --export labelled.csv
    """
    from twinml.traffic.collected import Traffic, read
    from twinml.traffic.feedback import GroundTruth, labelled_frame, records_from, truths_from

    if file is None and export is None:
        raise UsageError("say what to do", hint="Give --labels FILE, --export CSV, or both.")
    place = where.collected_folder()
    truth = GroundTruth(place)
    try:
        traffic = read(place)
    except NotFound:
        traffic = Traffic(())
    result: dict[str, Any] = {"folder": str(place)}
    told = []
    if file is not None:
        given = list(
            truths_from(records_from(file, request_id), request_id=request_id, row=row, label=label)
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
            console().print(f"{unmatched:,} labels fit no collected row (yet); they are kept")
    if export is not None:
        contract = where.contract(model)
        only = None if where.deployment is None else [where.deployment]
        answered = traffic if only is None else read(place, deployments=only)
        frame = labelled_frame(answered, truth.labels(), contract)
        if frame.empty:
            raise DataError(
                "no collected row has a label", hint="Record some first: --labels FILE."
            )
        if safe_csv:
            from twinml.data.safe_csv import safe_frame

            frame = safe_frame(frame)
        export.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(export, index=False, lineterminator="\n")
        result |= {"exported": len(frame), "file": str(export)}
        told.append(f"{len(frame):,} labelled rows written: {export}")
    emit(result, as_json=as_json, text="\n".join(told))
