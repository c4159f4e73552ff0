"""The fault rules in force, how often each applied, and the routes that change them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import LOCAL_HOST
from azureml_emulator.errors import ArmError
from azureml_emulator.faults.rule import Rule, RuleError
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["OPERATION_SECONDS", "ConnectionDropped", "FaultPlan"]

BUILD_FAILURE = "image-build-failure"
# Where a request carries how much longer its operation is to take.
OPERATION_SECONDS = "azureml_emulator.operation_seconds"

_log = logging.getLogger("azureml_emulator.faults")


class ConnectionDropped(Exception):
    """The client's connection is to be reset; nothing is answered."""


@dataclass
class _Counted:
    rule: Rule
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        """Count a matching request; return whether the rule applies to it."""
        self.seen += 1
        if self.seen <= self.rule.skip or self.struck == self.rule.times:
            return False
        self.struck += 1
        return True

    @property
    def over(self) -> bool:
        return self.rule.times is not None and self.struck >= self.rule.times


class FaultPlan:
    """The rules of one emulator; the first that applies to a request decides.

    Parameters
    ----------
    rules
        Those in force from the start.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = [_Counted(rule) for rule in rules]
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """Return the routes, which the proxy's own address alone has."""
        return [
            Route("GET", LOCAL_HOST, "/faults", self._show),
            Route("POST", LOCAL_HOST, "/faults", self._add),
            Route("DELETE", LOCAL_HOST, "/faults", self._clear),
        ]

    def strike(self, method: str, host: str, path: str, environ: dict[str, Any]) -> None:
        """Apply the rules to a request.

        Raises
        ------
        ArmError
            It is refused.
        ConnectionDropped
            Its connection is reset.
        """
        rule = self._first(method, host, path, builds=False)
        if rule is None:
            return
        _log.warning("fault: %s %s%s: %s", method, host, path, rule.text)
        if rule.effect == "reset":
            raise ConnectionDropped
        if rule.effect == "slow":
            time.sleep(rule.seconds)
        elif rule.effect == "operation":
            environ[OPERATION_SECONDS] = rule.seconds
        refusal = rule.refusal()
        if refusal is not None:
            raise refusal

    def build_fails(self, host: str, path: str) -> str | None:
        """Return the rule by which the environment of a resource cannot be built, or ``None``."""
        rule = self._first("PUT", host, path, builds=True)
        if rule is None:
            return None
        _log.warning("fault: the build for %s: %s", path, rule.text)
        return rule.text

    def _first(self, method: str, host: str, path: str, *, builds: bool) -> Rule | None:
        with self._lock:
            for counted in self._rules:
                rule = counted.rule
                about_builds = rule.effect == BUILD_FAILURE
                if about_builds == builds and rule.fits(method, host, path) and counted.strikes():
                    return rule
        return None

    def _show(self, call: Call) -> Response:
        with self._lock:
            listed = [
                {"rule": item.rule.text, "seen": item.seen, "struck": item.struck,
                 "over": item.over}
                for item in self._rules
            ]  # fmt: skip
        return json_response({"faults": listed})

    def _add(self, call: Call) -> Response:
        text = call.json().get("rule")
        try:
            rule = Rule.read(str(text or ""))
        except RuleError as error:
            raise ArmError(400, "InvalidFaultRule", str(error)) from error
        with self._lock:
            self._rules.append(_Counted(rule))
        _log.warning("fault rule added: %s", rule.text)
        return json_response({"rule": rule.text}, 201)

    def _clear(self, call: Call) -> Response:
        with self._lock:
            self._rules.clear()
        _log.warning("fault rules removed")
        return Response(status=204)
