"""``twinml rehearse`` for real: emulator, unmodified SDK, Microsoft's server, and a comparison."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml_azure.rehearsal import Stage

pytestmark = pytest.mark.e2e

NAME = "tiny"
SEARCH = ("--trials", "2", "--learners", "LogisticRegression")


class Shell:
    """Runs ``twinml`` in processes of their own, in one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""
        self.home = folder / "home"

    def __call__(self, *words: str, code: int = 0) -> Any:
        mine = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AZURE", "HTTP", "MLFLOW_TRACKING"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "twinml", *words, "--json"],
            env={**mine, "TWINML_HOME": str(self.home)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        self.said = done.stderr
        assert done.returncode == code, f"{done.stdout[-1500:]}\n{done.stderr[-2500:]}"
        return json.loads(done.stdout)

    def data(self) -> tuple[str, ...]:
        return "--data", str(self.folder / f"{NAME}.csv"), "--target", "y"


@pytest.fixture(scope="module")
def twinml(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with data whose floats ``pandas.read_json`` does not read exactly."""
    shell = Shell(tmp_path_factory.mktemp("rehearsal"))
    rng = np.random.default_rng(3)
    n = 400
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "rate": rng.random(n),
            "job": rng.choice(["cook", "clerk", "none"], n),
        }
    )
    signal = table["age"] / 20 + table["rate"] + rng.normal(0, 0.5, n)
    table["y"] = np.where(signal > np.median(signal), "yes", "no")
    table.to_csv(shell.folder / f"{NAME}.csv", index=False)
    yield shell
    shell("stop")


@pytest.fixture(scope="module")
def rehearsed(twinml: Shell) -> Any:
    return twinml(
        *("rehearse", *twinml.data(), *SEARCH, "--no-pipeline", "--rows", "all", "--keep")
    )


def test_every_step_runs_against_the_emulator(rehearsed):
    steps = rehearsed["run"]["steps"]
    assert [step["number"] for step in steps] == list(range(1, 11))
    assert rehearsed["run"]["endpoint"]["scoring_uri"] == (
        f"https://{NAME}.eastus.inference.ml.azure.com/score"
    )
    assert rehearsed["run"]["endpoint"]["traffic"] == {"blue": 100}
    assert steps[6]["details"]["failed"] == 0


def test_both_answer_alike_once_input_parsing_is_told_apart(rehearsed):
    found = rehearsed["comparison"]
    assert rehearsed["passes"] is True
    assert found["same_model"] is True
    assert found["rows"] == 400 + found["adversarial"]
    assert found["adversarial"] > 40
    assert found["same_labels"] == found["scored"]
    assert found["unexplained"] == 0
    # The floats of this table make the point: some are read otherwise, and all are explained.
    assert found["changed_cells"] > 0
    assert set(found["causes"]) <= {"input parsing"}
    assert Path(found["page"]).is_file()


def test_a_second_run_keeps_everything(twinml: Shell, rehearsed):
    log = twinml.home / "rehearsal.log"
    before = len(log.read_text().splitlines())
    again = twinml("run", "--on", "rehearsal", *twinml.data(), *SEARCH, "--no-pipeline")
    assert again["model"] == rehearsed["run"]["model"]
    assert again["asset"] == rehearsed["run"]["asset"]
    assert again["steps"][1]["details"]["reused"] is True
    later = log.read_text().splitlines()[before:]
    made = [line for line in later if " PUT " in line or " DELETE " in line]
    assert made == []


def test_a_job_on_the_cluster_gives_the_same_model_bit_for_bit(twinml: Shell, rehearsed):
    words = ("run", "--on", "rehearsal", "--train", "job", *twinml.data(), *SEARCH)
    done = twinml(*words, "--no-pipeline")
    assert done["model"]["digest"] == rehearsed["run"]["model"]["digest"]
    assert "twinml-" in done["steps"][1]["details"]["where"]


def test_a_teardown_leaves_nothing_that_costs(twinml: Shell, rehearsed):
    planned = twinml("teardown", "--on", "rehearsal", "--plan")
    assert {"online endpoint", "cluster", "model", "data"} <= {each["kind"] for each in planned}
    assert twinml("teardown", "--on", "rehearsal", code=1)["error_code"]  # not without --yes
    assert twinml("teardown", "--on", "rehearsal", "--yes") == planned
    assert twinml("teardown", "--on", "rehearsal", "--plan") == []


def test_stop_ends_the_emulator(twinml: Shell, rehearsed):
    stage = Stage(twinml.home / "rehearsal")
    assert stage.variables() is not None
    assert "rehearsal" in twinml("stop")["ended"]
    assert stage.variables() is None
