"""Search spaces, sweeps and parallel nodes, as bodies of jobs have them."""

import random
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs import _scoring_script
from azureml_emulator.jobs._definitions import read_job
from azureml_emulator.jobs._search_space import draw, read_space
from azureml_emulator.jobs._sweep_task import SweepTask
from azureml_runner.engine import CommandNode, OtherNode

SWEEP: dict[str, Any] = {
    "jobType": "Sweep",
    "trial": {
        "command": "python train.py ${{inputs.data}} ${{search_space.rate}}",
        "environmentId": "azureml:e:1",
        "codeId": "azureml:c:1",
    },
    "inputs": {"data": {"jobInputType": "uri_folder", "uri": "azureml:rows:1"}},
    "outputs": {"model": {"jobOutputType": "uri_folder"}},
    "searchSpace": {"rate": ["uniform", [0.5, 0.9]]},
    "samplingAlgorithm": {"samplingAlgorithmType": "Random"},
    "objective": {"goal": "Maximize", "primaryMetric": "auc"},
    "limits": {
        "maxTotalTrials": 4,
        "maxConcurrentTrials": 2,
        "timeout": "PT1H",
        "trialTimeout": "PT1M",
        "jobLimitsType": "Sweep",
    },
}


def no_components(component: str) -> Any:
    raise AssertionError(component)


def test_a_sweep_is_read_with_its_limits_and_its_trial():
    definition = read_job(SWEEP, no_components)
    (node,) = definition.graph.nodes.values()
    assert isinstance(node, OtherNode)
    task = node.spec
    assert isinstance(task, SweepTask)
    assert (task.metric, task.maximise, task.most_trials, task.most_at_once) == ("auc", True, 4, 2)
    assert (task.seconds, task.trial.timeout_seconds) == (3600, 60)
    trial = task.node({"rate": 0.75}, {})
    assert "${{inputs.rate}}" in trial.command
    assert "search_space" not in trial.command
    assert set(node.inputs) == {"data"}
    assert set(node.outputs) == {"model"}


@pytest.mark.parametrize(
    ("distribution", "low", "high", "step"),
    [
        (["uniform", [0.5, 0.9]], 0.5, 0.9, None),
        (["loguniform", [-6, -1]], 0.0024, 0.368, None),
        (["quniform", [0, 10, 2]], 0, 10, 2),
        (["randint", [5]], 0, 4, 1),
        (["normal", [0, 1]], -7, 7, None),
        ({"type": "qlognormal", "mu": 0, "sigma": 1, "q": 0.5}, 0, 2000, 0.5),
    ],
)
def test_values_come_from_the_distribution(distribution, low, high, step):
    space = read_space({"x": distribution})
    values = [float(space["x"].sample(random.Random(seed))) for seed in range(200)]
    assert low <= min(values) <= max(values) <= high
    assert len(set(values)) > 3
    if step is not None:
        assert {value % step for value in values} == {0}


def test_a_grid_has_every_combination_once_and_no_more_than_allowed():
    space = read_space(
        {"a": ["choice", [[1, 2, 3]]], "b": {"type": "choice", "values": ["x", "y"]}}
    )
    everything = draw(space, "grid", 100, "seed")
    assert len(everything) == 6
    assert {(one["a"], one["b"]) for one in everything} == {(a, b) for a in (1, 2, 3) for b in "xy"}
    assert draw(space, "grid", 4, "other") == everything[:4]


def test_an_interrupted_sweep_draws_the_same_values_again():
    space = read_space({"a": ["uniform", [0, 1]], "b": ["choice", [["x", "y"]]]})
    assert draw(space, "random", 5, "job-1") == draw(space, "random", 5, "job-1")
    assert draw(space, "random", 5, "job-1") != draw(space, "random", 5, "job-2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"searchSpace": {}}, "search space is empty"),
        ({"searchSpace": {"rate": ["triangular", [1]]}}, "'triangular', not one of choice"),
        ({"searchSpace": {"rate": ["uniform", [1]]}}, "needs"),
        ({"objective": {"goal": "Highest", "primaryMetric": "auc"}}, "primary metric and the goal"),
        ({"samplingAlgorithm": {"samplingAlgorithmType": "Sobol"}}, "'Sobol"),
        ({"samplingAlgorithm": {"samplingAlgorithmType": "Grid"}}, "takes 'choice' alone"),
        ({"limits": {"maxTotalTrials": 5000}}, "5000, not 1 to 1000"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_by_name(change, words):
    with pytest.raises(ArmError, match=words):
        read_job({**SWEEP, **change}, no_components)


def test_what_a_command_names_beside_its_space_is_left_for_the_trials_to_fail_on():
    """The service takes such a sweep; its trials end with the name of what is missing."""
    found = read_job({**SWEEP, "searchSpace": {"other": ["randint", [4]]}}, no_components)
    [node] = found.graph.nodes.values()
    assert isinstance(node, OtherNode)
    assert "${{search_space.rate}}" in node.spec.trial.command


def parallel(**changes: Any) -> dict[str, Any]:
    spec = {
        "type": "parallel",
        "name": "score",
        "inputs": {"rows": {"type": changes.pop("kind", "uri_folder")}},
        "outputs": {"out": {"type": "uri_file"}},
        "input_data": "${{inputs.rows}}",
        "mini_batch_size": "3",
        "task": {
            "type": "run_function",
            "code": "azureml:c:1",
            "entry_script": "score it.py",
            "environment": "azureml:e:1",
            "append_row_to": "${{outputs.out}}",
            "program_arguments": "--n 1",
        },
        **changes,
    }
    job = {
        "jobType": "Pipeline",
        "inputs": {"rows": {"jobInputType": "uri_folder", "uri": "azureml:rows:1"}},
        "jobs": {
            "score": {
                "type": "parallel",
                "componentId": "azureml:score:1",
                "inputs": {
                    "rows": {"job_input_type": "literal", "value": "${{parent.inputs.rows}}"}
                },
            }
        },
    }
    return {"job": job, "spec": spec}


def test_a_parallel_node_is_a_command_with_the_components_settings():
    given = parallel()
    node = read_job(given["job"], lambda _: given["spec"]).graph.nodes["score"]
    assert isinstance(node, CommandNode)
    assert "--script 'score it.py' --data ${{inputs.rows}} --size 3" in node.command
    assert node.command.endswith("--append ${{outputs.out}} -- --n 1")
    assert (node.code, node.environment) == ("azureml:c:1", "azureml:e:1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partition_keys": ["day"]}, "'score' has partition_keys of what is no mltable"),
        ({"mini_batch_size": "10kb"}, "'10kb', not a number of files"),
        ({"mini_batch_size": "1.5"}, "'1.5', not a number of files"),
        ({"mini_batch_size": "0"}, "'0', not a number of files"),
        ({"kind": "mltable", "mini_batch_size": "x"}, "'x', not a size of rows"),
        ({"kind": "mltable", "mini_batch_size": "0.9kb"}, "'0.9kb', not a size of rows"),
    ],
)
def test_a_parallel_node_that_cannot_be_run_is_refused_by_name(change, words):
    given = parallel(**change)
    with pytest.raises(ArmError, match=words):
        read_job(given["job"], lambda _: given["spec"])


def test_an_input_data_that_is_none_is_accepted_and_fails_with_its_reason():
    given = parallel(input_data="${{inputs.nothing}}")
    node = read_job(given["job"], lambda _: given["spec"]).graph.nodes["score"]
    done = subprocess.run(["sh", "-c", node.command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "input_data names nothing, which is no input of the step\n"


def test_a_table_is_divided_by_its_size_or_by_its_keys():
    for more, words in (
        ({"mini_batch_size": "2kb"}, "--size 2048"),
        # The size that the SDK sends along with keys is none.
        ({"mini_batch_size": "0", "partition_keys": '["day", "shop"]'}, "--keys day,shop -- --n 1"),
    ):
        given = parallel(kind="mltable", **more)
        node = read_job(given["job"], lambda _, given=given: given["spec"]).graph.nodes["score"]
        assert isinstance(node, CommandNode)
        assert words in node.command


def batches(folder: Path, table: str | None, size: int, keys: str = "") -> tuple[str, list[Any]]:
    """Return what the script of parallel nodes makes of two files of two rows each."""
    for name, rows in (("a", "mon,1\ntue,2\n"), ("b", "mon,3\nwed,4\n")):
        (folder / f"{name}.csv").write_text(f"day,n\n{rows}")
    if table is not None:
        (folder / "MLTable").write_text(f"paths:\n  - pattern: ./*.csv\n{table}")
    what, found = _scoring_script._batches(Namespace(data=folder, size=size, keys=keys))
    if what == "files":
        return what, [[path.name for path in batch] for batch in found]
    return what, [batch.values.tolist() for batch in found]


READ = "transformations:\n  - read_delimited: {delimiter: ','}\n"


@pytest.mark.parametrize(
    ("table", "size", "keys", "wanted"),
    [
        (None, 1, "", ("files", [["a.csv"], ["b.csv"]])),
        (None, 2, "", ("files", [["a.csv", "b.csv"]])),
        # An MLTable without a reader is one of files.
        ("", 1, "", ("files", [["a.csv"], ["b.csv"]])),
        # Both files have 36 bytes and four rows: 18 bytes are two rows, 27 are three.
        (READ, 18, "", ("rows", [[["mon", 1], ["tue", 2]], [["mon", 3], ["wed", 4]]])),
        (READ, 27, "", ("rows", [[["mon", 1], ["tue", 2], ["mon", 3]], [["wed", 4]]])),
        (READ, 1, "", ("rows", [[["mon", 1]], [["tue", 2]], [["mon", 3]], [["wed", 4]]])),
        (READ, 1, "day", ("rows", [[["mon", 1], ["mon", 3]], [["tue", 2]], [["wed", 4]]])),
        (READ + "  - keep_columns: [n]\n", 99, "", ("rows", [[[1], [2], [3], [4]]])),
        (READ + "  - drop_columns: n\n", 99, "",
         ("rows", [[["mon"], ["tue"], ["mon"], ["wed"]]])),
    ],
)  # fmt: skip
def test_mini_batches(tmp_path: Path, table: str | None, size: int, keys: str, wanted: Any):
    assert batches(tmp_path, table, size, keys) == wanted


def test_what_a_table_asks_for_in_vain_is_named(tmp_path: Path):
    with pytest.raises(SystemExit, match="asks for 'filter', which the emulator does not read"):
        batches(tmp_path, READ + "  - filter: 'col(\"n\") > 1'\n", 1)
