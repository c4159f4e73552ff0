"""Compiles deployed models anew in the background, once what their forms depend on has changed.

A compiled form holds for the compiler, the processor and the libraries that it was verified
with. After an update the pipeline serves, and the first worker that sees it starts one process
for the endpoint, of the lowest priority: ``python -m twinml_local.server.deployments.recompiling``.
What that finds goes into ``endpoint.json``, if the deployment is still the same; workers follow
it as they follow a deploy, without a lost request::

    HOME/endpoints/NAME/
    ├── compiling.json    what was tried for which model, when, and what came of it
    ├── compiling.pid     the process
    └── logs/compiling.log
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from azureml_runner.processes import running, start_detached, terminate
from twinml.errors import TwinmlError
from twinml_local.server.state import DeploymentState, read_state, write_state

if TYPE_CHECKING:
    # What only asks how far it is compiles nothing.
    from twinml_local.server.deployments.compiling import Outcome

__all__ = ["Attempt", "begin", "due", "end", "outdated", "progress", "with_outcome"]

RECORD, PID_FILE, LOG, LOCK = "compiling.json", "compiling.pid", "compiling.log", ".compiling.lock"
MODULE = "twinml_local.server.deployments.recompiling"
LOCK_SECONDS = 300.0
MOST_ATTEMPTS = 3
FIRST_PAUSE = 60.0  # seconds from an attempt to the next; ten times as long to the one after


@dataclass(frozen=True)
class Attempt:
    """What was tried for a model.

    Attributes
    ----------
    made_with
        The compiler that it was tried with.
    count
        How many times so far.
    since
        When the last one began, in seconds since 1970.
    state
        ``begun``, ``done`` or ``failed``; one that is ``begun`` without a process was killed.
    failure
        Why it failed.
    """

    made_with: str
    count: int
    since: float
    state: Literal["begun", "done", "failed"] = "begun"
    failure: str = ""


def outdated(item: DeploymentState, compiler: str, *, scoring: str) -> bool:
    """Tell whether a loaded deployment is to be compiled anew.

    Parameters
    ----------
    item
        As deployed.
    compiler
        That of now.
    scoring
        What serves: ``compiled`` or ``pipeline``.
    """
    return item.made_with != compiler or (bool(item.compiled) and scoring == "pipeline")


def due(attempt: Attempt | None, compiler: str, *, now: float) -> bool:
    """Tell whether a model that is outdated is to be tried now.

    A model is tried at most ``MOST_ATTEMPTS`` times with one compiler, after pauses that grow.

    Examples
    --------
    >>> due(None, "1", now=0.0)
    True
    >>> due(Attempt("1", count=1, since=0.0), "1", now=59.0)
    False
    """
    if attempt is None or attempt.made_with != compiler:
        return True
    if attempt.count >= MOST_ATTEMPTS:
        return False
    return now - attempt.since >= FIRST_PAUSE * 10.0 ** (attempt.count - 1)


def with_outcome(item: DeploymentState, outcome: Outcome) -> DeploymentState:
    """Return a deployment with what came of compiling its model."""
    return replace(
        item,
        compiled=outcome.directory,
        refusal=outcome.refusal,
        batches=outcome.batches,
        form=outcome.form,
        made_with=outcome.made_with,
        made=outcome.made,
    )


def begin(folder: Path, items: Iterable[DeploymentState]) -> bool:
    """Start the process that compiles those of ``items`` that are due, unless one runs.

    Returns
    -------
    bool
        Whether one was started.
    """
    from twinml_local.server.deployments.compiling import compiler

    with locked(folder / LOCK, timeout=LOCK_SECONDS):
        if running(folder / PID_FILE) is not None:
            return False
        known, made_with, now = _attempts(folder), compiler(), time.time()
        wanted = {each.digest for each in items if due(known.get(each.digest), made_with, now=now)}
        if not wanted:
            return False
        for digest in wanted:
            before = known.get(digest)
            again = before is not None and before.made_with == made_with
            known[digest] = Attempt(made_with, before.count + 1 if before and again else 1, now)
        _keep(folder, known)
        start_detached(
            [sys.executable, "-m", MODULE, "--directory", str(folder), *sorted(wanted)],
            log=folder / "logs" / LOG,
            pid_file=folder / PID_FILE,
            env={
                **os.environ,
                "TWINML_HOME": str(folder.parent.parent),
                "OMP_NUM_THREADS": "1",
            },
        )
        return True


def end(folder: Path) -> None:
    """End the process, if one runs, and forget what was tried: the next start tries again."""
    if not folder.exists():
        return
    with locked(folder / LOCK, timeout=LOCK_SECONDS):
        terminate(folder / PID_FILE, timeout=1.0)
        (folder / RECORD).unlink(missing_ok=True)


def progress(folder: Path, digest: str) -> str:
    """Return in words what became of compiling a model anew; empty if that was not tried."""
    attempt = _attempts(folder).get(digest)
    if attempt is None:
        return ""
    return told(attempt, alive=running(folder / PID_FILE) is not None)


def told(attempt: Attempt, *, alive: bool) -> str:
    """Return an attempt in words; ``alive`` tells whether its process runs."""
    at = datetime.fromtimestamp(attempt.since).astimezone().strftime("%Y-%m-%d %H:%M")
    if attempt.state == "failed":
        return f"compiling anew failed, begun {at}: {attempt.failure}"
    if attempt.state == "done":
        return f"last tried {at}"
    return f"compiling anew since {at}" if alive else f"compiling anew was cut off, begun {at}"


def _attempts(folder: Path) -> dict[str, Attempt]:
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {digest: Attempt(**shape) for digest, shape in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(folder: Path, attempts: Mapping[str, Attempt]) -> None:
    shape = {digest: asdict(attempt) for digest, attempt in attempts.items()}
    write_atomic(folder / RECORD, json.dumps(shape, indent=2), mode=0o600)


def _compile(folder: Path, digest: str) -> None:
    """Compile the model of ``digest`` and have the endpoint's workers serve what came of it."""
    from twinml_local.server.deployments.compiling import compiled_form

    items = read_state(folder).deployments.values()
    directories = [Path(item.directory) for item in items if item.digest == digest]
    if not directories:
        return
    outcome = compiled_form(directories[0], digest)
    # The lock of all endpoints: nobody else changes the state meanwhile.
    with locked(folder.parent / ".lock", timeout=LOCK_SECONDS):
        state = read_state(folder)
        deployments = {
            name: with_outcome(item, outcome) if item.digest == digest else item
            for name, item in state.deployments.items()
        }
        if deployments != state.deployments:
            write_state(folder, replace(state, deployments=deployments))


def main() -> None:
    """Compile the models of the digests that are named, one after another."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="the endpoint's folder")
    parser.add_argument("digests", nargs="+")
    options = parser.parse_args()
    folder = options.directory.resolve()
    os.umask(0o077)
    with contextlib.suppress(OSError):
        os.nice(19)  # requests go first
    for digest in options.digests:
        failure = ""
        try:
            _compile(folder, digest)
        except TwinmlError as error:
            failure = error.message
        except Exception as error:  # whatever it is, the next model has its turn
            failure = f"{type(error).__name__}: {error}"
        if failure:
            sys.stderr.write(f"{digest[:12]}: {failure}\n")  # which is its log
        known = _attempts(folder)
        if digest in known:
            state: Literal["failed", "done"] = "failed" if failure else "done"
            _keep(folder, {**known, digest: replace(known[digest], state=state, failure=failure)})


if __name__ == "__main__":
    main()
