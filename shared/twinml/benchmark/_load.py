"""The load that a benchmark puts on an endpoint: workers, connections, checks.

Each worker is a thread with one kept connection. In a closed loop it sends its next request
when the last one has been answered. In an open loop every request has a time at which it is
due, whatever became of those before it, and its latency counts from then: a server that
stalls for a second makes the requests of that second late, as it would for its users, instead
of making the client send fewer. The calling thread watches, so that neither a server that
falls silent nor one that sends a byte now and then can hold a run up past its limits.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from twinml.contract.dialects import opened, predictions_in

__all__ = ["Check", "Destination", "Failure", "Loop", "Tally"]

# What a connection says when the server dropped it while it lay idle.
DROPPED = (
    http.client.RemoteDisconnected,
    BrokenPipeError,
    ConnectionAbortedError,
    ConnectionResetError,
)
WATCH = 0.05  # seconds between two looks of the calling thread
# Left out of the headers taken over: they belong to one request or one client.
OWN_HEADERS = frozenset({"accept-encoding", "connection", "content-length"})


@dataclass(frozen=True)
class Failure:
    """Failures of one kind; ``message`` is that of the first.

    ``kind`` is ``HTTP`` and the status, ``undecodable``, ``different``, ``timeout`` or
    ``connection``.
    """

    kind: str
    count: int
    message: str


@dataclass
class Tally:
    """The counts of a run.

    Attributes
    ----------
    replies
        Of each good reply: time of arrival in s, latency in ms from when the request was due,
        and the part of it in ms since the request was really sent.
    failed_at
        When each failure was known, in s.
    late
        Seconds that a request left after it was due although its worker stood ready: the
        client's own fault.
    """

    completed: int = 0
    replies: list[tuple[float, float, float]] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    reply_bytes: int = 0
    reconnects: int = 0
    non_2xx: int = 0
    server: str = ""
    cpu: float = 0.0
    ended: float = 0.0

    def fail(self, kind: str, message: str, count: int = 1) -> None:
        """Count failures of a kind."""
        known = self.failures.get(kind, Failure(kind, 0, message))
        self.failures[kind] = Failure(kind, known.count + count, known.message)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Add up what several workers counted."""
        total = cls()
        for tally in tallies:
            for name in ("completed", "bytes_sent", "bytes_received", "reconnects", "non_2xx"):
                setattr(total, name, getattr(total, name) + getattr(tally, name))
            total.cpu += tally.cpu
            total.replies += tally.replies
            total.failed_at += tally.failed_at
            total.late += tally.late
            total.reply_bytes = total.reply_bytes or tally.reply_bytes
            total.server = total.server or tally.server
            total.ended = max(total.ended, tally.ended)
            for failure in tally.failures.values():
                total.fail(failure.kind, failure.message, failure.count)
        return total


class Destination:
    """Where requests go, and how to connect; a proxy named in the environment is used.

    Parameters
    ----------
    uri
        The scoring URI.
    headers
        Sent with every request.
    timeout
        Seconds that one request may take.
    """

    def __init__(self, uri: str, headers: Mapping[str, str], *, timeout: float) -> None:
        url = urlsplit(uri)
        self.timeout = timeout
        self.secure = url.scheme == "https"
        self.host = url.hostname or ""
        self.port = url.port or (443 if self.secure else 80)
        self.path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self.headers = {k: v for k, v in headers.items() if k.lower() not in OWN_HEADERS}
        # A proxy named in the environment cannot reach this machine's own loopback.
        loopback = self.host in {"localhost", "::1"} or self.host.startswith("127.")
        proxy = None if loopback else select_proxy(uri, get_environ_proxies(uri))
        self.proxy = urlsplit(proxy) if proxy else None
        self.proxy_headers: dict[str, str] = {}
        if self.proxy and self.proxy.username:
            login = f"{unquote(self.proxy.username)}:{unquote(self.proxy.password or '')}"
            self.proxy_headers["Proxy-Authorization"] = (
                f"Basic {b64encode(login.encode()).decode()}"
            )
        if self.proxy and not self.secure:
            self.path = f"http://{url.netloc}{self.path}"
            self.headers |= self.proxy_headers
        if self.secure:
            bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
            self.context = ssl.create_default_context(cafile=bundle or DEFAULT_CA_BUNDLE_PATH)

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that opens with its first request."""
        host, port = self.host, self.port
        if self.proxy:
            host, port = self.proxy.hostname or "", self.proxy.port or 80
        if not self.secure:
            return http.client.HTTPConnection(host, port, timeout=self.timeout)
        connection = http.client.HTTPSConnection(
            host, port, timeout=self.timeout, context=self.context
        )
        if self.proxy:
            connection.set_tunnel(self.host, self.port, self.proxy_headers)
        return connection


class Check:
    """Tells a good reply from a failure.

    Parameters
    ----------
    expected
        The right reply to each body, decoded, in its dialect's wrapping or without; ``None``
        accepts every reply that is JSON.

    Examples
    --------
    >>> check = Check([["yes"]])
    >>> check.fault(0, 200, b'{"predictions": ["yes"]}')
    >>> check.fault(0, 200, b'["no"]')
    ('different', 'body 0: expected ["yes"], got ["no"]')
    """

    def __init__(self, expected: Sequence[Any] | None) -> None:
        self.expected = None if expected is None else [bare(reply) for reply in expected]
        # Bytes known to be right, so that an unchanged reply is not decoded again.
        self.known: dict[int, bytes] = {}

    def fault(self, number: int, status: int, reply: bytes) -> tuple[str, str] | None:
        """Return kind and message of what is wrong with the reply to body ``number``."""
        text = shorten(reply.decode("utf-8", "replace"))
        if not 200 <= status < 300:
            return f"HTTP {status}", text or "an empty reply"
        if self.known.get(number) == reply:
            return None
        try:
            found = bare(json.loads(reply))
        except ValueError:
            return "undecodable", f"the reply is not JSON: '{text}'"
        if self.expected is not None and found != self.expected[number]:
            wanted = shorten(json.dumps(self.expected[number], default=str))
            return (
                "different",
                f"body {number}: expected {wanted}, got {shorten(json.dumps(found))}",
            )
        self.known[number] = reply
        return None


def bare(reply: Any) -> Any:
    """Take the predictions out of the wrapping of a dialect, where there is one."""
    try:
        reply = opened(reply)
    except ValueError:
        return reply
    # What stands beside the predictions is to be compared as well.
    found = None if isinstance(reply, dict) and len(reply) > 1 else predictions_in(reply)
    return reply if found is None else found


def shorten(text: str) -> str:
    """Return ``text`` on one line, 200 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"


class Worker(threading.Thread):
    """Sends one request at a time over one connection, as long as any are to be sent.

    Parameters
    ----------
    loop
        The run that it works for.
    """

    def __init__(self, loop: Loop) -> None:
        super().__init__(daemon=True)
        self.loop = loop
        self.tally = Tally()
        self.connection = loop.target.connection()
        self.began: float | None = None  # of the request under way
        self.error: BaseException | None = None

    def run(self) -> None:
        """Warm up, wait for the other workers, then send and count."""
        loop = self.loop
        try:
            for number in loop.warmups:
                self.send(number)
            self.tally = Tally()
            loop.ready.wait()
            before = time.thread_time()
            for number in loop.numbers:
                self.send(number, loop.due(number))
            self.tally.cpu = time.thread_time() - before
        except threading.BrokenBarrierError:
            return  # the run was ended while this worker waited
        except BaseException as error:  # raised again in the calling thread
            self.error = error
            loop.ready.abort()
        finally:
            self.connection.close()
            loop.done.release()

    def send(self, number: int, due: float | None = None) -> None:
        """Send one request, not before it is due, and count how it went."""
        if due is not None and not self.wait(due):
            return
        body_number = number % len(self.loop.bodies)
        body = self.loop.bodies[body_number]
        tally, limit = self.tally, self.loop.target.timeout
        self.began = began = time.perf_counter()
        problem: tuple[str, str] | None
        late = "timeout", f"no whole reply within {limit:g} s"
        reply, status = b"", None
        try:
            status, reply = self.exchange(body, began)
        except (OSError, http.client.HTTPException) as error:
            ended = time.perf_counter()
            self.connection.close()
            words = shorten(str(error))
            problem = "connection", f"{type(error).__name__}{f': {words}' if words else ''}"
            if isinstance(error, TimeoutError) or ended - began >= limit:
                problem = late
        else:
            ended = time.perf_counter()
            problem = self.loop.check.fault(body_number, status, reply)
            if ended - began >= limit:
                problem = late
        finally:
            self.began = None
        if self.loop.stopping:
            return  # perhaps cut off by the end of the run: neither good nor a failure
        tally.completed += 1
        tally.bytes_sent += len(body)
        tally.bytes_received += len(reply)
        tally.non_2xx += status is not None and not 200 <= status < 300
        tally.ended = ended
        if problem:
            tally.fail(*problem)
            tally.failed_at.append(ended)
        else:
            service = (ended - began) * 1000
            latency = service if due is None else (ended - due) * 1000
            tally.replies.append((ended, latency, service))
            tally.reply_bytes = tally.reply_bytes or len(reply)

    def wait(self, due: float) -> bool:
        """Sleep until ``due``; tell whether the request is still to be sent."""
        ahead = due - time.perf_counter()
        if ahead <= 0:
            return True
        while ahead > 0:
            if self.loop.stopping:
                return False
            time.sleep(min(ahead, WATCH))
            ahead = due - time.perf_counter()
        self.tally.late.append(-ahead)
        return True

    def exchange(self, body: bytes, began: float) -> tuple[int, bytes]:
        """Return status and reply to ``body``, whose request began at ``began``.

        A kept connection that the server has dropped in the meantime is opened anew, once, as
        any client does; the time that takes counts.
        """
        kept = self.connection.sock is not None
        try:
            response = self.post(body)
        except DROPPED:
            late = time.perf_counter() - began >= self.loop.target.timeout
            if not kept or late or self.loop.stopping:
                raise
            self.connection.close()
            self.tally.reconnects += 1
            response = self.post(body)
        self.tally.server = self.tally.server or (response.getheader("Server") or "").strip()
        return response.status, response.read()

    def post(self, body: bytes) -> http.client.HTTPResponse:
        """Send ``body`` and return the response once its headers are there."""
        target = self.loop.target
        self.connection.request("POST", target.path, body, target.headers)
        return self.connection.getresponse()

    def cut(self) -> None:
        """Break the connection, so that a worker that waits on it goes on. From any thread."""
        sock = self.connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed by its worker at the same moment


class Loop:
    """One run: its workers, and the thread that watches them.

    Parameters
    ----------
    target, check
        Where to send, and what is right.
    bodies
        Sent in turn.
    requests, concurrency, warmup, rate, seconds, max_seconds
        As in ``twinml.benchmark.run``.

    Attributes
    ----------
    unfinished
        Requests under way when the time was over, and in an open loop those due by then.
    busy
        CPU seconds of this whole process during the counted part.
    """

    def __init__(
        self,
        target: Destination,
        check: Check,
        bodies: Sequence[bytes],
        *,
        requests: int | None,
        concurrency: int,
        warmup: int,
        max_seconds: float,
        rate: float | None = None,
        seconds: float | None = None,
    ) -> None:
        self.target = target
        self.check = check
        self.bodies = bodies
        self.requests = requests
        self.concurrency = concurrency
        self.rate = rate
        self.seconds = seconds
        self.max_seconds = max_seconds
        self.stopping = False
        self.began = 0.0
        self.deadline = time.perf_counter() + max_seconds
        self.closing = self.deadline
        self.unfinished = 0
        self.busy = 0.0
        self.warmups = Numbers(self, warmup)
        self.numbers = Numbers(self, requests)
        self.ready = threading.Barrier(concurrency, action=self.begin)
        self.done = threading.Semaphore(0)

    def begin(self) -> None:
        """Start the clock, when the last worker has warmed up."""
        self.busy = time.process_time()
        self.began = time.perf_counter()
        self.deadline = self.began + self.max_seconds
        self.closing = min(self.deadline, self.began + (self.seconds or self.max_seconds))

    def due(self, number: int) -> float | None:
        """Return when request ``number`` is to be sent; ``None`` in a closed loop: at once."""
        return None if self.rate is None else self.began + number / self.rate

    def run(self, progress: Callable[[int, int | None], None] | None = None) -> Tally:
        """Send all requests, or as many as the time allows, and add up what came of them."""
        workers = [Worker(self) for _ in range(self.concurrency)]
        try:
            for worker in workers:
                worker.start()
            at_work = self.concurrency
            while at_work:
                at_work -= self.done.acquire(timeout=WATCH)
                self.watch(workers)
                if progress and self.began:
                    progress(sum(worker.tally.completed for worker in workers), self.requests)
        finally:
            # Also reached by Ctrl-C: no worker is left behind.
            self.stopping = True
            self.busy = time.process_time() - self.busy if self.began else 0.0
            self.ready.abort()
            for worker in workers:
                worker.cut()
            for worker in workers:
                if worker.ident is not None:
                    worker.join(self.target.timeout)
        for worker in workers:
            if worker.error is not None:
                raise worker.error
        total = Tally.total(worker.tally for worker in workers)
        if self.rate is not None and self.requests is not None:
            due = min(self.requests, math.ceil(self.max_seconds * self.rate))
            self.unfinished = due - total.completed
        return total

    def watch(self, workers: Sequence[Worker]) -> None:
        """Cut requests that take too long, and all of them when the time is over."""
        now = time.perf_counter()
        if self.began and now >= self.deadline and not self.stopping:
            self.unfinished = sum(worker.began is not None for worker in workers)
            self.stopping = True
        for worker in workers:
            began = worker.began
            if began is not None and (self.stopping or now - began >= self.target.timeout):
                worker.cut()


class Numbers:
    """Hands the numbers of a run's requests to its workers, until the time is over.

    Parameters
    ----------
    loop
        The run.
    count
        How many; ``None`` for as many as the time allows.
    """

    def __init__(self, loop: Loop, count: int | None) -> None:
        self.loop = loop
        self.count = count
        self.next = itertools.count()
        self.lock = threading.Lock()

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        if self.loop.stopping or time.perf_counter() >= self.loop.closing:
            raise StopIteration
        with self.lock:
            number = next(self.next)
        if self.count is not None and number >= self.count:
            raise StopIteration
        return number
