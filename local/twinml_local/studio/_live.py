"""Parts of a page that follow what happens: server-sent events whose data is the part's HTML.

Without the script a page shows what was when it was loaded. A stream ends after a while, and the
browser asks again: a thread is never held for a page that nobody looks at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from flask import Response

from twinml.errors import TwinmlError

__all__ = ["follow"]

EVERY_SECONDS = 1.0
PING_SECONDS = 10.0
LONGEST_SECONDS = 120.0


def follow(part: Callable[[], str | None], *, every: float = EVERY_SECONDS) -> Response:
    """Answer with the part each time that it has changed.

    Parameters
    ----------
    part
        Returns the part's HTML; ``None`` once there is nothing more to follow, or an error of
        ours where it is gone: then the page is loaded again.
    every
        Seconds between two looks.
    """

    def events() -> Iterator[str]:
        began = asked = time.monotonic()
        shown: str | None = None
        while time.monotonic() - began < LONGEST_SECONDS:
            try:
                now = part()
            except TwinmlError:
                now = None
            if now is None:
                yield "event: over\ndata: \n\n"
                return
            if now != shown:
                yield message(now)
                shown, asked = now, time.monotonic()
            elif time.monotonic() - asked > PING_SECONDS:
                # Tells whether anybody listens.
                yield ": \n\n"
                asked = time.monotonic()
            time.sleep(every)

    return Response(events(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def message(text: str) -> str:
    r"""Return a text as one event.

    Examples
    --------
    >>> message("a\nb")
    'data: a\ndata: b\n\n'
    """
    return "".join(f"data: {line}\n" for line in text.splitlines() or [""]) + "\n"
