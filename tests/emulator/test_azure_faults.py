"""The platform ``azure`` on a bad day: retried, or one line that says why, and a rerun resumes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def seen(emulators, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("faults")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore"),
            *(str(Path(__file__).with_name("azure_faults_session.py")), str(folder)),
        ],
        env={**emulators().environment, "TWINML_HOME": str(folder / "home")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


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
