"""What Microsoft's types say of a body: fitted to them, or refused in ARM's shape. Pure.

``contract.json`` is made from the types of all API versions by
``tests/emulator/microsoft_types.py``: of each object its fields, of each field what it is, whether
it is required or read-only, its words, pattern, length and bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from azureml_emulator.errors import ArmError

__all__ = ["fitted", "known"]

_DURATION = re.compile(
    r"-?P(?=.)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?)"
)
_MOST_SAID = 3
# Words that the service answers as they were sent.
_AS_SENT = ("autoDeleteSetting.condition",)


@cache
def _objects() -> dict[str, Any]:
    text = files("azureml_emulator.arm").joinpath("contract.json").read_text("utf-8")
    return dict(json.loads(text)["objects"])


def known(kind: str) -> bool:
    """Return whether the types have a resource, ``workspaces/onlineEndpoints/deployments``."""
    return f"{kind}@" in _objects()


def fitted(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request as the service reads it.

    Words are spelled as the types spell them, whatever the case in which they were sent (but for
    ``_AS_SENT``); numbers sent for texts are texts, and texts sent for whole numbers are numbers;
    what is read-only is left out. Fields that the types do not know stay.

    Parameters
    ----------
    kind
        The resource, below the provider: ``workspaces/jobs``. Without types all is as it was sent.

    Raises
    ------
    ArmError
        400: something is missing, or is not what the types say; all that is, is said.
    """
    if not known(kind):
        return dict(body)
    reader = _Reader()
    read = reader.object(f"{kind}@", body, "")
    if reader.faults:
        raise _refusal(reader.faults)
    return dict(read)


def _refusal(faults: list[tuple[str, str]]) -> ArmError:
    said = " ".join(message for _, message in faults[:_MOST_SAID])
    more = len(faults) - _MOST_SAID
    return ArmError(
        400,
        "ValidationError",
        said + (f" And {more} more." if more > 0 else ""),
        target=faults[0][0],
        details=[
            {"code": "ValidationError", "target": place, "message": message}
            for place, message in faults
        ],
    )


@dataclass
class _Reader:
    """Walks a body along the types, and notes down what departs from them."""

    faults: list[tuple[str, str]] = field(default_factory=list)

    def _fault(self, place: str, message: str) -> None:
        self.faults.append((place, message))

    def _value(self, spec: Mapping[str, Any], value: Any, place: str) -> Any:
        what = spec["is"]
        if value is None or what == "any":
            return value
        if what == "list":
            if not isinstance(value, list):
                return self._fault(place, f"{place} is {_shown(value)}, not a list.")
            return [self._value(spec["of"], item, f"{place}[{i}]") for i, item in enumerate(value)]
        if what in ("text", "duration"):
            return self._text(spec, value, place)
        if what in ("integer", "number"):
            return self._number(spec, value, place)
        if what == "boolean":
            return self._boolean(value, place)
        return self.object(what, value, place)

    def object(self, name: str, value: Any, place: str) -> Any:
        """Return an object as the types have it."""
        if not isinstance(value, Mapping):
            return self._fault(place, f"{place or 'The body'} is {_shown(value)}, not an object.")
        kind = _objects()[name]
        fields = dict(kind["fields"])
        others = kind.get("others")
        read = dict(value)
        by = kind.get("by")
        if by is not None:
            word = _word(kind["kinds"], read.get(by))
            if word is None:
                return self._unknown_kind(kind, read, place)
            read[by] = word
            chosen = _objects()[kind["kinds"][word]]
            fields |= chosen["fields"]
            others = others or chosen.get("others")
        for name_, spec in self._present(fields, read, place):
            read[name_] = self._value(spec, read[name_], _below(place, name_))
        if others is not None:
            for key in read.keys() - fields.keys():
                read[key] = self._value(others, read[key], _below(place, key))
        return read

    def _present(
        self, fields: Mapping[str, Any], read: dict[str, Any], place: str
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the fields that are there; drops read-only ones and misses required ones."""
        for name, spec in fields.items():
            if spec.get("readOnly"):
                read.pop(name, None)
            elif read.get(name) is not None:
                yield name, spec
            elif spec.get("required"):
                self._missing(_below(place, name))

    def _missing(self, place: str) -> None:
        name = place.rpartition(".")[2]
        self._fault(place, f"The {name[0].upper()}{name[1:]} field is required.")

    def _unknown_kind(self, kind: Mapping[str, Any], read: Mapping[str, Any], place: str) -> None:
        by, given = kind["by"], read.get(kind["by"])
        at = _below(place, by)
        if given is None:
            self._missing(at)
        else:
            self._fault(at, f"{at} is {_shown(given)}, not one of {', '.join(kind['kinds'])}.")

    def _text(self, spec: Mapping[str, Any], value: Any, place: str) -> Any:
        if isinstance(value, (list, Mapping)):
            return self._fault(place, f"{place} is {_shown(value)}, not text.")
        text = value if isinstance(value, str) else json.dumps(value)
        words = spec.get("in")
        if words is not None:
            word = _word(words, text)
            if word is not None and place.endswith(_AS_SENT):
                return text
            if word is None:
                return self._fault(
                    place, f"{place} is {_shown(value)}, not one of {', '.join(words)}."
                )
            return word
        least, most = spec.get("least", 0), spec.get("most")
        if spec.get("required") and not text.strip():
            return self._missing(place)
        if len(text) < least or (most is not None and len(text) > most):
            bounds = f"{least} or more" if most is None else f"{least} to {most}"
            return self._fault(place, f"{place} has {len(text)} characters, not {bounds}.")
        if spec["is"] == "duration" and not _DURATION.fullmatch(text):
            return self._fault(
                place, f"{place} is {_shown(value)}, not a duration of ISO 8601 such as PT30S."
            )
        pattern = spec.get("pattern")
        if pattern is not None and not re.search(pattern, text):
            return self._fault(place, f"{place} is {_shown(value)}, which has to match {pattern}.")
        return text

    def _number(self, spec: Mapping[str, Any], value: Any, place: str) -> Any:
        number = _as_number(value)
        if number is None or (spec["is"] == "integer" and number != int(number)):
            kind = "a whole number" if spec["is"] == "integer" else "a number"
            return self._fault(place, f"{place} is {_shown(value)}, not {kind}.")
        lowest = spec.get("from")
        if lowest is not None and number < lowest:
            return self._fault(place, f"{place} is {_shown(value)}, below {lowest}.")
        return int(number) if spec["is"] == "integer" else number

    def _boolean(self, value: Any, place: str) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        return self._fault(place, f"{place} is {_shown(value)}, neither true nor false.")


def _as_number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return None
    return value if isinstance(value, int) else number


def _word(words: Any, value: Any) -> str | None:
    """Return the word that a value is in any case, ``None`` if it is none of them."""
    given = str(value).lower()
    return next((str(word) for word in words if str(word).lower() == given), None)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
