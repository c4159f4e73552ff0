"""The YAML files of a checkout of Azure ML's public samples: which there are, of what kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ORDER", "Sample", "filled", "found", "kind_of"]

# By the last part of ``$schema`` in lower case, without what follows the name.
_OF_SCHEMA: Mapping[str, str] = {
    "amlcompute": "compute", "computeinstance": "compute", "vmcompute": "compute",
    "automljob": "job", "commandjob": "job", "pipelinejob": "job", "sweepjob": "job",
    "sparkjob": "job",
    "azureblob": "datastore", "azuredatalakegen1": "datastore", "azuredatalakegen2": "datastore",
    "azurefile": "datastore",
    "batchdeployment": "batch deployment", "modelbatchdeployment": "batch deployment",
    "pipelinecomponentbatchdeployment": "batch deployment", "batchendpoint": "batch endpoint",
    "commandcomponent": "component", "pipelinecomponent": "component",
    "sparkcomponent": "component",
    "data": "data", "dataimport": "data import", "dataindex": "data index",
    "environment": "environment", "model": "model",
    "kubernetesonlinedeployment": "online deployment",
    "managedonlinedeployment": "online deployment",
    "kubernetesonlineendpoint": "online endpoint", "managedonlineendpoint": "online endpoint",
    "schedule": "schedule", "workspace": "workspace", "connection": "connection",
    "azureopenaiconnection": "connection", "modelversionpackage": "model package",
    "featureset": "feature set", "featurestore": "feature store",
    "featurestoreentity": "feature store entity",
}  # fmt: skip
# Files without a schema, by their ``type``.
_OF_TYPE: Mapping[str, str] = {
    "command": "job", "pipeline": "job", "finetuning": "job", "distillation": "job",
    "container_registry": "connection", "git": "connection", "python_feed": "connection",
    "synapsespark": "compute",
}  # fmt: skip
# What others need comes first.
ORDER = (
    "workspace", "connection", "compute", "datastore", "environment", "data", "data import",
    "data index", "model", "component", "job", "online endpoint", "batch endpoint",
    "online deployment", "batch deployment", "schedule", "model package", "feature store",
    "feature store entity", "feature set",
)  # fmt: skip
_SCHEMA = re.compile(r"""^\s*["']?\$schema["']?\s*:\s*["']?([^\s"']+)""", re.MULTILINE)
_TYPE = re.compile(r"^type\s*:\s*(\S+)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<([A-Za-z][\w -]*)>|(?<!\$)\{\{\s*(\w+)\s*\}\}")
_GUID = re.compile(r"\bX{8}(?:-X{4}){3}-X{12}\b")
_OF_ENDPOINT = re.compile(r"(?i)^(my-)?endpoint[-_]name$")


@dataclass(frozen=True)
class Sample:
    """A file, by its path below the checkout, and what the SDK makes of it."""

    path: str
    kind: str


def kind_of(text: str) -> str | None:
    """Return what a file describes, or ``None`` if it is none of Azure ML's.

    Examples
    --------
    >>> kind_of("$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json")
    'job'
    >>> kind_of("type: git\\ntarget: https://example.org")
    'connection'
    >>> kind_of("dependencies: [python=3.11]") is None
    True
    """
    schema, type_ = _SCHEMA.search(text), _TYPE.search(text)
    if schema:
        return _OF_SCHEMA.get(schema[1].rpartition("/")[2].partition(".")[0].lower())
    return _OF_TYPE.get(type_[1].strip("'\"").lower()) if type_ else None


def found(root: Path) -> list[Sample]:
    """Return the files of ``root`` that describe something of Azure ML, in the order to make."""
    samples = [
        Sample(str(path.relative_to(root)), kind)
        for path in _files(root)
        if (kind := kind_of(path.read_text("utf-8-sig", errors="replace"))) is not None
    ]
    return sorted(samples, key=lambda sample: (ORDER.index(sample.kind), sample.path))


def filled(text: str, endpoint: str) -> str:
    """Return a file's text with a word for each placeholder, as the samples' scripts do.

    Examples
    --------
    >>> filled("name: <my-name>\\nendpoint_name: {{ENDPOINT_NAME}}\\nx: ${{inputs.y}}", "ep")
    'name: my-name\\nendpoint_name: ep\\nx: ${{inputs.y}}'
    """

    def word(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if _OF_ENDPOINT.match(name):
            return endpoint
        if name.upper().endswith("VERSION"):
            return "1"
        # A datastore's name has no dash.
        return re.sub(r"[_ -]+", "_" if "account_name:" in text else "-", name.lower())

    return _GUID.sub("00000000-0000-0000-0000-000000000001", _PLACEHOLDER.sub(word, text))


def _files(root: Path) -> Iterator[Path]:
    for suffix in ("yml", "yaml"):
        yield from root.rglob(f"*.{suffix}")
