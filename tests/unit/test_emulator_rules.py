"""The emulator's small rules: faults, who answers a scoring request, best trials, etags."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from azureml_emulator.arm.resources import ResourceStore
from azureml_emulator.errors import ArmError
from azureml_emulator.faults.plan import OPERATION_SECONDS, ConnectionDropped, FaultPlan
from azureml_emulator.faults.rule import Rule, RuleError
from azureml_emulator.inference._front import (
    Deployment,
    Endpoint,
    Front,
    FrontRefusal,
    Question,
    choose,
)
from azureml_emulator.jobs._sweep import Trial, _best
from azureml_emulator.jobs._sweep_task import SweepTask
from azureml_runner.errors import RunnerError

# Faults


def struck(plan: FaultPlan, path: str = "/a") -> str:
    """Return what becomes of a request: a status, ``reset`` or nothing."""
    try:
        plan.strike("GET", "host", path, {})
    except ArmError as error:
        return str(error.status)
    except ConnectionDropped:
        return "reset"
    return ""


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        ("GET /a 500", ["500", "500", "500", "500", "500"]),
        ("GET /a 500 always", ["500", "500", "500", "500", "500"]),
        ("GET /a 500 once", ["500", "", "", "", ""]),
        ("GET /a 500 0 times", ["", "", "", "", ""]),
        ("GET /a 500 1 times", ["500", "", "", "", ""]),
        ("GET /a reset 2 times", ["reset", "reset", "", "", ""]),
        ("GET /a 500 after 0 once", ["500", "", "", "", ""]),
        ("GET /a 500 after 1 once", ["", "500", "", "", ""]),
        ("GET /a 500 after 2 2 times", ["", "", "500", "500", ""]),
        ("GET /a 500 after 3", ["", "", "", "500", "500"]),
    ],
)
def test_a_rule_strikes_as_often_as_it_says(rule: str, answers: list[str]) -> None:
    plan = FaultPlan([Rule.read(rule)])
    assert [struck(plan) for _ in answers] == answers


def test_only_requests_that_fit_are_counted() -> None:
    plan = FaultPlan([Rule.read("GET /a 500 after 1 once")])
    assert [struck(plan, path) for path in ("/b", "/b", "/a", "/b", "/a", "/a")] == [
        *("", "", "", "", "500", ""),
    ]


def test_the_first_rule_that_strikes_decides_and_the_next_does_not_count() -> None:
    plan = FaultPlan([Rule.read("GET /a 500 once"), Rule.read("GET /a 429 once")])
    assert [struck(plan) for _ in range(3)] == ["500", "429", ""]


def test_builds_and_requests_have_rules_of_their_own() -> None:
    plan = FaultPlan([Rule.read("PUT /a image-build-failure once"), Rule.read("PUT /a 500 once")])
    assert plan.build_fails("host", "/a") == "PUT /a image-build-failure once"
    assert plan.build_fails("host", "/a") is None
    with pytest.raises(ArmError):
        plan.strike("PUT", "host", "/a", {})
    environ: dict[str, Any] = {}
    FaultPlan([Rule.read("PUT /a operation=3")]).strike("PUT", "host", "/a", environ)
    assert environ == {OPERATION_SECONDS: 3.0}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("GET /a 500", True),
        ("* /a 500", True),
        ("get /A 500", True),
        ("PUT /a 500", False),
        ("GET /ab 500", False),
        ("GET a 500", False),
        ("GET host/a 500", True),
        ("GET *.host/a 500", False),
        ("GET */a 500", True),
        ("GET /* 500", True),
    ],
)
def test_which_requests_a_rule_is_about(text: str, fits: bool) -> None:
    assert Rule.read(text).fits("GET", "HOST", "/a") is fits


@pytest.mark.parametrize("effect", ["400", "599", "slow=0.001", "slow=3600", "operation=3600"])
def test_effects_up_to_their_bounds(effect: str) -> None:
    assert Rule.read(f"GET /a {effect}").effect == effect.partition("=")[0]


@pytest.mark.parametrize(
    "text",
    [
        "GET /a 399",
        "GET /a 600",
        "GET /a slow",
        "GET /a slow=0",
        "GET /a slow=-1",
        "GET /a slow=3600.1",
        "GET /a operation=nan",
        "GET /a 500=1",
        "GET /a",
        "LOOK /a 500",
        "GET /a 500 twice",
        "GET /a 500 x times",
        "GET /a 500 -1 times",
        "GET /a 500 after",
        "GET /a 500 after x",
        "GET /a 500 once once",
        "GET /a 429 retry-after=soon",
    ],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(RuleError):
        Rule.read(text)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("GET /a 429", "1"),
        ("GET /a 429 retry-after=0", "0"),
        ("GET /a 503 retry-after=7 once", "7"),
        ("GET /a 503", None),
    ],
)
def test_how_long_a_client_is_told_to_wait(text: str, header: str | None) -> None:
    refusal = Rule.read(text).refusal()
    assert refusal is not None
    assert refusal.headers.get("Retry-After") == header


# Scoring requests


@pytest.mark.parametrize(
    ("shares", "draw", "name"),
    [
        ({"blue": 90, "green": 10}, 0.0, "blue"),
        ({"blue": 90, "green": 10}, 0.8999, "blue"),
        ({"blue": 90, "green": 10}, 0.9, "green"),
        ({"blue": 90, "green": 10}, 0.999999, "green"),
        ({"blue": 0, "green": 100}, 0.0, "green"),
        ({"blue": 100, "green": 0}, 0.999999, "blue"),
        ({"blue": 30, "green": 10}, 0.7499, "blue"),
        ({"blue": 30, "green": 10}, 0.75, "green"),
        ({"blue": 10}, 0.999999, "blue"),
        ({"blue": 0}, 0.0, None),
        ({}, 0.0, None),
    ],
)
def test_who_answers(shares: dict[str, int], draw: float, name: str | None) -> None:
    assert choose(shares, draw) == name


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    data: bytes


class Servers:
    """A fleet whose servers answer with their name, or with a status of ours."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.asked = status, list[str]()
        self.copied = threading.Event()

    def find(self, deployment: str) -> Any:
        return None if deployment == "down" else (Server(self, deployment),)


class Server:
    def __init__(self, fleet: Servers, name: str) -> None:
        self._fleet, self._name = fleet, name

    def request(self, method: str, target: str, **_: Any) -> Reply:
        self._fleet.asked.append(self._name)
        if self._name == "copy":
            self._fleet.copied.set()
        return Reply(self._fleet.status, {}, self._name.encode())


def endpoint(**given: Any) -> Endpoint:
    deployments = {
        name: Deployment(name, name, 1.0, most) for name, most in (("one", 1), ("copy", 9))
    }
    deployments["down"] = Deployment("down", "down", 1.0, 1)
    deployments["shut"] = Deployment("shut", "shut", 1.0, 0)
    return Endpoint("e", lambda _: None, deployments, **{"traffic": {"one": 100}, **given})


def ask(to: Endpoint, *, wanted: str = "", status: int = 200, draw: float = 0.0) -> Any:
    front = Front(cast(Any, Servers(status)), lambda: draw)
    headers = {"azureml-model-deployment": wanted} if wanted else {}
    try:
        return front.answer(to, Question("POST", "/score", headers, b""))
    finally:
        front.close()


@pytest.mark.parametrize(
    ("given", "wanted", "status"),
    [
        ({"traffic": {}}, "", 404),
        ({"traffic": {"gone": 100}}, "", 404),
        ({}, "gone", 404),
        ({}, "down", 503),
        ({}, "shut", 429),
    ],
)
def test_who_cannot_be_asked(given: dict[str, Any], wanted: str, status: int) -> None:
    with pytest.raises(FrontRefusal) as caught:
        ask(endpoint(**given), wanted=wanted)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("status", "answered"), [(200, 200), (299, 299), (300, 424), (199, 424), (404, 424), (500, 424)]
)
def test_what_is_no_success_of_a_server_is_424(status: int, answered: int) -> None:
    answer = ask(endpoint(), status=status)
    assert answer.status == answered
    told = answer.headers.get("ms-azureml-model-error-statuscode")
    assert told == (None if answered == status else str(status))


def test_a_place_is_free_again_once_the_answer_is_there() -> None:
    front = Front(cast(Any, Servers()), lambda: 0.0)
    question = Question("POST", "/score", {}, b"")
    assert [front.answer(endpoint(), question).status for _ in range(3)] == [200] * 3
    two = Deployment("two", "two", 1.0, 2)
    with front._admitted(two):
        with front._admitted(two), pytest.raises(FrontRefusal), front._admitted(two):
            pytest.fail("a third one was let in")
        with front._admitted(two):
            pass
    front.close()


@pytest.mark.parametrize(
    ("mirror", "draw", "wanted", "copied"),
    [
        ({"copy": 20}, 0.0, "", True),
        ({"copy": 20}, 0.1999, "", True),
        ({"copy": 20}, 0.2, "", False),
        ({"copy": 0}, 0.0, "", False),
        ({"copy": 20}, 0.0, "one", False),
        ({"gone": 20}, 0.0, "", False),
        ({"down": 20}, 0.0, "", False),
        ({}, 0.0, "", False),
    ],
)
def test_who_gets_a_copy(mirror: dict[str, int], draw: float, wanted: str, copied: bool) -> None:
    fleet = Servers()
    front = Front(cast(Any, fleet), lambda: draw)
    headers = {"azureml-model-deployment": wanted} if wanted else {}
    front.answer(endpoint(mirror=mirror), Question("POST", "/score", headers, b""))
    front._mirrors.shutdown(wait=True)
    assert fleet.copied.is_set() is copied
    assert sorted(fleet.asked) == (["copy", "one"] if copied else ["one"])


# Sweeps


def trials(*metrics: float | str | None) -> list[Trial]:
    return [
        Trial(number, f"job_{number}", "Failed", None, {}, metric)
        if isinstance(metric, str)
        else Trial(number, f"job_{number}", "Completed", metric, {})
        for number, metric in enumerate(metrics)
    ]


def task(*, maximise: bool) -> SweepTask:
    return SweepTask(cast(Any, None), {}, "random", "auc", maximise, 9, 1, None, ())


@pytest.mark.parametrize(
    ("metrics", "highest", "lowest"),
    [
        ((0.5, 0.7, 0.6), 1, 0),
        ((0.7, 0.5, 0.6), 0, 1),
        ((-0.5, -0.7, 0.0), 2, 1),
        # Among equals it is the first one, whichever the goal.
        ((0.5, 0.7, 0.7), 1, 0),
        ((0.5, 0.5, 0.7), 2, 0),
        ((0.5, 0.5, 0.5), 0, 0),
        ((0.0, 0.0), 0, 0),
        # One that failed or logged nothing takes no part.
        (("out of memory", 0.5, None, 0.6), 3, 1),
        ((None, -0.5), 1, 1),
        ((float("inf"), 0.5, float("-inf")), 0, 2),
    ],
)
def test_which_trial_is_the_best(
    metrics: tuple[float | str | None, ...], highest: int, lowest: int
) -> None:
    assert _best(trials(*metrics), task(maximise=True)).number == highest
    assert _best(trials(*metrics), task(maximise=False)).number == lowest


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ((), "none of the 0 trials completed; the first: none began"),
        (("no disk", "no time"), "none of the 2 trials completed; the first: no disk"),
        ((None, "no time"), "no trial logged the primary metric 'auc'"),
    ],
)
def test_no_trial_is_the_best(metrics: tuple[float | str | None, ...], message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        _best(trials(*metrics), task(maximise=True))


# Resources


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResourceStore]:
    made = ResourceStore(tmp_path / "r.sqlite")
    yield made
    made.close()


def test_every_write_gives_another_etag(store: ResourceStore) -> None:
    first, new = store.put("/a/b", {"x": 1})
    assert new
    # Whatever is written, and however the id is spelled.
    written = [store.put(path, body) for path, body in (("/a/b", {"x": 2}), ("/A/B", {"x": 2}))]
    assert [new for _, new in written] == [False, False]
    assert len({first.etag, *(one.etag for one, _ in written)}) == 3
    found = store.get("/a/b")
    assert found is not None
    assert found.etag == written[-1][0].etag
    assert (found.number, found.created) == (first.number, first.created)
    assert found.modified > first.modified
    store.delete("/a/b")
    again, new = store.put("/a/b", {"x": 2})
    assert new
    assert again.etag not in {first.etag, *(one.etag for one, _ in written)}
    assert again.number == first.number + 1


@pytest.mark.parametrize(
    ("state", "error", "after"),
    [
        ("Creating", None, "Succeeded"),
        ("Updating", {"code": "X"}, "Failed"),
        # Whoever is about to delete it has the last word.
        ("Deleting", None, "Deleting"),
        ("Deleting", {"code": "X"}, "Deleting"),
    ],
)
def test_the_end_of_work_changes_state_and_etag(
    store: ResourceStore, state: str, error: dict[str, Any] | None, after: str
) -> None:
    first, _ = store.put("/a/b", {"properties": {"provisioningState": state}})
    operation = store.begin("/a/b", "work", 0.0)
    store.settle()
    assert store.finish(operation.id, error) is (after != "Deleting")
    found = store.get("/a/b")
    assert found is not None
    assert found.properties["provisioningState"] == after
    assert (found.etag == first.etag) is (after == "Deleting")
    ended = store.operation(operation.id)
    assert ended is not None
    assert (ended.done, ended.error) == (True, error)


def test_the_end_of_work_on_what_is_gone_is_told(store: ResourceStore) -> None:
    operation = store.begin("/a/b", "work", 0.0)
    assert store.finish(operation.id) is False
    assert store.finish("no operation") is False


@pytest.mark.parametrize(("seconds", "done"), [(-1.0, True), (0.0, True), (3600.0, False)])
@pytest.mark.parametrize("effect", ["succeed", "delete", "none"])
def test_an_operation_ends_when_its_time_has_come(
    store: ResourceStore, effect: Any, seconds: float, done: bool
) -> None:
    store.put("/a/b", {"properties": {"provisioningState": "Updating"}})
    operation = store.begin("/a/b", effect, seconds)
    store.settle()
    ended = store.operation(operation.id)
    assert ended is not None
    assert ended.done is done
    assert store.open_operations() == (() if done else (operation,))
    found = store.get("/a/b")
    if effect == "delete" and done:
        assert found is None
    else:
        assert found is not None
        changed = effect == "succeed" and done
        assert found.properties["provisioningState"] == ("Succeeded" if changed else "Updating")


def test_deleting_takes_what_is_below_and_nothing_beside(store: ResourceStore) -> None:
    for path in ("/a/b", "/a/b/c", "/a/b/c/d", "/a/bc", "/a/b_c/d", "/a"):
        store.put(path, {})
        store.set_secret(path, {"of": path})
    assert store.delete("/A/B") is True
    assert store.delete("/a/b") is False
    left = [path for path in ("/a/b", "/a/b/c", "/a/b/c/d", "/a/bc", "/a/b_c/d", "/a")
            if store.get(path)]  # fmt: skip
    assert left == ["/a/bc", "/a/b_c/d", "/a"]
    assert [path for path in ("/a/b", "/a/b/c", *left) if store.secret(path)] == left
