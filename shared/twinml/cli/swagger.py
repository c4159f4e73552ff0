"""``twinml swagger``: print an OpenAPI document, or write clients made from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.errors import UsageError

__all__ = ["command"]

KEY = "TWINML_KEY"
HERE = "local"


@click.command("swagger", short_help="Print the OpenAPI document of a model or endpoint.")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path),
    help="A model directory with contract.json.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet: the document that a model of --target would have.",
)
@click.option("--target", metavar="COLUMN", help="What a model of --data would predict.")
@endpoint_options("on", "deployment", "url")
@click.option(
    "--version",
    type=click.Choice(["2", "3", "3.1"]),
    default="3",
    show_default=True,
    help="2 is Swagger 2.0, 3 is OpenAPI 3.0, 3.1 is OpenAPI 3.1.",
)
@click.option(
    "--clients",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write clients for curl, Python, JavaScript and PowerShell there instead.",
)
@json_option
@errors_in_one_line
def command(
    model_dir: Path | None,
    data: Path | None,
    target: str | None,
    where: EndpointOptions,
    version: str,
    clients: Path | None,
    as_json: bool,
) -> None:
    """Print the OpenAPI document of a model directory, a data file or a running endpoint.

    For example: twinml swagger --version 2, or twinml swagger --clients clients
    """
    if (data is None) != (target is None):
        raise UsageError("--data and --target go together", hint="Give both.")
    named = [
        option
        for option, given in (
            ("--model-dir", model_dir), ("--data", data), ("--url", where.url),
            ("--endpoint", where.name),
        )
        if given is not None
    ]  # fmt: skip
    if len(named) > 1:
        raise UsageError(f"got both {' and '.join(named)}", hint="Give one of them.")
    document, rows = (
        _of_contract(model_dir, data, target, version)
        if model_dir is not None or data is not None
        else _of_endpoint(where, version, clients is not None)
    )
    if clients is None:
        emit(document, as_json=as_json, text=json.dumps(document, indent=2, ensure_ascii=False))
        return
    from twinml.endpoint.snippets import write

    paths = write(rows, clients)
    emit({"written": paths}, as_json=as_json, text="\n".join(map(str, paths)))


def _of_contract(
    directory: Path | None, data: Path | None, target: str | None, version: str
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    from twinml.contract import infer_contract, openapi

    if directory is not None:
        from twinml.model import load_contract

        contract = load_contract(directory)
    else:
        from twinml.data import load

        dataset = load(cast(Path, data), cast(str, target))
        contract = infer_contract(
            dataset.features, dataset.labels, name=dataset.name, notations=dataset.notations
        )
    document = openapi(contract, version=cast(Literal["2", "3", "3.1"], version))
    return document, contract.samples[:2]


def _of_endpoint(
    where: EndpointOptions, version: str, with_rows: bool
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    from twinml.endpoint.document import facts_of

    if where.url is not None and not where.key_envs and os.environ.get(KEY):
        where = replace(where, key_envs=(KEY,))
    if where.url is None and where.platform_name != HERE:
        # A cloud's server answers with a document of its own making.
        return _of_deployed(where, version)
    with where.connect() as endpoint:
        rows = facts_of(endpoint).samples[:2] if with_rows else ()
        return endpoint.swagger(version), rows


def _of_deployed(
    where: EndpointOptions, version: str
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """Return the document of the model behind an endpoint, with the endpoint's address."""
    from twinml.contract import openapi
    from twinml.model import load_contract

    contract = load_contract(where.platform.deployed(where.endpoint, where.deployment).directory)
    server = where.info().scoring_uri.removesuffix("/score")
    document = openapi(
        contract,
        version=cast(Literal["2", "3", "3.1"], version),
        server_url=server,
        only=where.platform.dialects[0],
    )
    return document, contract.samples[:2]
