"""``twinml compare``: check that two endpoints predict alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option
from twinml.cli._endpoints import endpoint_option, meant
from twinml.cli._progress import counting
from twinml.errors import DataError, UsageError

if TYPE_CHECKING:
    from twinml.comparison import Comparison
    from twinml.contract import Contract
    from twinml.endpoint import Endpoint
    from twinml.platform import Deployed

__all__ = ["command"]

BASE_ROWS = 5  # real rows that the adversarial ones are made from


@dataclass(frozen=True)
class Found:
    """A side as the command line named it; ``deployed`` is ``None`` for a URL."""

    name: str
    client: Endpoint
    deployed: Deployed | None


@click.command(short_help="Check that two endpoints predict alike.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@endpoint_option
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
    endpoint_name: str | None,
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
    import json

    from twinml import comparison, settings
    from twinml.cli._common import plain

    wanted = _count(n_rows)
    with ExitStack() as held:
        sides = _sides((a, b), endpoint_name, key_variables, held)
        directory = model_dir or next(
            (side.deployed.directory for side in sides if side.deployed), None
        )
        if directory is None:
            raise UsageError(
                "two URLs do not tell the model's contract",
                hint="Name the model: --model-dir DIRECTORY.",
            )
        from twinml.model import digest, load_contract, load_predictor

        contract = load_contract(directory)
        ordinary = _rows(contract, data, wanted)
        cases = comparison.cases(contract, ordinary[:BASE_ROWS]) if adversarial else []
        rows = [*ordinary, *(case.row for case in cases)]
        plan = {"size": request_rows, "alone_from": len(ordinary)}
        answers = []
        for side in sides:
            with counting(f"rows scored by {side.name}") as tell:
                answers.append(
                    comparison.ask(
                        side.client,
                        rows,
                        len(contract.classes),
                        **plan,
                        progress=partial(_told, tell, len(rows)),
                    )
                )
        with console.status("asking the model itself"):
            predictor = load_predictor(directory, digest(directory))
            reference = comparison.recalculate(predictor, contract, rows, **plan)
        taken = comparison.latencies([side.client for side in sides], ordinary, timed)
    found = comparison.judge(
        (_described(sides[0], taken[0]), _described(sides[1], taken[1])),
        (answers[0], answers[1]),
        cases=cases,
        reference=reference,
        tolerance=tolerance,
        packages=_packages(sides, directory),
    )
    folder = out or settings.home() / "reports" / contract.name
    page = comparison.write(found, folder / "compare.html")
    result = found.to_dict() | {"page": str(page)}
    (folder / "compare.json").write_text(
        json.dumps(plain(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    emit(result, as_json=as_json, text=_text(found, page))
    if not found.passes:
        raise SystemExit(1)


def _told(tell: Callable[[int, float], None], total: int, done: int) -> None:
    tell(done, done / total)


def _count(words: str) -> int | None:
    if words == "all":
        return None
    if not words.isdecimal() or int(words) < 1:
        raise UsageError(f"--rows is '{words}'", hint="Give a number of rows, or all.")
    return int(words)


# Sides


def _sides(
    names: Sequence[str], endpoint: str | None, key_variables: Sequence[str], held: ExitStack
) -> list[Found]:
    variables = list(key_variables)
    sides = [_side(name, endpoint, variables, held) for name in names]
    if variables:
        raise UsageError(
            f"--key-env {variables[0]} is for no URL", hint="Give it once for each URL."
        )
    return sides


def _side(name: str, endpoint: str | None, variables: list[str], held: ExitStack) -> Found:
    from twinml.endpoint import Endpoint
    from twinml.platform import load

    if "://" in name:
        variable = variables.pop(0) if variables else None
        if variable and not os.environ.get(variable):
            raise UsageError(
                f"the environment variable {variable} is empty", hint="Put the key there."
            )
        client = Endpoint(name, os.environ[variable] if variable else None)
        return Found(name, held.enter_context(client), None)
    platform = load(name)
    chosen = meant(platform, endpoint)
    client = held.enter_context(platform.endpoint(chosen))
    return Found(name, client, platform.deployed(chosen))


def _described(side: Found, latencies: tuple[float, ...]) -> Any:
    from twinml.comparison import Side
    from twinml.model import digest

    return Side(
        name=side.name,
        scoring_uri=side.client.scoring_uri,
        digest=digest(side.deployed.directory) if side.deployed else None,
        latencies=latencies,
        packages=side.deployed.packages_source if side.deployed else "not known",
    )


def _packages(sides: Sequence[Found], directory: Path) -> Any:
    from twinml.comparison import differing, pinned

    one, other = (side.deployed.packages if side.deployed else None for side in sides)
    if one is None or other is None:
        return ()
    used = pinned((directory / "requirements.txt").read_text(encoding="utf-8").splitlines())
    both_whole = all(side.deployed and side.deployed.packages_whole for side in sides)
    if not both_whole:
        # A list of requirements says nothing of the packages that it does not name.
        named = one.keys() & other.keys()
        one, other = ({name: each[name] for name in named} for each in (one, other))
    return differing(one, other, used)


# Rows


def _rows(contract: Contract, data: Path | None, wanted: int | None) -> list[dict[str, Any]]:
    """Return rows of a file, or the contract's samples, features only, null as ``None``."""
    from twinml.data import bundled, read_rows
    from twinml.endpoint.json_rows import records

    names = contract.column_names
    text = {column.name for column in contract.columns if column.type == "string"}
    frame = read_rows(data or bundled(), text=text)
    missing = [name for name in names if name not in frame.columns]
    if missing and data is not None:
        raise DataError(
            f"{data.name} has no column '{missing[0]}', which the model takes",
            hint="Name the file that the model was trained on, or one of its shape.",
        )
    if missing:
        return [dict(sample) for sample in contract.samples][:wanted]
    step = max(1, len(frame) // wanted) if wanted else 1
    chosen = frame[list(names)].iloc[::step].head(wanted or len(frame))
    return records(chosen)


# Words


def _text(found: Comparison, page: Path) -> str:
    scored = found.n_scored
    lines = [
        found.verdict + ".",
        f"  Labels     {found.same_labels:,} of {scored:,} agree"
        + (f", {found.both_refused:,} rows refused by both" if found.both_refused else ""),
        f"  |Δp|       at most {found.max_change:.3g}, "
        f"0 on {int((found.changes == 0).sum()):,} of {scored:,} rows",
    ]
    lines += [f"  Cause      {cause}: {n:,} rows" for cause, n in found.causes.items()]
    lines += [
        f"  Latency    {side.name}: median {side.percentile(50):.1f} ms, "
        f"99 % below {side.percentile(99):.1f} ms"
        for side in found.sides
        if side.latencies
    ]
    used = [package for package in found.packages if package.used]
    lines += [
        f"  Package    {package.name}: {' and '.join(v or 'none' for v in package.versions)}"
        for package in used
    ]
    for each in found.unexplained[:5]:
        answers = [each.refusals[n] or str(each.labels[n]) for n in (0, 1)]
        lines.append(
            f"  Row {each.row:<6} {each.what or 'data'}: {each.cause}, {' against '.join(answers)}"
            f", |Δp| {each.change:.3g}"
        )
    lines.append(f"  Report     {page}")
    return "\n".join(lines)
