"""The three shapes of rows in a request, each to the contract's columns, unconverted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from twinml.contract._schema import Contract
from twinml.contract._words import MOST_DETAILS, listed, shown
from twinml.contract.text_values import header_names
from twinml.errors import Detail, PayloadError

__all__ = ["check_header", "from_columns", "from_matrix", "from_records", "from_split"]

MOST_NAMES = 10  # that a message lists


def from_records(contract: Contract, rows: list[Any], key: str) -> dict[str, list[Any]]:
    """Return columns of ``[{"age": 41, …}, …]``; a key left out of some rows is null there."""
    names = contract.column_names
    try:
        return {name: [row[name] for row in rows] for name in names}
    except (KeyError, TypeError):
        pass
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise PayloadError(
                f"row {number} of '{key}' is {shown(row)}, expected an object",
                hint="Send every row as an object of column names and values.",
                details=[Detail(row=number, value=shown(row), expected="an object")],
            )
    seen: set[str] = set().union(*rows)
    if not seen.issuperset(names):
        rows = _under_bare_names(contract, rows)
        seen = set().union(*rows)
    refuse_missing(contract, seen)
    return {name: [row.get(name) for row in rows] for name in names}


def _under_bare_names(contract: Contract, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the names that a file's header would give, without blanks around.

    Raises
    ------
    PayloadError
        A name appears twice then.
    """
    known = frozenset(contract.column_names)
    made = []
    for row in rows:
        names = header_names(list(row), known)
        _refuse_twice(contract, names)
        made.append(dict(zip(names, row.values(), strict=True)))
    return made


def from_split(contract: Contract, value: dict[str, Any], key: str) -> dict[str, list[Any]]:
    """Return columns of ``{"columns": […], "data": [[…], …], "index": […]}``."""
    data = value.get("data")
    if type(data) is not list:
        found = f"is {shown(data)}" if "data" in value else "is missing"
        raise PayloadError(
            f"'{key}.data' {found}, expected an array of rows",
            hint=f'Send {{"{key}": {{"columns": […], "data": [[…], …]}}}}.',
        )
    index = value.get("index")
    if index is not None and (type(index) is not list or len(index) != len(data)):
        length = f"has {len(index):,} entries" if type(index) is list else "is not an array"
        raise PayloadError(
            f"'{key}.index' {length}, '{key}.data' has {len(data):,} rows",
            hint="Leave the index out, or give one entry for each row.",
        )
    header = value.get("columns")
    if header is None:
        raise PayloadError(
            f"'{key}.columns' is missing",
            hint=f"Name the columns in the order of the values: {listed(contract.column_names)}.",
        )
    if type(header) is not list or not all(type(name) is str for name in header):
        raise PayloadError(
            f"'{key}.columns' is {shown(header)}, expected an array of column names",
            hint=f"Name the columns: {listed(contract.column_names)}.",
        )
    return from_matrix(contract, header, data, key)


def from_matrix(
    contract: Contract, header: Sequence[str], rows: list[Any], key: str
) -> dict[str, list[Any]]:
    """Return columns of ``[[41, …], …]`` whose values stand in the order of ``header``."""
    positions = check_header(contract, header)
    width = len(header)
    if not rows:
        return {name: [] for name in contract.column_names}
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {width}:
        _refuse_rows(rows, width, key)
    columns = list(zip(*rows, strict=True))
    return {
        name: list(columns[position])
        for name, position in zip(contract.column_names, positions, strict=True)
    }


def _refuse_rows(rows: list[Any], width: int, key: str) -> NoReturn:
    """Raise for the first row that is no array of ``width`` values."""
    for number, row in enumerate(rows):
        if type(row) is not list:
            raise PayloadError(
                f"row {number} of '{key}' is {shown(row)}, expected an array",
                hint=f"Send every row as an array of {width} values.",
                details=[Detail(row=number, value=shown(row), expected="an array")],
            )
        if len(row) != width:
            refuse_ragged(number, len(row), width)
    raise AssertionError(f"every row of '{key}' has {width} values")


def from_columns(contract: Contract, value: dict[str, Any], key: str) -> dict[str, list[Any]]:
    """Return columns of ``{"age": [41, …], …}``; scalars instead of arrays are one row."""
    if not value.keys() >= set(contract.column_names):
        [value] = _under_bare_names(contract, [value])
    refuse_missing(contract, value)
    columns = {name: value[name] for name in contract.column_names}
    if not any(type(values) in (list, dict) for values in columns.values()):
        return {name: [scalar] for name, scalar in columns.items()}
    n_rows = -1
    for name, values in columns.items():
        if type(values) is not list:
            raise PayloadError(
                f"column {shown(name)} of '{key}' is {shown(values)}, expected an array",
                hint="Send every column as an array of values.",
                details=[Detail(column=name, value=shown(values), expected="an array")],
            )
        n_rows = len(values) if n_rows < 0 else n_rows
        if len(values) != n_rows:
            first = contract.column_names[0]
            raise PayloadError(
                f"column {shown(name)} has {len(values):,} values, {shown(first)} has {n_rows:,}",
                hint="Give every column the same number of values.",
                details=[Detail(column=name, value=len(values), expected=f"{n_rows} values")],
            )
    return columns


def check_header(contract: Contract, header: Sequence[str]) -> Sequence[int]:
    """Return where each of the contract's columns stands in ``header``.

    Raises
    ------
    PayloadError
        A name appears twice, or columns are missing.
    """
    if tuple(header) == contract.column_names:
        return range(len(header))
    header = header_names(header, frozenset(contract.column_names))
    _refuse_twice(contract, header)
    places = {name: position for position, name in enumerate(header)}
    refuse_missing(contract, places)
    return [places[name] for name in contract.column_names]


def _refuse_twice(contract: Contract, header: Sequence[str]) -> None:
    """Raise for names that appear more than once."""
    if len({*header}) != len(header):
        twice = {name for name, count in Counter(header).items() if count > 1}
        raise PayloadError(
            f"column {listed(sorted(twice))} appears more than once",
            hint="Name every column once.",
            details=[
                Detail(column=name, expected="one column of this name")
                for name in contract.column_names
                if name in twice
            ][:MOST_DETAILS],
        )


def refuse_missing(contract: Contract, seen: Iterable[str]) -> None:
    """Raise for the contract's columns that are not among ``seen``, all of them at once."""
    present = set(seen)
    missing = [column for column in contract.columns if column.name not in present]
    if missing:
        names = [column.name for column in missing]
        raise PayloadError(
            f"column{'' if len(names) == 1 else 's'} {listed(names)} "
            f"{'is' if len(names) == 1 else 'are'} missing",
            hint="Send every column of the model; order is free and others are ignored.",
            details=[
                Detail(column=column.name, expected=f"a column of type {column.type}")
                for column in missing[:MOST_DETAILS]
            ],
        )


def refuse_ragged(row: int, found: int, width: int) -> NoReturn:
    """Raise for a row of the wrong length."""
    raise PayloadError(
        f"row {row} has {found:,} value{'' if found == 1 else 's'}, "
        f"there are {width:,} column{'' if width == 1 else 's'}",
        hint="Give every row one value for each column.",
        details=[Detail(row=row, value=found, expected=f"{width} values")],
    )
