"""Traffic that moved starts the published pipeline by itself, which proposes a challenger."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from click.testing import CliRunner

from azureml_runner.processes import running
from twinml.cli import main
from twinml.data.json_rows import records
from twinml.endpoint import Endpoint
from twinml.platform import load
from twinml_local.jobs import lifecycle

pytestmark = pytest.mark.e2e


def customers(seed: int, *, changed: bool) -> pd.DataFrame:
    """Return rows; when the world has changed, the old rule is wrong."""
    rng = np.random.default_rng(seed)
    income = rng.normal(60_000 if changed else 30_000, 8_000, 800).round(2)
    age = rng.integers(18, 90, 800)
    signal_ = (age - 54) / 10 * (-1 if changed else 1)
    bought = signal_ + rng.normal(0, 0.7, 800) > 0
    return pd.DataFrame({"age": age, "income": income, "y": np.where(bought, "yes", "no")})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    twinml("stop")


def twinml(*arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def eventually(found: Any, seconds: float = 240) -> Any:
    """Return the first thing that ``found`` finds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s; schedules: {twinml('pipeline', 'schedules')}")


@pytest.mark.timeout(900)
def test_drift_starts_one_training_whose_record_says_why(home: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    customers(1, changed=False).to_csv(old, index=False)
    customers(2, changed=True).to_csv(new, index=False)
    usual = ["-itrials=1", "-ilearners=LogisticRegression", "-imodel_name=shop"]
    twinml("pipeline", "publish", "--data", str(old), "--target", "y", *usual)
    twinml("pipeline", "run", "training", "-iendpoint=shop", "--wait")
    twinml("collect", "--endpoint", "shop", "--rate", "1")

    watch = ["--on-drift", "shop", "--every", "1s", "--cooldown", "1h", "--as", "watch"]
    inputs = [f"-idata={new}", "-iendpoint=shop", "-ipercent=20"]
    made = twinml("pipeline", "schedule", "training", *watch, *inputs)
    assert (made["on_drift"], made["every"], made["cooldown"]) == ("shop", "1s", "1h")

    def watched() -> dict[str, Any]:
        [one] = twinml("pipeline", "schedules", "training")
        return dict(one)

    # The world as it was: looked at, and nothing is started.
    ask(customers(3, changed=False))
    eventually(lambda: "no drift" in (watched()["finding"] or ""))
    assert len(twinml("pipeline", "list", "training")) == 1

    # Another world. The service is killed before it can have looked.
    pid = running(home / "pipelines" / "service.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ask(customers(4, changed=True))
    client = load("local")
    client.publish_pipeline("other", write_other(tmp_path))  # Any verb that needs it starts it.
    fired = eventually(lambda: [job for job in jobs() if job["schedule"] == "watch"])
    [job] = fired
    assert "income (PSI" in job["reason"]
    assert "drifted over" in job["reason"]
    assert "rows asked of shop, against the training rows of shop/1" in job["reason"]
    done = client.pipeline_client("training").wait(job["id"], timeout=300)
    assert done.status == "Completed", done.error
    assert done.reason == job["reason"]

    # It proposed a challenger, which has its share; a person has the last word.
    status = twinml("status")
    [endpoint] = status["endpoints"]
    assert [one["name"] for one in status["pipelines"]] == ["other", "training"]
    [shown] = status["pipelines"][1]["schedules"]
    assert (shown["name"], shown["on_drift"]) == ("watch", "shop")
    assert endpoint["traffic"] == {"version-1": 80, "version-2": 20}
    # The traffic still is what it was, but there is one training only.
    cooling = eventually(lambda: "cooling down" in (watched()["finding"] or "") and watched())
    assert cooling["last"] is not None
    assert [one["schedule"] for one in jobs()].count("watch") == 1
    promoted = twinml("promote", "shop", "--reason", job["reason"])
    assert (promoted["version"], promoted["previous"]) == ("2", "1")

    # The same over REST, with the same key.
    info = lifecycle.info("training")
    uri = info.uri.removesuffix("/jobs") + "/schedules/watch"
    headers = {"Authorization": f"Bearer {lifecycle.keys().primary}"}
    assert requests.get(uri, headers=headers, timeout=30).json()["finding"] == cooling["finding"]
    off = requests.post(f"{uri}/disable", headers=headers, timeout=30)
    assert (off.status_code, off.json()["enabled"]) == (200, False)
    assert requests.delete(uri, headers=headers, timeout=30).status_code == 204
    assert twinml("pipeline", "schedules") == []


def jobs() -> list[dict[str, Any]]:
    return list(twinml("pipeline", "list", "training"))


def ask(rows: pd.DataFrame) -> None:
    """Send rows to the endpoint in some requests."""
    platform = load("local")
    info, key = platform.endpoint_info("shop"), platform.keys("shop").primary
    features = rows.drop(columns="y")
    with Endpoint(info.scoring_uri, key) as client:
        for start in range(0, len(features), 50):
            client.score_proba(records(features.iloc[start : start + 50]))


def write_other(folder: Path) -> Path:
    path = folder / "other.yml"
    path.write_text("type: pipeline\njobs:\n  s:\n    type: command\n    command: 'true'\n")
    return path
