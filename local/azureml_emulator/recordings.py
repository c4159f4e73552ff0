"""Recordings: answers kept in a file, without secrets, and given again by it alone.

A file has a line of JSON for the account, and one for each exchange. Bodies of JSON are kept, texts
in them that open doors replaced; what else was sent is known by its digest. Given again, a request
gets the answers that it got, in their order, the last one from then on.
"""

from __future__ import annotations

import base64
import difflib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode

import orjson
from werkzeug.wrappers import Request, Response

from azureml_emulator.account import LOCAL_HOST, LOGIN_HOSTS, Account
from azureml_emulator.errors import ArmError, EmulatorError
from azureml_emulator.identity.login import Login
from azureml_emulator.routing import Call, Router, json_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["PARTS", "Asked", "Recorder", "RecordingError", "Replay", "difference", "nearest"]

FORMAT = 2
# What stands for a secret: whoever signs with it reads it as base64.
MASK = base64.b64encode(b"recorded").decode()
PARTS = ("host", "path", "query", "body")
# No text of these bodies is kept.
SECRET_ROUTES = (
    "listsecrets",
    "listkeys",
    "liststorageaccountkeys",
    "regeneratekeys",
    "token",
)
SECRET_NAMES = {
    "secrets", "keys",
    # of connections
    "clientSecret", "key", "password", "pat", "refreshToken", "sas", "secretAccessKey",
}  # fmt: skip
SIGNED = re.compile(r"(?<=[?&])(sig)=[^&#\"\s]*")
# What signs an address, and is another each time.
SIGNATURE = {
    "se", "si", "sig", "sip", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr",
    "srt", "ss", "st", "sv", MASK,
}  # fmt: skip
NOT_KEPT = {"connection", "content-length", "date", "set-cookie", "transfer-encoding"}
# A file that is downloaded may be large.
MOST_BYTES = 4_000_000
ACCOUNT = ("tenant_id", "client_id", "subscription_id", "storage_account", "resource_group",
           "workspace", "location")  # fmt: skip


class RecordingError(Exception):
    """A file is no recording, or that of another account."""


@dataclass(frozen=True)
class Asked:
    """A request by what it is recognised by.

    Attributes
    ----------
    query
        In alphabetical order, without what signs an address.
    body
        JSON without secrets and as one text, or the digest of anything else; empty without one.
    """

    method: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def part(self, name: str) -> Any:
        """Return one of ``PARTS``; of paths, the case of letters does not count."""
        value = getattr(self, name)
        return value.lower() if name == "path" else value

    def __str__(self) -> str:
        """Write it in a line."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method} {self.host}{self.path}{'?' if query else ''}{query}"


def asked_of(method: str, host: str, path: str, query: str, body: bytes | str) -> Asked:
    """Return what a request is recognised by; a text is the digest of a body.

    Examples
    --------
    >>> asked_of("PUT", "A.B", "/x%20y", "b=2&a=1&sig=s&se=t", b'{"b": 1, "a": [2]}')
    Asked(method='PUT', host='a.b', path='/x y', query=(('a', '1'), ('b', '2')), \
body='{"a":[2],"b":1}')
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name in ("sig", MASK) for name, _ in pairs):
        pairs = [pair for pair in pairs if pair[0] not in SIGNATURE]
    text = body if isinstance(body, str) else _known(body, host, path)
    return Asked(method, host.lower(), unquote(path), tuple(sorted(pairs)), text)


def difference(asked: Asked, kept: Asked) -> str:
    """Say in which part a request differs from one that was kept, and where.

    Examples
    --------
    >>> one, two = (asked_of("PUT", "h", "/x", "", body) for body in (b'{"a": {"b": 1}}', b'{}'))
    >>> difference(one, two)
    "its body differs: 'a' was not sent"
    """
    if asked.method != kept.method:
        return "its method differs"
    for name in ("host", "path"):
        if asked.part(name) != kept.part(name):
            return f"its {name} differs"
    if asked.query != kept.query:
        here, there = dict(asked.query), dict(kept.query)
        name = next(one for one in sorted({*here, *there}) if here.get(one) != there.get(one))
        return f"its query differs: '{name}' was {_shown(there, name)}"
    try:
        return f"its body differs: {_place(orjson.loads(asked.body), orjson.loads(kept.body))}"
    except orjson.JSONDecodeError:
        return "its body differs"


def nearest(asked: Asked, kept: Iterable[Asked]) -> Asked | None:
    """Return the request most like one that was not kept; the method and the path say most."""
    texts: dict[str, Asked] = {}
    for one in kept:
        alike = one.method == asked.method and one.part("path") == asked.part("path")
        if alike and one.host == asked.host and one.query == asked.query:
            return one  # the body alone differs
        texts.setdefault(str(one), one)
    same = [text for text, one in texts.items() if one.method == asked.method]
    found = difflib.get_close_matches(str(asked), same or list(texts), n=1, cutoff=0.0)
    return texts[found[0]] if found else None


class Recorder:
    """Hands requests on to an application, and keeps what was asked and answered.

    Parameters
    ----------
    file
        Is appended to, if it is a recording of the same account.
    knows
        Tells whether a host is emulated: requests to others are not kept.

    Raises
    ------
    RecordingError
        It is another file.
    """

    def __init__(
        self, app: WSGIApplication, file: Path, account: Account, knows: Callable[[str], bool]
    ) -> None:
        self._app, self._knows = app, knows
        self._file, self._lock = file, threading.Lock()
        head = {name: getattr(account, name) for name in ACCOUNT}
        if file.exists() and file.stat().st_size:
            if _head(file) != head:
                raise RecordingError(f"{file} is a recording of another state folder.")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._write({"azureml_emulator": FORMAT, "account": head})

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI."""
        host, path = environ["azureml_emulator.host"], environ["azureml_emulator.path"]
        if host in (LOCAL_HOST, *LOGIN_HOSTS) or not self._knows(host):
            return self._app(environ, start_response)
        sent = environ["wsgi.input"] = _Sent(environ["wsgi.input"])
        response = Response.from_app(self._app, environ)
        sent.drain()
        asked = asked_of(environ["REQUEST_METHOD"], host, path, _query(environ), sent.body)
        parts, size, whole = list[bytes](), 0, True

        def passing() -> Iterator[bytes]:
            nonlocal size, whole
            whole = False
            for part in response.iter_encoded():
                size += len(part)
                if size <= MOST_BYTES:
                    parts.append(part)
                yield part
            whole = True

        def keep() -> None:
            response.close()
            if not whole:
                return  # whoever asked has hung up
            answer = {"omitted": size} if size > MOST_BYTES else _answer(b"".join(parts), asked)
            head = {"status": response.status_code, "headers": _headers(response, asked.method)}
            self._write({**_line(asked), **head, **answer})

        made = Response(passing(), response.status, response.headers)
        made.call_on_close(keep)
        return made(environ, start_response)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock, self._file.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")


class Replay:
    """Answers as a recording says, and nothing else.

    Parameters
    ----------
    file
        The recording.
    match_on
        By which of ``PARTS`` a request is recognised, beside its method.

    Raises
    ------
    RecordingError
        The file cannot be read.
    """

    def __init__(self, file: Path, match_on: Sequence[str] = PARTS) -> None:
        self._match, self._lock = [part for part in PARTS if part in match_on], threading.Lock()
        self._answers: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        self._given: Counter[tuple[Any, ...]] = Counter()
        self._kept: list[Asked] = []
        self.account = Account(**_head(file), client_secret=MASK, storage_key=MASK)
        for number, line in enumerate(file.read_bytes().splitlines()[1:], 2):
            try:
                kept = orjson.loads(line)
                asked = _read(kept)
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise RecordingError(f"{file}, line {number}, is no exchange.") from error
            self._kept.append(asked)
            self._answers.setdefault(self._key(asked), []).append(kept)
        self._hosts = {one.host for one in self._kept}
        self._login = Router(Login(self.account).routes())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI."""
        request = Request(environ)
        try:
            response = self._answer(request)
        except EmulatorError as error:
            response = error.response()
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        host = request.environ["azureml_emulator.host"]
        path = request.environ["azureml_emulator.path"]
        if host == LOCAL_HOST:
            return json_response({"azureml_emulator": "replay", "exchanges": len(self._kept)})
        login = self._login.find(request.method, host, path)
        if login is not None:
            return login[0](Call(request, host, path, login[1]))
        if host not in self._hosts:
            raise ArmError(403, "HostNotEmulated", f"The recording has nothing of '{host}'.")
        query = _query(request.environ)
        asked = asked_of(request.method, host, path, query, request.get_data())
        with self._lock:
            key = self._key(asked)
            answers = self._answers.get(key)
            if answers is None:
                raise self._not_recorded(asked)
            at = min(self._given[key], len(answers) - 1)
            self._given[key] += 1
        return _response(answers[at])

    def _not_recorded(self, asked: Asked) -> ArmError:
        near = nearest(asked, self._kept)
        most = f"; most like it is {near}, but {difference(asked, near)}" if near else ""
        return ArmError(501, "NotRecorded", f"The recording has no {asked}{most}.")

    def _key(self, asked: Asked) -> tuple[Any, ...]:
        return (asked.method, *(asked.part(name) for name in self._match))


class _Sent(RawIOBase):
    """What a request sends, kept while it is read: up to some size, and as a digest."""

    def __init__(self, source: Any) -> None:
        self._source, self._parts, self._size, self._digest = source, [b""], 0, sha256()

    @property
    def body(self) -> bytes | str:
        """The bytes, or their digest where they are many."""
        if self._size <= MOST_BYTES:
            return b"".join(self._parts)
        return f"sha256 {self._digest.hexdigest()}"

    def readable(self) -> bool:
        """Return ``True``: it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some of it."""
        part = self._source.read(len(buffer))
        buffer[: len(part)] = part
        self._size += len(part)
        self._digest.update(part)
        if self._size <= MOST_BYTES:
            self._parts.append(part)
        return len(part)

    def drain(self) -> None:
        """Read the rest."""
        while self.read(1 << 16):
            pass


def _head(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as lines:
            head = orjson.loads(lines.readline())
        if head["azureml_emulator"] != FORMAT:
            raise RecordingError(f"{file} is a recording of another version: make it anew.")
        return {name: str(head["account"][name]) for name in ACCOUNT}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RecordingError(f"{file} is no recording of azureml_emulator.") from error


def _line(asked: Asked) -> dict[str, Any]:
    try:
        body = orjson.loads(asked.body) if asked.body else None
    except orjson.JSONDecodeError:
        body = {"digest": asked.body}
    return {
        "method": asked.method,
        "host": asked.host,
        "path": asked.path,
        "query": _values(asked.query),
        "request": body,
    }


def _read(kept: Mapping[str, Any]) -> Asked:
    body = kept["request"]
    if isinstance(body, dict) and body.keys() == {"digest"}:
        text = str(body["digest"])
    else:
        text = "" if body is None else _one_text(body)
    pairs = [
        (name, value)
        for name, values in kept["query"].items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return Asked(kept["method"], kept["host"], kept["path"], tuple(sorted(pairs)), text)


def _values(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return the values of a query by name: a list where a name is there more than once.

    Examples
    --------
    >>> _values([("a", "1"), ("b", "2"), ("b", "3")])
    {'a': '1', 'b': ['2', '3']}
    """
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _query(environ: Mapping[str, Any]) -> str:
    """Return a request's query, and in it which bytes of a file it asks for."""
    parts = environ.get("HTTP_X_MS_RANGE") or environ.get("HTTP_RANGE")
    asked = str(environ["QUERY_STRING"])
    return f"{asked}&{urlencode({'range': parts})}" if parts else asked


def _headers(response: Response, method: str) -> dict[str, str]:
    left_out = NOT_KEPT - {"content-length"} if method == "HEAD" else NOT_KEPT
    return {
        name: SIGNED.sub(rf"\1={MASK}", value)
        for name, value in response.headers.items()
        if name.lower() not in left_out
    }


def _known(body: bytes, host: str, path: str) -> str:
    """Return what a body is recognised by: files by their digest, whatever is in them."""
    if not body:
        return ""
    try:
        found = orjson.loads(b"" if _is_file(host) or len(body) > MOST_BYTES else body)
    except orjson.JSONDecodeError:
        return f"sha256 {sha256(body).hexdigest()}"
    return _one_text(_without_secrets(found, _is_secret(path)))


def _answer(body: bytes, asked: Asked) -> dict[str, Any]:
    """Return a body as it is kept: files byte for byte."""
    if not body:
        return {"response": None}
    secret = _is_secret(asked.path)
    if not _is_file(asked.host):
        try:
            return {"response": _without_secrets(orjson.loads(body), secret)}
        except orjson.JSONDecodeError:
            pass
    if secret:
        return {"text": MASK}
    try:
        return {"text": SIGNED.sub(rf"\1={MASK}", body.decode())}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _response(kept: Mapping[str, Any]) -> Response:
    if "omitted" in kept:
        size = kept["omitted"]
        raise ArmError(501, "NotRecorded", f"The answer was not kept: it has {size} bytes.")
    if "text" in kept:
        body = str(kept["text"]).encode()
    elif "base64" in kept:
        body = base64.b64decode(kept["base64"])
    else:
        body = b"" if kept["response"] is None else orjson.dumps(kept["response"])
    return Response([body], kept["status"], kept["headers"])


def _one_text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _is_file(host: str) -> bool:
    return ".blob." in host


def _is_secret(path: str) -> bool:
    return path.rpartition("/")[2].lower() in SECRET_ROUTES


def _without_secrets(value: Any, secret: bool = False) -> Any:
    """Return JSON with all its secrets replaced: of all texts, or of those under certain names."""
    if isinstance(value, dict):
        return {
            name: item
            if name == "secretsType"
            else _without_secrets(item, secret or name in SECRET_NAMES)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, secret) for item in value]
    if isinstance(value, str):
        return MASK if secret else SIGNED.sub(rf"\1={MASK}", value)
    return value


def _place(here: Any, there: Any, path: str = "") -> str:
    """Say where two values of JSON differ first."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}):
            below = f"{path}.{name}" if path else name
            if name not in there:
                return f"'{below}' was not sent"
            if name not in here:
                return f"'{below}' is missing"
            if here[name] != there[name]:
                return _place(here[name], there[name], below)
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        at = next(number for number, one in enumerate(here) if one != there[number])
        return _place(here[at], there[at], f"{path}[{at}]")
    return f"'{path}' was {_one_text(there)[:80]}"


def _shown(pairs: Mapping[str, str], name: str) -> str:
    return f"'{pairs[name]}'" if name in pairs else "not sent"
