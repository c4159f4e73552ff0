"""The host of a running job: its assets, its environments, and the record of every change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azureml_emulator.account import Account
from azureml_emulator.environments.venvs import BuildError, VenvCache
from azureml_emulator.errors import ArmError, StorageError
from azureml_emulator.jobs._bytecode import keep_bytecode
from azureml_emulator.jobs._definitions import ONLY_STEP, Definition
from azureml_emulator.jobs._monitor import run_monitor
from azureml_emulator.jobs._sweep import run_sweep
from azureml_emulator.jobs._sweep_task import SweepTask
from azureml_emulator.jobs.environments import EnvironmentOf, interpreter
from azureml_emulator.jobs.records import STD_LOG, Records
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import (
    Asset,
    CommandNode,
    Control,
    Graph,
    Host,
    Outcome,
    Step,
    StepEvent,
    StepOutput,
    make_plan,
    run_plan,
    step_folder,
)
from azureml_runner.errors import RunnerError
from azureml_runner.locks import locked

__all__ = ["JobContext", "JobHost", "failure_of_step"]

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
EXECUTION_LOG = "logs/azureml/executionlogs.txt"
# Variables of the emulator's own process that would lead a job's code elsewhere. A notebook's
# backend of matplotlib is not in a job's environment.
_NOT_PASSED = (
    "AZURE", "AZUREML", "CONDA", "MLFLOW", "MPLBACKEND", "MSI_", "PYTHON", "TWINML", "VIRTUAL_ENV",
)  # fmt: skip


@dataclass(frozen=True)
class JobContext:
    """What all jobs of an emulator have in common.

    ``variables`` point a job's code at the emulator; ``automl_seconds`` bound an AutoML run;
    ``build_curated`` says whether curated environments are built.
    """

    account: Account
    records: Records
    venvs: VenvCache
    environment_of: EnvironmentOf
    variables: Mapping[str, str]
    cache: Path
    automl_seconds: float
    build_curated: bool


class JobHost(Host):
    """The host of one job's run.

    Parameters
    ----------
    run
        The job's own run.
    folder
        Where the job works.
    """

    refusals = (ArmError, StorageError)

    def __init__(self, context: JobContext, run: Run, definition: Definition, folder: Path) -> None:
        self._all, self._run, self._definition = context, run, definition
        self._records = context.records
        self._folder = folder
        self._children: dict[str, str] = {
            str(child.details["node"]): child.id
            for child in self._descendants(run.id)
            if child.details.get("node")
        }
        self._fetching = threading.Lock()
        self._step_logs: dict[str, Path] = {}
        self._codes: dict[str, Path] = {}
        self.codes: dict[str, str] = {}

    def _descendants(self, run: str) -> list[Run]:
        found = self._records.runs.children(run)
        return [*found, *(below for child in found for below in self._descendants(child.id))]

    # What the engine asks

    def resolve(self, asset: Asset) -> Path:
        """Return a copy of an asset, made once for each job."""
        digest = hashlib.sha256(asset.uri.encode()).hexdigest()[:16]
        folder = self._folder / "inputs" / digest
        kind = "models" if asset.type.endswith("_model") else "data"
        with self._fetching:
            marker = folder.with_suffix(".json")
            if marker.exists():
                return Path(json.loads(marker.read_text(encoding="utf-8"))["path"])
            place = self._records.datastores.resolve(asset.uri, self._run.workspace, kind=kind)
            path = self._records.datastores.fetch(place, folder)
            marker.write_text(json.dumps({"path": str(path)}), encoding="utf-8")
            return path

    def code(self, step: Step) -> Path | None:
        """Return a copy of a code asset; it never changes, so all jobs share it."""
        code = getattr(step.node, "code", None)
        if not code:
            return None
        folder = self._all.cache / "codes" / hashlib.sha256(str(code).encode()).hexdigest()[:32]
        with locked(folder.with_suffix(".lock")):
            if not folder.exists():
                half = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
                try:
                    place = self._records.datastores.resolve(str(code), self._run.workspace)
                    self._records.datastores.fetch(place, half)
                except ArmError as error:
                    raise RunnerError(f"its code: {error.message}") from error
                half.rename(folder)
        self._codes[step.name] = folder
        return folder

    def environment(self, step: Step) -> Mapping[str, str]:
        """Build the step's environment if need be and return its variables."""
        run = self.run_of(step.name)
        log = self._folder / "logs" / f"{run.id}.build.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._records.logs.watch(run, BUILD_LOG, log)
        try:
            with log.open("a", encoding="utf-8") as file:

                def write(line: str) -> None:
                    file.write(f"{line}\n")
                    file.flush()

                assert isinstance(step.node, CommandNode)
                python = interpreter(
                    self._all.environment_of(step.node.environment, run.workspace),
                    self._all.venvs,
                    write,
                    lambda message: self._warn(run, step.name, message),
                    build_curated=self._all.build_curated,
                )
        except BuildError as error:
            self.codes[step.name] = "ImageBuildFailure"
            words = "\n".join(error.tail)
            raise RunnerError(f"Image build failure: {error.message}\n{words}".strip()) from error
        finally:
            self._records.logs.finish(run, BUILD_LOG, log)
        self._records.set_status(run, "Running")
        return self.variables(run, python)

    def _warn(self, run: Run, step: str, message: str) -> None:
        """Say what differs from the service in a job's own log, and in its status."""
        self._records.warn(run, message)
        log = self._step_logs.get(step)
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"WARNING: {message}\n")

    def variables(self, run: Run, python: Path) -> dict[str, str]:
        """Return the environment variables that a job's process has on the service."""
        account, workspace = self._all.account, run.workspace
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED)
        }
        _, _, subscription, _, group, *_, name = workspace.split("/")
        experiment_id = self._records.tracking.experiment_id(workspace, run.experiment)
        return {
            **own,
            **self._all.variables,
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_TRACKING_URI": f"azureml://{account.api_host}/mlflow/v1.0{workspace}?",
            "MLFLOW_RUN_ID": run.id,
            "MLFLOW_EXPERIMENT_NAME": run.experiment,
            "MLFLOW_EXPERIMENT_ID": experiment_id,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AZUREML_RUN_ID": run.id,
            "AZUREML_ROOT_RUN_ID": run.root,
            "AZUREML_EXPERIMENT_ID": experiment_id,
            "AZUREML_ARM_SUBSCRIPTION": subscription,
            "AZUREML_ARM_RESOURCEGROUP": group,
            "AZUREML_ARM_WORKSPACE_NAME": name,
            "AZUREML_ARM_PROJECT_NAME": run.experiment,
            "AZUREML_WORKSPACE_SCOPE": workspace,
            "AZUREML_SERVICE_ENDPOINT": f"https://{account.api_host}",
            "AZUREML_NODE_COUNT": "1",
            **_ONE_PROCESS,
        }

    def run_other(
        self,
        step: Step,
        inputs: Mapping[str, str | Path | None],
        outputs: Mapping[str, Path],
        *,
        log: Path,
        control: Control,
    ) -> None:
        """Run an AutoML node, a sweep, or a signal of a monitor."""
        from azureml_emulator.jobs._automl import run_automl

        run = self.run_of(step.name)
        self._records.set_status(run, "Running")
        spec: Any = step.node.spec  # type: ignore[union-attr]
        if isinstance(spec, SweepTask):
            run_sweep(
                self._records,
                run,
                spec,
                inputs,
                outputs,
                self._run_trial,
                log=log,
                control=control,
            )
            return
        mark = ("TWINML_STEP", str(step_folder(self._folder, step.name).folder))
        if step.node.kind == "signal":  # type: ignore[union-attr]
            run_monitor(
                self._records, run, step, inputs, outputs, log=log, control=control, mark=mark
            )
            return
        run_automl(
            self._records,
            run,
            step,
            inputs,
            outputs,
            log=log,
            control=control,
            mark=mark,
            most_seconds=self._all.automl_seconds,
        )

    def _run_trial(self, run: Run, command: CommandNode, folder: Path, control: Control) -> Outcome:
        """Run a trial of a sweep as the command job that it is."""
        graph = Graph({ONLY_STEP: command})
        definition = Definition(graph, {}, True, {}, {})
        host = _TrialHost(self._all, run, definition, folder)
        outcome = run_plan(make_plan(graph), folder=folder, host=host, control=control)
        if outcome.status == "Failed":
            code = next(iter(host.codes.values()), "UserError")
            self._records.fail(run, code, failure_of_step(outcome))
        else:
            self._records.set_status(run, outcome.status)
        return outcome

    # What the engine tells

    def on_event(self, event: StepEvent) -> None:
        """Record a change."""
        run = self.run_of(event.name)
        if event.status == "Running":
            self._started(run, event)
        elif event.status == "Completed":
            self._completed(run, event)
        elif event.status in ("Failed", "Canceled"):
            self._keep_logs(run, event)
            if event.status == "Failed" and not self._is_root(run):
                code = self.codes.get(event.name, "UserError")
                self._records.fail(run, code, event.error or "it failed")
            elif not self._is_root(run):
                self._records.set_status(run, "Canceled")
        if event.status != "NotStarted" and not self._definition.single:
            what = "reuses an earlier run" if event.reused else event.status
            self.note(f"{event.name} ({run.id}): {what}")

    def note(self, text: str) -> None:
        """Write a line to the log of a pipeline."""
        from azureml_emulator.arm.resources import timestamp

        path = self._folder / "logs" / "executionlogs.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"[{timestamp()}] {text}\n")
        self._records.logs.watch(self._run, EXECUTION_LOG, path)

    def finish_notes(self) -> None:
        """Copy the pipeline's log for the last time."""
        self._records.logs.finish(self._run, EXECUTION_LOG)

    def _started(self, run: Run, event: StepEvent) -> None:
        self._records.begin(run)
        if event.kind == "pipeline":
            self._records.set_status(run, "Running")
            return
        if event.attempt > 1:
            self._records.forget_artifacts(run)
        if run.status == "NotStarted":
            self._records.set_status(run, "Preparing")
        if event.log is not None:
            self._step_logs[event.name] = event.log
            self._records.logs.watch(run, STD_LOG, event.log)

    def _completed(self, run: Run, event: StepEvent) -> None:
        if event.kind == "pipeline":
            self._records.set_status(run, "Completed")
            return
        self._records.begin(run)
        if event.reused:
            self._records.runs.change(run.id, properties=self._reused(event))
        self._keep_logs(run, event)
        for name, path in event.outputs.items():
            self._records.keep_output(run, name, path, self._definition.place(event.name, name))
        if not self._is_root(run):
            self._records.set_status(run, "Completed")

    def _keep_logs(self, run: Run, event: StepEvent) -> None:
        self._records.logs.finish(run, STD_LOG, event.log)
        if event.log is not None and event.kind == "command":
            with contextlib.suppress(OSError):
                work = event.log.parent / "work"
                self._records.keep_folders(run, work)
                code = self._codes.get(event.name)
                if code is not None:
                    keep_bytecode(work, code)

    def _reused(self, event: StepEvent) -> dict[str, str]:
        """Return the properties that tell which run's results were taken."""
        found = {"azureml.isreused": "true"}
        for path in event.outputs.values():
            parts = path.parts
            if "steps" in parts:
                at = len(parts) - 1 - parts[::-1].index("steps")
                root, node = parts[at - 1], parts[at + 1]
                for child in self._descendants(root):
                    if child.details.get("node") == node:
                        found["azureml.reusedrunid"] = child.id
                        found["azureml.reusedpipelinerunid"] = root
        return found

    # Runs of steps

    def _is_root(self, run: Run) -> bool:
        return run.id == self._run.id

    def run_of(self, step: str) -> Run:
        """Return the run of a step, made when it is first asked for."""
        if self._definition.single and step == ONLY_STEP:
            return self._records.runs.require(self._run.id)
        runs = self._records.runs
        if step not in self._children:
            above, _, name = step.rpartition(".")
            parent = self.run_of(above) if above else self._run
            child = runs.add(
                str(uuid.uuid4()),
                workspace=self._run.workspace,
                kind="azureml.StepRun",
                experiment=self._run.experiment,
                display=str(self._definition.node(step).display_name or name),
                parent=parent,
                details={
                    "node": step,
                    "target": self._run.details.get("target"),
                    "properties": {
                        "azureml.runsource": "azureml.StepRun",
                        "azureml.nodeid": name,
                        "azureml.moduleName": self._definition.components.get(step, name),
                        "azureml.pipelinerunid": self._run.root,
                        "StepType": "PythonScriptStep",
                    },
                },
            )
            self._children[step] = child.id
        return runs.require(self._children[step])

    def keep_pipeline_outputs(self, outputs: Mapping[str, StepOutput]) -> None:
        """Give the pipeline the outputs of the steps that write them."""
        for name, end in outputs.items():
            made = self.run_of(end.step).details.get("outputs") or {}
            if end.output in made:
                self._records.runs.change(self._run.id, outputs={name: made[end.output]})


class _TrialHost(JobHost):
    """The host of a trial: the sweep has fetched its inputs."""

    def resolve(self, asset: Asset) -> Path:
        return Path(asset.uri)


def failure_of_step(outcome: Outcome) -> str:
    """Return why a job of one step failed, as a sentence."""
    message = (outcome.error or "it failed").removeprefix(f"step '{ONLY_STEP}' ")
    return message[:1].upper() + message[1:]


# Whoever starts several processes on the service finds these; here there is one.
_ONE_PROCESS = {
    "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "NODE_RANK": "0",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "6105",
}  # fmt: skip
