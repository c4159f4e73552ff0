"""What a running endpoint records: counters for Prometheus, rows in its database, payloads."""

import gzip
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from twinml import model
from twinml.errors import EndpointError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server import ServerSettings

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
MARKER = "payload-secret"
ODD = {"age": 999, "balance": None, "job": MARKER, "owner": True}


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


@pytest.fixture
def home(own_home: Path) -> Iterator[Path]:
    yield own_home
    endpoints.stop()


def deploy(directory: Path, deployment: str = "blue", **settings: float) -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model=NAME,
        version="1",
        digest=model.digest(directory),
        settings=ServerSettings(**settings),  # type: ignore[arg-type]
    )


def metrics_when(info: EndpointInfo, *words: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        text = requests.get(info.scoring_uri.replace("/score", "/metrics"), timeout=10).text
        if all(word in text for word in words):
            return text
        assert time.monotonic() < deadline, [word for word in words if word not in text] + [text]
        time.sleep(0.2)


def scored_by_blue(text: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith("twinml_requests_total{")]
    wanted = [one for one in lines if 'deployment="blue"' in one and 'code="200"' in one]
    return sum(float(line.rsplit(" ", 1)[1]) for line in wanted)


def test_requests_errors_and_odd_values_are_counted(home: Path, model_directory: Path) -> None:
    deploy(model_directory)
    info = deploy(model_directory, "green")
    endpoints.set_traffic(NAME, None, mirror={"green": 50})
    with endpoints.client(NAME, deployment="blue") as client:
        client.score([OLD, ODD])
        with pytest.raises(EndpointError):
            client.score([OLD | {"age": "payload-secret"}])
    with endpoints.client(NAME) as client:
        for _ in range(30):
            client.score([OLD])
    text = metrics_when(
        info,
        'deployment="green"',
        'code="400"',
        "twinml_feature_unseen_total{",
        "twinml_feature_out_of_range_total{",
        "twinml_exceptions_total{",
    )
    # What was scored is counted off the hot path, a moment later.
    deadline = time.monotonic() + 60
    while scored_by_blue(text) < 31 and time.monotonic() < deadline:
        time.sleep(0.05)
        text = metrics_when(info)
    assert scored_by_blue(text) == 31
    assert 'operation="GET /health"' not in text

    # As Prometheus itself reads it.
    families = {one.name: one for one in text_string_to_metric_families(text)}
    assert {families[name].type for name in ("twinml_requests", "twinml_feature_unseen")} == {
        "counter"
    }
    unseen = {
        (one.labels["deployment"], one.labels["feature"]): one.value
        for one in families["twinml_feature_unseen"].samples
    }
    assert unseen["blue", "job"] == 1

    endpoints.stop()
    with closing(sqlite3.connect(folder() / "telemetry.db")) as database:
        count = {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("requests", "dependencies", "exceptions", "traces", "customMetrics")
        }
        notes = [row[0] for row in database.execute("SELECT message FROM traces")]
    assert all(count.values()), count
    assert any(note.startswith("serving blue") for note in notes)
    assert not (folder() / "modelDataCollector").exists()


def test_no_file_holds_a_key_or_a_value_of_a_payload(home: Path, model_directory: Path) -> None:
    """Whatever is sent wherever: scored, refused, malformed, without or with the wrong key."""
    info = deploy(model_directory)
    endpoints.set_traffic(NAME, None)
    key = endpoints.keys(NAME).primary
    bearer = {"Authorization": f"Bearer {key}"}
    json_type = {"Content-Type": "application/json"}
    rows = [
        OLD | {"job": MARKER},
        OLD | {"age": MARKER},
        OLD | {"balance": [MARKER]},
        OLD | {MARKER: 1},
        {MARKER: MARKER},
    ]
    for row in rows:
        for route, name in (("/score", "data"), ("/invocations", "dataframe_records")):
            address = info.scoring_uri.replace("/score", route)
            requests.post(address, json={name: [row]}, headers=bearer, timeout=60)
    for body, headers in (
        (f'{{"data": [{MARKER}'.encode(), bearer | json_type),
        (MARKER.encode(), bearer | {"Content-Type": "text/csv"}),
        (b"{}", {"Authorization": f"Bearer {MARKER}"} | json_type),
        (b"{}", {"Authorization": f"Basic {MARKER}"} | json_type),
        (b"{}", bearer | json_type | {"Cookie": MARKER, "X-Api-Key": MARKER}),
    ):
        requests.post(info.scoring_uri, body, headers=headers, timeout=60)
    asked = {"age": "70", "balance": MARKER, "job": MARKER, "owner": "true"}
    requests.get(info.scoring_uri, params=asked, headers=bearer, timeout=60)
    metrics_when(info, 'code="400"', 'code="401"', "twinml_exceptions_total{")
    found = {True: 0, False: 0}
    for stopped in (False, True):
        if stopped:
            endpoints.stop()
        for path in home.rglob("*"):
            if not path.is_file() or path.name == "keys.json":
                continue
            content = path.read_bytes()
            found[stopped] += 1
            assert MARKER.encode() not in content, path
            assert key.encode() not in content, path
    assert min(found.values()) >= 4


class Listener:
    """Where telemetry is sent to: OTLP over HTTP, and what Application Insights takes."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                listener.received.append((self.path, body))
                breeze = self.path.endswith("/track")
                reply = b'{"itemsReceived":1,"itemsAccepted":1,"errors":[]}' if breeze else b""
                self.send_response(200)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *given: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def sent_to(self, end: str) -> list[bytes]:
        return [body for path, body in list(self.received) if path.endswith(end)]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_endpoint_sends_on_where_its_environment_says(
    home: Path, model_directory: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.address)
    azure = any(
        entry_points(
            group="opentelemetry_traces_exporter", name="azure_monitor_opentelemetry_exporter"
        )
    )
    if azure:
        for name in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
            monkeypatch.setenv(f"APPLICATIONINSIGHTS_{name}", "true")
        monkeypatch.setenv(
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            "InstrumentationKey=00000000-0000-0000-0000-000000000001;"
            f"IngestionEndpoint={listener.address}/;LiveEndpoint={listener.address}/",
        )
    info = deploy(model_directory)
    request_id = str(uuid.uuid4())
    reply = requests.post(
        info.scoring_uri,
        json={"data": [OLD | {"job": MARKER}]},
        headers={
            "Authorization": f"Bearer {endpoints.keys(NAME).primary}",
            "x-request-id": request_id,
        },
        timeout=60,
    )
    assert reply.status_code == 200
    endpoints.stop()  # which sends what waits
    spans = {
        span.name: span
        for body in listener.sent_to("/v1/traces")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == request_id.replace("-", "")
    }
    assert set(spans) == {"POST /score", "score"}
    assert spans["score"].parent_span_id == spans["POST /score"].span_id
    assert listener.sent_to("/v1/metrics")
    if azure:
        items = [one for body in listener.sent_to("/v2.1/track") for one in json.loads(body)]
        (request,) = [one for one in items if one["data"]["baseType"] == "RequestData"]
        assert request["tags"]["ai.operation.id"] == request_id.replace("-", "")
        assert request["data"]["baseData"]["responseCode"] == "200"
    assert all(MARKER.encode() not in body for _, body in listener.received)


def test_payloads_are_written_when_collection_is_on(home: Path, model_directory: Path) -> None:
    deploy(model_directory, collect_rate=1.0)
    with endpoints.client(NAME) as client:
        client.score([OLD, ODD])
    endpoints.stop()  # which writes what waits
    files = [path for path in (folder() / "modelDataCollector").rglob("*") if path.is_file()]
    assert any("payload-secret" in path.read_text() for path in files)
