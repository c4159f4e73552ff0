"""Every error that twinml raises on purpose, and the one shape in which it is shown.

* TwinmlError
    + UsageError             the command line or a function was called wrongly
    + DataError              a data file cannot be used as it is
    + PayloadError           a scoring request does not keep the model's contract
    + TrainingError          a search or a fit cannot give a model
    + ModelError             a model directory or a registry entry cannot be used
    + PlatformError          a platform cannot do what was asked
        - PlatformUnavailable   it is not installed, configured or reachable
        - NotFound              the named thing does not exist there
    + EndpointError          a deployed endpoint did not answer as it should

Each says what was wrong, the value found and what to do. As JSON (``to_dict``) all have
one shape, a superset of what MLflow (``error_code``, ``message``) and Azure
(``message``) send::

    {"error_code": "INVALID_PAYLOAD",
     "message": "row 2, column 'age': found 'abc', expected an integer",
     "hint": "Send age as a JSON number.",
     "details": [{"row": 2, "column": "age", "value": "abc", "expected": "an integer"}]}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "DataError",
    "Detail",
    "EndpointError",
    "ModelError",
    "NotFound",
    "PayloadError",
    "PlatformError",
    "PlatformUnavailable",
    "TrainingError",
    "TwinmlError",
    "UsageError",
]


@dataclass(frozen=True)
class Detail:
    """One place where something was wrong; ``row`` counts from 0 as in JSON."""

    row: int | None = None
    column: str | None = None
    value: Any = None
    expected: str | None = None


class TwinmlError(Exception):
    """Base of all errors that twinml raises on purpose.

    Parameters
    ----------
    message
        What was wrong and the value found, one sentence, no traceback, no secret.
    hint
        What to do about it.
    details
        The places, where there are any.

    Examples
    --------
    >>> DataError("bank.csv has no column 'y'", hint="Name the target: --target deposit").to_dict()
    ... # doctest: +NORMALIZE_WHITESPACE
    {'error_code': 'INVALID_DATA', 'message': "bank.csv has no column 'y'",
     'hint': 'Name the target: --target deposit'}
    """

    error_code = "INTERNAL_ERROR"
    status = 500

    def __init__(
        self, message: str, *, hint: str | None = None, details: Iterable[Detail] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def to_dict(self) -> dict[str, Any]:
        """Return the one JSON shape; ``hint`` and ``details`` only where there are any."""
        shape: dict[str, Any] = {"error_code": self.error_code, "message": self.message}
        if self.hint:
            shape["hint"] = self.hint
        if self.details:
            shape["details"] = [asdict(detail) for detail in self.details]
        return shape

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UsageError(TwinmlError):
    """The command line or a function was called wrongly."""

    error_code = "INVALID_PARAMETER_VALUE"
    status = 400


class DataError(TwinmlError):
    """A data file cannot be used as it is."""

    error_code = "INVALID_DATA"
    status = 400


class PayloadError(TwinmlError):
    """A scoring request does not keep the model's contract.

    ``status`` is the HTTP status to answer with: 400, or 413 and 415 where they fit better.
    """

    error_code = "INVALID_PAYLOAD"
    status = 400

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Iterable[Detail] = (),
        status: int = 400,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status


class TrainingError(TwinmlError):
    """A search or a fit cannot give a model."""

    error_code = "TRAINING_FAILED"


class ModelError(TwinmlError):
    """A model directory or a registry entry cannot be used."""

    error_code = "INVALID_MODEL"


class PlatformError(TwinmlError):
    """A platform cannot do what was asked."""

    error_code = "PLATFORM_ERROR"


class PlatformUnavailable(PlatformError):
    """The platform is not installed, not configured or not reachable."""

    error_code = "PLATFORM_UNAVAILABLE"
    status = 503


class NotFound(PlatformError):
    """The named thing does not exist on the platform."""

    error_code = "RESOURCE_DOES_NOT_EXIST"
    status = 404


class EndpointError(TwinmlError):
    """A deployed endpoint did not answer as it should.

    ``status`` is the HTTP status that it answered with, or 503 when it did not answer.
    """

    error_code = "ENDPOINT_ERROR"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Iterable[Detail] = (),
        status: int = 503,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status
