"""Runs notebooks cell by cell: a program for an interpreter with the SDK and nbclient."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from azure.ai.ml.entities import AmlCompute
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tests.conformance.submit import client_of

CELL_SECONDS, NOTEBOOK_SECONDS = 400, 900
# Installing, the command line of Azure, and what needs Docker is not what is measured.
_LEFT_OUT = re.compile(r"\s*(%pip|!\s*pip|%conda|!\s*conda|!\s*az |%%bash)")
_PLACEHOLDER = re.compile(r"<([A-Za-z_ -]+)>")
_VALUES = (
    (re.compile(r"(?i)subscription"), "AZUREML_ARM_SUBSCRIPTION"),
    (re.compile(r"(?i)resource"), "AZUREML_ARM_RESOURCEGROUP"),
    (re.compile(r"(?i)workspace"), "AZUREML_ARM_WORKSPACE_NAME"),
    (re.compile(r"(?i)tenant"), "AZURE_TENANT_ID"),
)


def filled_cell(source: str, environ: dict[str, str]) -> str:
    """Return a cell's code with the workspace's names, without what is left out.

    Examples
    --------
    >>> filled_cell("%pip install x\\nw = '<WORKSPACE_NAME>'", {"AZUREML_ARM_WORKSPACE_NAME": "e"})
    "pass\\nw = 'e'"
    """

    def value(match: re.Match[str]) -> str:
        for pattern, name in _VALUES:
            if pattern.search(match[1]):
                return environ.get(name, match[0])
        return "cpu-cluster" if "compute" in match[1].lower() else match[0]

    if "local=True" in source:
        return "pass"
    lines = [
        re.match(r"\s*", line)[0] + "pass" if _LEFT_OUT.match(line) else line  # type: ignore[index]
        for line in source.split("\n")
    ]
    return _PLACEHOLDER.sub(value, "\n".join(lines))


async def run(path: Path) -> dict[str, Any]:
    """Return how far a notebook came: cells, how many ran, and the error that ended it."""
    names = {
        "subscription_id": os.environ["AZUREML_ARM_SUBSCRIPTION"],
        "resource_group": os.environ["AZUREML_ARM_RESOURCEGROUP"],
        "workspace_name": os.environ["AZUREML_ARM_WORKSPACE_NAME"],
    }
    (path.parent / "config.json").write_text(json.dumps(names))
    notebook = nbformat.read(path, 4)
    cells = [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]
    for _, cell in cells:
        cell.source = filled_cell(cell.source, dict(os.environ))
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    done, error, began = 0, "", time.monotonic()
    async with client.async_setup_kernel():
        for index, cell in cells:
            if time.monotonic() - began > NOTEBOOK_SECONDS:
                error = f"more than {NOTEBOOK_SECONDS} s"
                break
            try:
                await client.async_execute_cell(cell, index)
                done += 1
            except CellExecutionError as failure:
                text = re.sub(r"\x1b\[[0-9;]*m", "", str(failure.evalue))
                error = f"cell {done}: {failure.ename}: {text[-700:]}"
                break
            except (CellTimeoutError, DeadKernelError) as failure:
                error = f"cell {done}: {type(failure).__name__}"
                break
    spent = round(time.monotonic() - began)
    return {"cells": len(cells), "done": done, "error": error, "seconds": spent}


def main(root: Path, items: Path, out: Path) -> None:
    """Run the notebooks of ``items``, a JSON list of paths below ``root``."""
    # Notebooks take the cluster of the samples' own workspace for granted.
    cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=4)
    client_of(dict(os.environ)).compute.begin_create_or_update(cluster).result()
    with out.open("a") as file:
        for path in json.loads(items.read_text()):
            row = {"path": path, **asyncio.run(run((root / path).resolve()))}
            file.write(json.dumps(row) + "\n")
            file.flush()
            said = f"{row['done']}/{row['cells']} {row['seconds']} s"
            print(f"{path}: {said} {row['error'][:300]!r}", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
