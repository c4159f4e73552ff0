"""The runner's errors as twinml's: what this machine cannot do is shown as any other error is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azureml_runner import errors
from azureml_runner.locks import Held
from twinml.errors import NotFound, PlatformError, UsageError

__all__ = ["twinml_errors"]


@contextmanager
def twinml_errors() -> Iterator[None]:
    """Raise what the runner raises inside as twinml's error of that kind; decorates, too.

    Examples
    --------
    >>> with twinml_errors():
    ...     raise errors.NotFound("there is no job 'x'", hint="List the jobs.")
    Traceback (most recent call last):
    twinml.errors.NotFound: there is no job 'x'. List the jobs.
    """
    try:
        yield
    except Held as error:
        hint = "Let the other twinml command end, or stop it: twinml stop."
        raise PlatformError(error.message, hint=hint) from error
    except errors.UsageError as error:
        raise UsageError(error.message, hint=error.hint) from error
    except errors.NotFound as error:
        raise NotFound(error.message, hint=error.hint) from error
    except errors.RunnerError as error:
        raise PlatformError(error.message, hint=error.hint) from error
