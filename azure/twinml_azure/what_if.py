"""What a run would create, change and keep in a workspace; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from twinml.pipeline import DEFINITION, publication
from twinml.platform import endpoint_name
from twinml.platform.abilities import TRAIN_HERE, Change
from twinml.registry.tracking import DIGEST
from twinml.workflow import DEPLOYMENT
from twinml_azure import training
from twinml_azure.assets import champion_of, data_tags, table_name
from twinml_azure.connection import NoWorkspace
from twinml_azure.pipeline_jobs import component_name
from twinml_azure.pipelines import DEPLOYMENT as PIPELINE_DEPLOYMENT
from twinml_azure.pipelines import Pipelines
from twinml_azure.resources import CLUSTER, TAG, Sizes, get, is_ours, succeeded, tagged, word

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training import TrainingOptions
    from twinml_azure.connection import Connection

__all__ = ["WhatIf"]


@dataclass(frozen=True)
class WhatIf:
    """The resources of a run, compared with those of the workspace.

    Attributes
    ----------
    platform
        Its name, for the pipeline's step that deploys.
    endpoint
        Its name; by default made from the model's.
    digest
        Of the model, where the training is done already.
    """

    connection: Connection
    sizes: Sizes
    platform: str
    dataset: Dataset
    options: TrainingOptions
    train: str = TRAIN_HERE
    endpoint: str | None = None
    pipeline: bool = True
    digest: str | None = None

    @property
    def _client(self) -> Any:
        return self.connection.client

    def changes(self) -> tuple[Change, ...]:
        """Return the changes, in the order in which a run makes them."""
        with self.connection.errors("to look at the workspace"):
            return tuple(self._changes())

    def _changes(self) -> Iterator[Change]:
        if isinstance(self.connection, NoWorkspace):
            yield Change("keep", "workspace", "none configured", "the rest is as in an empty one")
        name, marks = self.dataset.name, data_tags(self.dataset)
        data = tagged(self._client.data, name, **marks)
        yield _data(data, name, f"uri_file of {self.dataset.n_rows:,} rows")
        if self.train == "automl":
            table = table_name(name)
            yield _data(tagged(self._client.data, table, **marks), table, "mltable")
        if self.train != TRAIN_HERE:
            yield self._cluster()
            yield from self._training()
        yield from self._serving()
        if self.pipeline:
            if self.train == TRAIN_HERE:
                yield self._cluster()
            yield from self._pipeline(None if data is None else str(data.version))
        yield from self._schedules()

    def _cluster(self) -> Change:
        found = get(self._client.compute, CLUSTER)
        if found is None or not succeeded(found):
            detail = (
                f"0 to {self.sizes.cluster_nodes} × {self.sizes.cluster_size}, nodes end after "
                f"{self.sizes.idle_seconds} s without work"
            )
            return Change("create", "cluster", CLUSTER, detail)
        return Change("keep", "cluster", CLUSTER, f"up to {found.max_instances} × {found.size}")

    def _training(self) -> Iterator[Change]:
        if self.train == "job":
            version = training.environment_version()
            found = get(self._client.environments, training.ENVIRONMENT, version=version)
            yield Change(
                "create" if found is None else "keep",
                "environment",
                f"{training.ENVIRONMENT}:{version}",
                "the package versions of this machine",
            )
        name, job = training.next_job(
            self.connection, training.job_name(self.train, self.dataset, self.options)
        )
        yield (
            Change("create", "job", name, f"training of {self.dataset.name}, {self.train}")
            if job is None
            else Change("keep", "job", name, f"it is {word(job.status)}")
        )

    def _serving(self) -> Iterator[Change]:
        automl = self.train == "automl"
        model = f"{self.dataset.name}-automl" if automl else self.dataset.name
        known: Any = None
        if automl:
            known = tagged(self._client.models, model, **{TAG: "model"})
        elif self.digest is not None:
            known = tagged(self._client.models, model, **{DIGEST: self.digest})
        digest = self.digest if known is None else str((known.tags or {}).get(DIGEST, ""))
        yield (
            Change("create", "model", model, "a version, unless training gives one that is there")
            if known is None
            else Change("keep", "model", model, f"version {known.version}, the same files")
        )
        endpoint = self.endpoint or endpoint_name(model)
        found = get(self._client.online_endpoints, endpoint)
        yield Change(
            "keep" if found is not None and succeeded(found) else "create",
            "online endpoint",
            endpoint,
            "key authentication",
        )
        present = found and get(self._client.online_deployments, DEPLOYMENT, endpoint_name=endpoint)
        name = f"{endpoint}/{DEPLOYMENT}"
        costs = f"1 × {self.sizes.instance_type}, billed while it is there"
        if not present:
            yield Change("create", "online deployment", name, costs)
        elif succeeded(present) and digest and (present.tags or {}).get("digest") == digest:
            yield Change("keep", "online deployment", name, costs)
        else:
            yield Change("change", "online deployment", name, f"{costs}; to this run's model")

    def _pipeline(self, data_version: str | None) -> Iterator[Change]:
        pipelines = Pipelines(self.connection, self.sizes, self.platform)
        component, version = component_name(publication.PIPELINE), None
        if data_version is not None:
            inputs = publication.inputs(self.dataset, data_version, self.options)
            with pipelines.component(publication.PIPELINE, DEFINITION, inputs) as made:
                version = made.version
        found = version and get(self._client.components, component, version=version)
        action: Literal["keep", "create"] = "keep" if found else "create"
        yield Change(
            action,
            "component",
            component,
            f"version {version}" if version else "a version for the data",
        )
        # The SDK registers these unasked, without a name of ours and without a tag.
        yield Change(
            action,
            "component",
            f"steps of {component}",
            "anonymous, with their code and environment",
        )
        endpoint = pipelines.endpoint_name(publication.PIPELINE)
        if isinstance(self.connection, NoWorkspace):
            # Its last part is made from the workspace's id.
            endpoint = f"{endpoint.rpartition('-')[0]}-…"
        there = get(self._client.batch_endpoints, endpoint)
        tags = (there.tags or {}) if there else {}
        yield Change(
            _action(there, tags, version),
            "batch endpoint",
            endpoint,
            f"pipeline {publication.PIPELINE}, started over REST with a token",
        )
        present = there and get(
            self._client.batch_deployments, PIPELINE_DEPLOYMENT, endpoint_name=endpoint
        )
        tags = (present.tags or {}) if present else {}
        yield Change(
            _action(present, tags, version),
            "batch deployment",
            f"{endpoint}/{PIPELINE_DEPLOYMENT}",
            "costs nothing by itself",
        )
        job = None
        if there and found:
            jobs = pipelines.client(publication.PIPELINE).jobs(limit=1)
            job = next((each for each in jobs if each.version == version), None)
        holder = champion_of(self._client.models, self.dataset.name)
        beaten = "this run's" if holder is None else f"version {holder}"
        gives = f"registers a version of {self.dataset.name} if it beats {beaten}"
        yield (
            Change("create", "pipeline job", publication.PIPELINE, gives)
            if job is None or job.status in ("Failed", "Canceled")
            else Change("keep", "pipeline job", job.id, f"it is {job.status}")
        )

    def _schedules(self) -> Iterator[Change]:
        for each in self._client.schedules.list():
            if is_ours(each):
                yield Change("keep", "schedule", each.name, "runs make none, and leave it")


def _data(found: Any, name: str, detail: str) -> Change:
    if found is None:
        return Change("create", "data", name, detail)
    return Change("keep", "data", name, f"version {found.version}, the same file")


def _action(found: Any, tags: Mapping[str, str], version: str | None) -> Any:
    if not found:
        return "create"
    return "keep" if version is not None and tags.get("version") == version else "change"
