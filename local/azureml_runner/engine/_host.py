"""The host of a run: what the executor asks of it, and what it reports to it.

Override what is of interest: the defaults run commands with this interpreter, in the
environment of this process, on files of this machine.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal as OneOf
from urllib.parse import unquote, urlsplit

from azureml_runner.engine.graph import Asset
from azureml_runner.engine.plan import Step
from azureml_runner.errors import RunnerError, UsageError

__all__ = ["Canceled", "Control", "Host", "Interrupted", "StepEvent", "StepStatus"]

StepStatus = OneOf["NotStarted", "Running", "Completed", "Failed", "Canceled"]


class Interrupted(Exception):
    """The run was stopped to be resumed later: nothing has failed."""


class Canceled(Exception):
    """Somebody asked the run to end."""


class Control:
    """Ends a run from another thread.

    ``cancel`` is final. ``interrupt`` leaves the run so that the same folder can be run again
    and goes on where it was. With a ``parent``, its wishes count as well.
    """

    def __init__(self, parent: Control | None = None) -> None:
        self._parent = parent
        self._canceled = threading.Event()
        self._interrupted = threading.Event()

    def cancel(self) -> None:
        """End the run: its running steps become ``Canceled``."""
        self._canceled.set()

    def interrupt(self) -> None:
        """Stop the run to resume it later."""
        self._interrupted.set()

    @property
    def stopping(self) -> bool:
        """Whether a step should end, for either reason."""
        return (
            self._canceled.is_set()
            or self._interrupted.is_set()
            or (self._parent is not None and self._parent.stopping)
        )

    def check(self) -> None:
        """Raise ``Interrupted`` or ``Canceled`` if one was asked for."""
        if self._parent is not None:
            self._parent.check()
        if self._interrupted.is_set():
            raise Interrupted
        if self._canceled.is_set():
            raise Canceled


@dataclass(frozen=True)
class StepEvent:
    """A step, or a pipeline within the pipeline, changed.

    Attributes
    ----------
    name
        Its full name, such as ``report.draw``.
    attempt
        Counts from 1; 0 before the first, and for what has none.
    log
        The file that its output goes to.
    reused
        Its outputs are those of an earlier run.
    """

    name: str
    status: StepStatus
    kind: str = "command"
    attempt: int = 0
    log: Path | None = None
    exit_code: int | None = None
    error: str | None = None
    reused: bool = False
    outputs: Mapping[str, Path] = field(default_factory=dict)


class Host:
    """What a run needs from its owner; every method may be called from several threads.

    Attributes
    ----------
    refusals
        What the methods raise on purpose, besides ``RunnerError``: a step fails with the
        ``message`` of such an error. What else they raise is logged as a fault of their own.
    """

    refusals: tuple[type[Exception], ...] = ()

    def resolve(self, asset: Asset) -> Path:
        """Return the file or folder that an asset's URI means.

        Raises
        ------
        RunnerError
            It means none; the step that needs it fails with this message.
        """
        parts = urlsplit(asset.uri)
        path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(asset.uri)
        if parts.scheme not in ("", "file"):
            raise UsageError(
                f"'{asset.uri[:200]}' is not on this machine",
                hint="Give a path, or a file:// URI.",
            )
        if not path.exists():
            raise UsageError(f"there is no file or folder '{path}'")
        return path

    def code(self, step: Step) -> Path | None:
        """Return the folder that is copied to be the command's working folder."""
        code = getattr(step.node, "code", None)
        return Path(code) if code else None

    def environment(self, step: Step) -> Mapping[str, str]:
        """Return the environment variables of a command, before those of its component.

        ``PATH`` decides which ``python`` runs.
        """
        folder = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # Without it the logs of a Python step would arrive in blocks.
            "PYTHONUNBUFFERED": "1",
        }

    def identity(self, step: Step) -> str:
        """Return what stands for the software that a command finds: another, another result.

        It is part of what decides whether an earlier result may be used.
        """
        return sys.version

    def output(self, step: Step, name: str, default: Path) -> Path:
        """Return where an output is written: a path that is free to be replaced."""
        return default

    def run_other(
        self,
        step: Step,
        inputs: Mapping[str, str | Path | None],
        outputs: Mapping[str, Path],
        *,
        log: Path,
        control: Control,
    ) -> None:
        """Run a step that is not a command; returns once its outputs are there.

        It should look at ``control.stopping`` now and then, and then ``control.check()``.

        Raises
        ------
        RunnerError
            The step failed; the message says why.
        """
        raise RunnerError(f"a step of type '{step.node.kind}' cannot be run here")  # type: ignore[union-attr]

    def on_event(self, event: StepEvent) -> None:
        """Take a change of a step; called for one event at a time."""
