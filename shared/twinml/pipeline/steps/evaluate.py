"""Measure the new model against the champion, on the same held-out rows."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.pipeline.steps._command import (
    folder_in,
    log_metrics,
    read_json,
    say,
    step,
    write_json,
)

__all__ = ["command"]


@click.command()
@click.option("--model", type=folder_in, required=True, help="From the step train.")
@click.option("--holdout", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--training", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--min-gain", type=float, default=0.0, help="By how much it must be better.")
@click.option("--evaluation", type=click.Path(path_type=Path), required=True, help="Output.")
@step
def command(model: Path, holdout: Path, training: Path, min_gain: float, evaluation: Path) -> None:
    """Say whether the new model is better than the champion, and why."""
    import pandas as pd

    from twinml.registry.champion import compare
    from twinml.registry.tracking import Tracking

    facts = read_json(training)
    tracking = Tracking()
    rows = pd.read_parquet(holdout)
    found = compare(
        tracking,
        model,
        rows,
        name=facts["name"],
        metric=facts["metric"],
        min_gain=min_gain,
        same_data=facts["data"],
    )
    write_json(evaluation, found.to_dict())
    log_metrics(
        tracking,
        {
            **{f"candidate_{name}": value for name, value in found.candidate.items()},
            **{f"champion_{name}": value for name, value in (found.champion or {}).items()},
        },
    )
    say(found.reason)


if __name__ == "__main__":
    command()
