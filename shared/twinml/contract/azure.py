"""What Azure ML would refuse of a request that is scored here, or read as something else; pure.

Azure's side is a managed online endpoint that serves the MLflow model without code: Microsoft's
inference server, and its script, which reads ``input_data`` with ``pandas.read_json`` and casts
the columns. It was asked (``tests/emulator/test_azure_payloads.py``), and its statuses are those
of its front end, where a failing script is a 424.

What its parser does to the last digits of decimals is no matter of a request's form: ``twinml
compare`` tells that apart (``twinml.comparison.parsing``). Not told is an integer of more than 64
bits in a column of numbers, which it refuses: our reader of JSON makes a decimal of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from twinml.contract._method import METHOD_KEYS
from twinml.errors import Detail, PayloadError

if TYPE_CHECKING:
    from twinml.contract._schema import Column, Contract
    from twinml.contract.dialects import Dialect

__all__ = [
    "IGNORED",
    "PACKED",
    "AzureDifference",
    "of_form",
    "of_method",
    "of_values",
]

Outcome: TypeAlias = Literal["refused", "differs"]
Code: TypeAlias = Literal[
    "route", "media-type", "dialect", "form", "columns", "encoding", "params", "method", "value"
]

SIDE = "azure-no-code"
SPLIT_KEYS = frozenset({"columns", "index", "data"})
# Members of a body that name a method here and are ignored there.
IGNORED = tuple(key for key in METHOD_KEYS if key != "params")


@dataclass(frozen=True)
class AzureDifference:
    """A request that Azure's side would not answer as it is answered here.

    Attributes
    ----------
    outcome
        Whether it would be refused there, or scored as something else.
    code
        What of the request it is.
    message, hint
        In words, and what to send instead.
    detail
        The cell, where it is one.
    """

    outcome: Outcome
    code: Code
    message: str
    hint: str
    detail: Detail | None = None

    @property
    def status(self) -> int:
        """With which a strict endpoint refuses it: as Azure does, 400 where it differs."""
        if self.outcome == "differs":
            return 400
        return 404 if self.code == "route" else 424

    @property
    def header(self) -> str:
        """The value of the header ``x-twinml-azure``."""
        return f"{self.outcome}; {self.code}"

    def error(self) -> PayloadError:
        """Return the refusal of a strict endpoint."""
        what = "refuse this" if self.outcome == "refused" else "answer this otherwise"
        return PayloadError(
            f"Azure ML would {what}: {self.message}",
            hint=self.hint,
            details=[] if self.detail is None else [self.detail],
            status=self.status,
        )


SPLIT_HINT = 'Send {"input_data": {"columns": […], "data": [[…], …]}} to /score.'
PACKED = AzureDifference(
    "refused", "encoding", "its server does not unpack bodies", "Send the body as it is."
)
TEXT = AzureDifference("refused", "media-type", "its server takes JSON only", SPLIT_HINT)
ROUTE = AzureDifference("refused", "route", "its server has no route /invocations", SPLIT_HINT)
FORM = AzureDifference(
    "refused", "form", "'input_data' is no object of columns and data", SPLIT_HINT
)
NULL_METHOD = AzureDifference(
    "refused", "params", "'params' has the method null", "Leave the method out."
)


def of_form(
    contract: Contract,
    dialect: Dialect,
    route: str,
    document: Any,
    value: Any,
    *,
    usual: bool = False,
) -> AzureDifference | None:
    """Return what of a body's form Azure's side does not take; ``None`` for nothing.

    Parameters
    ----------
    document, value
        The whole body, and what stands under the dialect's key; ``None`` where it is no JSON.
    usual
        Whether the columns of a split are known to be the contract's.
    """
    if route != "score":
        return ROUTE
    if type(document) is not dict:
        return TEXT
    if SIDE not in dialect.sides:
        return _dialect(dialect.key)
    if type(value) is not dict:
        return FORM
    # Columns and data are there, or it would not have been read.
    if len(value) > 2 + ("index" in value):
        other = min(value.keys() - SPLIT_KEYS)
        return AzureDifference(
            "refused", "form", f"'input_data' has '{other[:100]}'",
            "Leave it out: columns, data and index are all that it may have.",
        )  # fmt: skip
    if not usual and (missing := {*contract.column_names}.difference(value["columns"])):
        name = min(missing)
        return AzureDifference(
            "refused", "columns", f"there is no column '{name}', letter by letter",
            f"Send it as '{name}'.", Detail(column=name, expected=name),
        )  # fmt: skip
    params = document.get("params")
    if type(params) is dict and "method" in params and params["method"] is None:
        return NULL_METHOD
    return None


@cache
def _dialect(key: str) -> AzureDifference:
    return AzureDifference(
        "refused", "dialect", f"it needs 'input_data', and finds '{key}'", SPLIT_HINT
    )


def of_method(
    document: Mapping[str, Any], asked: object, without: object
) -> AzureDifference | None:
    """Return what Azure's side ignores of what a body asks for.

    Parameters
    ----------
    asked, without
        The method as it is read here, and as it would be by ``params`` alone.
    """
    if asked == without:
        return None
    named = next(name for name in IGNORED if name in document)
    return AzureDifference(
        "differs", "method", f"it ignores '{named}' beside the rows",
        'Send {"params": {"method": "…"}}.',
    )  # fmt: skip


def of_values(column: Column, sent: Sequence[Any], taken: Sequence[Any]) -> AzureDifference | None:
    """Return the first value that Azure's side cannot cast, or casts to another one.

    Parameters
    ----------
    sent, taken
        As JSON has them, and as the model gets them here.
    """
    kind = column.mlflow_type
    if kind == "double" and not any(isinstance(value, str) for value in sent):
        return None
    for row, (value, ours) in enumerate(zip(sent, taken, strict=True)):
        if value is None:
            continue
        outcome = _cast(kind, value, ours, column.dates is not None)
        if outcome is not None:
            shown = value if isinstance(value, (bool, float)) else str(value)[:100]
            words = "cannot read" if outcome == "refused" else "reads otherwise"
            return AzureDifference(
                outcome, "value",
                f"row {row}, column '{column.name}': it {words} {shown!r}",
                f"Send '{column.name}' as a JSON {_JSON[kind]}.",
                Detail(row=row, column=column.name, value=shown, expected=f"a JSON {_JSON[kind]}"),
            )  # fmt: skip
    return None


_JSON = {"long": "integer", "double": "number", "boolean": "boolean", "string": "string"}


def _cast(kind: str, value: Any, ours: Any, date: bool) -> Outcome | None:
    """Return what comes of numpy's cast of one value, ``None`` for what is read here."""
    if kind == "string":
        return None if isinstance(value, str) or date else "differs"
    if kind == "boolean":
        return None if bool(value) == ours else "differs"
    if not isinstance(value, str):
        return None
    try:
        theirs = int(value) if kind == "long" else float(value)
    except ValueError:
        return "refused"
    return None if theirs == ours or (theirs != theirs and ours != ours) else "differs"
