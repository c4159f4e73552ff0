"""Refusals in the two shapes that Azure has: ARM's JSON and the storage service's XML."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import orjson
from werkzeug.wrappers import Response

__all__ = [
    "ArmError",
    "EmulatorError",
    "EmulatorNotStarted",
    "StorageError",
    "no_route",
    "not_found",
    "not_from_registry",
]


class EmulatorError(Exception, ABC):
    """A request cannot be served; ``response`` is what the client gets."""

    @abstractmethod
    def response(self) -> Response:
        """Return the answer."""


class ArmError(EmulatorError):
    """A refusal by the management plane.

    Parameters
    ----------
    status
        The HTTP status.
    code
        ARM's word for it, for example ``UserError``.
    message
        One sentence or two for the user.
    inner
        The code of ``innererror``, where the service sends one.
    target
        The part of the request that it is about.
    details
        All that was wrong, where it is more than the message says: code, target and message.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        target: str | None = None,
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.inner = status, code, message, inner
        self.target, self.details = target, details
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return ARM's error object."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target:
            error |= {"target": self.target, "details": list(self.details)}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}

    def response(self) -> Response:
        """Return the answer, JSON."""
        return Response(
            orjson.dumps(self.body()),
            status=self.status,
            headers=self.headers,
            content_type="application/json; charset=utf-8",
        )


class StorageError(EmulatorError):
    """A refusal by the blob service: the code is in a header too, the only place for HEAD."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer, XML."""
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}\n"
            f"RequestId:{uuid.uuid4()}</Message></Error>"
        )
        return Response(
            text,
            status=self.status,
            headers={"x-ms-error-code": self.code, **self.headers},
            content_type="application/xml",
        )


def not_found(what: str) -> ArmError:
    """Return the refusal for a resource that is not there."""
    return ArmError(404, "UserError", f"{what} was not found.", inner="NotFoundError")


# Parts of the service that are not emulated, by the words of their addresses.
_NOT_EMULATED = {
    "featuresets": "feature sets",
    "featurestoreentities": "feature store entities",
    "package": "model packages",
    "registries": "registries, but for the curated environments of 'azureml'",
    "serverlessendpoints": "serverless endpoints",
    "marketplacesubscriptions": "marketplace subscriptions",
    "outboundrules": "managed networks",
    "provisionmanagednetwork": "managed networks",
    "inferencepools": "inference pools",
    "capabilityhosts": "capability hosts",
}


def no_route(method: str, host: str, path: str) -> ArmError:
    """Return the refusal of a request that nothing here answers; what it is about is named.

    Examples
    --------
    >>> no_route("PUT", "management.azure.com", "/…/workspaces/w/featuresets/f/versions/1").message
    'The emulator has no feature sets (PUT …/featuresets/f/versions/1).'
    >>> no_route("GET", "management.azure.com", "/nothing").code
    'RouteNotEmulated'
    """
    parts = path.split("/")
    for at, part in enumerate(parts):
        what = _NOT_EMULATED.get(part.lower())
        if what is not None:
            below = "/".join(parts[at:])
            return ArmError(
                501, "NotImplementedByEmulator", f"The emulator has no {what} ({method} …/{below})."
            )
    message = f"azureml_emulator has no route for {method} {host}{path}."
    return ArmError(501, "RouteNotEmulated", message)


def not_from_registry(what: str) -> ArmError:
    """Return the refusal for an asset of a registry, which would have to be fetched."""
    return ArmError(
        400,
        "NotImplementedByEmulator",
        f"The emulator has nothing of registries but the curated environments of 'azureml', "
        f"and not '{what}': register a copy of your own in the workspace.",
    )


class EmulatorNotStarted(Exception):
    """The emulator's process ended before it served; the text is the end of its log."""
