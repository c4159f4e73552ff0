"""A state folder that release 0.1 left (``tests/data/pack_home.py``) goes on with this version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.pack_home import unpack

pytestmark = pytest.mark.e2e

ARCHIVE = Path(__file__).parents[1] / "data" / "home-0.1.tar.xz"


def twinml(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "twinml", *arguments, "--json"],
        env={**os.environ, "TWINML_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_home_of_release_0_1_is_shown_started_scored_and_deployed_to(tmp_path: Path) -> None:
    home = tmp_path / "home"
    unpack(ARCHIVE, home)
    (endpoint,) = twinml(home, "status")["endpoints"]
    assert (endpoint["name"], endpoint["state"]) == ("visitors", "stopped")
    assert endpoint["deployments"] == {"blue": "visitors:1"}
    (model,) = twinml(home, "models")
    assert (model["name"], model["version"]) == ("visitors", "1")
    data = home / "data" / "visitors" / "1" / "data.csv"
    try:
        twinml(home, "start", "--endpoint", "visitors")
        before = twinml(home, "score", "--endpoint", "visitors", "--data", str(data))
        assert len(before["predictions"]) == 240
        where = ("--endpoint", "visitors", "--name", "green", "--all-traffic")
        twinml(home, "deploy", "--model", "visitors", *where)
        (endpoint,) = twinml(home, "status")["endpoints"]
        assert endpoint["deployments"] == {"blue": "visitors:1", "green": "visitors:1"}
        assert endpoint["traffic"] == {"blue": 0, "green": 100}
        after = twinml(home, "score", "--endpoint", "visitors", "--data", str(data))
        # All but the ids, which no two requests share.
        assert after | {"request_ids": None} == before | {"request_ids": None}
    finally:
        twinml(home, "stop")
