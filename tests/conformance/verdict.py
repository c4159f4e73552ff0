"""What became of a sample: accepted, refused by name, as Azure, misleadingly, wrongly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["AS_AZURE", "Outcome", "Verdict", "verdict"]


class Verdict(StrEnum):
    """The kinds of outcomes, from the best to the worst."""

    ACCEPTED = "accepted"
    BY_NAME = "refused by name"
    AS_AZURE = "refused as Azure does"
    NOT_LOADED = "not loaded by the SDK"
    MISLEADING = "refused misleadingly"
    WRONG = "refused wrongly"


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes
    ----------
    error
        The class of the exception, empty where there was none.
    message
        Its text.
    status
        The status of the HTTP answer, if the service answered.
    code
        ARM's word for the refusal.
    """

    error: str = ""
    message: str = ""
    status: int | None = None
    code: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Outcome:
        """Return the outcome that a line of the record tells."""
        return cls(
            row.get("error") or "", row.get("message") or "", row.get("status"),
            row.get("code") or "",
        )  # fmt: skip


# What the samples ask for and Azure refuses as well: a pattern of the message, and the reason.
AS_AZURE: tuple[tuple[str, str], ...] = (
    (r"A batch deployment needs a model", "a template: its script gives the model"),
    (r"/workspaces/emulator/(jobs|components)/\S+ was not found", "its script makes it first"),
    (r"input 'center_crop': found '224', expected", "its own component does not allow the value"),
)
# An answer that names what is not emulated: codes of the emulator's own.
_NAMED = {"NotImplementedByEmulator", "HostNotEmulated"}
# A route that is not there says nothing of what the user asked for.
_MISLEADING = re.compile(r"/registries/|has no route|no registries")


def verdict(outcome: Outcome, as_azure: tuple[tuple[str, str], ...] = AS_AZURE) -> Verdict:
    """Return the kind of an outcome.

    Examples
    --------
    >>> verdict(Outcome()).value
    'accepted'
    >>> refused = Outcome("HttpResponseError", "no Spark", 400, "NotImplementedByEmulator")
    >>> verdict(refused).value
    'refused by name'
    >>> verdict(Outcome("ValidationException", "name: Missing data")).value
    'not loaded by the SDK'
    >>> verdict(Outcome("HttpResponseError", "no", 500, "InternalServerError")).value
    'refused wrongly'
    """
    if not outcome.error:
        return Verdict.ACCEPTED
    if outcome.code in _NAMED:
        return Verdict.BY_NAME
    if outcome.status is None and outcome.error != "Timeout":
        return Verdict.NOT_LOADED
    if any(re.search(pattern, outcome.message) for pattern, _ in as_azure):
        return Verdict.AS_AZURE
    if outcome.code == "RouteNotEmulated" or _MISLEADING.search(outcome.message):
        return Verdict.MISLEADING
    return Verdict.WRONG
