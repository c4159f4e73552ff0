"""JSON schemas of columns and their values.

OpenAPI 3.1 has the words to say all that a column takes, and says it: whatever fits the schema
is scored, whatever does not is refused. Swagger 2.0 and OpenAPI 3.0, which clients are
generated from, name the one type that is meant to be sent.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import asdict, replace
from typing import Any, Literal, TypeAlias

from twinml.contract._coerce import to_string
from twinml.contract._schema import Column, ColumnType, Contract, SignatureType
from twinml.contract._words import LARGEST, SMALLEST
from twinml.contract.dates import DATES, ISO, ISO_PATTERN, written
from twinml.contract.notation import NOTATION, PLAIN
from twinml.contract.text_values import BOOLEANS

__all__ = [
    "Schema",
    "Version",
    "column_schema",
    "csv_schema",
    "nullable",
    "row_schema",
    "values_schema",
]

Schema: TypeAlias = dict[str, Any]
Version: TypeAlias = Literal["2", "3", "3.1"]

MOST_LISTED = 20
FORMATS: dict[ColumnType, Schema] = {
    "long": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "text": {"type": "string"},
}
# The largest double below 2^63, so that it can be cut to an integer of 64 bits.
LARGEST_CUT = 9223372036854774784
# What else is taken, with what becomes of it.
OTHER_FORMS: dict[ColumnType, tuple[Schema, ...]] = {
    "long": (
        {
            "type": "number",
            "minimum": -LARGEST_CUT,
            "maximum": LARGEST_CUT,
            "description": "The fraction is cut off.",
        },
        {"type": "string", "pattern": r"^[+-]?[0-9]{1,18}$", "description": "An integer as text."},
        {"type": "boolean", "description": "0 or 1."},
    ),
    "double": (
        {
            "type": "string",
            "pattern": r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$",
            "description": "A number as text.",
        },
        {"type": "boolean", "description": "0 or 1."},
    ),
    "string": ({"type": ["number", "boolean"], "description": "Becomes text."},),
    "boolean": (
        {"enum": [0, 1], "description": "False or true."},
        {"enum": [*BOOLEANS, "0", "1"], "description": "The same as text."},
    ),
    "datetime": (),
    "text": ({"type": ["number", "boolean"], "description": "Becomes text."},),
}
# The same in CSV, where an empty cell is null.
CELLS: dict[SignatureType, str] = {
    "long": "[+-]?[0-9]{1,18}",
    "double": "([+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?)?",
    "string": r'([^",\r\n]*|"([^"]|"")*")',
    "boolean": f"({'|'.join(BOOLEANS)}|0|1)",
}


def column_schema(column: Column, version: Version) -> Schema:
    """Describe a column. What training showed is told, not enforced: other values score too."""
    schema: Schema = dict(FORMATS[column.type])
    remarks = [column.description] if column.description else []
    if column.categories:
        listed = ", ".join(column.categories[:MOST_LISTED])
        more = len(column.categories) - MOST_LISTED
        remarks.append(
            f"Known values: {listed}{f' and {more} more' if more > 0 else ''}; "
            "any other text is an unknown category."
        )
        schema["x-known-values"] = list(column.categories)
    if column.type == "text":
        remarks.append("Free text.")
    if column.dates is not None:
        # Of times without a zone RFC 3339, which date-time means, knows nothing.
        schema["format"] = "date-time" if column.dates.time else "date"
        remarks.append("ISO 8601; without a zone, UTC.")
        if column.dates.form != ISO:
            remarks.append(f"Also {column.dates}.")
        schema[DATES] = asdict(column.dates)
        if column.minimum is not None and column.maximum is not None:
            first, last = (written(end, column.dates) for end in (column.minimum, column.maximum))
            remarks.append(f"Training rows: {first} to {last}.")
    elif column.minimum is not None and column.maximum is not None:
        remarks.append(f"Training rows: {column.minimum} to {column.maximum}.")
        schema["x-training-minimum"] = column.minimum
        schema["x-training-maximum"] = column.maximum
    if column.notation != PLAIN:
        remarks.append(f"As text, numbers may have {column.notation}.")
        schema[NOTATION] = column.notation.to_dict()
    if remarks:
        schema["description"] = " ".join(remarks)
    if version != "3.1":
        return nullable(schema, version) if column.nullable else schema
    form: Schema = {name: schema.pop(name) for name in ("type", "format") if name in schema}
    if column.dates is not None:
        form["pattern"] = ISO_PATTERN
    if column.nullable or column.type in ("double", "string", "text"):
        form = nullable(form, version)
    if column.type == "long":
        form |= {"minimum": SMALLEST, "maximum": LARGEST}
    return {"anyOf": [form, *_other_forms(column)], **schema}


def _other_forms(column: Column) -> tuple[Schema, ...]:
    """Return what else a column takes."""
    if column.dates is not None and column.dates.form != ISO:
        means = f"A date as {column.dates}."
        return ({"type": "string", "pattern": column.dates.pattern, "description": means},)
    if column.type == "string" and column.categories is not None:
        known = frozenset(column.categories)
        values = [value for text in column.categories for value in _scalars(text, known)]
        means = "The text of a known value, written as a number or a boolean."
        return ({"enum": values, "description": means},) if values else ()
    if column.notation != PLAIN:
        means = f"A number as text, with {column.notation}."
        written: Schema = {
            "type": "string",
            "pattern": column.notation.pattern(fraction=column.mlflow_type == "double"),
            "description": means,
        }
        return (*_other_forms(replace(column, notation=PLAIN)), written)
    if column.type == "long" and column.nullable:
        fraction: Schema = {"type": "number", "description": "A fraction stays one."}
        return (fraction, *OTHER_FORMS["double"])
    return OTHER_FORMS[column.type]


def _scalars(text: str, known: frozenset[str]) -> list[Any]:
    """Return the number or boolean that means ``text`` among the known values, if there is one."""
    value: Any = BOOLEANS.get(text)
    if value is None:
        try:
            value = float(text)
        except ValueError:
            return []
        if not math.isfinite(value):
            return []
        value = int(value) if value.is_integer() else value
    try:
        return [value] if to_string(value, known) == text else []
    except ValueError:
        return []


def row_schema(contract: Contract, version: Version) -> Schema:
    """Describe a row with names."""
    return {
        "type": "object",
        "description": "One row; columns in any order, others than these are ignored.",
        "required": list(contract.column_names),
        "properties": {column.name: column_schema(column, version) for column in contract.columns},
    }


def values_schema(contract: Contract, version: Version) -> Schema:
    """Describe a row without names."""
    n_columns = len(contract.columns)
    schema: Schema = {
        "type": "array",
        "description": f"One row, in the order {', '.join(contract.column_names)}.",
        "items": {},
        "minItems": n_columns,
        "maxItems": n_columns,
    }
    if version == "3.1":
        del schema["items"]
        schema["prefixItems"] = [column_schema(column, version) for column in contract.columns]
    return schema


def csv_schema(contract: Contract, version: Version) -> Schema:
    """Describe CSV with a header; 3.1 says by a pattern what the cells may hold."""
    schema: Schema = {"type": "string"}
    if version != "3.1":
        return schema
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="").writerow(contract.column_names)
    # Escaped as ECMA-262 has it, which does not know every escape of Python's.
    header = re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", stream.getvalue())
    row = ",".join(map(_cells, contract.columns))
    if len(contract.columns) == 1:
        row = rf"(?=[^\r\n]){row}"  # an empty line is no row
    return schema | {
        "pattern": f"^{header}(\\r?\\n{row})+(\\r?\\n)?$",
        "description": "A header and rows, here with the columns in the model's order. Any other "
        "order is taken as well, and columns of other names are ignored.",
    }


def _cells(column: Column) -> str:
    """Return the pattern of a column's cells."""
    if column.type == "boolean" and column.nullable:
        return f"{CELLS['boolean']}?"
    if column.dates is not None:
        return f"({ISO_PATTERN[1:-1]})?"
    return CELLS[column.mlflow_type]


def nullable(schema: Schema, version: Version) -> Schema:
    """Return ``schema`` with null besides."""
    if version == "3.1":
        return schema | {"type": [schema["type"], "null"]}
    return schema | {"nullable" if version == "3" else "x-nullable": True}
