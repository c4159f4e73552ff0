"""What the values of a job's inputs must be, beyond their types: asked before it is accepted.

Every path must lead to something that is there. What else is checked, whoever writes the
pipeline says in tags, which Azure ML keeps and does not read::

    tags:
      twinml.check.budget: time                a length of time above 0: 60s, 5m, 1h
      twinml.check.target: column of data      a column of the file that the input 'data' names
      twinml.check.drop: columns of data       several, with commas, or none
      twinml.check.split: split of data        random, ordered, column:NAME or group:NAME of one
      twinml.check.threshold: threshold        between 0 and 1, or what it is tuned for
      twinml.check.learners: learners          installed ones, with commas, or all
      twinml.check.model_name: name            of a model, or none
      twinml.check.endpoint: endpoint          a name that an endpoint can have, or none
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinml.errors import DataError, Detail, PayloadError, TwinmlError, UsageError

__all__ = ["TAG", "Check", "check_values", "read_checks"]

TAG = "twinml.check."
_SHOWN = 80
# Azure's rule for the names of endpoints, which holds on this machine, too.
_ENDPOINT = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")


@dataclass(frozen=True)
class Check:
    """What one input is checked for; ``source`` is the input that names the data, if any."""

    kind: str
    source: str | None = None


def read_checks(content: Mapping[str, Any]) -> dict[str, Check]:
    """Return the checks that a pipeline's tags ask for, by input.

    Raises
    ------
    UsageError
        A tag names an input that is not there, or a check that is not known.
    """
    inputs = content.get("inputs") or {}
    tags = content.get("tags") or {}
    checks: dict[str, Check] = {}
    for tag, text in tags.items() if isinstance(tags, Mapping) else ():
        if not str(tag).startswith(TAG):
            continue
        name = str(tag).removeprefix(TAG)
        kind, _, source = str(text).partition(" of ")
        for item in (name, source):
            if item and item not in inputs:
                raise UsageError(
                    f"tags.{tag}: the pipeline has no input '{item[:_SHOWN]}'",
                    hint=f"Its inputs: {', '.join(map(str, inputs)) or 'none'}.",
                )
        if kind not in (_WITH_COLUMNS if source else _ALONE):
            known = [*_ALONE, *(f"{one} of INPUT" for one in _WITH_COLUMNS)]
            raise UsageError(
                f"tags.{tag}: there is no check '{str(text)[:_SHOWN]}'",
                hint=f"Known: {', '.join(known)}.",
            )
        checks[name] = Check(kind, source or None)
    return checks


def check_values(
    pipeline: str,
    checks: Mapping[str, Check],
    values: Mapping[str, Any],
    find: Callable[[Mapping[str, Any]], Path | None],
    *,
    given: Mapping[str, Any] | None = None,
) -> None:
    """Refuse values that no job could run with.

    Parameters
    ----------
    checks
        From ``read_checks``.
    values
        Of all inputs, as ``PipelineDefinition.resolve`` returns them.
    find
        Returns the file or folder that ``{type, path}`` means, ``None`` where it is not looked
        into; raises ``TwinmlError`` if there is none.
    given
        Only these are judged, where others are to be given later; by default all.

    Raises
    ------
    PayloadError
        It names every wrong input, its value, and what is expected.
    """
    judged = values if given is None else given
    problems: list[Detail] = []
    columns: dict[str, Sequence[str] | None] = {}
    for name, value in values.items():
        if not isinstance(value, Mapping):
            continue
        try:
            columns[name] = None
            path = find(value)
            if path is not None and name in {check.source for check in checks.values()}:
                columns[name] = _columns(path)
        except TwinmlError as error:
            if name in judged:
                expected = "a table" if isinstance(error, DataError) else "data that is there"
                problems.append(_problem(name, value["path"], f"{expected}: {error.message}"))
    for name, check in checks.items():
        if name not in judged or name not in values:
            continue
        text = str(values[name])
        if check.source is None:
            expected_ = _ALONE[check.kind](text)
        else:
            there = columns.get(check.source)
            expected_ = None if there is None else _WITH_COLUMNS[check.kind](text, there)
        if expected_ is not None:
            problems.append(_problem(name, text, expected_))
    if problems:
        raise PayloadError(
            "; ".join(
                f"input '{one.column}': found {one.value!r}, expected {one.expected}"
                for one in problems[:3]
            ),
            hint=f"Inputs of pipeline '{pipeline}': {', '.join(values)}.",
            details=problems,
        )


def _problem(name: str, value: str, expected: str) -> Detail:
    shown = value[:_SHOWN].encode(errors="replace").decode()
    return Detail(column=name, value=shown, expected=expected)


def _columns(path: Path) -> Sequence[str] | None:
    """Return the columns of a file, or of the one in a folder; ``None`` if there are several."""
    from twinml.data import column_names

    if path.is_dir():
        files = [one for one in path.iterdir() if one.is_file()]
        return column_names(files[0]) if len(files) == 1 else None
    return column_names(path)


# Each returns what is expected of a value that is wrong, and None of one that is right.


def _time(text: str) -> str | None:
    from twinml.training.options import parse_seconds

    try:
        return None if parse_seconds(text) > 0 else "a time above 0, such as 60s, 5m or 1h"
    except UsageError:
        return "a time such as 60s, 5m or 1h"


def _threshold(text: str) -> str | None:
    from twinml.training.options import TUNED

    try:
        fits = 0.0 < float(text) < 1.0
    except ValueError:
        fits = text in TUNED
    return None if fits else f"a number between 0 and 1, or one of: {', '.join(TUNED)}"


def _learners(text: str) -> str | None:
    from twinml.training.learners import installed

    known = {learner.name.lower(): learner.name for learner in installed()}
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if text == "all" or (words and all(word in known for word in words)):
        return None
    return f"all, or some of: {', '.join(known.values())}"


def _name(text: str) -> str | None:
    from twinml.data.dataset import NAME

    fits = NAME.fullmatch(text) is not None
    return None if fits else "letters, digits, '.', '_' and '-', a letter or digit first, or none"


def _endpoint(text: str) -> str | None:
    fits = text == "none" or _ENDPOINT.fullmatch(text) is not None
    return None if fits else "3 to 32 letters, digits and '-', a letter first, or none"


def _one_column(text: str, columns: Sequence[str]) -> str | None:
    return None if text in columns else _of(columns, text)


def _several_columns(text: str, columns: Sequence[str]) -> str | None:
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in columns]
    if text == "none" or not wrong:
        return None
    return f"none, or names with commas between, each {_of(columns, wrong[0])}"


def _split(text: str, columns: Sequence[str]) -> str | None:
    kind, mark, column = text.partition(":")
    by_column = kind in ("column", "group") and mark and column in columns
    if text in ("random", "ordered") or by_column:
        return None
    return f"random, ordered, column:NAME or group:NAME with NAME {_of(columns, column)}"


def _of(columns: Sequence[str], name: str) -> str:
    """Return what is expected; all columns are not told, as any file may be named as data."""
    from twinml.data import near

    likely = near(name, list(columns)).strip()
    return f"one of the {len(columns)} columns{f'. {likely}' if likely else ''}"


_ALONE: Mapping[str, Callable[[str], str | None]] = {
    "time": _time,
    "threshold": _threshold,
    "learners": _learners,
    "name": _name,
    "endpoint": _endpoint,
}
_WITH_COLUMNS: Mapping[str, Callable[[str, Sequence[str]], str | None]] = {
    "column": _one_column,
    "columns": _several_columns,
    "split": _split,
}
