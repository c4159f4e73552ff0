"""What public samples do in passing, as strangers write it; prints what became of each."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: train_data
version: 1
type: command
inputs:
  rate: {type: number, default: 0.1}
outputs:
  model: {type: uri_folder}
environment: azureml:with-conda@latest
command: echo ${{inputs.rate}} > ${{outputs.model}}/x
"""


def main(folder: Path) -> dict[str, Any]:
    from azure.ai.ml import MLClient, load_component
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.data_transfer import Database
    from azure.ai.ml.entities import (
        AccountKeyConfiguration,
        AmlCompute,
        AzureBlobDatastore,
        AzureDataLakeGen2Datastore,
        AzureFileDatastore,
        BuildContext,
        ComputeInstance,
        Data,
        DataImport,
        Environment,
        ManagedOnlineEndpoint,
        Model,
        PatTokenConfiguration,
        SasTokenConfiguration,
        ServicePrincipalConfiguration,
        Workspace,
        WorkspaceConnection,
    )
    from azure.core.exceptions import AzureError
    from azure.identity import DefaultAzureCredential

    credential = DefaultAzureCredential()
    client = MLClient(
        credential,
        os.environ["AZUREML_ARM_SUBSCRIPTION"],
        os.environ["AZUREML_ARM_RESOURCEGROUP"],
        os.environ["AZUREML_ARM_WORKSPACE_NAME"],
        show_progress=False,
    )
    seen: dict[str, Any] = {}

    def sample(name: str, action: Callable[[], Any]) -> None:
        try:
            seen[name] = action()
        except AzureError as error:
            seen[name] = {"refused": str(error)}

    def names(items: Any) -> list[str]:
        return sorted(item.name for item in items)

    # Workspaces
    config = {
        "subscription_id": client.subscription_id,
        "resource_group": client.resource_group_name,
        "workspace_name": client.workspace_name,
    }
    (folder / "config.json").write_text(json.dumps(config))
    workspaces = client.workspaces
    sample("config", lambda: MLClient.from_config(credential, path=str(folder)).workspace_name)
    sample(
        "workspace made",
        lambda: (
            workspaces.begin_create(
                Workspace(name="second", location="eastus", display_name="Two", tags={"a": "b"})
            )
            .result()
            .display_name
        ),
    )
    sample("workspaces", lambda: names(workspaces.list()))
    sample(
        "workspace changed",
        lambda: (
            workspaces.begin_update(Workspace(name="second", description="mine"))
            .result()
            .description
        ),
    )
    sample("keys", lambda: workspaces.get_keys("second") is not None)
    sample("keys synchronised", lambda: workspaces.begin_sync_keys("second").result())
    sample(
        "workspace deleted",
        lambda: workspaces.begin_delete("second", delete_dependent_resources=False).result(),
    )
    sample("tracking", lambda: workspaces.get("emulator").mlflow_tracking_uri[:10])

    # Computes
    sample("sizes", lambda: "Standard_DS3_v2" in [s.name for s in client.compute.list_sizes()])
    sample("usage", lambda: len(list(client.compute.list_usage())) > 0)

    def cluster() -> int:
        client.compute.begin_create_or_update(
            AmlCompute(
                name="cpu-cluster",
                size="STANDARD_DS3_V2",
                max_instances=4,
                idle_time_before_scale_down=180,
                tier="Dedicated",
            )
        ).result()
        found = client.compute.get("cpu-cluster")
        found.max_instances = 5
        return int(client.compute.begin_update(found).result().max_instances)

    def instance() -> str:
        client.compute.begin_create_or_update(
            ComputeInstance(name="notebooks", size="STANDARD_DS3_v2")
        ).result()
        for act in (client.compute.begin_stop, client.compute.begin_start):
            act("notebooks").wait()
        client.compute.begin_restart("notebooks").wait()
        return str(client.compute.get("notebooks").state).rpartition(".")[2].capitalize()

    sample("cluster", cluster)
    sample("nodes", lambda: list(client.compute.list_nodes("cpu-cluster")))
    sample("instance", instance)
    sample("clusters", lambda: names(client.compute.list(compute_type="AMLCompute")))

    # Datastores, data
    principal = ServicePrincipalConfiguration(
        tenant_id=str(UUID(int=1)), client_id=str(UUID(int=2)), client_secret="s"
    )
    for store in (
        AzureBlobDatastore(
            name="by_sas",
            account_name="a",
            container_name="c",
            credentials=SasTokenConfiguration(sas_token="?sv=1"),
        ),
        AzureDataLakeGen2Datastore(
            name="lake", account_name="a", filesystem="f", credentials=principal
        ),
        AzureFileDatastore(
            name="files",
            account_name="a",
            file_share_name="f",
            credentials=AccountKeyConfiguration(account_key="a2V5"),
        ),
        AzureBlobDatastore(name="by_identity", account_name="a", container_name="c"),
    ):
        sample(f"datastore {store.name}", lambda store=store: client.create_or_update(store).name)
    sample("datastores", lambda: len(list(client.datastores.list())))
    url = "https://azuremlexamples.blob.core.windows.net/datasets/credit.csv"
    sample(
        "data by address",
        lambda: (
            client.data.create_or_update(
                Data(path=url, type=AssetTypes.URI_FILE, name="credit", version="1.0")
            ).path
        ),
    )
    source = Database(connection="azureml:my_sql", query="select 1")
    place = "azureml://datastores/workspaceblobstore/paths/x/"
    sample(
        "data import",
        lambda: client.data.import_data(DataImport(name="i", source=source, path=place)),
    )

    # Environments, models, components
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM python:3.11\n")
    (folder / "conda.yml").write_text("name: x\ndependencies: [python=3.11]\n")
    for environment in (
        Environment(name="image", image="pytorch/pytorch:latest"),
        Environment(name="context", build=BuildContext(path=str(context))),
        Environment(name="with-conda", image="i", conda_file=str(folder / "conda.yml")),
    ):
        sample(
            f"environment {environment.name}",
            lambda one=environment: client.environments.create_or_update(one).version,
        )
    own = [name for name in names(client.environments.list()) if "AzureML-" not in name]
    sample("environments", lambda: own)
    (folder / "model.pkl").write_bytes(b"x")

    def model() -> list[Any]:
        path = str(folder / "model.pkl")
        client.models.create_or_update(Model(name="m", path=path, type=AssetTypes.CUSTOM_MODEL))
        found = client.models.get("m", "1")
        found.tags = {"k": "v"}
        changed = client.models.create_or_update(found)
        client.models.archive("m", version="1")
        hidden = names(client.models.list(name="m"))
        client.models.restore("m", version="1")
        client.models.download("m", "1", download_path=str(folder / "down"))
        return [changed.tags, hidden, (folder / "down" / "m" / "model.pkl").read_text()]

    def component() -> list[str]:
        (folder / "component.yml").write_text(COMPONENT)
        client.components.create_or_update(load_component(source=folder / "component.yml"))
        return [client.components.get("train_data").version, *names(client.components.list())]

    sample("model", model)
    sample("component", component)

    # Connections, and what is not there
    def connection() -> list[Any]:
        client.connections.create_or_update(
            WorkspaceConnection(
                name="feed",
                type="git",
                target="https://example.org",
                credentials=PatTokenConfiguration(pat="the-secret"),
            )
        )
        found = [client.connections.get("feed").target, names(client.connections.list())]
        # The SDK asks for the secrets, and takes them of connections with a key only.
        secret = client.connections.get("feed", populate_secrets=True).credentials.pat
        client.connections.delete("feed")
        return [*found, secret, names(client.connections.list())]

    sample("connection", connection)
    sample("registries", lambda: names(client.registries.list()))
    registry = MLClient(credential, registry_name="azureml")
    sample("curated of the registry", lambda: registry.environments.get("sklearn-1.5", "1").image)
    sample("a model of the registry", lambda: registry.models.get("bert", "1").path)
    sample("rules", lambda: names(client.workspace_outbound_rules.list("emulator")))
    sample("serverless", lambda: names(client.serverless_endpoints.list()))
    sample("marketplace", lambda: names(client.marketplace_subscriptions.list()))
    sample("schedules", lambda: names(client.schedules.list()))
    sample("batch endpoints", lambda: names(client.batch_endpoints.list()))

    def with_tokens() -> list[Any]:
        made = ManagedOnlineEndpoint(name="aad-ep", auth_mode="aad_token")
        client.online_endpoints.begin_create_or_update(made).result()
        mode = client.online_endpoints.get("aad-ep").auth_mode
        token = client.online_endpoints.get_keys("aad-ep").access_token
        client.online_endpoints.begin_delete("aad-ep").result()
        return [mode, bool(token)]

    sample("endpoint", with_tokens)
    return seen


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
