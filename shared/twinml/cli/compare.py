"""``twinml compare``: check that two endpoints predict alike."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options, key_of
from twinml.cli._output import counting, emit, errors_in_one_line, json_option, plain
from twinml.cli._types import PLATFORM
from twinml.errors import UsageError
from twinml.settings import home

if TYPE_CHECKING:
    from twinml.comparison.sides import Asked

__all__ = ["command"]


@click.command(short_help="Check that two endpoints predict alike.")
@click.argument("a", type=PLATFORM, metavar="A")
@click.argument("b", type=PLATFORM, metavar="B")
@endpoint_options(help="The endpoint on both sides [default: the only one].")
@click.option(
    "--rows",
    "n_rows",
    default="1000",
    show_default=True,
    metavar="N|all",
    help="Rows of the data to score, spread over the file.",
)
@click.option("--adversarial", is_flag=True, help="Add rows that servers may read differently.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with the model's columns [default: the bank marketing data, "
    "where it fits, else the model's samples].",
)
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIRECTORY",
    help="The model, where both sides are URLs.",
)
@click.option(
    "--key-env",
    "key_variables",
    multiple=True,
    metavar="VAR",
    help="Environment variable with a URL's key; once for each URL.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="|Δp| up to which answers count as equal.",
)
@click.option(
    "--request-rows",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="Rows in a request.",
)
@click.option(
    "--timed",
    type=click.IntRange(0, 10_000),
    default=50,
    show_default=True,
    help="Requests with one row to time each endpoint with.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where compare.html and compare.json go [default: under reports].",
)
@json_option
@errors_in_one_line
def command(
    a: str,
    b: str,
    where: EndpointOptions,
    n_rows: str,
    adversarial: bool,
    data: Path | None,
    model_dir: Path | None,
    key_variables: tuple[str, ...],
    tolerance: float,
    request_rows: int,
    timed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score the same rows with endpoints A and B, and explain every difference.

    A and B are platforms or scoring URIs. For example: twinml compare local rehearsal --rows all

    Differences of input parsing (a server read another number than was sent) are told apart
    from differences of the model. The exit code is 1 if anything else differs beyond the
    tolerance, or if the models are not the same.
    """
    from twinml.comparison import write
    from twinml.comparison.sides import compare_sides
    from twinml.model import load_contract

    wanted = _count(n_rows)
    with ExitStack() as held:
        variables = list(key_variables)
        sides = (_side(a, where, variables, held), _side(b, where, variables, held))
        if variables:
            raise UsageError(
                f"--key-env {variables[0]} is for no URL", hint="Give it once for each URL."
            )
        served = [side.deployed.directory for side in sides if side.deployed]
        directory = model_dir or next(iter(served), None)
        if directory is None:
            raise UsageError(
                "two URLs do not tell the model's contract",
                hint="Name the model: --model-dir DIRECTORY.",
            )
        found = compare_sides(
            sides,
            directory,
            data=data,
            n_rows=wanted,
            adversarial=adversarial,
            tolerance=tolerance,
            request_rows=request_rows,
            timed=timed,
            counting=counting,
        )
    folder = out or home() / "reports" / load_contract(directory).name
    page = write(found, folder / "compare.html")
    result = found.to_dict() | {"page": str(page)}
    (folder / "compare.json").write_text(
        json.dumps(plain(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    emit(result, as_json=as_json, text=f"{found.text()}\n  Report     {page}")
    if not found.passes:
        raise SystemExit(1)


def _count(words: str) -> int | None:
    if words == "all":
        return None
    if not words.isdecimal() or int(words) < 1:
        raise UsageError(f"--rows is '{words}'", hint="Give a number of rows, or all.")
    return int(words)


def _side(name: str, where: EndpointOptions, variables: list[str], held: ExitStack) -> Asked:
    from twinml.comparison.sides import Asked
    from twinml.endpoint import Endpoint

    if "://" in name:
        client = Endpoint(name, key_of(variables.pop(0) if variables else None))
        return Asked(name, held.enter_context(client), None)
    side = replace(where, platform_name=name)
    client = held.enter_context(side.platform.endpoint(side.endpoint))
    return Asked(name, client, side.platform.deployed(side.endpoint))
