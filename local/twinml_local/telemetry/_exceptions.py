"""Errors without what they quote: types and places, never messages that hold a payload."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from twinml.contract import Contract
from twinml.errors import TwinmlError

__all__ = ["describe"]

LONGEST_STACK = 50

Stack = tuple[tuple[str, int, str], ...]


def describe(
    error: BaseException, contract: Contract | None = None
) -> tuple[tuple[str, ...], str, tuple[Stack, ...]]:
    """Return what may be stored of an error.

    Parameters
    ----------
    error
        Any error, with its causes.
    contract
        Whose column names may be repeated; any other name may be a caller's.

    Returns
    -------
    tuple
        Types, from the raised error to its first cause; a message; and for each type the
        places, innermost first, as file, line and function.

    Examples
    --------
    >>> from twinml.errors import Detail, PayloadError
    >>> describe(PayloadError("row 2: found 'abc'", details=[Detail(row=2, value="abc")]))[:2]
    (('twinml.errors.PayloadError',), 'INVALID_PAYLOAD, status 400, row 2')
    >>> describe(ValueError("could not convert string to float: '4111'"))[:2]
    (('ValueError',), 'ValueError')
    """
    chain = list(_chain(error))
    types = tuple(_name(link) for link in chain)
    message = types[0]
    if isinstance(error, TwinmlError):
        parts = [error.error_code, f"status {error.status}"]
        known = set() if contract is None else set(contract.column_names)
        for detail in error.details[:1]:
            if detail.row is not None:
                parts.append(f"row {detail.row}")
            if detail.column in known:
                parts.append(f"column {detail.column!r}")
        message = ", ".join(parts)
    return types, message, tuple(_stack(link) for link in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _name(error: BaseException) -> str:
    kind = type(error)
    place = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{place}{kind.__qualname__}"


def _stack(error: BaseException) -> Stack:
    places = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return tuple(reversed(places[-LONGEST_STACK:]))
