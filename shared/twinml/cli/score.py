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
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant
from twinml.endpoint import DIALECTS, Endpoint, request_body
from twinml.errors import DataError, EndpointError, NotFound, UsageError

__all__ = ["command"]

CHUNK_ROWS = 5000
INVOCATIONS_KEYS = frozenset({"dataframe_split", "dataframe_records", "instances", "inputs"})


@click.command("score", short_help="Score rows with a deployed endpoint.")
@endpoint_option
@click.option("--deployment", metavar="NAME", help="Ask this deployment, whatever its traffic.")
@click.option("--url", metavar="SCORING_URI", help="An endpoint by its address instead.")
@click.option("--key-env", metavar="VAR", help="Environment variable with the key for --url.")
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
    with _connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint:
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
            facts = _facts(endpoint)
            rows = _samples(facts, sample) if sample else _rows(Path(str(data)), facts)
            _score(endpoint, rows, facts, dialect or "input_data", proba, out, as_json)


def _connect(
    platform_name: str, name: str | None, deployment: str | None, url: str | None, key: str | None
) -> Endpoint:
    if url is not None:
        if name is not None:
            raise UsageError("got both --endpoint and --url", hint="Give one of them.")
        if key is not None and not os.environ.get(key):
            raise UsageError(f"the environment variable {key} is empty", hint="Put the key there.")
        return Endpoint(url, os.environ[key] if key else None, deployment=deployment)
    if key is not None:
        raise UsageError("--key-env goes with --url", hint="Leave it out: the key is known here.")
    from twinml.platform import load

    platform = load(platform_name)
    chosen = meant(platform, name)
    if deployment is None:
        return platform.endpoint(chosen)
    info = platform.endpoint_info(chosen)
    if deployment not in info.deployments:
        raise NotFound(
            f"endpoint '{chosen}' has no deployment '{deployment}'",
            hint=f"It has: {', '.join(sorted(info.deployments))}.",
        )
    return Endpoint(info.scoring_uri, platform.keys(chosen).primary, deployment=deployment)


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


@dataclass(frozen=True)
class _Facts:
    """What an endpoint's OpenAPI document tells about its rows; empty if it tells nothing."""

    samples: Sequence[Mapping[str, Any]] = ()
    text_columns: frozenset[str] = frozenset()
    classes: Sequence[Any] = ()


def _facts(endpoint: Endpoint) -> _Facts:
    try:
        document = endpoint.swagger()
    except EndpointError as error:
        # It answers but has no such document; with a deployment named, 404 may mean that one.
        if error.status in (404, 502) and endpoint.deployment is None:
            return _Facts()
        raise
    try:
        schemas = document["components"]["schemas"]
        columns = schemas["Row"]["properties"]
        body = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
        return _Facts(
            samples=body["examples"]["data"]["value"]["data"],
            text_columns=frozenset(name for name in columns if _is_text(columns[name])),
            classes=schemas["Label"].get("enum", ()),
        )
    except (KeyError, TypeError):
        return _Facts()  # somebody else's document


def _is_text(schema: Mapping[str, Any]) -> bool:
    return "string" in (schema.get("type"), *(schema.get("type") or ()))


def _samples(facts: _Facts, n: int) -> list[Mapping[str, Any]]:
    if not facts.samples:
        raise UsageError(
            "the endpoint's OpenAPI document has no sample rows", hint="Give rows: --data FILE."
        )
    return list(itertools.islice(itertools.cycle(facts.samples), n))


def _rows(source: Path, facts: _Facts) -> list[Mapping[str, Any]]:
    import pandas as pd

    try:
        if source.suffix in {".parquet", ".pq"}:
            frame = pd.read_parquet(source)
        else:
            # Text stays text, `007` and `NA` included; only an empty cell is a null.
            frame = pd.read_csv(
                source,
                sep=None,
                engine="python",
                dtype=dict.fromkeys(facts.text_columns, str),
                keep_default_na=False,
                na_values=[""],
            )
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(
            f"{source} is not a table that can be read: {error}",
            hint="Give a CSV file with a header, or Parquet.",
        ) from error
    if frame.empty:
        raise DataError(f"{source} holds no rows")
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _score(
    endpoint: Endpoint,
    rows: Sequence[Mapping[str, Any]],
    facts: _Facts,
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
    rows: Sequence[Mapping[str, Any]], predictions: Sequence[Any], facts: _Facts, proba: bool
) -> str:
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if proba:
        width = len(predictions[0])
        names = facts.classes if len(facts.classes) == width else range(width)
        for position, name in enumerate(names):
            frame[f"probability_{name}"] = [shares[position] for shares in predictions]
    else:
        frame["prediction"] = list(predictions)
    return frame.to_csv(index=False)


# An example


def _write_example(
    endpoint: Endpoint, dialect: str, proba: bool, out: Path | None, as_json: bool
) -> None:
    rows = _samples(_facts(endpoint), 2)
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
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
