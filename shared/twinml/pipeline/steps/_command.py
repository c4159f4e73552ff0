"""What the steps share: one-line errors, JSON files, and the run that they log to."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from twinml.errors import TwinmlError, UsageError
from twinml.pipeline.unforeseen import without_words
from twinml.settings import quiet_libraries

if TYPE_CHECKING:
    from twinml.registry.tracking import Tracking

__all__ = [
    "NONE",
    "folder_in",
    "folder_out",
    "log_metrics",
    "read_json",
    "say",
    "step",
    "write_json",
]

# Azure ML takes no empty text as an input: this word stands for it.
NONE = "none"
P = ParamSpec("P")

folder_in = click.Path(exists=True, file_okay=False, path_type=Path)
folder_out = click.Path(file_okay=False, path_type=Path)


def step(function: Callable[P, None]) -> Callable[P, None]:
    """Show a ``TwinmlError`` in one line with exit code 1.

    The words of any other error are left out: they may quote the data, and the end of a step's
    log becomes the job's error.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        quiet_libraries()
        try:
            function(*args, **kwargs)
        except TwinmlError as error:
            say(f"error: {error}")
            sys.exit(1)
        except Exception as error:
            say(without_words(error))
            sys.exit(1)

    return wrapper


def say(text: str) -> None:
    """Write a line to the step's log."""
    click.echo(text, err=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that an earlier step wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' is not the output of an earlier step: no JSON") from error
    if not isinstance(content, dict):
        raise UsageError(f"'{path}' is not the output of an earlier step: no JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the JSON object that a later step reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def log_metrics(tracking: Tracking, metrics: Mapping[str, float]) -> None:
    """Log figures to the step's own MLflow run, where it has one."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if run_id:
        for name, value in metrics.items():
            tracking.client.log_metric(run_id, name, value)
