"""Runs a plan: every step once what it needs is there, several at a time.

The state is in the folder: run the same plan on the same folder again and it goes on where
it was. A step that is done is not repeated; one that ended while nobody looked is taken as
it ended; what is left of one that was interrupted is killed, and the step begins anew.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal as OneOf

from azureml_runner.engine._command import render
from azureml_runner.engine._host import Canceled, Control, Host, Interrupted, StepEvent
from azureml_runner.engine._restart import MAX_LOST, AttemptEnd, Fail, Take, after, ended_by
from azureml_runner.engine._reuse import ReuseStore
from azureml_runner.engine.attempt import Done, Ended, StepFolder
from azureml_runner.engine.graph import Asset, CommandNode, Literal
from azureml_runner.engine.plan import Plan, Source, Step, StepOutput
from azureml_runner.errors import RunnerError, UsageError
from azureml_runner.files import digest_of, digest_of_parts

__all__ = ["Outcome", "RunOptions", "end_interrupted", "run_plan", "step_folder"]

log = logging.getLogger("azureml_runner")

PAUSE_POLL_SECONDS = 0.2
# A process that had less is hardly what the memory was short of.
NOTABLE_BYTES = 100_000_000
Given = Mapping[str, str | Path | None]


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run.

    Attributes
    ----------
    concurrency
        Steps that run at once.
    continue_on_failure
        Whether branches that do not need a failed step go on.
    reuse
        Where results of earlier steps are found and kept; ``None`` for nowhere.
    force_rerun
        Run every step even if its result is there.
    """

    concurrency: int = 2
    continue_on_failure: bool = False
    reuse: ReuseStore | None = None
    force_rerun: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``steps`` has the last event of every step that began."""

    status: OneOf["Completed", "Failed", "Canceled"]
    outputs: Mapping[str, Path] = field(default_factory=dict)
    error: str | None = None
    steps: Mapping[str, StepEvent] = field(default_factory=dict)


def run_plan(
    plan: Plan,
    *,
    folder: Path,
    host: Host | None = None,
    control: Control | None = None,
    options: RunOptions | None = None,
) -> Outcome:
    """Run a plan to its end.

    Parameters
    ----------
    plan
        From ``make_plan``.
    folder
        The run's own. Of two runs on it in one process, one waits where the other is at a step;
        two processes may not use it at once.
    host
        The surroundings.
    control
        Ends the run from another thread.

    Raises
    ------
    Interrupted
        ``control.interrupt`` was called before the run had ended.
    """
    run = _Run(plan, folder.resolve(), host or Host(), control or Control(), options)
    return run.run()


def step_folder(folder: Path, name: str) -> StepFolder:
    """Return the folder of a step, by the step's full name, in a run's folder."""
    return StepFolder(folder / "steps" / name)


def end_interrupted(folder: Path) -> None:
    """Kill what is left of the steps of a run whose process died.

    Raises
    ------
    RunnerError
        Something could not be ended.
    """
    for path in sorted((folder.resolve() / "steps").glob("*")):
        step = StepFolder(path)
        for attempt in step.attempts():
            step.end_orphan(attempt)


class _StepFailed(Exception):
    """The step did not complete; the text is a predicate: 'exited with 1: …'."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class _Run:
    def __init__(
        self, plan: Plan, folder: Path, host: Host, control: Control, options: RunOptions | None
    ) -> None:
        self._plan, self._folder, self._host = plan, folder, host
        self._options = options or RunOptions()
        self._asked = control
        # Cancels the running steps when another one fails, too.
        self._control = Control(parent=control)
        self._events: dict[str, StepEvent] = {}
        self._outputs: dict[StepOutput, Path] = {}
        self._telling = threading.Lock()

    def run(self) -> Outcome:
        waiting = {step.name: step for step in self._plan.steps}
        running: dict[Future[None], Step] = {}
        with ThreadPoolExecutor(self._options.concurrency, "step") as pool:
            while True:
                if not self._control.stopping:
                    for step in [one for one in waiting.values() if self._ready(one)]:
                        del waiting[step.name]
                        running[pool.submit(self._run_step, step)] = step
                if not running:
                    break
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    step = running.pop(future)
                    future.result()
                    failed = self._events[step.name].status == "Failed"
                    if failed and not self._options.continue_on_failure:
                        self._control.cancel()
        return self._outcome()

    def _ready(self, step: Step) -> bool:
        return all(
            name in self._events and self._events[name].status == "Completed" for name in step.needs
        )

    def _outcome(self) -> Outcome:
        steps = {step.name: self._events.get(step.name) for step in self._plan.steps}
        began = {name: event for name, event in steps.items() if event is not None}
        if all(event is not None and event.status == "Completed" for event in steps.values()):
            outputs = {name: self._outputs[end] for name, end in self._plan.outputs.items()}
            return Outcome("Completed", outputs, None, began)
        try:
            self._asked.check()
        except Canceled:
            return Outcome("Canceled", {}, None, began)
        failures = [event for event in began.values() if event.status == "Failed"]
        if not failures:
            raise RunnerError("the run ended without a result")
        others = f" (and {len(failures) - 1} more failed)" if len(failures) > 1 else ""
        error = f"step '{failures[0].name}' {failures[0].error}{others}"
        return Outcome("Failed", {}, error, began)

    def _run_step(self, step: Step) -> None:
        """Run one step and tell how it ended; raises nothing that a step can cause."""
        folder = step_folder(self._folder, step.name)
        event = StepEvent(step.name, "Running", kind=_kind(step))
        refusals: tuple[type[Exception], ...] = (RunnerError, *self._host.refusals)
        try:
            with folder.held(self._control):
                done = self._complete(step, folder, event)
        except Interrupted:
            return self._tell(replace(self._last(event), status="NotStarted"))
        except Canceled:
            return self._tell(replace(self._last(event), status="Canceled"))
        except _StepFailed as failure:
            last = self._last(event)
            return self._tell(
                replace(last, status="Failed", error=str(failure), exit_code=failure.exit_code)
            )
        except refusals as error:
            reason = f"cannot run: {getattr(error, 'message', error)}"
            return self._tell(replace(self._last(event), status="Failed", error=reason))
        except Exception as error:
            log.exception("step %s could not be run", step.name)
            # Its words, which may quote a file, are in the log of the process.
            reason = f"cannot run: {type(error).__name__}, see the service's log"
            return self._tell(replace(self._last(event), status="Failed", error=reason))
        for name, path in done.outputs.items():
            self._outputs[StepOutput(step.name, name)] = path
        last = self._last(event)
        completed = replace(
            last,
            status="Completed",
            reused=done.reused,
            attempt=done.attempt,
            exit_code=0 if isinstance(step.node, CommandNode) and not done.reused else None,
            outputs=done.outputs,
        )
        try:
            self._tell(completed)
        except refusals as error:
            # The host keeps the outputs when it hears of them.
            reason = f"its outputs cannot be kept: {getattr(error, 'message', error)}"
            self._tell(replace(last, status="Failed", error=reason))

    def _last(self, event: StepEvent) -> StepEvent:
        return self._events.get(event.name, event)

    def _complete(self, step: Step, folder: StepFolder, event: StepEvent) -> Done:
        """Return the step's result: made before, found, or made now."""
        made = folder.done()
        if made is not None and all(path.exists() for path in made.outputs.values()):
            if made.attempt:
                self._tell(self._started(event, folder, made.attempt))
            return made
        self._control.check()
        inputs = {name: self._given(source) for name, source in step.sources.items()}
        key = self._key(step, inputs)
        is_command = isinstance(step.node, CommandNode)
        retries = step.node.max_retries if isinstance(step.node, CommandNode) else 0
        attempts = folder.attempts()
        for attempt in attempts:
            folder.end_orphan(attempt)
        ends = [folder.end(attempt, of_command=is_command) for attempt in attempts]
        decision = after(ends, max_retries=retries)
        if isinstance(decision, Take):
            # It ended while nobody was there to see it.
            self._tell(self._started(event, folder, attempts[decision.place]))
            return self._finished(step, folder, attempts[decision.place], key)
        if isinstance(decision, Fail):
            if decision.place is None:
                raise _StepFailed(f"was running {MAX_LOST} times when the service ended")
            attempt = attempts[decision.place]
            self._tell(self._started(event, folder, attempt))
            raise _failure(folder, attempt, Ended(folder.files(attempt).exit_code() or 1))
        reuse = self._options.reuse
        if key is not None and reuse is not None and not self._options.force_rerun:
            with reuse.locked():
                found = reuse.find(key)
                if found is not None:
                    done = Done(found, 0, reused=True)
                    folder.folder.mkdir(parents=True, exist_ok=True)
                    folder.complete(done)
                    return done
        self._pause(decision.pause)
        failures = ends.count(AttemptEnd.FAILED)
        while True:
            attempt = max(folder.attempts(), default=0) + 1
            folder.files(attempt).folder.mkdir(parents=True)
            self._tell(self._started(event, folder, attempt))
            try:
                self._attempt(step, folder, attempt, inputs)
                return self._finished(step, folder, attempt, key)
            except _StepFailed:
                failures += 1
                if failures > retries:
                    raise
                log.info("step %s: attempt %d failed, once more", step.name, attempt)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._control.check()
            time.sleep(min(PAUSE_POLL_SECONDS, seconds))

    def _started(self, event: StepEvent, folder: StepFolder, attempt: int) -> StepEvent:
        return replace(event, attempt=attempt, log=folder.files(attempt).log)

    def _attempt(self, step: Step, folder: StepFolder, attempt: int, inputs: Given) -> None:
        """Make one attempt; raises ``_StepFailed`` unless it ends well."""
        outputs = self._fresh_outputs(step, folder)
        node = step.node
        if not isinstance(node, CommandNode):
            folder.files(attempt).began.touch()
            self._host.run_other(
                step,
                inputs,
                outputs,
                log=folder.files(attempt).log,
                control=self._control,
            )
            return
        script, variables = render(node.command, inputs, outputs)
        env = {**self._host.environment(step), **node.environment_variables, **variables}
        ended = folder.run(
            attempt,
            script,
            env=env,
            code=self._host.code(step),
            timeout=node.timeout_seconds,
            control=self._control,
        )
        if ended is None:
            raise _StepFailed(f"was ended after {node.timeout_seconds:g} s, its timeout")
        if ended.exit_code != 0:
            raise _failure(folder, attempt, ended)

    def _fresh_outputs(self, step: Step, folder: StepFolder) -> dict[str, Path]:
        """Return where the outputs go: folders that are empty, files that are not there."""
        outputs = {}
        for name, declared in step.node.outputs.items():
            path = self._host.output(step, name, folder.output(name))
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            if declared.type != "uri_file":
                path.mkdir()
            outputs[name] = path
        return outputs

    def _finished(self, step: Step, folder: StepFolder, attempt: int, key: str | None) -> Done:
        """Check and record what a step made."""
        outputs = {
            name: self._host.output(step, name, folder.output(name)) for name in step.node.outputs
        }
        for name, path in outputs.items():
            if not path.exists():
                raise _StepFailed(f"ended well but did not write its output '{name}'", 0)
        done = Done(outputs, attempt, reused=False)
        folder.complete(done)
        if key is not None and self._options.reuse is not None:
            self._options.reuse.keep(key, outputs)
        return done

    def _given(self, source: Source) -> str | Path | None:
        if source is None:
            return None
        if isinstance(source, Literal):
            return source.text
        if isinstance(source, Asset):
            base = self._host.resolve(replace(source, path=""))
        else:
            base = self._outputs[replace(source, path="")]
        return base / source.path if source.path else base

    def _key(self, step: Step, inputs: Given) -> str | None:
        """Return what the step's result is kept under; ``None`` where it is not kept."""
        node = step.node
        if self._options.reuse is None or not isinstance(node, CommandNode):
            return None
        if not node.deterministic:
            return None
        code = self._host.code(step)
        try:
            return digest_of_parts(
                command=node.command,
                code=digest_of(code) if code is not None else None,
                environment=node.environment,
                software=self._host.identity(step),
                variables=dict(node.environment_variables),
                inputs={
                    name: {"content": digest_of(value)} if isinstance(value, Path) else value
                    for name, value in inputs.items()
                },
                outputs={name: declared.type for name, declared in node.outputs.items()},
            )
        except OSError as error:
            raise UsageError(f"'{error.filename}' cannot be read: {error.strerror}") from error

    def _tell(self, event: StepEvent) -> None:
        with self._telling:
            self._events[event.name] = event
            self._host.on_event(event)
            for group, members in self._plan.groups.items():
                if event.name in members:
                    self._tell_group(group, members)

    def _tell_group(self, group: str, members: tuple[str, ...]) -> None:
        states = [self._events[name].status for name in members if name in self._events]
        event = StepEvent(group, "Running", kind="pipeline")
        for status in ("Failed", "Canceled"):
            if status in states and "Running" not in states:
                event = replace(event, status=status)
                break
        else:
            if len(states) == len(members) and set(states) == {"Completed"}:
                event = replace(event, status="Completed")
        if self._events.get(group) != event:
            self._events[group] = event
            self._host.on_event(event)


def how_ended(ended: Ended) -> str:
    """Return in words how a command ended that did not succeed.

    Examples
    --------
    >>> how_ended(Ended(7)), how_ended(Ended(139))
    ('exited with 7', 'was killed by SIGSEGV')
    >>> how_ended(Ended(-9, 3_200_000_000))
    'was killed by SIGKILL, perhaps out of memory (one of its processes had 3.2 GB)'
    """
    signal = ended_by(ended.exit_code)
    if signal is None:
        return f"exited with {ended.exit_code}"
    if signal != "SIGKILL":
        return f"was killed by {signal}"
    peak = ended.peak_bytes or 0
    known = f" (one of its processes had {peak / 1e9:.1f} GB)" if peak >= NOTABLE_BYTES else ""
    return f"was killed by SIGKILL, perhaps out of memory{known}"


def _failure(folder: StepFolder, attempt: int, ended: Ended) -> _StepFailed:
    words = folder.tail(attempt)
    reason = f"{how_ended(ended)}{f': {words}' if words else ''}"
    code = ended.exit_code
    return _StepFailed(reason, 128 - code if code < 0 else code)


def _kind(step: Step) -> str:
    return "command" if isinstance(step.node, CommandNode) else step.node.kind
