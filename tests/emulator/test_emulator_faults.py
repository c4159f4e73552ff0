"""Faults by rule: the rules themselves, and what the unmodified SDK does under them."""

import json
import subprocess
import sys
from typing import Any

import pytest
import requests

from azureml_emulator.faults.rule import Rule, RuleError

ARM = "https://management.azure.com"
VERSION = {"api-version": "2023-04-01-preview"}


@pytest.mark.parametrize(
    ("rule", "request_", "fits"),
    [
        ("PUT */onlineEndpoints/* 409", "PUT a.b/x/onlineendpoints/e", True),
        ("PUT */onlineEndpoints/* 409", "GET a.b/x/onlineEndpoints/e", False),
        ("* a.b/* 500", "DELETE A.B/x", True),
        ("GET /x/* 500", "GET any.host/x/y", True),
        ("GET /x 500", "GET any.host/x/y", False),
        ("GET */datastores/[ab] 500", "GET h/datastores/a", True),
    ],
)
def test_a_rule_fits_by_method_and_by_host_and_path(rule: str, request_: str, fits: bool):
    method, _, address = request_.partition(" ")
    host, _, path = address.partition("/")
    assert Rule.read(rule).fits(method, host, f"/{path}") is fits


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("", "''"),
        ("PUT x", "'PUT x'"),
        ("FETCH * 500", "'FETCH'"),
        ("GET * 200", "'200'"),
        ("GET * explode", "'explode'"),
        ("GET * slow", "found ''"),
        ("GET * slow=fast", "'fast'"),
        ("GET * reset=3", "'3'"),
        ("GET * 500 sometimes", "'sometimes'"),
        ("GET * 500 many times", "'many'"),
        ("GET * 429 retry-after=soon", "'soon'"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_was_found(rule: str, found: str):
    with pytest.raises(RuleError) as caught:
        Rule.read(rule)
    assert found in str(caught.value)


@pytest.fixture(scope="module")
def emulator(emulators) -> Any:
    return emulators("--fault", "GET */datastores/absent 503 after 1 2 times")


@pytest.fixture(scope="module")
def seen(emulator, run_program) -> dict[str, Any]:
    """Return what became of the SDK's calls under one fault after the other."""
    seen: dict[str, Any] = run_program(emulator, "faults_session.py")
    return seen


@pytest.mark.e2e
def test_rules_count_what_passes_and_what_is_hit(emulator):
    with emulator.signed_in() as http:
        address = f"{ARM}{emulator.workspace}/datastores/absent"
        found = [http.get(address, params=VERSION, timeout=10).status_code for _ in range(4)]
    assert found == [404, 503, 503, 404]


@pytest.mark.e2e
def test_the_sdk_waits_and_asks_again_when_it_is_throttled_or_the_service_is_away(seen):
    for name, struck in (("throttled", 1), ("unavailable", 2), ("reset", 1)):
        assert "status" not in seen[name], seen[name]
        assert seen[name]["struck"] == struck
    assert seen["throttled"]["seconds"] >= 2


@pytest.mark.e2e
def test_the_sdk_gives_up_after_some_attempts(seen):
    assert seen["always"]["status"] == 500
    assert seen["always"]["struck"] == 4


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("conflict", 409, "Conflict"),
        ("expired", 401, "ExpiredAuthenticationToken"),
        ("quota", 400, "OutOfQuota"),
    ],
)
def test_what_waiting_does_not_mend_is_raised_with_its_cause(seen, name, status, code):
    assert seen[name]["status"] == status
    assert seen[name]["text"].startswith(f"({code})")
    assert seen[name]["struck"] == 1


@pytest.mark.e2e
def test_a_second_run_goes_on_where_the_first_one_failed(seen):
    assert "status" not in seen["again"]
    assert seen["endpoints"] == ["conflict-ep", "reset-ep", "throttled-ep", "unavailable-ep"]


@pytest.mark.e2e
def test_operations_can_be_made_to_last(seen):
    assert "status" not in seen["slow"]
    assert seen["slow"]["seconds"] >= 2


@pytest.mark.e2e
def test_a_reset_is_one_and_the_log_tells_the_rule(emulator, seen):
    proxy = emulator.variables["HTTPS_PROXY"]
    with emulator.signed_in() as http:
        rule = "GET */workspaces/* reset once"
        assert requests.post(f"{proxy}/faults", json={"rule": rule}, timeout=10).ok
        with pytest.raises(requests.ConnectionError):
            http.get(f"{ARM}{emulator.workspace}", params=VERSION, timeout=10)
        assert http.get(f"{ARM}{emulator.workspace}", params=VERSION, timeout=10).ok
    log = emulator.log.read_text()
    assert f": {rule}" in log
    assert "Traceback" not in log


@pytest.mark.e2e
def test_rules_are_set_and_shown_from_the_command_line(emulator, seen):
    def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "azureml_emulator.faults"),
                *("--directory", str(emulator.directory), *arguments),
            ],
            env=emulator.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    shown = json.loads(faults("--clear", "--json", "GET */nowhere 500 once").stdout)
    assert shown == {
        "faults": [{"rule": "GET */nowhere 500 once", "seen": 0, "struck": 0, "over": False}]
    }
    wrong = faults("GET */nowhere 200")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: '200' is not an effect")
    assert json.loads(faults("--clear", "--json").stdout) == {"faults": []}
