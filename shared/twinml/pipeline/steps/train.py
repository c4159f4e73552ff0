"""Search, ensemble, fit and measure: AutoML on the prepared data, logged to MLflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from twinml.pipeline.steps._command import (
    NONE,
    folder_in,
    folder_out,
    read_json,
    say,
    step,
    write_json,
)

__all__ = ["command"]


@click.command()
@click.option("--prepared", type=folder_in, required=True, help="From the step prepare.")
@click.option("--budget", default="60s", help="Time for everything, such as 60s.")
@click.option("--trials", type=click.IntRange(0), default=0, help="Try so many instead.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0)
@click.option("--metric", default="auto", help="Chooses the best candidate.")
@click.option("--split", default="random", help="random, ordered, column:NAME or group:NAME.")
@click.option("--class-weight", default=NONE, help="none or balanced.")
@click.option("--threshold", default="0.5", help="Decision threshold, or what to tune it for.")
@click.option("--learners", default="all", help="Search these only, with commas.")
@click.option("--refit", default="all", help="Rows to learn from at last: all or train.")
@click.option("--model", type=folder_out, required=True, help="Output: an MLflow model.")
@click.option("--holdout", type=click.Path(path_type=Path), required=True, help="Output: rows.")
@click.option("--training", type=click.Path(path_type=Path), required=True, help="Output: facts.")
@step
def command(
    prepared: Path,
    budget: str,
    trials: int,
    seed: int,
    metric: str,
    split: str,
    class_weight: str,
    threshold: str,
    learners: str,
    refit: str,
    model: Path,
    holdout: Path,
    training: Path,
) -> None:
    """Train on the prepared data, or find the complete run that is the same."""
    from twinml.data import load
    from twinml.data.reading import options_of
    from twinml.registry import training_run
    from twinml.registry.tracking import Tracking
    from twinml.training import TrainingOptions
    from twinml.training.estimates import WORDS

    described = read_json(prepared / "dataset.json")
    reading = options_of(described["reading"])
    dataset = load(
        prepared / "data",
        described["target"],
        name=described["name"],
        drop=described["drop"],
        **reading,
    )
    options = TrainingOptions.parse(
        budget=budget,
        trials=trials or None,
        seed=seed,
        metric=metric,
        split=split,
        class_weight=class_weight,
        threshold=threshold,
        learners="" if learners == "all" else learners,
        refit=refit,
    )
    done = training_run.run(dataset, options, Tracking(), progress=lambda moment: None)
    result = done.searched()
    model.mkdir(parents=True, exist_ok=True)
    shutil.copytree(done.directory, model, dirs_exist_ok=True)
    holdout.parent.mkdir(parents=True, exist_ok=True)
    # With the columns that were left out, too: the champion may need them.
    everything = load(
        prepared / "data",
        described["target"],
        name=described["name"],
        **reading | {"keep": "all"},
    )
    held_out = result.test.rows[: 0 if result.test.out_of_fold else None]
    everything.frame.iloc[held_out].to_parquet(holdout, index=False)
    measured = {name: held.value for name, held in result.test.metrics.items()}
    write_json(
        training,
        {
            "name": dataset.name,
            "run_id": done.run_id,
            "digest": done.digest,
            "data": dataset.digest,
            "best": result.best.name,
            "metric": result.metric,
            "threshold": result.threshold,
            "split": result.test.how,
            "rows": {"train": result.test.n_train, "test": result.test.n_test},
            result.test.prefix: measured,
            "reused": done.reused,
        },
    )
    where = WORDS[result.test.prefix]
    found = " (the same run was done before)" if done.reused else ""
    say(f"{result.best.name}: {result.metric} {measured[result.metric]:.4f} {where}{found}")


if __name__ == "__main__":
    command()
