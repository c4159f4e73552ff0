"""What a user does with jobs through the unmodified SDK, as a program.

Prints one JSON object with what was seen; the tests look at that. The folder given has
``src`` with the scripts that the jobs run.
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

TRAIN = """
import argparse, os, pathlib, sys
import mlflow

parser = argparse.ArgumentParser()
for name in ("--data", "--share", "--model", "--report", "--note", "--place"):
    parser.add_argument(name)
arguments = parser.parse_args()
rows = pathlib.Path(arguments.data).read_text().splitlines()[1:]
with mlflow.start_run() as run:
    mlflow.log_metric("rows", len(rows))
    mlflow.log_param("share", arguments.share)
    mlflow.set_tag("colour", os.environ["COLOUR"])
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    pathlib.Path("note.txt").write_text("a note")
    mlflow.log_artifact("note.txt", "notes")
    with mlflow.start_run(nested=True, run_name="inner"):
        mlflow.log_metric("depth", 2)
pathlib.Path(arguments.model, "MLmodel").write_text("flavors: {}\\n")
pathlib.Path(arguments.report).write_text(f"share {arguments.share}")
pathlib.Path("outputs/made.txt").write_text("made")
print("note is", arguments.note, "place is", arguments.place)
print("run is", run.info.run_id == os.environ["AZUREML_RUN_ID"], file=sys.stderr)
"""
PACKAGE = """
import sys, iniconfig
print("python", sys.prefix, "iniconfig", iniconfig.__file__)
"""
TRIAL = """
import pathlib, sys
import mlflow

rate, kernel, model = sys.argv[1:]
mlflow.log_metric("auc", float(rate) if kernel == "b" else 0.0)
pathlib.Path(model, "rate.txt").write_text(rate)
"""
FINISHED = ("Completed", "Failed", "Canceled")


class Session:
    """A client, and what it saw."""

    def __init__(self, folder: Path) -> None:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        self.folder = folder
        self.client = MLClient(
            DefaultAzureCredential(),
            os.environ["AZUREML_ARM_SUBSCRIPTION"],
            os.environ["AZUREML_ARM_RESOURCEGROUP"],
            os.environ["AZUREML_ARM_WORKSPACE_NAME"],
            show_progress=False,
        )
        self.seen: dict[str, Any] = {}

    def streamed(self, name: str) -> dict[str, str]:
        """Return what ``jobs.stream`` prints, and its error if the job failed."""
        from azure.ai.ml.exceptions import JobException

        printed, error = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                self.client.jobs.stream(name)
            except JobException as failure:
                error = str(failure)
        return {"text": printed.getvalue(), "error": error}

    def ended(self, name: str) -> Any:
        """Return a job once it has ended."""
        while (job := self.client.jobs.get(name)).status not in FINISHED:
            time.sleep(0.5)
        return job

    def refused(self, action: Any) -> str:
        """Return the words of the refusal."""
        from azure.core.exceptions import HttpResponseError

        try:
            action()
        except HttpResponseError as error:
            return f"{error.status_code} {error.message}"
        raise AssertionError("the emulator agreed")


def prepare(session: Session) -> None:
    from azure.ai.ml.entities import AmlCompute, Data, Environment

    client, folder = session.client, session.folder
    client.compute.begin_create_or_update(
        AmlCompute(name="cpu-cluster", size="STANDARD_DS3_V2", max_instances=2)
    ).result()
    table = folder / "table.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    client.data.create_or_update(Data(name="table", type="uri_file", path=str(table)))
    source = folder / "src"
    source.mkdir()
    (source / "train.py").write_text(TRAIN)
    (source / "package.py").write_text(PACKAGE)
    (source / "trial.py").write_text(TRIAL)
    conda = {"dependencies": ["python=3.11", "pip", {"pip": ["iniconfig==2.0.0"]}]}
    client.environments.create_or_update(
        Environment(name="small", image="example/base:1", conda_file=conda)
    )
    broken = {"dependencies": ["python=3.11", {"pip": ["iniconfig==99.99.99"]}]}
    client.environments.create_or_update(
        Environment(name="broken", image="example/base:1", conda_file=broken)
    )


def run_command(session: Session) -> None:
    from azure.ai.ml import Input, Output, command

    client = session.client
    job = command(
        code=str(session.folder / "src"),
        command=(
            "python train.py --data ${{inputs.table}} --share ${{inputs.share}} "
            "--model ${{outputs.model}} --report ${{outputs.report}} --place ${{inputs.place}} "
            "$[[--note ${{inputs.note}}]]"
        ),
        inputs={
            "table": Input(type="uri_file", path="azureml:table@latest"),
            "share": 0.5,
            "place": Input(
                type="uri_folder",
                path="azureml://datastores/workspaceblobstore/paths/some/where",
                mode="direct",
            ),
        },
        outputs={
            "model": Output(type="mlflow_model", name="trained"),
            "report": Output(
                type="uri_file",
                path="azureml://datastores/workspaceblobstore/paths/mine/report.txt",
            ),
        },
        environment="AzureML-sklearn-1.5@latest",
        environment_variables={"COLOUR": "green"},
        compute="cpu-cluster",
        experiment_name="commands",
        display_name="Train",
        tags={"from": "me"},
    )
    created = client.jobs.create_or_update(job)
    streamed = session.streamed(created.name)
    got = client.jobs.get(created.name)
    client.jobs.download(created.name, download_path=session.folder / "down", all=True)
    down = session.folder / "down"
    model = client.models.get("trained", label="latest")
    client.jobs.archive(created.name)
    archived = [item.name for item in client.jobs.list()]
    client.jobs.restore(created.name)
    client.jobs.update(created.name, tags={"more": "1"}, display_name="Trained")
    updated = client.jobs.get(created.name)
    # The page that "Web View" names, as a browser without the proxy opens it.
    with urlopen(got.studio_url, timeout=20) as page:
        shown = page.read().decode()
    try:
        urlopen(got.studio_url.replace("key=", "key=0"), timeout=20)
        guessed = "shown"
    except HTTPError as error:
        guessed = str(error.code)
    session.seen["page"] = {"address": got.studio_url, "text": shown, "guessed": guessed}
    session.seen["command"] = {
        "name": created.name,
        "first": created.status,
        "streamed": streamed,
        "status": got.status,
        "tags": got.tags,
        "report_path": got.outputs["report"].path,
        "files": {
            path.relative_to(down).as_posix(): path.read_text()
            for path in down.rglob("*")
            if path.is_file()
        },
        "model": [model.version, model.type, model.job_name, model.path],
        "archived": archived,
        "restored": [item.name for item in client.jobs.list()],
        "updated": [updated.display_name, updated.tags],
        "services": client.jobs.show_services(created.name),
    }


def look_with_mlflow(session: Session) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    workspace = session.client.workspaces.get(session.client.workspace_name)
    mlflow.set_tracking_uri(workspace.mlflow_tracking_uri)
    name = session.seen["command"]["name"]
    client = mlflow.MlflowClient()
    run = client.get_run(name)
    inner = mlflow.search_runs(
        experiment_names=["commands"], filter_string="tags.mlflow.runName = 'inner'"
    )
    mlflow.set_experiment("outside")
    with mlflow.start_run(run_name="mine") as mine:
        mlflow.log_params({"a": 1})
        mlflow.log_metrics({"b": 2.5})
        mlflow.log_dict({"x": 1}, "folder/x.json")
    folder = session.folder / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    client.log_artifacts(mine.info.run_id, str(folder), "model")
    client.create_registered_model("by-mlflow", tags={"k": "v"})
    version = client.create_model_version(
        "by-mlflow", f"{mine.info.artifact_uri}/model", mine.info.run_id
    )
    arm = session.client.models.get("by-mlflow", version=version.version)
    try:
        client.create_logged_model(run.info.experiment_id)
        gap = "none"
    except MlflowException as error:
        gap = str(error)
    except Exception as error:
        gap = f"{type(error).__name__}: {error}"
    session.seen["mlflow"] = {
        "metrics": run.data.metrics,
        "params": run.data.params,
        "colour": [run.data.tags[name] for name in ("colour", "from")],
        "status": run.info.status,
        "history": [item.value for item in client.get_metric_history(name, "loss")],
        "artifacts": sorted(item.path for item in client.list_artifacts(name)),
        "note": Path(
            mlflow.artifacts.download_artifacts(run_id=name, artifact_path="notes/note.txt")
        ).read_text(),
        "inner_parent": inner["tags.mlflow.parentRunId"].tolist(),
        "mine": mlflow.artifacts.load_dict(f"{mine.info.artifact_uri}/folder/x.json"),
        "registered": [version.version, arm.type, arm.path.rpartition("/paths/")[2]],
        "run": mine.info.run_id,
        "found": [item.name for item in client.search_registered_models()],
        "files": sorted(
            path.name
            for path in Path(mlflow.artifacts.download_artifacts("models:/by-mlflow/1")).iterdir()
        ),
        "gap": gap,
    }


def build_environments(session: Session) -> None:
    from azure.ai.ml import command

    client, common = session.client, {"compute": "cpu-cluster", "code": str(session.folder / "src")}
    # Long enough to be seen at work: the SDK shows no log of what has ended before it looks.
    slow = "sleep 4; python package.py; sleep 2"
    good = client.jobs.create_or_update(command(command=slow, environment="small@latest", **common))
    streamed = session.streamed(good.name)
    bad = client.jobs.create_or_update(
        command(command="python package.py", environment="broken@latest", **common)
    )
    plain = client.jobs.create_or_update(
        command(command="python train.py", environment="small@latest", **common)
    )
    session.seen["environments"] = {
        "good": streamed,
        "bad": session.streamed(bad.name),
        "plain": session.streamed(plain.name),
        "statuses": [session.ended(job.name).status for job in (good, bad, plain)],
    }


def cancel(session: Session) -> None:
    from azure.ai.ml import command

    client = session.client
    marker = session.folder / "ticks"
    created = client.jobs.create_or_update(
        command(
            command=f"while true; do echo tick | tee -a {marker}; sleep 0.2; done",
            environment="AzureML-sklearn-1.5@latest",
            compute="cpu-cluster",
        )
    )
    while not marker.exists():
        time.sleep(0.2)
    client.jobs.begin_cancel(created.name).result()
    status = session.ended(created.name).status
    ticks = len(marker.read_text().splitlines())
    time.sleep(1)
    session.seen["cancel"] = {
        "status": status,
        "still": len(marker.read_text().splitlines()) > ticks,
    }


def sweep(session: Session) -> None:
    from azure.ai.ml import Output, command
    from azure.ai.ml.entities import Model
    from azure.ai.ml.sweep import BanditPolicy, Choice

    client, folder = session.client, session.folder
    step = command(
        code=str(folder / "src"),
        command="python trial.py ${{inputs.rate}} ${{inputs.kernel}} ${{outputs.model}}",
        inputs={"rate": 0.1, "kernel": "a"},
        outputs={"model": Output(type="uri_folder")},
        environment="AzureML-sklearn-1.5@latest",
        compute="cpu-cluster",
    )
    job = step(rate=Choice([0.25, 0.75]), kernel=Choice(["b"])).sweep(
        sampling_algorithm="grid",
        primary_metric="auc",
        goal="Maximize",
        compute="cpu-cluster",
        early_termination_policy=BanditPolicy(evaluation_interval=1, slack_factor=0.1),
    )
    job.set_limits(max_total_trials=5, max_concurrent_trials=2, timeout=600)
    job.experiment_name = "sweeps"
    created = client.jobs.create_or_update(job)
    streamed = session.streamed(created.name)
    ended = client.jobs.get(created.name)
    children = list(client.jobs.list(parent_job_name=created.name))
    client.jobs.download(created.name, download_path=folder / "best", output_name="model")
    best = ended.properties["best_child_run_id"]
    registered = client.models.create_or_update(
        Model(path=f"azureml://jobs/{best}/outputs/model", name="swept", type="custom_model")
    )
    session.seen["sweep"] = {
        "name": created.name,
        "type": type(ended).__name__,
        "status": ended.status,
        "streamed": streamed["text"],
        "best": best,
        "children": {
            child.name: [child.status, json.loads(child.properties["hyperparameters"])]
            for child in children
        },
        "model": (folder / "best/named-outputs/model/rate.txt").read_text(),
        "registered": registered.version,
    }


def use_uploaded_model(session: Session) -> None:
    import mlflow
    from azure.ai.ml import Input, command
    from azure.ai.ml.entities import Model
    from sklearn.dummy import DummyClassifier

    client, folder = session.client, session.folder / "dummy"
    fitted = DummyClassifier(strategy="most_frequent").fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    mlflow.sklearn.save_model(fitted, str(folder), serialization_format="cloudpickle")
    client.models.create_or_update(Model(name="sent", type="mlflow_model", path=str(folder)))
    table = session.folder / "mltable"
    table.mkdir()
    (table / "rows.csv").write_text("a\n1\n")
    (table / "MLTable").write_text("paths:\n  - file: ./rows.csv\n")
    job = client.jobs.create_or_update(
        command(
            command="ls ${{inputs.model}} ${{inputs.local}} ${{inputs.table}}",
            inputs={
                "model": Input(type="mlflow_model", path="azureml:sent:1"),
                "local": Input(type="custom_model", path=str(folder / "model.pkl")),
                "table": Input(type="mltable", path=str(table)),
            },
            environment="AzureML-sklearn-1.5@latest",
            compute="cpu-cluster",
        )
    )
    session.seen["sent"] = {
        "listed": session.streamed(job.name)["text"],
        "files": sorted(
            path.name
            for path in Path(mlflow.artifacts.download_artifacts("models:/sent/1")).iterdir()
        ),
        "answer": mlflow.pyfunc.load_model("models:/sent/1").predict([[5.0]]).tolist(),
        "latest": mlflow.sklearn.load_model("models:/sent/latest").predict([[5.0]]).tolist(),
    }


def list_and_delete(session: Session) -> None:
    """Look at jobs through the filters of a list, and delete one."""
    from azure.ai.ml.constants import ListViewType

    client, name = session.client, session.seen["command"]["name"]
    client.jobs.archive(name)
    archived = [job.name for job in client.jobs.list(list_view_type=ListViewType.ARCHIVED_ONLY)]
    everything = [job.name for job in client.jobs.list(list_view_type=ListViewType.ALL)]
    operations = client.jobs._operation_2023_02_preview
    where = {
        "resource_group_name": client.resource_group_name,
        "workspace_name": client.workspace_name,
    }
    sweeps = [job.name for job in operations.list(**where, job_type="Sweep")]
    operations.begin_delete(id=name, **where).result()
    session.seen["lists"] = {
        "archived": archived,
        "everything": name in everything,
        "sweeps": sweeps,
        "deleted": session.refused(lambda: client.jobs.get(name)),
    }


def be_refused(session: Session) -> None:
    from azure.ai.ml import Input, command, spark

    client = session.client
    common = {"environment": "AzureML-sklearn-1.5@latest", "compute": "cpu-cluster"}
    sparked = spark(
        code=str(session.folder / "src"),
        entry={"file": "train.py"},
        driver_cores=1,
        driver_memory="2g",
        executor_cores=1,
        executor_memory="2g",
        executor_instances=1,
        resources={"instance_type": "Standard_E8S_V3", "runtime_version": "3.4.0"},
    )
    far = Input(type="uri_file", path="https://example.com/data/far.csv")
    lost = client.jobs.create_or_update(
        command(command="cat ${{inputs.far}}", inputs={"far": far}, **common)
    )
    near = Input(type="uri_folder", path="https://example.org/data/near")
    mirrored = client.jobs.create_or_update(
        command(command="cat ${{inputs.near}}/a.txt", inputs={"near": near}, **common)
    )
    session.seen["mirrored"] = session.streamed(mirrored.name)["text"]
    session.seen["refused"] = {
        "spark": session.refused(lambda: client.jobs.create_or_update(sparked)),
        "unbound": session.refused(
            lambda: client.jobs._operation_2023_02_preview.create_or_update(
                id="unbound",
                resource_group_name=client.resource_group_name,
                workspace_name=client.workspace_name,
                body={
                    "properties": {
                        "jobType": "Command",
                        "command": "echo ${{inputs.nothing}}",
                        "environmentId": "azureml:x:1",
                    }
                },
            )
        ),
        "far": session.streamed(lost.name)["error"],
        "missing": session.refused(lambda: client.jobs.get("nowhere")),
    }


STEPS = (
    prepare,
    run_command,
    look_with_mlflow,
    build_environments,
    cancel,
    sweep,
    use_uploaded_model,
    be_refused,
    list_and_delete,
)


def main(folder: Path) -> dict[str, Any]:
    session = Session(folder)
    for step in STEPS:
        step(session)
    return session.seen


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]))
    # The SDK prints dots of its own; the last line is ours.
    sys.stdout.write("\n" + json.dumps(answer, default=str) + "\n")
