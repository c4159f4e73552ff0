"""Training on Azure's machines: twinml's own search as a command job, and Azure's AutoML.

Both jobs are named by the fingerprint of the run, so that a run that was cut short finds its
job again, running or done, and nothing is trained twice::

    job      code: this package    environment: the versions of this process
             twinml train --save ${{outputs.trained}}  ──▶ fetched: model and result
    automl   automl.classification or .regression, VotingEnsemble on ──▶ best child's mlflow-model
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import twinml
from twinml.errors import PlatformError, TrainingError, UsageError
from twinml.platform import TrainedModel
from twinml.registry.tracking import put
from twinml.registry.training_run import fingerprint, model_folder
from twinml.training import learners
from twinml_azure.assets import register_job_model, register_table
from twinml_azure.resources import TAG, Sizes, ensure_cluster, get, word

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import DataAsset
    from twinml.training import TrainingOptions
    from twinml_azure.connection import Connection

__all__ = ["train_as_job", "train_with_automl"]

ENVIRONMENT = "twinml-training"
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
# What `twinml train --save` imports, beside the learners; the versions are those of this process.
PACKAGES = (
    "click",
    "flaml",
    "joblib",
    "matplotlib",
    "mlflow",
    "numpy",
    "orjson",
    "pandas",
    "pyarrow",
    "python-calamine",
    "pyyaml",
    "requests",
    "rich",
    "scipy",
    "threadpoolctl",
)
DONE, FAILED = frozenset({"Completed"}), frozenset({"Failed", "Canceled", "NotResponding"})
MOST_ATTEMPTS = 50
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
BEST_CHILD = "automl_best_child_run_id"
# twinml's name of a metric -> AutoML's.
METRICS = {
    "roc_auc": "AUC_weighted",
    "accuracy": "accuracy",
    "average_precision": "average_precision_score_weighted",
    "balanced_accuracy": "norm_macro_recall",
    "r2_score": "r2_score",
    "spearman_correlation": "spearman_correlation",
    "normalized_root_mean_squared_error": "normalized_root_mean_squared_error",
    "normalized_mean_absolute_error": "normalized_mean_absolute_error",
}
# What AutoML follows where it has not the metric that was asked for.
NEAREST = {
    "classification": "AUC_weighted",
    "regression": "normalized_root_mean_squared_error",
}


def conda_file() -> dict[str, Any]:
    """Return the environment of a training job: this Python, and these versions."""
    names = sorted({*PACKAGES, *learners.packages(optional=False)})
    pins = [f"{name}=={version(name)}" for name in names]
    python = f"python={sys.version_info.major}.{sys.version_info.minor}"
    return {
        "name": ENVIRONMENT,
        "channels": ["conda-forge"],
        "dependencies": [python, "pip", {"pip": pins}],
    }


def environment_version() -> str:
    """Return the version of the training environment: a digest of its content."""
    import yaml

    content = yaml.safe_dump(conda_file(), sort_keys=False)
    return hashlib.sha256(f"{IMAGE}\n{content}".encode()).hexdigest()[:12]


def ensure_environment(connection: Connection) -> str:
    """Register the training environment, versioned by its content; returns its reference."""
    from azure.ai.ml.entities import Environment

    mark = environment_version()
    with connection.errors(f"to register the environment '{ENVIRONMENT}'"):
        operations = connection.client.environments
        if get(operations, ENVIRONMENT, version=mark) is None:
            operations.create_or_update(
                Environment(
                    name=ENVIRONMENT,
                    version=mark,
                    image=IMAGE,
                    conda_file=conda_file(),
                    tags={TAG: "environment"},
                )
            )
    return f"azureml:{ENVIRONMENT}:{mark}"


# Our own search


def train_as_job(
    connection: Connection,
    sizes: Sizes,
    dataset: Dataset,
    asset: DataAsset,
    options: TrainingOptions,
    say: Callable[[str], None],
) -> TrainedModel:
    """Run twinml's search as a command job and fetch the model and the result.

    Raises
    ------
    TrainingError
        The job failed; the message holds the last line of its log.
    PlatformError
        Azure refused it.
    """
    from azure.ai.ml import Input, Output, command

    cluster = ensure_cluster(connection, sizes)
    environment = ensure_environment(connection)

    def job(name: str, code: Path) -> Any:
        made = command(
            name=name,
            display_name=f"twinml train {dataset.name}",
            experiment_name=dataset.name,
            code=str(code),
            command=_command_line(dataset, options),
            environment=environment,
            compute=cluster,
            inputs={"data": Input(type="uri_file", path=f"azureml:{asset.name}:{asset.version}")},
            outputs={"trained": Output(type="uri_folder")},
            environment_variables={"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
            tags={TAG: "training", "data": asset.digest},
        )
        made.set_limits(timeout=max(3600, int(10 * (options.budget or 360))))
        return made

    with tempfile.TemporaryDirectory() as scratch:
        code = _code(Path(scratch))
        name = job_name("job", dataset, options)
        found = _finished(connection, name, lambda name: job(name, code), say)
        with connection.errors(f"to fetch the result of job '{found.name}'"):
            connection.client.jobs.download(
                found.name, download_path=scratch, output_name="trained"
            )
        made = next(Path(scratch).rglob("result.pkl"), None)
        if made is None:
            raise TrainingError(f"job '{found.name}' left no result", hint=f"See {_studio(found)}.")
        # Written by our own code in the user's own workspace, and read by the same version.
        result = pickle.loads(made.read_bytes())  # noqa: S301
        digest = json.loads((made.parent / "result.json").read_text(encoding="utf-8"))["digest"]
        folder = model_folder(digest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not (folder / "MLmodel").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(made.parent / "model", folder)
    return TrainedModel(
        name=result.best.name,
        directory=folder,
        digest=digest,
        result=result,
        where=_studio(found),
    )


def _command_line(dataset: Dataset, options: TrainingOptions) -> str:
    words = [
        "python -m twinml train --data ${{inputs.data}} --save ${{outputs.trained}}",
        f"--target {_quoted(dataset.target)} --name {_quoted(dataset.name)}",
        *(f"--drop {_quoted(column)}" for column in sorted(dataset.dropped)),
        *(f"--keep-column {_quoted(column)}" for column in dataset.reading["keep"]),
        f"--rare {dataset.reading['rare']}",
        *(f"--sheet {_quoted(sheet)}" for sheet in [dataset.reading["sheet"]] if sheet),
        f"--seed {options.seed} --metric {options.metric} --split {_quoted(options.split)}",
        f"--class-weight {options.class_weight or 'none'} --threshold {options.threshold}",
        f"--trials {options.trials}" if options.trials else f"--budget {options.budget:g}s",
    ]
    if options.refit != "all":
        words.append(f"--refit {options.refit}")
    if options.learners:
        words.append(f"--learners {','.join(options.learners)}")
    return " ".join(words)


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


def _code(scratch: Path) -> Path:
    """Copy this package, which is the code of the job, into a folder of its own."""
    folder = scratch / "code"
    shutil.copytree(
        Path(str(twinml.__file__)).parent,
        folder / "twinml",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
    )
    return folder


# Azure's AutoML


def train_with_automl(
    connection: Connection,
    sizes: Sizes,
    dataset: Dataset,
    asset: DataAsset,
    options: TrainingOptions,
    say: Callable[[str], None],
) -> TrainedModel:
    """Run Azure's AutoML with a VotingEnsemble, register its best child's model and fetch it.

    Raises
    ------
    TrainingError
        The job failed, or names no best child.
    PlatformError
        Azure refused it.
    UsageError
        The rows are to be split in another way than at random, which AutoML cannot.
    """
    if options.split != "random":
        raise UsageError(
            f"Azure's AutoML divides the rows at random, not by '{options.split}'",
            hint="Use --train job, or the pipeline pipeline-automl.yml, whose held-out rows are "
            "divided so.",
        )
    from azure.ai.ml import Input, automl

    cluster = ensure_cluster(connection, sizes)
    table = register_table(connection, dataset)

    def job(name: str) -> Any:
        made = getattr(automl, dataset.task)(
            compute=cluster,
            experiment_name=dataset.name,
            training_data=Input(type="mltable", path=table),
            target_column_name=dataset.target,
            primary_metric=METRICS.get(options.metric, NEAREST[dataset.task]),
            n_cross_validations=5,
            enable_model_explainability=False,
            tags={TAG: "training", "data": asset.digest},
        )
        made.name = name
        made.set_limits(
            # AutoML needs some minutes whatever it is given; 15 is its shortest useful run.
            timeout_minutes=max(15, math.ceil((options.budget or 0) / 60)),
            trial_timeout_minutes=10,
            max_trials=options.trials or 20,
            max_concurrent_trials=sizes.cluster_nodes,
            enable_early_termination=True,
        )
        made.set_training(enable_vote_ensemble=True, enable_stack_ensemble=False)
        made.set_featurization(mode="auto")
        return made

    found = _finished(connection, job_name("automl", dataset, options), job, say)
    best = _best_child(connection, found)
    version = register_job_model(
        connection,
        f"azureml://jobs/{best}/outputs/artifacts/paths/outputs/mlflow-model/",
        name=f"{dataset.name}-automl",
        job=best,
    )
    directory = _download_child(connection, best)
    with connection.errors(f"to look at job '{best}'"):
        child = connection.client.jobs.get(best)
    return TrainedModel(
        name=str((child.tags or {}).get("run_algorithm") or child.display_name or best),
        directory=directory,
        digest="",
        result=None,
        version=version,
        where=_studio(found),
    )


def _best_child(connection: Connection, job: Any) -> str:
    best = (job.tags or {}).get(BEST_CHILD) or (job.properties or {}).get(BEST_CHILD)
    if not best:
        # The service keeps it as a tag of the MLflow run; the job shows it a little later.
        import mlflow
        from mlflow.tracking import MlflowClient

        uri = connection.tracking_uri
        try:
            best = MlflowClient(tracking_uri=uri).get_run(job.name).data.tags.get(BEST_CHILD)
        except mlflow.exceptions.MlflowException as error:
            raise PlatformError(
                f"the best run of '{job.name}' cannot be read: {str(error).splitlines()[0]}"
            ) from error
    if not best:
        raise TrainingError(
            f"AutoML's job '{job.name}' names no best run", hint=f"See {_studio(job)}."
        )
    return str(best)


def _download_child(connection: Connection, name: str) -> Path:
    folder = model_folder(f"job-{name}")
    if (folder / "MLmodel").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        connection.errors(f"to fetch the model of job '{name}'"),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch,
    ):
        connection.client.jobs.download(name, download_path=scratch)
        made = next(Path(scratch).rglob("MLmodel"), None)
        if made is None:
            raise TrainingError(f"job '{name}' left no MLflow model")
        put(made.parent, folder)
    return folder


# Jobs


def job_name(how: str, dataset: Dataset, options: TrainingOptions) -> str:
    """Return the name of a training job's first attempt, ``how`` being ``job`` or ``automl``."""
    mark = fingerprint(dataset, options)
    if how == "job":
        return f"twinml-{mark[:20]}"
    return f"twinml-automl-{hashlib.sha256(f'automl {mark}'.encode()).hexdigest()[:16]}"


def next_job(connection: Connection, name: str) -> tuple[str, Any | None]:
    """Return the attempt that a run would use: its name, and the job where it is there.

    A job that failed stays as it is; the next attempt gets a number.

    Raises
    ------
    TrainingError
        It has failed too often.
    """
    for attempt in range(1, MOST_ATTEMPTS + 1):
        chosen = name if attempt == 1 else f"{name}-{attempt}"
        found = get(connection.client.jobs, chosen)
        if found is None or word(found.status) not in FAILED:
            return chosen, found
    raise TrainingError(f"job '{name}' failed {MOST_ATTEMPTS} times")


def _finished(
    connection: Connection, name: str, make: Callable[[str], Any], say: Callable[[str], None]
) -> Any:
    """Return the completed job of this name: found, waited for, or submitted."""
    with connection.errors(f"to submit job '{name}'"):
        chosen, found = next_job(connection, name)
        if found is None:
            found = connection.client.jobs.create_or_update(make(chosen))
    return _waited(connection, found, say)


def _waited(connection: Connection, job: Any, say: Callable[[str], None]) -> Any:
    pause, started = SHORTEST_PAUSE, time.monotonic()
    while word(job.status) not in DONE:
        if word(job.status) in FAILED:
            raise TrainingError(
                f"job '{job.name}' is {word(job.status)}: {_reason(connection, job)}",
                hint=f"See {_studio(job)}.",
            )
        say(f"job {job.name}: {word(job.status)}, {time.monotonic() - started:.0f} s")
        time.sleep(pause)
        pause = min(1.3 * pause, LONGEST_PAUSE)
        with connection.errors(f"to look at job '{job.name}'"):
            job = connection.client.jobs.get(job.name)
    return job


def _reason(connection: Connection, job: Any) -> str:
    """Return the last line of a failed job's log, or what can be said without one."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with connection.errors(f"the log of job '{job.name}'"):
                connection.client.jobs.download(job.name, download_path=scratch)
        except PlatformError as error:
            return f"its log cannot be read ({error.message})"
        for log in sorted(Path(scratch).rglob("std_log*.txt")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in reversed(lines):
                if line.strip():
                    return line.strip()[:300]
    return "it left no log"


def _studio(job: Any) -> str:
    return str(job.studio_url or f"job {job.name}")
