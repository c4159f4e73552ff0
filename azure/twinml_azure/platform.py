"""The platform protocol on Azure Machine Learning.

What is made here carries the tag ``twinml``; data and models carry their digest, by which
they are found again, so that nothing is uploaded or made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinml.contract.dialects import written
from twinml.errors import NotFound, PlatformError, PlatformUnavailable, UsageError
from twinml.platform import (
    DataAsset,
    Deployed,
    EndpointInfo,
    Keys,
    ModelReference,
    ModelVersion,
    busiest,
)
from twinml_azure import assets, inventory
from twinml_azure.connection import Connection, NoWorkspace
from twinml_azure.resources import TAG, Sizes, get, is_ours, succeeded, word

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from twinml.data import Dataset
    from twinml.endpoint import Endpoint
    from twinml.platform import PipelineClient, PipelineInfo, PipelineJob, Schedule, TrainedModel
    from twinml.platform.abilities import Change, Check
    from twinml.training import TrainingOptions
    from twinml_azure.pipelines import Pipelines

__all__ = ["AzurePlatform"]

STUDIO = "https://ml.azure.com"


class AzurePlatform:
    """A workspace of Azure Machine Learning.

    Parameters
    ----------
    connection
        The way to it, by default from ``config.json`` or the environment.
    sizes
        The machines to take, by default as the environment says.

    Raises
    ------
    PlatformUnavailable
        A package or the workspace's name is missing.
    """

    name = "azure"
    trainers = ("job", "automl")
    # What a no-code deployment of an MLflow model takes.
    dialects = written("azure-no-code")

    def __init__(self, connection: Connection | None = None, *, sizes: Sizes | None = None) -> None:
        self._given = connection
        self._unavailable: PlatformUnavailable | None = None
        if connection is None:
            try:
                self._given = Connection()
            except PlatformUnavailable as error:
                # A plan can be listed all the same.
                self._unavailable = error
        self._sizes = sizes or Sizes.from_environment()

    @property
    def _connection(self) -> Connection:
        if self._given is None:
            assert self._unavailable is not None
            raise self._unavailable
        return self._given

    @property
    def _client(self) -> MLClient:
        return self._connection.client

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI of the workspace; azureml-mlflow reads it."""
        return self._connection.tracking_uri

    # Data and models

    def register_data(self, dataset: Dataset) -> DataAsset:
        """Upload the file as a version of its name; an unchanged file keeps its version."""
        return assets.register_data(self._connection, dataset)

    def register_model(
        self, directory: Path, *, name: str, run_id: str | None = None
    ) -> ModelVersion:
        """Upload an MLflow model directory; an unchanged model keeps its version."""
        return assets.register_model(self._connection, directory, name=name, run_id=run_id)

    def train(
        self,
        how: str,
        dataset: Dataset,
        asset: DataAsset,
        options: TrainingOptions,
        say: Callable[[str], None],
    ) -> TrainedModel:
        """Train on a cluster: ``job`` is twinml's own search, ``automl`` is Azure's."""
        from twinml_azure import training

        ways = {"job": training.train_as_job, "automl": training.train_with_automl}
        if how not in ways:
            raise UsageError(f"Azure cannot train '{how}'", hint=f"Choose from {', '.join(ways)}.")
        return ways[how](self._connection, self._sizes, dataset, asset, options, say)

    # Beforehand and afterwards

    def plan(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        *,
        train: str,
        endpoint: str | None = None,
        pipeline: bool = True,
        digest: str | None = None,
    ) -> tuple[Change, ...]:
        """Return what a run would create, change and keep; changes nothing.

        Without a workspace it is what a run would create in an empty one.
        """
        from twinml_azure.what_if import WhatIf

        return WhatIf(
            self._given or NoWorkspace(),
            self._sizes,
            AzurePlatform.name,
            dataset,
            options,
            train=train,
            endpoint=endpoint,
            pipeline=pipeline,
            digest=digest,
        ).changes()

    def check(self, model: Path | None = None) -> Iterator[Check]:
        """Yield what may stand in the way of a run; changes nothing."""
        from twinml_azure import preflight

        return preflight.checks(self._connection, self._sizes, model)

    def removable(self) -> tuple[Change, ...]:
        """Return what twinml made, in the order of its removal."""
        return inventory.removable(self._connection)

    def remove(self, change: Change) -> None:
        """Delete one thing that twinml made, or archive it where it cannot be deleted."""
        inventory.remove(self._connection, change)

    # Endpoints

    def deploy(self, model: ModelVersion, *, endpoint: str, deployment: str) -> EndpointInfo:
        """Serve ``model`` on a managed online endpoint, without a scoring script.

        The first deployment gets all traffic. What is there already, healthy and of the same
        model, is kept.

        Raises
        ------
        PlatformError
            Azure refused it, or there is an endpoint of that name that twinml did not make.
        """
        from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint

        client = self._client
        with self._connection.errors(f"to deploy '{endpoint}/{deployment}'"):
            found = get(client.online_endpoints, endpoint)
            if found is not None and not is_ours(found):
                raise PlatformError(
                    f"the endpoint '{endpoint}' is there, and twinml did not make it",
                    hint="Choose another name: --endpoint NAME.",
                )
            if found is None or not succeeded(found):
                client.online_endpoints.begin_create_or_update(
                    ManagedOnlineEndpoint(name=endpoint, auth_mode="key", tags={TAG: "endpoint"})
                ).result()
            present = get(client.online_deployments, deployment, endpoint_name=endpoint)
            if present is None or not _serves(present, model):
                client.online_deployments.begin_create_or_update(
                    ManagedOnlineDeployment(
                        name=deployment,
                        endpoint_name=endpoint,
                        # Not its address: MLflow's, in a job, is none of a registered model.
                        model=f"azureml:{model.reference.deployed}",
                        instance_type=self._sizes.instance_type,
                        instance_count=1,
                        app_insights_enabled=True,
                        tags={TAG: "deployment", "digest": model.digest},
                    )
                ).result()
            current = client.online_endpoints.get(endpoint)
            if not any((current.traffic or {}).values()):
                current.traffic = {deployment: 100}
                client.online_endpoints.begin_create_or_update(current).result()
        return self.endpoint_info(endpoint)

    def start(self, endpoint: str) -> EndpointInfo:
        """Describe the endpoint: one on Azure is never stopped, it is there or deleted."""
        return self.endpoint_info(endpoint)

    def set_traffic(
        self,
        endpoint: str,
        traffic: Mapping[str, int] | None,
        *,
        mirror: Mapping[str, int] | None = None,
    ) -> EndpointInfo:
        """Share out the requests: per cent by deployment; ``None`` keeps what there is."""
        current = self._require(endpoint)
        if traffic is not None:
            current.traffic = dict(traffic)
        if mirror is not None:
            current.mirror_traffic = dict(mirror)
        with self._connection.errors(f"to share out the traffic of '{endpoint}'"):
            self._client.online_endpoints.begin_create_or_update(current).result()
        return self.endpoint_info(endpoint)

    def delete(self, endpoint: str, deployment: str | None = None) -> None:
        """Delete a deployment that has no traffic, or the whole endpoint."""
        self._require(endpoint)
        with self._connection.errors(f"to delete '{endpoint}'"):
            if deployment is None:
                self._client.online_endpoints.begin_delete(endpoint).result()
            else:
                self._client.online_deployments.begin_delete(
                    name=deployment, endpoint_name=endpoint
                ).result()

    def regenerate_key(self, endpoint: str, which: Literal["primary", "secondary"]) -> Keys:
        """Replace one key; the other one keeps working."""
        self._require(endpoint)
        with self._connection.errors(f"to replace a key of '{endpoint}'"):
            self._client.online_endpoints.begin_regenerate_keys(endpoint, key_type=which).result()
        return self.keys(endpoint)

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Describe the endpoints that twinml made, by name."""
        with self._connection.errors("to list endpoints"):
            found = [item for item in self._client.online_endpoints.list() if is_ours(item)]
            infos = [self._info(item) for item in found]
        return tuple(sorted(infos, key=lambda info: info.name))

    def endpoint_info(self, endpoint: str) -> EndpointInfo:
        """Describe an endpoint; ``NotFound`` if there is none of that name."""
        return self._info(self._require(endpoint))

    def keys(self, endpoint: str) -> Keys:
        """Return the keys of an endpoint."""
        self._require(endpoint)
        with self._connection.errors(f"the keys of '{endpoint}'"):
            found = self._client.online_endpoints.get_keys(endpoint)
        return Keys(primary=str(found.primary_key), secondary=str(found.secondary_key))

    def endpoint(self, endpoint: str) -> Endpoint:
        """Return a client of an endpoint, key included."""
        from twinml.endpoint import Endpoint

        return Endpoint(self._require(endpoint).scoring_uri, key=self.keys(endpoint).primary)

    def deployed(self, endpoint: str, deployment: str | None = None) -> Deployed:
        """Fetch the model of a deployment; its packages are those that the model requires."""
        from twinml.comparison import pinned

        info = self.endpoint_info(endpoint)
        chosen = deployment or busiest(info)
        model = info.deployments[chosen]
        directory = assets.fetch_model(self._connection, ModelReference.parse(model))
        lines = (directory / "requirements.txt").read_text(encoding="utf-8").splitlines()
        return Deployed(
            deployment=chosen,
            model=model,
            directory=directory,
            packages=pinned(lines),
            packages_source="the requirements that the image was built from",
            packages_whole=False,
        )

    def logs(
        self, endpoint: str, *, deployment: str | None = None, lines: int = 100
    ) -> Iterator[str]:
        """Yield the last log lines of an endpoint's container, oldest first.

        Without ``deployment``, of the one that gets most traffic.
        """
        info = self.endpoint_info(endpoint)
        chosen = deployment or busiest(info)
        with self._connection.errors(f"the logs of '{endpoint}/{chosen}'"):
            text = self._client.online_deployments.get_logs(
                name=chosen, endpoint_name=endpoint, lines=lines
            )
        yield from str(text).splitlines()

    def _require(self, endpoint: str) -> Any:
        with self._connection.errors(f"to look for endpoint '{endpoint}'"):
            found = get(self._client.online_endpoints, endpoint)
        if found is None:
            raise NotFound(
                f"there is no endpoint '{endpoint}' in the workspace",
                hint="Deploy a model: twinml deploy --on azure.",
            )
        return found

    def _info(self, found: Any) -> EndpointInfo:
        with self._connection.errors(f"to describe endpoint '{found.name}'"):
            deployments = list(self._client.online_deployments.list(found.name))
        return EndpointInfo(
            name=found.name,
            scoring_uri=str(found.scoring_uri),
            swagger_uri=str(found.openapi_uri),
            docs_uri=f"{STUDIO}/endpoints/realtime/{found.name}/detail"
            f"?wsid={self._connection.address.resource_id}",
            state=word(found.provisioning_state),
            traffic={name: int(share) for name, share in (found.traffic or {}).items()},
            deployments={item.name: _model_of(item) for item in deployments},
            mirror={name: int(share) for name, share in (found.mirror_traffic or {}).items()},
        )

    # Pipelines

    @property
    def _pipelines(self) -> Pipelines:
        from twinml_azure.pipelines import Pipelines

        return Pipelines(self._connection, self._sizes, AzurePlatform.name)

    def publish_pipeline(
        self, name: str, definition: Path, *, inputs: Mapping[str, Any] | None = None
    ) -> PipelineInfo:
        """Publish a pipeline job file as a batch endpoint; unchanged keeps its version."""
        return self._pipelines.publish(name, definition, inputs)

    def submit_pipeline(
        self, definition: Path, inputs: Mapping[str, Any] | None = None
    ) -> PipelineJob:
        """Start a job of a file, as ``az ml job create -f`` does; returns once accepted."""
        return self._pipelines.submit(definition, inputs)

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        """Start a job of a published pipeline over REST, with a token."""
        return self.pipeline_client(name).submit(inputs)

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        """Describe a job."""
        return self.pipeline_client(name).job(job_id)

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return a client of a published pipeline."""
        return self._pipelines.client(name)

    def pipelines(self) -> tuple[PipelineInfo, ...]:
        """Describe all published pipelines, by name."""
        return self._pipelines.list()

    def schedule_pipeline(self, schedule: Schedule) -> Schedule:
        """Make a schedule, or replace the one of that name."""
        return self._pipelines.schedule(schedule)

    def unschedule_pipeline(self, name: str) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name."""
        self._pipelines.unschedule(name)

    def schedules(self, pipeline: str | None = None) -> tuple[Schedule, ...]:
        """Describe the schedules of a pipeline, or all, by name."""
        return self._pipelines.schedules(pipeline)

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """Return nothing: nothing of this machine runs for Azure."""
        return ()


def _serves(deployment: Any, model: ModelVersion) -> bool:
    return (deployment.tags or {}).get("digest") == model.digest and succeeded(deployment)


def _model_of(deployment: Any) -> str:
    """Return ``name:version`` from the ARM id of a deployment's model.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> _model_of(SimpleNamespace(model="/subscriptions/s/models/bank/versions/3"))
    'bank:3'
    """
    model = str(deployment.model or "")
    try:
        return ModelReference.parse(model).deployed
    except UsageError:
        # Of a deployment that somebody else made, with files for a model.
        return model
