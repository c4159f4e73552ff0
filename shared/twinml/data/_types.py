"""Types of text columns: what a CSV cell means, the same on every machine.

A column comes as its distinct texts and, for each row, the position of its text (-1 for an
empty cell). What a text means is said in :mod:`twinml.contract.text_values`, for requests as
well. The rules for a column, in order:

* an empty cell is null;
* a column whose cells are all digits is ``int64``; with nulls it is pandas' ``Int64``;
* a column whose cells are all numbers is ``float64``, each the double nearest to its text;
* a column whose cells are all numbers in another notation, such as ``1.234,50 €``, is read as
  the plain numbers that they are; see :mod:`twinml.contract.notation`;
* a column whose cells are all dates in one form, such as ``31.12.2024``, is a date column,
  whose texts stay as they are; see :mod:`twinml.contract.dates`;
* a column whose cells are all ``true`` or ``false`` is ``bool``; with nulls ``boolean``;
* in these, and only there, ``NA``, ``N/A``, ``NaN``, ``null``, ``None`` and ``?`` are null too,
  and blanks, dashes, dots and other signs for it;
* a column of sentences that differ is free text, of which a model learns words; see
  :mod:`twinml.contract.free_text`;
* everything else stays text, character by character. ``NA`` or ``None`` in a text column is
  a value like any other, because a client that scores can send it as one.

Codes keep their text: ``02139`` does not become 2139, nor do digits that a 64-bit integer
cannot hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.contract.dates import ISO, DateForm, date_form_of
from twinml.contract.free_text import FreeText, is_free_text
from twinml.contract.notation import PLAIN, Notation, decimal_mark, notation_of, plain_number
from twinml.contract.text_values import BOOLEANS, INTEGER, NULL_MARKERS, is_null, is_number
from twinml.data._finding import Finding

__all__ = [
    "TextColumn",
    "TypedColumns",
    "is_total",
    "rows_with",
    "text_column",
    "text_kinds",
    "typed_columns",
]

UNIT = re.compile(r"[-+]?[0-9][0-9.,]*\s*([^\W\d_]{1,5}[²³]?|°[CF]?)")
TOTALS = frozenset({
    "total", "totals", "grand total", "sum", "summe", "gesamt", "gesamtsumme", "insgesamt", "somme",
    "total général", "suma", "totale", "totaal",
})  # fmt: skip
LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
# Beyond this a double can no longer hold every whole number.
EXACT_IN_DOUBLE = 2**53
# Texts of a column that tell how a file writes its numbers.
SAMPLED = 200


@dataclass(frozen=True)
class TextColumn:
    """Distinct texts, none empty, and for each row the index into them, or -1 for null."""

    texts: Sequence[str]
    positions: NDArray[np.int64]

    def rows(self, kept: slice | NDArray[np.bool_]) -> TextColumn:
        """Return some of its rows, with the texts that they have."""
        used, places = np.unique(self.positions[kept], return_inverse=True)
        none = int(used[:1].tolist() == [-1])
        return TextColumn([self.texts[at] for at in used[none:]], places - none)


def is_total(columns: Mapping[str, TextColumn]) -> bool:
    """Tell whether the last row sums the others up: it says so, as no other does, and has gaps.

    >>> ages, cities = text_column(["30", "70", "100"]), text_column(["Bonn", "Ulm", "Total:"])
    >>> is_total({"age": ages, "city": cities, "y": text_column(["a", "b", ""])})
    True
    >>> is_total({"age": ages, "city": cities})
    False
    """
    last = [column.positions[-1] for column in columns.values()]
    if min(last) >= 0:
        return False
    return any(
        place >= 0
        and column.texts[place].strip(" :").casefold() in TOTALS
        and np.count_nonzero(column.positions == place) == 1
        for place, column in zip(last, columns.values(), strict=True)
    )


def rows_with(columns: Mapping[str, TextColumn], target: str) -> tuple[dict[str, TextColumn], int]:
    """Return the rows in which a column is not empty, and how many others there are.

    Where all are empty, or there is no such column, all rows stay.

    >>> columns = {"n": text_column(["1", "Total"]), "y": text_column(["a", ""])}
    >>> kept, others = rows_with(columns, "y")
    >>> kept["n"].texts, others
    (['1'], 1)
    """
    known = columns[target].positions >= 0 if target in columns else np.zeros(0, bool)
    if known.all() or not known.any():
        return dict(columns), 0
    return {name: column.rows(known) for name, column in columns.items()}, int((~known).sum())


def text_column(values: Sequence[str | None]) -> TextColumn:
    """Return a column of texts; empty text is null."""
    made = np.empty(len(values), dtype=object)
    made[:] = [value or None for value in values]
    positions, texts = pd.factorize(made)
    return TextColumn([str(text) for text in texts], positions.astype(np.int64))


@dataclass(frozen=True)
class TypedColumns:
    """Columns with their types, how their numbers and dates are written, and remarks."""

    columns: dict[str, pd.Series]
    notations: dict[str, Notation | DateForm | FreeText]
    findings: list[Finding]


def typed_columns(
    columns: Mapping[str, TextColumn],
    *,
    as_text: Collection[str] = (),
    plain: Collection[str] = (),
    likely: str = ".",
) -> TypedColumns:
    """Give the columns of a file their types.

    Parameters
    ----------
    as_text
        Columns that stay text, whatever they hold.
    plain
        Columns whose numbers have to be written plainly; they stay text otherwise, as dates do.
    likely
        The decimal mark to take where no column proves one.
    """
    proved = decimal_mark(
        [text for text in column.texts[:SAMPLED] if not is_null(text)]
        for name, column in columns.items()
        if name not in as_text
    )
    made = TypedColumns({}, {}, [])
    for name, column in columns.items():
        notation = None
        if name not in as_text and name not in plain:
            known = [text for text in column.texts if not is_null(text)]
            # Most columns are plain, or text from their first value on.
            if known and (proved == "," or not all(map(is_number, known))):
                notation = notation_of(known, proved=proved, likely=likely)
        if notation is None or notation == PLAIN:
            series, remarks = typed(name, column, as_text=name in as_text)
        else:
            bare = [plain_number(text, notation) for text in column.texts]
            series, remarks = typed(name, TextColumn(bare, column.positions))
            if series.dtype.kind in "if":
                made.notations[name] = notation
            else:  # codes, or more digits than a number has
                series, remarks = typed(name, column)
        made.columns[name] = series
        made.findings.extend(remarks)
    numbers = {name: one for name, one in made.notations.items() if isinstance(one, Notation)}
    made.findings.extend(_about_notations(columns, numbers))
    dates, remarks = text_kinds(
        {name: made.columns[name] for name in columns if name not in as_text and name not in plain}
    )
    made.notations.update(dates)
    made.findings.extend(remarks)
    return made


def text_kinds(
    columns: Mapping[str, pd.Series],
) -> tuple[dict[str, DateForm | FreeText], list[Finding]]:
    """Return which text columns hold dates or free text, with remarks, a line for each kind.

    Null markers among dates become null, in the columns as they are given.
    """
    found: dict[str, DateForm | FreeText] = {}
    findings = []
    for name, values in columns.items():
        if values.dtype != object:
            continue
        texts = values.dropna().unique().tolist()
        known = [text for text in texts if not is_null(text)]
        dates = date_form_of(known) if known else None
        if dates is not None:
            found[name] = dates
            markers = [text for text in texts if is_null(text)]
            if markers:
                cells = values.isin(markers)
                findings.append(_about_null(name, markers, int(cells.sum()), "date"))
                values[cells] = np.nan
        elif is_free_text(texts, int(values.notna().sum())):
            found[name] = FreeText()
    for form in dict.fromkeys(found.values()):
        names = [name for name, other in found.items() if other == form]
        column = names[0] if len(names) == 1 else None
        if isinstance(form, FreeText):
            message = f"{_who(names)} free text: the model learns from words and pairs of words"
            findings.append(Finding("note", "free-text", column, message))
            continue
        example = columns[names[0]].dropna().iloc[0]
        message = f"{_who(names)} read as dates ({form}), such as '{_short(example)}'"
        findings.append(Finding("note", "dates", column, message, decision=form.form != ISO))
    return found, findings


def _who(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"'{names[0]}' is"
    shown = ", ".join(f"'{name}'" for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} columns ({shown}) are"


def _about_notations(
    columns: Mapping[str, TextColumn], notations: Mapping[str, Notation]
) -> Iterator[Finding]:
    """Say which columns hold numbers that are not written plainly, a line for each notation."""
    for notation in dict.fromkeys(notations.values()):
        names = [name for name, other in notations.items() if other == notation]
        texts = columns[names[0]].texts
        example = max((text for text in texts if not is_null(text)), key=len)
        message = f"{_who(names)} read as numbers with {notation}, such as '{_short(example)}'"
        column = names[0] if len(names) == 1 else None
        yield Finding("note", "notation", column, message, decision=True)


def typed(
    name: str, column: TextColumn, *, as_text: bool = False
) -> tuple[pd.Series, list[Finding]]:
    """Give a column of plain values its type.

    Returns
    -------
    The column as ``int64``, ``float64``, ``bool``, pandas' ``Int64`` or ``boolean`` where there
    are nulls among them, or ``object`` (text, null is NaN), and what is worth saying about how
    it was read.

    Examples
    --------
    >>> column, findings = typed("age", text_column(["30", "NA", "30"]))
    >>> column.tolist()
    [30, <NA>, 30]
    >>> findings[0].message
    "'age' is a number column; 1 cell that holds 'NA' is read as null"
    """
    texts, positions = column.texts, column.positions
    if not texts:
        return pd.Series(np.full(len(positions), np.nan), name=name), []
    if as_text:
        return _text(name, texts, positions), []
    numeric = np.fromiter((is_number(text) for text in texts), dtype=bool, count=len(texts))
    marker = np.fromiter((is_null(text) for text in texts), dtype=bool, count=len(texts))
    if numeric.any() and (numeric | marker).all():
        return _numbers(name, texts, positions, marker)
    boolean = np.fromiter((text.strip() in BOOLEANS for text in texts), bool, len(texts))
    if boolean.any() and (boolean | marker).all():
        return _booleans(name, texts, positions, marker)
    return _text(name, texts, positions), _about_text(name, texts, positions)


def _exceeds(digits: str, limit: int) -> bool:
    # Python refuses to convert thousands of digits; 20 are beyond 64 bits already.
    return len(digits) > 20 or abs(int(digits)) > limit


def _text(name: str, texts: Sequence[str], positions: NDArray[np.int64]) -> pd.Series:
    values = np.empty(len(texts) + 1, dtype=object)
    values[:-1] = texts
    values[-1] = np.nan
    return pd.Series(values[positions], name=name, dtype=object)


def _numbers(
    name: str, texts: Sequence[str], positions: NDArray[np.int64], marker: NDArray[np.bool_]
) -> tuple[pd.Series, list[Finding]]:
    """Turn a column of numbers and null markers into ``int64`` or ``float64``."""
    bare = [text.strip() for text in texts]
    zero = next((text for text in bare if LEADING_ZERO.fullmatch(text)), None)
    if zero is not None:
        message = f"'{name}' stays text: it holds codes with leading zeros such as '{_short(zero)}'"
        return _text(name, texts, positions), [Finding("note", "codes", name, message)]
    whole = all(m or INTEGER.fullmatch(text) for text, m in zip(bare, marker, strict=True))
    null = bool((positions < 0).any() or marker.any())
    if whole:
        limit = EXACT_IN_DOUBLE if null else 2**63 - 1
        large = next(
            (text for text, m in zip(bare, marker, strict=True) if not m and _exceeds(text, limit)),
            None,
        )
        if large is not None:
            message = f"'{name}' stays text: a number column cannot hold '{_short(large)}' exactly"
            return _text(name, texts, positions), [Finding("note", "codes", name, message)]
        known = [0 if m else int(text) for text, m in zip(bare, marker, strict=True)]
        integers = np.array([*known, 0], dtype=np.int64)[positions]
        if not null:
            return pd.Series(integers, name=name), []
        findings = _about_markers(name, bare, positions, marker, "number")
        mask = _is_null_at(positions, marker)
        return pd.Series(pd.arrays.IntegerArray(integers, mask), name=name), findings
    doubles = np.full(len(texts) + 1, np.nan)
    doubles[:-1] = [np.nan if m else float(text) for text, m in zip(bare, marker, strict=True)]
    findings = _about_markers(name, bare, positions, marker, "number")
    return pd.Series(doubles[positions], name=name), findings


def _booleans(
    name: str, texts: Sequence[str], positions: NDArray[np.int64], marker: NDArray[np.bool_]
) -> tuple[pd.Series, list[Finding]]:
    """Turn a column of booleans and null markers into ``bool`` or ``boolean``."""
    bare = [text.strip() for text in texts]
    values = np.array([*(BOOLEANS.get(text, False) for text in bare), False])[positions]
    mask = _is_null_at(positions, marker)
    if not mask.any():
        return pd.Series(values, name=name), []
    findings = _about_markers(name, bare, positions, marker, "boolean")
    return pd.Series(pd.arrays.BooleanArray(values, mask), name=name), findings


def _is_null_at(positions: NDArray[np.int64], marker: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each row whether it is null, by an empty cell or a marker."""
    # Position -1 is the last.
    return np.append(marker, True)[positions]


def _about_markers(
    name: str,
    bare: Sequence[str],
    positions: NDArray[np.int64],
    marker: NDArray[np.bool_],
    kind: str,
) -> list[Finding]:
    """Say which cells are read as null although they hold something."""
    if not marker.any():
        return []
    markers = [text for text, m in zip(bare, marker, strict=True) if m]
    return [_about_null(name, markers, int(marker[positions[positions >= 0]].sum()), kind)]


def _about_null(name: str, markers: Sequence[str], count: int, kind: str) -> Finding:
    found = ", ".join(f"'{text.strip()}'" if text.strip() else "blanks" for text in markers)
    cells = "1 cell that holds" if count == 1 else f"{count:,} cells that hold"
    verb = "is" if count == 1 else "are"
    message = f"'{name}' is a {kind} column; {cells} {found} {verb} read as null"
    unusual = not all(text.strip().lower() in NULL_MARKERS for text in markers)
    return Finding("note", "null-marker", name, message, decision=unusual)


def _about_text(name: str, texts: Sequence[str], positions: NDArray[np.int64]) -> list[Finding]:
    """Say where a text column looks as if it was meant to be numbers."""
    counts = np.bincount(positions[positions >= 0], minlength=len(texts))
    numeric = np.fromiter((notation_of([text]) is not None for text in texts), bool, len(texts))
    total, numbers = int(counts.sum()), int(counts[numeric].sum())
    if numeric.all():
        return []
    units = {found.group(1) if (found := UNIT.fullmatch(text.strip())) else "" for text in texts}
    if len(units) == 1 and "" not in units:
        message = (
            f"'{name}' holds numbers with '{units.pop()}' behind and is read as text; write the "
            "numbers alone to have them compared"
        )
        return [Finding("note", "unit", name, message)]
    if 2 * numbers < total:
        return []
    first = int(np.flatnonzero(np.isin(positions, np.flatnonzero(~numeric)))[0])
    others = total - numbers
    are = "is not a number" if others == 1 else "are not numbers"
    message = (
        f"'{name}' mixes numbers and text and is read as text: {others:,} of {total:,} "
        f"values {are}, the first is '{_short(texts[positions[first]])}' in data row "
        f"{first + 1:,}"
    )
    return [Finding("warning", "mixed-types", name, message)]


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
