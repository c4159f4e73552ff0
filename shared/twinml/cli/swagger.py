"""``twinml swagger``: print an OpenAPI document, or write clients made from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import endpoint_options
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
@endpoint_options
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
@on_option
@json_option
@errors_in_one_line
def command(
    model_dir: Path | None,
    data: Path | None,
    target: str | None,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_env: str | None,
    version: str,
    clients: Path | None,
    platform_name: str,
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
            ("--model-dir", model_dir), ("--data", data), ("--url", url),
            ("--endpoint", endpoint_name),
        )
        if given is not None
    ]  # fmt: skip
    if len(named) > 1:
        raise UsageError(f"got both {' and '.join(named)}", hint="Give one of them.")
    document, rows = (
        _of_contract(model_dir, data, target, version)
        if model_dir is not None or data is not None
        else _of_endpoint(
            platform_name, endpoint_name, deployment, url, key_env, version, clients is not None
        )
    )
    if clients is None:
        emit(document, as_json=as_json, text=json.dumps(document, indent=2, ensure_ascii=False))
        return
    from twinml.clients import write

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
        contract = infer_contract(dataset.features, dataset.labels, name=dataset.name)
    document = openapi(contract, version=cast(Literal["2", "3", "3.1"], version))
    return document, contract.samples[:2]


def _of_endpoint(
    platform_name: str,
    name: str | None,
    deployment: str | None,
    url: str | None,
    key_env: str | None,
    version: str,
    with_rows: bool,
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    from twinml.cli._endpoints import connect
    from twinml.cli._rows import facts_of

    if url is not None and key_env is None and os.environ.get(KEY):
        key_env = KEY
    if url is None and platform_name != HERE:
        # A cloud's server answers with a document of its own making.
        return _of_deployed(platform_name, name, deployment, version)
    with connect(platform_name, name, deployment, url, key_env) as endpoint:
        rows = facts_of(endpoint).samples[:2] if with_rows else ()
        return endpoint.swagger(version), rows


def _of_deployed(
    platform_name: str, name: str | None, deployment: str | None, version: str
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """Return the document of the model behind an endpoint, with the endpoint's address."""
    from twinml.cli._endpoints import meant
    from twinml.contract import openapi
    from twinml.model import load_contract
    from twinml.platform import load

    platform = load(platform_name)
    chosen = meant(platform, name)
    contract = load_contract(platform.deployed(chosen, deployment).directory)
    server = platform.endpoint_info(chosen).scoring_uri.removesuffix("/score")
    document = openapi(
        contract,
        version=cast(Literal["2", "3", "3.1"], version),
        server_url=server,
        only=platform.dialects[0],
    )
    return document, contract.samples[:2]
