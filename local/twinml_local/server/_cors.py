"""Cross-origin requests: which pages of other origins may call the endpoint from a browser.

The setting has the form of Azure ML's ``AML_CORS_ORIGINS``: origins with commas between them,
each a whole origin (``https://shop.example:8443``), a bare host (``shop.example``, any scheme
and port) or ``*``. Without it no header is sent, and browsers refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twinml.errors import UsageError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["allowed_origin", "headers", "read_origins"]

EXPOSED = ", ".join(
    (
        "azureml-model-deployment",
        "x-request-id",
        "x-ms-request-id",
        "x-ms-client-request-id",
        "x-ms-run-fn-exec-ms",
        "x-ms-run-function-failed",
    )
)
PREFLIGHT_SECONDS = 600


def read_origins(text: str) -> tuple[str, ...]:
    """Read the setting.

    Raises
    ------
    UsageError
        An entry is no origin.

    Examples
    --------
    >>> read_origins("https://shop.example, www.bing.com")
    ('https://shop.example', 'www.bing.com')
    >>> read_origins("")
    ()
    """
    origins = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for origin in origins:
        host = urlsplit(origin if "://" in origin else f"//{origin}").netloc
        if origin != "*" and (not host or not origin.endswith(host) or "@" in host):
            raise UsageError(
                f"AML_CORS_ORIGINS has '{origin}', which is no origin",
                hint="Write origins with commas between them: https://shop.example, or *.",
            )
    return origins


def allowed_origin(origins: Sequence[str], origin: str) -> str | None:
    """Return what to answer in ``Access-Control-Allow-Origin``, ``None`` when not allowed.

    Parameters
    ----------
    origins
        As ``read_origins`` returns them.
    origin
        What the browser sent.

    Examples
    --------
    >>> allowed_origin(["shop.example"], "https://shop.example:8443")
    'https://shop.example:8443'
    >>> allowed_origin(["https://shop.example"], "http://shop.example") is None
    True
    """
    if "*" in origins:
        return "*"
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return None
    given = origin.lower()
    for entry in origins:
        if given == entry.lower() or ("://" not in entry and host and host == entry.lower()):
            return origin
    return None


def headers(
    origins: Sequence[str], environ: WSGIEnvironment, methods: str
) -> list[tuple[str, str]]:
    """Return the headers that a reply carries because of the request's origin.

    Parameters
    ----------
    origins
        As ``read_origins`` returns them.
    environ
        The request, as WSGI has it.
    methods
        The route's methods, for a preflight request.
    """
    if not origins:
        return []
    # A cache must not hand one origin's reply to another.
    reply = [] if "*" in origins else [("Vary", "Origin")]
    origin = environ.get("HTTP_ORIGIN")
    allowed = None if origin is None else allowed_origin(origins, origin)
    if allowed is None:
        return reply
    reply.append(("Access-Control-Allow-Origin", allowed))
    reply.append(("Access-Control-Expose-Headers", EXPOSED))
    preflight = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    if preflight and environ["REQUEST_METHOD"] == "OPTIONS":
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "authorization, content-type")
        reply.append(("Access-Control-Allow-Methods", methods))
        reply.append(("Access-Control-Allow-Headers", asked))
        reply.append(("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)))
    return reply
