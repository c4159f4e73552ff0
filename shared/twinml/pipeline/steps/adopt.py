"""Make twinml's model directory of a plain MLflow model, such as an AutoML node gives."""

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.errors import ModelError
from twinml.pipeline.steps._command import (
    folder_in,
    folder_out,
    log_metrics,
    read_json,
    say,
    step,
    write_json,
)
from twinml.pipeline.steps.split import TABLE_FILE

if TYPE_CHECKING:
    from twinml.contract import Contract

__all__ = ["command"]

THRESHOLD = 0.5


@click.command()
@click.option("--model", type=folder_in, required=True, help="An MLflow model, flavour sklearn.")
@click.option("--prepared", type=folder_in, required=True, help="From the step prepare.")
@click.option("--table", type=folder_in, required=True, help="From the step split.")
@click.option("--holdout", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--metric", default="auto", help="Compares it with the champion.")
@click.option("--split", default="random", help="How the rows were held out.")
@click.option("--adopted", type=folder_out, required=True, help="Output: an MLflow model.")
@click.option("--training", type=click.Path(path_type=Path), required=True, help="Output: facts.")
@step
def command(
    model: Path,
    prepared: Path,
    table: Path,
    holdout: Path,
    metric: str,
    split: str,
    adopted: Path,
    training: Path,
) -> None:
    """Give the model a contract from its training rows, measure it on others, and log it."""
    import pandas as pd
    from sklearn.base import is_regressor

    from twinml import model as directories
    from twinml.contract import infer_contract, is_masked, model_frame
    from twinml.registry.tracking import Tracking
    from twinml.training.metrics import AUTO, HIGHER_IS_BETTER
    from twinml.training.tasks import predictions, task_of_model

    known = (AUTO, *HIGHER_IS_BETTER)
    if metric not in known:
        raise ModelError(f"there is no metric '{metric}'", hint=f"Known: {', '.join(known)}.")
    described = read_json(prepared / "dataset.json")
    name, target = described["name"], described["target"]
    learned, held = pd.read_parquet(table / TABLE_FILE), pd.read_parquet(holdout)
    # The table holds what a model gets; the rows held out know which floats are booleans.
    masked = {key: held[key].dtype for key in held.columns if is_masked(held[key])}
    typed = learned.astype({key: dtype for key, dtype in masked.items() if key in learned})
    pipeline = _load(model)
    contract = infer_contract(
        typed.drop(columns=target), typed[target], name=name, regression=is_regressor(pipeline)
    )
    _check_classes(pipeline, contract)
    task = task_of_model(contract)
    task.check(metric)
    metric = task.chosen(metric)
    labels = task.truth(held[target])
    features = model_frame(held[list(contract.column_names)])
    threshold = THRESHOLD if contract.task == "binary" else None
    measured = task.score(labels, predictions(pipeline, features), threshold)
    best = str(directories.metadata(model).get("algorithm") or type(pipeline).__name__)
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "model"
        digest = directories.save(
            pipeline,
            contract,
            saved,
            metrics=measured,
            extra={
                "best": best,
                "metric": metric,
                "threshold": threshold,
                "split": split,
                "data": described["digest"],
            },
            training_rows=learned,
        )
        # Azure mounts the folder of an output before the step runs: it cannot be replaced.
        shutil.copytree(saved, adopted, dirs_exist_ok=True)
    figures = {f"test_{key}": value for key, value in measured.items()}
    tracking = Tracking()
    run_id = tracking.upload(
        name,
        adopted,
        digest=digest,
        title=f"{best} on {name}",
        tags={"twinml.data": described["digest"]},
        metrics=figures,
    )
    log_metrics(tracking, figures)
    write_json(
        training,
        {
            "name": name,
            "run_id": run_id,
            "digest": digest,
            "data": described["digest"],
            "best": best,
            "metric": metric,
            "threshold": threshold,
            "split": split,
            "rows": {"train": len(learned), "test": len(held)},
            "test": measured,
            "reused": False,
        },
    )
    say(f"{best}: {metric} {measured[metric]:.4f} on test rows")


def _load(directory: Path) -> Any:
    """Return the fitted pipeline of an MLflow model of flavour sklearn.

    Raises
    ------
    ModelError
        It has no such flavour, or needs packages that are not here.
    """
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    from twinml.model import packages
    from twinml.training import learners

    try:
        pipeline = mlflow.sklearn.load_model(str(directory))
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the model needs the package '{error.name}', which this step does not have",
            hint="Add it to environment/conda.yml; docs/pipelines.md says more.",
        ) from error
    except (MlflowException, AttributeError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"the model cannot be loaded ({type(error).__name__})",
            hint="Give an MLflow model of flavour sklearn, made with these package versions.",
        ) from error
    carried = {"joblib", "numpy", "pandas", "scipy", *learners.modules()}
    foreign = sorted(packages(pipeline) - carried - sys.stdlib_module_names)
    if foreign:
        raise ModelError(
            f"the model holds objects of {', '.join(foreign)}, which a model directory of "
            "twinml's does not carry",
            hint="Register and deploy it as the plain MLflow model that it is.",
        )
    return pipeline


def _check_classes(pipeline: Any, contract: Contract) -> None:
    """Refuse a classifier of other classes than the rows'."""
    known = [str(label) for label in getattr(pipeline, "classes_", [])]
    wanted = [str(label) for label in contract.classes]
    if known != wanted or hasattr(pipeline, "predict_proba") == (contract.task == "regression"):
        raise ModelError(f"the model's classes are {known}, those of the rows {wanted}")


if __name__ == "__main__":
    command()
