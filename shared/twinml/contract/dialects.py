"""The payload dialects: every form in which rows and predictions travel, one object each.

::

    /score        {"data": ROWS}                                    course, Azure AutoML v1
                  {"Inputs": {"data": ROWS}, "GlobalParameters": …} Azure AutoML, later
                  {"input_data": SPLIT or ROWS, "params": …}        Azure, MLflow no-code
                  text/csv with a header
    /invocations  {"dataframe_split": SPLIT, "params": …}           MLflow
                  {"dataframe_records": ROWS, "params": …}
                  {"instances": ROWS or COLUMNS, "params": …}
                  {"inputs": ROWS or COLUMNS, "params": …}
                  text/csv with a header

    ROWS     [{"age": 41, …}, …] in any order, or [[41, …], …] in contract order
    SPLIT    {"columns": ["age", …], "data": [[41, …], …], "index": [0, …]}
    COLUMNS  {"age": [41, …], …}

A new dialect is one more object below, of a subclass where the facts do not say it. Parser,
replies, clients, command line and documents ask it for the rest.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from twinml.contract._csv import read_csv
from twinml.contract._method import METHOD_KEYS, Method
from twinml.contract._openapi_columns import csv_schema
from twinml.contract._openapi_shapes import Schema, Version, any_of, beside, forms, object_of
from twinml.contract._rows import from_columns, from_matrix, from_records, from_split
from twinml.contract._schema import Contract
from twinml.contract._words import kind
from twinml.errors import PayloadError, UsageError

__all__ = [
    "DEFAULT",
    "DIALECTS",
    "JSON",
    "METHOD_KEYS",
    "RECORDS",
    "ROUTES",
    "TEXTS",
    "Dialect",
    "Method",
    "Route",
    "Side",
    "documented",
    "opened",
    "predictions_in",
    "register",
    "written",
]

Route: TypeAlias = Literal["score", "invocations"]
# twinml's own server; Azure's for an MLflow model without code; the scoring script that Azure
# AutoML writes; MLflow's server.
Side: TypeAlias = Literal["local", "azure-no-code", "azure-automl", "mlflow"]
Form: TypeAlias = Literal["records", "arrays", "columns", "row", "split"]
Row: TypeAlias = Mapping[str, Any]

JSON = "application/json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Dialect:
    """A form of requests and replies in JSON.

    Attributes
    ----------
    name
        In code, on the command line and in the examples of documents.
    summary, schema_name
        What documents call an example of it, and the schema of its requests.
    key, inside
        Of the rows in a body, and in the object that stands there.
    takes
        Forms of rows; they are written in the first of them.
    routes
        Which of them take it; clients send it to the first.
    sides
        Which servers take it.
    method_in, says_predict
        Where the method stands, and whether ``predict`` is written too.
    example_beside
        What its example shows besides.
    reply_key, reply_is_text
        Of the predictions, which else are the reply; and whether JSON holds the reply as text.
    rank
        Documents show the dialects in this order, and those of one rank as they are registered.
    """

    name: str
    summary: str
    schema_name: str = ""
    key: str = ""
    inside: str | None = None
    takes: tuple[Form, ...] = ("records", "arrays", "columns", "row")
    routes: tuple[Route, ...] = ("invocations",)
    sides: frozenset[Side] = frozenset({"local", "mlflow"})
    method_in: str = "params"
    says_predict: bool = False
    example_beside: Mapping[str, Any] = field(default_factory=dict)
    reply_key: str | None = "predictions"
    reply_is_text: bool = False
    rank: int = 3
    media_type: str = JSON

    @cached_property
    def takes_both(self) -> bool:
        """Whether rows come as objects and as arrays alike."""
        return {"records", "arrays"} <= {*self.takes}

    def read(self, contract: Contract, value: Any) -> dict[str, list[Any]]:
        """Return the contract's columns of what stands under the key, not yet converted.

        Raises
        ------
        PayloadError
            These are not rows of the contract.
        """
        key = self.key
        if self.inside is not None:
            if type(value) is not dict or self.inside not in value:
                wanted = " without" if type(value) is dict else ", expected an object with"
                raise PayloadError(
                    f"'{key}' is {kind(value)}{wanted} '{self.inside}'",
                    hint=f'Send {{"{key}": {{"{self.inside}": [{{"column": value, …}}, …]}}}}.',
                )
            key, value = f"{key}.{self.inside}", value[self.inside]
        if type(value) is list:
            if "records" not in self.takes:
                raise PayloadError(
                    f"'{key}' is an array, expected an object",
                    hint='Send {"columns": […], "data": [[…], …]}, or use dataframe_records.',
                )
            if value and type(value[0]) is list and "arrays" in self.takes:
                return from_matrix(contract, contract.column_names, value, key)
            return from_records(contract, value, key)
        if type(value) is dict and "split" in self.takes:
            return from_split(contract, value, key)
        if type(value) is dict and "columns" in self.takes:
            return from_columns(contract, value, key)
        raise PayloadError(
            f"'{key}' is {kind(value)}, expected rows",
            hint=f'Send {{"{key}": [{{"column": value, …}}, …]}}.',
        )

    def plain_rows(self, value: Any, header: list[str]) -> Any:
        """Return the array of rows under the key, something else where :meth:`read` must look.

        Rows of a split count if its columns are ``header``, the contract's.
        """
        if self.inside is not None:
            value = value.get(self.inside) if type(value) is dict else None
        elif type(value) is dict:
            if "split" not in self.takes or value.get("columns") != header:
                return None
            rows, index = value.get("data"), value.get("index")
            if index is not None and (type(index) is not list or len(index) != 1):
                return None
            return rows if type(rows) is list and rows and type(rows[0]) is list else None
        if self.takes_both:
            return value
        named = type(value) is list and value and type(value[0]) is not list
        return value if named and "records" in self.takes else None

    def write(self, rows: Sequence[Row], method: Method) -> Any:
        """Return a request of at least one row as JSON values, or as text if it is no JSON.

        Raises
        ------
        UsageError
            The rows have different columns, and the form needs the same in all.
        """
        held: Any = list(rows)
        if self.takes[0] == "columns":
            held = {name: [row[name] for row in rows] for name in _header(rows)}
        elif self.takes[0] == "split":
            columns = _header(rows)
            data = [[row[column] for column in columns] for row in rows]
            held = {"columns": columns, "index": list(range(len(rows))), "data": data}
        body = {self.key: held if self.inside is None else {self.inside: held}}
        if method != "predict" or self.says_predict:
            body[self.method_in] = method if self.method_in == "method" else {"method": method}
        return body

    def example(self, rows: Sequence[Row], method: Method) -> Any:
        """Return a request as documents show it."""
        body = self.write(rows, method)
        return body | {key: value for key, value in self.example_beside.items() if key not in body}

    def reply(self, predictions: list[Any], more: Mapping[str, Any]) -> Any:
        """Return the reply as JSON values; ``more`` stands beside where there is room."""
        if self.reply_key is None:
            return predictions
        shape = {self.reply_key: predictions, **more}
        # Azure's script answers with the text of json.dumps, spaces included.
        return json.dumps(shape) if self.reply_is_text else shape

    def read_reply(self, reply: Any) -> list[Any] | None:
        """Return the predictions of an opened reply, ``None`` when it has another form."""
        if self.reply_key is not None:
            reply = reply.get(self.reply_key) if isinstance(reply, dict) else None
        return reply if isinstance(reply, list) else None

    def schema(self, contract: Contract, version: Version) -> Schema:
        """Return the properties of a request's schema; of a form that is no JSON, its schema."""
        rows = any_of([forms(version)[form] for form in self.takes], version)
        rows = rows if self.inside is None else object_of(self.inside, rows)
        return {self.key: rows, self.method_in: beside(contract, version)[self.method_in]}

    def reply_schema(self, predictions: Schema) -> Schema:
        """Return the schema of replies around that of ``predictions``."""
        if self.reply_key is None:
            return predictions
        if self.reply_is_text:
            words = f'For {self.key}: JSON text, {{"{self.reply_key}": […]}}.'
            return {"type": "string", "description": words}
        return object_of(self.reply_key, predictions)

    def reply_words(self) -> str:
        """Return the same in words, for Swagger 2.0 has no alternatives."""
        if self.reply_key is None:
            return "an array of predictions"
        what = "a text that holds JSON" if self.reply_is_text else "an object"
        return f"{what} with {self.reply_key}"


class Csv(Dialect):
    """Rows as CSV with a header; null is empty."""

    def read(self, contract: Contract, value: str) -> dict[str, list[Any]]:
        """Return the contract's columns of a text."""
        return read_csv(contract, value)

    def write(self, rows: Sequence[Row], method: Method) -> str:
        """Return the text; it has no place for a method."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_header(rows))
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
        return text.getvalue()

    def example(self, rows: Sequence[Row], method: Method) -> str:
        """Return the text."""
        return self.write(rows, method)

    def schema(self, contract: Contract, version: Version) -> Schema:
        """Return the schema of the text."""
        return csv_schema(contract, version)


def _header(rows: Sequence[Row]) -> list[str]:
    """Return the columns that all rows have."""
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            odd = sorted(row.keys() ^ rows[0].keys())
            raise UsageError(
                f"row {number} has other columns than row 0: {', '.join(odd)}",
                hint="Give every row the same columns; null stands for a missing value.",
            )
    return list(rows[0])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


DIALECTS: dict[str, Dialect] = {}
"""By name."""
ROUTES: dict[Route, dict[str, Dialect]] = {"score": {}, "invocations": {}}
"""Which key of a JSON body on which route stands for which dialect."""
TEXTS: dict[str, Dialect] = {}
"""Those that are no JSON, by media type."""


def register(dialect: Dialect) -> Dialect:
    """Let requests come in a dialect, and return it.

    Raises
    ------
    UsageError
        There is one of its name, or one that cannot be told from it.
    """
    places: list[tuple[dict[str, Dialect], str]] = [(DIALECTS, dialect.name)]
    if dialect.media_type == JSON:
        places += [(ROUTES[route], dialect.key) for route in dialect.routes]
    else:
        places.append((TEXTS, dialect.media_type))
    for known, word in places:
        if word in known:
            raise UsageError(
                f"'{word}' is taken by the dialect {known[word].name}",
                hint="Give every dialect a name and a key of its own.",
            )
    for known, word in places:
        known[word] = dialect
    return dialect


def documented() -> list[Dialect]:
    """Return the dialects of JSON in the order of the documents."""
    return sorted((DIALECTS[name] for name in written()), key=lambda each: each.rank)


def written(side: Side | None = None) -> tuple[str, ...]:
    """Return the names of those that clients write, or of those that one side takes."""
    return tuple(
        name
        for name, each in DIALECTS.items()
        if each.media_type == JSON and (side is None or side in each.sides)
    )


def opened(reply: Any) -> Any:
    """Return what a decoded reply holds: text stands for the JSON in it, as in Azure's first.

    Raises
    ------
    ValueError
        It is text, but no JSON.
    """
    return json.loads(reply) if isinstance(reply, str) else reply


def predictions_in(reply: Any) -> list[Any] | None:
    """Return the predictions of an opened reply in any dialect, ``None`` if it is in none."""
    read = (each.read_reply(reply) for each in DIALECTS.values())
    return next((found for found in read if found is not None), None)


RECORDS = register(Dialect(
    name="data", key="data", routes=("score",), sides=frozenset({"local", "azure-automl"}),
    method_in="method", reply_key="result", reply_is_text=True, rank=2,
    summary="Azure AutoML, first version", schema_name="DataRequest",
))  # fmt: skip
"""Rows as they are: its example in a document is where clients find sample rows."""
register(Dialect(
    name="inputs", key="Inputs", inside="data", routes=("score",),
    sides=frozenset({"local", "azure-automl"}),
    method_in="GlobalParameters", says_predict=True, reply_key="Results", rank=1,
    summary="Azure AutoML", schema_name="InputsRequest",
))  # fmt: skip
DEFAULT = register(Dialect(
    name="input_data", key="input_data", takes=("split", "records", "arrays"), routes=("score",),
    sides=frozenset({"local", "azure-no-code"}), reply_key=None, rank=0,
    summary="Azure managed endpoint, MLflow model", schema_name="InputDataRequest",
    example_beside={"params": {}},
))  # fmt: skip
"""The one in which twinml sends rows when no other is asked for."""
register(Dialect(
    name="dataframe_split", key="dataframe_split", takes=("split",),
    summary="MLflow, columns and rows", schema_name="DataframeSplitRequest",
))  # fmt: skip
register(Dialect(
    name="dataframe_records", key="dataframe_records", takes=("records",),
    summary="MLflow, records", schema_name="DataframeRecordsRequest",
))  # fmt: skip
register(Dialect(
    name="instances", key="instances",
    summary="MLflow, instances", schema_name="InstancesRequest",
))  # fmt: skip
register(Dialect(
    name="mlflow_inputs", key="inputs", takes=("columns", "row", "records", "arrays"),
    summary="MLflow, columns", schema_name="ColumnsRequest",
))  # fmt: skip
register(Csv(
    name="csv", media_type="text/csv", routes=("score", "invocations"),
    summary="CSV with a header; an empty cell is null",
))  # fmt: skip
