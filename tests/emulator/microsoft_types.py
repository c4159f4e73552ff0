"""Making the table of ``azureml_emulator.arm.contract`` from Microsoft's types.

``python -m tests.emulator.microsoft_types FOLDER`` reads ``FOLDER/<api-version>.types.json``, as
Azure/bicep-types-az has them, and the models of the installed SDK, which alone know what a
duration and what a fraction is. All versions become one table, because the emulator answers all
versions alike: what one of them allows is allowed, what all of them require is required.
"""

from __future__ import annotations

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

PROVIDER = "Microsoft.MachineLearningServices/workspaces"
MODELS = "azure.ai.ml._restclient.arm_ml_service.models"
TABLE = Path(__file__).parents[2] / "local/azureml_emulator/arm/contract.json"
REQUIRED, READ_ONLY = 1, 2
# Parts of the envelope, which are the address's or ARM's own.
ENVELOPE = {"apiVersion", "id", "name", "type", "systemData"}
BOUNDS = {"pattern": "pattern", "minLength": "least", "maxLength": "most", "minValue": "from"}
# What the types require and the SDK leaves out of requests that the service takes.
LEFT_OUT = {("FeatureAttributionDriftMonitoringSignal", "featureImportanceSettings")}
# The types write "not blank" as a letter, a digit or an underscore; the service takes '* * * * *'
# for a cron expression, and '/' for a route.
NOT_BLANK = {"[a-zA-Z0-9_]": r"\S"}


def sdk_formats() -> dict[tuple[str, str], str]:
    """Return by class and name on the wire which fields are durations, which are fractions."""
    found = {}
    for name, model in vars(importlib.import_module(MODELS)).items():
        for base in reversed(getattr(model, "__mro__", ())):
            for attribute, annotation in vars(base).get("__annotations__", {}).items():
                wire = getattr(vars(base).get(attribute), "_rest_name_input", None) or attribute
                text = str(annotation)
                kind = "duration" if "timedelta" in text else "number" if "float" in text else ""
                found[name, wire] = kind
    return found


class Reader:
    """Reads the types of one api-version into fields by object."""

    def __init__(self, types: list[dict[str, Any]], formats: dict[tuple[str, str], str]) -> None:
        self._types, self._formats = types, formats
        self.objects: dict[str, dict[str, Any]] = {}
        self.resources: dict[str, str] = {}
        for item in types:
            if item["$type"] == "ResourceType" and item["name"].startswith(PROVIDER):
                kind = item["name"].split("@")[0].partition("/")[2]
                self.resources[kind] = self._spec("", "", item["body"])["is"]

    def _resolve(self, reference: dict[str, Any]) -> dict[str, Any]:
        return self._types[int(reference["$ref"].rpartition("/")[2])]

    def _spec(self, owner: str, wire: str, reference: dict[str, Any]) -> dict[str, Any]:
        kind = self._resolve(reference)
        what = kind["$type"]
        if what in ("ObjectType", "DiscriminatedObjectType"):
            return {"is": self._object(kind)}
        if what == "ArrayType":
            return {"is": "list", "of": self._spec(owner, wire, kind["itemType"])}
        if what in ("UnionType", "StringLiteralType"):
            members = [self._resolve(item) for item in kind.get("elements", [])] or [kind]
            return {"is": "text", "in": [item["value"] for item in members if "value" in item]}
        plain = {"StringType": "text", "IntegerType": "integer", "BooleanType": "boolean"}
        spec: dict[str, Any] = {"is": plain.get(what, "any")}
        spec |= {to: kind[name] for name, to in BOUNDS.items() if name in kind}
        known = self._format(owner, wire)
        if (spec["is"], known) in {("text", "duration"), ("integer", "number")}:
            spec["is"] = known
        if "pattern" in spec:
            spec["pattern"] = NOT_BLANK.get(spec["pattern"], spec["pattern"])
        return spec

    def _format(self, owner: str, wire: str) -> str:
        exact = self._formats.get((owner, wire))
        if exact is not None:
            return exact
        alike = {kind for (_, name), kind in self._formats.items() if name == wire}
        return alike.pop() if len(alike) == 1 else ""

    def _object(self, kind: dict[str, Any]) -> str:
        name = str(kind["name"])
        if name in self.objects:
            return name
        made = self.objects[name] = {"fields": {}}
        fields = {**kind.get("properties", {}), **kind.get("baseProperties", {})}
        made["fields"] = self._fields(name, fields)
        if "additionalProperties" in kind:
            made["others"] = self._spec(name, "", kind["additionalProperties"])
        if "discriminator" in kind:
            made["by"] = kind["discriminator"]
            made["kinds"] = {
                value: self._object(self._resolve(item)) for value, item in kind["elements"].items()
            }
        return name

    def _fields(self, owner: str, properties: dict[str, Any]) -> dict[str, Any]:
        fields = {}
        for wire, item in properties.items():
            if wire in ENVELOPE and "Microsoft." in owner:
                continue
            spec = self._spec(owner, wire, item["type"])
            if item["flags"] & REQUIRED and (owner, wire) not in LEFT_OUT:
                spec["required"] = True
            if item["flags"] & READ_ONLY:
                spec["readOnly"] = True
            fields[wire] = spec
        return fields


class Merged:
    """The types of all versions as one, walked from the bodies of resources, oldest first."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self._resources: dict[str, str] = {}

    def add(self, version: Reader) -> None:
        """Take a newer version in: the same place is the same thing, whatever its name."""
        before = dict(self.objects)
        self.objects, seen = {}, set[tuple[str, str]]()
        bodies: dict[str, str] = {}
        for kind in self._resources | version.resources:
            new, old = version.resources.get(kind), self._resources.get(kind)
            bodies[kind] = f"{kind}@"
            self._both(bodies[kind], old, new, before, version.objects, seen)
        self._resources = bodies

    def _both(
        self,
        key: str,
        old: str | None,
        new: str | None,
        before: dict[str, Any],
        after: dict[str, Any],
        seen: set[tuple[str, str]],
    ) -> None:
        """Store under ``key`` what an old and a new object both hold a value to."""
        if (key, f"{old} {new}") in seen:
            return
        seen.add((key, f"{old} {new}"))
        one, two = before.get(old or ""), after.get(new or "")
        made = self.objects.setdefault(key, {})
        merge = partial(self._spec, before=before, after=after, seen=seen)
        fields = dict(made.get("fields", {}))
        for wire in (one or two or {})["fields"] | (two or one or {})["fields"]:
            specs = [None if side is None else side["fields"].get(wire) for side in (one, two)]
            spec = merge(*specs)
            if one and two and None in specs:
                spec.pop("required", None)  # a version that does not know it
            known = fields.get(wire)
            fields[wire] = (
                spec if known is None or known["is"] != spec["is"] else loose(known, spec)
            )
        made["fields"] = fields
        others = [side.get("others") for side in (one, two) if side]
        if any(others):
            made["others"] = merge(others[0], others[-1]) if all(others) else {"is": "any"}
        for side in (one, two):
            if side and "by" in side:
                made["by"] = side["by"]
        if "by" in made:
            kinds = [(side or {}).get("kinds", {}) for side in (one, two)]
            made.setdefault("kinds", {})
            for value in kinds[0] | kinds[1]:
                a, b = kinds[0].get(value), kinds[1].get(value)
                made["kinds"][value] = b or a
                self._both(str(b or a), a, b, before, after, seen)

    def _spec(
        self,
        old: dict[str, Any] | None,
        new: dict[str, Any] | None,
        before: dict[str, Any],
        after: dict[str, Any],
        seen: set[tuple[str, str]],
    ) -> dict[str, Any]:
        a, b = old or new or {}, new or old or {}
        if (a["is"] in before and b["is"] in after) or (a is b and a["is"] in {*before, *after}):
            key = b["is"]
            self._both(key, a["is"] if old else None, b["is"] if new else None, before, after, seen)
            return {**loose(a, b), "is": key}
        spec = loose(a, b)
        if "of" in a and "of" in b:
            spec["of"] = self._spec(
                a["of"] if old else None, b["of"] if new else None, before, after, seen
            )
        return spec


def loose(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a newer specification of a field, with the words that an older one has too."""
    spec: dict[str, Any] = {"is": new["is"] if old["is"] == new["is"] else "any"}
    if "of" in new:
        spec["of"] = new["of"]
    if "in" in old and "in" in new:
        spec["in"] = list(dict.fromkeys([*new["in"], *old["in"]]))
    return spec | {
        name: new[name] for name in ("required", "readOnly", *BOUNDS.values()) if name in new
    }


def table(folder: Path) -> str:
    """Return the table's text: one object a line."""
    formats = sdk_formats()
    whole = Merged()
    for path in sorted(folder.glob("*.types.json")):
        whole.add(Reader(json.loads(path.read_text()), formats))
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(item, separators=(',', ':'))}"
        for name, item in sorted(whole.objects.items())
    )
    return f'{{"objects": {{\n{rows}\n}}}}\n'


if __name__ == "__main__":
    TABLE.write_text(table(Path(sys.argv[1])))
