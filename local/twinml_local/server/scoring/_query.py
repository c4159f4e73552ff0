"""``GET /score``: query arguments as a request body.

As in Azure ML's server each argument's value is JSON if it can be read as such and text if
not, and together they are the body's object::

    /score?input_data={"columns":["age"],"data":[[41]]}

Arguments that are columns are one row, so that an endpoint can be tried in an address bar::

    /score?age=41&job=retired
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from twinml.contract import Contract
from twinml.contract.dialects import DEFAULT, METHOD_KEYS, ROUTES
from twinml.errors import PayloadError

__all__ = ["body_from_query"]


def body_from_query(contract: Contract, arguments: Iterable[tuple[str, str]]) -> bytes:
    """Return the JSON body that the query arguments stand for.

    Parameters
    ----------
    contract
        Of the model that is to score: text columns are left as they are written.
    arguments
        Names and values; a name that comes several times is an array.

    Raises
    ------
    PayloadError
        A value is nested too deeply.

    Examples
    --------
    >>> from twinml.contract import Column
    >>> contract = Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2,
    ...     columns=(Column("age", "long", False), Column("job", "string", False)), samples=(),
    ... )
    >>> body_from_query(contract, [("age", "41"), ("job", "007")])
    b'{"input_data": [{"age": 41, "job": "007"}]}'
    """
    types = {column.name: column.mlflow_type for column in contract.columns}
    collected: dict[str, list[Any]] = {}
    pairs = list(arguments)
    one_row = not any(name in ROUTES["score"] and name not in types for name, _ in pairs)
    for name, text in pairs:
        as_text = one_row and types.get(name) == "string"
        collected.setdefault(name, []).append(text if as_text else _value(text))
    whole = {name: values[0] if len(values) == 1 else values for name, values in collected.items()}
    if one_row and any(name in types for name in whole):
        beside = {name: whole[name] for name in METHOD_KEYS if name in whole and name not in types}
        row = {name: value for name, value in whole.items() if name not in beside}
        whole = {DEFAULT.key: [row], **beside}
    try:
        return json.dumps(whole).encode()
    except RecursionError:
        # What can just be read may nest too deeply to be written.
        raise PayloadError("the query is nested too deeply", hint="Send scalars.") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
