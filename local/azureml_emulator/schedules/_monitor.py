"""A monitor as the pipeline job that it is: a step for each signal, over windows of time. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError

__all__ = ["MEASURED", "monitor_job", "window"]

# The signals that are measured, and Microsoft's components for them.
MEASURED = {
    "DataDrift": "data_drift_signal_monitor",
    "DataQuality": "data_quality_signal_monitor",
    "PredictionDrift": "prediction_drift_signal_monitor",
}
_TRAILING, _STATIC = "Trailing", "Static"


def monitor_job(
    name: str, definition: Mapping[str, Any], moment: datetime, properties: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the job of a monitor for one moment.

    Parameters
    ----------
    name
        The schedule's.
    definition
        The ``monitorDefinition`` of its action.
    moment
        When it is run; windows of production data end there.
    properties
        What the job is marked with.

    Raises
    ------
    ArmError
        A signal is of a kind that is not measured here, or has no data.
    """
    inputs: dict[str, Any] = {}
    jobs: dict[str, Any] = {}
    for signal, asked in definition["signals"].items():
        kind = asked["signalType"]
        if kind not in MEASURED:
            raise ArmError(
                400,
                "NotImplementedByEmulator",
                f"The signal '{signal}' is of type '{kind}'; the emulator measures "
                f"{', '.join(MEASURED)}.",
            )
        bound: dict[str, Any] = {}
        windows: dict[str, Any] = {}
        for role in ("production", "reference"):
            data = asked.get(f"{role}Data")
            if not data or not data.get("uri"):
                raise ArmError(400, "ValidationError", f"The signal '{signal}' has no {role} data.")
            place = f"{signal}_{role}"
            inputs[place] = {"jobInputType": data["jobInputType"], "uri": data["uri"]}
            bound[role] = _literal(f"${{{{parent.inputs.{place}}}}}")
            windows[role] = window(data, moment)
        spec = {
            "signal": kind,
            "windows": windows,
            "columns": {
                role: (asked[f"{role}Data"].get("columns") or {})
                for role in ("production", "reference")
            },
            "features": _features(asked.get("features")),
            "overrides": asked.get("featureDataTypeOverride") or {},
            "thresholds": [
                {
                    "type": each["dataType"],
                    "metric": each["metric"],
                    "value": (each.get("threshold") or {}).get("value"),
                }
                for each in asked["metricThresholds"]
            ],
        }
        jobs[signal] = {
            "type": "command",
            "componentId": f"azureml://registries/azureml/components/{MEASURED[kind]}/versions/1",
            "inputs": {**bound, "signal": _literal(json.dumps(spec))},
        }
    return {
        "jobType": "Pipeline",
        "displayName": name,
        "experimentName": name,
        "inputs": inputs,
        "jobs": jobs,
        "settings": {"continue_on_step_failure": True, "force_rerun": True},
        "properties": dict(properties),
    }


def window(data: Mapping[str, Any], moment: datetime) -> list[str] | None:
    """Return the begin and the end of the rows that are meant, ``None`` if all of them are.

    Examples
    --------
    >>> from datetime import UTC
    >>> noon = datetime(2026, 7, 9, 12, tzinfo=UTC)
    >>> window({"inputDataType": "Trailing", "windowSize": "P7D", "windowOffset": "P1D"}, noon)
    ['2026-07-01T12:00:00+00:00', '2026-07-08T12:00:00+00:00']
    >>> window({"inputDataType": "Fixed"}, noon) is None
    True
    """
    kind = data.get("inputDataType")
    if kind == _TRAILING:
        end = moment - timedelta(seconds=seconds(data.get("windowOffset"), 0.0))
        return [
            (end - timedelta(seconds=seconds(data["windowSize"], 0.0))).isoformat(),
            end.isoformat(),
        ]
    if kind == _STATIC:
        return [str(data["windowStart"]), str(data["windowEnd"])]
    return None


def _literal(value: str) -> dict[str, str]:
    return {"job_input_type": "literal", "value": value}


def _features(asked: Mapping[str, Any] | None) -> list[str] | None:
    """Return the names of the features that are meant; ``None`` for all of them."""
    if asked and asked.get("filterType") == "FeatureSubset":
        return [str(name) for name in asked["features"]]
    return None
