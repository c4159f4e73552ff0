"""The whole workflow, written once against ``Platform``: eleven steps on any side.

::

     1 register the data            7 benchmark the endpoint
     2 search for the best model    8 consume it, and check every answer
     3 register the model           9 A/B test it against the runner-up
     4 deploy it                   10 probe it with out-of-distribution rows
     5 read its documentation      11 publish the pipeline and run it over REST
     6 read its logs

Every step is idempotent: a second run finds what the first one left, and is quick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twinml import settings
from twinml.data.json_rows import native, records
from twinml.errors import EndpointError
from twinml.platform import (
    DataAsset,
    EndpointInfo,
    ModelVersion,
    PipelineInfo,
    PipelineJob,
    Platform,
    TrainedModel,
    endpoint_name,
)
from twinml.platform.abilities import TRAIN_HERE, Trains, able
from twinml.registry import training_run

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.endpoint import Endpoint
    from twinml.registry.tracking import Tracking
    from twinml.training import Progress, TrainingOptions

__all__ = ["STEPS", "Step", "Watcher", "Workflow", "WorkflowResult"]

STEPS: tuple[str, ...] = (
    "Register the data",
    "Search for the best model",
    "Register the model",
    "Deploy it",
    "Read its documentation",
    "Read its logs",
    "Benchmark it",
    "Consume it",
    "A/B test it",
    "Probe it",
    "Publish and run the pipeline",
)
T = TypeVar("T")

DEPLOYMENT = "blue"


@dataclass(frozen=True)
class Step:
    """A finished step: what it found, in one sentence, and its figures.

    ``started`` and ``ended`` are UTC, ISO 8601.
    """

    number: int
    name: str
    started: str
    ended: str
    seconds: float
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Watcher:
    """Receives the progress of the workflow; override the methods of interest."""

    def begins(self, number: int, name: str) -> None:
        """Receive the number and name of a step that begins."""

    def training(self, moment: Progress) -> None:
        """Receive the progress of the search."""

    def waiting(self, what: str) -> None:
        """Receive a sentence on what the workflow waits for, from time to time."""

    def ended(self, step: Step) -> None:
        """Receive a step that ended."""


@dataclass(frozen=True)
class WorkflowResult:
    """The assets and files of a run."""

    steps: tuple[Step, ...]
    asset: DataAsset
    model: ModelVersion
    endpoint: EndpointInfo
    pipeline: PipelineInfo | None
    job: PipelineJob | None
    report: Path | None
    seconds: float


class Workflow:
    """The eleven steps on one platform.

    Parameters
    ----------
    platform, tracking
        Where, and in which MLflow.
    options
        Of the search.
    train
        ``local``, or one of the platform's own ways to train.
    endpoint
        Its name; by default made from the model's.
    pipeline
        Whether to take the last step.
    """

    def __init__(
        self,
        platform: Platform,
        tracking: Tracking,
        dataset: Dataset,
        options: TrainingOptions,
        *,
        watcher: Watcher | None = None,
        again: bool = False,
        train: str = TRAIN_HERE,
        endpoint: str | None = None,
        pipeline: bool = True,
    ) -> None:
        self._train_on, self._endpoint, self._with_pipeline = train, endpoint, pipeline
        self._platform, self._tracking = platform, tracking
        self._dataset, self._options = dataset, options
        self._watcher, self._again = watcher or Watcher(), again
        self._steps: list[Step] = []
        self._pictures: dict[str, Path] = {}
        self._folder = settings.home() / "reports" / dataset.name

    def run(self) -> WorkflowResult:
        """Run all steps; the first that fails raises its error and ends the run.

        Raises
        ------
        TwinmlError
            Of the step that failed.
        """
        started = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        asset = self._step(self._register_data)
        done = self._step(lambda: self._train(asset))
        version = self._step(lambda: self._register_model(done))
        info = self._step(lambda: self._deploy(version))
        with self._platform.endpoint(info.name) as client:
            self._step(lambda: self._documentation(client, info))
            self._step(lambda: self._logs(info))
            self._step(lambda: self._benchmark(client, done))
            self._step(lambda: self._consume(client, done))
            self._step(lambda: self._ab_test(done, version))
            self._step(lambda: self._probe(client, done))
        pipeline, job = None, None
        if self._with_pipeline:
            pipeline, job = self._step(lambda: self._pipeline(asset))
        report = self._report(done, version, info)
        return WorkflowResult(
            tuple(self._steps),
            asset,
            version,
            info,
            pipeline,
            job,
            report,
            time.monotonic() - started,
        )

    def _step(self, work: Callable[[], tuple[T, str, Mapping[str, Any]]]) -> T:
        number = len(self._steps) + 1
        name = STEPS[number - 1]
        self._watcher.begins(number, name)
        started, began = _now(), time.monotonic()
        value, summary, details = work()
        seconds = time.monotonic() - began
        step = Step(number, name, started, _now(), seconds, summary, details)
        self._steps.append(step)
        self._watcher.ended(step)
        return value

    def _register_data(self) -> tuple[DataAsset, str, Mapping[str, Any]]:
        asset = self._platform.register_data(self._dataset)
        warnings = sum(finding.level == "warning" for finding in self._dataset.findings)
        summary = (
            f"{asset.name} version {asset.version}: {asset.n_rows:,} rows, "
            f"{self._dataset.features.shape[1]} features, target {asset.target}"
            + (f", {warnings} warning{'s' * (warnings > 1)}" if warnings else "")
        )
        return asset, summary, {"version": asset.version, "digest": asset.digest}

    def _train(self, asset: DataAsset) -> tuple[TrainedModel, str, Mapping[str, Any]]:
        if self._train_on != TRAIN_HERE:
            return self._train_there(asset)
        done = training_run.run(
            self._dataset,
            self._options,
            self._tracking,
            again=self._again,
            progress=self._watcher.training,
        )
        return done, _found(done), {"run_id": done.run_id, "reused": done.reused}

    def _train_there(self, asset: DataAsset) -> tuple[TrainedModel, str, Mapping[str, Any]]:
        platform = able(self._platform, Trains, f"train '{self._train_on}' with")  # type: ignore[type-abstract]
        trained = platform.train(
            self._train_on, self._dataset, asset, self._options, self._watcher.waiting
        )
        if trained.result is None:
            summary = f"{trained.name}, the best of {trained.where}"
            return trained, summary, {"where": trained.where}
        done = training_run.adopt(trained, self._dataset, self._options, self._tracking)
        details = {"run_id": done.run_id, "reused": done.reused, "where": done.where}
        return done, f"{_found(done)}; {done.where}", details

    def _register_model(self, done: TrainedModel) -> tuple[ModelVersion, str, Mapping[str, Any]]:
        if done.version is not None:
            version = done.version
            summary = f"{version.reference}, from job {version.digest}"
            return version, summary, {"version": version.version, "digest": version.digest}
        version = self._platform.register_model(
            done.directory, name=self._dataset.name, run_id=done.run_id
        )
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        summary = f"{version.reference}{aliases}, digest {version.digest[:12]}"
        return version, summary, {"version": version.version, "digest": version.digest}

    def _deploy(self, version: ModelVersion) -> tuple[EndpointInfo, str, Mapping[str, Any]]:
        info = self._platform.deploy(
            version,
            endpoint=self._endpoint or endpoint_name(version.name),
            deployment=DEPLOYMENT,
        )
        summary = f"{info.scoring_uri}, deployment {DEPLOYMENT}, key needed"
        return info, summary, {"scoring_uri": info.scoring_uri}

    def _documentation(
        self, client: Endpoint, info: EndpointInfo
    ) -> tuple[None, str, Mapping[str, Any]]:
        document = client.swagger("3")
        operations = sum(len(methods) for methods in document["paths"].values())
        return None, f"{operations} operations, shown at {info.docs_uri}", {}

    def _logs(self, info: EndpointInfo) -> tuple[None, str, Mapping[str, Any]]:
        lines = list(self._platform.logs(info.name, lines=1000))
        summary = f"{len(lines)} lines so far: twinml logs --endpoint {info.name}"
        return None, summary, {"lines": len(lines)}

    def _rows(self, n: int) -> list[dict[str, Any]]:
        """Return rows of the data set as a client would send them."""
        features = self._dataset.features
        step = max(1, len(features) // n)
        return records(features.iloc[::step].head(n))

    def _benchmark(
        self, client: Endpoint, done: TrainedModel
    ) -> tuple[None, str, Mapping[str, Any]]:
        from twinml import benchmark
        from twinml.benchmark.figures import overview
        from twinml.comparison import own_answers
        from twinml.endpoint import request_body

        rows = self._rows(50)
        bodies = [request_body([row]) for row in rows]
        if done.result is None:
            expected = [client.score([row]) for row in rows]
        else:
            expected = [[label] for label in own_answers(done.directory, rows).exact.labels]
        result = benchmark.run(
            client,
            bodies,
            expected,
            requests=400,
            concurrency=2,
            max_seconds=10.0,
            rows=1,
        )
        summary = (
            f"{result.requests_per_second:,.0f} requests/s, median "
            f"{result.percentile(50):.1f} ms, 99 % below {result.percentile(99):.1f} ms, "
            f"{result.failed} wrong or failed of {result.good + result.failed}"
        )
        if result.failed:
            raise EndpointError(
                f"{result.failed} of {result.good + result.failed} requests failed in the "
                "benchmark",
                hint="See twinml logs.",
                status=500,
            )
        picture = self._folder / "benchmark.png"
        picture.write_bytes(overview(result))
        self._pictures["Latency of the endpoint"] = picture
        return None, summary, result.to_dict()

    def _consume(self, client: Endpoint, done: TrainedModel) -> tuple[None, str, Mapping[str, Any]]:
        from twinml.comparison import against_model

        rows = self._rows(1000)
        if done.result is None:
            return self._consume_labels(client, rows)
        found = against_model(client, done.directory, rows)
        if not found.passes:
            raise EndpointError(
                f"the endpoint and the model differ on {len(found.unexplained)} of {len(rows)} "
                f"rows: largest difference {found.max_change:.3g}",
                hint="The deployed model is not the registered one; deploy it again.",
                status=500,
            )
        read = found.causes.get("input parsing", 0)
        summary = (
            f"{len(rows):,} rows scored over REST; predictions equal the model's "
            "to the last bit"
            + (f", on {read:,} rows for the numbers as the server read them" if read else "")
        )
        return None, summary, {"rows": len(rows), "read_otherwise": read}

    def _consume_labels(
        self, client: Endpoint, rows: list[dict[str, Any]]
    ) -> tuple[None, str, Mapping[str, Any]]:
        """Score with a model that is not at hand here: every label must be one of the data's."""
        answered = client.score(rows)
        known = {native(label) for label in self._dataset.labels.unique()}
        strange = sorted({str(label) for label in answered if label not in known})
        if strange:
            raise EndpointError(
                f"the endpoint answers '{strange[0]}', which is no class of the data",
                hint="Is it the endpoint of this model?",
                status=500,
            )
        step = max(1, len(self._dataset.features) // 1000)
        truth = [native(label) for label in self._dataset.labels.iloc[::step].head(1000)]
        right = sum(one == other for one, other in zip(answered, truth, strict=True))
        summary = (
            f"{len(rows):,} rows scored over REST, all of them with labels of the data; "
            f"{right / len(rows):.1%} as in the data, which the model has seen"
        )
        return None, summary, {"rows": len(rows), "right": right}

    def _ab_test(
        self, done: TrainedModel, version: ModelVersion
    ) -> tuple[None, str, Mapping[str, Any]]:
        from twinml.abtest.predictions import compare_predictions

        result = done.result
        deployed = f"deployed is {version.reference}"
        if result is None:
            return None, f"the platform's AutoML leaves one model, {deployed}", {}
        if result.runner_up_test is None or result.runner_up_name is None:
            return None, f"only one candidate, {result.best.name}: {deployed}", {}
        where = "out of fold, " if result.test.out_of_fold else ""
        compared = compare_predictions(
            result.test.labels,
            result.runner_up_test,
            result.test.probabilities,
            names=(result.runner_up_name, result.best.name),
            threshold=result.threshold or 0.5,
            seed=int(result.options["seed"]),
        )
        summary = f"{where}{deployed}, {result.best.name}, B in the comparison: {compared.verdict}"
        return None, summary, compared.to_dict()

    def _probe(self, client: Endpoint, done: TrainedModel) -> tuple[None, str, Mapping[str, Any]]:
        from twinml.probe import run as probing

        result = done.result
        if result is None:
            return None, "the model of the platform's AutoML gives labels only: not probed", {}
        found = probing.run(
            result.contract,
            client.score_proba if result.contract.classes else client.numbers,
            self._rows(200),
            n_base=10,
            threshold=result.threshold or 0.5,
        )
        self._pictures["How probes move the predictions"] = found.picture(
            self._folder / "probe.png"
        )
        counts = found.counts
        flipped = f"{counts['flips']} of {counts['rows']} decisions flipped, "
        summary = (
            f"{counts['probes']} probes: {counts['answered']} answered, {counts['refused']} "
            f"refused with a reason, {counts['failed']} failed; "
            f"{flipped if result.contract.classes else ''}{counts['broken']} answers broken"
        )
        return None, summary, {"counts": dict(counts)}

    def _pipeline(
        self, asset: DataAsset
    ) -> tuple[tuple[PipelineInfo, PipelineJob], str, Mapping[str, Any]]:
        from twinml.pipeline import DEFINITION, publication

        inputs = publication.inputs(self._dataset, asset.version, self._options)
        info = self._platform.publish_pipeline(publication.PIPELINE, DEFINITION, inputs=inputs)
        job = publication.finished_job(
            self._platform, info, self._watcher.waiting, again=self._again
        )
        found = publication.registration(self._platform, job)
        made = (
            f"registered {found['model']}/{found['version']}"
            if found["registered"]
            else "kept the champion"
        )
        summary = f"{info.uri}: job {job.id} {made}: {found['reason']}"
        details = {"uri": info.uri, "job": job.id, "registration": found}
        return (info, job), summary, details

    def _report(self, done: TrainedModel, version: ModelVersion, info: EndpointInfo) -> Path | None:
        from twinml import report

        if done.result is None or done.run_id is None:
            return None
        files = report.write(
            done.result,
            self._dataset,
            self._folder,
            endpoint=info,
            model=version,
            steps=[vars(step) for step in self._steps],
            extras=self._pictures,
        )
        self._tracking.add_artifacts(done.run_id, self._folder, "report")
        return files.html


def _found(done: TrainedModel) -> str:
    """Say what the search found."""
    from twinml.training.metrics import title
    from twinml.training.tasks import figure, task_of_model

    result = done.searched()
    test, metric = result.test.metrics, result.metric
    shown = dict.fromkeys([metric, list(task_of_model(result.contract).shown)[2]])
    summary = (
        f"{result.best.name} of {len(result.leaderboard)} candidates, {len(result.trials)} trials: "
        + ", ".join(f"{title(name)} {figure(test[name].value)}" for name in shown)
        + (" out of fold" if result.test.out_of_fold else "")
    )
    if result.forward is not None and result.forward is not result.test:
        summary += f"; forward in time {figure(result.forward.metrics[metric].value)}"
    return summary + (" (found, not trained again)" if done.reused else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
