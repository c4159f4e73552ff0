"""A data set: a frame with a target, where it came from, and what is worth knowing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.contract import model_frame
from twinml.contract.dates import DateForm
from twinml.contract.free_text import FreeText
from twinml.contract.notation import Notation
from twinml.data import _checks, _copies, _known, _order, _profile
from twinml.data._finding import Finding
from twinml.data._left_out import left_out
from twinml.data._read import read
from twinml.data._source import local_file, near
from twinml.data._target import RARE, Rare, check_target, join_or_drop, labelled
from twinml.data._task import TASKS, TaskKind, check_numbers, choose_task, is_number, maybe_numbers
from twinml.errors import DataError

__all__ = ["Dataset", "UnknownColumn", "check_names", "load", "name_of"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUFFIXES = (
    ".csv", ".tsv", ".txt", ".parquet", ".json", ".jsonl", ".ndjson", ".xlsx", ".xlsm", ".xlsb",
    ".xls", ".ods", ".gz", ".zip", ".xz", ".bz2", ".zst",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table that a model can be trained on.

    Attributes
    ----------
    name
        Letters, digits, ``.``, ``_`` and ``-``; the name of the data asset and its model.
    frame
        Features and target in file order, shape (n_rows, n_features + 1). Columns are
        ``int64``, ``float64``, ``bool``, pandas' ``Int64`` or ``boolean`` where there are nulls
        among them, or ``object`` (text; null is NaN).
    target
        The column to predict.
    source
        The file that it was read from.
    digest
        SHA-256 of the uncompressed file, hexadecimal.
    findings
        What is worth knowing, warnings first.
    chronological
        The rows are known to be in time order; ``False`` when nobody documents it.
    order_note
        Why, one sentence without a full stop.
    leaks
        Columns of the file known to give the target away, with the reason; dropped ones too,
        so that a report can say why the model does without them.
    dropped
        Columns of the file that are not in ``frame``, in file order: those asked for, keys,
        and those without any value.
    notations
        How the file writes the numbers or dates of some features, and which are free text.
    reading
        The options ``keep``, ``rare`` and ``sheet``, and ``task`` if it was asked for, with which
        ``load`` reads the file so again.
    task
        ``classification`` or ``regression``.
    task_reason
        Why, a sentence without a full stop.
    """

    name: str
    frame: pd.DataFrame = field(repr=False)
    target: str
    source: Path
    digest: str
    findings: tuple[Finding, ...] = field(repr=False)
    chronological: bool
    order_note: str
    leaks: Mapping[str, str]
    dropped: tuple[str, ...]
    notations: Mapping[str, Notation | DateForm | FreeText] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    task: TaskKind = "classification"
    task_reason: str = ""

    @property
    def features(self) -> pd.DataFrame:
        """The frame without the target, shape (n_rows, n_features)."""
        return self.frame.drop(columns=self.target)

    @property
    def labels(self) -> pd.Series:
        """The target, shape (n_rows,)."""
        return self.frame[self.target]

    @property
    def n_rows(self) -> int:
        """Rows."""
        return len(self.frame)

    def copies(self) -> NDArray[np.int64] | None:
        """Return for each row the number of its group of copies, shape (n_rows,).

        ``None`` if no row is the copy of another one; see ``twinml.data._copies``.
        """
        return _copies.copies(
            model_frame(self.frame), self.target if self.task == "classification" else None
        )

    def profile(self) -> pd.DataFrame:
        """Return one row a feature, for tables and reports.

        Returns
        -------
        Columns ``feature``, ``type`` (the contract's ``long``, ``double``, ``string``,
        ``boolean``, ``datetime``, ``text``), ``nulls``, ``distinct``; for numbers ``minimum``,
        ``q25``, ``median``, ``q75``, ``maximum``, ``mean`` in the feature's own unit, else NaN;
        for text and booleans ``top``, the most frequent values with their shares, else empty.
        """
        return _profile.profile(self.features, self.notations)

    def rates(self, column: str, *, groups: int = 5) -> pd.DataFrame:
        """Return the share of each class by value, or by quantile, of a feature.

        Parameters
        ----------
        column
            A feature.
        groups
            For text and booleans the most frequent values that get a row of their own, the
            rest is ``other``; for numbers the quantile groups.

        Returns
        -------
        Columns ``value``, ``rows``, and one for each class with its share in [0, 1].

        Raises
        ------
        DataError
            There is no such feature.
        """
        names = [name for name in self.frame.columns if name != self.target]
        if column not in names:
            raise DataError(f"there is no feature '{column}'", hint=_choices(column, names))
        return _profile.rates(self.frame[column], self.labels, groups=groups)


def load(
    source: Path | str,
    target: str,
    *,
    name: str | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] | Literal["all"] = (),
    rare: Rare = "drop",
    sheet: str | None = None,
    strict: bool = False,
    task: TaskKind | None = None,
) -> Dataset:
    """Read a file and check that a model can be trained on it.

    Parameters
    ----------
    source
        Path, or an address with ``http``, ``https`` or ``file``, of CSV, Parquet, a workbook,
        an array of JSON objects or JSON lines; also inside gzip, bzip2, xz, zstd or a zip with
        one file.
    target
        The column to predict: 2 to 100 classes, or numbers.
    name
        Name of the data set; by default the file's name without its endings.
    drop
        Columns to leave out; what they hold does not matter.
    keep
        Columns to keep although they are keys, or ``all``.
    rare
        What becomes of classes too rare to learn: their rows are left out (``drop``), they are
        joined into one (``join``), or they are an error (``refuse``).
    sheet
        Of a workbook; the first one by default.
    strict
        Refuse a file where something could be read in another way or is left out.
    task
        ``classification`` or ``regression``; told from the target by default: many different
        numbers are a regression.

    Raises
    ------
    DataError
        The file cannot be read exactly, or no model can be trained on it. The message
        says where and what to do.
    """
    path = local_file(source)
    if name is not None and not NAME.fullmatch(name):
        raise DataError(
            f"'{name}' cannot be the name of a data set",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        )
    if task not in (None, *TASKS):
        raise DataError(f"there is no task '{task}'", hint=f"Choose one of {', '.join(TASKS)}.")
    if rare not in RARE:
        raise DataError(
            f"'{rare}' does not say what becomes of rare classes",
            hint=f"Choose one of {', '.join(RARE)}.",
        )
    content = read(path, plain=[target], skip=drop, expected=[target], sheet=sheet, target=target)
    if task != "classification" and maybe_numbers(content.frame, target):
        # Classes stay as they are written; numbers may have a decimal comma or a currency.
        other = read(path, skip=drop, expected=[target], sheet=sheet, target=target)
        content = other if is_number(other.frame[target]) else content
    known = _known.KNOWN.get(content.digest)
    everything = [str(column) for column in content.frame.columns]
    check_names(path.name, everything, target, drop)
    if keep != "all":
        check_kept(path.name, everything, keep)
    frame = content.frame.drop(columns=list(drop))
    frame, unlabelled = labelled(frame, target, path.name, content.unlabelled)
    chosen, why = choose_task(frame[target], task, path.name)
    few: list[Finding] = []
    if chosen == "regression":
        check_numbers(frame[target], path.name)
    else:
        check_target(frame[target], path.name)
        frame, few = join_or_drop(frame, target, rare)
        check_target(frame[target], path.name)
    dates = {name: form for name, form in content.notations.items() if isinstance(form, DateForm)}
    useless, without = left_out(frame, target, None if keep == "all" else [*keep, *dates])
    numbers = frame[useless]
    frame = frame.drop(columns=useless)
    if frame.shape[1] < 2:
        raise DataError(
            f"'{path.name}' has no features left beside the target '{target}'",
            hint="At least one other column with values is needed.",
        )
    leaks = _known.leaks(everything, target)
    kept_leaks = {column: why for column, why in leaks.items() if column in frame.columns}
    plain = model_frame(frame)
    dated = {name: form for name, form in dates.items() if name in plain}
    order = _order.evidence(plain, target, numbers, dated)
    findings = [
        *(
            remark
            for remark in content.findings
            if remark.column is None or remark.column in frame.columns
        ),
        *unlabelled,
        *few,
        *without,
        *_checks.findings(plain, target, kept_leaks, chosen, content.notations),
        *order.findings,
    ]
    if strict:
        _refuse_decisions(path.name, findings)
    return Dataset(
        name=name or (known.name if known else name_of(path)),
        frame=frame,
        target=target,
        source=path,
        digest=content.digest,
        findings=tuple(sorted(findings, key=lambda finding: finding.level != "warning")),
        chronological=known.chronological if known else order.chronological,
        order_note=known.order_note if known else order.note,
        leaks=leaks,
        dropped=tuple(column for column in everything if column not in frame.columns),
        notations={
            column: notation
            for column, notation in content.notations.items()
            if column in frame.columns and column != target
        },
        reading={
            "keep": keep,
            "rare": rare,
            "sheet": sheet,
            **({} if task is None else {"task": task}),
        },
        task=chosen,
        task_reason=why,
    )


def _refuse_decisions(file: str, findings: Sequence[Finding]) -> None:
    decisions = [finding.message for finding in findings if finding.decision]
    if decisions:
        more = f"; and {len(decisions) - 1} more" if len(decisions) > 1 else ""
        raise DataError(
            f"'{file}' is not read strictly: {decisions[0]}{more}",
            hint="Change the file, or leave --strict out to have it read so.",
        )


class UnknownColumn(DataError):
    """A file does not have a column that was named; the hint quotes its header."""


def check_names(file: str, columns: list[str], target: str, drop: Sequence[str] = ()) -> None:
    """Check that the target and the columns to drop exist, and are not the same.

    Raises
    ------
    DataError
        They do not; the hint names columns like them.
    """
    if target not in columns:
        raise UnknownColumn(f"'{file}' has no column '{target}'", hint=_choices(target, columns))
    if target in drop:
        raise DataError(
            f"the target '{target}' cannot be dropped", hint="Name another target or keep it."
        )
    for column in drop:
        if column not in columns:
            raise UnknownColumn(
                f"'{file}' has no column '{column}' to drop", hint=_choices(column, columns)
            )


def check_kept(file: str, columns: list[str], keep: Sequence[str]) -> None:
    """Check that the columns to keep exist."""
    for column in keep:
        if column not in columns:
            raise UnknownColumn(
                f"'{file}' has no column '{column}' to keep or split by",
                hint=_choices(column, columns),
            )


def _choices(name: str, columns: list[str]) -> str:
    shown = ", ".join(columns[:40]) + (", …" if len(columns) > 40 else "")
    return f"{near(name, columns)}Columns: {shown}."


def name_of(path: Path) -> str:
    """Return a data set name made from a file name.

    Examples
    --------
    >>> name_of(Path("data/Bank calls (2024).csv.gz"))
    'Bank-calls-2024'
    """
    stem = path.name
    while stem.lower().endswith(SUFFIXES):
        stem = stem[: stem.rindex(".")]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "data"
