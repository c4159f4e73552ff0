"""``twinml probe``: send out-of-distribution rows and see how predictions move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import endpoint_options, model_directory
from twinml.cli._endpoints import connect
from twinml.cli._rows import facts_of, rows_from
from twinml.probe.perturbations import choose

if TYPE_CHECKING:
    from twinml.probe.neighbours import Neighbour
    from twinml.probe.response_curves import Response
    from twinml.probe.run import Shift

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
    monotonic: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Change one feature at a time far beyond what training saw, and compare the predictions.

    Then sweep every feature through its training range and beyond. A refusal that says what is
    wrong is a good answer; the exit code is 1 if a probe made the endpoint fail or give what is no
    probability, or if a declared direction is broken.
    """
    from twinml.model import load_contract
    from twinml.probe import run as probing
    from twinml.probe.neighbours import nearest
    from twinml.probe.response_curves import read_monotonic, sweep

    with (
        connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint,
        model_directory(platform_name, endpoint_name, deployment, url, model) as directory,
    ):
        contract = load_contract(directory)
        declared = read_monotonic(contract, monotonic)
        reference, oddness, remarks = _described(directory)
        rows = contract.samples if file is None else rows_from(file, facts_of(endpoint))
        if file is None and reference is not None:
            rows = reference.astype(object).where(reference.notna(), None).to_dict("records")
        with console.status("probing"):
            result = probing.run(
                contract,
                endpoint.score_proba,
                rows,
                n_base=base,
                seed=seed,
                threshold=threshold,
                reference=reference,
                oddness=oddness,
            )
            responses = sweep(
                contract,
                endpoint.score_proba,
                choose(contract, rows, base, seed),
                monotonic=declared,
                threshold=threshold,
            )
    shown = result.worst(worst)
    near = (
        []
        if reference is None
        else nearest(contract, reference, [shift.example for shift in shown])
    )
    neighbours = [(shift, one[0]) for shift, one in zip(shown, near, strict=False)]
    if out is not None and out.suffix == ".html":
        from twinml.pages.result_page import write
        from twinml.probe.page import sheet

        write(sheet(result, responses, neighbours, remarks), out)
    elif out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result.picture(out)
    broken = [one for one in responses if one.violations]
    text = "\n".join(
        [
            result.text(worst),
            "",
            *_told(responses, neighbours, result.n_base),
            *remarks,
            *([f"written: {out}"] if out else []),
        ]
    )
    shape = result.to_dict() | {
        "responses": [one.to_dict() for one in responses],
        "nearest": [
            {"feature": shift.feature, "probe": shift.probe, "distance": one.distance,
             "differs": list(one.differs), "row": dict(one.row)}
            for shift, one in neighbours
        ],
        "picture": out,
    }  # fmt: skip
    emit(shape, as_json=as_json, text=text)
    if result.counts["failed"] or result.counts["broken"] or broken:
        raise SystemExit(1)


def _described(directory: Path) -> tuple[Any, Any, list[str]]:
    """Return training rows and OOD score of a model, where it has them, and remarks on them."""
    from twinml.errors import ModelError
    from twinml.model import load_reference, ood

    try:
        reference, scorer = load_reference(directory), ood.load(directory)
    except ModelError as error:
        return None, None, [f"{error.message}: no impossible pairs, OOD scores and neighbours."]

    def oddness(rows: Sequence[Mapping[str, Any]]) -> Any:
        names = [encoding.name for encoding in scorer.encodings]
        return scorer.score({name: [row[name] for row in rows] for name in names}, len(rows))

    remark = f"Compared with the {len(reference):,} training rows kept with the model."
    return reference, oddness, [remark]


def _told(
    responses: Sequence[Response], neighbours: Sequence[tuple[Shift, Neighbour]], n_base: int
) -> list[str]:
    """Return what the sweeps and the neighbours say, in lines."""
    lines = [
        f"{one.feature}: declared {one.declared}, {one.violations} of {n_base} rows against it, "
        f"largest step {one.worst:.4f}"
        for one in responses
        if one.declared
    ]
    strongest = ", ".join(f"{one.feature} {one.reach:.3f}" for one in responses[:5])
    lines.append(f"strongest in range (reach of the mean probability): {strongest}")
    lines += [
        f"nearest training row to {shift.feature} {shift.probe}: distance {one.distance:.3f}"
        for shift, one in neighbours[:3]
    ]
    return lines
