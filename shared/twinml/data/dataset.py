"""A data set: a frame with a target, where it came from, and what is worth knowing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from twinml.contract import model_frame
from twinml.data import _checks, _known, _order, _profile
from twinml.data._finding import Finding
from twinml.data._read import near, read
from twinml.errors import DataError

__all__ = ["Dataset", "check_names", "load"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUFFIXES = (".csv", ".gz", ".parquet", ".tsv", ".txt", ".zip")


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
        Columns of the file that are not in ``frame``, in file order: those asked for and
        those without any value.
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

    def profile(self) -> pd.DataFrame:
        """Return one row a feature, for tables and reports.

        Returns
        -------
        Columns ``feature``, ``type`` (the contract's ``long``, ``double``, ``string``,
        ``boolean``), ``nulls``, ``distinct``; for numbers ``minimum``, ``q25``, ``median``,
        ``q75``, ``maximum``, ``mean`` in the feature's own unit, else NaN; for text and
        booleans ``top``, the most frequent values with their shares, else empty.
        """
        return _profile.profile(self.features)

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
    source: Path | str, target: str, *, name: str | None = None, drop: Sequence[str] = ()
) -> Dataset:
    """Read a CSV or Parquet file and check that a classifier can be trained on it.

    Parameters
    ----------
    source
        CSV in UTF-8, split by comma, semicolon, tab or bar; the same inside gzip or a zip
        with one file; or Parquet.
    target
        The column to predict, with 2 to 100 classes.
    name
        Name of the data set; by default the file's name without its endings.
    drop
        Columns to leave out.

    Raises
    ------
    DataError
        The file cannot be read exactly, or no classifier can be trained on it. The message
        says where and what to do.
    """
    path = Path(source)
    if name is not None and not NAME.fullmatch(name):
        raise DataError(
            f"'{name}' cannot be the name of a data set",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        )
    content = read(path)
    known = _known.KNOWN.get(content.digest)
    everything = [str(column) for column in content.frame.columns]
    check_names(path.name, everything, target, drop)
    frame = content.frame.drop(columns=list(drop))
    _checks.check_unnamed(everything, drop, path.name)
    _checks.check_target(frame[target], path.name)
    empty = [column for column in frame.columns if frame[column].isna().all()]
    frame = frame.drop(columns=empty)
    if frame.shape[1] < 2:
        raise DataError(
            f"'{path.name}' has no features left beside the target '{target}'",
            hint="At least one other column with values is needed.",
        )
    leaks = _known.leaks(everything, target)
    kept_leaks = {column: why for column, why in leaks.items() if column in frame.columns}
    plain = model_frame(frame)
    order = _order.evidence(plain, target)
    findings = [
        *(remark for remark in content.findings if remark.column in frame.columns),
        *_checks.empty_columns(empty),
        *_checks.findings(plain, target, kept_leaks),
        *order.findings,
    ]
    return Dataset(
        name=name or (known.name if known else _name_of(path)),
        frame=frame,
        target=target,
        source=path,
        digest=content.digest,
        findings=tuple(sorted(findings, key=lambda finding: finding.level != "warning")),
        chronological=known.chronological if known else False,
        order_note=known.order_note if known else order.note,
        leaks=leaks,
        dropped=tuple(column for column in everything if column not in frame.columns),
    )


def check_names(file: str, columns: list[str], target: str, drop: Sequence[str] = ()) -> None:
    """Check that the target and the columns to drop exist, and are not the same.

    Raises
    ------
    DataError
        They do not; the hint names columns like them.
    """
    if target not in columns:
        raise DataError(f"'{file}' has no column '{target}'", hint=_choices(target, columns))
    if target in drop:
        raise DataError(
            f"the target '{target}' cannot be dropped", hint="Name another target or keep it."
        )
    for column in drop:
        if column not in columns:
            raise DataError(
                f"'{file}' has no column '{column}' to drop", hint=_choices(column, columns)
            )


def _choices(name: str, columns: list[str]) -> str:
    shown = ", ".join(columns[:40]) + (", …" if len(columns) > 40 else "")
    return f"{near(name, columns)}Columns: {shown}."


def _name_of(path: Path) -> str:
    """Return a data set name made from a file name.

    Examples
    --------
    >>> _name_of(Path("data/Bank calls (2024).csv.gz"))
    'Bank-calls-2024'
    """
    stem = path.name
    while stem.lower().endswith(SUFFIXES):
        stem = stem[: stem.rindex(".")]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "data"
