"""The pipeline that is published when no other is named: train on a file, as a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from twinml.pipeline.definition import PipelineDefinition, PipelineInput, PipelineStep

__all__ = ["training_pipeline"]


# Options of ``twinml train`` that are inputs as well: the default, and what it is.
SETTINGS: dict[str, tuple[str, str]] = {
    "seed": ("0", "Random seed"),
    "metric": ("roc_auc", "Chooses the best candidate"),
    "split": ("random", "How test rows are held out: random, ordered or column:NAME"),
    "class_weight": ("none", "none or balanced"),
    "threshold": ("0.5", "Decision threshold, or what to tune it for"),
    "learners": ("", "Search these only, with commas; empty for all"),
}


def training_pipeline(
    name: str = "training",
    *,
    data: Path | None = None,
    target: str | None = None,
    drop: Sequence[str] = (),
    budget: str = "60s",
    model: str | None = None,
    settings: Mapping[str, str] | None = None,
    timeout_seconds: float = 7200.0,
) -> PipelineDefinition:
    """Return the training pipeline: one step, ``twinml train``, whose JSON is the job's outputs.

    Parameters
    ----------
    name
        What it is published as.
    data, target
        The defaults of these inputs; a job must give those that are left out. The file is
        kept as an absolute path, because a job runs in a folder of its own.
    drop
        Columns that a job leaves out unless told otherwise.
    budget
        The default of the search budget, such as ``60s``.
    model
        The default name of the model; by default the pipeline's.
    settings
        Defaults of the other inputs, by name; see ``SETTINGS``.
    timeout_seconds
        When a training that has not ended is given up.

    Examples
    --------
    >>> inputs = training_pipeline(target="y").inputs
    >>> [item.name for item in inputs if item.required], len(inputs)
    (['data'], 11)
    """
    given = settings or {}
    return PipelineDefinition(
        name=name,
        description="Search, ensemble and evaluate a model on a data file.",
        inputs=(
            PipelineInput(
                "data",
                default=str(data.expanduser().resolve()) if data is not None else None,
                description="Absolute path of the data file",
            ),
            PipelineInput("target", default=target, description="Column to predict"),
            PipelineInput(
                "drop", default=",".join(drop), description="Columns to leave out, with commas"
            ),
            PipelineInput("budget", default=budget, description="Search budget, such as 60s"),
            *(
                PipelineInput(key, default=given.get(key, value), description=text)
                for key, (value, text) in SETTINGS.items()
            ),
            PipelineInput("name", default=model or name, description="Name of the model"),
        ),
        steps=(
            PipelineStep(
                "train",
                (
                    "${{python}}",
                    "-m",
                    "twinml",
                    "train",
                    # With '=' a value that starts with '-' is still a value.
                    "--data=${{inputs.data}}",
                    "--target=${{inputs.target}}",
                    "--drop=${{inputs.drop}}",
                    "--budget=${{inputs.budget}}",
                    *(f"--{key.replace('_', '-')}=${{{{inputs.{key}}}}}" for key in SETTINGS),
                    "--name=${{inputs.name}}",
                    "--json",
                ),
                timeout_seconds,
            ),
        ),
    )
