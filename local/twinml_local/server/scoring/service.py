"""A scoring request from its parsed head to its reply: key, deployment, score, log, telemetry.

The front (``twinml_local.server.scoring.front``) reads a request and writes a reply; what lies
between is here, and what requests to the pages have in common with it::

    begin      ids, the endpoint as it is at this moment
    refusal    is the key one of the endpoint's
    choose     which deployment answers, and whether another gets a copy
    score      parse, predict, render
    headers    of the reply
    end        log line and telemetry, once the reply is made
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from twinml import __version__
from twinml.contract import Contract, Route, ScoringRequest, parse, render
from twinml.contract.azure import PACKED, AzureDifference
from twinml.errors import Detail, PayloadError, TwinmlError
from twinml_local.compiled import NotCovered
from twinml_local.keys import offered_key, opens
from twinml_local.server._cors import headers as cors_headers
from twinml_local.server._request_log import RequestLog
from twinml_local.server.deployments.deployment import Deployment, Serving, mirrored
from twinml_local.server.deployments.ood import ASKED, HEADER, METRIC
from twinml_local.server.scoring.mirror import Copy, Mirror, record_scored
from twinml_local.telemetry import TelemetryClient

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from numpy.typing import NDArray

__all__ = [
    "AZURE_HEADER",
    "DEPLOYMENT_HEADER",
    "LONGEST_ID",
    "LONGEST_PATH",
    "Exchange",
    "ScoringService",
    "packed",
]

AZURE_HEADER = "x-twinml-azure"
AZURE_METRIC = "azure_differences"
DEPLOYMENT_HEADER = "azureml-model-deployment"
LONGEST_ID = 100  # characters, as Azure ML's server has it
LONGEST_PATH = 200  # characters of a path that an error or a record repeats
# Asked every few seconds by whoever watches: no telemetry of that.
PROBES = frozenset({"/", "/health", "/ping", "/ready", "/metrics"})
UUID_MASK = 0xF000_C000 << 48
UUID_4 = 0x4000_8000 << 48
SHORT_BODY = 32 * 1024  # bytes that a compiled form answers sooner than a turn is taken
NO_TURN: AbstractContextManager[object] = nullcontext()
# Where WSGI has the ids that come back.
IDS = {
    "x-request-id": "HTTP_X_REQUEST_ID",
    "x-ms-request-id": "HTTP_X_MS_REQUEST_ID",
    "x-ms-client-request-id": "HTTP_X_MS_CLIENT_REQUEST_ID",
}


class Exchange:
    """A request and what becomes of it.

    Parameters
    ----------
    environ
        The request, as WSGI has it.
    serving
        The endpoint as it is when the request comes.
    new_id
        The request's id if it brings none.

    Attributes
    ----------
    request_id
        The caller's, or a new one.
    deployment
        Who answers; ``None`` until chosen.
    copy
        The request once more for a mirrored deployment; ``None`` for none.
    n_rows, function_ms, function_failed
        What scoring came to; ``None`` until then.
    ood
        The largest out-of-distribution score of the rows, where it was asked for.
    azure
        What Azure's side would not take of the request, or read as something else.
    """

    __slots__ = (
        "azure",
        "client_id",
        "copy",
        "deployment",
        "earlier_id",
        "environ",
        "function_failed",
        "function_ms",
        "mirrored",
        "n_rows",
        "ood",
        "request_id",
        "serving",
        "started",
    )

    def __init__(self, environ: WSGIEnvironment, serving: Serving, new_id: str) -> None:
        self.started = time.perf_counter()
        self.environ = environ
        self.serving = serving
        self.earlier_id: str = environ.get("HTTP_X_MS_REQUEST_ID", "")
        self.client_id: str = environ.get("HTTP_X_MS_CLIENT_REQUEST_ID", "")
        given: str = environ.get("HTTP_X_REQUEST_ID", "")
        # What is refused for its length does not come back.
        self.request_id = given if given and len(given) <= LONGEST_ID else new_id
        self.deployment: Deployment | None = None
        self.mirrored: Deployment | None = None
        self.copy: Copy | None = None
        self.n_rows: int | None = None
        self.ood: str | None = None
        self.azure: AzureDifference | None = None
        self.function_ms: float | None = None
        self.function_failed = False

    @property
    def overlong_id(self) -> str | None:
        """The header whose id is longer than may be."""
        if len(self.earlier_id) <= LONGEST_ID and len(self.client_id) <= LONGEST_ID:
            given: str = self.environ.get("HTTP_X_REQUEST_ID", "")
            if len(given) <= LONGEST_ID:
                return None
        for name, key in IDS.items():
            if len(self.environ.get(key, "")) > LONGEST_ID:
                return name
        return None

    def refusal(self) -> str | None:
        """Return what is wrong with the key; ``None`` when it is one of the endpoint's."""
        offered = offered_key(self.environ.get("HTTP_AUTHORIZATION", ""))
        if opens(offered, self.serving.key_bytes):
            return None
        return "the key is wrong" if offered else "the key is missing"

    def choose(self) -> Deployment:
        """Choose the deployment that answers, once, and whether another one gets a copy.

        Raises
        ------
        NotFound, PlatformUnavailable
            None can answer.
        """
        if self.deployment is None:
            now = self.serving
            wanted: str | None = self.environ.get("HTTP_AZUREML_MODEL_DEPLOYMENT")
            self.deployment = now.chosen(wanted, random.random())  # noqa: S311 - no secret
            if now.mirror and wanted is None:
                point = random.random()  # noqa: S311 - as above
                name = mirrored(now.mirror, tuple(now.deployments), point=point)
                self.mirrored = None if name is None else now.deployments[name]
        return self.deployment


class ScoringService:
    """Scores the requests of one server.

    Parameters
    ----------
    serving
        Asked once a request for what is served then; name and number of threads are taken
        when the service is made.
    log
        Where requests are noted; ``None`` notes nothing.
    mirror
        Takes copies of requests; ``None`` mirrors nothing.
    telemetry
        Takes telemetry; ``None`` records nothing.
    """

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        log: RequestLog | None = None,
        mirror: Mirror | None = None,
        telemetry: TelemetryClient | None = None,
    ) -> None:
        self._serving = serving
        self._log = log
        self._mirror = mirror
        self._telemetry = telemetry
        self._turns = threading.BoundedSemaphore(serving().settings.threads)
        # Made in the process that uses it, so that no two of them give the same ids.
        self._chance = random.Random()  # noqa: S311 - ids tell requests apart, and open nothing
        self._version = f"twinml/{__version__}"
        self.endpoint = serving().endpoint

    def begin(self, environ: WSGIEnvironment) -> Exchange:
        """Begin with a request."""
        return Exchange(environ, self._serving(), self._new_id())

    def _new_id(self) -> str:
        """Return a random UUID, as ``uuid.uuid4`` makes them but in a tenth of its time."""
        bits = self._chance.getrandbits(128) & ~UUID_MASK | UUID_4
        digits = f"{bits:032x}"
        groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return "-".join(groups)

    def score(
        self,
        exchange: Exchange,
        route: Route,
        body: bytes,
        content_type: str | None,
        *,
        wait: bool = True,
    ) -> bytes:
        """Return the reply's body.

        Parameters
        ----------
        exchange
            Its key has been checked and its deployment chosen.
        route
            Which dialects are taken.
        body, content_type
            As they came over the wire. Whoever calls has read the body already: a slow client
            waits for nobody's turn.
        wait
            Whether the pipeline may be asked where the compiled form does not cover the request.

        Raises
        ------
        NotCovered
            It does not, and ``wait`` is false.
        TwinmlError
            The request cannot be scored.
        """
        deployment, most = exchange.choose(), exchange.serving.settings.max_rows
        if exchange.mirrored is not None:
            exchange.copy = Copy(
                exchange.mirrored, body, content_type, route, exchange.request_id, most
            )
        # Short requests that are gathered must all come to where that is done; long ones are not
        # gathered, and what it takes to read them is limited as for any deployment.
        quick = deployment.compiled is not None or deployment.gathers
        with NO_TURN if quick and len(body) <= SHORT_BODY else self._turns:
            started = time.perf_counter()
            try:
                scoring = parse(
                    deployment.contract, body, content_type=content_type, route=route, max_rows=most
                )
                azure = PACKED if packed(exchange.environ) else scoring.azure
                if azure is not None:
                    self._note_azure(exchange, deployment, azure)
                labels, probabilities = _predicted(deployment, scoring, wait)
                ood = None
                if ASKED in exchange.environ or exchange.serving.settings.ood_scores:
                    ood = self._ood_header(exchange, deployment, scoring)
                reply = render(deployment.contract, scoring, labels, probabilities, ood)
            except NotCovered:
                raise
            except Exception as error:
                exchange.function_failed = not isinstance(error, TwinmlError) or error.status >= 500
                raise
            finally:
                exchange.function_ms = (time.perf_counter() - started) * 1e3
        exchange.n_rows = scoring.n_rows
        if self._telemetry is not None:
            record_scored(
                self._telemetry, deployment, scoring, labels, probabilities, exchange.request_id
            )
        return reply

    def _note_azure(
        self, exchange: Exchange, deployment: Deployment, azure: AzureDifference
    ) -> None:
        """Note what Azure's side would do otherwise.

        Raises
        ------
        PayloadError
            The endpoint is strict.
        """
        exchange.azure = azure
        if self._telemetry is not None:
            dimensions = {"deployment": deployment.name, "what": azure.header}
            self._telemetry.record_metric(AZURE_METRIC, 1.0, dimensions=dimensions)
        if exchange.serving.settings.strict:
            raise azure.error()

    def _ood_header(
        self, exchange: Exchange, deployment: Deployment, scoring: ScoringRequest
    ) -> list[float] | None:
        """Return the out-of-distribution score of each row, and note the largest."""
        scores = None if deployment.ood is None else deployment.ood.scores(scoring)
        exchange.ood = f"{max(scores):.4f}" if scores else "unavailable"
        if scores and self._telemetry is not None:
            self._telemetry.record_metric(
                METRIC, max(scores), dimensions={"deployment": deployment.name}
            )
        return scores

    def headers(
        self, exchange: Exchange, status: int, *, methods: str = ""
    ) -> list[tuple[str, str]]:
        """Return the headers that every reply carries.

        Parameters
        ----------
        exchange
            The request.
        status
            Of the reply.
        methods
            Which methods the route has, as the reply says it.
        """
        environ, request_id = exchange.environ, exchange.request_id
        headers = [("x-ms-server-version", self._version), ("x-request-id", request_id)]
        if status != 431:
            client_id = exchange.client_id
            headers.append(("x-ms-request-id", exchange.earlier_id or client_id or request_id))
            if client_id:
                headers.append(("x-ms-client-request-id", client_id))
            if "HTTP_TRACEID" in environ:
                headers.append(("TraceId", environ["HTTP_TRACEID"][:LONGEST_ID]))
        if exchange.deployment is not None:
            headers.append((DEPLOYMENT_HEADER, exchange.deployment.name))
        if exchange.function_ms is not None:
            headers.append(("x-ms-run-function-failed", str(exchange.function_failed)))
            headers.append(("x-ms-run-fn-exec-ms", f"{exchange.function_ms:.3f}"))
        if exchange.ood is not None:
            headers.append((HEADER, exchange.ood))
        if exchange.azure is not None:
            headers.append((AZURE_HEADER, exchange.azure.header))
        origins = exchange.serving.settings.cors_origins
        if origins:
            headers.extend(cors_headers(origins, environ, methods))
        return headers

    def mirror(self, exchange: Exchange) -> Callable[[], None] | None:
        """Return what is to be called once the reply is on its way; ``None`` for nothing."""
        mirror, copy = self._mirror, exchange.copy
        if mirror is None or copy is None:
            return None
        return lambda: mirror.submit(copy)

    def end(
        self, exchange: Exchange, rule: str | None, path: str, status: int, size: int | None
    ) -> None:
        """Note a request whose reply is made.

        Parameters
        ----------
        exchange
            The request.
        rule
            The route's pattern; ``None`` when there is no such route.
        path
            As it was asked for.
        status, size
            Of the reply, in bytes; ``None`` when it is not known.
        """
        milliseconds = (time.perf_counter() - exchange.started) * 1e3
        method: str = exchange.environ["REQUEST_METHOD"]
        deployment = exchange.deployment
        name = None if deployment is None else deployment.name
        if self._telemetry is not None and path not in PROBES:
            self._telemetry.record_request(
                f"{method} {rule}" if rule else "other",
                path[:LONGEST_PATH],
                status,
                milliseconds,
                operation_id=exchange.request_id,
                deployment=name,
                model=None if deployment is None else deployment.model,
                rows=exchange.n_rows,
                scoring_ms=exchange.function_ms,
                client_request_id=exchange.client_id[:LONGEST_ID] or None,
            )
        if self._log is not None:
            self._log.request(name, method, path, status, milliseconds, size)

    def record(self, exchange: Exchange, error: Exception) -> None:
        """Record an error that is about to be answered."""
        if self._telemetry is not None:
            deployment = exchange.deployment
            self._telemetry.record_exception(
                error,
                operation_id=exchange.request_id,
                deployment=None if deployment is None else deployment.name,
                contract=None if deployment is None else deployment.contract,
                handled=isinstance(error, TwinmlError),
            )

    def log_failure(self, exchange: Exchange, error: Exception) -> None:
        """Note where an error came from that nobody foresaw."""
        if self._log is not None:
            deployment = exchange.deployment
            name = None if deployment is None else deployment.name
            self._log.failure(name, exchange.request_id, error)


def packed(environ: WSGIEnvironment) -> bool:
    """Tell whether a body came with a ``Content-Encoding``."""
    encoding = environ.get("HTTP_CONTENT_ENCODING")
    return encoding is not None and encoding.strip().lower() != "identity"


def _predicted(
    deployment: Deployment, scoring: ScoringRequest, wait: bool
) -> tuple[Sequence[str | int | float | bool], NDArray[Any] | None]:
    """Return what the deployment predicts; what it fails on for an odd value is the caller's."""
    try:
        return deployment.predict(scoring, wait=wait)
    except ValueError as error:
        odd = odd_value(deployment.contract, scoring.columns)
        if odd is None:
            raise
        raise PayloadError(
            f"row {odd.row}, column '{odd.column}': found {odd.value}, which this model cannot "
            "score",
            hint=f"Send '{odd.column}' as {odd.expected}.",
            details=[odd],
        ) from error


def odd_value(contract: Contract, columns: Mapping[str, Sequence[Any]]) -> Detail | None:
    """Return the first value that models other than twinml's own may fail on; ``None`` for none.

    That is an infinity, a text that is none of the known categories, or null: scikit-learn's bare
    estimators and encoders take them in part.
    """
    for column in contract.columns:
        known = None if column.categories is None else frozenset(column.categories)
        for row, value in enumerate(columns[column.name]):
            if value is None or value != value:
                shown, expected = "null", "a value"
            elif type(value) is float and math.isinf(value):
                shown, expected = ("-" * (value < 0)) + "Infinity", "a finite number"
            elif known is not None and value not in known:
                shown, expected = str(value)[:LONGEST_ID], f"one of {_first(sorted(known))}"
            else:
                continue
            return Detail(row=row, column=column.name, value=shown, expected=expected)
    return None


def _first(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" … ({len(names)} in all)" if len(names) > most else "")
