"""The body of an invocation read, and the job that it asks for: values in, values out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs.parallel import scoring_command

__all__ = [
    "Invocation",
    "file_of",
    "job_of_component",
    "job_of_model",
    "read_invocation",
    "script_command",
    "script_of",
]

TYPES = {
    "urifile": "uri_file", "urifolder": "uri_folder", "mltable": "mltable",
    "literal": "literal", "custommodel": "custom_model", "mlflowmodel": "mlflow_model",
    "tritonmodel": "triton_model",
}  # fmt: skip


@dataclass(frozen=True)
class Invocation:
    """What a client wants: inputs and outputs in the shape that jobs have them."""

    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    experiment: str | None
    tags: Mapping[str, str] = field(default_factory=dict)


def read_invocation(properties: Mapping[str, Any]) -> Invocation:
    """Return what the properties of an invocation ask for, whichever case their names have.

    Raises
    ------
    ArmError
        An input is of no known type, or has no value.

    Examples
    --------
    >>> body = {"InputData": {"x": {"JobInputType": "UriFile", "Uri": "azureml:d:1"}}}
    >>> read_invocation(body).inputs
    {'x': {'jobInputType': 'uri_file', 'uri': 'azureml:d:1'}}
    """
    plain = _lowered(properties)
    inputs = {
        str(name): _bound(str(name), item, "jobInputType")
        for name, item in (plain.get("inputData") or {}).items()
    }
    outputs = {
        str(name): _bound(str(name), item, "jobOutputType")
        for name, item in (plain.get("outputData") or {}).items()
    }
    more = _lowered(plain.get("properties") or {})
    tags = {str(name): str(value) for name, value in (plain.get("tags") or {}).items()}
    return Invocation(inputs, outputs, more.get("experimentName") or None, tags)


def job_of_component(
    spec: Mapping[str, Any], deployment: Mapping[str, Any], invocation: Invocation
) -> dict[str, Any]:
    """Return the pipeline job of a deployed pipeline component.

    Raises
    ------
    ArmError
        An input that the component needs is missing, or one that it does not know was sent.
    """
    declared = spec.get("inputs") or {}
    unknown = sorted(set(invocation.inputs) - set(declared))
    if unknown:
        raise ArmError(
            400, "BadArgument", f"The pipeline has no input '{unknown[0]}': {_listed(declared)}."
        )
    inputs: dict[str, Any] = {}
    for name, declaration in declared.items():
        if name in invocation.inputs:
            inputs[name] = dict(invocation.inputs[name])
        elif declaration.get("default") is not None:
            inputs[name] = {"jobInputType": "literal", "value": str(declaration["default"])}
        elif not declaration.get("optional"):
            raise ArmError(400, "BadArgument", f"The input '{name}' of the pipeline is missing.")
    outputs = {
        name: {"jobOutputType": declaration.get("type", "uri_folder")}
        for name, declaration in (spec.get("outputs") or {}).items()
    }
    configuration = deployment.get("deploymentConfiguration") or {}
    settings = {
        name: value
        for name, value in (configuration.get("settings") or {}).items()
        if value not in (None, "")
    }
    return {
        "jobType": "Pipeline",
        "displayName": str(spec.get("display_name") or spec.get("name") or "pipeline"),
        "jobs": dict(spec.get("jobs") or {}),
        "inputs": inputs,
        "outputs": {**outputs, **{name: dict(item) for name, item in invocation.outputs.items()}},
        "settings": settings,
    }


def job_of_model(
    component: str,
    model: str,
    kind: str,
    deployment: Mapping[str, Any],
    invocation: Invocation,
) -> dict[str, Any]:
    """Return the pipeline job of a deployed model of a ``kind``: one step that scores one input.

    Raises
    ------
    ArmError
        There is not one input.
    """
    if len(invocation.inputs) != 1:
        raise ArmError(
            400,
            "BadArgument",
            f"A model deployment scores one input; found {len(invocation.inputs)}: "
            f"{_listed(invocation.inputs)}.",
        )
    (data,) = invocation.inputs.values()
    score = {"jobOutputType": "uri_folder"}
    for item in invocation.outputs.values():
        score = {**score, **item}
    step = {
        "name": "batchscoring",
        "type": "command",
        "componentId": component,
        "inputs": {
            "model": {"job_input_type": "literal", "value": "${{parent.inputs.model}}"},
            "data": {"job_input_type": "literal", "value": "${{parent.inputs.data}}"},
        },
        "outputs": {"score": {"type": "literal", "value": "${{parent.outputs.score}}"}},
    }
    compute = deployment.get("compute")
    return {
        "jobType": "Pipeline",
        "displayName": "batchscoring",
        "jobs": {"batchscoring": step},
        "inputs": {
            "model": {"jobInputType": kind, "uri": model},
            "data": dict(data),
        },
        "outputs": {"score": score},
        "settings": {"default_compute": compute} if compute else {},
    }


def script_of(deployment: Mapping[str, Any]) -> str:
    """Return the name of a deployment's own scoring script, or nothing."""
    configuration = deployment.get("codeConfiguration") or {}
    return str(configuration.get("scoringScript") or "")


def file_of(deployment: Mapping[str, Any]) -> str:
    """Return the name of the file of predictions."""
    return Path(str(deployment.get("outputFileName") or "predictions.csv")).name


def script_command(deployment: Mapping[str, Any], model_name: str) -> str:
    """Return the command that scores with a deployment's own script.

    With the output action ``SummaryOnly`` the rows that it returns are counted, not kept.
    """
    rows = str(deployment.get("outputAction") or "").lower() != "summaryonly"
    retry = deployment.get("retrySettings") or {}
    return scoring_command(
        script_of(deployment),
        data="${{inputs.data}}",
        append=f"${{{{outputs.score}}}}/{shlex.quote(file_of(deployment))}" if rows else None,
        more="--model ${{inputs.model}} --output ${{outputs.score}} --model-name "
        + shlex.quote(model_name),
        size=int(deployment.get("miniBatchSize") or 10),
        retries=int(retry.get("maxRetries", 3)),
        most_errors=int(deployment.get("errorThreshold", -1)),
    )


def _bound(name: str, item: Any, kind: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise ArmError(400, "BadArgument", f"'{name}' is not an object with {kind}.")
    plain = _lowered(item)
    word = str(plain.get(kind) or "")
    known = word if word in TYPES.values() else TYPES.get(word.lower())
    if known is None:
        words = ", ".join(sorted(TYPES.values()))
        raise ArmError(
            400, "BadArgument", f"The {kind} of '{name}' is '{word}', not one of {words}."
        )
    if known == "literal":
        if plain.get("value") is None:
            raise ArmError(400, "BadArgument", f"The literal '{name}' has no value.")
        return {kind: known, "value": str(plain["value"])}
    bound = {kind: known}
    if plain.get("uri"):
        bound["uri"] = str(plain["uri"])
    elif kind == "jobInputType":
        raise ArmError(400, "BadArgument", f"The input '{name}' has no uri.")
    return bound


def _lowered(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose names begin with a small letter: older clients write them large."""
    return {f"{name[:1].lower()}{name[1:]}": value for name, value in item.items()}


def _listed(names: Mapping[str, Any]) -> str:
    return f"it has {', '.join(sorted(names))}" if names else "it has none"
