"""The first page: the lifecycle as a line of steps, each with its state and what is next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint
from markupsafe import Markup

from twinml.errors import TwinmlError
from twinml.pages.charts import Node, graph
from twinml.platform import EndpointInfo, PipelineInfo
from twinml.registry.searching import searches
from twinml_local.studio._sources import Sources

__all__ = ["pages"]

NONE = "none yet"
MOST_ASKED = 100  # endpoints, for one page
MOST_FAILED = 0.05  # of the requests; more want a look


@dataclass(frozen=True)
class Stage:
    """A step of the lifecycle.

    Attributes
    ----------
    state
        ``done``, ``running``, ``attention`` or ``open``.
    found
        What there is, in a few words.
    todo
        What to do next; a command where it is one.
    """

    name: str
    href: str
    state: str
    found: str
    when: float | None = None
    todo: str = ""
    command: str = ""


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the page."""
    made = Blueprint("overview", __name__)

    @made.get("/")
    def page() -> str:
        infos = sources.endpoints()
        stages = [
            data_stage(sources),
            search_stage(sources),
            model_stage(sources),
            endpoint_stage(infos),
            traffic_stage(infos, _totals(sources, infos)),
            pipeline_stage(sources.platform.pipelines()),
        ]
        return render(
            "overview.html.j2",
            title="Overview",
            section="overview",
            stages=stages,
            endpoints=infos,
            runs=sources.runs(6),
        )

    @made.get("/architecture")
    def architecture() -> str:
        return render(
            "architecture.html.j2", title="Architecture", section="overview",
            graph=architecture_of(sources),
        )  # fmt: skip

    return made


def architecture_of(sources: Sources) -> Markup:
    """Return what is here as one graph: data, jobs, models, endpoints, pipelines."""
    asset = next(iter(sources.assets()), None)
    model = next(iter(sources.models()), None)
    infos, published = sources.endpoints(), sources.platform.pipelines()
    nodes = [
        Node("data", "Data", f"{asset.name} v{asset.version}" if asset else NONE, "", "/data"),
        Node("automl", "AutoML", "search, ensemble, evaluate", "", "/jobs"),
        Node("mlflow", "MLflow", "runs and registry", "", "/jobs"),
        Node("model", "Model", str(model.version.reference) if model else NONE, "", "/models"),
        Node("endpoint", "Endpoint", infos[0].name if infos else NONE, "", "/endpoints"),
        Node("telemetry", "Monitoring", "telemetry, logs, drift", "", "/monitoring"),
        Node("clients", "Clients", "REST, Swagger, two keys", "", "/endpoints"),
        Node("pipeline", "Pipeline", published[0].name if published else NONE, "", "/pipelines"),
    ]  # fmt: skip
    edges = [
        ("data", "automl"), ("data", "pipeline"), ("automl", "mlflow"), ("pipeline", "mlflow"),
        ("mlflow", "model"), ("model", "endpoint"), ("endpoint", "clients"),
        ("endpoint", "telemetry"),
    ]  # fmt: skip
    return graph(nodes, edges, title="How all of it hangs together")


def data_stage(sources: Sources) -> Stage:
    """Return what data are registered."""
    found = sources.assets()
    if not found:
        return Stage(
            "Data", "/data", "open", "Nothing is registered", None,
            "Register a table:", "twinml data --data FILE --target COLUMN --register",
        )  # fmt: skip
    names = {one.name for one in found}
    newest = max(found, key=lambda one: one.created)
    return Stage(
        "Data", "/data", "done",
        f"{len(names)} data set{'s' * (len(names) > 1)}, {newest.name} v{newest.version} is newest",
        _moment(newest.created),
    )  # fmt: skip


def search_stage(sources: Sources) -> Stage:
    """Return what was searched, or is being searched now."""
    running = searches()
    if running:
        one = running[-1]
        best = f", best {one.best[-1][0]}" if one.best else ""
        return Stage(
            "AutoML", f"/searching/{one.id}", "running",
            f"{one.data}: {one.phase}, {one.trials} trials{best}", one.started,
        )  # fmt: skip
    found = [run for run in sources.runs(50) if run.is_search]
    if not found:
        return Stage(
            "AutoML", "/jobs", "open", "No search was run", None, "Start one on the page Jobs."
        )
    newest = found[0]
    state = "attention" if newest.status == "FAILED" else "done"
    return Stage("AutoML", f"/jobs/{newest.id}", state, newest.name, newest.started)


def model_stage(sources: Sources) -> Stage:
    """Return which models are registered, and whether a challenger waits."""
    found = sources.models()
    if not found:
        return Stage(
            "Model", "/models", "open", "No model is registered", None,
            "A search registers the best one.",
        )  # fmt: skip
    waiting = [one.version for one in found if "challenger" in one.version.aliases]
    champions = [one.version for one in found if "champion" in one.version.aliases]
    if waiting:
        one = waiting[0]
        return Stage(
            "Model", f"/models/{one.name}/{one.version}", "attention",
            f"{one.name}/{one.version} is a challenger", None, "Compare it, then promote it.",
        )  # fmt: skip
    shown = champions[0] if champions else found[0].version
    return Stage(
        "Model", f"/models/{shown.name}/{shown.version}", "done",
        f"{shown.name}/{shown.version} is champion" if champions else str(shown.reference),
    )  # fmt: skip


def endpoint_stage(infos: tuple[EndpointInfo, ...]) -> Stage:
    """Return whether endpoints answer.

    Examples
    --------
    >>> endpoint_stage(()).state
    'open'
    """
    if not infos:
        return Stage(
            "Deploy", "/endpoints", "open", "Nothing is deployed", None,
            "Deploy a model from its page.",
        )  # fmt: skip
    up = [one for one in infos if one.state == "running"]
    state = "done" if len(up) == len(infos) else "attention"
    todo = "" if state == "done" else "Start what is stopped from its page."
    return Stage("Deploy", "/endpoints", state, f"{len(up)} of {len(infos)} running", None, todo)


def traffic_stage(infos: tuple[EndpointInfo, ...], total: tuple[int, int]) -> Stage:
    """Return how many requests were answered so far, and how many of them failed.

    Examples
    --------
    >>> traffic_stage((), (0, 0)).state, traffic_stage((), (100, 5)).state
    ('open', 'done')
    >>> traffic_stage((), (100, 6))
    Stage(name='Consume', href='/monitoring', state='attention', found='100 requests, 6.0% failed',\
 when=None, todo='', command='')
    """
    requests, failures = total
    if not requests:
        return Stage(
            "Consume", "/endpoints", "open", "No request was answered yet", None,
            "Score a row in the form of an endpoint." if infos else "",
        )  # fmt: skip
    share = f", {failures / requests:.1%} failed" if failures else ", none failed"
    state = "attention" if failures > requests * MOST_FAILED else "done"
    return Stage("Consume", "/monitoring", state, f"{requests:,} requests{share}")


def pipeline_stage(published: tuple[PipelineInfo, ...]) -> Stage:
    """Return whether a pipeline is published.

    Examples
    --------
    >>> pipeline_stage(()).state
    'open'
    """
    if not published:
        return Stage(
            "Automate", "/pipelines", "open", "No pipeline is published", None, "Publish one:",
            "twinml run",
        )  # fmt: skip
    one = published[0]
    more = f" and {len(published) - 1} more" if len(published) > 1 else ""
    state = "done" if one.state == "running" else "attention"
    todo = "" if state == "done" else "The next job brings it back:"
    command = "" if state == "done" else f"twinml pipeline run {one.name}"
    return Stage(
        "Automate", f"/pipelines/{one.name}", state,
        f"{one.name} v{one.version}{more}, {one.state}", None, todo, command,
    )  # fmt: skip


def _totals(sources: Sources, infos: tuple[EndpointInfo, ...]) -> tuple[int, int]:
    requests = failures = 0
    for info in infos[:MOST_ASKED]:
        try:
            some, wrong = sources.totals(info.name)
        except TwinmlError:
            continue
        requests, failures = requests + some, failures + wrong
    return requests, failures


def _moment(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return time.time()
