"""What the runner refuses on purpose, in one shape: what was wrong, and what to do.

* RunnerError      it cannot be done on this machine
    + UsageError   it was asked for wrongly
    + NotFound     the named thing does not exist
"""

from __future__ import annotations

__all__ = ["NotFound", "RunnerError", "UsageError"]


class RunnerError(Exception):
    """Base of all errors that the runner raises on purpose.

    Parameters
    ----------
    message
        What was wrong and the value found, one sentence, no traceback, no secret.
    hint
        What to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UsageError(RunnerError):
    """A request to the runner is wrong."""


class NotFound(RunnerError):
    """The named thing does not exist."""
