"""Holding what passed on the wire to Microsoft's types, with the exceptions in one table."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from azureml_emulator.account import ARM_HOST

# Sends a request to an emulator in this process.
Ask = Callable[..., TestResponse]
PROVIDER = "Microsoft.MachineLearningServices"
# Actions have bodies of their own kinds, which are no resources.
ACTIONS = {
    "cancel", "getLogs", "listKeys", "listNodes", "listSecrets", "listStorageAccountKeys",
    "listsecrets", "outboundRules", "regenerateKeys", "restart", "resyncKeys", "skus", "start",
    "startPendingUpload", "stop", "token", "trigger", "usages", "vmSizes",
}  # fmt: skip

MONITOR = "/properties/action/monitorDefinition"
# Signals have names of their own, thresholds numbers.
SIGNAL = f"{MONITOR}/signals/*"

# Who departs from the types, where, and why that is right: (what, kind, place) → reason.
DEVIATIONS = {
    ("request", "workspaces/codes/versions", "/properties/properties/hash_version"): (
        "the SDK sends the version of its content hash as a number; the types have text"
    ),
    ("request", "workspaces/onlineEndpoints", "/properties/authMode"): (
        "the SDK sends amlToken and aadToken; the types have AMLToken and AADToken"
    ),
    ("request", "workspaces/batchEndpoints", "/properties/authMode"): (
        "the SDK sends aadToken; the types have AADToken"
    ),
    (
        "request",
        "workspaces/batchEndpoints/deployments",
        "/properties/deploymentConfiguration/settings/continue_on_step_failure",
    ): "the SDK sends a boolean; the types have text",
    ("response", "workspaces/batchEndpoints/deployments", "/properties/deploymentConfiguration"): (
        "the SDK looks a deployment's name up with an api-version that knows no configurations; "
        "the emulator answers all versions alike"
    ),
    **{
        (
            "request",
            "workspaces/onlineEndpoints/deployments",
            f"/properties/dataCollector/collections/{name}/dataCollectionMode",
        ): "the SDK sends enabled; the types have Enabled"
        for name in ("model_inputs", "model_outputs")
    },
    ("response", "workspaces/onlineEndpoints/deployments", "/properties/dataCollector"): (
        "the SDK asks with an api-version that knows no collectors; the emulator answers all alike"
    ),
    ("response", "workspaces/environments", "/name"): (
        "the service's own environments have points in their names: AzureML-sklearn-1.5"
    ),
    ("request", "workspaces/jobs", "/properties/objective/goal"): (
        "the SDK sends maximize; the types have Maximize"
    ),
    # The two ends of one thing: what is sent is answered.
    **{
        (what, "workspaces/schedules", "/properties/trigger/expression"): (
            "the types want a letter, a digit or an underscore, which '* * * * *' has not"
        )
        for what in ("request", "response")
    },
    **{
        (what, "workspaces/jobs", "/properties/earlyTermination/slackFactor"): (
            "a share such as 0.1: the types know no numbers but whole ones"
        )
        for what in ("request", "response")
    },
    **{
        (what, "workspaces/schedules", f"{SIGNAL}/metricThresholds/*/threshold/value"): (
            "a share such as 0.1: the types know no numbers but whole ones"
        )
        for what in ("request", "response")
    },
    **{
        ("request", "workspaces/schedules", f"{SIGNAL}/{place}"): (
            "the SDK sends dataDrift, populationStabilityIndex and model_inputs"
        )
        for place in (
            "metricThresholds/*/metric",
            "productionData/dataContext",
            "referenceData/dataContext",
            "modelType",
        )
    },
    ("request", "workspaces/schedules", f"{MONITOR}/monitoringTarget/taskType"): (
        "the SDK sends classification; the types have Classification"
    ),
    ("request", "workspaces/schedules", "/properties/trigger/frequency"): (
        "the SDK sends week; the types have Week"
    ),
    ("request", "workspaces/schedules", "/properties/trigger/schedule/weekDays/0"): (
        "the SDK sends monday; the types have Monday"
    ),
    ("request", "workspaces/schedules", "/properties/trigger/schedule/weekDays/1"): (
        "the SDK sends friday; the types have Friday"
    ),
}


def resource_kind(path: str) -> str | None:
    """Return the type of the resource or list at a path; ``None`` for what has no type."""
    segments = path.partition(f"/{PROVIDER}/")[2].split("/")
    if segments[0].lower() != "workspaces" or segments[-1] in ACTIONS:
        return None
    return "/".join(segments[::2])


def bodies(exchange: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the bodies of one exchange: what was sent, what was answered, items one by one."""
    found: list[tuple[str, Any]] = []
    # A PATCH is a part of a body.
    if exchange["method"] == "PUT":
        found.append(("request", exchange["request"]))
    answer = exchange.get("response")
    if isinstance(answer, dict):
        items = answer["value"] if isinstance(answer.get("value"), list) else [answer]
        found += [("response", item) for item in items]
    return found


class Held:
    """What a record came to: how many bodies of each kind, and what departs from the types."""

    def __init__(self, exchanges: Iterable[dict[str, Any]], arm_types: Callable[[str], Any]):
        self.checked: Counter[str] = Counter()
        self.known: set[tuple[str, str, str]] = set()
        self.unknown: set[str] = set()
        for exchange in exchanges:
            kind = resource_kind(exchange["path"])
            if kind is not None and exchange["status"] < 300:
                self._hold(kind, exchange, arm_types(exchange["query"]["api-version"]))

    def _hold(self, kind: str, exchange: dict[str, Any], types: Any) -> None:
        full, name = f"{PROVIDER}/{kind}", exchange["path"].rpartition("/")[2]
        assert types.knows(full), f"{full} in {exchange['query']['api-version']}"
        for what, body in bodies(exchange):
            if body is None or (what == "response" and body.get("properties", 0) is None):
                continue  # a child of a job, for which the service answers without properties
            self.checked[f"{what} {kind}"] += 1
            for text in types.deviations(full, name, body, response=what == "response"):
                where = re.sub(r"/signals/[^/]+/", "/signals/*/", text.partition(": ")[0])
                place = (what, kind, re.sub(r"/\d+/", "/*/", where))
                if place in DEVIATIONS:
                    self.known.add(place)
                else:
                    self.unknown.add(f"{exchange['method']} {what} {kind}{text}")


def held(record: Path, arm_types: Callable[[str], Any]) -> Held:
    """Return what the exchanges of an emulator's record came to."""
    return Held(management(record), arm_types)


def management(record: Path) -> list[dict[str, Any]]:
    """Return the exchanges with the management plane that an emulator recorded."""
    _, *exchanges = map(json.loads, record.read_text().splitlines())
    return [one for one in exchanges if one["host"] == ARM_HOST]
