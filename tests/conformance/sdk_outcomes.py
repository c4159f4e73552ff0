"""The SDK's own end-to-end tests: which are not run, and what became of the others. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["counts", "group_of", "left_out", "markdown", "outcome"]

# Why tests of these are not run: a pattern of the test's id, and the reason.
_LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"regist(ry|ries)(?!er)", "it needs a registry of one's own"),
    (r"spark|synapse", "Spark is not emulated"),
    (r"local_job|local_endpoint|local_deployment|LocalEndpoint", "it needs Docker"),
    (r"(?<!ml)(?<!tensor)flow(?!_job)|prompt", "prompt flow is not emulated"),
    (r"ipp|intellectual|singularity|virtual_cluster", "Microsoft's own clusters and code"),
    (r"tests/internal/|_internal|test_dsl_group\b.*internal", "Microsoft's own clusters and code"),
    (r"data_?transfer|import_job|data_import|import_schedule", "import and transfer of data"),
    (r"feature_?(set|store)", "feature stores are not emulated"),
    (r"tests/index/|finetun|distill|evaluator|model_package", "not emulated, refused by name"),
    (r"automl.*(text|image|forecast)|(text|image|forecast).*automl|test_automl_(ner|image|text)",
     "AutoML of images, texts and forecasts is not emulated"),
    (r"test_remote_(text|image|forecast)", "AutoML of images, texts and forecasts is not emulated"),
)  # fmt: skip
# Of a failure: the archive of the SDK has no data of its tests.
_NO_DATA = re.compile(r"No such file or directory|FileNotFoundError|Asset path .* does not exist")


def group_of(test: str) -> str:
    """Return the group of a test.

    >>> group_of("tests/dsl/e2etests/test_dsl_pipeline.py::TestDSLPipeline::test_command")
    'dsl'
    """
    return test.partition("tests/")[2].partition("/")[0]


def left_out(test: str) -> str:
    """Return why a test is not run, empty where it is.

    Examples
    --------
    >>> left_out("tests/pipeline_job/e2etests/test_pipeline_job.py::Test::test_spark_job")
    'Spark is not emulated'
    >>> left_out("tests/model/e2etests/test_model.py::TestModel::test_register_mlflow_model")
    ''
    >>> left_out("tests/model/e2etests/test_model.py::TestModel::test_promote_model_to_registry")
    "it needs a registry of one's own"
    """
    return next((why for pattern, why in _LEFT_OUT if re.search(pattern, test)), "")


def outcome(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return ``passed``, ``failed`` or ``not run`` of a test's row, and why.

    Examples
    --------
    >>> outcome({"outcome": "passed", "said": ""})
    ('passed', '')
    >>> outcome({"outcome": "skipped", "said": "Skipped: flaky"})
    ('not run', 'skipped by Microsoft: flaky')
    >>> outcome({"outcome": "skipped", "said": "Skipped: left out: Spark is not emulated"})
    ('not run', 'Spark is not emulated')
    >>> outcome({"outcome": "failed", "said": "[Errno 2] No such file or directory: 'a.yml'"})
    ('not run', 'its data are not there')
    >>> outcome({"outcome": "failed", "said": "assert 1 == 2"})
    ('failed', 'assert 1 == 2')
    """
    said = str(row["said"])
    if row["outcome"] == "passed":
        return "passed", ""
    if row["outcome"] == "skipped":
        why = said.removeprefix("Skipped: ")
        mine = why.removeprefix("left out: ")
        return "not run", mine if mine != why else f"skipped by Microsoft: {why}"
    if _NO_DATA.search(said):
        return "not run", "its data are not there"
    return "failed", said


def counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how many tests of each group came out how; of a test that ran again, the last."""
    last = {row["test"]: row for row in rows}
    found: dict[str, Counter[str]] = {}
    for test, row in last.items():
        found.setdefault(group_of(test), Counter())[outcome(row)[0]] += 1
    return {group: dict(count) for group, count in sorted(found.items())}


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of ``counts``, each failure, and how many were not run for what reason."""
    last = {row["test"]: row for row in rows}
    by_group = counts(last.values())
    kinds = ("passed", "failed", "not run")
    lines = ["| tests of | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    lines += [
        f"| {group} | " + " | ".join(str(count.get(kind, 0)) for kind in kinds) + " |"
        for group, count in by_group.items()
    ]
    whole = [sum(count.get(kind, 0) for count in by_group.values()) for kind in kinds]
    lines += ["| **all** | " + " | ".join(f"**{number}**" for number in whole) + " |", ""]
    ends = {test: outcome(row) for test, row in last.items()}
    lines += [
        f"- failed: `{test.partition('tests/')[2]}`: {' '.join(why.split())[:200]}"
        for test, (end, why) in ends.items()
        if end == "failed"
    ]
    reasons = Counter((group_of(t), why) for t, (end, why) in ends.items() if end == "not run")
    lines += [
        f"- not run: {number} of {group}: {' '.join(why.split())[:120]}"
        for (group, why), number in sorted(reasons.items())
    ]
    return "\n".join(lines) + "\n"
