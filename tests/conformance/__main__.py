"""Measure the emulator with Azure ML's public samples: ``make conformance SAMPLES=DIR``.

``SAMPLES`` is a checkout of github.com/Azure/azureml-examples; it is read, and never changed.
Results are in ``build/conformance``: a line of JSON a sample, the table as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.conformance.samples import found
from tests.conformance.stand import ROOT, emulator, run
from tests.conformance.table import (
    markdown,
    notebooks_of,
    rows_of,
    runs_markdown,
    runs_of,
    summary,
)

STAGES = ("submit", "jobs", "notebooks")
RUNNABLE = (
    "cli/jobs/basics/*.yml",
    "cli/jobs/pipelines-with-components/basics/*/pipeline.yml",
    "cli/jobs/pipelines-with-components/nyc_taxi_data_regression/*.yml",
    "cli/jobs/pipelines-with-components/pipeline_with_*/*.yml",
    "cli/jobs/single-step/scikit-learn/*/*.yml",
    "cli/jobs/single-step/lightgbm/*/*.yml",
    "cli/jobs/automl-standalone-jobs/*classification-task-bankmarketing/*.yml",
    "cli/jobs/pipelines/automl/*bankmarketing*/*.yml",
    "cli/endpoints/batch/deploy-pipelines/hello-batch/pipeline-job.yml",
    "cli/schedules/simple-pipeline-job.yml",
)
_PIPELINES = "sdk/python/jobs/pipelines"
NOTEBOOKS = (
    "sdk/python/endpoints/batch/deploy-pipelines/training-with-components/sdk-deploy-and-test.ipynb",
    "sdk/python/jobs/automl-standalone-jobs/automl-classification-task-bankmarketing/"
    "automl-classification-task-bankmarketing.ipynb",
    "sdk/python/endpoints/batch/deploy-pipelines/hello-batch/sdk-deploy-and-test.ipynb",
    "sdk/python/endpoints/online/mlflow/online-endpoints-deploy-mlflow-model.ipynb",
    "sdk/python/endpoints/online/mlflow/online-endpoints-deploy-mlflow-model-with-script.ipynb",
    "sdk/python/endpoints/online/managed/online-endpoints-simple-deployment.ipynb",
    "sdk/python/endpoints/online/managed/online-endpoints-safe-rollout.ipynb",
    f"{_PIPELINES}/1a_pipeline_with_components_from_yaml/pipeline_with_components_from_yaml.ipynb",
    f"{_PIPELINES}/1a_pipeline_with_components_from_yaml/"
    "pipeline_with_components_from_yaml_serverless.ipynb",
    f"{_PIPELINES}/1g_pipeline_with_parallel_nodes/pipeline_with_parallel_nodes.ipynb",
    f"{_PIPELINES}/1h_automl_in_pipeline/automl-classification-bankmarketing-in-pipeline/"
    "automl-classification-bankmarketing-in-pipeline.ipynb",
    f"{_PIPELINES}/1j_pipeline_with_pipeline_component/"
    "pipeline_with_train_eval_pipeline_component/pipeline_with_train_eval_pipeline_component.ipynb",
    f"{_PIPELINES}/1e_pipeline_with_registered_components/"
    "pipeline_with_registered_components.ipynb",
    f"{_PIPELINES}/stepsequence/pipeline_with_step_sequence_dummy_dependencies.ipynb",
    "sdk/python/assets/component/component.ipynb",
    "sdk/python/assets/data/data.ipynb",
    "sdk/python/assets/data/versioning.ipynb",
    "sdk/python/assets/data/working_with_mltable.ipynb",
    "sdk/python/assets/environment/environment.ipynb",
    "sdk/python/assets/model/model.ipynb",
    "sdk/python/schedules/job-schedule.ipynb",
    "tutorials/get-started-notebooks/quickstart.ipynb",
    "tutorials/get-started-notebooks/train-model.ipynb",
    "tutorials/get-started-notebooks/deploy-model.ipynb",
    "tutorials/get-started-notebooks/pipeline.ipynb",
    "tutorials/azureml-in-a-day/azureml-in-a-day.ipynb",
)
# Nothing is deployed: what is measured is whether it is accepted.
_NO_DEPLOYMENTS = "PUT */onlineEndpoints/*/deployments/* operation=3600 always"


def main() -> None:
    """Run the stages that were asked for, and write the table."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "conformance")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="with the SDK")
    parser.add_argument("--stages", default="submit", help="of submit, jobs, notebooks")
    parser.add_argument("--seconds", type=float, default=900, help="for all jobs together")
    parser.add_argument("--only", default="", help="samples whose path holds this text")
    parser.add_argument("--kinds", default="", help="kinds of samples, with commas")
    parser.add_argument("--mirror", action="append", default=[], help="URL=FOLDER of public data")
    asked = parser.parse_args()
    if not (asked.samples / "cli").is_dir():
        parser.error(f"SAMPLES is '{asked.samples}', which has no folder 'cli': name a checkout.")
    asked.out.mkdir(parents=True, exist_ok=True)
    for stage in asked.stages.split(","):
        {"submit": _submit, "jobs": _jobs, "notebooks": _notebooks}[stage](asked)
    made, ran, told = (rows_of(asked.out / f"{stage}.jsonl") for stage in STAGES)
    numbers = {"made": summary(made), "jobs": runs_of(ran), "notebooks": notebooks_of(told)}
    (asked.out / "coverage.json").write_text(json.dumps(numbers, indent=2) + "\n")
    table = markdown(made) + runs_markdown(ran, told)
    (asked.out / "coverage.md").write_text(table)
    print(table)


def _copied(asked: argparse.Namespace) -> Path:
    """Return a copy of the samples that may be changed, made anew."""
    copy: Path = asked.out / "samples"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(asked.samples, copy, ignore=shutil.ignore_patterns(".git"))
    return copy


def _running(asked: argparse.Namespace) -> list[str]:
    """Return the options of an emulator that runs samples."""
    mirrors = [word for mirror in asked.mirror for word in ("--mirror", mirror)]
    return ["--automl-seconds", "30", *mirrors]


def _jobs(asked: argparse.Namespace) -> None:
    """Run the jobs that need no image, no Spark and no network."""
    paths = [
        sample.path
        for sample in found(asked.samples)
        if sample.kind == "job"
        and asked.only in sample.path
        and any(fnmatch(sample.path, pattern) for pattern in RUNNABLE)
    ]
    items = asked.out / "jobs.json"
    items.write_text(json.dumps(paths))
    shutil.rmtree(asked.out / "jobs", ignore_errors=True)
    with emulator(asked.out / "jobs", *_running(asked)) as environment:
        words = [_copied(asked), items, asked.out / "jobs.jsonl", str(asked.seconds)]
        run(asked.python, "jobs", words, environment)


def _notebooks(asked: argparse.Namespace) -> None:
    items, out = asked.out / "notebooks.json", asked.out / "notebooks.jsonl"
    paths = [path for path in NOTEBOOKS if asked.only in path and (asked.samples / path).is_file()]
    items.write_text(json.dumps(paths))
    out.unlink(missing_ok=True)
    shutil.rmtree(asked.out / "notebooks", ignore_errors=True)
    with emulator(asked.out / "notebooks", *_running(asked)) as environment:
        run(asked.python, "notebooks", [_copied(asked), items, out], environment)


def _submit(asked: argparse.Namespace) -> None:
    kinds = set(filter(None, asked.kinds.split(",")))
    samples = [
        sample
        for sample in found(asked.samples)
        if asked.only in sample.path and (not kinds or sample.kind in kinds)
    ]
    items, out = asked.out / "items.json", asked.out / "submit.jsonl"
    items.write_text(json.dumps([(sample.path, sample.kind) for sample in samples]))
    out.unlink(missing_ok=True)
    shutil.rmtree(asked.out / "submit", ignore_errors=True)
    options = ("--workers", "1", "--curated", "own", "--fault", _NO_DEPLOYMENTS)
    with emulator(asked.out / "submit", *options) as environment:
        run(asked.python, "submit", [_copied(asked), items, out], environment)


if __name__ == "__main__":
    main()
