"""Monitoring: requests, latency, failures and strange values of an endpoint; drift when asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, flash, redirect, request, url_for

from twinml.errors import NotFound, UsageError
from twinml.pages.charts import Series, bars, lines
from twinml.platform import busiest
from twinml.traffic.collected import CollectsTraffic, Traffic
from twinml.traffic.feedback import GroundTruth
from twinml_local.studio._listing import first_of
from twinml_local.studio._parts import Part
from twinml_local.studio._sources import Sources
from twinml_local.studio._templates import templates
from twinml_local.telemetry import Recent

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.drift import DriftReport
    from twinml.platform import EndpointInfo
    from twinml.report.held_out_rows import HeldOutRows
    from twinml_local.server.state import DeploymentState

__all__ = ["drift_part", "pages"]

SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7),
         "30d": timedelta(days=30)}  # fmt: skip
USUAL = "24h"
DRIFT_ROWS = 20_000
MOST_DRIFTED = 12


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("monitoring", __name__)

    @made.get("/monitoring")
    def first() -> str | Response:
        return first_of("monitoring", sources, render)

    @made.get("/monitoring/<name>")
    def page(name: str) -> str:
        info = sources.platform.endpoint_info(name)
        asked = request.args.get("last", USUAL)
        span = asked if asked in SPANS else USUAL
        found, wanted = sources.recent(name, SPANS[span]), request.args.get("drift", "")
        return render(
            "monitoring.html.j2",
            title="Monitoring",
            section="monitoring",
            info=info,
            names=sources.names(),
            span=span,
            spans=list(SPANS),
            recent=found,
            charts=charts(found),
            total=sources.totals(name),
            rate=sources.collect_rate(name),
            drift=_drift(sources, name, info, span, wanted) if wanted else None,
        )

    @made.post("/monitoring/<name>/collect")
    def collect(name: str) -> Response:
        platform = sources.platform
        if not isinstance(platform, CollectsTraffic):
            raise UsageError("this platform collects nothing")
        try:
            rate = float(request.form.get("rate", ""))
        except ValueError:
            raise UsageError(
                "the share of requests to keep is no number", hint="From 0 to 1."
            ) from None
        platform.collect(name, rate)
        flash(f"{name} keeps {rate:.0%} of its requests from now on.")
        return redirect(url_for("monitoring.page", name=name), 303)  # type: ignore[return-value]

    return made


def charts(found: Recent) -> dict[str, Any]:
    """Return the charts of what an endpoint did: requests, failures and latency over time."""
    if not any(bucket.requests for bucket in found.buckets):
        return {}
    unit = per(found.length)

    def line(name: str, value: Callable[[Any], float | None]) -> Series:
        points = [(bucket.start, value(bucket)) for bucket in found.buckets]
        return Series(name, [(at, each) for at, each in points if each is not None])

    def text(at: float) -> str:
        shown = datetime.fromtimestamp(at, UTC)
        return f"{shown:%H:%M}" if found.end - found.begin <= 86_400 else f"{shown:%d %b}"

    step = found.length * max(1, len(found.buckets) // 6)
    return {
        "requests": lines(
            [line("Requests", lambda one: one.requests), line("Failed", lambda one: one.failures)],
            title=f"Requests {unit}, and how many of them failed",
            x="UTC", y=f"requests {unit}", x_text=text, x_step=step, from_zero=True,
        ),
        "latency": lines(
            [line("Median", lambda one: one.p50_ms), line("95 %", lambda one: one.p95_ms)],
            title="Milliseconds within which half and 95 % of the requests were answered",
            x="UTC", y="milliseconds", x_text=text, x_step=step, from_zero=True,
        ),
    }  # fmt: skip


def per(seconds: int) -> str:
    """Write the length of a bucket.

    Examples
    --------
    >>> per(1), per(30), per(300), per(3600), per(10800), per(86400)
    ('a second', 'in 30 s', 'in 5 min', 'an hour', 'in 3 h', 'a day')
    """
    named = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}
    if seconds in named:
        return named[seconds]
    size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "min"), (1, "s"))
                      if seconds % size == 0)  # fmt: skip
    return f"in {seconds // size} {unit}"


def _drift(sources: Sources, name: str, info: EndpointInfo, span: str, asked: str) -> Part:
    """Return what drifted among the kept rows, as of now or as of when it was first asked for.

    Parameters
    ----------
    asked
        The key of a part that the page waited for, or anything else.
    """
    found = sources.made.look(asked)
    if found is not None:
        return found
    platform = sources.platform
    if not isinstance(platform, CollectsTraffic):
        raise NotFound("this platform collects nothing")
    deployment = busiest(info)
    since = beginning(datetime.now(UTC), SPANS[span])
    return sources.made.get(
        ["drift", name, deployment, since.isoformat()],
        f"{info.deployments[deployment]} {sources.deployments(name)[deployment].digest} "
        f"{state_of_files(platform.collected(name))}",
    )


def beginning(now: datetime, span: timedelta) -> datetime:
    """Return when a time up to now began, the same for a sixtieth of it.

    Examples
    --------
    >>> at = datetime(2026, 11, 28, 12, 0, 59, tzinfo=UTC)
    >>> begins = [beginning(at + timedelta(seconds=more), timedelta(hours=1)) for more in (0, 1)]
    >>> [f"{one:%H:%M:%S}" for one in begins]
    ['11:00:00', '11:01:00']
    """
    step = span.total_seconds() / 60
    return datetime.fromtimestamp((now - span).timestamp() // step * step, UTC)


def state_of_files(folder: Path) -> str:
    """Return what changes when a file below a folder does: names, sizes and times."""
    found = []
    for place, _, files in os.walk(folder):
        for file in files:
            with suppress(FileNotFoundError):  # removed since it was listed
                seen = os.stat(os.path.join(place, file))
                found.append(f"{place}/{file} {seen.st_size} {seen.st_mtime_ns}")
    return "\n".join(sorted(found))


def drift_part(sources: Sources, name: str, deployment: str, since: str) -> str:
    """Return the HTML of what drifted among the rows that were kept since a moment.

    Raises
    ------
    TwinmlError
        There are too few rows, or the model's files are not there.
    """
    from twinml import drift
    from twinml.drift.predictions import PREDICTION, with_predictions
    from twinml.model import load_contract, load_reference
    from twinml.traffic.collected import read

    platform = sources.platform
    if not isinstance(platform, CollectsTraffic):
        raise NotFound("this platform collects nothing")
    served = sources.deployments(name)[deployment]
    directory, compared = sources.directory(served), datetime.now(UTC)
    traffic = read(
        platform.collected(name),
        deployments=[deployment],
        since=datetime.fromisoformat(since),
        most_rows=DRIFT_ROWS,
    )
    contract, before = load_contract(directory), load_reference(directory)
    now, before = with_predictions(traffic.frame(), traffic, before, directory, contract)
    names = [one for one in (*contract.column_names, PREDICTION) if one in before]
    report: DriftReport = drift.compare(before[names], now)
    chart = bars(
        {one.feature: one.psi for one in report.features[:MOST_DRIFTED]},
        title="Population stability index by feature: 0.1 is moderate, 0.25 major",
        text=lambda value: f"{value:.3f}",
    )
    truth = GroundTruth(platform.collected(name))
    return templates().get_template("drift_part.html.j2").render(
        report=report, chart=chart, since=since, compared=compared.isoformat(),
        told=foretold(contract, traffic, truth, report.drifted, _held_out(sources, served)),
    )  # fmt: skip


def _held_out(sources: Sources, deployment: DeploymentState) -> HeldOutRows | None:
    """Return the rows that a model's training held out; ``None`` where they are not here."""
    from twinml.report.held_out_rows import read

    try:
        version = sources.model(deployment.model, deployment.version).version
        folder = sources.run(version.run_id).folder if version.run_id else None
    except NotFound:
        return None
    return None if folder is None else read(folder)


def foretold(
    contract: Contract,
    traffic: Traffic,
    truth: GroundTruth,
    drifted: Sequence[str],
    held_out: HeldOutRows | None = None,
) -> dict[str, Any] | None:
    """Return what answers without labels are worth by their own probabilities, and what labels say.

    ``None`` where the answers that were kept are not probabilities.
    """
    import numpy as np

    from twinml.drift.estimated import estimate, roc_auc, told_by

    names = [str(label) for label in contract.classes]
    places = [(one.id, row) for one in traffic.requests for row in range(len(one.outputs))]
    outputs = [output for one in traffic.requests for output in one.outputs]
    if not names or not outputs or not all(name in row for row in outputs for name in names):
        return None
    given = np.array([[row[name] for name in names] for row in outputs], dtype=np.float64)
    labels = truth.labels()
    numbers = {name: number for number, name in enumerate(names)}
    true = np.array([numbers.get(str(labels.get(place)), -1) for place in places])
    known, open_rows = true >= 0, given[true < 0]
    heard = []
    if held_out is not None and len(held_out.classes) == len(names):
        heard.append(told_by(held_out.predicted, held_out.truth))
    told: dict[str, Any] = {"labels": int(known.sum())}
    if known.any():
        heard.append(told_by(given[known], true[known]))
        told["auc"] = roc_auc(given[known], np.eye(len(names))[true[known]])
        told["accuracy"] = float((given[known].argmax(axis=1) == true[known]).mean())
    told["estimate"] = estimate(
        open_rows if len(open_rows) else given,
        drifted=drifted,
        told=[one for one in heard if one is not None],
    )
    return told
