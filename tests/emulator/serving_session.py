"""What a user does to serve a model, with the unmodified SDK; prints one JSON object."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = """
import json, os
from pathlib import Path

def init():
    global greeting
    words = Path(os.environ["AZUREML_MODEL_DIR"], "words.txt")
    greeting = os.environ["GREETING"] + words.read_text()

def run(raw_data):
    given = json.loads(raw_data)
    if given.get("fail"):
        raise RuntimeError("asked to fail")
    return {"greeting": greeting, "given": given}
"""


def main(model: Path, folder: Path) -> dict[str, Any]:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import (
        CodeConfiguration,
        DataCollector,
        DeploymentCollection,
        Environment,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
        Model,
        OnlineRequestSettings,
        ProbeSettings,
    )
    from azure.core.exceptions import HttpResponseError
    from azure.identity import DefaultAzureCredential

    client = MLClient(
        DefaultAzureCredential(),
        os.environ["AZUREML_ARM_SUBSCRIPTION"],
        os.environ["AZUREML_ARM_RESOURCEGROUP"],
        os.environ["AZUREML_ARM_WORKSPACE_NAME"],
        show_progress=False,
    )
    seen: dict[str, Any] = {}
    request = folder / "request.json"
    request.write_text(
        (model / "serving_input_example.json").read_text().replace("dataframe_split", "input_data")
    )

    def deploy(name: str, endpoint: str = "bank-ep", **more: Any) -> Any:
        return client.online_deployments.begin_create_or_update(
            ManagedOnlineDeployment(
                name=name,
                endpoint_name=endpoint,
                instance_type="Standard_DS3_v2",
                instance_count=1,
                **more,
            )
        ).result()

    def failure(name: str, **more: Any) -> dict[str, Any]:
        try:
            deploy(name, **more)
        except HttpResponseError as error:
            state = client.online_deployments.get(name, "bank-ep").provisioning_state
            return {"text": str(error), "state": state}
        raise AssertionError("the emulator agreed")

    registered = client.models.create_or_update(
        Model(name="bank", type="mlflow_model", path=str(model))
    )
    endpoint = client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name="bank-ep", auth_mode="key")
    ).result()

    # An MLflow model without any code
    collections = {
        name: DeploymentCollection(enabled="true") for name in ("model_inputs", "model_outputs")
    }
    blue = deploy(
        "blue",
        model=f"azureml:bank:{registered.version}",
        app_insights_enabled=True,
        data_collector=DataCollector(collections=collections),
    )
    endpoint.traffic = {"blue": 100}
    endpoint = client.online_endpoints.begin_create_or_update(endpoint).result()
    seen["blue"] = {
        "state": blue.provisioning_state,
        "traffic": endpoint.traffic,
        "answer": json.loads(client.online_endpoints.invoke("bank-ep", request_file=str(request))),
        "listed": [item.name for item in client.online_deployments.list("bank-ep")],
    }
    log = client.online_deployments.get_logs("blue", "bank-ep", lines=200)
    storage = client.online_deployments.get_logs(
        "blue", "bank-ep", lines=50, container_type="storage-initializer"
    )
    seen["logs"] = {"server": log, "storage": storage}

    seen["monitor"] = monitored(client, folder)

    # Code and environment of one's own
    code = folder / "code"
    code.mkdir()
    (code / "score.py").write_text(SCRIPT)
    words = folder / "words.txt"
    words.write_text("world")
    green = deploy(
        "green",
        model=Model(path=str(words)),
        code_configuration=CodeConfiguration(code=str(code), scoring_script="score.py"),
        environment=Environment(
            name="plain",
            image="mcr.microsoft.com/azureml/minimal-py311-inference:latest",
            conda_file={
                "dependencies": ["python=3.11", {"pip": ["azureml-inference-server-http"]}]
            },
        ),
        environment_variables={"GREETING": "hello "},
        request_settings=OnlineRequestSettings(
            request_timeout_ms=20_000, max_concurrent_requests_per_instance=4
        ),
        liveness_probe=ProbeSettings(initial_delay=20),
    )
    asked = folder / "asked.json"
    asked.write_text('{"a": 1}')
    seen["green"] = {
        "state": green.provisioning_state,
        "timeout": green.request_settings.request_timeout_ms,
        "probe": green.liveness_probe.initial_delay,
        "answer": json.loads(
            client.online_endpoints.invoke(
                "bank-ep", deployment_name="green", request_file=str(asked)
            )
        ),
    }
    endpoint.traffic = {"blue": 100}
    endpoint.mirror_traffic = {"green": 10}
    client.online_endpoints.begin_create_or_update(endpoint).result()

    # More instances
    blue = client.online_deployments.get("blue", "bank-ep")
    blue.instance_count = 2
    # The SDK does not take back what it was answered.
    blue.data_collector = None
    seen["scaled"] = client.online_deployments.begin_create_or_update(blue).result().instance_count

    # What goes wrong
    bare = folder / "bare"
    bare.mkdir()
    for path in model.iterdir():
        text = path.read_bytes()
        if path.name in ("conda.yaml", "requirements.txt"):
            lines = text.decode().splitlines(keepends=True)
            text = "".join(line for line in lines if "monitoring" not in line).encode()
        (bare / path.name).write_bytes(text)
    seen["bare"] = failure("bare", model=Model(path=str(bare), type="mlflow_model"))
    seen["bare"]["log"] = client.online_deployments.get_logs("bare", "bank-ep", lines=50)
    impossible = bare
    (impossible / "conda.yaml").write_text(
        "dependencies: [python=3.11, {pip: ['scikit-learn==0.0.0']}]"
    )
    seen["impossible"] = failure(
        "impossible", model=Model(path=str(impossible), type="mlflow_model")
    )
    try:
        client.online_deployments.begin_delete("blue", "bank-ep").result()
    except HttpResponseError as error:
        seen["busy"] = {"status": error.status_code, "text": str(error)}
    client.online_deployments.begin_delete("bare", "bank-ep").result()
    seen["left"] = sorted(item.name for item in client.online_deployments.list("bank-ep"))

    # An endpoint with tokens, and its end
    client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name="token-ep", auth_mode="aml_token")
    ).result()
    deploy("only", "token-ep", model=f"azureml:bank:{registered.version}")
    second = client.online_endpoints.get("token-ep")
    second.traffic = {"only": 100}
    client.online_endpoints.begin_create_or_update(second).result()
    seen["token"] = json.loads(
        # The SDK remembers the deployment of an earlier call, and sends it from then on.
        client.online_endpoints.invoke(
            "token-ep", deployment_name="only", request_file=str(request)
        )
    )
    client.online_endpoints.begin_delete("token-ep").result()
    seen["endpoints"] = [item.name for item in client.online_endpoints.list()]
    return seen


def monitored(client: Any, folder: Path) -> dict[str, Any]:
    """Score aged people, and have a monitor look at what was collected; returns what it found."""
    from azure.ai.ml import Input
    from azure.ai.ml.entities import (
        CategoricalDriftMetrics,
        CronTrigger,
        Data,
        DataDriftMetricThreshold,
        DataDriftSignal,
        DataQualityMetricsCategorical,
        DataQualityMetricsNumerical,
        DataQualityMetricThreshold,
        DataQualitySignal,
        MonitorDefinition,
        MonitoringTarget,
        MonitorSchedule,
        NumericalDriftMetrics,
        PredictionDriftMetricThreshold,
        PredictionDriftSignal,
        ReferenceData,
        ServerlessSparkCompute,
    )

    rows = [[60 + i % 20, i / 30 - 1, "ac"[i % 2]] for i in range(60)]
    request = folder / "aged.json"
    columns = ["age", "rate", "job"]
    request.write_text(
        json.dumps({"input_data": {"columns": columns, "index": list(range(60)), "data": rows}})
    )
    client.online_endpoints.invoke("bank-ep", request_file=str(request))
    table = folder / "reference"
    table.mkdir()
    lines = [f"{18 + i % 62},{i / 100 - 1},{'ab'[i % 2]},{'yes' if i % 62 > 32 else 'no'}"
             for i in range(200)]  # fmt: skip
    (table / "rows.csv").write_text("\n".join(["age,rate,job,y", *lines]))
    client.data.create_or_update(Data(name="learned", path=str(table), type="uri_folder"))

    def reference() -> ReferenceData:
        return ReferenceData(
            input_data=Input(type="uri_folder", path="azureml:learned:1"),
            data_context="training",
            data_column_names={"target_column": "y"},
        )

    shifted = CategoricalDriftMetrics(population_stability_index=0.25)
    drift = DataDriftMetricThreshold(
        numerical=NumericalDriftMetrics(population_stability_index=0.25), categorical=shifted
    )
    quality = DataQualityMetricThreshold(
        numerical=DataQualityMetricsNumerical(null_value_rate=0.0),
        categorical=DataQualityMetricsCategorical(out_of_bounds_rate=0.1),
    )
    monitor = MonitorDefinition(
        compute=ServerlessSparkCompute(instance_type="standard_e4s_v3", runtime_version="3.4"),
        monitoring_target=MonitoringTarget(
            ml_task="classification", endpoint_deployment_id="azureml:bank-ep:blue"
        ),
        monitoring_signals={
            "drift": DataDriftSignal(reference_data=reference(), metric_thresholds=drift),
            "quality": DataQualitySignal(reference_data=reference(), metric_thresholds=quality),
            "predictions": PredictionDriftSignal(
                reference_data=reference(),
                metric_thresholds=PredictionDriftMetricThreshold(categorical=shifted),
            ),
        },
    )
    every_night = CronTrigger(expression="0 3 * * *")
    client.schedules.begin_create_or_update(
        MonitorSchedule(name="watch", trigger=every_night, create_monitor=monitor)
    ).result()
    # What was collected is written after a moment.
    collected = client.data.get("bank-ep-blue-model_inputs", "1").path
    job = client.schedules.trigger("watch").job_name
    while (status := client.jobs.get(job).status) not in ("Completed", "Failed"):
        time.sleep(0.5)
    # The artifacts of a signal are figures.
    figures = {}
    for child in client.jobs.list(parent_job_name=job):
        client.jobs.download(child.name, download_path=str(folder / child.name))
        (file,) = (folder / child.name).rglob("metrics.json")
        figures[child.display_name] = json.loads(file.read_text())
    return {"status": status, "collected": collected, "figures": figures}


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
