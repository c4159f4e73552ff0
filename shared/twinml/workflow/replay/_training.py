"""The trainings of a replay: the first model, the pipeline's proposals, and the random split."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml import settings
from twinml.data import load
from twinml.data.reading import text_of
from twinml.errors import PlatformError
from twinml.pipeline import DEFINITION
from twinml.platform import ModelReference, endpoint_name
from twinml.registry import training_run
from twinml.registry.promotion import deployment_name
from twinml.workflow.replay._history import Scores

if TYPE_CHECKING:
    import pandas as pd

    from twinml.data import Dataset
    from twinml.platform import ModelVersion, PipelineClient, Platform
    from twinml.registry.tracking import Tracking
    from twinml.training import TrainingOptions

__all__ = ["FirstModel", "Proposed", "Served", "Trainer"]

JOB_SECONDS = 1800.0


@dataclass(frozen=True)
class Served:
    """A model that answers: where, what it learned from, and how well it did when measured.

    ``reference`` are the features of its rows, shape (n_rows, n_features).
    """

    deployment: str
    model: ModelVersion
    reference: pd.DataFrame
    loss: float

    @property
    def version(self) -> str:
        """Such as ``bank-full-replay/3``."""
        return str(self.model.reference)


@dataclass(frozen=True)
class FirstModel:
    """The model that a replay begins with, and its classes in order."""

    served: Served
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Proposed:
    """The result of a run of the pipeline; ``served`` is ``None`` where nothing was registered."""

    served: Served | None
    reason: str


# The whole file told which columns are keys; a part of its rows may look otherwise.
READING: Mapping[str, Any] = {"keep": "all", "rare": "refuse"}


class Trainer:
    """Trains on slices of a data set, under the name of a replay.

    Parameters
    ----------
    name
        Of the registered model and its pipeline.
    options
        Of every training.
    """

    def __init__(
        self,
        platform: Platform,
        tracking: Tracking,
        dataset: Dataset,
        name: str,
        options: TrainingOptions,
    ) -> None:
        self._platform, self._tracking = platform, tracking
        self._dataset, self._name, self._options = dataset, name, options
        self._folder = settings.home() / "replays" / dataset.name / "rows"

    def first(self, stop: int) -> FirstModel:
        """Train on the rows before ``stop``, register the model and publish the pipeline.

        Versions that an earlier replay registered are forgotten: they learned from rows that
        have not come yet.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._tracking.client.delete_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        rows = self._rows(0, stop)
        done = training_run.run(
            load(rows, self._dataset.target, name=self._name, task=self._dataset.task, **READING),
            self._options,
            self._tracking,
        )
        model = self._platform.register_model(done.directory, name=self._name, run_id=done.run_id)
        result = done.searched()
        self._platform.publish_pipeline(self._name, DEFINITION, inputs=self._inputs(rows))
        served = Served(
            deployment_name(model),
            model,
            self._dataset.features.iloc[:stop],
            result.test.metrics[_names(result.contract.task)[1]].value,
        )
        return FirstModel(served, tuple(str(each) for each in result.contract.classes))

    def propose(self, stop: int, window: int, share: int) -> Proposed:
        """Run the published pipeline on the ``window`` rows before ``stop``, and wait for it.

        The pipeline registers a model that is better than the champion on rows that it held
        out, and deploys it with ``share`` per cent of the traffic.

        Raises
        ------
        PlatformError
            The job failed; the message holds its own words.
        """
        start = max(0, stop - window) if window else 0
        given = {
            "data": str(self._rows(start, stop)),
            "endpoint": endpoint_name(self._name),
            "percent": share,
        }
        job = self._platform.run_pipeline(self._name, given)
        client = self._platform.pipeline_client(self._name)
        try:
            job = client.wait(job.id, timeout=JOB_SECONDS)
            if job.status != "Completed":
                raise PlatformError(
                    f"pipeline job {job.id} is {job.status}: {job.error or 'no reason given'}",
                    hint=f"See twinml pipeline logs {self._name} {job.id}.",
                )
            registration = _output(client, job.id, "registration")
            if not registration["registered"]:
                return Proposed(None, registration["reason"])
            deployed = _output(client, job.id, "deployed")
        finally:
            client.close()
        model = self._tracking.resolve(
            ModelReference(registration["model"], registration["version"])
        )
        served = Served(
            str(deployed["deployment"]),
            model,
            self._dataset.features.iloc[start:stop],
            float(registration["candidate"][_names(self._dataset.task)[1]]),
        )
        return Proposed(served, registration["reason"])

    def random_split(self) -> Scores:
        """Return the scores of a model trained and measured on rows of all times."""
        done = training_run.run(self._dataset, self._options, self._tracking)
        metrics = done.searched().test.metrics
        ranking, loss = (metrics[name].value for name in _names(self._dataset.task))
        return Scores(ranking, loss)

    def _rows(self, start: int, stop: int) -> Path:
        """Write a slice of the table, as a file that the pipeline reads, and return its path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{start}-{stop}.parquet"
        self._dataset.frame.iloc[start:stop].to_parquet(path, index=False)
        return path

    def _asked(self) -> Mapping[str, Any]:
        # A slice may look like the other task.
        return {"task": "regression"} if self._dataset.task == "regression" else {}

    def _inputs(self, rows: Path) -> dict[str, Any]:
        options = self._options
        return {
            "data": str(rows),
            "target": self._dataset.target,
            "reading": text_of({**READING, **self._asked()}),
            "model_name": self._name,
            "budget": f"{options.budget:g}s",
            "trials": options.trials or 0,
            "seed": options.seed,
            "metric": options.metric,
            "class_weight": options.class_weight or "none",
            "threshold": str(options.threshold),
            "learners": ",".join(options.learners) or "all",
            "refit": options.refit,
        }


def _names(task: str) -> tuple[str, str]:
    """Return the metrics that ``Scores`` holds."""
    if task == "regression":
        return "spearman_correlation", "root_mean_squared_error"
    return "roc_auc", "log_loss"


def _output(client: PipelineClient, job_id: str, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = client.download(job_id, name, Path(folder))
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
