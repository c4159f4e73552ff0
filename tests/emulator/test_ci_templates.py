"""Pipelines and Bicep that ``twinml templates`` writes: read as their readers read them.

The steps are verbs with options that exist, and the resources are put to the emulator, which takes
what Microsoft's own types allow. Pipelines need runners, and are not run here; the verbs of their
steps are, by the tests of the rehearsal.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from werkzeug.test import TestResponse

from twinml.cli import main
from twinml.errors import UsageError
from twinml.workflow.ci_templates import API_VERSION, quoted, rendered, write_templates

FACTS = {
    "data": "data/o'neill customers.csv", "target": "churned", "budget": "60s", "name": "churn",
    "endpoint": "churn",
}  # fmt: skip
TEXTS = rendered(**FACTS)
GITHUB = yaml.safe_load(TEXTS[".github/workflows/model.yml"])
OURS = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / ".ci" / "azureml-emulator.yml").read_text()
)
AZURE = yaml.safe_load(TEXTS["azure-pipelines.yml"])
BICEP = TEXTS["main.bicep"]
# Keys of a job and a step in GitHub's schema of workflows, and of Azure's pipelines.
GITHUB_JOB = {"if", "needs", "runs-on", "environment", "timeout-minutes", "env", "steps"}
GITHUB_STEP = {"uses", "with", "name", "run"}
AZURE_STEP = {"task", "script", "checkout", "displayName", "inputs", "env"}


def scripts() -> Iterator[str]:
    """Yield all that a pipeline's shells run."""
    for job in GITHUB["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)
    for step in azure_steps():
        yield step.get("script") or step.get("inputs", {}).get("inlineScript", "")


def azure_steps() -> Iterator[dict[str, Any]]:
    for stage in AZURE["stages"]:
        for job in stage["jobs"]:
            if "strategy" in job:
                yield from job["strategy"]["runOnce"]["deploy"]["steps"]
            else:
                yield from job["steps"]


def commands() -> list[list[str]]:
    """Return the words of all verbs, variables replaced as a pipeline does it."""
    values = {"DATA": "rows.csv", "TARGET": "churned", "BUDGET": "60s"}
    lines = [line for script in scripts() for line in script.splitlines()]
    replaced = [
        re.sub(r"\$\(?(\w+)\)?", lambda at: values.get(at[1], at[0]), line) for line in lines
    ]
    words = [shlex.split(line) for line in replaced if line.startswith("twinml ")]
    return [each[1:] for each in words]


def test_the_workflow_of_github_is_one() -> None:
    assert set(GITHUB) == {"name", True, "permissions", "concurrency", "env", "jobs"}  # on is True
    assert set(GITHUB[True]) == {"push", "pull_request", "workflow_dispatch"}
    assert GITHUB["permissions"] == {"contents": "read", "id-token": "write"}
    assert GITHUB["env"]["DATA"] == FACTS["data"]


@pytest.mark.parametrize("workflow", [GITHUB, OURS], ids=["written", "the emulator's own"])
def test_the_jobs_of_a_workflow_are_such(workflow: dict[str, Any]) -> None:
    for job in workflow["jobs"].values():
        assert {"runs-on", "steps", "timeout-minutes"} <= set(job) <= GITHUB_JOB
        assert {*([job["needs"]] if "needs" in job else [])} <= set(workflow["jobs"])
        for step in job["steps"]:
            assert set(step) <= GITHUB_STEP
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


def test_the_pipeline_of_azure_devops_is_one() -> None:
    assert set(AZURE) == {"trigger", "pr", "pool", "variables", "stages"}
    assert AZURE["variables"]["DATA"] == FACTS["data"]
    names = [stage["stage"] for stage in AZURE["stages"]]
    for stage in AZURE["stages"]:
        assert set(stage) <= {"stage", "dependsOn", "condition", "jobs"}
        assert stage.get("dependsOn", names[0]) in names
        for job in stage["jobs"]:
            assert len({"job", "deployment"} & set(job)) == 1
    for step in azure_steps():
        assert set(step) <= AZURE_STEP
        assert len({"task", "script", "checkout"} & set(step)) == 1
        assert re.fullmatch(r"\w+@\d", step.get("task", "A@1"))


def test_every_step_is_a_verb_with_options_that_exist() -> None:
    found = commands()
    assert {words[0] for words in found} == {"data", "rehearse", "check", "run", "score"}
    assert len(found) == 10
    for words in found:
        command = main.get_command(click.Context(main), words[0])
        assert command is not None
        command.make_context(words[0], words[1:], resilient_parsing=True)


def test_no_file_holds_a_secret() -> None:
    for text in TEXTS.values():
        assert not re.search(r"password\s*[:=]|secrets\.|AccountKey|listKeys", text)


def resources() -> dict[str, dict[str, Any]]:
    """Return the resources of the Bicep file by their symbols, values of parameters put in."""
    params = {
        "location": "eastus", "workspaceName": "ws", "clusterSize": "Standard_DS3_v2",
        "clusterNodes": 2, "workspace": "ws", "storage.id": "/s", "vault.id": "/v",
        "insights.id": "/i", "subscription().tenantId": "t", "true": True, "false": False,
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    inside: list[dict[str, Any]] = []
    for line in BICEP.splitlines():
        line = line.strip()
        if begun := re.fullmatch(r"resource (\w+) '([\w./]+)@([\d-]+)' = \{", line):
            inside = [found.setdefault(begun[1], {"type": begun[2], "version": begun[3]})]
        elif inside and (opened := re.fullmatch(r"(\w+): \{", line)):
            inside.append(inside[-1].setdefault(opened[1], {}))
        elif inside and line == "}":
            inside.pop()
        elif inside and (told := re.fullmatch(r"(\w+): (.+)", line)):
            value: Any = told[2]
            if value.startswith("'"):
                value = value.strip("'")
            elif value.isdigit():
                value = int(value)
            else:
                value = params[value]  # what is not declared above is not known
            inside[-1][told[1]] = value
    return found


def test_the_bicep_file_is_whole() -> None:
    assert BICEP.count("{") == BICEP.count("}")
    declared = {*re.findall(r"^(?:param|var|resource) (\w+)", BICEP, re.MULTILINE)}
    used = {
        *re.findall(r"\$\{(\w+)\}", BICEP),
        *re.findall(r"(?:parent: |= )([a-z]\w+)$", BICEP, re.MULTILINE),
    }
    assert used <= declared
    assert set(resources()) == {"storage", "vault", "insights", "workspace", "cluster", "endpoint"}


@pytest.mark.parametrize(
    ("symbol", "path"), [("cluster", "/computes/"), ("endpoint", "/onlineEndpoints/")]
)
def test_the_emulator_takes_the_resources(
    ask: Callable[..., TestResponse], symbol: str, path: str
) -> None:
    made = resources()[symbol]
    assert made.pop("version") == API_VERSION
    assert made.pop("type").startswith("Microsoft.MachineLearningServices/workspaces/")
    name = made.pop("name")
    del made["parent"]
    query = {"api-version": API_VERSION}
    done = ask("PUT", path + name, made, query=query)
    assert done.status_code in (200, 201, 202), done.text
    # It would not take anything.
    del made["properties"]["computeType" if symbol == "cluster" else "authMode"]
    assert ask("PUT", path + "other", made, query=query).status_code == 400


def test_the_verb_writes_them_and_replaces_nothing_else(tmp_path: Path) -> None:
    words = ["templates", "--data", "rows.csv", "--target", "y", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["files"]) == set(TEXTS)
    assert '--name "rows"' in (tmp_path / "azure-pipelines.yml").read_text()
    assert CliRunner().invoke(main, words).exit_code == 0  # the same again
    (tmp_path / "main.bicep").write_text("// mine\n")
    with pytest.raises(UsageError, match="is another one"):
        write_templates(tmp_path, TEXTS)
    assert (tmp_path / "main.bicep").read_text() == "// mine\n"


@pytest.mark.parametrize("text", ['a"b', "a$b", "a`b", "a\\b", "a\nb"])
def test_what_a_shell_would_take_for_its_own_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a pipeline"):
        quoted(text)
    for fact in ("data", "target", "budget", "name"):
        with pytest.raises(UsageError, match="cannot stand in a pipeline"):
            rendered(**{**FACTS, fact: text})
