"""Telemetry of the endpoints of this machine, in the shape of Application Insights.

::

    telemetry    what the server calls: a microsecond a call, written by a thread
    batch       what was recorded, as rows and sums
    exceptions  an error without what it quotes
    features    values that are not like those of training
    schema      the tables of telemetry.db
    store       writing them, and deleting what is old
    collector   inputs and outputs as files, when collection is on
    exposition  /metrics for Prometheus
    summary     the figures of twinml metrics
    recent      the last while over time, from a bounded number of records
    export      sending on, with OpenTelemetry's exporters; signals are its forms
    settings    limits

In a worker process::

    telemetry = TelemetryClient(directory, retention_days=30, settings=TelemetrySettings())
    atexit.register(telemetry.close)
    app.register_blueprint(blueprint(directory))            # GET /metrics

    telemetry.record_request(
        "POST /score", "/score", 200, milliseconds, operation_id=request_id,
        deployment="blue", model="bank:3", rows=scoring.n_rows, scoring_ms=scoring_ms,
        client_request_id=client_id,
    )
    telemetry.observe_rows(contract, scoring.columns, deployment="blue")
    telemetry.record_exception(error, operation_id=request_id, contract=contract)
    if telemetry.collects:
        telemetry.collect(contract, scoring.columns, labels, probabilities,
                         operation_id=request_id, deployment="blue", model="bank:3")

Secrets and payload values are never stored, unless collection is on and then in its files
only: no header, key, query string or message that quotes a value goes in.
"""

from __future__ import annotations

from twinml_local.telemetry._client import TelemetryClient
from twinml_local.telemetry._exposition import blueprint, prometheus_text
from twinml_local.telemetry._recent import Recent, recent, totals
from twinml_local.telemetry._settings import TelemetrySettings
from twinml_local.telemetry._summary import summarize

__all__ = [
    "Recent",
    "TelemetryClient",
    "TelemetrySettings",
    "blueprint",
    "prometheus_text",
    "recent",
    "summarize",
    "totals",
]
