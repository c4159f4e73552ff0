"""The three ways in which a client says "start a job", read into one.

==========================  =====================================================  ========
who                         body                                                   reply
==========================  =====================================================  ========
twinml                      ``{"inputs": {"x": 3}}`` or nothing                     201, job
Azure batch endpoints       ``{"properties": {"InputData": {"x": {                  201, job
                            "JobInputType": "Literal", "Value": "3"}, "d": {
                            "JobInputType": "UriFile", "Uri": "…"}}}}``
Azure published pipelines   ``{"ExperimentName": "e", "ParameterAssignments":       200,
                            {"x": 3}}``, the parameters being optional             ``Id``
==========================  =====================================================  ========
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from twinml.errors import Detail, PayloadError

__all__ = ["Submission", "read_submission"]

# What the clients of each form send besides, and what has no meaning on this machine.
FORMS = {
    "inputs": {"inputs"},
    "properties": {"properties", "tags", "name"},
    "ExperimentName": {
        "Description",
        "DisplayName",
        "ExperimentName",
        "ParameterAssignments",
        "RunSource",
        "Tags",
    },
}
# Azure's REST reference writes InputData, its SDK sends inputData: both are read.
PROPERTIES = {
    "Description",
    "DisplayName",
    "ExperimentName",
    "InputData",
    "OutputData",
    "Properties",
    "Settings",
    "Tags",
}
# What an input may be, by how Azure calls it; a path has a URI.
KINDS = {
    "literal": None,
    "urifile": "uri_file",
    "urifolder": "uri_folder",
    "mltable": "mltable",
    "mlflowmodel": "mlflow_model",
    "custommodel": "custom_model",
}


@dataclass(frozen=True)
class Submission:
    """The inputs of a job to be, not yet checked, and the form that they came in."""

    form: Literal["inputs", "properties", "ExperimentName"]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    experiment: str | None = None


def read_submission(body: bytes, *, content_type: str | None) -> Submission:
    """Read the body of ``POST …/jobs``.

    Raises
    ------
    PayloadError
        It is not JSON of one of the three forms; status 415 if it says to be something else.

    Examples
    --------
    >>> read_submission(b'{"inputs": {"x": 3}}', content_type="application/json").inputs
    {'x': 3}
    """
    if not body.strip():
        return Submission("inputs")
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise PayloadError(
            f"found content type '{kind[:80]}', expected application/json",
            hint="Send JSON with the header Content-Type: application/json.",
            status=415,
        )
    content = _decode(body)
    for form in FORMS:
        if form in content:
            break
    else:
        form = "inputs"
    _check_keys(content, FORMS[form])
    if form == "properties":
        return _read_properties(_object(content, "properties"))
    if form == "ExperimentName":
        experiment = _experiment(content["ExperimentName"])
        return Submission("ExperimentName", _object(content, "ParameterAssignments"), experiment)
    return Submission("inputs", _object(content, "inputs"))


def _read_properties(given: Mapping[str, Any]) -> Submission:
    properties = _pascal(given)
    _check_keys(properties, PROPERTIES)
    inputs = {}
    for name, item in _object(properties, "InputData").items():
        inputs[name] = _read_input(name, item)
    if _object(properties, "OutputData"):
        raise PayloadError(
            "properties.OutputData is not supported on this machine",
            hint="Outputs stay in the job's folder: GET …/jobs/ID/outputs/NAME.",
        )
    experiment = properties.get("ExperimentName")
    return Submission("properties", inputs, None if experiment is None else _experiment(experiment))


def _read_input(name: str, item: Any) -> Any:
    place = f"properties.InputData.{name}"
    content = _pascal(item) if isinstance(item, Mapping) else {}
    kind = str(content.get("JobInputType", "")).replace("_", "").lower()
    key = "Value" if kind == "literal" else "Uri"
    if kind not in KINDS or key not in content:
        expected = (
            'an object such as {"JobInputType": "Literal", "Value": "3"} or '
            '{"JobInputType": "UriFile", "Uri": "azureml:bank:1"}'
        )
        raise _wrong(place, item, expected)
    if kind == "literal":
        return content["Value"]
    return {"type": KINDS[kind], "path": content["Uri"]}


def _pascal(content: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{key[:1].upper()}{key[1:]}": value for key, value in content.items()}


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError's text shows bytes of the body; that of JSON says line and column.
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise PayloadError(f"the body is not JSON{where}", hint=HINT) from error
    if not isinstance(content, Mapping):
        raise _wrong("the body", content, "a JSON object")
    return content


HINT = 'Send {"inputs": {"name": value}}.'


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _experiment(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 256:
        raise _wrong("ExperimentName", value, "printable text of 1 to 256 characters")
    return value


def _object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise _wrong(key, value, "an object")
    return value


def _check_keys(content: Mapping[str, Any], known: set[str]) -> None:
    for key in content:
        if key not in known:
            raise PayloadError(
                f"there is no key '{_short(key)}' in this kind of request",
                hint=f"Known: {', '.join(sorted(known))}.",
                details=[Detail(column=_short(key), expected=f"one of: {', '.join(known)}")],
            )


def _wrong(place: str, value: Any, expected: str) -> PayloadError:
    shown = _short(value if isinstance(value, str) else json.dumps(value))
    return PayloadError(
        f"{_short(place)}: found {shown}, expected {expected}",
        hint=HINT,
        details=[Detail(column=_short(place), value=shown, expected=expected)],
    )


def _short(text: str) -> str:
    return text[:80].encode(errors="replace").decode()
