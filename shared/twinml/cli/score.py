"""``twinml score``: send rows to an endpoint and print what it predicts.

Rows come from a file, from standard input, from the endpoint's own samples, or ready-made as
a request body::

    --data FILE.csv | .csv.gz | .parquet | .jsonl   rows, sent in chunks
    --data FILE.json                                a request body, posted as it is, or rows
    --data -                                        CSV, JSON lines, rows or a body
    --sample N                                      rows of the endpoint's OpenAPI document
    --example                                       no request: writes a body to start from
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import (
    counting,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
    safe_csv_option,
)
from twinml.cli._types import MODEL_OR_DIRECTORY
from twinml.contract.dialects import DEFAULT, RECORDS, ROUTES, Method, written
from twinml.endpoint import Endpoint, request_body
from twinml.endpoint.document import Facts, facts_of, samples
from twinml.errors import DataError, UsageError

if TYPE_CHECKING:
    from twinml.batch.remote import Rows

__all__ = ["command"]

EXAMPLE = Path("data.json")
PATH = click.Path(allow_dash=True)


@click.command("score", short_help="Score rows with a deployed endpoint.")
@endpoint_options("on", "deployment", "url")
@click.option(
    "--data", type=PATH, metavar="FILE", help="CSV, Parquet, JSON lines or a JSON body; - is stdin."
)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Score N sample rows.")
@click.option(
    "--example", is_flag=True, help="Write a request body, data.json, instead of sending one."
)
@click.option(
    "--dialect",
    type=click.Choice(written()),
    help=f"How rows are sent [default: {DEFAULT.name}; for --example: {RECORDS.name}, "
    f"on Azure {DEFAULT.name}].",
)
@click.option("--proba", is_flag=True, help="Class probabilities as well.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Rows with predictions and request ids: .csv, .parquet, .json or .jsonl.",
)
@click.option(
    "--chunk-rows", type=click.IntRange(1), default=5000, show_default=True,
    help="Rows in a request.",
)  # fmt: skip
@click.option("--restart", is_flag=True, help="Begin anew what an earlier run began.")
@click.option(
    "--explain",
    is_flag=True,
    help="What each feature added, from the model itself (SHAP values); no endpoint is asked.",
)
@click.option(
    "--model",
    type=MODEL_OR_DIRECTORY,
    metavar="MODEL",
    help="With --explain: model directory, NAME, NAME/VERSION or NAME@ALIAS [default: the "
    "deployed one].",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="With --explain: draw the first rows.",
)
@safe_csv_option
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    data: str | None,
    sample: int | None,
    example: bool,
    dialect: str | None,
    proba: bool,
    out: Path | None,
    chunk_rows: int,
    restart: bool,
    explain: bool,
    model: str | None,
    picture: Path | None,
    safe_csv: bool,
    as_json: bool,
) -> None:
    """Score rows with a deployed endpoint.

    With --out a large file may be stopped and the same command continues it.

    For example: twinml score --sample 2, or twinml score --data new.csv --out scored.csv
    """
    if explain:
        _explain(where, model, data, sample, out, picture, safe_csv, as_json)
        return
    if model is not None or picture is not None:
        raise UsageError("--model and --picture go with --explain", hint="Leave them out.")
    if (data is not None) + (sample is not None) + example != 1:
        raise UsageError(
            "say what to score, once", hint="Give one of --data FILE, --sample N and --example."
        )
    taken = written() if where.url is not None else where.platform.dialects
    if dialect is not None and dialect not in taken:
        raise UsageError(
            f"endpoints on '{where.platform_name}' do not take the dialect {dialect}",
            hint=f"They take {', '.join(taken)}.",
        )
    with where.connect() as endpoint:
        if example:
            _write_example(endpoint, dialect or taken[0], proba, out, as_json)
            return
        from twinml.batch.given import opened
        from twinml.batch.remote import HeldRows

        if sample is not None:
            facts = facts_of(endpoint)
            rows = HeldRows(samples(facts, sample))
            _score(
                endpoint, rows, facts, dialect, proba, out, chunk_rows, restart, safe_csv, as_json
            )
            return
        tables = data == "-" or not str(data).endswith(".json")
        facts = facts_of(endpoint) if tables else Facts()
        with opened(str(data), facts) as given:
            if isinstance(given, bytes):
                if proba or dialect:
                    raise UsageError(
                        "a JSON body says itself what it asks for",
                        hint="Leave --proba and --dialect out, or write the body with --example.",
                    )
                _post(endpoint, given, out, as_json)
                return
            facts = facts if facts.classes else facts_of(endpoint)
            _score(
                endpoint, given, facts, dialect, proba, out, chunk_rows, restart, safe_csv, as_json
            )


def _explain(
    where: EndpointOptions,
    model: str | None,
    data: str | None,
    sample: int | None,
    out: Path | None,
    picture: Path | None,
    safe_csv: bool,
    as_json: bool,
) -> None:
    from twinml.explanation import rows as explanation

    if (data is None) == (sample is None):
        raise UsageError("say what to explain, once", hint="Give --data FILE or --sample N.")
    with where.model_directory(model) as directory:
        found, rows = explanation.explain_rows(directory, data, sample or 0)
    if out is not None:
        explanation.write(out, rows, found, safe=safe_csv)
    if picture is not None:
        from twinml.explanation.figure import contributions

        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(contributions(found))
    files = [f"written: {file}" for file in (out, picture) if file is not None]
    text = "\n".join([explanation.text(found, len(rows)), *files])
    emit(found.to_dict() | {"file": out, "picture": picture}, as_json=as_json, text=text)


# A body as it is


def _post(endpoint: Endpoint, body: bytes, out: Path | None, as_json: bool) -> None:
    try:
        shape = json.loads(body)
    except ValueError:
        shape = None
    to_mlflow = isinstance(shape, dict) and not ROUTES["invocations"].keys().isdisjoint(shape)
    response = endpoint.post(body, route="/invocations" if to_mlflow else None)
    if not response.ok:
        raise endpoint.refusal(response)
    if out is not None:
        _write(out, response.text)
    emit(response.json(), as_json=as_json, text=None if out else response.text.rstrip("\n"))


# Rows


def _score(
    endpoint: Endpoint,
    rows: Rows,
    facts: Facts,
    dialect: str | None,
    proba: bool,
    out: Path | None,
    chunk_rows: int,
    restart: bool,
    safe_csv: bool,
    as_json: bool,
) -> None:
    from twinml.batch.remote import ask, score_rows

    asked = dialect or DEFAULT.name
    shown: dict[str, Any] = {"endpoint": endpoint.scoring_uri, "classes": list(facts.classes)}
    with counting("rows") as progress:
        if out is not None:
            keeps(f"What was scored is kept in {out}.parts; the same command goes on from there.")
            count, resumed = score_rows(
                rows, endpoint, out, classes=facts.classes, dialect=asked, proba=proba,
                chunk_rows=chunk_rows, restart=restart, safe_csv=safe_csv, progress=progress,
            )  # fmt: skip
            before = f", {resumed:,} of them before" if resumed else ""
            emit(
                shown | {"n_rows": count, "resumed": resumed, "out": out},
                as_json=as_json,
                text=f"{count:,} rows scored{before}: {out}",
            )
            return
        labels: list[Any] = []
        shares: list[Any] = []
        ids: list[Any] = []
        for chunk, _ in rows.pairs(chunk_rows):
            scored = ask(endpoint, chunk, dialect=asked, proba=proba)
            labels += scored.labels
            shares += scored.probabilities or []
            ids += scored.request_ids
            progress(len(labels), rows.share)
    shown |= {"n_rows": len(labels), "predictions": labels, "request_ids": ids}
    if proba:
        shown["probabilities"] = shares
    lines = [json.dumps(each) for each in shares] if proba else [str(each) for each in labels]
    emit(shown, as_json=as_json, text="\n".join(lines))


# An example


def _write_example(
    endpoint: Endpoint, dialect: str, proba: bool, out: Path | None, as_json: bool
) -> None:
    rows = samples(facts_of(endpoint), 2)
    method: Method = "predict_proba" if proba else "predict"
    body: Mapping[str, Any] = json.loads(request_body(rows, dialect=dialect, method=method))
    text = json.dumps(body, indent=2, ensure_ascii=False)
    if out is not None and str(out) == "-":
        emit(body, as_json=as_json, text=text)
        return
    target = EXAMPLE if out is None else out
    if out is None and target.exists() and target.read_text(encoding="utf-8") != text + "\n":
        raise UsageError(
            f"there is a '{target}' already, and it is not this example",
            hint=f"Say where: --out {target} replaces it, --out - prints it.",
        )
    _write(target, text + "\n")
    emit(body, as_json=as_json, text=f"written: {target}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}",
            hint="Check its permissions."
            if path.parent.is_dir()
            else f"There is no folder '{path.parent}': make it first.",
        ) from error
