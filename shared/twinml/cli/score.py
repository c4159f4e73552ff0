"""``twinml score``: send rows to an endpoint and print what it predicts.

Rows come from a file, from the endpoint's own samples, or ready-made as a request body::

    --data FILE.csv | .csv.gz | .parquet   rows, sent in chunks
    --data FILE.json | -                   a request body, posted as it is
    --sample N                             sample rows from the endpoint's OpenAPI document
    --example                              no request: writes a body to start from
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import endpoint_options
from twinml.cli._endpoints import connect
from twinml.cli._rows import Facts, facts_of, rows_from, samples
from twinml.endpoint import DIALECTS, Endpoint, request_body
from twinml.errors import DataError, UsageError

__all__ = ["command"]

CHUNK_ROWS = 5000
INVOCATIONS_KEYS = frozenset({"dataframe_split", "dataframe_records", "instances", "inputs"})


@click.command("score", short_help="Score rows with a deployed endpoint.")
@endpoint_options
@click.option("--data", metavar="FILE", help="CSV, Parquet, or a JSON body; - reads JSON.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Score N sample rows.")
@click.option("--example", is_flag=True, help="Write a request body instead of sending one.")
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="How rows are sent [default: input_data; for --example: data].",
)
@click.option("--proba", is_flag=True, help="Class probabilities instead of labels.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write here: rows with their predictions (.csv), or predictions (.json).",
)
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_env: str | None,
    data: str | None,
    sample: int | None,
    example: bool,
    dialect: str | None,
    proba: bool,
    out: Path | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Score rows with a deployed endpoint.

    For example: twinml score --sample 2, or twinml score --data new.csv --out scored.csv
    """
    if (data is not None) + (sample is not None) + example != 1:
        raise UsageError(
            "say what to score, once", hint="Give one of --data FILE, --sample N and --example."
        )
    with connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint:
        if example:
            _write_example(endpoint, dialect or "data", proba, out, as_json)
        elif data is not None and (data == "-" or Path(data).suffix == ".json"):
            if proba or dialect:
                raise UsageError(
                    "a JSON body says itself what it asks for",
                    hint="Leave --proba and --dialect out, or write the body with --example.",
                )
            _post(endpoint, _body(data), out, as_json)
        else:
            facts = facts_of(endpoint)
            rows = samples(facts, sample) if sample else rows_from(Path(str(data)), facts)
            _score(endpoint, rows, facts, dialect or "input_data", proba, out, as_json)


# A body as it is


def _body(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error


def _post(endpoint: Endpoint, body: bytes, out: Path | None, as_json: bool) -> None:
    try:
        shape = json.loads(body)
    except ValueError:
        shape = None
    to_invocations = isinstance(shape, dict) and not INVOCATIONS_KEYS.isdisjoint(shape)
    response = endpoint.post(body, route="/invocations" if to_invocations else None)
    if not response.ok:
        raise endpoint.refusal(response)
    if out is not None:
        _write(out, response.text)
    emit(response.json(), as_json=as_json, text=None if out else response.text.rstrip("\n"))


# Rows


def _score(
    endpoint: Endpoint,
    rows: Sequence[Mapping[str, Any]],
    facts: Facts,
    dialect: str,
    proba: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    ask = endpoint.score_proba if proba else endpoint.score
    predictions: list[Any] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        predictions += ask(rows[start : start + CHUNK_ROWS], dialect=dialect)
    if out is not None and out.suffix == ".json":
        _write(out, json.dumps({"predictions": predictions}) + "\n")
    elif out is not None:
        _write(out, _table(rows, predictions, facts, proba))
    result = {
        "endpoint": endpoint.scoring_uri,
        "n_rows": len(rows),
        "classes": list(facts.classes),
        "predictions": predictions,
    }
    text = "\n".join(json.dumps(p) if isinstance(p, list) else str(p) for p in predictions)
    emit(result, as_json=as_json, text=f"{len(rows)} rows scored: {out}" if out else text)


def _table(
    rows: Sequence[Mapping[str, Any]], predictions: Sequence[Any], facts: Facts, proba: bool
) -> str:
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if proba:
        width = len(predictions[0])
        names = facts.classes if len(facts.classes) == width else range(width)
        for position, name in enumerate(names):
            free = _free(f"probability_{name}", frame)
            frame[free] = [shares[position] for shares in predictions]
    else:
        frame[_free("prediction", frame)] = list(predictions)
    return frame.to_csv(index=False)


def _free(name: str, taken: Container[str]) -> str:
    """Return ``name``, or with the first number that makes it one that the rows do not have."""
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


# An example


def _write_example(
    endpoint: Endpoint, dialect: str, proba: bool, out: Path | None, as_json: bool
) -> None:
    rows = samples(facts_of(endpoint), 2)
    method = "predict_proba" if proba else "predict"
    body = json.loads(request_body(rows, dialect=dialect, method=method))
    text = json.dumps(body, indent=2, ensure_ascii=False)
    if out is not None:
        _write(out, text + "\n")
    emit(body, as_json=as_json, text=f"written: {out}" if out else text)


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
