"""What a payload dialect is: one form of requests and replies as one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from twinml.contract._method import Method
from twinml.contract._openapi_shapes import Schema, Shapes, object_of
from twinml.contract._rows import from_rows
from twinml.contract._schema import Contract

__all__ = ["JSON", "Columns", "Dialect", "Route", "Row", "Side"]

Route: TypeAlias = Literal["score", "invocations"]
# twinml's own server; Azure's for an MLflow model without code; the scoring script that Azure
# AutoML writes; MLflow's server.
Side: TypeAlias = Literal["local", "azure-no-code", "azure-automl", "mlflow"]
Row: TypeAlias = Mapping[str, Any]
Columns: TypeAlias = dict[str, list[Any]]

JSON = "application/json"


class Dialect:
    """The most common form; a dialect overrides what it does otherwise.

    A request is a JSON object with rows under ``key`` and ``params`` beside them, the reply an
    object with the predictions under ``reply_key``.

    Attributes
    ----------
    name
        In code, on the command line and in the examples of documents.
    summary, schema_name
        What documents call an example of it, and the schema of its requests.
    key
        Of the rows in a body. ``""`` for a form that is no JSON: ``media_type`` tells it.
    routes
        Which of them take it; clients send it to the first.
    sides
        Which servers take it.
    reply_key, reply_words
        Of the predictions in a reply, and how Swagger 2.0, which has no alternatives, tells it.
    only_records
        Rows come as objects, not as arrays of values nor as columns.
    numbers_as_text
        MLflow makes text of numbers that are sent for a text column.
    rank
        Documents show the dialects in this order, and those of one rank as they are registered.
    """

    name: str
    summary: str
    schema_name: str
    key: str
    routes: tuple[Route, ...]
    sides: frozenset[Side]
    media_type = JSON
    reply_key = "predictions"
    reply_words = "an object with predictions"
    only_records = False
    numbers_as_text = False
    rank = 3

    def read(self, contract: Contract, value: Any) -> Columns:
        """Return the contract's columns of what stands under the key, not yet converted.

        Raises
        ------
        PayloadError
            These are not rows of the contract.
        """
        return from_rows(contract, value, self.key, only_records=self.only_records)

    def plain_rows(self, value: Any, header: list[str]) -> Any:
        """Return the array of rows that stands under the key, if it is one for certain.

        What is no array is left to :meth:`read`. ``header`` is the contract's; rows under
        another are left too.
        """
        return value

    def write(self, rows: Sequence[Row], method: Method) -> Any:
        """Return a request of at least one row as JSON values, or as text if it is no JSON.

        Raises
        ------
        UsageError
            The rows have different columns, and the form needs the same in all.
        """
        return {self.key: self.rows(rows), **self.parameters(method)}

    def rows(self, rows: Sequence[Row]) -> Any:
        """Return what stands under the key for ``rows``."""
        return list(rows)

    def parameters(self, method: Method) -> dict[str, Any]:
        """Return what stands beside the rows to ask for ``method``."""
        return {} if method == "predict" else {"params": {"method": method}}

    def example(self, rows: Sequence[Row], method: Method) -> Any:
        """Return a request as documents show it."""
        return self.write(rows, method)

    def reply(self, predictions: list[Any], beside: Mapping[str, Any]) -> Any:
        """Return the reply as JSON values; ``beside`` are members for a reply that has room."""
        return {self.reply_key: predictions, **beside}

    def read_reply(self, reply: Any) -> list[Any] | None:
        """Return the predictions of an opened reply, ``None`` when it has another form."""
        found = reply.get(self.reply_key) if isinstance(reply, dict) else None
        return found if isinstance(found, list) else None

    def schema(self, shapes: Shapes) -> Schema:
        """Return the properties of a request's schema; of a form that is no JSON, its schema."""
        return {self.key: self.rows_schema(shapes), **self.parameters_schema(shapes)}

    def rows_schema(self, shapes: Shapes) -> Schema:
        """Return the schema of what stands under the key."""
        return shapes.rows

    def parameters_schema(self, shapes: Shapes) -> Schema:
        """Return the schema of what stands beside the rows, by name."""
        return {"params": shapes.parameters}

    def reply_schema(self, predictions: Schema) -> Schema:
        """Return the schema of replies around that of ``predictions``."""
        return object_of(self.reply_key, predictions)
