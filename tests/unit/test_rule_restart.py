"""The rule of what follows a step's attempts, and how ends are read and worded."""

from __future__ import annotations

import pytest

from azureml_runner.engine._executor import how_ended
from azureml_runner.engine._restart import (
    MAX_LOST,
    AttemptEnd,
    Fail,
    Start,
    Take,
    after,
    attempt_end,
    ended_by,
)
from azureml_runner.engine.attempt import Ended

DONE, FAILED, STOPPED, UNBEGUN, LOST = (
    AttemptEnd.COMPLETED,
    AttemptEnd.FAILED,
    AttemptEnd.STOPPED,
    AttemptEnd.NOT_BEGUN,
    AttemptEnd.LOST,
)


@pytest.mark.parametrize(
    ("ends", "retries", "expected"),
    [
        ([], 0, Start(0.0)),
        ([UNBEGUN] * 50, 0, Start(0.0)),
        ([STOPPED] * 50, 0, Start(0.0)),
        ([LOST], 0, Start(0.0)),
        ([LOST] * 2, 0, Start(0.0)),
        ([LOST] * 3, 0, Start(1.0)),
        ([LOST, UNBEGUN, LOST, STOPPED, LOST, LOST], 0, Start(2.0)),
        ([LOST] * 8, 0, Start(32.0)),
        ([LOST] * 9, 0, Start(60.0)),
        ([LOST] * (MAX_LOST - 1), 0, Start(60.0)),
        ([LOST] * MAX_LOST, 0, Fail(None)),
        ([LOST] * (MAX_LOST + 1), 9, Fail(None)),
        ([FAILED], 0, Fail(0)),
        ([FAILED], 1, Start(0.0)),
        ([FAILED, LOST, FAILED, LOST], 1, Fail(2)),
        ([FAILED] * 2, 2, Start(0.0)),
        ([FAILED] * 3, 2, Fail(2)),
        ([LOST, DONE], 0, Take(1)),
        ([FAILED, DONE], 0, Take(1)),
        ([LOST] * MAX_LOST + [DONE], 0, Take(MAX_LOST)),
    ],
)
def test_what_follows_the_attempts_of_a_step(ends, retries, expected):
    assert MAX_LOST == 10
    assert after(ends, max_retries=retries) == expected


@pytest.mark.parametrize(
    ("began", "stopped", "code", "expected"),
    [
        (True, False, None, LOST),
        (False, False, None, UNBEGUN),
        (True, True, None, STOPPED),
        (True, True, 0, STOPPED),
        (True, False, 0, DONE),
        (True, False, 1, FAILED),
        (True, False, 124, FAILED),
        (True, False, 139, FAILED),  # Its own fault: SIGSEGV.
        (True, False, 137, LOST),
        (True, False, 143, LOST),
        (True, False, 130, LOST),
        (True, False, 129, LOST),
    ],
)
def test_how_an_attempt_ended_that_nobody_watched(began, stopped, code, expected):
    assert attempt_end(began=began, stopped=stopped, exit_code=code) is expected


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0, None),
        (1, None),
        (127, None),
        (128, None),
        (129, "SIGHUP"),
        (134, "SIGABRT"),
        (137, "SIGKILL"),
        (159, "SIGSYS"),
        (160, None),
        (255, None),
        (-9, "SIGKILL"),
        (-15, "SIGTERM"),
    ],
)
def test_the_signal_that_an_exit_code_stands_for(code, name):
    assert ended_by(code) == name


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(7), "exited with 7"),
        (Ended(7, 9_000_000_000), "exited with 7"),
        (Ended(139, 9_000_000_000), "was killed by SIGSEGV"),
        (Ended(137), "was killed by SIGKILL, perhaps out of memory"),
        (Ended(137, 99_999_999), "was killed by SIGKILL, perhaps out of memory"),
        (
            Ended(-9, 100_000_000),
            "was killed by SIGKILL, perhaps out of memory (one of its processes had 0.1 GB)",
        ),
    ],
)
def test_how_a_failed_command_is_worded(ended, words):
    assert how_ended(ended) == words
