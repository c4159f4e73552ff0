"""Graphs flattened and checked, commands made ready for the shell: no process is started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from azureml_runner.engine import (
    Asset,
    CommandNode,
    FromInput,
    FromOutput,
    Graph,
    Input,
    Joined,
    Literal,
    OtherNode,
    Output,
    PipelineNode,
    RunName,
    StepOutput,
    make_plan,
    read_binding,
    read_value,
)
from azureml_runner.engine._command import render
from azureml_runner.errors import UsageError


def node(command="true", values=None, publishes=None, outputs=(), **inputs):
    return CommandNode(
        command,
        inputs={name: Input(kind) for name, kind in inputs.items()},
        outputs={name: Output() for name in outputs},
        values=values or {},
        publishes=publishes or {},
    )


def test_steps_are_ordered_by_what_they_need_and_nested_pipelines_are_taken_apart():
    inner = Graph(
        nodes={
            "b": node(
                values={"x": FromOutput("a", "out")},
                publishes={"out": "made"},
                outputs=["out"],
                x="uri_folder",
            ),
            "a": node(values={"n": FromInput("n")}, outputs=["out"], n="integer"),
        },
        inputs={"n": Input("integer", default=4)},
        outputs={"made": Output()},
    )
    graph = Graph(
        nodes={
            "last": node(values={"x": FromOutput("sub", "made")}, x="uri_folder"),
            "sub": PipelineNode(inner, publishes={"made": "result"}),
        },
        outputs={"result": Output()},
    )
    plan = make_plan(graph)
    assert [step.name for step in plan.steps] == ["sub.a", "sub.b", "last"]
    assert plan.step("sub.a").sources == {"n": Literal(4)}
    assert plan.step("last").sources == {"x": StepOutput("sub.b", "out")}
    assert plan.outputs == {"result": StepOutput("sub.b", "out")}
    assert plan.groups == {"sub": ("sub.b", "sub.a")}


def test_an_optional_input_that_nobody_gives_stays_open_through_nested_pipelines():
    step = CommandNode("true", {"x": Input(optional=True)}, values={"x": FromInput("x")})
    inner = Graph({"s": step}, {"x": Input(optional=True)})
    graph = Graph({"sub": PipelineNode(inner, {"x": FromInput("x")})}, {"x": Input(optional=True)})
    assert make_plan(graph).steps[0].sources == {"x": None}
    assert make_plan(graph, {"x": Literal("v")}).steps[0].sources == {"x": Literal("v")}


def test_text_for_a_path_is_its_uri_and_an_other_node_may_take_anything():
    graph = Graph(
        {"a": OtherNode("automl", values={"data": FromInput("d")})}, {"d": Input("mltable")}
    )
    plan = make_plan(graph, {"d": Literal("./here")})
    assert plan.steps[0].sources == {"data": Asset("./here", "mltable")}


@pytest.mark.parametrize(
    ("graph", "values", "message"),
    [
        (Graph({"a": node(n="integer")}), {}, "job 'a', input 'n': it is required"),
        (Graph({"a": node(values={"n": Literal("x")}, n="integer")}), {}, "found 'x', expected an"),
        (Graph({"a": node(values={"m": Literal(1)})}), {}, "its component has no such input"),
        (Graph({"a": node(values={"n": FromInput("m")}, n="integer")}), {}, "no input 'm'"),
        (
            Graph({"a": node(values={"n": FromOutput("b", "x")}, n="uri_file")}),
            {},
            "there is no job 'b'",
        ),
        (
            Graph(
                {
                    "a": node(outputs=["o"]),
                    "b": node(values={"n": FromOutput("a", "x")}, n="mltable"),
                }
            ),
            {},
            "job 'a' has no output 'x'",
        ),
        (
            Graph(
                {
                    "a": node(outputs=["o"]),
                    "b": node(values={"n": FromOutput("a", "o")}, n="number"),
                }
            ),
            {},
            "found a path, expected a number",
        ),
        (Graph({"a": node("echo ${{inputs.x}}")}), {}, r"names \$\{\{inputs.x\}\}"),
        (Graph({"a": node("echo ${{input.x}}")}), {}, "is not known"),
        (Graph({"a": node()}, outputs={"o": Output()}), {}, "output 'o' of the pipeline is not"),
        (Graph({"a": node(publishes={"p": "o"})}, outputs={"o": Output()}), {}, "no output 'p'"),
        (Graph({"a": node()}), {"x": Literal(1)}, "the pipeline has no input 'x'"),
        (
            Graph(
                {
                    "a": node(values={"n": FromOutput("b", "o")}, outputs=["o"], n="mltable"),
                    "b": node(values={"n": FromOutput("a", "o")}, outputs=["o"], n="mltable"),
                }
            ),
            {},
            "wait for each other: a, b",
        ),
    ],
)
def test_a_graph_that_cannot_run_is_refused_with_the_place(graph, values, message):
    with pytest.raises(UsageError, match=message):
        make_plan(graph, values)


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        (Input("integer", maximum=9), "10", "an integer of at most 9"),
        (Input("integer"), 1.5, "an integer"),
        (Input("number", minimum=0), -1, "a number of at least 0"),
        (Input("number"), "nan", "a number"),
        (Input("boolean"), "maybe", "true or false"),
        (Input("string", enum=("a", "b")), "c", "one of: a, b"),
    ],
)
def test_a_literal_must_fit_its_type_and_bounds(declared, value, message):
    with pytest.raises(UsageError, match=f"input 'x': found '{value}', expected .*{message}"):
        make_plan(Graph({}, {"x": declared}), {"x": Literal(value)})


IN, OUT = FromInput("a"), FromOutput("j", "o")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("plain", None),
        ("${{parent.inputs.a}}", IN),
        ("${{inputs.group.a-b}}", FromInput("group.a-b")),
        ("${{parent.outputs.a}}", "a"),
        ("x ${{parent.inputs.a}}", Joined(("x ", IN))),
        ("${{parent.inputs.a}}${{parent.jobs.j.outputs.o}}", Joined((IN, OUT))),
        ("${{parent.jobs.j.outputs.o}}/f.csv", Joined((OUT, "/f.csv"))),
        ("${{parent.name}}", Joined((RunName(),))),
        ("run ${{ name }}!", Joined(("run ", RunName(), "!"))),
    ],
)
def test_a_value_is_a_binding_or_a_text_with_bindings(text, read):
    assert read_value(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "${{parent.jobs.a.inputs.b}}",
        "x ${{parent.outputs.a}}",
        "x ${{unknown.a}}",
        "${{}}",
        "${{name}} ${{",
    ],
)
def test_what_is_no_binding_within_a_text_is_refused(text):
    with pytest.raises(UsageError, match="is not a binding"):
        read_value(text)


FOLDER = {"d": Asset("azureml:d:1", "uri_folder")}


@pytest.mark.parametrize(
    ("parts", "source"),
    [
        (("a-", FromInput("s"), "-b"), Literal("a-v-b")),
        ((FromInput("s"), FromInput("s")), Literal("vv")),
        (("of ", RunName()), Literal("of r1")),
        ((FromInput("none"), "x"), Literal("x")),
        (("x", FromInput("none")), Literal("x")),
        ((FromInput("d"), "/f.csv"), Asset("azureml:d:1", "uri_folder", "f.csv")),
        ((FromInput("d"), "/", FromInput("s")), Asset("azureml:d:1", "uri_folder", "v")),
    ],
)
def test_texts_are_joined_and_paths_lead_into_folders(parts, source):
    inputs = {"s": Input(default="v"), "none": Input(optional=True), "d": Input("uri_folder")}
    graph = Graph({"a": node(values={"x": Joined(parts)}, x="string")}, inputs)
    if isinstance(source, Asset):
        graph = Graph({"a": node(values={"x": Joined(parts)}, x="uri_file")}, inputs)
    assert make_plan(graph, FOLDER, run="r1").steps[0].sources == {"x": source}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("x", FromInput("d")), "a path stands within a text"),
        ((FromInput("d"), "/../other"), "leads out of the folder"),
    ],
)
def test_a_path_stands_at_the_beginning_and_stays_in_its_folder(parts, message):
    step = node(values={"x": Joined(parts)}, x="uri_file")
    with pytest.raises(UsageError, match=message):
        make_plan(Graph({"a": step}, {"d": Input("uri_folder")}), FOLDER)


def test_a_path_behind_an_output_is_a_part_of_it():
    parts = Joined((FromOutput("b", "o"), "/f.csv"))
    nodes = {"a": node(values={"x": parts}, x="uri_file"), "b": node(outputs=["o"])}
    plan = make_plan(Graph(nodes))
    assert plan.step("a").sources == {"x": StepOutput("b", "o", "f.csv")}
    assert [step.name for step in plan.steps] == ["b", "a"]


def test_the_service_checks_no_value_that_comes_through_a_binding():
    nodes = {"a": node(values={"n": FromInput("v")}, n="integer")}
    graph = Graph(nodes, {"v": Input("number")}, {"unwritten": Output()})
    given = {"v": Literal(10.01)}
    plan = make_plan(graph, given, strict=False)
    assert plan.steps[0].sources == {"n": Literal("10.01")}
    assert plan.outputs == {}
    with pytest.raises(UsageError, match="expected an integer"):
        make_plan(graph, given)
    with pytest.raises(UsageError, match="expected an integer"):
        make_plan(Graph({"a": node(values={"n": Literal("1.5")}, n="integer")}), strict=False)


def test_only_whole_bindings_are_read():
    assert read_binding("${{ inputs.a-b }}") == FromInput("a-b")
    assert read_binding("plain") is None
    for text in ("x ${{parent.inputs.a}}", "${{parent.jobs.a.inputs.b}}", "${{name}}"):
        with pytest.raises(UsageError, match="is not a binding"):
            read_binding(text)


@pytest.mark.parametrize(
    "value", ["plain", "two words", "a;touch HACKED", "$(touch HACKED)", "`touch HACKED`", "'", '"']
)
@pytest.mark.parametrize(
    "command",
    [
        "printf '%s|' ${{inputs.x}}",
        "printf '%s|' \"<${{inputs.x}}>\"",
        "printf '%s|' '<${{inputs.x}}>'",
        "printf '%s|' \"$(printf %s '${{inputs.x}}')\"",
        "printf '%s|' \"it's\" \"${{inputs.x}}\" (#'\n",
    ],
)
def test_a_value_is_never_read_as_shell_code(tmp_path, command, value):
    if command.endswith("(#'\n"):
        command = command.replace(" (#'\n", " # isn't\n")
    text, variables = render(command, {"x": value}, {})
    shell = shutil.which("bash") or "/bin/sh"
    done = subprocess.run(
        [shell, "-c", text], env=variables, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    unquoted = command.endswith("' ${{inputs.x}}")
    expected = value.split() if unquoted else [value]
    assert [word.strip("<>") for word in done.stdout.split("|")[:-1] if word != "it's"] == expected
    assert not (tmp_path / "HACKED").exists()


def test_a_path_is_one_word_and_optional_parts_go_with_their_input():
    command = "cat ${{inputs.data}} $[[--rate ${{inputs.rate}}]] > ${{outputs.o}}"
    text, variables = render(command, {"data": Path("/a b"), "rate": None}, {"o": Path("/o")})
    assert text == 'cat "${AZURE_ML_INPUT_data}"  > "${AZURE_ML_OUTPUT_o}"'
    assert variables["AZURE_ML_INPUT_data"] == "/a b"
    text, _ = render(command, {"data": Path("/a b"), "rate": "1"}, {"o": Path("/o")})
    assert "--rate ${AZURE_ML_INPUT_rate}" in text
    with pytest.raises(UsageError, match="input 'x' has no value"):
        render("echo ${{inputs.x}}", {"x": None}, {})
