"""Measure the new model against the champion, on the same rows that neither learned from."""

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

    from twinml.registry.champion import compare, compare_out_of_fold
    from twinml.registry.tracking import Tracking
    from twinml.training.estimates import OUT_OF_FOLD

    facts = read_json(training)
    tracking = Tracking()
    name, metric = facts["name"], facts["metric"]
    if OUT_OF_FOLD in facts:
        found = compare_out_of_fold(
            tracking,
            facts["run_id"],
            facts[OUT_OF_FOLD],
            facts["rows"]["test"],
            name=name,
            metric=metric,
            min_gain=min_gain,
        )
    else:
        found = compare(
            tracking,
            model,
            pd.read_parquet(holdout),
            name=name,
            metric=metric,
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
