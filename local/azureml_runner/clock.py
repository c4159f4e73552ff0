"""The clock of schedules: looks when something is due, and is told when a schedule changes.

What was missed while nothing ran, or a machine slept, is made up for by *one* job, whatever
number of moments it was: it is started for the first of them, and the next moment is the first
that is still to come. A schedule that was disabled makes up for nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Clock"]

log = logging.getLogger("azureml_runner")


class Clock:
    """A thread that calls ``look`` whenever something may be due.

    Parameters
    ----------
    look
        Is given the time, in seconds since 1970; starts what is due, writes down when that is
        due next, and returns when anything is next due, ``None`` if nothing is.
    name
        Of the thread.
    longest
        Seconds after which it looks in any case: clocks are set, laptops sleep, and another
        process may have changed a schedule.
    """

    def __init__(self, look: Callable[[float], float | None], *, name: str, longest: float) -> None:
        self._look, self._longest = look, longest
        self._changed = threading.Condition()
        self._stopped = False
        # Kept, not only told: a change may come during a look.
        self._stale = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def changed(self) -> None:
        """Look again, because a schedule was made, changed or removed."""
        with self._changed:
            self._stale = True
            self._changed.notify()

    def stop(self, *, wait: bool = True) -> None:
        """Stop looking; with ``wait``, return once a look under way has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if wait and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._stale = False
            upcoming = None
            try:
                upcoming = self._look(time.time())
            except Exception:
                log.exception("the schedules could not be looked at")
            pause = self._longest if upcoming is None else upcoming - time.time()
            with self._changed:
                if not (self._stopped or self._stale):
                    self._changed.wait(max(0.0, min(pause, self._longest)))
