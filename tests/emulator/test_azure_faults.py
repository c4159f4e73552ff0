"""The platform ``azure`` on a bad day: retried, or one line that says why, and a rerun resumes."""

from typing import Any

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def seen(emulators, run_program, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("faults")
    home = str(folder / "home")
    seen: dict[str, Any] = run_program(
        emulators(), "azure_faults_session.py", folder, quiet=True, TWINML_HOME=home
    )
    return seen


@pytest.mark.parametrize(
    ("what", "struck", "at_least"),
    [("throttled", 1, 1.0), ("unavailable", 2, 0.0), ("reset", 1, 0.0), ("slow", 1, 2.0)],
)
def test_what_passes_is_waited_for(seen, what: str, struck: int, at_least: float):
    outcome = seen[what]
    assert outcome["result"] == "1", outcome
    assert outcome["struck"] == struck
    assert outcome["seconds"] >= at_least


def test_an_expired_token_is_one_line_and_a_rerun_resumes(seen):
    assert seen["expired"]["struck"] >= 1
    assert seen["expired"].get("kind") in ("PlatformUnavailable", None)
    assert seen["expired_again"]["result"] == "1"


def test_a_service_that_stays_broken_is_one_line(seen):
    outcome = seen["always"]
    assert outcome["kind"] in ("PlatformError", "PlatformUnavailable")
    assert "to register data 'always'" in outcome["text"]
    assert outcome["struck"] > 1  # it was retried


def test_too_little_quota_says_so_and_a_rerun_makes_the_cluster_and_keeps_it(seen):
    assert seen["quota"]["kind"] == "PlatformError"
    assert "quota" in seen["quota"]["text"].lower()
    assert seen["quota_again"]["result"] == "done"
    assert seen["quota_again"]["seconds"] >= 2
    assert (seen["quota_kept"]["result"], seen["quota_kept"]["struck"]) == ("done", 0)


def test_an_image_that_cannot_be_built_is_one_line(seen):
    assert seen["image"]["kind"] == "PlatformError"
    assert "bank-ep/blue" in seen["image"]["text"]
    assert seen["after_image"] == ["bank-ep"]


def test_every_message_is_one_line_without_a_traceback(seen):
    for name, outcome in seen.items():
        text = outcome.get("text", "") if isinstance(outcome, dict) else ""
        assert "\n" not in text, name
        assert "Traceback" not in text
        assert len(text) < 600, name


# The whole workflow. Each run finds what the one before it left, and gets a step further.


@pytest.fixture(scope="module")
def runs(emulators, run_program, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("workflow-faults")
    emulator, home = emulators(), str(folder / "home")
    runs: dict[str, Any] = run_program(
        *(emulator, "workflow_faults_session.py", folder, emulator.log),
        quiet=True,
        TWINML_HOME=home,
    )
    return runs


def finished(run: dict[str, Any]) -> list[str]:
    """Return the summaries of the steps that a run finished."""
    return [line.strip() for line in run["said"].splitlines() if line.strip().startswith("✓")]


def test_a_run_whose_token_expires_ends_with_a_line_and_the_next_one_goes_on(runs):
    run = runs["expired"]
    assert run["code"] == 1
    assert "no credential opens Azure" in run["answer"]["message"]
    assert finished(run) == []
    assert len(finished(runs["quota"])) == 3


def test_a_run_waits_for_what_passes(runs):
    run = runs["quota"]
    assert set(run["struck"].values()) == {1}, run["struck"]
    assert {"data", "models", "onlineEndpoints"} <= set(run["written"])


@pytest.mark.parametrize(
    ("name", "words", "steps"),
    [("quota", "quota", 3), ("image", "image", 3), ("cluster", "quota", 10)],
)
def test_a_run_that_cannot_go_on_ends_with_its_cause_in_a_line(runs, name, words, steps):
    run = runs[name]
    assert run["code"] == 1
    text = run["answer"]["message"]
    assert words in text.lower()
    assert "\n" not in text
    assert "Traceback" not in text + run["said"]
    assert len(finished(run)) == steps


def test_a_rerun_does_no_step_twice(runs):
    # The second run got as far as the deployment, which failed, and so did the third one.
    for name in ("image", "cluster"):
        written = runs[name]["written"]
        assert "onlineEndpoints/deployments" in written
        assert not {"data", "models"} & set(written), written
        assert "found, not trained again" in finished(runs[name])[1]
    assert runs["cluster"]["struck"] == {
        "PUT */deployments/* operation=2 once": 1,
        "GET */onlineEndpoints/* slow=1 once": 1,
        "PUT */computes/* quota once": 1,
    }
