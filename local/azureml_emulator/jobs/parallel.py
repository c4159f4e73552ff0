"""Parallel nodes of pipelines, made into commands: one process scores all mini batches. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._bindings import is_true, prepared, read_texts
from azureml_runner.engine import CommandNode, Input, Output, Value

__all__ = ["batch_size", "parallel_node", "scoring_command"]

SCRIPT = Path(__file__).with_name("_scoring_script.py")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)?")
_UNITS = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_BOUND = re.compile(r"\$\{\{\s*(inputs|outputs)\.([\w-]+)\s*\}\}")


def scoring_command(
    script: str,
    *,
    data: str,
    append: str | None = None,
    more: str = "",
    size: int,
    retries: int,
    most_errors: int,
    arguments: str = "",
) -> str:
    """Return the command that scores ``data`` with a user's script.

    ``arguments`` are for the script, ``more`` for what runs it. All may have ``${{…}}``.
    """
    words = [
        f"python {shlex.quote(str(SCRIPT))} --script {shlex.quote(script)} --data {data}",
        f"--size {size} --retries {retries} --most-errors {most_errors}",
        f"--append {append}" if append else "",
        more,
        f"-- {arguments}" if arguments else "",
    ]
    return prepared(" ".join(word for word in words if word), ())


def parallel_node(
    name: str,
    spec: Mapping[str, Any],
    job: Mapping[str, Any],
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    values: Mapping[str, Value],
    publishes: Mapping[str, str],
) -> CommandNode:
    """Return the command of a parallel node; the node's settings win over the component's.

    Raises
    ------
    ArmError
        It is not a function that is run on files or on a table.
    """
    task = {**(spec.get("task") or {}), **_some(job.get("task"))}
    kind = str(task.get("type") or "run_function")
    if kind not in ("run_function", "function"):
        raise _refusal(name, f"a task of type '{kind}'")

    def setting(item: str, default: Any) -> Any:
        found = job.get(item)
        return spec.get(item, default) if found in (None, "") else found

    source = _BOUND.fullmatch(str(setting("input_data", "")))
    if source is None:
        raise ArmError(400, "ValidationError", f"Node '{name}' names no input as 'input_data'.")
    missing = source[2] not in inputs
    tabular = not missing and inputs[source[2]].type == "mltable"
    keys = _keys(setting("partition_keys", None))
    if keys and not tabular:
        raise _refusal(name, "partition_keys of what is no mltable")
    append = _BOUND.fullmatch(str(task.get("append_row_to") or ""))
    asked = str(setting("mini_batch_size", 10_000 if tabular else 10))
    # By keys, their values alone make the batches; the SDK then sends a size of 0.
    size = 1 if keys else batch_size(name, asked, tabular)
    retry = _some(setting("retry_settings", {}))
    command = scoring_command(
        str(task.get("entry_script") or ""),
        data=f"${{{{inputs.{source[2]}}}}}",
        append=f"${{{{outputs.{append[2]}}}}}" if append else None,
        size=size,
        more=f"--keys {shlex.quote(keys)}" if keys else "",
        retries=_whole(name, "max_retries", retry.get("max_retries", 2)),
        most_errors=_whole(
            name, "mini_batch_error_threshold", setting("mini_batch_error_threshold", -1)
        ),
        arguments=str(task.get("program_arguments") or ""),
    )
    if missing:
        # The service takes the job, and it fails when it runs.
        command = f"echo input_data names '{source[2]}', which is no input of the step >&2; exit 1"
    return CommandNode(
        command,
        inputs=inputs,
        outputs=outputs,
        values=values,
        publishes=publishes,
        code=task.get("code") or spec.get("code"),
        environment=task.get("environment") or spec.get("environment"),
        environment_variables={
            **read_texts(spec.get("environment_variables")),
            **read_texts(job.get("environment_variables")),
        },
        deterministic=is_true(spec.get("is_deterministic", True)),
        display_name=str(job.get("display_name") or ""),
    )


def batch_size(name: str, text: str, tabular: bool) -> int:
    """Return the size of mini batches: a number of files, or of a table's bytes (``10kb``).

    Raises
    ------
    ArmError
        It is none.

    Examples
    --------
    >>> batch_size("n", "5", tabular=False), batch_size("n", "1.5kb", tabular=True)
    (5, 1536)
    """
    match = _SIZE.fullmatch(text.strip().lower())
    files = tabular or text.strip().isdecimal()
    if match is None or not files or float(match[1]) < 1:
        what = "a size of rows, such as 10kb" if tabular else "a number of files"
        raise ArmError(
            400, "ValidationError", f"The mini_batch_size of '{name}' is '{text}', not {what}."
        )
    return int(float(match[1]) * _UNITS[match[2] or "b"])


def _whole(name: str, setting: str, value: Any) -> int:
    """Return a setting that is a whole number, or the text of one."""
    try:
        return int(str(value))
    except ValueError:
        raise ArmError(
            400, "ValidationError", f"{setting} of '{name}' is '{value}', not a whole number."
        ) from None


def _keys(sent: Any) -> str:
    """Return the columns by whose values a table is divided, with commas; they come as JSON."""
    if isinstance(sent, str) and sent.startswith("["):
        sent = json.loads(sent)
    return ",".join(map(str, sent or []))


def _some(item: Any) -> dict[str, Any]:
    """Return what is given of a mapping."""
    found = item.items() if isinstance(item, Mapping) else ()
    return {name: value for name, value in found if value not in (None, "")}


def _refusal(name: str, what: str) -> ArmError:
    return ArmError(
        400,
        "NotImplementedByEmulator",
        f"Node '{name}' has {what}; the emulator runs functions on files and tables.",
    )
