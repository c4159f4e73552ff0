"""Batch endpoints and schedules as a user makes them, with the unmodified SDK."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DRIVER = """
import os, pathlib
import pandas as pd

def init():
    global model
    (model,) = pathlib.Path(os.environ["AZUREML_MODEL_DIR"]).glob("*/MLmodel")

def run(mini_batch):
    assert model.exists() and len(mini_batch) == 1
    return pd.concat(pd.read_csv(path).assign(file=pathlib.Path(path).name) for path in mini_batch)
"""


def main(model: Path, folder: Path) -> dict[str, Any]:
    from azure.ai.ml import Input, MLClient, Output, command, dsl
    from azure.ai.ml.constants import TimeZone
    from azure.ai.ml.entities import (
        AmlCompute,
        BatchEndpoint,
        BatchRetrySettings,
        CodeConfiguration,
        CronTrigger,
        Data,
        JobSchedule,
        Model,
        ModelBatchDeployment,
        ModelBatchDeploymentSettings,
        PipelineComponentBatchDeployment,
        RecurrencePattern,
        RecurrenceTrigger,
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
    client.compute.begin_create_or_update(
        AmlCompute(name="cpu-cluster", size="STANDARD_DS3_V2", min_instances=0, max_instances=1)
    ).result()

    def ended(name: str) -> Any:
        while True:
            job = client.jobs.get(name)
            if job.status in ("Completed", "Failed", "Canceled"):
                return job
            time.sleep(0.5)

    # A published pipeline
    step = command(
        name="double",
        version="1",
        command=(
            'python -c "import pathlib, sys; out = pathlib.Path(sys.argv[2]); out.mkdir('
            "parents=True, exist_ok=True); (out / 'n.txt').write_text(str(2 * int(sys.argv[1])))\""
            " ${{inputs.n}} ${{outputs.out}}"
        ),
        inputs={"n": Input(type="integer")},
        outputs={"out": Output(type="uri_folder")},
        environment="azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
    )

    @dsl.pipeline()
    def doubling(n: int = 2) -> dict[str, Any]:
        return {"result": step(n=n).outputs.out}

    published = client.components.create_or_update(doubling().component, version="1")
    client.batch_endpoints.begin_create_or_update(
        BatchEndpoint(name="doubling-batch", description="published pipeline")
    ).result()
    client.batch_deployments.begin_create_or_update(
        PipelineComponentBatchDeployment(
            name="first",
            endpoint_name="doubling-batch",
            component=f"azureml:{published.name}:1",
            settings={"default_compute": "cpu-cluster"},
        )
    ).result()
    endpoint = client.batch_endpoints.get("doubling-batch")
    endpoint.defaults.deployment_name = "first"
    client.batch_endpoints.begin_create_or_update(endpoint).result()
    job = client.batch_endpoints.invoke(
        endpoint_name="doubling-batch", inputs={"n": Input(type="integer", default=21)}
    )
    done = ended(job.name)
    client.jobs.download(job.name, output_name="result", download_path=str(folder / "doubled"))
    try:
        client.batch_endpoints.invoke(
            endpoint_name="doubling-batch", inputs={"m": Input(type="integer", default=1)}
        )
    except HttpResponseError as error:
        seen["wrong_input"] = {"status": error.status_code, "text": str(error)}
    seen["pipeline"] = {
        "status": done.status,
        "result": next((folder / "doubled").rglob("n.txt")).read_text(),
        "listed": [item.name for item in client.batch_endpoints.list_jobs("doubling-batch")],
        "by_deployment": [
            item.name for item in client.batch_deployments.list_jobs("doubling-batch", name="first")
        ],
        "name": job.name,
        "mode": endpoint.auth_mode,
    }

    # Schedules; this one fires while other things are done
    def pipeline_job() -> Any:
        made = doubling(n=4)
        made.settings.default_compute = "cpu-cluster"
        return made

    def schedule(name: str, trigger: Any, job: Any = None) -> Any:
        return client.schedules.begin_create_or_update(
            JobSchedule(name=name, trigger=trigger, create_job=job or pipeline_job())
        ).result()

    often = schedule("often", CronTrigger(expression="* * * * *", time_zone=TimeZone.UTC))

    # A model, without a scoring script
    registered = client.models.create_or_update(
        Model(name="bank", type="mlflow_model", path=str(model))
    )
    tables = folder / "tables"
    tables.mkdir()
    (tables / "one.csv").write_text("age,rate,job\n20,0.5,a\n70,0.5,b\n")
    (tables / "two.csv").write_text("age,rate,job\n71,0.1,a\n")
    data = client.data.create_or_update(Data(name="tables", type="uri_folder", path=str(tables)))
    client.batch_endpoints.begin_create_or_update(BatchEndpoint(name="bank-batch")).result()
    client.batch_deployments.begin_create_or_update(
        ModelBatchDeployment(
            name="plain",
            endpoint_name="bank-batch",
            model=registered,
            compute="cpu-cluster",
            settings=ModelBatchDeploymentSettings(
                instance_count=1,
                mini_batch_size=2,
                output_file_name="scores.csv",
                retry_settings=BatchRetrySettings(max_retries=1, timeout=60),
            ),
        )
    ).result()
    job = client.batch_endpoints.invoke(
        endpoint_name="bank-batch",
        deployment_name="plain",
        input=Input(type="uri_folder", path=data.id),
    )
    done = ended(job.name)
    child = next(iter(client.jobs.list(parent_job_name=job.name)))
    client.jobs.download(job.name, output_name="score", download_path=str(folder / "scores"))
    client.jobs.download(child.name, output_name="score", download_path=str(folder / "child"))
    seen["model"] = {
        "status": done.status,
        "child": child.display_name,
        "same": next((folder / "child").rglob("scores.csv")).exists(),
        "scores": next((folder / "scores").rglob("scores.csv")).read_text().splitlines(),
        "deployments": [item.name for item in client.batch_deployments.list("bank-batch")],
    }

    # With a script of one's own; and a pipeline job, published as it ran
    script = folder / "script"
    script.mkdir()
    (script / "driver.py").write_text(DRIVER)
    client.batch_deployments.begin_create_or_update(
        ModelBatchDeployment(
            name="scripted",
            endpoint_name="bank-batch",
            model=registered,
            code_configuration=CodeConfiguration(code=str(script), scoring_script="driver.py"),
            environment="azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
            compute="cpu-cluster",
            settings=ModelBatchDeploymentSettings(
                mini_batch_size=1, output_action="append_row", output_file_name="rows.csv"
            ),
        )
    ).result()
    scripted = client.batch_endpoints.invoke(
        endpoint_name="bank-batch",
        deployment_name="scripted",
        input=Input(type="uri_folder", path=data.id),
    )
    seen["scripted"] = {"status": ended(scripted.name).status}
    client.jobs.download(scripted.name, output_name="score", download_path=str(folder / "rows"))
    seen["scripted"]["rows"] = next((folder / "rows").rglob("rows.csv")).read_text().splitlines()
    ran = client.jobs.create_or_update(pipeline_job(), experiment_name="published")
    assert ended(ran.name).status == "Completed"
    client.batch_deployments.begin_create_or_update(
        PipelineComponentBatchDeployment(
            name="from-job",
            endpoint_name="doubling-batch",
            job_definition=f"azureml:{ran.name}",
            settings={"default_compute": "cpu-cluster"},
        )
    ).result()
    again = client.batch_endpoints.invoke(
        endpoint_name="doubling-batch", deployment_name="from-job"
    )
    seen["from_job"] = {"status": ended(again.name).status}
    client.jobs.download(again.name, output_name="result", download_path=str(folder / "from-job"))
    seen["from_job"]["result"] = next((folder / "from-job").rglob("n.txt")).read_text()

    weekly = schedule(
        "weekly",
        RecurrenceTrigger(
            frequency="week",
            interval=1,
            schedule=RecurrencePattern(hours=[3], minutes=[30], week_days=["monday", "friday"]),
            time_zone=TimeZone.W_EUROPE_STANDARD_TIME,
        ),
    )
    again = schedule("again", CronTrigger(expression="0 0 1 1 *"), job=done.name)
    fired = client.schedules.trigger("again")
    seen["schedules"] = {
        "enabled": often.is_enabled,
        "weekly": [weekly.trigger.frequency.lower(), weekly.trigger.schedule.hours],
        "again": again.provisioning_state,
        "triggered": ended(fired.job_name).status,
    }
    try:
        schedule("broken", CronTrigger(expression="never"))
    except HttpResponseError as error:
        seen["broken"] = {"status": error.status_code, "text": str(error)}

    def started() -> list[str]:
        return [item.name for item in client.jobs.list() if item.name.startswith("often_")]

    wait(lambda: bool(started()), 100)
    client.schedules.begin_disable("often").result()
    seen["fired"] = {"jobs": started(), "status": ended(started()[0]).status}
    seen["listed"] = {
        "enabled": sorted(item.name for item in client.schedules.list()),
        "all": sorted(item.name for item in client.schedules.list(list_view_type="All")),
        "disabled": [item.name for item in client.schedules.list(list_view_type="DisabledOnly")],
    }
    client.schedules.begin_delete("often").result()
    client.schedules.begin_enable("weekly").result()
    seen["left"] = sorted(item.name for item in client.schedules.list(list_view_type="All"))
    client.batch_deployments.begin_delete("plain", "bank-batch").result()
    client.batch_deployments.begin_delete("scripted", "bank-batch").result()
    client.batch_endpoints.begin_delete("bank-batch").result()
    seen["endpoints"] = [item.name for item in client.batch_endpoints.list()]
    return seen


def wait(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(1)


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
