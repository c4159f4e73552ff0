"""``twinml probe``: send out-of-distribution rows and see how predictions move."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import console, emit, errors_in_one_line, json_option
from twinml.cli._types import MODEL_OR_DIRECTORY

__all__ = ["command"]


@click.command(short_help="Send out-of-distribution rows and see how predictions move.")
@endpoint_options("on", "deployment", "url")
@click.option(
    "--model",
    "--model-dir",
    "model",
    type=MODEL_OR_DIRECTORY,
    metavar="MODEL",
    help="Model directory, NAME, NAME/VERSION or NAME@ALIAS whose contract says what is out of "
    "range [default: the deployed one].",
)
@click.option(
    "--data",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with rows to change [default: training rows kept with the model].",
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
    "--monotonic",
    multiple=True,
    metavar="FEATURE:+|-",
    help="Declare that the probability of the last class never falls (+) or never rises (-) with "
    "this feature; can be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A page with pictures (.html), or the heat map alone (.png).",
)
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    model: str | None,
    file: Path | None,
    base: int,
    seed: int,
    threshold: float,
    worst: int,
    monotonic: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Change one feature at a time far beyond what training saw, and compare the predictions.

    Then sweep every feature through its training range and beyond. A refusal that says what is
    wrong is a good answer; the exit code is 1 if a probe made the endpoint fail or give what is no
    prediction, or if a declared direction is broken.
    """
    from twinml.data import read_records
    from twinml.endpoint.document import facts_of
    from twinml.model import load_contract
    from twinml.probe.whole import probe

    with where.connect() as endpoint, where.model_directory(model) as directory:
        facts = facts_of(endpoint)
        load_contract(directory).check_judged("probe")
        rows = None if file is None else read_records(file, text=facts.text_columns)
        with console().status("probing"):
            found = probe(
                endpoint.numbers if facts.regression else endpoint.score_proba,
                directory,
                rows,
                n_base=base,
                seed=seed,
                threshold=threshold,
                worst=worst,
                monotonic=monotonic,
            )
    if out is not None:
        found.write(out)
    text = found.text(worst) + (f"\nwritten: {out}" if out else "")
    emit(found.to_dict() | {"picture": out}, as_json=as_json, text=text)
    if not found.passes:
        raise SystemExit(1)
