"""One fault rule: which requests it matches, its effect, and how often it applies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate

from azureml_emulator.errors import ArmError

__all__ = ["EFFECTS", "Rule", "RuleError"]

EFFECTS = {
    "reset": "the connection is reset before anything is answered",
    "slow": "the answer comes later: slow=SECONDS",
    "operation": "the long-running operation takes longer: operation=SECONDS",
    "token-expired": "401, as for a token whose time is over",
    "quota": "400 OutOfQuota, as for a deployment or compute beyond the quota",
    "image-build-failure": "the environment of a deployment cannot be built",
}
METHODS = {"*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
NEED_SECONDS = {"slow", "operation"}
MOST_SECONDS = 3600.0
GRAMMAR = "METHOD PATTERN EFFECT [after N] [once | N times | always]"
_WORDS = {
    400: "BadRequest", 401: "Unauthorized", 403: "AuthorizationFailed", 404: "ResourceNotFound",
    408: "RequestTimeout", 409: "Conflict", 412: "PreconditionFailed", 429: "TooManyRequests",
    500: "InternalServerError", 502: "BadGateway", 503: "ServiceUnavailable",
    504: "GatewayTimeout",
}  # fmt: skip


class RuleError(ValueError):
    """A rule cannot be understood; the text says what was found and what is expected."""


@dataclass(frozen=True)
class Rule:
    """A rule that has been read.

    Parameters
    ----------
    text
        As it was written.
    method, pattern
        Which requests: a method or ``*``, and a glob for host and path, in any case. A pattern
        that begins with a slash is about the path on any host.
    effect
        A status from 400 to 599, or one of ``EFFECTS``.
    seconds
        For ``slow`` and ``operation``.
    retry_after
        What 429 and 503 tell the client to wait, in seconds.
    skip
        How many fitting requests pass before the first one is hit.
    times
        How many are hit; ``None`` means all.
    """

    text: str
    method: str
    pattern: str
    effect: str
    seconds: float = 0.0
    retry_after: int | None = None
    skip: int = 0
    times: int | None = None

    @classmethod
    def read(cls, text: str) -> Rule:
        """Return the rule that a text states.

        Raises
        ------
        RuleError
            It states none.

        Examples
        --------
        >>> rule = Rule.read("PUT */onlineEndpoints/* 429 retry-after=2 after 1 3 times")
        >>> rule.effect, rule.retry_after, rule.skip, rule.times
        ('429', 2, 1, 3)
        """
        words = text.split()
        if len(words) < 3:
            raise RuleError(f"'{text}' is not a rule; expected {GRAMMAR}")
        method, pattern, effect, *rest = words
        if method.upper() not in METHODS:
            raise RuleError(f"'{method}' is not a method; expected one of {_listed(METHODS)}")
        effect, _, value = effect.partition("=")
        seconds = _seconds(effect, value)
        _check_effect(effect)
        retry_after: int | None = None
        if rest and rest[0].startswith("retry-after="):
            retry_after = _count(rest.pop(0).partition("=")[2], "retry-after")
        if retry_after is None and effect == "429":
            retry_after = 1
        skip, times = _how_often(rest, text)
        return cls(text, method.upper(), pattern, effect, seconds, retry_after, skip, times)

    def fits(self, method: str, host: str, path: str) -> bool:
        """Return whether the rule matches a request."""
        if self.method not in ("*", method):
            return False
        whole = path if self.pattern.startswith("/") else f"{host}{path}"
        return re.fullmatch(translate(self.pattern.lower()), whole.lower()) is not None

    def refusal(self) -> ArmError | None:
        """Return what the client is answered; ``None`` where the effect is another one."""
        if self.effect == "token-expired":
            return ArmError(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than the current UTC time "
                "(injected fault).",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        if self.effect == "quota":
            return ArmError(
                400,
                "OutOfQuota",
                "Not enough quota available for the requested size in this subscription "
                "(injected fault): ask for more, or for a smaller size.",
            )
        if not self.effect.isdecimal():
            return None
        status = int(self.effect)
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        code = _WORDS.get(status, f"Status{status}")
        return ArmError(status, code, f"Injected fault: {self.text}", headers=headers)


def _check_effect(effect: str) -> None:
    if effect in EFFECTS or (effect.isdecimal() and 400 <= int(effect) <= 599):
        return
    raise RuleError(
        f"'{effect}' is not an effect; expected a status from 400 to 599 or one of "
        f"{_listed(EFFECTS)}"
    )


def _seconds(effect: str, value: str) -> float:
    if effect not in NEED_SECONDS:
        if value:
            raise RuleError(f"'{effect}' takes no value, found '{value}'")
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= MOST_SECONDS:
        raise RuleError(
            f"'{effect}' is told its seconds, up to {MOST_SECONDS:.0f}: {effect}=5; found '{value}'"
        )
    return seconds


def _how_often(words: list[str], text: str) -> tuple[int, int | None]:
    skip, times = 0, None
    if words[:1] == ["after"] and len(words) > 1:
        skip, words = _count(words[1], "after"), words[2:]
    if words == ["once"]:
        times = 1
    elif len(words) == 2 and words[1] == "times":
        times = _count(words[0], "times")
    elif words not in ([], ["always"]):
        raise RuleError(f"'{' '.join(words)}' in '{text}' is not understood; expected {GRAMMAR}")
    return skip, times


def _count(word: str, what: str) -> int:
    if not word.isdecimal():
        raise RuleError(f"{what} needs a whole number, found '{word}'")
    return int(word)


def _listed(words: object) -> str:
    assert isinstance(words, set | dict)
    return ", ".join(sorted(words))
