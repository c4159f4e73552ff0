"""The engine runs graphs as real processes: order, reuse, retries, ends of every kind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from azureml_runner.engine import (
    Asset,
    CommandNode,
    Control,
    FromInput,
    FromOutput,
    Graph,
    Host,
    Input,
    Interrupted,
    Literal,
    OtherNode,
    Output,
    PipelineNode,
    ReuseStore,
    RunOptions,
    end_interrupted,
    make_plan,
    run_plan,
    step_folder,
)
from azureml_runner.errors import RunnerError
from azureml_runner.processes import process_identity

pytestmark = pytest.mark.e2e


class Listener(Host):
    """Keeps what it is told; runs other nodes by a function."""

    def __init__(self, other: Callable[..., None] | None = None) -> None:
        self.events: list[Any] = []
        self.seen = threading.Event()
        self._other = other

    def on_event(self, event):
        self.events.append(event)
        if event.status == "Running":
            self.seen.set()

    def run_other(self, step, inputs, outputs, *, log, control):
        if self._other is None:
            super().run_other(step, inputs, outputs, log=log, control=control)
        else:
            self._other(inputs, outputs, log, control)

    def statuses(self, name):
        return [event.status for event in self.events if event.name == name]


def command(
    text: str, *, inputs: Mapping[str, Input] | None = None, out: bool = True, **rest: Any
) -> CommandNode:
    outputs = {"out": Output("uri_file")} if out else {}
    return CommandNode(text, inputs=inputs or {}, outputs=outputs, **rest)


def chain(first: str, second: str, **rest: Any) -> Graph:
    return Graph(
        {
            "first": command(first, **rest),
            "second": command(
                second,
                inputs={"x": Input("uri_file")},
                values={"x": FromOutput("first", "out")},
                publishes={"out": "result"},
            ),
        },
        outputs={"result": Output("uri_file")},
    )


def run(graph: Graph, folder: Path, host: Host | None = None, values=None, **options: Any):
    plan = make_plan(graph, values)
    return run_plan(plan, folder=folder, host=host, options=RunOptions(**options))


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def test_code_environment_and_inputs_reach_the_command(tmp_path):
    code = tmp_path / "my code"
    code.mkdir()
    (code / "main.py").write_text(
        "import os, sys, pathlib\n"
        "rows = pathlib.Path(sys.argv[1], 'rows.txt').read_text()\n"
        "pathlib.Path('scratch').write_text('mine')\n"
        "out = pathlib.Path(sys.argv[2]); (out / 'o').write_text(rows + os.environ['GREETING'])\n"
    )
    data = tmp_path / "some data"
    data.mkdir()
    (data / "rows.txt").write_text("rows ")
    node = CommandNode(
        "python main.py ${{inputs.data}} ${{outputs.made}}",
        inputs={"data": Input("uri_folder")},
        outputs={"made": Output("uri_folder")},
        values={"data": FromInput("data")},
        publishes={"made": "made"},
        code=str(code),
        environment_variables={"GREETING": "hello"},
    )
    graph = Graph({"a": node}, {"data": Input("uri_folder")}, {"made": Output()})
    outcome = run(graph, tmp_path / "job", values={"data": Asset(str(data))})
    assert outcome.status == "Completed", outcome.error
    assert (outcome.outputs["made"] / "o").read_text() == "rows hello"
    assert not (code / "scratch").exists(), "a step works in a copy of its code"


def test_branches_run_side_by_side_up_to_the_limit(tmp_path):
    # Each waits for the other's file: only side by side can both end.
    meet = "touch {0} && until [ -e {1} ]; do sleep 0.05; done; echo 1 > ${{{{outputs.out}}}}"
    a, b = tmp_path / "a", tmp_path / "b"
    graph = Graph(
        {
            "a": command(meet.format(a, b), timeout_seconds=60),
            "b": command(meet.format(b, a), timeout_seconds=60),
        }
    )
    assert run(graph, tmp_path / "job").status == "Completed"
    a.unlink()
    b.unlink()
    alone = Graph({"a": command(meet.format(a, b), timeout_seconds=0.5)} | {"b": graph.nodes["b"]})
    assert run(alone, tmp_path / "one", concurrency=1).status == "Failed"


def test_a_failure_ends_the_rest_unless_it_may_go_on(tmp_path):
    graph = Graph(
        {
            "bad": command("echo the reason >&2; exit 7"),
            "after": command(
                "true", inputs={"x": Input("uri_file")}, values={"x": FromOutput("bad", "out")}
            ),
            "slow": command("sleep 100; touch ${{outputs.out}}", timeout_seconds=60),
        }
    )
    host = Listener()
    outcome = run(graph, tmp_path / "stop", host)
    assert (outcome.status, outcome.error) == (
        "Failed",
        "step 'bad' exited with 7: the reason",
    )
    assert host.statuses("slow") in (["Running", "Canceled"], ["Canceled"], [])
    assert host.statuses("after") == []
    quick = Graph({**graph.nodes, "slow": command("touch ${{outputs.out}}")})
    host = Listener()
    outcome = run(quick, tmp_path / "go", host, continue_on_failure=True, concurrency=1)
    assert outcome.status == "Failed"
    assert host.statuses("slow") == ["Running", "Completed"]


def test_retries_timeouts_and_missing_outputs(tmp_path):
    count = tmp_path / "count"
    flaky = f"echo x >> {count}; [ $(wc -l < {count}) -ge 3 ] && touch ${{{{outputs.out}}}}"
    outcome = run(Graph({"a": command(flaky, max_retries=2)}), tmp_path / "flaky")
    assert outcome.status == "Completed"
    assert outcome.steps["a"].attempt == 3
    outcome = run(Graph({"a": command("sleep 100", timeout_seconds=0.3)}), tmp_path / "slow")
    assert outcome.error == "step 'a' was ended after 0.3 s, its timeout"
    outcome = run(Graph({"a": command("true")}), tmp_path / "nothing")
    assert outcome.error == "step 'a' ended well but did not write its output 'out'"
    outcome = run(Graph({"a": command("no-such-program")}), tmp_path / "unknown")
    assert "exited with 127" in str(outcome.error)


def test_an_unchanged_step_is_reused_and_a_changed_or_damaged_one_is_not(tmp_path):
    source = tmp_path / "data.txt"
    source.write_text("one")
    trace = tmp_path / "trace"
    graph = chain(
        f"echo first >> {trace}; wc -c < ${{{{inputs.d}}}} > ${{{{outputs.out}}}}",
        f"echo second >> {trace}; cp ${{{{inputs.x}}}} ${{{{outputs.out}}}}",
        inputs={"d": Input("uri_file")},
        values={"d": Asset(str(source), "uri_file")},
    )
    reuse = ReuseStore(tmp_path / "reuse")

    def ran(folder: str, graph: Graph = graph, **options: Any) -> list[str]:
        trace.write_text("")
        host = Listener()
        outcome = run(graph, tmp_path / folder, host, reuse=reuse, **options)
        assert outcome.status == "Completed", outcome.error
        lines = trace.read_text().split()
        assert {name for name in outcome.steps if not outcome.steps[name].reused} == set(lines)
        return lines

    assert ran("1") == ["first", "second"]
    assert ran("2") == []
    source.write_text("two")  # another content, but of the same length
    assert ran("3") == ["first"], "what 'second' is made from is the same"
    source.write_text("four")
    assert ran("4") == ["first", "second"]
    assert ran("5", force_rerun=True) == ["first", "second"]
    (step_folder(tmp_path / "5", "second").output("out")).write_text("damaged")
    assert ran("6") == ["second"]
    fresh = chain("date +%N > ${{outputs.out}}", "true > ${{outputs.out}}", deterministic=False)
    outcome = run(fresh, tmp_path / "7", reuse=reuse)
    assert not outcome.steps["first"].reused
    assert not run(fresh, tmp_path / "8", reuse=reuse).steps["first"].reused


def test_nested_pipelines_tell_of_themselves_and_other_nodes_are_called_back(tmp_path):
    def other(inputs, outputs, log, control):
        log.write_text("by hand")
        outputs["made"].joinpath("o").write_text(inputs["x"].read_text() + inputs["n"])

    inner = Graph(
        {
            "one": command("echo -n hi > ${{outputs.out}}"),
            "two": OtherNode(
                "automl",
                values={"x": FromOutput("one", "out"), "n": Literal(3)},
                outputs={"made": Output("mlflow_model")},
                publishes={"made": "made"},
            ),
        },
        outputs={"made": Output("mlflow_model")},
    )
    graph = Graph(
        {"sub": PipelineNode(inner, publishes={"made": "made"})}, outputs={"made": Output()}
    )
    host = Listener(other)
    outcome = run(graph, tmp_path / "job", host)
    assert outcome.status == "Completed", outcome.error
    assert (outcome.outputs["made"] / "o").read_text() == "hi3"
    assert host.statuses("sub") == ["Running", "Completed"]
    assert host.statuses("sub.two") == ["Running", "Completed"]
    assert next(event.log for event in host.events if event.name == "sub.two").read_text()
    # A process of the node had ended well when the service died: its host had not.
    files = step_folder(tmp_path / "died", "sub.two").files(1)
    files.folder.mkdir(parents=True)
    files.exit.write_text("0\n")
    step_folder(tmp_path / "died", "sub.two").output("made").mkdir(parents=True)
    outcome = run(graph, tmp_path / "died", Listener(other))
    assert (outcome.outputs["made"] / "o").read_text() == "hi3"
    outcome = run(graph, tmp_path / "none", Host())
    assert "a step of type 'automl' cannot be run here" in str(outcome.error)


def test_cancel_ends_the_whole_process_group(tmp_path):
    graph = Graph({"a": command(f"(sleep 100 & echo $! > {tmp_path}/child; wait)")})
    host, control = Listener(), Control()
    thread = threading.Thread(
        target=lambda: (wait_for((tmp_path / "child").exists), control.cancel())
    )
    thread.start()
    outcome = run_plan(make_plan(graph), folder=tmp_path / "job", host=host, control=control)
    thread.join()
    assert outcome.status == "Canceled"
    assert host.statuses("a") == ["Running", "Canceled"]
    wait_for((tmp_path / "child").read_text().strip)
    child = int((tmp_path / "child").read_text())
    assert process_identity(child) is None


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    graph = chain(
        f"echo first >> {trace}; touch ${{{{outputs.out}}}}",
        f"echo second >> {trace}; until [ -e {gate} ]; do sleep 0.05; done; "
        "touch ${{outputs.out}}",
    )
    control = Control()
    thread = threading.Thread(
        target=lambda: (
            wait_for(lambda: trace.exists() and "second" in trace.read_text()),
            control.interrupt(),
        )
    )
    thread.start()
    with pytest.raises(Interrupted):
        run_plan(make_plan(graph), folder=tmp_path / "job", control=control)
    thread.join()
    gate.touch()
    assert run(graph, tmp_path / "job").status == "Completed"
    assert trace.read_text().split() == ["first", "second", "second"]


DRIVER = """
import sys
from pathlib import Path
from tests.e2e.test_jobs_engine import chain, run
first, second, folder = sys.argv[1:]
print(run(chain(first, second), Path(folder)).status)
"""


def test_a_runner_that_is_killed_loses_no_step_and_repeats_none_that_ended(tmp_path):
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    first = f"echo first >> {trace}; touch ${{{{outputs.out}}}}"
    second = (
        f"echo $$ > {tmp_path}/pid; until [ -e {gate} ]; do sleep 0.05; done; "
        f"echo second >> {trace}; touch ${{{{outputs.out}}}}"
    )
    folder = tmp_path / "job"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, first, second, str(folder)])
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text().strip())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # The step outlives its runner, and ends while nobody looks.
    gate.touch()
    wait_for(lambda: step_folder(folder, "second").files(1).exit_code() is not None)
    assert run(chain(first, second), folder).status == "Completed"
    assert trace.read_text().split() == ["first", "second"]

    # Killed again in the middle of a step: the step begins anew, and its remains are gone.
    gate.unlink()
    pid.unlink()
    trace.unlink()
    folder = tmp_path / "again"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, first, second, str(folder)])
    wait_for(lambda: pid.exists() and pid.read_text().strip())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    left = int(pid.read_text())
    end_interrupted(folder)
    assert process_identity(left) is None
    gate.touch()
    assert run(chain(first, second), folder).status == "Completed"
    assert trace.read_text().split() == ["first", "second"]


class SlowToPrepare(Host):
    """A host that has the first step wait before it has a process."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def environment(self, step):
        self.asked.set()
        assert self.go.wait(60)
        return super().environment(step)


def test_a_run_waits_for_the_step_that_a_dead_worker_left_behind(tmp_path):
    trace, left = tmp_path / "trace", SlowToPrepare()
    plan = make_plan(
        chain(f"echo first >> {trace}; touch ${{{{outputs.out}}}}", "touch ${{outputs.out}}")
    )
    outcomes = {}

    def start(name: str, host: Host | None, control: Control) -> threading.Thread:
        def target():
            outcomes[name] = run_plan(plan, folder=tmp_path / "job", host=host, control=control)

        thread = threading.Thread(target=target)
        thread.start()
        return thread

    behind = start("left behind", left, Control())
    assert left.asked.wait(60)
    control = Control()
    canceled = start("canceled", None, control)
    again = start("again", None, Control())
    control.cancel()
    canceled.join(60)
    assert outcomes["canceled"].status == "Canceled"
    assert not trace.exists()
    assert again.is_alive()
    left.go.set()
    behind.join(60)
    again.join(60)
    assert outcomes["again"].status == outcomes["left behind"].status == "Completed"
    assert trace.read_text().split() == ["first"]
    assert step_folder(tmp_path / "job", "first").attempts() == [1]


def test_a_step_that_wrote_its_exit_code_completed_even_if_its_shell_is_killed(tmp_path):
    # As a kill between the exit code's file and the shell's own end leaves it.
    node = CommandNode('echo 0 >"$PWD/../exit"; kill -9 $PPID; sleep 30', max_retries=3)
    outcome = run_plan(make_plan(Graph({"only": node})), folder=tmp_path)
    assert outcome.status == "Completed", outcome.error
    assert step_folder(tmp_path, "only").attempts() == [1]


def test_an_asset_that_is_not_there_fails_its_step_by_name(tmp_path):
    node = command(
        "true", inputs={"x": Input("uri_file")}, values={"x": Asset("azureml:bank:1", "uri_file")}
    )
    outcome = run(Graph({"a": node}), tmp_path / "job")
    assert outcome.error == "step 'a' cannot run: 'azureml:bank:1' is not on this machine"


def test_the_interface_says_what_it_cannot_run():
    step = make_plan(Graph({"a": OtherNode("sweep")})).steps[0]
    with pytest.raises(RunnerError, match="type 'sweep' cannot be run here"):
        Host().run_other(step, {}, {}, log=Path("x"), control=Control())
