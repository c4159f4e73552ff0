"""What a user does with the unmodified SDK, as a program: environment variables say where.

Prints one JSON object with what the SDK answered; the tests look at that.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> dict[str, Any]:
    from azure.ai.ml import Input, MLClient, Output, command
    from azure.ai.ml.entities import (
        AccountKeyConfiguration,
        AmlCompute,
        AzureBlobDatastore,
        ComputeInstance,
        Data,
        Environment,
        ManagedOnlineEndpoint,
        Model,
    )
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.identity import DefaultAzureCredential

    client = MLClient(
        DefaultAzureCredential(),
        os.environ["AZUREML_ARM_SUBSCRIPTION"],
        os.environ["AZUREML_ARM_RESOURCEGROUP"],
        os.environ["AZUREML_ARM_WORKSPACE_NAME"],
        show_progress=False,
    )
    seen: dict[str, Any] = {}

    def refused(action: Any) -> dict[str, Any]:
        try:
            action()
        except HttpResponseError as error:
            return {"kind": type(error).__name__, "status": error.status_code, "text": str(error)}
        raise AssertionError("the emulator agreed")

    # Workspace and datastores
    workspace = client.workspaces.get(client.workspace_name)
    seen["workspace"] = {
        "name": workspace.name,
        "location": workspace.location,
        "listed": [item.name for item in client.workspaces.list()],
        "default": client.datastores.get_default().name,
        "datastores": sorted(item.name for item in client.datastores.list()),
    }
    client.datastores.create_or_update(
        AzureBlobDatastore(
            name="mine",
            account_name="elsewhere",
            container_name="c",
            credentials=AccountKeyConfiguration(account_key="a2V5"),
        )
    )
    with_secret = client.datastores.get("mine", include_secrets=True)
    seen["datastore"] = {"key": with_secret.credentials.account_key}
    client.datastores.delete("mine")
    seen["datastore"]["after"] = refused(lambda: client.datastores.get("mine"))

    # Data
    table = folder / "table.csv"
    table.write_text("a,b\n1,2\n")
    mltable = folder / "mltable"
    mltable.mkdir()
    (mltable / "table.csv").write_text("a,b\n1,2\n")
    (mltable / "MLTable").write_text("paths:\n  - file: ./table.csv\n")
    same = [
        client.data.create_or_update(
            Data(name="bank", type="uri_file", path=str(table), tags={"a": "b"})
        )
        for _ in range(2)
    ]
    seen["data"] = {
        "versions": [item.version for item in same],
        "paths": [item.path for item in same],
        "mltable": client.data.create_or_update(
            Data(name="bank-table", type="mltable", version="7", path=str(mltable))
        ).path,
        "latest": client.data.get("bank", label="latest").version,
        "listed": [item.version for item in client.data.list("bank")],
        "names": sorted(item.name for item in client.data.list()),
    }
    client.data.archive("bank", version="1")
    seen["data"]["archived"] = [item.version for item in client.data.list("bank")]
    client.data.restore("bank", version="1")
    seen["data"]["restored"] = sorted(item.version for item in client.data.list("bank"))
    client.data.archive("bank-table")
    seen["data"]["names_after"] = [item.name for item in client.data.list()]
    client.data.restore("bank-table")
    table.write_text("a,b\n3,4\n")
    seen["data"]["changed"] = refused(
        lambda: client.data.create_or_update(
            Data(name="bank", version="1", type="uri_file", path=str(table))
        )
    )
    for number in range(1, 36):
        place = f"azureml://datastores/workspaceblobstore/paths/part/{number}"
        client.data.create_or_update(
            Data(name="many", version=str(number), type="uri_folder", path=place)
        )
    seen["data"]["many"] = sorted(int(item.version) for item in client.data.list("many"))

    # Environment, code, component
    images = ["example/a:1", "example/a:1", "example/b:1"]
    seen["environment"] = [
        client.environments.create_or_update(
            Environment(name="env", image=image, conda_file={"dependencies": ["python=3.11"]})
        ).version
        for image in images
    ]
    code = folder / "code"
    (code / "package").mkdir(parents=True)
    (code / "train.py").write_text("print('train')\n")
    (code / "package" / "part.py").write_text("PART = 1\n")
    job = command(
        name="prepare",
        display_name="Prepare",
        version="1",
        code=str(code),
        command="python train.py --out ${{outputs.out}} --share ${{inputs.share}}",
        inputs={"share": Input(type="number", default=0.5)},
        outputs={"out": Output(type="uri_folder")},
        environment="env@latest",
    )
    components = [client.components.create_or_update(job.component) for _ in range(2)]
    got = client.components.get("prepare", "1")
    seen["component"] = {
        "versions": [item.version for item in components],
        "codes": sorted({str(item.code) for item in components}),
        "command": got.command,
        "share": got.inputs["share"].default,
        "listed": [item.name for item in client.components.list()],
    }

    # Models
    model = folder / "model"
    (model / "data").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: x\n")
    (model / "data" / "weights.bin").write_bytes(bytes(range(256)) * 300_000)  # more than one block
    (model / "data" / "empty").touch()
    registered = client.models.create_or_update(
        Model(name="bank", type="mlflow_model", path=str(model), tags={"digest": "d"})
    )
    client.models.download("bank", version="1", download_path=str(folder / "down"))
    down = folder / "down" / "bank" / "model"
    seen["model"] = {
        "version": registered.version,
        "type": registered.type,
        "tags": registered.tags,
        "same": all(
            (down / path.relative_to(model)).read_bytes() == path.read_bytes()
            for path in model.rglob("*")
            if path.is_file()
        ),
        "missing": refused(lambda: client.models.get("bank", "9")),
    }

    # Computes
    cluster = client.compute.begin_create_or_update(
        AmlCompute(name="cluster", size="STANDARD_DS3_V2", min_instances=0, max_instances=2)
    ).result()
    instance = client.compute.begin_create_or_update(
        ComputeInstance(name="instance", size="STANDARD_DS3_V2")
    ).result()
    client.compute.begin_stop("instance").result()
    seen["compute"] = {
        "state": str(cluster.provisioning_state),
        "nodes": [cluster.min_instances, cluster.max_instances],
        "started": str(instance.state),
        "stopped": str(client.compute.get("instance").state),
        "listed": sorted(item.name for item in client.compute.list()),
    }
    client.compute.begin_delete("instance").result()
    seen["compute"]["after"] = [item.name for item in client.compute.list()]

    # Endpoints
    endpoint = client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name="bank-ep", auth_mode="key", tags={"a": "b"})
    ).result()
    before = client.online_endpoints.get_keys("bank-ep")
    client.online_endpoints.begin_regenerate_keys("bank-ep", key_type="secondary").result()
    after = client.online_endpoints.get_keys("bank-ep")
    endpoint.traffic = {"blue": 100}
    seen["endpoint"] = {
        "uri": endpoint.scoring_uri,
        "primary_kept": before.primary_key == after.primary_key,
        "secondary_changed": before.secondary_key != after.secondary_key,
        "traffic": refused(
            lambda: client.online_endpoints.begin_create_or_update(endpoint).result()
        ),
        "listed": [item.name for item in client.online_endpoints.list()],
    }
    client.online_endpoints.begin_delete("bank-ep").result()
    try:
        client.online_endpoints.get("bank-ep")
        seen["endpoint"]["deleted"] = False
    except ResourceNotFoundError:
        seen["endpoint"]["deleted"] = True
    return seen


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]))
    # The SDK prints dots of its own; the last line is ours.
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
