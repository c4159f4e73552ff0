"""What MLflow's pages show of a training: its kind, its data, its source, a model's description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from twinml.report import CARD
from twinml.training.estimates import WORDS

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from twinml.data import Dataset
    from twinml.training import TrainingResult

__all__ = ["EXPERIMENT_TAGS", "description", "inputs", "judged", "source_tags"]

# Without it the pages guess, and offer traces and evaluations of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
DIGEST_LENGTH = 36  # MLflow takes no longer ones


@cache
def source_tags() -> Mapping[str, str]:
    """Return what started this process: user, program, and the commit if it is in a git folder."""
    from mlflow.tracking.context.registry import resolve_tags

    return {key: str(value) for key, value in resolve_tags().items()}


def judged(result: TrainingResult, dataset: Dataset) -> str:
    """Return what two models must share for their test figures to be comparable."""
    whole = hashlib.sha256()
    features = sorted(result.contract.column_names)
    for part in (dataset.digest, dataset.target, result.test.how, *features):
        whole.update(hashlib.sha256(part.encode()).digest())
    whole.update(result.test.rows.tobytes())
    return whole.hexdigest()


def inputs(result: TrainingResult, dataset: Dataset, judged: str) -> list[DatasetInput]:
    """Return the data that a run learned from and the rows that it was judged on.

    Parameters
    ----------
    judged
        A digest of the test rows.
    """
    from mlflow.entities import Dataset as Logged
    from mlflow.entities import DatasetInput, InputTag

    schema: Any = result.contract.signature().inputs
    learned = result.test.n_train if result.trained_on is None else len(result.trained_on)
    rows = {"training": learned, "evaluation": result.test.n_test}
    digests = {"training": dataset.digest, "evaluation": judged}
    return [
        DatasetInput(
            dataset=Logged(
                name=dataset.name
                if context == "training"
                else f"{dataset.name} {result.test.prefix.replace('_', ' ')} rows",
                digest=digests[context][:DIGEST_LENGTH],
                source_type="local",
                source=json.dumps({"uri": str(dataset.source)}),
                schema=json.dumps({"mlflow_colspec": schema.to_dict()}),
                profile=json.dumps({"num_rows": rows[context]}),
            ),
            tags=[InputTag("mlflow.data.context", context)],
        )
        for context in ("training", "evaluation")
    ]


def description(
    title: str,
    metrics: Mapping[str, float],
    metric: str | None,
    *,
    experiment: str,
    run: str,
    learned_from: str | None = None,
) -> str:
    """Return the description of a model version, in Markdown: estimates, report, model card.

    Examples
    --------
    >>> print(description("Forest", {"test_f1": 0.5, "forward_f1": 0.4}, "f1",
    ...                   experiment="1", run="ab"))
    Forest. f1 on test rows 0.5000, forward in time 0.4000.
    [Report](#/experiments/1/runs/ab/artifacts/report/report.html)
    [Model card](#/experiments/1/runs/ab/artifacts/model/model-card.html)
    """
    shown = [
        f"{words} {metrics[f'{prefix}_{metric}']:.4f}"
        for prefix, words in {**WORDS, "forward": "forward in time"}.items()
        if f"{prefix}_{metric}" in metrics
    ]
    estimates = f" {metric} {', '.join(shown)}." if shown else ""
    if learned_from:
        estimates += f" Learned from {learned_from}."
    artifacts = f"#/experiments/{experiment}/runs/{run}/artifacts"
    report = f"[Report]({artifacts}/report/report.html)"
    return f"{title}.{estimates}\n{report}\n[Model card]({artifacts}/model/{CARD})"
