"""The platform protocol on this machine; each verb is a thin call into a room beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinml.settings import home, tracking_uri
from twinml_local import endpoints
from twinml_local.jobs import lifecycle as jobs

if TYPE_CHECKING:
    from datetime import timedelta

    from twinml.data import Dataset
    from twinml.endpoint import Endpoint
    from twinml.pipeline.retention import Cleaned
    from twinml.platform import (
        DataAsset,
        Deployed,
        EndpointInfo,
        Keys,
        ModelVersion,
        PipelineClient,
        PipelineInfo,
        PipelineJob,
        Schedule,
    )
    from twinml.platform.abilities import Site
    from twinml.registry.tracking import Tracking
    from twinml.traffic.metrics import EndpointMetrics
    from twinml_local.batch import TableScorer

__all__ = ["LocalPlatform"]


class LocalPlatform:
    """The platform of this machine: files, SQLite and processes under ``twinml.settings.home``."""

    name = "local"

    @property
    def dialects(self) -> tuple[str, ...]:
        """All that its server takes."""
        from twinml.contract.dialects import written

        return written("local")

    @cached_property
    def _tracking(self) -> Tracking:
        from twinml.registry.tracking import Tracking

        return Tracking()

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI: ``MLFLOW_TRACKING_URI``, else SQLite in the state folder."""
        return tracking_uri()

    def scorer(self, model_directory: Path) -> TableScorer:
        """Return what scores tables with a model in this process, compiled where it can be."""
        from twinml_local.batch import TableScorer

        return TableScorer(model_directory)

    def register_data(self, dataset: Dataset) -> DataAsset:
        """Store the file as a version of its name; an unchanged file keeps its version."""
        from twinml_local import assets

        return assets.register(dataset)

    def register_model(
        self, directory: Path, *, name: str, run_id: str | None = None
    ) -> ModelVersion:
        """Register a model directory in MLflow; an unchanged model keeps its version.

        Without ``run_id`` the directory is uploaded as a run of its own first.
        """
        from twinml import model

        digest = model.digest(directory)
        if run_id is None:
            run_id = self._tracking.upload(name, directory, digest=digest)
        metric = model.metadata(directory).get("metric")
        return self._tracking.register(name, run_id=run_id, digest=digest, metric=metric)

    def deploy(self, model: ModelVersion, *, endpoint: str, deployment: str) -> EndpointInfo:
        """Fetch the model's files once per digest and serve them; returns once it answers."""
        from twinml.registry.model_files import fetch_model
        from twinml.registry.training_run import model_folder

        directory = fetch_model(self._tracking, model, model_folder(model.digest))
        return endpoints.deploy(
            endpoint,
            deployment,
            directory=directory,
            model=model.name,
            version=model.version,
            digest=model.digest,
        )

    def export(self, model: ModelVersion, folder: Path, *, name: str) -> Mapping[str, str]:
        """Write a folder that serves a model without the packages that trained it."""
        from twinml.registry.model_files import fetch_model
        from twinml.registry.training_run import model_folder
        from twinml_local.export import export_model

        directory = fetch_model(self._tracking, model, model_folder(model.digest))
        return export_model(model, directory, folder, name=name)

    def start(self, endpoint: str) -> EndpointInfo:
        """Bring a stopped endpoint back; returns once it answers."""
        return endpoints.start(endpoint)

    def start_pipelines(self) -> bool:
        """Start the pipeline service if anything is published; tells whether it runs."""
        return jobs.start()

    def has_service_manager(self) -> bool:
        """Tell whether systemd's user manager answers."""
        from twinml_local import service_units

        return service_units.managed()

    def service_units(self) -> Mapping[str, str]:
        """Return the systemd units of this home, by file name."""
        from twinml_local import service_units

        return service_units.units()

    def install_services(self) -> tuple[str, ...]:
        """Write the units and have systemd start them; returns their names."""
        from twinml_local import service_units

        return service_units.install()

    def uninstall_services(self) -> tuple[str, ...]:
        """End and remove the units of this home; returns their names."""
        from twinml_local import service_units

        return service_units.uninstall()

    def set_traffic(
        self,
        endpoint: str,
        traffic: Mapping[str, int] | None,
        *,
        mirror: Mapping[str, int] | None = None,
    ) -> EndpointInfo:
        """Share out the requests: per cent by deployment; ``None`` keeps what there is."""
        return endpoints.set_traffic(endpoint, traffic, mirror=mirror)

    def delete(self, endpoint: str, deployment: str | None = None) -> None:
        """Delete a deployment that has no traffic, or the whole endpoint."""
        endpoints.delete(endpoint, deployment)

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Describe all endpoints, by name."""
        return endpoints.list_endpoints()

    def endpoint_info(self, endpoint: str) -> EndpointInfo:
        """Describe an endpoint; ``NotFound`` if there is none of that name."""
        return endpoints.info(endpoint)

    def keys(self, endpoint: str) -> Keys:
        """Return the keys of an endpoint."""
        return endpoints.keys(endpoint)

    def regenerate_key(self, endpoint: str, which: Literal["primary", "secondary"]) -> Keys:
        """Replace one key; the other one keeps working."""
        return endpoints.regenerate_key(endpoint, which)

    def endpoint(self, endpoint: str) -> Endpoint:
        """Return a client of an endpoint, key included."""
        return endpoints.client(endpoint)

    def deployed(self, endpoint: str, deployment: str | None = None) -> Deployed:
        """Fetch what a deployment serves; by default of the one with most traffic."""
        from twinml.comparison import installed
        from twinml.platform import Deployed, ModelReference, busiest
        from twinml.registry.model_files import fetch_model
        from twinml.registry.training_run import model_folder

        info = self.endpoint_info(endpoint)
        chosen = deployment or busiest(info)
        model = info.deployments[chosen]
        version = self._tracking.resolve(ModelReference.parse(model))
        return Deployed(
            deployment=chosen,
            model=model,
            directory=fetch_model(self._tracking, version, model_folder(version.digest)),
            packages=installed(),
            packages_source="this installation of Python",
            packages_whole=True,
        )

    def logs(
        self, endpoint: str, *, deployment: str | None = None, lines: int = 100
    ) -> Iterator[str]:
        """Yield the last log lines of an endpoint, oldest first."""
        return endpoints.logs(endpoint, deployment=deployment, lines=lines)

    def metrics(self, endpoint: str, since: timedelta) -> EndpointMetrics:
        """Return what an endpoint did in the time ``since`` up to now."""
        from twinml_local.telemetry import summarize

        endpoints.info(endpoint)  # NotFound if there is none
        return summarize(home() / "endpoints" / endpoint, since, endpoint=endpoint)

    def collect(
        self, endpoint: str, rate: float | None = None, *, ood_scores: bool | None = None
    ) -> None:
        """Collect inputs and outputs of a share of the requests; turn OOD scores on or off."""
        changes: dict[str, Any] = {}
        if rate is not None:
            # Refuses a rate out of range before anything is changed.
            from twinml_local.telemetry import TelemetrySettings

            changes["collect_rate"] = TelemetrySettings(collect_rate=rate).collect_rate
        if ood_scores is not None:
            changes["ood_scores"] = ood_scores
        endpoints.configure(endpoint, **changes)

    def be_strict(self, endpoint: str, strict: bool) -> None:
        """Have an endpoint refuse what Azure's side would refuse or answer otherwise, or not."""
        endpoints.configure(endpoint, strict=strict)

    def collected(self, endpoint: str) -> Path:
        """Return the folder that holds what was kept; it may not be there yet."""
        endpoints.info(endpoint)  # NotFound if there is none
        from twinml_local.telemetry.collector import FOLDER

        return home() / "endpoints" / endpoint / FOLDER

    def publish_pipeline(
        self, name: str, definition: Path, *, inputs: Mapping[str, Any] | None = None
    ) -> PipelineInfo:
        """Publish a pipeline job file behind its own REST endpoint; unchanged keeps its version."""
        return jobs.publish(name, definition, inputs=inputs)

    def submit_pipeline(
        self, definition: Path, inputs: Mapping[str, Any] | None = None
    ) -> PipelineJob:
        """Publish a file under its own name and start a job of it; returns once accepted."""
        return jobs.run(jobs.publish(None, definition).name, inputs or {})

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        """Start a job over REST; returns as soon as it is accepted."""
        return jobs.run(name, inputs)

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        """Describe a job over REST."""
        return jobs.job(name, job_id)

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return a REST client of a published pipeline, key included."""
        return jobs.client(name)

    def pipelines(self) -> tuple[PipelineInfo, ...]:
        """Describe all published pipelines, by name."""
        return jobs.published()

    def clean_pipelines(
        self,
        pipeline: str | None = None,
        *,
        keep: int,
        older_than: timedelta | None = None,
        dry_run: bool = False,
    ) -> Cleaned:
        """Delete the files of ended jobs that nothing refers to."""
        return jobs.clean(pipeline, keep=keep, older_than=older_than, dry_run=dry_run)

    def schedule_pipeline(self, schedule: Schedule) -> Schedule:
        """Make or replace a schedule; it counts from now on."""
        return jobs.schedule(schedule)

    def unschedule_pipeline(self, name: str) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name."""
        jobs.unschedule(name)

    def schedules(self, pipeline: str | None = None) -> tuple[Schedule, ...]:
        """Describe the schedules of a pipeline, or all, by name."""
        return jobs.schedules(pipeline)

    def serve_studio(
        self, *, host: str, port: int | None, ready: Callable[[str, str | None], None]
    ) -> None:
        """Serve the Studio site in this process, until it is ended."""
        from twinml_local import studio

        studio.serve(self, host=host, port=port, ready=ready)

    def start_studio(self) -> Site:
        """Serve the Studio site on loopback, if nobody does with today's code."""
        from twinml_local import studio

        return studio.start()

    def evidence(self, folder: Path) -> Mapping[str, str]:
        """Write pictures of the Studio's pages into a folder; return what each is, by file."""
        from twinml_local import studio

        return studio.evidence(self, studio.start().address, folder)

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """End all that runs here, or one endpoint's server."""
        ended = [f"endpoint {name}" for name in endpoints.stop(endpoint)]
        if endpoint is None:
            from twinml_local import studio

            if jobs.stop():
                ended.append("pipeline service")
            if studio.stop():
                ended.append("studio")
        return tuple(ended)
