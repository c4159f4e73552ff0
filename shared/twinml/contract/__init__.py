"""The model's promise, and everything that follows from it.

One object, :class:`Contract`, says which columns a model takes, of which types, and which
classes it gives. From it come request parsing, replies, example bodies and the OpenAPI
documents::

    infer_contract(features, labels)             what training learnt about its rows
    ├── to_json / from_json                      contract.json of a model directory
    ├── signature                                the MLflow signature of the model
    ├── example                                  a request body in any dialect
    ├── parse(body) -> ScoringRequest            every dialect, one result
    ├── render(request, labels) -> bytes         the reply in the request's dialect
    └── openapi                                  OpenAPI 3.1 and 3.0, Swagger 2.0

What is peculiar to a payload dialect is in :mod:`twinml.contract.dialects` and nowhere else.
Nothing here knows HTTP servers, files or models; pandas is imported only when a frame is
asked for.
"""

from twinml.contract._ability import refuse_custom
from twinml.contract._example import example, example_csv, example_rows
from twinml.contract._infer import infer_contract
from twinml.contract._openapi import openapi
from twinml.contract._openapi_columns import column_schema
from twinml.contract._parse import parse
from twinml.contract._render import render
from twinml.contract._request import ScoringRequest, frame_of, is_masked, model_frame
from twinml.contract._schema import AnswerType, Column, Contract
from twinml.contract.dialects import Route

__all__ = [
    "AnswerType",
    "Column",
    "Contract",
    "Route",
    "ScoringRequest",
    "column_schema",
    "example",
    "example_csv",
    "example_rows",
    "frame_of",
    "infer_contract",
    "is_masked",
    "model_frame",
    "openapi",
    "parse",
    "refuse_custom",
    "render",
]
