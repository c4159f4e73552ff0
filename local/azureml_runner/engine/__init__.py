"""The engine: runs a pipeline of Azure ML's v2 kind on this machine.

It knows nothing of YAML, REST or the service's store: whoever drives it builds a ``Graph``,
and says through a ``Host`` what an asset is, what a command runs in, and how a step that is
not a command is run. It is told of every change.

::

    graph ──▶ plan ──▶ executor ──▶ process    one command: start, wait, end
                          ├── command          text for the shell
                          ├── attempt          a step's folder, resumed after a crash
                          ├── reuse            results by what they were made from
                          └── host             ◀── resolve, environment, run_other, on_event

>>> import tempfile
>>> from pathlib import Path
>>> hello = CommandNode(
...     "echo hello ${{inputs.who}} > ${{outputs.text}}",
...     inputs={"who": Input("string", default="world")},
...     outputs={"text": Output("uri_file")},
...     values={"who": FromInput("who")},
... )
>>> count = CommandNode(
...     "wc -c < ${{inputs.text}} > ${{outputs.size}}",
...     inputs={"text": Input("uri_file")},
...     outputs={"size": Output("uri_file")},
...     values={"text": FromOutput("hello", "text")},
...     publishes={"size": "size"},
... )
>>> graph = Graph(
...     nodes={"hello": hello, "count": count},
...     inputs={"who": Input("string")},
...     outputs={"size": Output("uri_file")},
... )
>>> folder = tempfile.TemporaryDirectory()
>>> outcome = run_plan(make_plan(graph, {"who": Literal("you")}), folder=Path(folder.name))
>>> outcome.status, int(outcome.outputs["size"].read_text())
('Completed', 10)
>>> folder.cleanup()
"""

from azureml_runner.engine._executor import (
    Outcome,
    RunOptions,
    end_interrupted,
    run_plan,
    step_folder,
)
from azureml_runner.engine._host import Canceled, Control, Host, Interrupted, StepEvent
from azureml_runner.engine._reuse import ReuseStore
from azureml_runner.engine.graph import (
    LITERAL_TYPES,
    PATH_TYPES,
    Asset,
    CommandNode,
    FromInput,
    FromOutput,
    Graph,
    Input,
    Joined,
    Literal,
    Node,
    OtherNode,
    Output,
    PipelineNode,
    RunName,
    Value,
    read_binding,
    read_value,
)
from azureml_runner.engine.plan import Plan, Step, StepOutput, make_plan
from azureml_runner.engine.process import StepFiles, StepProcess, end_orphans

__all__ = [
    "LITERAL_TYPES",
    "PATH_TYPES",
    "Asset",
    "Canceled",
    "CommandNode",
    "Control",
    "FromInput",
    "FromOutput",
    "Graph",
    "Host",
    "Input",
    "Interrupted",
    "Joined",
    "Literal",
    "Node",
    "OtherNode",
    "Outcome",
    "Output",
    "PipelineNode",
    "Plan",
    "ReuseStore",
    "RunName",
    "RunOptions",
    "Step",
    "StepEvent",
    "StepFiles",
    "StepOutput",
    "StepProcess",
    "Value",
    "end_interrupted",
    "end_orphans",
    "make_plan",
    "read_binding",
    "read_value",
    "run_plan",
    "step_folder",
]
