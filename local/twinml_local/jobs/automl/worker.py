"""Trains for an AutoML job, as a process of its own: twinml's training, Azure's layout.

``python -m twinml_local.jobs.automl.worker TASK DATA OUT`` reads the task (JSON) and
the table, and leaves in ``OUT`` a folder for each child, the last file of which is
``child.json``, and at the end ``best.json``::

    OUT/0/mlflow-model/     the model
    OUT/0/child.json        algorithm, metrics, ensemble
    OUT/best.json           {"best": 0, "children": 7}
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from azureml_runner.files import write_atomic
from twinml import model
from twinml.data import load
from twinml.errors import TwinmlError
from twinml.pipeline.unforeseen import without_words
from twinml.training import Progress, TrainingOptions, train
from twinml.training.metrics import HIGHER_IS_BETTER
from twinml.training.tasks import task_of_model
from twinml_local.jobs.automl._task import ENSEMBLES, PRIMARY_METRICS, AutoMLTask, algorithms
from twinml_local.jobs.automl.mltable import read_table

if TYPE_CHECKING:
    from twinml.training import FittedCandidate, TrainingResult

__all__ = ["azure_metrics", "main"]

# Rows that the training holds out for its own estimate: as few as it can.
HELD_OUT = 0.05


def azure_metrics(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, float]:
    """Return Azure's classification metrics by Azure's names.

    Parameters
    ----------
    labels
        True classes as indices, shape (n,).
    probabilities
        Shape (n, n_classes).
    """
    from sklearn import metrics

    n_classes = probabilities.shape[1]
    truth = np.eye(n_classes)[labels]
    predicted = probabilities.argmax(axis=1)
    recall = float(metrics.balanced_accuracy_score(labels, predicted))
    counts = np.bincount(labels, minlength=n_classes)[labels]
    found = {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": recall,
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=range(n_classes))),
        "matthews_correlation": float(metrics.matthews_corrcoef(labels, predicted)),
        "norm_macro_recall": (recall - 1 / n_classes) / (1 - 1 / n_classes),
        "weighted_accuracy": float(np.average(predicted == labels, weights=counts)),
    }
    for average in ("macro", "micro", "weighted"):
        found[f"AUC_{average}"] = float(
            metrics.roc_auc_score(truth, probabilities, average=average)
        )
        found[f"average_precision_score_{average}"] = float(
            metrics.average_precision_score(truth, probabilities, average=average)
        )
        precision, recalls, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0.0
        )
        found[f"precision_score_{average}"] = float(precision)
        found[f"recall_score_{average}"] = float(recalls)
        found[f"f1_score_{average}"] = float(f1)
    return found


def main(arguments: list[str]) -> int:
    """Train; returns the exit code."""
    task_file, data, out = (Path(argument) for argument in arguments)
    task = AutoMLTask(**json.loads(task_file.read_text(encoding="utf-8")))
    try:
        result = _train(task, data, out)
        children = _in_order(result, task)
        scores = [_write(out / str(n), one, result, task) for n, one in enumerate(children)]
    except TwinmlError as error:
        _say(f"{error.message} {error.hint or ''}".strip())
        return 1
    except Exception as error:
        _say(without_words(error))
        return 1
    higher = HIGHER_IS_BETTER[PRIMARY_METRICS[task.kind][task.primary_metric]]
    best = max(
        range(len(scores)),
        key=lambda number: (scores[number] if higher else -scores[number], -number),
    )
    _say(f"best: {_name(children[best], task)}, {task.primary_metric} {scores[best]:.5f}")
    write_atomic(out / "best.json", json.dumps({"best": best, "children": len(children)}))
    return 0


def _train(task: AutoMLTask, data: Path, out: Path) -> TrainingResult:
    frame = read_table(data)
    out.mkdir(parents=True, exist_ok=True)
    table = out / "table.parquet"
    frame.to_parquet(table)
    dataset = load(table, task.target, name="automl", task=task.kind)
    _say(f"{len(frame):,} rows, target '{task.target}', primary metric {task.primary_metric}")
    options = TrainingOptions(
        budget=task.budget,
        trials=task.trials,
        metric=PRIMARY_METRICS[task.kind][task.primary_metric],
        folds=task.folds,
        test_size=HELD_OUT,
        learners=tuple(task.learners),
        jobs=task.jobs,
    )
    told = ("", -1)

    def progress(moment: Progress) -> None:
        nonlocal told
        if told != (moment.phase, moment.trials):
            told = (moment.phase, moment.trials)
            best = "" if moment.best_loss is None else f", best {moment.best_name}"
            _say(f"{moment.elapsed:7.1f} s  {moment.phase}: {moment.trials} trials{best}")

    return train(dataset, options, progress, every_candidate=True)


def _in_order(result: TrainingResult, task: AutoMLTask) -> list[FittedCandidate]:
    """Return the children: single learners, then the ensembles that are allowed."""
    single = [one for one in result.candidates if one.candidate.name not in ENSEMBLES]
    joined = [
        one
        for name in ENSEMBLES
        for one in result.candidates
        if one.candidate.name == name and name in task.ensembles
    ]
    return [*single, *joined]


def _name(one: FittedCandidate, task: AutoMLTask) -> str:
    return algorithms(task.kind).get(one.candidate.name, one.candidate.name)


def _write(folder: Path, one: FittedCandidate, result: TrainingResult, task: AutoMLTask) -> float:
    """Write a child; returns its score."""
    if task.kind == "regression":
        # They have Azure's names; what the rows cannot give, it leaves out.
        measured = task_of_model(result.contract).score(one.labels, one.out_of_fold)
        figures = {name: value for name, value in measured.items() if np.isfinite(value)}
    else:
        figures = azure_metrics(one.labels, one.out_of_fold)
    score = figures[task.primary_metric]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.save(
        one.pipeline,
        result.contract,
        folder / "mlflow-model",
        metrics=dict(one.candidate.metrics),
        extra={"algorithm": _name(one, task)},
    )
    child: dict[str, Any] = {
        "algorithm": _name(one, task),
        "score": score,
        "metrics": figures,
        "params": {name: str(value) for name, value in one.candidate.config.items()},
        "weights": {
            algorithms(task.kind).get(name, name): weight
            for name, weight in one.candidate.weights.items()
        },
        "seconds": one.candidate.seconds,
    }
    write_atomic(folder / "child.json", json.dumps(child))
    _say(f"{folder.name:>3}  {_name(one, task):22} {task.primary_metric} {score:.5f}")
    return score


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def task_json(task: AutoMLTask) -> str:
    """Return a task as the process reads it."""
    return json.dumps(asdict(task))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
