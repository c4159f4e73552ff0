"""What a user does with pipelines and AutoML through the unmodified SDK, as a program.

Prints one JSON object with what was seen; the tests look at that.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from jobs_session import Session

TRAIN = """
import pathlib, sys
import mlflow

place = pathlib.Path(sys.argv[sys.argv.index("--model") + 1])
rows = sum(len(path.read_text().splitlines()) - 1 for path in
           pathlib.Path(sys.argv[sys.argv.index("--data") + 1]).glob("*.csv"))
rest = [word for word in sys.argv[1:] if not word.startswith("/")]
(place / "model.txt").write_text(" ".join(rest))
mlflow.log_metric("rows", rows)
"""
SCORE = """
import pathlib, sys

model, out = map(pathlib.Path, sys.argv[1:3])
(out / "score.txt").write_text("scored " + (model / "model.txt").read_text())
"""
TRAIN_YAML = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: train_rows
version: 1
inputs:
  data:
    type: uri_folder
  epochs:
    type: integer
  rate:
    type: number
    default: 0.01
  mode:
    type: string
    optional: true
outputs:
  model:
    type: uri_folder
code: ./src
environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
command: >-
  python train.py
  --data ${{inputs.data}}
  --epochs ${{inputs.epochs}}
  --rate ${{inputs.rate}}
  $[[--mode ${{inputs.mode}}]]
  --model ${{outputs.model}}
"""
SCORE_YAML = """
type: command
name: score_rows
version: 1
inputs:
  model:
    type: uri_folder
outputs:
  scores:
    type: uri_folder
code: ./src
environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
command: >-
  python score.py ${{inputs.model}} ${{outputs.scores}}
"""
PIPELINE_YAML = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: train_and_score
compute: azureml:cpu-cluster
inputs:
  epochs: 20
  rows:
    type: uri_folder
    path: ./rows
outputs:
  trained:
    mode: upload
  scored:
    path: azureml://datastores/workspaceblobstore/paths/mine/${{name}}/scored
    mode: rw_mount
settings:
  default_compute: azureml:cpu-cluster
jobs:
  train_job:
    type: command
    component: ./train.yml
    inputs:
      data: ${{parent.inputs.rows}}
      epochs: ${{parent.inputs.epochs}}
    outputs:
      model: ${{parent.outputs.trained}}
  hello_job:
    type: command
    command: echo "hello ${{inputs.who}}" > ${{outputs.words}}/hello.txt
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    inputs:
      who: world
    outputs:
      words:
        type: uri_folder
  score_job:
    type: command
    component: ./score.yml
    inputs:
      model: ${{parent.jobs.train_job.outputs.model}}
    outputs:
      scores: ${{parent.outputs.scored}}
"""
TRIAL = """
import pathlib, sys
import mlflow

rate, kernel, model = sys.argv[1:]
mlflow.log_metric("loss", float(rate))
pathlib.Path(model, "rate.txt").write_text(kernel)
"""
TRIAL_YAML = """
type: command
name: trial
version: 1
inputs:
  rate: {type: number, default: 1.0}
  kernel: {type: string}
outputs:
  model: {type: uri_folder}
code: ./src
environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
command: python trial.py ${{inputs.rate}} ${{inputs.kernel}} ${{outputs.model}}
"""
COUNT = """
import argparse, pathlib

def init():
    global prefix
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix")
    prefix = parser.parse_known_args()[0].prefix

def run(mini_batch):
    if any(path.endswith("part.csv") for path in mini_batch) and not pathlib.Path("once").exists():
        pathlib.Path("once").touch()
        raise OSError("the first time fails")
    return [prefix + pathlib.Path(path).name for path in mini_batch]
"""
SEARCHING_YAML = """
type: pipeline
settings:
  default_compute: azureml:cpu-cluster
inputs:
  rows: {type: uri_folder, path: ./rows}
outputs:
  chosen: {type: uri_folder}
  counted: {type: uri_file}
jobs:
  search:
    type: sweep
    trial: ./trial.yml
    inputs: {kernel: rbf}
    outputs:
      model: ${{parent.outputs.chosen}}
    sampling_algorithm: random
    search_space:
      rate: {type: uniform, min_value: 0.5, max_value: 0.9}
    objective: {goal: minimize, primary_metric: loss}
    limits: {max_total_trials: 2, max_concurrent_trials: 2, timeout: 600}
  count:
    type: parallel
    mini_batch_size: "1"
    mini_batch_error_threshold: 0
    retry_settings: {max_retries: 1, timeout: 60}
    input_data: ${{inputs.rows}}
    inputs:
      rows: ${{parent.inputs.rows}}
    outputs:
      counted:
        type: uri_file
        path: ${{parent.outputs.counted}}
    task:
      type: run_function
      code: ./src
      entry_script: count.py
      program_arguments: --prefix file=
      append_row_to: ${{outputs.counted}}
      environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
"""
ENDLESS_YAML = """
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
jobs:
  ticking:
    command: while true; do echo tick | tee -a TICKS; sleep 0.2; done
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    outputs: {out: {type: uri_folder}}
  waiting:
    command: ls ${{inputs.out}}
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    inputs: {out: "${{parent.jobs.ticking.outputs.out}}"}
"""
HALF_YAML = """
type: pipeline
settings: {default_compute: azureml:cpu-cluster, continue_on_step_failure: true}
jobs:
  bad:
    command: echo broken here; exit 3
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    outputs: {out: {type: uri_folder}}
  slow:
    command: sleep 1; echo fine
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    outputs: {out: {type: uri_folder}}
  after_slow:
    command: ls ${{inputs.out}}
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    inputs: {out: "${{parent.jobs.slow.outputs.out}}"}
  after_bad:
    command: ls ${{inputs.out}}
    environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
    inputs: {out: "${{parent.jobs.bad.outputs.out}}"}
"""


def submit(session: Session, job: Any) -> dict[str, Any]:
    """Run a job to its end; return what is to be seen of it and its children."""
    client = session.client
    created = client.jobs.create_or_update(job, experiment_name="pipelines")
    streamed = session.streamed(created.name)
    got = client.jobs.get(created.name)
    children = list(client.jobs.list(parent_job_name=created.name))
    return {
        "name": created.name,
        "status": got.status,
        "streamed": streamed,
        "outputs": {name: output.path for name, output in (got.outputs or {}).items()},
        "children": {
            child.display_name: {
                "name": child.name,
                "status": child.status,
                "properties": child.properties,
            }
            for child in children
        },
    }


def prepare(session: Session) -> None:
    from azure.ai.ml.entities import AmlCompute

    folder = session.folder
    session.client.compute.begin_create_or_update(
        AmlCompute(name="cpu-cluster", size="STANDARD_DS3_V2", max_instances=2)
    ).result()
    for name in ("rows", "src"):
        (folder / name).mkdir()
    (folder / "rows" / "part.csv").write_text("a\n1\n2\n3\n")
    (folder / "src" / "train.py").write_text(TRAIN)
    (folder / "src" / "score.py").write_text(SCORE)
    (folder / "train.yml").write_text(TRAIN_YAML)
    (folder / "score.yml").write_text(SCORE_YAML)
    (folder / "pipeline.yml").write_text(PIPELINE_YAML)


def run_yaml(session: Session) -> None:
    from azure.ai.ml import load_job

    client, down = session.client, session.folder / "down"
    seen = submit(session, load_job(session.folder / "pipeline.yml"))
    client.jobs.download(seen["name"], download_path=down, all=True)
    child = seen["children"]["train_job"]["name"]
    client.jobs.download(child, download_path=session.folder / "child", all=True)
    again = submit(session, load_job(session.folder / "pipeline.yml"))
    forced = load_job(session.folder / "pipeline.yml")
    forced.settings.force_rerun = True
    del forced.jobs["train_job"], forced.jobs["score_job"]
    forced.outputs.clear()
    session.seen["yaml"] = {
        **seen,
        "files": {
            path.relative_to(down).as_posix(): path.read_text()
            for path in down.rglob("*")
            if path.is_file()
        },
        "child_status": client.jobs.get(child).status,
        "child_files": sorted(
            path.relative_to(session.folder / "child").as_posix()
            for path in (session.folder / "child").rglob("*")
            if path.is_file()
        ),
        "again": again,
        "forced": submit(session, forced),
    }


def run_dsl(session: Session) -> None:
    from azure.ai.ml import Input, Output, command, dsl, load_component

    client, folder = session.client, session.folder
    client.components.create_or_update(load_component(folder / "train.yml"))
    train = client.components.get("train_rows")
    score = load_component(folder / "score.yml")

    @dsl.pipeline(display_name="inner")
    def inner(data: Input, rate: float = 0.5) -> Any:
        trained = train(data=data, epochs=3, rate=rate)
        scored = score(model=trained.outputs.model)
        return {"scores": scored.outputs.scores, "model": trained.outputs.model}

    @dsl.pipeline(default_compute="cpu-cluster")
    def outer(data: Input, epochs: int = 1) -> Any:
        part = inner(data=data, rate=0.25)
        other = train(data=data, epochs=epochs, mode="deep")
        last = score(model=part.outputs.model)
        return {"model": other.outputs.model, "scores": last.outputs.scores}

    rows = Input(type="uri_folder", path=str(folder / "rows"))
    job = outer(data=rows, epochs=7)
    job.outputs["model"] = Output(type="uri_folder", name="of-a-pipeline", version="3")
    seen = submit(session, job)
    group = seen["children"]["part"]["name"]
    client.jobs.download(seen["name"], download_path=folder / "outer", output_name="scores")

    @dsl.pipeline(default_compute="cpu-cluster")
    def failing(data: Input) -> Any:
        bad = command(
            name="bad",
            command="echo some words; exit 3",
            environment="AzureML-sklearn-1.5@latest",
            outputs={"out": Output(type="uri_folder")},
        )()
        score(model=bad.outputs.out)

    session.seen["dsl"] = {
        **seen,
        "inner": [child.display_name for child in client.jobs.list(parent_job_name=group)],
        "scores": (folder / "outer/named-outputs/scores/score.txt").read_text(),
        "registered": client.data.get("of-a-pipeline", "3").path,
        "failing": submit(session, failing(data=rows)),
    }


def run_searching(session: Session) -> None:
    """Run nodes that are more than a command: a sweep, and a function on many files."""
    from azure.ai.ml import load_job

    client, folder = session.client, session.folder
    (folder / "src" / "trial.py").write_text(TRIAL)
    (folder / "src" / "count.py").write_text(COUNT)
    (folder / "trial.yml").write_text(TRIAL_YAML)
    (folder / "searching.yml").write_text(SEARCHING_YAML)
    (folder / "rows" / "more.csv").write_text("a\n9\n")
    seen = submit(session, load_job(folder / "searching.yml"))
    assert seen["status"] == "Completed", seen
    down = folder / "searched"
    client.jobs.download(seen["name"], download_path=down, all=True)
    session.seen["searching"] = {
        **seen,
        "trials": [
            child.status
            for child in client.jobs.list(parent_job_name=seen["children"]["search"]["name"])
        ],
        "chosen": (down / "named-outputs/chosen/rate.txt").read_text(),
        "counted": next((down / "named-outputs/counted").iterdir()).read_text().splitlines(),
    }


def run_badly(session: Session) -> None:
    """Cancel a pipeline while a step works, and go on beside a step that fails."""
    from azure.ai.ml import load_job

    client, folder = session.client, session.folder
    ticks = folder / "ticks"
    (folder / "endless.yml").write_text(ENDLESS_YAML.replace("TICKS", str(ticks)))
    (folder / "half.yml").write_text(HALF_YAML)
    created = client.jobs.create_or_update(load_job(folder / "endless.yml"))
    while not ticks.exists():
        time.sleep(0.2)
    client.jobs.begin_cancel(created.name).result()
    status = session.ended(created.name).status
    before = len(ticks.read_text().splitlines())
    children = client.jobs.list(parent_job_name=created.name)
    states = {child.display_name: child.status for child in children}
    time.sleep(1)
    session.seen["badly"] = {
        "canceled": [status, states],
        "still": len(ticks.read_text().splitlines()) > before,
        "half": submit(session, load_job(folder / "half.yml")),
    }


def write_table(folder: Path) -> None:
    from twinml.data import load

    table = load(Path(os.environ["BANK"]), "y").frame.sample(900, random_state=1)
    folder.mkdir()
    table.to_csv(folder / "train.csv", index=False)
    (folder / "MLTable").write_text(
        "paths:\n  - file: ./train.csv\ntransformations:\n  - read_delimited:\n"
        "      delimiter: ','\n      encoding: 'utf8'\n"
    )


def run_automl(session: Session) -> None:
    import mlflow
    from azure.ai.ml import Input, automl
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    client, folder = session.client, session.folder
    write_table(folder / "table")
    job = automl.classification(
        compute="cpu-cluster",
        experiment_name="automl",
        training_data=Input(type=AssetTypes.MLTABLE, path=str(folder / "table")),
        target_column_name="y",
        primary_metric="AUC_weighted",
        n_cross_validations=2,
        enable_model_explainability=True,
        tags={"my": "tag"},
    )
    job.set_limits(timeout_minutes=600, max_trials=3, enable_early_termination=True)
    job.set_training(
        allowed_training_algorithms=["LightGBM", "logistic_regression", "RandomForest"],
        enable_stack_ensemble=False,
        enable_vote_ensemble=True,
    )
    created = client.jobs.create_or_update(job)
    streamed = session.streamed(created.name)
    assert not streamed["error"], streamed
    # The notebooks' way to the best child.
    mlflow.set_tracking_uri(client.workspaces.get(client.workspace_name).mlflow_tracking_uri)
    logged = mlflow.MlflowClient()
    parent = logged.get_run(created.name)
    best = logged.get_run(parent.data.tags["automl_best_child_run_id"])
    down = folder / "artifacts"
    down.mkdir()
    local = Path(logged.download_artifacts(best.info.run_id, "outputs", str(down)))
    registered = client.models.create_or_update(
        Model(
            path=f"azureml://jobs/{best.info.run_id}/outputs/artifacts/outputs/mlflow-model/",
            name="automl-best",
            type=AssetTypes.MLFLOW_MODEL,
        )
    )
    client.models.download("automl-best", registered.version, download_path=str(folder))
    model = mlflow.pyfunc.load_model(str(local / "mlflow-model"))
    import pandas as pd

    table = pd.read_csv(folder / "table/train.csv")
    answers = model.predict(table.drop(columns="y"))
    children = list(client.jobs.list(parent_job_name=created.name))
    session.seen["automl"] = {
        "name": created.name,
        "log": streamed["text"],
        "tags": parent.data.tags,
        "parent_metrics": parent.data.metrics,
        "best": best.info.run_id,
        "metrics": best.data.metrics,
        "files": sorted(path.name for path in local.iterdir()),
        "downloaded": sorted(path.name for path in folder.glob("automl-best/mlflow-model/*")),
        "path": registered.path,
        "agreement": float((answers == table["y"]).mean()),
        "children": {
            child.name: [child.status, child.properties["run_algorithm"]] for child in children
        },
        "scores": {child.name: float(child.properties["score"]) for child in children},
        "regression": run_regression(session),
    }


def run_regression(session: Session) -> dict[str, Any]:
    """Predict the age: one learner, the data of the classification."""
    import mlflow
    from azure.ai.ml import Input, automl
    from azure.ai.ml.constants import AssetTypes

    job = automl.regression(
        compute="cpu-cluster",
        experiment_name="automl",
        training_data=Input(type=AssetTypes.MLTABLE, path=str(session.folder / "table")),
        target_column_name="age",
        primary_metric="r2_score",
        n_cross_validations=2,
    )
    job.set_limits(timeout_minutes=60, max_trials=1)
    job.set_training(
        allowed_training_algorithms=["LightGBM"],
        enable_stack_ensemble=False,
        enable_vote_ensemble=False,
    )
    created = session.client.jobs.create_or_update(job)
    streamed = session.streamed(created.name)
    assert not streamed["error"], streamed
    return dict(mlflow.MlflowClient().get_run(created.name).data.metrics)


def run_automl_node(session: Session) -> None:
    from azure.ai.ml import Input, Output, automl, command, dsl

    look = command(
        name="look",
        command="ls ${{inputs.model}} > ${{outputs.listed}}/files.txt",
        environment="AzureML-sklearn-1.5@latest",
        inputs={"model": Input(type="mlflow_model")},
        outputs={"listed": Output(type="uri_folder")},
    )

    @dsl.pipeline(default_compute="cpu-cluster")
    def pipeline(table: Input) -> Any:
        search = automl.classification(
            training_data=table,
            target_column_name="y",
            primary_metric="accuracy",
            n_cross_validations=2,
            outputs={"best_model": Output(type="mlflow_model")},
        )
        search.set_limits(max_trials=1, timeout_minutes=30)
        search.set_training(
            allowed_training_algorithms=["logistic_regression"], enable_vote_ensemble=False
        )
        looked = look(model=search.outputs.best_model)
        return {"listed": looked.outputs.listed}

    folder = session.folder
    seen = submit(session, pipeline(table=Input(type="mltable", path=str(folder / "table"))))
    session.client.jobs.download(seen["name"], download_path=folder / "node", output_name="listed")
    search = seen["children"]["search"]["name"]
    session.seen["node"] = {
        **seen,
        "listed": (folder / "node/named-outputs/listed/files.txt").read_text().split(),
        "grandchildren": [
            [child.name, child.properties["run_algorithm"]]
            for child in session.client.jobs.list(parent_job_name=search)
        ],
    }


def run_training_with_automl(session: Session) -> None:
    import yaml
    from azure.ai.ml import load_job

    from twinml import model
    from twinml.pipeline import VARIANTS, stage

    folder = session.folder / "training"
    file = stage(folder, definition=VARIANTS["automl"])
    for path in (folder / "components").glob("*.yml"):
        content = yaml.safe_load(path.read_text())
        # The emulator's own interpreter, which has the packages: nothing is built.
        content["environment"] = (
            "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"
        )
        path.write_text(yaml.safe_dump(content))
    content = yaml.safe_load(file.read_text())
    # A job's name is its id.
    del content["name"]
    content["inputs"] |= {"trials": 2, "model_name": "searched"}
    content["inputs"]["data"]["path"] = str(session.folder / "table" / "train.csv")
    file.write_text(yaml.safe_dump(content))
    seen = submit(session, load_job(file))
    for name in ("registration", "model"):
        session.client.jobs.download(seen["name"], download_path=folder / "down", output_name=name)
    outputs = folder / "down" / "named-outputs"
    registration = next(path for path in (outputs / "registration").rglob("*") if path.is_file())
    search = seen["children"]["search"]["name"]
    session.seen["training"] = {
        **seen,
        "registration": json.loads(registration.read_text()),
        "digest": model.digest(outputs / "model"),
        "algorithms": [
            child.properties["run_algorithm"]
            for child in session.client.jobs.list(parent_job_name=search)
        ],
        "version": session.client.models.get("searched", "1").type,
    }


def log_model(session: Session) -> None:
    import mlflow
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment("lenient")
    with mlflow.start_run():
        model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        info = mlflow.sklearn.log_model(
            model,
            name="fit",
            registered_model_name="fit",
            serialization_format="cloudpickle",
            # Else MLflow loads the model in a process of its own, to see what that imports.
            pip_requirements=["scikit-learn"],
        )
    session.seen["lenient"] = {
        "answer": mlflow.sklearn.load_model(info.model_uri).predict([[1.0]]).tolist(),
        "registered": mlflow.sklearn.load_model("models:/fit/1").predict([[0.0]]).tolist(),
        "listed": session.client.models.get("fit", "1").type,
    }


STEPS = (
    prepare,
    run_yaml,
    run_dsl,
    run_searching,
    run_badly,
    run_automl,
    run_automl_node,
    run_training_with_automl,
    log_model,
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
