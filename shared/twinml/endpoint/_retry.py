"""Which scoring requests are sent again, and when."""

from __future__ import annotations

from typing import Any, Self

from urllib3 import Retry
from urllib3.exceptions import InvalidHeader, ReadTimeoutError

__all__ = ["scoring_retry"]

PAUSE = 0.25  # seconds; the first repeat comes at once, the n-th after 2 ** (n - 1) pauses
LONGEST_PAUSE = 30  # seconds, whatever a Retry-After says
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


class _Retry(Retry):
    """Repeats what was refused for now or got lost, and leaves alone what is merely slow."""

    RETRY_AFTER_STATUS_CODES = RETRIED_STATUSES

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *given: Any,
        **named: Any,
    ) -> Self:
        if isinstance(error, ReadTimeoutError):
            # The endpoint is at work on it; a repeat would double its load.
            raise error
        return super().increment(method, url, response, error, *given, **named)

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return super().parse_retry_after(retry_after)
        except InvalidHeader:
            return 0.0  # the usual pause is made


def scoring_retry(retries: int) -> Retry:
    """Return the rule by which a request is repeated, at most ``retries`` times."""
    return _Retry(
        retries,
        allowed_methods=None,
        status_forcelist=RETRIED_STATUSES,
        raise_on_status=False,
        backoff_factor=PAUSE,
        # Clients that failed together shall not come back together.
        backoff_jitter=PAUSE,
        backoff_max=LONGEST_PAUSE,
        retry_after_max=LONGEST_PAUSE,
    )
