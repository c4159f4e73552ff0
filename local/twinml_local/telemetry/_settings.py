"""How much telemetry is kept, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from twinml.errors import UsageError

__all__ = ["TelemetrySettings"]

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class TelemetrySettings:
    """What a :class:`~twinml_local.telemetry.TelemetryClient` may be told.

    Attributes
    ----------
    flush_seconds
        How often what was recorded is written; a ``kill -9`` loses at most this much.
    queue_limit
        Records that may wait; further ones are counted and dropped.
    max_requests_per_second
        Rows stored a second and process. Beyond, some stand for several, as ``itemCount``
        says; failures go first, and counters stay exact. ``None`` stores every request.
    max_bytes
        Size of the database from which the oldest rows go.
    observed_rows_per_request, observed_rows_per_second
        Rows whose values are compared with the contract, evenly spread over a request.
    collect_rate
        Share of the requests, 0 to 1, whose inputs and outputs are written to files; 0 writes
        none.
    collect_queue_rows
        Rows that may wait to be written to files; further ones are counted and dropped.
    collect_file_bytes
        Size from which a new file is begun; every hour begins one, too.
    export
        Whether to follow the environment variables of OpenTelemetry and Application Insights.

    Raises
    ------
    UsageError
        A value is out of range.
    """

    flush_seconds: float = 0.5
    queue_limit: int = 50_000
    max_requests_per_second: int | None = 200
    max_bytes: int = 256 * MEBIBYTE
    observed_rows_per_request: int = 200
    observed_rows_per_second: int = 1_000
    collect_rate: float = 0.0
    collect_queue_rows: int = 100_000
    collect_file_bytes: int = 64 * MEBIBYTE
    export: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.collect_rate <= 1:
            raise UsageError(
                f"the collection rate is {self.collect_rate:g}",
                hint="Take a share from 0 (nothing is collected) to 1 (everything is).",
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("collect_rate", "export") and value is not None and value <= 0:
                raise UsageError(
                    f"telemetry setting {field.name} is {value}", hint="It must be above 0."
                )

    @property
    def observed_rows_per_flush(self) -> int:
        """How many rows are compared with the contract between two writes."""
        return max(int(self.observed_rows_per_second * self.flush_seconds), 1)
