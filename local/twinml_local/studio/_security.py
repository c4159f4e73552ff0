"""Which requests the site answers.

A page of somebody else in the same browser can send requests to loopback, and by DNS rebinding
even read the answers. So the site answers to names of loopback alone, takes a POST from its own
pages alone (``Origin``, and a token in each form), and cannot be framed. Bound elsewhere than to
loopback, everything but the sign-in page asks for a key first.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from threading import Lock
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, flash, redirect, request, session, url_for

from twinml.errors import TwinmlError
from twinml_local.keys import opens

__all__ = ["Refusal", "guard", "once", "own_path", "token"]

FIELD = "csrf"
ONCE = "once"
MOST_KEPT = 1_000
# Neither //HOST nor /\\HOST, which browsers read as another site.
OWN_PATH = re.compile(r"/([A-Za-z0-9._~%-][A-Za-z0-9._~%/-]*)?")
OPEN_PAGES = {"sign_in.form", "sign_in.check", "static"}
POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-src 'self' http://127.0.0.1:*; frame-ancestors 'self'"
)
# Reports hold their own small script; they load nothing and talk to nobody.
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'self'"
)


class Refusal(TwinmlError):
    """A request that does not come from a page of this site."""

    error_code = "FORBIDDEN"
    status = 403


def token() -> str:
    """Return the token that this browser's forms carry."""
    if FIELD not in session:
        session[FIELD] = secrets.token_urlsafe(24)
    return str(session[FIELD])


def once() -> str:
    """Return the mark of one form, which is taken once: two clicks start one job."""
    return secrets.token_urlsafe(12)


class Taken:
    """The marks of the forms that were sent, the last ``most`` of them.

    Examples
    --------
    >>> taken = Taken(most=2)
    >>> [taken.is_new(mark) for mark in ("a", "b", "a", "c", "d", "a")]
    [True, True, False, True, True, True]
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most, self._lock = most, Lock()
        self._marks: OrderedDict[str, None] = OrderedDict()

    def is_new(self, mark: str) -> bool:
        """Take a mark; tell whether it was not taken before."""
        with self._lock:
            if mark in self._marks:
                return False
            self._marks[mark] = None
            while len(self._marks) > self._most:
                self._marks.popitem(last=False)
            return True


def own_path(text: str) -> str | None:
    """Return the path of a page of this site; ``None`` for anything else.

    Examples
    --------
    >>> [own_path(text) for text in ("/jobs", "//evil.example", "http://evil.example", "")]
    ['/jobs', None, None, None]
    """
    return text if OWN_PATH.fullmatch(text) else None


def comes_from_us(origin: str | None, site: str | None, own: str) -> bool:
    """Tell whether a POST comes from a page of this site, by what browsers say of it.

    Parameters
    ----------
    origin, site
        The headers ``Origin`` and ``Sec-Fetch-Site``; programs send neither.
    own
        The address that was asked, ``http://HOST:PORT``.

    Examples
    --------
    >>> own = "http://127.0.0.1:5080"
    >>> comes_from_us(own, "same-origin", own), comes_from_us(None, None, own)
    (True, True)
    >>> comes_from_us("http://evil.example", None, own), comes_from_us(None, "cross-site", own)
    (False, False)
    >>> comes_from_us("http://127.0.0.1:5001", "same-site", own)
    False
    """
    return origin in (None, own) and site in (None, "same-origin", "none")


def host_name(given: str) -> str:
    """Return the name in a header ``Host``, empty where there is none.

    Examples
    --------
    >>> host_name("127.0.0.1:5080"), host_name("[::1]:5080"), host_name("a@b:x")
    ('127.0.0.1', '::1', 'b')
    """
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Tell whether a name or an address is this machine's own alone.

    Examples
    --------
    >>> [is_loopback(one) for one in ("127.0.0.1", "app.localhost", "::1", "0.0.0.0", "10.0.0.7")]
    [True, True, True, False, False]
    """
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def guard(app: Flask, *, loopback: bool, key: str | None) -> None:
    """Refuse requests that are not for this site or not from its user.

    Parameters
    ----------
    loopback
        Whether the site listens on loopback alone.
    key
        What signs in; ``None`` where nobody has to.
    """
    taken = Taken()

    @app.before_request
    def check() -> Response | None:
        if loopback and not is_loopback(host_name(request.host)):
            raise Refusal(
                f"requests for the host '{request.host[:100]}' are not answered here",
                hint="Use the address that twinml studio printed.",
            )
        own = request.host_url.rstrip("/")
        if key is not None and not session.get("signed_in") and request.endpoint not in OPEN_PAGES:
            if request.method != "GET":
                abort(401)
            return redirect(url_for("sign_in.form"))  # type: ignore[return-value]
        if request.method in ("GET", "HEAD"):
            return None
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if not comes_from_us(origin, site, own):
            raise Refusal(
                "the request comes from a page of another site",
                hint=f"Use the forms of {own}.",
            )
        given = request.form.get(FIELD, "")
        if not hmac.compare_digest(given.encode(), token().encode()):
            raise Refusal("the form is out of date", hint="Load the page again, and send it then.")
        mark = request.form.get(ONCE)
        if mark and not taken.is_new(mark):
            flash("That was sent already, and was not done again. This is what is so now.")
            return redirect(own_path(request.form.get("back", "")) or "/", 303)  # type: ignore[return-value]
        return None

    @app.after_request
    def protect(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", POLICY)
        headers["X-Content-Type-Options"] = "nosniff"
        # With no referrer at all a browser would send the Origin of forms as "null".
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if request.endpoint != "static":
            headers["Cache-Control"] = "no-store"
        return response


def sign_in_pages(key: str | None, render: Callable[..., str]) -> Blueprint:
    """Return the pages that take the sign-in key."""
    pages = Blueprint("sign_in", __name__)

    @pages.get("/sign-in")
    def form() -> str:
        return render("sign_in.html.j2", title="Sign in", wrong=False)

    @pages.post("/sign-in")
    def check() -> Response | tuple[str, int]:
        if key is not None and not opens(request.form.get("key", "").encode(), [key.encode()]):
            return render("sign_in.html.j2", title="Sign in", wrong=True), 401
        session.clear()
        session["signed_in"] = True
        return redirect(url_for("overview.page"))  # type: ignore[return-value]

    return pages
