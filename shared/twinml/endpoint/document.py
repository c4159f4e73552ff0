"""The facts in an endpoint's OpenAPI document about its rows: types, classes and samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinml.contract import refuse_custom
from twinml.contract.dialects import RECORDS
from twinml.contract.notation import NOTATION, Notation
from twinml.endpoint._client import Endpoint
from twinml.errors import EndpointError, UsageError

__all__ = ["Facts", "facts_of", "samples"]


@dataclass(frozen=True)
class Facts:
    """The facts in an endpoint's OpenAPI document about its rows; empty if there are none."""

    samples: Sequence[Mapping[str, Any]] = ()
    text_columns: frozenset[str] = frozenset()
    classes: Sequence[Any] = ()
    regression: bool = False
    custom: bool = False
    """Whether the model answers as its own code does, so that answers cannot be judged."""
    types: Mapping[str, str] = field(default_factory=dict)
    """A contract's types by column."""
    notations: Mapping[str, Notation] = field(default_factory=dict)
    """How numbers of some columns may be written as text."""

    def check_judged(self, verb: str) -> None:
        """Check as ``Contract.check_judged`` does."""
        refuse_custom(self.custom, verb)


def facts_of(endpoint: Endpoint) -> Facts:
    """Return what the endpoint's OpenAPI document says; empty for somebody else's document."""
    try:
        document = endpoint.swagger()
    except EndpointError as error:
        # It answers but has no such document; with a deployment named, 404 may mean that one.
        if error.status in (404, 502) and endpoint.deployment is None:
            return Facts()
        raise
    try:
        schemas = document["components"]["schemas"]
        columns = schemas["Row"]["properties"]
        body = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
        return Facts(
            samples=body["examples"][RECORDS.name]["value"][RECORDS.key],
            text_columns=frozenset(name for name in columns if _is_text(columns[name])),
            classes=schemas.get("Label", {}).get("enum", ()),
            regression="Value" in schemas,
            custom="Answer" in schemas,
            types={name: _type(columns[name]) for name in columns},
            notations={
                name: Notation(**columns[name][NOTATION])
                for name in columns
                if NOTATION in columns[name]
            },
        )
    except (KeyError, TypeError, ValueError, StopIteration):
        return Facts()


TYPES = {"integer": "long", "number": "double", "string": "string", "boolean": "boolean"}


def _type(schema: Mapping[str, Any]) -> str:
    """Return how a column of an OpenAPI schema is read; see ``batch.read.types_of``."""
    stated = schema["type"] if type(schema["type"]) is list else [schema["type"]]
    kind = TYPES[next(each for each in stated if each != "null")]
    if not (schema.get("nullable") or "null" in stated):
        return kind
    return {"long": "double", "boolean": "nullable boolean"}.get(kind, kind)


def _is_text(schema: Mapping[str, Any]) -> bool:
    return "string" in (schema.get("type"), *(schema.get("type") or ()))


def samples(facts: Facts, n: int) -> list[Mapping[str, Any]]:
    """Return ``n`` sample rows, the same ones again when there are fewer."""
    if not facts.samples:
        raise UsageError(
            "the endpoint's OpenAPI document has no sample rows", hint="Give rows: --data FILE."
        )
    return list(itertools.islice(itertools.cycle(facts.samples), n))
