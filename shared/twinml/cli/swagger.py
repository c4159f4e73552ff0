"""``twinml swagger``: print the OpenAPI document of a model directory or of an endpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, cast

import click

from twinml.cli._common import emit, errors_in_one_line, json_option
from twinml.errors import ModelError, UsageError

__all__ = ["command"]


@click.command("swagger", short_help="Print the OpenAPI document of a model or endpoint.")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path),
    help="A model directory with contract.json.",
)
@click.option("--url", metavar="SCORING_URI", help="A deployed endpoint; TWINML_KEY holds its key.")
@click.option(
    "--version",
    type=click.Choice(["2", "3", "3.1"]),
    default="3",
    show_default=True,
    help="2 is Swagger 2.0, 3 is OpenAPI 3.0, 3.1 is OpenAPI 3.1.",
)
@json_option
@errors_in_one_line
def command(model_dir: Path | None, url: str | None, version: str, as_json: bool) -> None:
    """Print the OpenAPI document of a model directory or of a running endpoint.

    For example: twinml swagger --url http://127.0.0.1:5001/score --version 2
    """
    if model_dir is not None and url is None:
        document = _of_directory(model_dir, cast(Literal["2", "3", "3.1"], version))
    elif url is not None and model_dir is None:
        document = _of_endpoint(url, version)
    else:
        given = "both --model-dir and --url" if url else "neither --model-dir nor --url"
        raise UsageError(f"got {given}", hint="Give one of them.")
    emit(document, as_json=as_json, text=json.dumps(document, indent=2, ensure_ascii=False))


def _of_directory(directory: Path, version: Literal["2", "3", "3.1"]) -> dict[str, Any]:
    from twinml.contract import Contract, openapi

    path = directory / "contract.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}",
            hint="Give the directory that holds MLmodel and contract.json.",
        ) from error
    return openapi(Contract.from_json(text), version=version)


def _of_endpoint(scoring_uri: str, version: str) -> dict[str, Any]:
    from twinml.endpoint import Endpoint

    with Endpoint(scoring_uri, os.environ.get("TWINML_KEY")) as endpoint:
        return endpoint.swagger(version)
