"""The workspace's models as MLflow sees them: one registry behind both interfaces.

What is registered with MLflow is a model of the workspace, and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    ENDPOINT_NOT_FOUND,
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils

from azureml_emulator.account import PROVIDER
from azureml_emulator.arm.assets import ARTIFACT_STORE, Datastores, artifact_prefix, datastore_uri
from azureml_emulator.arm.management import Management
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError

__all__ = ["WorkspaceModels"]

STAGE = "azureml.stage"
RUN = "azureml.runid"
_RUN_ARTIFACT = re.compile(r"azureml://.*/runs/([^/]+)/artifacts(?:/(.*))?$")
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)$")
_WHOLE_RUN = re.compile(r"ExperimentRun/dcid\.([^/]+)")
_UPLOADED = re.compile(r"azureml://artifacts/(.+)$")


class WorkspaceModels(AbstractStore):  # type: ignore[misc, unused-ignore]
    """MLflow's registry over the models of one workspace.

    Parameters
    ----------
    workspace
        Its ARM id.
    """

    def __init__(self, workspace: str, management: Management, datastores: Datastores) -> None:
        super().__init__()
        self._workspace, self._management, self._datastores = workspace, management, datastores
        self._store = management.store

    # Models

    def create_registered_model(
        self,
        name: str,
        tags: Iterable[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """Make a model without versions."""
        with self._store.transaction():
            if self._store.get(self._id(name)) is not None:
                raise MlflowException(
                    f"Registered Model (name={name}) already exists.", RESOURCE_ALREADY_EXISTS
                )
            properties: dict[str, Any] = {
                "isArchived": False,
                "nextVersion": "1",
                "provisioningState": "Succeeded",
                "tags": {tag.key: str(tag.value) for tag in tags or []},
            }
            if description:
                properties["description"] = description
            self._store.put(
                self._id(name),
                {"type": f"{PROVIDER}/workspaces/models", "properties": properties},
            )
        return self.get_registered_model(name)

    def update_registered_model(
        self, name: str, description: str, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """Change the description."""
        self._change(self._model(name), description=description)
        return self.get_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Refuse, as the service does."""
        raise MlflowException("Azure ML cannot rename models.", ENDPOINT_NOT_FOUND)

    def delete_registered_model(self, name: str) -> None:
        """Remove a model and its versions."""
        self._store.delete(self._model(name).id)

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a model with its latest version."""
        return self._as_model(self._model(name))

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        """Return models, filtered and ordered by MLflow's own rules."""
        found = [self._as_model(item) for item in self._store.list(f"{self._workspace}/models")]
        chosen = SearchModelUtils.filter(found, filter_string)
        ordered = SearchModelUtils.sort(chosen, order_by)
        page, token = SearchModelUtils.paginate(ordered, page_token, max_results or 100)
        return PagedList(page, token)

    def get_latest_versions(self, name: str, stages: list[str] | None = None) -> list[ModelVersion]:
        """Return the newest version of each stage."""
        newest: dict[str, ModelVersion] = {}
        for item in self._versions(name):
            version = self._as_version(item)
            newest[str(version.current_stage).lower()] = version
        wanted = [stage.lower() for stage in stages or newest]
        return [newest[stage] for stage in wanted if stage in newest]

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag."""
        model = self._model(name)
        self._change(model, tags={**_tags(model), tag.key: str(tag.value)})

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag."""
        model = self._model(name)
        self._change(model, tags={k: v for k, v in _tags(model).items() if k != key})

    # Versions

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Iterable[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Register what lies at ``source`` as the next version."""
        properties: dict[str, Any] = {
            "modelUri": self._address(source),
            "modelType": "mlflow_model",
            "tags": {tag.key: str(tag.value) for tag in tags or []},
            "properties": {RUN: run_id} if run_id else {},
        }
        if description:
            properties["description"] = description
        if run_id:
            properties["jobName"] = run_id
        self._model(name)
        try:
            stored = self._management.register(self._workspace, "models", name, None, properties)
        except ArmError as error:
            raise MlflowException(error.message, INVALID_PARAMETER_VALUE) from error
        return self._as_version(stored)

    def update_model_version(self, name: str, version: str, description: str) -> ModelVersion:
        """Change the description."""
        self._change(self._version(name, version), description=description)
        return self.get_model_version(name, version)

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Move a version to a stage."""
        wanted = stage.capitalize()
        if archive_existing_versions:
            for item in self._versions(name):
                if _bag(item).get(STAGE) == wanted:
                    self._change(item, properties={**_bag(item), STAGE: "Archived"})
        found = self._version(name, version)
        self._change(found, properties={**_bag(found), STAGE: wanted})
        return self.get_model_version(name, version)

    def delete_model_version(self, name: str, version: str) -> None:
        """Remove a version."""
        self._store.delete(self._version(name, version).id)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """Return a version."""
        return self._as_version(self._version(name, version))

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """Return where ``azureml-mlflow`` finds the files."""
        uri = str(self._version(name, version).properties["modelUri"])
        try:
            path = self._datastores.resolve(uri, self._workspace).path
        except ArmError as error:
            raise MlflowException(error.message, RESOURCE_DOES_NOT_EXIST) from error
        if match := _WHOLE_RUN.fullmatch(path):
            # As an upload's, an address without a folder in it would be read as '.'.
            host = self._management.account.api_host
            below = f"{self._workspace}/experiments/0/runs/{match[1]}/artifacts"
            return f"azureml://{host}/mlflow/v2.0{below}"
        return f"azureml://artifacts/{path}"

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """Return versions, filtered and ordered by MLflow's own rules."""
        found = [
            self._as_version(item)
            for model in self._store.list(f"{self._workspace}/models")
            for item in self._versions(model.name)
        ]
        chosen = SearchModelVersionUtils.filter(found, filter_string)
        ordered = SearchModelVersionUtils.sort(chosen, order_by)
        page, token = SearchModelVersionUtils.paginate(ordered, page_token, max_results or 100)
        return PagedList(page, token)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Set a tag."""
        found = self._version(name, version)
        self._change(found, tags={**_tags(found), tag.key: str(tag.value)})

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Remove a tag."""
        found = self._version(name, version)
        self._change(found, tags={k: v for k, v in _tags(found).items() if k != key})

    # Aliases: the service has none.

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Refuse, as the service does."""
        raise _no_aliases()

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Refuse, as the service does."""
        raise _no_aliases()

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Refuse, as the service does."""
        raise _no_aliases()

    def list_webhooks_by_event(
        self, event: Any, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Any]:
        """Return none: MLflow asks at each change."""
        return PagedList([], None)

    # Resources

    def _id(self, name: str) -> str:
        return f"{self._workspace}/models/{name}"

    def _model(self, name: str) -> Resource:
        found = self._store.get(self._id(name))
        if found is None:
            raise MlflowException(
                f"Registered Model with name={name} not found", RESOURCE_DOES_NOT_EXIST
            )
        return found

    def _version(self, name: str, version: str) -> Resource:
        found = self._store.get(f"{self._id(name)}/versions/{version}")
        if found is None:
            raise MlflowException(
                f"Model Version (name={name}, version={version}) not found",
                RESOURCE_DOES_NOT_EXIST,
            )
        return found

    def _versions(self, name: str) -> list[Resource]:
        return self._store.list(f"{self._id(name)}/versions")

    def _change(self, resource: Resource, **properties: Any) -> None:
        with self._store.transaction():
            changed = {**resource.properties, **properties}
            self._store.put(resource.id, {**resource.body, "properties": changed})

    def _address(self, source: str) -> str:
        """Return an address of the service's kind for a source of MLflow's kind."""
        if match := _RUN_ARTIFACT.fullmatch(source):
            path = f"{artifact_prefix(match[1])}/{match[2] or ''}".rstrip("/")
        elif match := _LOGGED_MODEL.fullmatch(source):
            path = artifact_prefix(match[1])
        elif match := _UPLOADED.fullmatch(source):
            path = match[1]
        else:
            return source
        return datastore_uri(self._workspace, ARTIFACT_STORE, path)

    def _as_model(self, resource: Resource) -> RegisteredModel:
        return RegisteredModel(
            name=resource.name,
            creation_timestamp=_milliseconds(resource.created),
            last_updated_timestamp=_milliseconds(resource.modified),
            description=resource.properties.get("description"),
            latest_versions=self.get_latest_versions(resource.name),
            tags=[RegisteredModelTag(key, value) for key, value in _tags(resource).items()],
            aliases=[],
        )

    def _as_version(self, resource: Resource) -> ModelVersion:
        properties = resource.properties
        name = resource.id.split("/")[-3]
        return ModelVersion(
            name=name,
            version=resource.name,
            creation_timestamp=_milliseconds(resource.created),
            last_updated_timestamp=_milliseconds(resource.modified),
            description=properties.get("description"),
            user_id="emulator",
            current_stage=_bag(resource).get(STAGE, "None"),
            source=self._source(str(properties["modelUri"])),
            run_id=_bag(resource).get(RUN) or properties.get("jobName"),
            tags=[ModelVersionTag(key, value) for key, value in _tags(resource).items()],
            aliases=[],
        )

    @staticmethod
    def _source(uri: str) -> str:
        _, _, path = uri.partition(f"/datastores/{ARTIFACT_STORE}/paths/")
        return f"azureml://artifacts/{path}" if path else uri


def _tags(resource: Resource) -> dict[str, str]:
    return dict(resource.properties.get("tags") or {})


def _bag(resource: Resource) -> Mapping[str, str]:
    return dict(resource.properties.get("properties") or {})


def _milliseconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp.removesuffix("Z")[:26] + "+00:00").timestamp() * 1000)


def _no_aliases() -> MlflowException:
    # 404: any code that MLflow does not know becomes a 500, which its client repeats for minutes.
    return MlflowException("Azure ML's registry has no aliases.", ENDPOINT_NOT_FOUND)
