"""The notebook, cell by cell in a kernel, as a reader runs it; and what git holds of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "walkthrough.ipynb"
# The cells of the notebook leave these; the last one but one of the copy tells them.
PROBE = """
print(json.dumps({
    "platform": platform.name,
    "rows": len(dataset.frame),
    "job": job.status,
    "again": again.status,
    "jobs": [one.id for one in client.jobs()],
    "run_id": run_id,
    "registration": registration,
    "decision": decision,
    "leaderboard": len(leaderboard),
    "auc": run.data.metrics["test_roc_auc"],
    "holdout": len(holdout),
    "counts": counts.tolist(),
    "rates": [float(probability[truth == label].mean()) for label in ("no", "yes")],
    "started": response.status_code,
    "scored": len(labels),
    "same_labels": same_labels,
    "largest_difference": largest_difference,
}))
"""


@dataclass
class Reading:
    """A copy of the notebook in a folder of its own, executed with a state folder of its own."""

    folder: Path
    platform: str
    notebook: NotebookNode
    failure: CellExecutionError | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        # The rehearsal's state is inside, and so is all that either platform starts.
        return {**os.environ, "TWINML_HOME": str(self.home), "TWINML_PLATFORM": self.platform}

    def execute(self) -> None:
        client = NotebookClient(
            self.notebook, timeout=1500, resources={"metadata": {"path": str(self.folder)}}
        )
        try:
            client.execute(env=self.environment)
        except CellExecutionError as error:
            self.failure = error

    def stop(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "twinml", "stop"],
            env=self.environment,
            capture_output=True,
            timeout=300,
        )

    def cell(self, name: str) -> NotebookNode:
        return next(cell for cell in self.notebook.cells if cell.get("id") == name)

    def said(self, name: str) -> str:
        """Return all that a cell showed, as text and HTML."""
        parts = []
        for output in self.cell(name).outputs:
            parts.append(output.get("text", ""))
            data = output.get("data", {})
            parts += [data[kind] for kind in ("text/plain", "text/html") if kind in data]
        return "\n".join(parts)


def read(folder: Path, platform: str) -> Iterator[Reading]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # A reader waits for a better model; what the cells do is the same.
    [setting] = [cell for cell in notebook.cells if 'BUDGET = "15s"' in cell.source]
    setting.source = setting.source.replace('BUDGET = "15s"', 'BUDGET = "7s"')
    names = [cell.id for cell in notebook.cells]
    notebook.cells.insert(names.index("stop"), new_code_cell(PROBE, id="probe"))
    reading = Reading(folder, platform, notebook)
    try:
        reading.execute()
        yield reading
    finally:
        reading.stop()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    yield from read(tmp_path_factory.mktemp("walkthrough"), "local")


@pytest.fixture(scope="module")
def found(here: Reading) -> dict[str, Any]:
    assert here.failure is None, here.failure
    left: dict[str, Any] = json.loads(here.said("probe"))
    return left


def check(found: dict[str, Any]) -> None:
    """Hold what the cells found on any platform against what must be so."""
    assert found["rows"] == 45_211
    assert (found["job"], found["again"]) == ("Completed", "Completed")
    assert len(found["jobs"]) == 2
    assert found["run_id"] in found["jobs"]
    assert found["registration"]["registered"] is True
    assert found["leaderboard"] >= 1
    # 7 s on a busy machine find little, but a ranking that is worse than this is broken.
    assert 0.85 < found["auc"] < 1.0
    # A fifth is held out; the matrix counts each of these rows once.
    assert found["holdout"] == pytest.approx(45_211 / 5, abs=1)
    assert sum(map(sum, found["counts"])) == found["holdout"]
    assert found["rates"][0] < found["rates"][1]
    assert found["scored"] == 300
    assert found["same_labels"] is True
    assert found["largest_difference"] < 1e-12


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_the_notebook_runs_from_the_first_cell_to_the_last(found: dict[str, Any]) -> None:
    assert found["platform"] == "local"
    check(found)
    assert found["started"] == 200
    assert found["largest_difference"] == 0
    # The first model of its name is registered; the same one again does not beat itself.
    assert found["decision"]["registered"] is False
    assert "does not beat" in found["decision"]["reason"]


@pytest.mark.e2e
def test_what_a_reader_sees_is_what_the_prose_says(here: Reading, found: dict[str, Any]) -> None:
    assert "duration" in here.said("load-data")
    assert "train     ./components/train.yml      needs prepare" in here.said("show-pipeline")
    assert here.said("watch").count("✓ Completed") == 6  # The job and its five steps.
    assert "Completed, reused" in here.said("watch-again-cell")
    assert "(200, [" in here.said("score-cell")
    assert here.said("refused").strip() == "401"
    assert "the months to come" in here.said("metrics-cell")
    for name in ("confusion-cell", "probabilities-cell"):
        assert any("image/png" in one.get("data", {}) for one in here.cell(name).outputs), name
    # No warning between a reader and the lesson.
    noise = [
        (cell.id, output.text)
        for cell in here.notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.get("name") == "stderr"
    ]
    assert noise == []


@pytest.mark.e2e
def test_the_last_cell_ends_all_that_the_others_started(
    here: Reading, found: dict[str, Any]
) -> None:
    assert "endpoint walkthrough" in here.said("stop")
    assert "pipeline service" in here.said("stop")
    mark = f"TWINML_HOME={here.home}".encode()
    left = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                left.append(environ.with_name("cmdline").read_bytes())
        except OSError:
            continue
    assert left == []


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_one_variable_runs_it_with_azures_sdk(tmp_path: Path) -> None:
    for module in ("azure.ai.ml", "azureml.mlflow"):
        pytest.importorskip(module, reason="the extra azure is not installed")
    reading = next(reader := read(tmp_path, "rehearsal"))
    try:
        assert reading.failure is None, reading.failure
        found = json.loads(reading.said("probe"))
        assert found["platform"] == "rehearsal"
        check(found)
        assert found["started"] == 201
        assert "(200, [" in reading.said("score-cell")
        # The gate holds on Azure's side, too: a model does not beat itself.
        assert found["decision"]["registered"] is False
        assert "does not beat" in found["decision"]["reason"]
    finally:
        reader.close()


def test_git_holds_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id
        assert cell.metadata == {}, cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_links_of_the_notebook_lead_somewhere() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    assert links
    for target in links:
        assert (NOTEBOOK.parent / target).exists(), target
