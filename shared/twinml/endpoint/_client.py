"""One client for any deployed endpoint: this machine's, Azure ML's or MLflow's.

Rows go out in one of the payload dialects, answers come back as plain Python lists::

    rows ──▶ body in a dialect ──▶ POST (key, deployment header) ──▶ labels or probabilities
                                      │ 429, 502, 503, 504 or no connection: wait and repeat
                                      └ any other failure: EndpointError with the server's words
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import Retry

from twinml.contract import dialects
from twinml.contract.dialects import DEFAULT, Method, written
from twinml.endpoint._retry import scoring_retry
from twinml.errors import Detail, EndpointError, UsageError

__all__ = ["Answer", "Endpoint", "request_body"]

AZURE = "x-twinml-azure"
DEPLOYMENT_HEADER = "azureml-model-deployment"
REQUEST_IDS = ("x-ms-request-id", "x-request-id")
CONNECT_TIMEOUT = 10.0  # seconds

HINTS = {
    401: "Check the key: `twinml status --show-keys` prints the keys of an endpoint.",
    403: "Check the key and the rights of its owner.",
    404: "Check the URL (it ends in /score) and the deployment's name.",
    424: "The model's own server refused it; one of an MLflow model on Azure takes "
    f"{' or '.join(written('azure-no-code'))}.",
    413: "Send the rows in smaller chunks.",
    415: "Send Content-Type: application/json.",
    429: "The endpoint is busy; send fewer requests at a time.",
}
SERVER_HINT = "Read the endpoint's log: twinml logs."


def _plain(value: Any) -> Any:
    """Give ``json`` what it does not know: numpy scalars and arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UsageError(
        f"a value of type {type(value).__name__} cannot be sent as JSON",
        hint="Send numbers, strings, booleans or None.",
    )


def _null_for_nan(value: Any) -> Any:
    """Replace NaN by ``None``: NaN is not JSON, and null means the same to a double column."""
    return None if isinstance(value, float) and value != value else value


def request_body(
    rows: Sequence[Mapping[str, Any]],
    *,
    dialect: str = DEFAULT.name,
    method: Method = "predict",
) -> bytes:
    """Return ``rows`` as a request body in the dialect of that name.

    Raises
    ------
    UsageError
        No rows, an unknown dialect, rows with different columns, or a value JSON cannot hold.

    Examples
    --------
    >>> request_body([{"age": 56, "job": "services"}], dialect="data")
    b'{"data": [{"age": 56, "job": "services"}]}'
    """
    if dialect not in written():
        raise UsageError(
            f"there is no payload dialect '{dialect}'", hint=f"Known: {', '.join(written())}."
        )
    if not rows:
        raise UsageError("there are no rows to score", hint="Give at least one row.")
    clean = [{name: _null_for_nan(value) for name, value in row.items()} for row in rows]
    body = dialects.DIALECTS[dialect].write(clean, method)
    return json.dumps(body, default=_plain).encode()


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered: a prediction a row, and the request's id if it told one.

    ``azure`` is what it told of Azure's side: that it would refuse this, or answer otherwise.
    """

    predictions: list[Any]
    request_id: str | None
    azure: str = ""


class _Bearer(AuthBase):
    """Sets the key as ``Authorization: Bearer``.

    An auth object rather than a header, because requests lets ``~/.netrc`` overwrite the header.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Endpoint:
    """A deployed endpoint. Keeps its connections open; use it as a context manager.

    Parameters
    ----------
    scoring_uri
        The address that takes scoring requests, such as ``http://127.0.0.1:5001/score``.
    key
        One of the endpoint's keys, or ``None`` where none is asked for. Never shown.
    timeout
        Seconds to wait for an answer.
    retries
        How often a failed request is repeated, for 429, 502, 503, 504 and lost connections.
        ``post`` never repeats.
    deployment
        Name of the deployment that shall answer; ``None`` leaves it to the traffic rules.

    Examples
    --------
    >>> endpoint = Endpoint("http://127.0.0.1:5001/score", "a-secret", deployment="blue")
    >>> endpoint
    Endpoint('http://127.0.0.1:5001/score', deployment='blue')
    >>> endpoint.base_uri
    'http://127.0.0.1:5001'
    """

    def __init__(
        self,
        scoring_uri: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 3,
        deployment: str | None = None,
    ) -> None:
        parts = urlsplit(scoring_uri)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"'{scoring_uri}' is not the URL of an endpoint",
                hint="It looks like http://127.0.0.1:5001/score.",
            )
        self.scoring_uri = scoring_uri.rstrip("/")
        self.base_uri = self.scoring_uri.removesuffix("/score").removesuffix("/invocations")
        self.deployment = deployment
        self.timeout = timeout
        self._key = key
        self._host = parts.hostname
        self._repeating = self._session(scoring_retry(retries))
        self._once = self._session(0)

    def __repr__(self) -> str:
        chosen = f", deployment={self.deployment!r}" if self.deployment else ""
        return f"Endpoint({self.scoring_uri!r}{chosen})"

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._repeating.close()
        self._once.close()

    def score(self, rows: Sequence[Mapping[str, Any]], *, dialect: str = DEFAULT.name) -> list[Any]:
        """Return the predicted label of each row, length ``len(rows)``.

        Raises
        ------
        EndpointError
            The endpoint did not answer, or refused; the message holds its own words.
        UsageError
            The rows cannot be put in ``dialect``.
        """
        return self.answer(rows, dialect=dialect).predictions

    def score_proba(
        self, rows: Sequence[Mapping[str, Any]], *, dialect: str = DEFAULT.name
    ) -> list[list[float]]:
        """Return class probabilities, ``len(rows)`` lists in the contract's class order.

        Raises
        ------
        EndpointError, UsageError
            As ``score``.
        """
        return self.answer(rows, dialect=dialect, method="predict_proba").predictions

    def numbers(self, rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        """Return the predictions of a regression, ``len(rows)`` lists of one number.

        Raises
        ------
        EndpointError, UsageError
            As ``score``.
        """
        return [[value] for value in self.score(rows)]

    def answer(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        dialect: str = DEFAULT.name,
        method: Method = "predict",
    ) -> Answer:
        """Return the predictions for ``rows`` and the id that the request has in the logs.

        Parameters
        ----------
        method
            ``predict`` for labels or numbers, ``predict_proba`` for probabilities,
            ``predict_interval`` for lower and upper bounds.

        Raises
        ------
        EndpointError, UsageError
            As ``score``.
        """
        body = request_body(rows, dialect=dialect, method=method)
        route = dialects.DIALECTS[dialect].routes[0]
        url = self.scoring_uri if route == "score" else self._url(f"/{route}")
        response = self._send(self._repeating, "POST", url, body, "application/json")
        predictions = self._unwrapped(url, self._json(url, response))
        if len(predictions) != len(rows):
            raise EndpointError(
                f"{url} answered {len(predictions)} predictions for {len(rows)} rows",
                hint=SERVER_HINT,
                status=502,
            )
        ids = (response.headers.get(name) for name in REQUEST_IDS)
        told = response.headers.get(AZURE, "")
        return Answer(predictions, next((each for each in ids if each), None), told)

    def post(
        self, body: bytes, *, content_type: str = "application/json", route: str | None = None
    ) -> requests.Response:
        """Send ``body`` once, as it is, and return the answer whatever its status.

        Parameters
        ----------
        body
            The request body.
        content_type
            Its media type.
        route
            A path under ``base_uri`` such as ``/invocations``; ``None`` is the scoring URI.

        Raises
        ------
        EndpointError
            Only when no answer came at all.
        """
        url = self.scoring_uri if route is None else self._url(route)
        return self._send(self._once, "POST", url, body, content_type)

    def health(self) -> bool:
        """Tell whether the endpoint answers its health route."""
        try:
            response = self._send(self._repeating, "GET", self._url("/health"))
            if response.status_code == 404:  # Azure's inference server has only `/`
                response = self._send(self._repeating, "GET", self._url("/"))
        except EndpointError:
            return False
        return response.ok

    def swagger(self, version: str = "3") -> dict[str, Any]:
        """Return the endpoint's OpenAPI document.

        Parameters
        ----------
        version
            ``2``, ``3`` or ``3.1``.

        Raises
        ------
        EndpointError
            The endpoint has no such document or did not answer.
        """
        url = self._url("/swagger.json")
        response = self._send(self._repeating, "GET", f"{url}?version={version}")
        document = self._json(url, response)
        if not isinstance(document, dict):
            raise EndpointError(f"{url} did not answer with an OpenAPI document", status=502)
        return document

    # Requests

    def _url(self, route: str) -> str:
        return f"{self.base_uri}/{route.lstrip('/')}"

    def _session(self, retries: Retry | int) -> requests.Session:
        session = requests.Session()
        session.auth = _Bearer(self._key)
        # A proxy named in the environment cannot reach this machine's own loopback.
        session.trust_env = not _is_loopback(self._host)
        if self.deployment:
            session.headers[DEPLOYMENT_HEADER] = self.deployment
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=64, max_retries=retries))
        return session

    def _send(
        self,
        session: requests.Session,
        verb: str,
        url: str,
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> requests.Response:
        try:
            return session.request(
                verb,
                url,
                data=body,
                headers={"Content-Type": content_type} if content_type else None,
                timeout=(min(CONNECT_TIMEOUT, self.timeout), self.timeout),
                # A redirected POST would arrive as a GET without its rows.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._unreachable(url, error) from error

    # Answers

    def _unwrapped(self, url: str, reply: Any) -> list[Any]:
        """Take the predictions out of a reply in any dialect."""
        try:
            reply = dialects.opened(reply)
        except ValueError:
            raise EndpointError(
                f"{url} answered with the text '{self._safe(reply)}'",
                hint=SERVER_HINT,
                status=502,
            ) from None
        predictions = dialects.predictions_in(reply)
        if predictions is not None:
            return predictions
        if isinstance(reply, dict) and "error" in reply:
            # Azure ML v1 scripts report errors with status 200
            raise EndpointError(
                f"{url} answered with an error: {self._safe(str(reply['error']))}",
                hint=SERVER_HINT,
                status=502,
            )
        raise EndpointError(f"{url} answered without predictions", hint=SERVER_HINT, status=502)

    def _json(self, url: str, response: requests.Response) -> Any:
        if not 200 <= response.status_code < 300:
            raise self.refusal(response)
        try:
            return response.json()
        except ValueError:
            raise EndpointError(
                f"{url} answered {response.status_code} with something that is not JSON",
                hint="Check that the URL is that of an endpoint.",
                status=502,
            ) from None

    def refusal(self, response: requests.Response) -> EndpointError:
        """Return the error for an answer outside 2xx, with the server's message."""
        status = response.status_code
        try:
            shape = response.json()
        except ValueError:
            shape = response.text if "html" not in response.headers.get("Content-Type", "") else ""
        hint = HINTS.get(status, SERVER_HINT if status >= 500 else None)
        details: list[Detail] = []
        words: Any = shape
        if isinstance(shape, dict):
            inner = shape.get("error")
            words = shape.get("message") or (
                inner.get("message") if isinstance(inner, dict) else inner
            )
            if isinstance(shape.get("hint"), str):
                hint = self._safe(shape["hint"])
            details = [
                Detail(
                    row=item.get("row"),
                    column=item.get("column"),
                    value=item.get("value"),
                    expected=item.get("expected"),
                )
                for item in shape.get("details") or []
                if isinstance(item, dict)
            ]
        said = self._safe(str(words)) if words else response.reason or "no reason given"
        return EndpointError(
            f"{response.url} answered {status}: {said}", hint=hint, details=details, status=status
        )

    def _unreachable(self, url: str, error: requests.RequestException) -> EndpointError:
        if isinstance(error, requests.ReadTimeout):
            return EndpointError(
                f"{url} did not answer within {self.timeout:g} s",
                hint="Send fewer rows at a time, or allow more time.",
                status=504,
            )
        return EndpointError(
            f"{url} cannot be reached ({type(error).__name__})",
            hint="Check the URL and that the endpoint runs: twinml status.",
        )

    def _safe(self, text: str) -> str:
        """Shorten what a server said and blot out the key, should it repeat it."""
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= 500 else f"{text[:500]}…"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
