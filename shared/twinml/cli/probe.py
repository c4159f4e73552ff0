"""``twinml probe``: send out-of-distribution rows and see how predictions move."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import contract_of, endpoint_options
from twinml.cli._endpoints import connect
from twinml.cli._rows import facts_of, rows_from

__all__ = ["command"]


@click.command(short_help="Send out-of-distribution rows and see how predictions move.")
@on_option
@endpoint_options
@click.option(
    "--model",
    "--model-dir",
    "model",
    metavar="MODEL",
    help="Model directory, NAME, NAME/VERSION or NAME@ALIAS whose contract says what is out of "
    "range [default: the deployed one].",
)
@click.option(
    "--data",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with rows to change [default: the contract's samples].",
)
@click.option("--base", default=20, show_default=True, help="Rows to change.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the choice of rows.",
)
@click.option(
    "--threshold", type=float, default=0.5, show_default=True, help="Of the decision, two classes."
)
@click.option("--worst", default=15, show_default=True, help="Probes to list.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="PNG", help="Draw a heat map."
)
@json_option
@errors_in_one_line
def command(
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_env: str | None,
    model: str | None,
    file: Path | None,
    base: int,
    seed: int,
    threshold: float,
    worst: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Change one feature at a time far beyond what training saw, and compare the predictions.

    A refusal that says what is wrong is a good answer; the exit code is 1 if a probe made the
    endpoint fail or give what is no probability.
    """
    from twinml import probe

    with connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint:
        contract = contract_of(platform_name, endpoint_name, deployment, url, model)
        rows = contract.samples if file is None else rows_from(file, facts_of(endpoint))
        with console.status("probing"):
            result = probe.run(
                contract, endpoint.score_proba, rows, n_base=base, seed=seed, threshold=threshold
            )
    drawn = None
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        drawn = result.picture(out)
    text = result.text(worst) + (f"\n\nPicture: {drawn}" if drawn else "")
    emit(result.to_dict() | {"picture": drawn}, as_json=as_json, text=text)
    if result.counts["failed"] or result.counts["broken"]:
        raise SystemExit(1)
