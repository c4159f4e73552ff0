"""The payload dialects: every form in which rows and predictions travel, one class each.

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

A new dialect is a class here and its instance in the last lines. Parser, replies, clients,
command line and documents ask it for the rest.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from twinml.contract._coerce import kind
from twinml.contract._csv import read_csv
from twinml.contract._dialect import JSON, Columns, Dialect, Route, Row, Side
from twinml.contract._method import PLACES, Method
from twinml.contract._openapi_columns import csv_schema
from twinml.contract._openapi_shapes import Schema, Shapes
from twinml.contract._rows import from_rows, from_split
from twinml.contract._schema import Contract
from twinml.errors import PayloadError, UsageError

__all__ = [
    "DEFAULT",
    "DIALECTS",
    "PLACES",
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

DIALECTS: dict[str, Dialect] = {}
"""By name."""
ROUTES: dict[Route, dict[str, Dialect]] = {"score": {}, "invocations": {}}
"""Which key of a JSON body on which route stands for which dialect."""
TEXTS: dict[str, Dialect] = {}
"""Those that are no JSON, by media type."""


def register(dialect: Dialect) -> None:
    """Let requests come in a dialect.

    Raises
    ------
    UsageError
        There is one of its name, or one that cannot be told from it.
    """
    places: list[tuple[dict[Any, Dialect], str]] = [(DIALECTS, dialect.name)]
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


def documented() -> list[Dialect]:
    """Return the dialects of JSON in the order of the documents."""
    return sorted(
        (each for each in DIALECTS.values() if each.media_type == JSON), key=lambda each: each.rank
    )


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


def _split(rows: Sequence[Row]) -> dict[str, Any]:
    columns = _header(rows)
    return {
        "columns": columns,
        "index": list(range(len(rows))),
        "data": [[row[column] for column in columns] for row in rows],
    }


def _plain_split(value: Any, header: list[str]) -> Any:
    """Return the rows of values of a split under the contract's own header."""
    if type(value) is not dict or value.get("columns") != header:
        return None
    data, index = value.get("data"), value.get("index")
    if index is not None and (type(index) is not list or len(index) != 1):
        return None
    return data if type(data) is list and data and type(data[0]) is list else None


class _Data(Dialect):
    name = key = "data"
    summary = "Azure AutoML, first version"
    schema_name = "DataRequest"
    routes = ("score",)
    sides = frozenset({"local", "azure-automl"})
    reply_key = "result"
    reply_words = "a text that holds JSON with result"
    rank = 2

    def parameters(self, method: Method) -> dict[str, Any]:
        return {} if method == "predict" else {"method": method}

    def parameters_schema(self, shapes: Shapes) -> Schema:
        return {"method": shapes.method}

    def reply(self, predictions: list[Any], beside: Mapping[str, Any]) -> str:
        # Azure's script answers with the text of json.dumps, spaces included.
        return json.dumps(super().reply(predictions, beside))

    def reply_schema(self, predictions: Schema) -> Schema:
        return {"type": "string", "description": 'For data: JSON text, {"result": […]}.'}


class _Inputs(Dialect):
    name = "inputs"
    key = "Inputs"
    summary = "Azure AutoML"
    schema_name = "InputsRequest"
    routes = ("score",)
    sides = frozenset({"local", "azure-automl"})
    reply_key = "Results"
    reply_words = "an object with Results"
    rank = 1

    def read(self, contract: Contract, value: Any) -> Columns:
        if type(value) is not dict or "data" not in value:
            wanted = " without" if type(value) is dict else ", expected an object with"
            raise PayloadError(
                f"'Inputs' is {kind(value)}{wanted} 'data'",
                hint='Send {"Inputs": {"data": [{"column": value, …}, …]}}.',
            )
        return from_rows(contract, value["data"], "Inputs.data")

    def plain_rows(self, value: Any, header: list[str]) -> Any:
        return value.get("data") if type(value) is dict else None

    def rows(self, rows: Sequence[Row]) -> Any:
        return {"data": list(rows)}

    def parameters(self, method: Method) -> dict[str, Any]:
        return {"GlobalParameters": {"method": method}}

    def rows_schema(self, shapes: Shapes) -> Schema:
        return {"type": "object", "required": ["data"], "properties": {"data": shapes.rows}}

    def parameters_schema(self, shapes: Shapes) -> Schema:
        return {"GlobalParameters": shapes.global_parameters}


class _InputData(Dialect):
    name = key = "input_data"
    summary = "Azure managed endpoint, MLflow model"
    schema_name = "InputDataRequest"
    routes = ("score",)
    sides = frozenset({"local", "azure-no-code"})
    reply_words = "an array of predictions"
    rank = 0

    def read(self, contract: Contract, value: Any) -> Columns:
        if type(value) is dict:
            return from_split(contract, value, self.key)
        return super().read(contract, value)

    def plain_rows(self, value: Any, header: list[str]) -> Any:
        return value if type(value) is list else _plain_split(value, header)

    def rows(self, rows: Sequence[Row]) -> Any:
        return _split(rows)

    def example(self, rows: Sequence[Row], method: Method) -> Any:
        return {**self.write(rows, method), "params": self.parameters(method).get("params", {})}

    def rows_schema(self, shapes: Shapes) -> Schema:
        return shapes.any_of(shapes.split, shapes.records, shapes.arrays)

    def reply(self, predictions: list[Any], beside: Mapping[str, Any]) -> list[Any]:
        return predictions

    def read_reply(self, reply: Any) -> list[Any] | None:
        return reply if isinstance(reply, list) else None

    def reply_schema(self, predictions: Schema) -> Schema:
        return predictions


class _MLflow(Dialect):
    """Whatever MLflow's server takes, it answers alike."""

    routes: tuple[Route, ...] = ("invocations",)
    sides: frozenset[Side] = frozenset({"local", "mlflow"})


class _DataframeSplit(_MLflow):
    name = key = "dataframe_split"
    summary = "MLflow, columns and rows"
    schema_name = "DataframeSplitRequest"

    def read(self, contract: Contract, value: Any) -> Columns:
        if type(value) is dict:
            return from_split(contract, value, self.key)
        if type(value) is list:
            raise PayloadError(
                "'dataframe_split' is an array, expected an object",
                hint='Send {"columns": […], "data": [[…], …]}, or use dataframe_records.',
            )
        return super().read(contract, value)

    def plain_rows(self, value: Any, header: list[str]) -> Any:
        return _plain_split(value, header)

    def rows(self, rows: Sequence[Row]) -> Any:
        return _split(rows)

    def rows_schema(self, shapes: Shapes) -> Schema:
        return shapes.split


class _DataframeRecords(_MLflow):
    name = key = "dataframe_records"
    summary = "MLflow, records"
    schema_name = "DataframeRecordsRequest"
    only_records = True

    def rows_schema(self, shapes: Shapes) -> Schema:
        return shapes.records


class _Instances(_MLflow):
    name = key = "instances"
    summary = "MLflow, instances"
    schema_name = "InstancesRequest"
    numbers_as_text = True


class _MLflowInputs(_MLflow):
    name = "mlflow_inputs"
    key = "inputs"
    summary = "MLflow, columns"
    schema_name = "ColumnsRequest"
    numbers_as_text = True

    def rows(self, rows: Sequence[Row]) -> Any:
        return {name: [row[name] for row in rows] for name in _header(rows)}

    def rows_schema(self, shapes: Shapes) -> Schema:
        return shapes.any_of(shapes.columns, shapes.row, shapes.records, shapes.arrays)


class _Csv(_MLflow):
    name = "csv"
    key = ""
    media_type = "text/csv"
    summary = "CSV with a header; an empty cell is null"
    routes = ("score", "invocations")

    def read(self, contract: Contract, value: str) -> Columns:
        return read_csv(contract, value)

    def write(self, rows: Sequence[Row], method: Method = "predict") -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_header(rows))
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
        return text.getvalue()

    def schema(self, shapes: Shapes) -> Schema:
        return csv_schema(shapes.contract, shapes.version)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


RECORDS = _Data()
"""Rows as they are: its example in a document is where clients find sample rows."""
DEFAULT = _InputData()
"""The one in which twinml sends rows when no other is asked for."""

for _each in (
    RECORDS, _Inputs(), DEFAULT, _DataframeSplit(), _DataframeRecords(), _Instances(),
    _MLflowInputs(), _Csv(),
):  # fmt: skip
    register(_each)
