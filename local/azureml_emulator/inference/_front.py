"""The scoring front end: authentication, choice of the deployment, its answer.

::

    https://ENDPOINT.REGION.inference.ml.azure.com
    ├── /score          any deployment that has traffic, or azureml-model-deployment: NAME
    └── /swagger.json

A server's refusal becomes 424 with its status in ``ms-azureml-model-error-statuscode``, a
timeout 408, too many requests at once 429, a server that is just starting 503.
"""

from __future__ import annotations

import random
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import urllib3

from azureml_emulator.inference._container import Container
from azureml_emulator.inference._fleet import Fleet

__all__ = ["Answer", "Deployment", "Endpoint", "Front", "FrontRefusal", "Question", "choose"]

HOP_BY_HOP = {
    "authorization", "azureml-model-deployment", "connection", "content-length", "host",
    "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
IDS = {"x-ms-client-request-id", "x-request-id"}
UNANSWERED = HOP_BY_HOP | {"date", "server"}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
CLIENT_ID_LENGTH = 40
MIRROR_THREADS = 4


@dataclass(frozen=True)
class Question:
    """A request, its body read; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """The answer to a scoring request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Deployment:
    """A deployment's settings for scoring requests; times in seconds."""

    id: str
    name: str
    timeout: float
    most_at_once: int


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's settings for scoring requests; shares are per cent.

    ``admits`` returns why a value of ``Authorization`` is not good enough, or ``None``.
    """

    name: str
    admits: Callable[[str], str | None]
    deployments: Mapping[str, Deployment]
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror: Mapping[str, int] = field(default_factory=dict)


class FrontRefusal(Exception):
    """The front end refuses a request itself, in plain text."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


class Draw(Protocol):
    """Returns a number from 0 up to, not including, 1."""

    def __call__(self) -> float: ...


def choose(shares: Mapping[str, int], draw: float) -> str | None:
    """Return the deployment for a draw from [0, 1); ``None`` if nobody has a share.

    Examples
    --------
    >>> [choose({"blue": 90, "green": 10}, draw) for draw in (0.0, 0.89, 0.9)]
    ['blue', 'blue', 'green']
    """
    total = sum(shares.values())
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if share and draw * total < reached:
            return name
    return None


class Front:
    """Answers scoring requests from a fleet."""

    def __init__(self, fleet: Fleet, draw: Draw = random.random) -> None:
        self._fleet, self._draw = fleet, draw
        self._at_once: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._mirrors = ThreadPoolExecutor(MIRROR_THREADS, thread_name_prefix="mirror")

    def answer(self, endpoint: Endpoint, question: Question) -> Answer:
        """Return the answer to a request.

        Raises
        ------
        FrontRefusal
            No deployment was asked, or none answered.
        """
        problem = endpoint.admits(question.headers.get("authorization", ""))
        if problem is not None:
            raise FrontRefusal(401, problem)
        deployment = self._chosen(endpoint, question)
        headers = _forwarded(question.headers)
        with self._admitted(deployment):
            found = self._fleet.find(deployment.id)
            if found is None:
                raise FrontRefusal(503, "no healthy upstream", _named(deployment))
            self._mirror(endpoint, question, headers)
            return _asked(found[0], deployment, question, headers)

    def close(self) -> None:
        """Drop mirrored requests that wait."""
        self._mirrors.shutdown(wait=False, cancel_futures=True)

    def _chosen(self, endpoint: Endpoint, question: Question) -> Deployment:
        wanted = question.headers.get("azureml-model-deployment")
        name = wanted or choose(endpoint.traffic, self._draw())
        if name is None:
            raise FrontRefusal(404, f"endpoint '{endpoint.name}' has no deployment with traffic")
        deployment = endpoint.deployments.get(name)
        if deployment is None:
            raise FrontRefusal(404, f"endpoint '{endpoint.name}' has no deployment '{name}'")
        return deployment

    @contextmanager
    def _admitted(self, deployment: Deployment) -> Iterator[None]:
        key = deployment.id
        with self._lock:
            if self._at_once[key] >= deployment.most_at_once:
                raise FrontRefusal(
                    429,
                    "too many pending requests: the deployment takes "
                    f"{deployment.most_at_once} at a time",
                    _named(deployment),
                )
            self._at_once[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_once[key] -= 1

    def _mirror(self, endpoint: Endpoint, question: Question, headers: Mapping[str, str]) -> None:
        """Send a copy to the deployments that get one; nobody waits for their answers."""
        if question.headers.get("azureml-model-deployment"):
            return
        for name, share in endpoint.mirror.items():
            deployment = endpoint.deployments.get(name)
            if deployment is not None and self._draw() * 100 < share:
                found = self._fleet.find(deployment.id)
                if found is not None:
                    self._mirrors.submit(_copied, found[0], deployment, question, headers)


def _asked(
    container: Container, deployment: Deployment, question: Question, headers: Mapping[str, str]
) -> Answer:
    try:
        reply = container.request(
            question.method,
            question.target,
            body=question.body,
            headers=headers,
            timeout=deployment.timeout,
        )
    except urllib3.exceptions.TimeoutError as error:
        raise FrontRefusal(408, "upstream request timeout", _named(deployment)) from error
    except urllib3.exceptions.HTTPError as error:
        raise FrontRefusal(503, "upstream connect error", _named(deployment)) from error
    answered = {
        name: value for name, value in reply.headers.items() if name.lower() not in UNANSWERED
    }
    answered |= {**_named(deployment), "x-request-id": headers["x-request-id"]}
    status = reply.status
    if not 200 <= status < 300:
        answered["ms-azureml-model-error-statuscode"] = str(status)
        answered["ms-azureml-model-error-reason"] = "model_error"
        status = 424
    return Answer(status, answered, reply.data)


def _copied(
    container: Container, deployment: Deployment, question: Question, headers: Mapping[str, str]
) -> None:
    try:
        _asked(container, deployment, question, headers)
    except FrontRefusal:
        # A mirrored request is for the mirror's own log only.
        return


def _named(deployment: Deployment) -> dict[str, str]:
    return {"azureml-model-deployment": deployment.name}


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a server gets; ids are what Azure makes of them."""
    sent = {name: value for name, value in headers.items() if name not in HOP_BY_HOP | IDS}
    given = headers.get("x-request-id", "")
    sent["x-request-id"] = given if _GUID.fullmatch(given) else str(uuid.uuid4())
    client = re.sub(r"[^A-Za-z0-9_-]", "", headers.get("x-ms-client-request-id", ""))
    if client:
        sent["x-ms-client-request-id"] = client[:CLIENT_ID_LENGTH]
    return sent
