"""Requests in every dialect to one :class:`ScoringRequest`; no server, no pandas."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from twinml.contract._coerce import coerce, expected, raise_problems
from twinml.contract._method import Method, level_of, method_of
from twinml.contract._request import ScoringRequest
from twinml.contract._schema import Contract
from twinml.contract._usual import UsualRow
from twinml.contract._words import kind, shown
from twinml.contract.azure import IGNORED, AzureDifference, of_form, of_method, of_values
from twinml.contract.dialects import JSON, ROUTES, TEXTS, Dialect, Route
from twinml.contract.encoding import CHARSETS, codec_of
from twinml.contract.intervals import DEFAULT_LEVEL
from twinml.errors import PayloadError

__all__ = ["parse"]

Asked: TypeAlias = tuple[Method, float, AzureDifference | None]

LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(
    contract: Contract,
    body: bytes,
    *,
    content_type: str | None,
    route: Route,
    max_rows: int | None = None,
) -> ScoringRequest:
    """Read a request body; the dialect is told by the route and the one key that is there.

    Column order is free, columns that the contract does not name are ignored, categories
    never seen in training are accepted. ``NaN`` and ``Infinity`` are read as Python writes
    them.

    Parameters
    ----------
    contract
        Of the model that is to score.
    body
        As it came over the wire.
    content_type
        The header's value: ``application/json``, UTF-8, or ``text/csv``, also UTF-16 or
        Windows-1252, told by a charset or read as a file is.
    route
        Which route it came to.
    max_rows
        Refuse more rows than this.

    Raises
    ------
    PayloadError
        With status 400, 413 (too many rows) or 415 (content type). The message names row,
        column, value and what was expected; ``details`` hold up to 20 such places.

    Examples
    --------
    >>> from twinml.contract import Column
    >>> contract = Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2,
    ...     columns=(Column("age", "long", nullable=False),), samples=(),
    ... )
    >>> request = parse(
    ...     contract, b'{"data": [{"age": 41}]}', content_type="application/json", route="score"
    ... )
    >>> request.columns
    {'age': [41]}
    """
    if content_type != JSON:
        media_type, charset = _media_type(content_type)
        if (text := TEXTS.get(media_type)) is not None:
            asked: Asked = ("predict", DEFAULT_LEVEL, of_form(contract, text, route, None, None))
            columns = text.read(contract, _table(body, charset))
            return _request(contract, text, columns, asked, max_rows)
    document = _load(body)
    if type(document) is not dict:
        raise PayloadError(
            f"the body is {kind(document)}, expected a JSON object",
            hint=_keys_that_would_do(route),
        )
    known = ROUTES[route]
    keys = [key for key in known if key in document]
    if len(keys) != 1:
        _refuse_keys(document, keys, route)
    dialect, value = known[keys[0]], document[keys[0]]
    if max_rows is None or max_rows > 0:
        usual = _usual_row(contract).columns(dialect, value)
        if usual is not None:
            types = contract.column_types
            method, level, azure = _asked(contract, dialect, route, document, value, usual=True)
            return ScoringRequest(dialect, usual, 1, method, types, level, azure)
    columns = dialect.read(contract, value)
    asked = _asked(contract, dialect, route, document, value)
    return _request(contract, dialect, columns, asked, max_rows)


def _asked(
    contract: Contract,
    dialect: Dialect,
    route: Route,
    document: dict[str, Any],
    value: Any,
    *,
    usual: bool = False,
) -> Asked:
    """Return method and level, and what Azure's side does not take of the body's form."""
    azure = of_form(contract, dialect, route, document, value, usual=usual)
    if len(document) == 1:
        return "predict", DEFAULT_LEVEL, azure
    found = _method(contract, document)
    if azure is None and not document.keys().isdisjoint(IGNORED):
        azure = of_method(document, found, _method(contract, {"params": document.get("params")}))
    return *found, azure


def _method(contract: Contract, document: Mapping[str, Any]) -> tuple[Method, float]:
    method = method_of(document, contract.methods)
    if method != "predict_interval":
        return method, DEFAULT_LEVEL
    return method, level_of(document, contract.intervals)


def _usual_row(contract: Contract) -> UsualRow:
    """Return the reader of single rows that a contract keeps."""
    # A contract is frozen, but has room for what is derived from it, as cached properties do.
    kept: UsualRow | None = contract.__dict__.get("_usual_row")
    if kept is None:
        kept = contract.__dict__["_usual_row"] = UsualRow(contract)
    return kept


def _request(
    contract: Contract,
    dialect: Dialect,
    columns: dict[str, list[Any]],
    asked: Asked,
    max_rows: int | None,
) -> ScoringRequest:
    n_rows = len(columns[contract.column_names[0]])
    if n_rows == 0:
        raise PayloadError("the request holds no rows", hint="Send at least one row.")
    if max_rows is not None and n_rows > max_rows:
        raise PayloadError(
            f"the request holds {n_rows:,} rows, at most {max_rows:,} are taken",
            hint="Send them in several requests, or score the file as a batch.",
            status=413,
        )
    result: dict[str, list[Any]] = {}
    method, level, azure = asked
    problems: list[tuple[int, int, Any]] = []
    for position, column in enumerate(contract.columns):
        values, wrong = coerce(column, columns[column.name])
        result[column.name] = values
        if wrong:
            problems.extend((row, position, value) for row, value in wrong)
        elif azure is None and values is not columns[column.name]:  # else they are as JSON has them
            azure = of_values(column, columns[column.name], values)
    if problems:
        problems.sort(key=lambda problem: problem[:2])
        raise_problems(
            [
                (row, contract.columns[at].name, value, expected(contract.columns[at]))
                for row, at, value in problems
            ]
        )
    types = contract.column_types
    return ScoringRequest(dialect, result, n_rows, method, types, level, azure)


def _media_type(content_type: str | None) -> tuple[str, str]:
    """Return what a header names: the media type, and the charset, empty if there is none."""
    parts = [part.strip() for part in (content_type or "").split(";")]
    media_type = parts[0].lower()
    if media_type != JSON and media_type not in TEXTS:
        found = f"is {shown(content_type)}" if content_type else "is missing"
        raise PayloadError(
            f"the content type {found}, expected {' or '.join([JSON, *TEXTS])}",
            hint="Send the header Content-Type: application/json.",
            status=415,
        )
    charset = ""
    for part in parts[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    known = ("utf-8", "utf8") if media_type == JSON else (*CHARSETS,)
    if charset and charset not in known:
        raise PayloadError(
            f"the body's charset is {shown(charset)}, expected utf-8",
            hint="Encode the body as UTF-8.",
            status=415,
        )
    return media_type, charset


def _table(body: bytes, charset: str) -> str:
    """Return a body of CSV, in the charset that it says, else as a file is read."""
    body = bytes(body)
    codec = CHARSETS[charset] if charset else codec_of(body)
    try:
        if codec is not None:
            return body.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise PayloadError(
            f"the body is not {charset or codec}: byte {error.start} does not fit",
            hint="Encode the body as UTF-8.",
        ) from None
    return _text(body)


def _text(body: bytes) -> str:
    try:
        return bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PayloadError(
            f"the body is not UTF-8: byte {error.start} does not fit",
            hint="Encode the body as UTF-8.",
        ) from None


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # What Python's json reads and orjson refuses: NaN, Infinity, 1e400, a BOM.
        text = _text(body)
    if not text.strip():
        raise PayloadError("the body is empty", hint="Send a JSON object with the rows to score.")
    try:
        document = json.loads(text)
        if LONE_SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise PayloadError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="Check the body with a JSON validator.",
        ) from None
    except RecursionError:
        raise PayloadError("the body is nested too deeply", hint="Send rows of scalars.") from None
    except UnicodeEncodeError:
        raise PayloadError(
            "the body holds text that is not valid Unicode", hint="Send text as UTF-8."
        ) from None
    except ValueError:
        raise PayloadError(
            "the body holds an integer with too many digits", hint="Send integers of 64 bits."
        ) from None
    return document


def _refuse_keys(document: dict[str, Any], keys: list[str], route: Route) -> None:
    if keys:
        raise PayloadError(
            f"the body has {' and '.join(repr(key) for key in keys)}, expected one of them",
            hint="Send the rows once.",
        )
    other: Route = "invocations" if route == "score" else "score"
    strangers = [key for key in ROUTES[other] if key in document]
    if strangers:
        raise PayloadError(
            f"the body has '{strangers[0]}', which /{route} does not take",
            hint=f"POST it to /{other}. {_keys_that_would_do(route)}",
        )
    found = ", ".join(shown(key) for key in list(document)[:5]) or "nothing"
    raise PayloadError(
        f"the body has no rows under a known key; found {found}",
        hint=_keys_that_would_do(route),
    )


def _keys_that_would_do(route: Route) -> str:
    return f"Send a JSON object with one of the keys {', '.join(ROUTES[route])}."
