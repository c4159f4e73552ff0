"""A pytest plugin for the SDK's own tests: always live, at once, a line of JSON a test.

It stands in for ``devtools_testutils``, the package that the SDK's repository shares between its
tests: nothing is recorded or played back, and what cleans recordings does nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
import uuid
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.sdk_outcomes import left_out

SLEEP_SECONDS = 1.0
TEST_SECONDS = int(os.environ.get("SDK_TESTS_SECONDS", "150"))
# What the SDK's conftest imports to clean recordings.
_OF_RECORDINGS = (
    "add_body_key_sanitizer", "add_general_regex_sanitizer", "add_general_string_sanitizer",
    "add_remove_header_sanitizer", "add_uri_regex_sanitizer", "remove_batch_sanitizers",
    "set_bodiless_matcher", "set_custom_default_matcher",
)  # fmt: skip
_Token = namedtuple("_Token", "token expires_on")


class AzureRecordedTestCase:
    """The base of the SDK's test classes."""

    is_live = True
    in_recording = False

    def create_random_name(self, prefix: str) -> str:
        """Return a name that nothing has."""
        return f"{prefix}{uuid.uuid4().hex[:12]}"


class FakeTokenCredential:
    """A credential for what is never sent."""

    def get_token(self, *_: Any, **__: Any) -> Any:
        """Return a token that nobody takes."""
        return _Token("fake", int(time.time()) + 3600)


class VariableRecorder:
    """Values that a recording would keep: here they last as long as a test."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}

    def get_or_record(self, name: str, default: Any) -> Any:
        """Return the value of a name, ``default`` the first time."""
        return self.variables.setdefault(name, default)


class EnvironmentVariables:
    """The real values, whatever a recording would put in their place."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable."""
        return os.environ.get(name, default)

    def sanitize(self, name: str, _value: Any) -> Any:
        """Return a variable."""
        return os.environ.get(name)

    def sanitize_batch(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return variables, those of ``values`` where there are none."""
        return {name: os.environ.get(name, value) for name, value in values.items()}


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(content, __path__=[])
    sys.modules[name] = module


def _stand_in() -> None:
    # As when recordings are made: hashes of content are real, so equal uploads are equal.
    live = {"is_live": lambda: True, "is_live_and_not_recording": lambda: False}
    nothing = dict.fromkeys(_OF_RECORDINGS, lambda *_, **__: None)
    whole = {"AzureRecordedTestCase": AzureRecordedTestCase, "recorded_by_proxy": lambda f: f}
    _module("devtools_testutils", **live, **nothing, **whole)
    _module("devtools_testutils.helpers", **live)
    credential = {"FakeTokenCredential": FakeTokenCredential, "SANITIZED": "Sanitized"}
    _module("devtools_testutils.fake_credentials", **credential)
    variables = {
        "VariableRecorder": VariableRecorder,
        "EnvironmentVariables": EnvironmentVariables,
    }
    _module("devtools_testutils.proxy_fixtures", **variables)


_stand_in()
_sleep = time.sleep
# The service takes minutes for what takes a second here.
time.sleep = lambda seconds: _sleep(min(float(seconds), SLEEP_SECONDS))  # type: ignore[assignment]


@pytest.fixture(scope="session")
def test_proxy() -> None:
    """Nothing stands between a test and the service."""


@pytest.fixture
def recorded_test(test_proxy: None) -> None:
    """Nothing is recorded."""


@pytest.fixture
def variable_recorder() -> VariableRecorder:
    """Return a place for values."""
    return VariableRecorder()


@pytest.fixture
def environment_variables() -> EnvironmentVariables:
    """Return the variables of the workspace."""
    return EnvironmentVariables()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is not emulated, with the reason."""
    for item in items:
        if why := left_out(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=f"left out: {why}"))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {TEST_SECONDS} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """End a test that takes too long."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)


_rows: dict[str, dict[str, Any]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a line of each test when it has ended."""
    row = _rows.setdefault(
        report.nodeid, {"test": report.nodeid, "outcome": "", "said": "", "seconds": 0.0}
    )
    row["seconds"] = round(row["seconds"] + report.duration, 1)
    expected = hasattr(report, "wasxfail")
    tells = report.when == "call" or report.outcome != "passed"
    if tells and row["outcome"] in ("", "passed"):
        row["outcome"] = "skipped" if expected else report.outcome
        row["said"] = report.wasxfail if expected else _said(report)
    if report.when == "teardown":
        with open(os.environ["SDK_TESTS_ROWS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _said(report: pytest.TestReport) -> str:
    found = report.longrepr
    if isinstance(found, tuple):
        return str(found[2])
    crash = getattr(found, "reprcrash", None)
    return str(crash.message if crash else report.longreprtext)[-2000:]
