"""What was accepted completes once, whatever is killed meanwhile: a worker, the service, a step."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("flock") is None, reason="there is no flock"),
]

JOBS, KILLS = 250, 50


class JobService:
    """The process of ``kill_service.py`` on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.accepted: list[str] = []
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("kill_service.py"), self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._answer() == "ready", (self._folder / "log").read_text()[-2000:]

    def submit(self) -> None:
        """Ask for a job; only what was answered is accepted."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.accepted.append(self._answer())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def running_steps(folder: Path) -> list[int]:
    """Return the process groups of the steps that run."""
    found = []
    for attempt in folder.glob("jobs/*/steps/only/attempt-*"):
        if (attempt / "process.json").exists() and not (attempt / "exit").exists():
            found.append(int(json.loads((attempt / "process.json").read_text())["pid"]))
    return found


def rows(folder: Path) -> list[Any]:
    connection = sqlite3.connect(folder / "jobs.db", timeout=30)
    try:
        return connection.execute("SELECT id, status FROM jobs").fetchall()
    finally:
        connection.close()


def test_accepted_250_lost_0_doubled_0_over_50_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    draw = random.Random(seed)
    record_property("seed", seed)
    print(f"seed {seed}")  # noqa: T201
    service = JobService(tmp_path)
    kills: Counter[str] = Counter()
    while len(service.accepted) < JOBS or sum(kills.values()) < KILLS:
        if len(service.accepted) < JOBS:
            for _ in range(JOBS // KILLS):
                service.submit()
        time.sleep(draw.uniform(0.0, 0.15))
        # Jobs are short: towards the end there may be no step left to kill.
        steps = running_steps(tmp_path)
        kind = draw.choice(["worker", "worker", "service"] + ["step"] * (3 if steps else 0))
        if kind == "step":
            try:
                os.killpg(draw.choice(steps), signal.SIGKILL)
            except ProcessLookupError:
                continue
        elif kind == "worker":
            service.process.send_signal(signal.SIGUSR1)
        else:
            service.kill()
            service.start()
        kills[kind] += 1
    # A worker that was killed between two statements leaves its job to the next start.
    service.kill()
    service.start()
    deadline = time.monotonic() + 300
    while any(status in ("Queued", "Running") for _, status in rows(tmp_path)):
        assert time.monotonic() < deadline, (seed, (tmp_path / "log").read_text()[-2000:])
        time.sleep(0.1)
    service.kill()

    statuses = dict(rows(tmp_path))
    lost = [each for each in service.accepted if statuses.get(each) != "Completed"]
    told = Counter(line.split()[0] for line in (tmp_path / "finished").read_text().splitlines())
    ends = Counter(
        path.parents[3].name
        for path in tmp_path.glob("jobs/*/steps/only/attempt-*/exit")
        if path.read_text().strip() == "0"
    )
    doubled = [each for each in statuses if told[each] > 1 or ends[each] > 1]
    overlaps = (tmp_path / "overlaps").exists()
    assert (len(service.accepted), lost, doubled, overlaps) == (JOBS, [], [], False), seed
    assert set(kills) == {"worker", "service", "step"}, (seed, kills)
