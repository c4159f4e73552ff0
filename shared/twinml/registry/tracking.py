"""Runs and registered models in MLflow, on any tracking URI.

A training run is one parent run with a nested run for each candidate of the leaderboard.
Its artifacts: ``model/`` (the MLflow model directory), ``report/`` (HTML and pictures) and
``training/`` (the result without the pipelines, for later steps).

Models are written with ``save_model`` and uploaded with ``log_artifacts``: Azure ML's
tracking server has no ``/logged-models``, so ``log_model`` fails there under MLflow 3.
"""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml import settings
from twinml.errors import ModelError
from twinml.platform import ModelReference, ModelVersion
from twinml.registry import _pages as pages
from twinml.registry.aliases import CHALLENGER, CHAMPION, Aliases, absent, missing, registered
from twinml.registry.store import alone, file_of, open_client, prepare_experiment
from twinml.report import held_out_rows

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion as Registered

    from twinml.data import Dataset
    from twinml.training import TrainingResult

__all__ = ["DIGEST", "LoggedRun", "Tracking", "put"]

DIGEST = "twinml.digest"
_FINGERPRINT = "twinml.fingerprint"
# What carries it may be removed by ``twinml teardown`` where models are in a cloud.
_MADE = {"twinml": "model"}
_STATE = "twinml.state"
# Of a version that has no alias yet.
_REGISTERING = "registering"
_LEARNED_FROM = "twinml.learned_from"
_JUDGED = "twinml.judged"


@dataclass(frozen=True)
class LoggedRun:
    """A finished training run; ``result`` lacks the fitted pipelines."""

    run_id: str
    experiment: str
    result: TrainingResult
    model_uri: str


class Tracking:
    """MLflow's client on our store.

    Parameters
    ----------
    uri
        Tracking and registry URI; by default ``MLFLOW_TRACKING_URI``, else SQLite at home.
    """

    def __init__(self, uri: str | None = None) -> None:
        settings.quiet_libraries()
        import logging

        # Alembic reports every migration of a new store at INFO.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.uri = uri or settings.tracking_uri()
        with alone(self.uri):
            self.client = open_client(self.uri)
        self.aliases = Aliases(self.client, self.uri)

    @property
    def local(self) -> bool:
        """Whether the store is a file of this machine, written by this user."""
        return file_of(self.uri) is not None

    def log(
        self,
        result: TrainingResult,
        dataset: Dataset,
        model_directory: Path,
        *,
        fingerprint: str,
        digest: str,
    ) -> LoggedRun:
        """Log a training run with its model; it counts as finished only once all is there."""
        judged = pages.judged(result, dataset)
        run = self._start(
            dataset.name,
            f"{result.best.name} on {dataset.name}",
            {
                _FINGERPRINT: fingerprint,
                DIGEST: digest,
                _JUDGED: judged,
                "twinml.data": dataset.digest,
                _LEARNED_FROM: result.learned_from,
            },
        )
        run_id = run.info.run_id
        started = [run_id]
        try:
            if not self.uri.startswith("azureml:"):  # Azure's tracking has no data sets of runs.
                self.client.log_inputs(run_id, pages.inputs(result, dataset, judged))
            self._log_values(
                run_id,
                {
                    **result.options,
                    "data": dataset.name,
                    "target": dataset.target,
                    "dropped": list(dataset.dropped),
                    "best": result.best.name,
                    "threshold": result.threshold,
                },
                {
                    **{
                        f"{result.test.prefix}_{k}": v.value for k, v in result.test.metrics.items()
                    },
                    **{f"baseline_{k}": v for k, v in result.test.baseline.items()},
                    **(
                        {f"forward_{k}": v.value for k, v in result.forward.metrics.items()}
                        if result.forward
                        else {}
                    ),
                },
            )
            for rank, candidate in enumerate(result.leaderboard, start=1):
                child = self._start(
                    dataset.name,
                    candidate.name,
                    {"mlflow.parentRunId": run_id, "twinml.kind": candidate.kind},
                )
                started.append(child.info.run_id)
                self._log_values(
                    child.info.run_id,
                    {
                        **candidate.config,
                        **{f"weight_{k}": v for k, v in candidate.weights.items()},
                    },
                    {**candidate.metrics, "rank": rank, "seconds": candidate.seconds},
                )
                self.client.set_terminated(started.pop(), "FINISHED")
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                light = result.without_models()
                (folder / "result.pkl").write_bytes(pickle.dumps(light, protocol=5))
                (folder / "trials.json").write_text(
                    json.dumps(
                        [{**vars(trial), "config": dict(trial.config)} for trial in result.trials],
                        indent=1,
                    ),
                    encoding="utf-8",
                )
                held_out_rows.write(result, folder)
                self.client.log_artifacts(run_id, str(folder), "training")
            self._upload(run_id, model_directory)
            self.client.set_tag(run_id, _STATE, "complete")
        except BaseException:
            for each in started:
                self.client.set_terminated(each, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")
        return LoggedRun(run_id, dataset.name, light, self._model_uri(run))

    def begin(
        self, experiment: str, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> str:
        """Start a run with these tags and metrics, and return its id; it has not ended."""
        run_id = str(self._start(experiment, name, tags).info.run_id)
        self._log_values(run_id, {}, metrics)
        return run_id

    def add_artifacts(self, run_id: str, directory: Path, path: str) -> None:
        """Upload a folder into a run."""
        self.client.log_artifacts(run_id, str(directory), path)

    def find(self, experiment: str, fingerprint: str) -> LoggedRun | None:
        """Return the newest complete run with this fingerprint, or ``None``.

        Only a store on this machine is asked: the result is kept as a pickle.
        """
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return None
        runs = self.client.search_runs(
            [found.experiment_id],
            filter_string=(
                f"tags.`{_FINGERPRINT}` = '{fingerprint}' and tags.`{_STATE}` = 'complete'"
            ),
            order_by=["attributes.start_time DESC"],
            max_results=5,
        )
        for run in runs:
            result = self._result(run.info.run_id)
            if result is not None:
                return LoggedRun(run.info.run_id, experiment, result, self._model_uri(run))
        return None

    def upload(
        self,
        experiment: str,
        model_directory: Path,
        *,
        digest: str,
        title: str = "uploaded model",
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> str:
        """Log a model that was made elsewhere as a run of its own; return the run's id."""
        run_id = self.begin(experiment, title, {DIGEST: digest, **(tags or {})}, metrics or {})
        self._upload(run_id, model_directory)
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def register(
        self, name: str, *, run_id: str, digest: str, metric: str | None = None
    ) -> ModelVersion:
        """Register the model of a run; the same digest under a name keeps its version.

        The first version of a name becomes its champion. A later one becomes champion when
        it beats the champion on ``metric`` (``test_…`` or ``out_of_fold_…`` as logged) and both
        were judged alike: same target, same features, same rows, none of which what was judged
        had learned from. Else it becomes challenger.
        """
        with alone(self.uri):
            made = next(
                (one for one in registered(self.client, name) if one.tags.get(DIGEST) == digest),
                None,
            )
            if made is None:
                made = self._create_version(name, run_id, digest, metric)
            if made.tags.get(_STATE) == _REGISTERING:
                # New, or left half-way by a process that ended.
                self._give_title(made, metric)
                self.client.set_model_version_tag(name, made.version, _STATE, "complete")
            elif self.aliases.holder(name, CHAMPION) is None:
                # Uploaded to the registry without a title.
                self.aliases.give(made, CHAMPION)
            return self._described(self.client.get_model_version(name, made.version))

    def _create_version(
        self, name: str, run_id: str, digest: str, metric: str | None
    ) -> Registered:
        from mlflow.exceptions import MlflowException

        run = self.client.get_run(run_id)
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {**_MADE, DIGEST: digest, _STATE: _REGISTERING}
        return self.client.create_model_version(
            name,
            source=self._model_uri(run),
            run_id=run_id,
            tags=tags,
            description=pages.description(
                str(run.info.run_name),
                run.data.metrics,
                metric,
                experiment=run.info.experiment_id,
                run=run_id,
                learned_from=run.data.tags.get(_LEARNED_FROM),
            ),
        )

    def _give_title(self, version: Registered, metric: str | None) -> None:
        """Make a new version champion or challenger; doing it again changes nothing."""
        champion = self.aliases.holder(version.name, CHAMPION)
        if champion is None or champion.version == version.version:
            self.aliases.give(version, CHAMPION)
            return
        run_id = version.run_id
        if metric is None or not run_id or not self._beats(run_id, champion.run_id, metric):
            self.aliases.give(version, CHALLENGER)
            return
        # In this order, so that a process that ends in between leaves no champion less.
        self.aliases.give(champion, CHALLENGER)
        self.aliases.give(version, CHAMPION)

    def resolve(self, reference: ModelReference) -> ModelVersion:
        """Return the version that is meant; of a bare name, the champion.

        Raises
        ------
        NotFound
            There is no such model, version or alias here.
        """
        from mlflow.exceptions import MlflowException

        found: Registered | None = None
        if reference.registry is not None:
            pass  # Another registry's models are not here, whatever their names.
        elif reference.version is None:
            found = self.aliases.holder(reference.name, reference.alias or CHAMPION)
        else:
            try:
                found = self.client.get_model_version(reference.name, reference.version)
            except MlflowException as error:
                if not absent(error):
                    raise
        if found is None:
            raise missing(
                reference,
                {
                    name: [one.version for one in registered(self.client, name)]
                    if name == reference.name
                    else []
                    for name in self.names()
                },
            )
        return self._described(found)

    def names(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        found: list[str] = []
        token: str | None = None
        while True:
            page = self.client.search_registered_models(page_token=token)
            found += [model.name for model in page]
            token = page.token
            if not token:
                return sorted(found)

    def versions(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the versions of one model, or of all, newest first."""
        names = [name] if name is not None else self.names()
        return tuple(
            self._described(version)
            for each in names
            for version in sorted(
                registered(self.client, each), key=lambda one: int(one.version), reverse=True
            )
        )

    def download(self, uri: str, destination: Path) -> Path:
        """Return ``destination`` with the model's files in it; nothing to do if it has them."""
        if (destination / "MLmodel").is_file():
            return destination
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException

        if destination.exists():
            raise ModelError(
                f"the folder {destination} holds no whole model", hint="Remove it and try again."
            )
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".fetching-") as scratch:
            try:
                fetched = mlflow.artifacts.download_artifacts(
                    artifact_uri=self._location(uri), dst_path=scratch, tracking_uri=self.uri
                )
            except (MlflowException, OSError) as error:
                raise ModelError(
                    f"the files of the model are not in {uri}",
                    hint="Train it again: twinml train --again. If another machine keeps them: "
                    "mount that folder here.",
                ) from error
            put(Path(fetched), destination)
        return destination

    def _location(self, uri: str) -> str:
        """Return where files are: MLflow 3 names those of a logged model by its id alone."""
        logged = uri.removeprefix("models:/")
        if logged == uri or not logged.startswith("m-") or "/" in logged:
            return uri
        return str(self.client.get_logged_model(logged).artifact_location)

    def fetch(self, run_id: str, artifact: str, folder: Path) -> Path | None:
        """Return a file of a run, fetched into ``folder``; ``None`` if the run has none."""
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException

        folder.mkdir(parents=True, exist_ok=True)
        try:
            return Path(
                mlflow.artifacts.download_artifacts(
                    run_id=run_id,
                    artifact_path=artifact,
                    dst_path=str(folder),
                    tracking_uri=self.uri,
                )
            )
        except (MlflowException, OSError):
            return None

    def digest_of(self, run_id: str) -> str:
        """Return the digest of the model that a run made."""
        return str(self.client.get_run(run_id).data.tags[DIGEST])

    def metrics(self, run_id: str) -> Mapping[str, float]:
        """Return what a run logged, by name."""
        return dict(self.client.get_run(run_id).data.metrics)

    def _start(self, experiment: str, name: str, tags: Mapping[str, str]) -> Run:
        return self.client.create_run(
            self.prepare(experiment), run_name=name, tags={**pages.source_tags(), **tags}
        )

    def prepare(self, experiment: str) -> str:
        """Make sure that runs of an experiment can be logged from here; return its id.

        Raises
        ------
        PlatformError, UsageError
            As ``store.prepare_experiment``.
        """
        return prepare_experiment(self.client, self.uri, experiment)

    def _log_values(
        self, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        import time

        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(key, float(value), now, 0)
                for key, value in metrics.items()
                if math.isfinite(value)
            ],
            params=[
                Param(key, str(value)[:500])  # type: ignore[no-untyped-call]
                for key, value in params.items()
            ],
        )

    def _upload(self, run_id: str, model_directory: Path) -> None:
        # MLflow uploads a folder that is not there without a word.
        if not (model_directory / "MLmodel").is_file():
            raise ModelError(
                f"there is no MLflow model in {model_directory}",
                hint="Name a folder with an MLmodel file.",
            )
        with tempfile.TemporaryDirectory() as scratch:
            if self.uri.startswith("azureml:"):
                from twinml.model.azure_requirements import copy_for_azure

                model_directory = copy_for_azure(model_directory, Path(scratch) / "model")
            self.client.log_artifacts(run_id, str(model_directory), "model")

    def _result(self, run_id: str) -> TrainingResult | None:
        if not self.local:
            # A pickle is code: from a store that others can write to, none is loaded.
            return None
        import mlflow.artifacts

        with tempfile.TemporaryDirectory() as scratch:
            try:
                path = mlflow.artifacts.download_artifacts(
                    run_id=run_id,
                    artifact_path="training/result.pkl",
                    dst_path=scratch,
                    tracking_uri=self.uri,
                )
                result: TrainingResult = pickle.loads(  # noqa: S301 - we wrote it
                    Path(path).read_bytes()
                )
            except Exception:
                # Removed, cut short, or written by another version: train again.
                return None
        return result

    @staticmethod
    def _model_uri(run: Run) -> str:
        return f"{str(run.info.artifact_uri).rstrip('/')}/model"

    def _beats(self, run_id: str, champion_run: str | None, metric: str) -> bool:
        if not champion_run:
            return False
        runs = [self.client.get_run(one) for one in (run_id, champion_run)]
        if not _alike(runs):
            return False
        from twinml.training.estimates import figure_of
        from twinml.training.metrics import beats

        new, old = (
            {
                name: (figure_of(one.data.metrics, name) or ("", math.nan))[1]
                for name in (metric, "log_loss")
            }
            for one in runs
        )
        return beats(metric, new, old)[0]

    def judged_alike(self, run_id: str, other: str | None) -> bool:
        """Tell whether the figures of two runs are of the same rows, target and features."""
        return other is not None and _alike([self.client.get_run(one) for one in (run_id, other)])

    def _described(self, version: Registered) -> ModelVersion:
        uri = version.source or ""
        if uri.startswith("azureml:"):
            # Azure's own address of it is none that MLflow's client can fetch from.
            run, number = version.run_id, version.version
            uri = f"runs:/{run}/model" if run else f"models:/{version.name}/{number}"
        return ModelVersion(
            name=version.name,
            version=str(version.version),
            uri=uri,
            digest=version.tags.get(DIGEST, ""),
            run_id=version.run_id,
            aliases=self.aliases.of(version),
        )


def _alike(runs: Sequence[Run]) -> bool:
    judged = {one.data.tags.get(_JUDGED) for one in runs}
    return len(judged) == 1 and None not in judged


def put(made: Path, destination: Path) -> None:
    """Give a finished folder its name; fine if another process was first."""
    try:
        made.rename(destination)
    except OSError:
        if not (destination / "MLmodel").is_file():
            raise
