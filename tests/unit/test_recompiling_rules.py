"""When a deployed model is compiled anew, and what is told of it."""

import time
from datetime import datetime

import pytest

from twinml.errors import ModelError
from twinml.model._directory import pickles_allowed
from twinml_local.compiled._origin import changed_versions
from twinml_local.server.deployments.compiling import Outcome
from twinml_local.server.deployments.recompiling import (
    Attempt,
    due,
    outdated,
    told,
    with_outcome,
)
from twinml_local.server.state import DeploymentState


@pytest.mark.parametrize(
    ("made_with", "compiled", "scoring", "expected"),
    [
        ("now", "/form", "compiled", False),
        ("now", "", "pipeline", False),  # refused by this compiler
        ("now", "/form", "pipeline", True),  # damaged or changed
        ("before", "/form", "compiled", True),
        ("before", "/form", "pipeline", True),
        ("before", "", "pipeline", True),  # refused by an earlier one
        ("", "", "pipeline", True),  # deployed by a version that did not note it
    ],
)
def test_outdated(made_with: str, compiled: str, scoring: str, expected: bool) -> None:
    item = DeploymentState("m", "1", "d", "/m", compiled=compiled, made_with=made_with)
    assert outdated(item, "now", scoring=scoring) is expected


@pytest.mark.parametrize(
    ("made_with", "count", "age", "expected"),
    [
        ("now", 1, 0.0, False),
        ("now", 1, 59.9, False),
        ("now", 1, 60.0, True),
        ("now", 1, 60.1, True),
        ("now", 2, 60.0, False),
        ("now", 2, 599.9, False),
        ("now", 2, 600.0, True),
        ("now", 3, 6000.0, False),
        ("now", 3, 1e9, False),
        ("now", 4, 1e9, False),
        ("before", 3, 0.0, True),
    ],
)
def test_due(made_with: str, count: int, age: float, expected: bool) -> None:
    attempt = Attempt(made_with, count, since=1000.0)
    assert due(attempt, "now", now=1000.0 + age) is expected


def test_what_was_never_tried_is_due() -> None:
    assert due(None, "now", now=0.0)


SINCE = 1_700_000_000.0
AT = datetime.fromtimestamp(SINCE).astimezone().strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("state", "alive", "expected"),
    [
        ("begun", True, f"compiling anew since {AT}"),
        ("begun", False, f"compiling anew was cut off, begun {AT}"),
        ("done", True, f"last tried {AT}"),
        ("done", False, f"last tried {AT}"),
        ("failed", True, f"compiling anew failed, begun {AT}: no memory"),
        ("failed", False, f"compiling anew failed, begun {AT}: no memory"),
    ],
)
def test_told(state: str, alive: bool, expected: str) -> None:
    attempt = Attempt("now", 1, SINCE, state, "no memory")  # type: ignore[arg-type]
    assert told(attempt, alive=alive) == expected
    assert time.time() > SINCE


def test_an_outcome_replaces_all_that_is_derived_and_nothing_else() -> None:
    item = DeploymentState("m", "1", "d", "/m", "/old", "no", True, "f", "before", "11")
    outcome = Outcome("/new", "", False, "g", "now", "12")
    assert with_outcome(item, outcome) == DeploymentState(
        "m", "1", "d", "/m", "/new", "", False, "g", "now", "12"
    )


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, ""),
        ({"a": None}, {"a": None}, ""),
        ({"a": "1"}, {"a": "2"}, "a 1, now 2"),
        ({"a": "1"}, {}, "a 1, now none"),
        ({}, {"a": "2"}, "a none, now 2"),
        ({"b": "1", "a": "1", "c": "3"}, {"b": "2", "a": "2", "c": "3"}, "a 1, now 2, b 1, now 2"),
    ],
)
def test_changed_versions(
    then: dict[str, str | None], now: dict[str, str | None], expected: str
) -> None:
    assert changed_versions(then, now) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, True),
        ("true", True),
        ("True", True),
        ("1", True),
        ("false", False),
        ("FALSE", False),
        ("0", False),
    ],
)
def test_pickles_allowed(value: str | None, expected: bool) -> None:
    assert pickles_allowed(value) is expected


@pytest.mark.parametrize("value", ["", "no", "yes", "2"])
def test_a_switch_that_is_neither_is_refused(value: str) -> None:
    with pytest.raises(ModelError, match="expected true or false"):
        pickles_allowed(value)
