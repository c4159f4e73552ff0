"""Pipelines: what is published, its graph, jobs with their steps, schedules, running one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from markupsafe import Markup

from twinml.errors import NotFound
from twinml.pages.charts import Node, graph
from twinml.pages.wording import seconds
from twinml.platform import PipelineInfo, PipelineJob, Schedule
from twinml_local.jobs import lifecycle as jobs
from twinml_local.studio._confirm import unconfirmed
from twinml_local.studio._live import follow
from twinml_local.studio._sources import Sources

__all__ = ["edges_of", "pages"]

OUTPUT = re.compile(r"\$\{\{\s*parent\.jobs\.([A-Za-z0-9_-]+)\.outputs\.")
ENDED = ("Completed", "Failed", "Canceled")
LAST_JOBS = 30


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("pipelines", __name__)
    platform = sources.platform

    def published(name: str) -> PipelineInfo:
        for one in platform.pipelines():
            if one.name == name:
                return one
        raise NotFound(f"there is no pipeline '{name[:64]}'", hint="See the list of pipelines.")

    @made.get("/pipelines")
    def listing() -> str:
        last: dict[str, PipelineJob] = {}
        for job in jobs.recorded(limit=200):
            last.setdefault(job.pipeline, job)
        return render(
            "pipelines.html.j2", title="Pipelines", section="pipelines",
            infos=platform.pipelines(), last=last, schedules=platform.schedules(),
        )  # fmt: skip

    @made.get("/pipelines/<name>")
    def pipeline(name: str) -> str:
        return shown(name)

    def shown(name: str, **more: object) -> str:
        info = published(name)
        definition = jobs.definition(name)
        return render(
            "pipeline.html.j2",
            title=name,
            section="pipelines",
            info=info,
            description=definition.description,
            graph=drawn(definition.content, {}, title=f"Steps of {name}"),
            inputs=definition.inputs(),
            jobs=[
                (job, took(job.started, job.ended)) for job in jobs.recorded(name, limit=LAST_JOBS)
            ],
            schedules=platform.schedules(name),
            endpoints=sources.names(),
            snippet=snippet(info),
            only=request.args.get("only", ""),
            documents=service_documents(info),
            **{"key": None, **more},
        )

    @made.post("/pipelines/<name>/key")
    def key(name: str) -> str:
        return shown(name, key=jobs.keys().primary)

    @made.post("/pipelines/<name>/jobs")
    def run(name: str) -> Response:
        given = {
            field.removeprefix("input-"): value
            for field, value in request.form.items()
            if field.startswith("input-")
        }
        job = platform.run_pipeline(name, changed(jobs.definition(name).inputs(), given))
        flash(f"Job {job.id} is {job.status.lower()}.")
        return redirect(url_for("pipelines.job", name=name, job_id=job.id), 303)  # type: ignore[return-value]

    def part(name: str, job_id: str) -> str:
        found, log = jobs.recorded_job(name, job_id)
        states = {str(step["name"]): step for step in found.steps}
        return render(
            "pipeline_job_part.html.j2",
            job=found,
            graph=drawn(jobs.definition(name).content, states, title=f"Steps of job {job_id}"),
            steps=[(step, took(step.get("started"), step.get("ended"))) for step in found.steps],
            took=took(found.started, found.ended),
            log=log,
        )

    @made.get("/pipelines/<name>/jobs/<job_id>")
    def job(name: str, job_id: str) -> str:
        found, _ = jobs.recorded_job(name, job_id)
        return render(
            "pipeline_job.html.j2", title=f"Job {job_id[:8]}", section="pipelines", job=found,
            running=found.status not in ENDED, part=part(name, job_id),
        )  # fmt: skip

    @made.get("/pipelines/<name>/jobs/<job_id>/live")
    def live(name: str, job_id: str) -> Response:
        over = False

        def now() -> str | None:
            nonlocal over
            if over:
                return None
            over = jobs.recorded_job(name, job_id)[0].status in ENDED
            return part(name, job_id)

        return follow(now)

    @made.post("/pipelines/<name>/jobs/<job_id>/cancel")
    def cancel(name: str, job_id: str) -> Response:
        client = platform.pipeline_client(name)
        try:
            client.cancel(job_id)
        finally:
            client.close()
        flash("The job is asked to end.")
        return redirect(url_for("pipelines.job", name=name, job_id=job_id), 303)  # type: ignore[return-value]

    @made.post("/pipelines/<name>/schedules")
    def schedule(name: str) -> Response:
        given = {field: request.form.get(field, "").strip() or None
                 for field in ("name", "cron", "every", "timezone", "on_drift")}  # fmt: skip
        kept = platform.schedule_pipeline(
            Schedule(
                name=given["name"] or name,
                pipeline=name,
                cron=given["cron"],
                every=given["every"],
                timezone=given["timezone"] or "UTC",
                on_drift=given["on_drift"],
            )
        )
        flash(f"Schedule {kept.name} is next due {kept.next}.")
        return redirect(url_for("pipelines.pipeline", name=name), 303)  # type: ignore[return-value]

    @made.post("/pipelines/<name>/schedules/<schedule_name>/delete")
    def unschedule(name: str, schedule_name: str) -> str | Response:
        due = next(
            (one.cron or f"every {one.every}" for one in platform.schedules(name)
             if one.name == schedule_name), "not there any more",
        )  # fmt: skip
        page = unconfirmed(
            render,
            f"Delete schedule {schedule_name} of {name}?",
            f"It is {due}. Jobs that it started stay.",
            title=f"Delete schedule {schedule_name}",
            section="pipelines",
            word="Delete it",
            back=url_for("pipelines.pipeline", name=name),
        )
        if page is not None:
            return page
        platform.unschedule_pipeline(schedule_name)
        flash(f"Schedule {schedule_name} is deleted.")
        return redirect(url_for("pipelines.pipeline", name=name), 303)  # type: ignore[return-value]

    return made


def edges_of(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return which step takes an output of which, from a pipeline job of Azure ML.

    Examples
    --------
    >>> train = {"inputs": {"rows": {"path": "${{parent.jobs.prepare.outputs.rows}}"}}}
    >>> edges_of({"jobs": {"prepare": {"inputs": {}}, "train": train}})
    [('prepare', 'train')]
    """
    found = []
    for name, step in (content.get("jobs") or {}).items():
        inputs = json.dumps(step.get("inputs") or {}, default=str)
        found += [(one, str(name)) for one in dict.fromkeys(OUTPUT.findall(inputs))]
    return found


def data_of(content: Mapping[str, Any]) -> tuple[list[Node], list[tuple[str, str]]]:
    """Return the data that a pipeline reads as boxes, and which steps read them.

    Examples
    --------
    >>> rows = {"type": "uri_file", "path": "azureml:bank:1"}
    >>> steps = {"train": {"inputs": {"data": "${{parent.inputs.rows}}"}}}
    >>> nodes, edges = data_of({"inputs": {"rows": rows, "seed": 0}, "jobs": steps})
    >>> [(node.label, node.aside) for node in nodes], edges
    ([('rows', 'azureml:bank:1')], [('input rows', 'train')])
    """
    nodes, edges = [], []
    for name, item in (content.get("inputs") or {}).items():
        if not isinstance(item, Mapping) or "path" not in item:
            continue
        nodes.append(Node(f"input {name}", str(name), str(item["path"]), "data"))
        taken = re.compile(rf"\$\{{\{{\s*parent\.inputs\.{re.escape(str(name))}\s*\}}\}}")
        for step, node in (content.get("jobs") or {}).items():
            if taken.search(json.dumps(node.get("inputs") or {}, default=str)):
                edges.append((f"input {name}", str(step)))
    return nodes, edges


def drawn(
    content: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]], *, title: str
) -> Markup:
    """Return a pipeline's steps as boxes, with the state of each where there is one."""
    nodes, edges = data_of(content)
    for name, step in (content.get("jobs") or {}).items():
        state = states.get(str(name), {})
        component = step.get("component")
        kind = component.get("display_name") if isinstance(component, Mapping) else None
        aside = str(kind or step.get("type") or "")
        if state:
            aside = f"{state['status']}{', reused' if state.get('reused') else ''}"
        nodes.append(Node(str(name), str(name), aside, str(state.get("status", ""))))
    return graph(nodes, [*edges, *edges_of(content)], title=title)


def changed(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs that a form gives other values than the pipeline has.

    Examples
    --------
    >>> declared = {"budget": {"type": "string", "default": "60s"}, "trials": {"default": 0}}
    >>> changed(declared, {"budget": "60s", "trials": "5", "other": "x"})
    {'trials': '5'}
    """
    return {
        name: value
        for name, value in given.items()
        if name in declared
        and value.strip()
        and value != str(declared[name].get("default", declared[name].get("path", "")))
    }


def took(started: str | None, ended: str | None, now: datetime | None = None) -> str:
    """Write how long something takes or took; nothing where it has not begun.

    Examples
    --------
    >>> took("2026-11-28T07:00:00+00:00", "2026-11-28T07:00:02.5+00:00"), took(None, None)
    ('2.5 s', '')
    """
    if not started:
        return ""
    begin = datetime.fromisoformat(started)
    end = datetime.fromisoformat(ended) if ended else now or datetime.now(UTC)
    return seconds((end - begin).total_seconds())


def snippet(info: PipelineInfo) -> str:
    """Return how a job is started over REST."""
    return (
        f"curl --request POST {info.uri} \\\n"
        '  --header "Authorization: Bearer $TWINML_PIPELINE_KEY" \\\n'
        "  --header 'Content-Type: application/json' \\\n"
        "  --data '{\"inputs\": {}}'"
    )


def service_documents(info: PipelineInfo) -> str:
    """Return where the service's own pages are.

    Examples
    --------
    >>> service_documents(PipelineInfo("t", "1", "http://127.0.0.1:9/pipelines/t/jobs"))
    'http://127.0.0.1:9/docs/'
    """
    return f"{info.uri.partition('/pipelines/')[0]}/docs/"
