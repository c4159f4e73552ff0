"""Jobs: runs in MLflow; searches while they run, and what they found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, request, send_file, url_for
from markupsafe import Markup

from twinml.errors import NotFound
from twinml.pages.charts import Series, lines
from twinml.pages.wording import number, seconds
from twinml.registry.runs import Run
from twinml.registry.searching import Search, searches
from twinml_local.studio._launch import launch, launched, one_launched
from twinml_local.studio._listing import offset
from twinml_local.studio._live import follow
from twinml_local.studio._sources import Sources

__all__ = ["figures_of", "kind_of", "pages"]

A_PAGE = 50
# Shown first, as far as they are there, with the names of ``twinml.training.metrics``.
LABELS: Mapping[str, str] = {
    "roc_auc": "ROC AUC", "average_precision": "Average precision", "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy", "f1": "F1", "log_loss": "Log loss",
    "brier": "Brier score", "r2_score": "R²", "root_mean_squared_error": "RMSE",
    "mean_absolute_error": "MAE", "spearman_correlation": "Spearman correlation",
    "mean_absolute_percentage_error": "MAPE",
}  # fmt: skip
SEARCH_METRICS = ("auto", "roc_auc", "log_loss", "accuracy", "average_precision", "r2_score",
                  "root_mean_squared_error", "mean_absolute_error")  # fmt: skip
PICTURES = (
    ("confusion", "Confusion matrix"), ("importance", "What the model uses"),
    ("scores", "Scores by class"), ("benchmark", "Benchmark of the endpoint"),
)  # fmt: skip
PICTURE = re.compile(r"[a-z_]{1,40}(_[0-9]{1,2})?\.png")
STATES = {
    "FINISHED": "Completed", "RUNNING": "Running", "FAILED": "Failed", "KILLED": "Canceled",
    "SCHEDULED": "Queued",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A candidate of the leaderboard, as the page shows it."""

    rank: int
    name: str
    kind: str
    figures: Sequence[str]
    seconds: str
    params: Mapping[str, str]


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("jobs", __name__)

    def running_part() -> str:
        return render(
            "jobs_running.html.j2", searches=[shown(one) for one in searches()], launched=launched()
        )

    @made.get("/jobs")
    def listing() -> str:
        start = offset(request.args)
        found = sources.runs(A_PAGE + 1, start)
        return render(
            "jobs.html.j2",
            title="Jobs",
            section="jobs",
            running=running_part(),
            runs=[(run, kind_of(run), STATES.get(run.status, run.status), main_figure(run.metrics))
                  for run in found[:A_PAGE]],
            after=start + A_PAGE if len(found) > A_PAGE else None,
            before=max(0, start - A_PAGE) if start else None,
            assets=sources.assets(),
            metrics=SEARCH_METRICS,
        )  # fmt: skip

    @made.get("/jobs/live")
    def live() -> Response:
        return follow(running_part)

    @made.post("/jobs")
    def begin() -> Response:
        name, _, version = request.form.get("data", "").rpartition(":")
        metric = request.form.get("metric", "auto")
        if metric not in SEARCH_METRICS:
            abort(400, f"there is no metric '{metric[:40]}' to choose by")
        one = launch(
            sources.asset(name, version),
            budget=request.form.get("budget", "").strip(),
            metric=metric,
        )
        flash(f"The search on {one.data} v{one.version} starts; it shows below in some seconds.")
        return redirect(url_for("jobs.listing"), 303)  # type: ignore[return-value]

    @made.get("/jobs/started/<name>")
    def started(name: str) -> str:
        return render(
            "job_log.html.j2", title="Search", section="jobs", one=one_launched(name), live=True
        )

    @made.get("/jobs/started/<name>/live")
    def started_live(name: str) -> Response:
        one_launched(name)
        return follow(lambda: render("job_log_part.html.j2", one=one_launched(name)))

    @made.get("/searching/<name>")
    def searching(name: str) -> str | Response:
        try:
            one = _search(name)
        except NotFound:
            flash("The search has ended. Its job is listed once the report of it is written.")
            return redirect(url_for("jobs.listing"), 303)  # type: ignore[return-value]
        return render(
            "searching.html.j2", title=f"AutoML on {one.data}", section="jobs", one=shown(one)
        )

    @made.get("/searching/<name>/live")
    def searching_live(name: str) -> Response:
        return follow(lambda: render("searching_part.html.j2", one=shown(_search(name))))

    @made.get("/jobs/<run_id>")
    def job(run_id: str) -> str:
        run = sources.run(run_id)
        if not run.is_search:
            return render(
                "job.html.j2", title=run.name, section="jobs", run=run, kind=kind_of(run),
                state=STATES.get(run.status, run.status), parts=sources.parts(run),
                log=_log(run), states=STATES,
            )  # fmt: skip
        heads, rows = leaderboard(sources.parts(run))
        return render(
            "automl.html.j2",
            title=run.name,
            section="jobs",
            run=run,
            state=STATES.get(run.status, run.status),
            heads=heads,
            rows=rows,
            params=sorted({name for row in rows for name in row.params}),
            chart=learning_curve(sources.trials(run)),
            trials=sources.trials(run),
            test=figures_of(run.metrics, "test_"),
            forward=figures_of(run.metrics, "forward_"),
            baseline=figures_of(run.metrics, "baseline_"),
            curves=sources.kept(("curves", run.id, run.ended), lambda: _curves(run)),
            pictures=_pictures(run),
            versions=[one.version for one in sources.models() if one.version.run_id == run.id],
            asset=next(
                (one for one in sources.assets() if one.digest == run.tags.get("twinml.data")), None
            ),
            has_report=(run.folder is not None and (run.folder / "report/report.html").is_file()),
        )

    @made.get("/jobs/<run_id>/picture/<name>")
    def one_picture(run_id: str, name: str) -> str:
        run = sources.run(run_id)
        for file, title in _pictures(run):
            if file == f"{name}.png":
                return render("picture.html.j2", title=title, section="jobs", run=run, file=file)
        raise NotFound("the job has no such picture")

    @made.get("/jobs/<run_id>/pictures/<name>")
    def picture(run_id: str, name: str) -> Response:
        folder = sources.run(run_id).folder
        if (
            folder is None
            or not PICTURE.fullmatch(name)
            or not (folder / "report" / name).is_file()
        ):
            raise NotFound("the job has no such picture")
        return send_file(folder / "report" / name, mimetype="image/png")

    @made.get("/jobs/<run_id>/report")
    def report(run_id: str) -> Response:
        from twinml_local.studio._security import REPORT_POLICY

        folder = sources.run(run_id).folder
        file = None if folder is None else folder / "report" / "report.html"
        if file is None or not file.is_file():
            raise NotFound("no report was written of this job")
        reply = send_file(file, mimetype="text/html")
        reply.headers["Content-Security-Policy"] = REPORT_POLICY
        return reply

    return made


def kind_of(run: Run) -> str:
    """Return what kind of job a run is, in Azure ML's words."""
    if run.is_search:
        return "AutoML"
    if "twinml.job" in run.tags:
        return "Pipeline"
    return "Promotion" if run.experiment == "promotions" else "Command"


def main_figure(metrics: Mapping[str, float]) -> str:
    """Return the figure that a list shows of a run.

    Examples
    --------
    >>> main_figure({"test_log_loss": 0.2, "test_roc_auc": 0.93}), main_figure({"rows": 3.0})
    ('ROC AUC 0.930', '')
    """
    for name, label in LABELS.items():
        value = metrics.get(f"test_{name}")
        if value is not None and math.isfinite(value):
            return f"{label} {number(value)}"
    return ""


def figures_of(metrics: Mapping[str, float], prefix: str) -> list[tuple[str, str]]:
    """Return the known metrics that begin so, with their labels."""
    return [
        (label, number(metrics[f"{prefix}{name}"], 4))
        for name, label in LABELS.items()
        if f"{prefix}{name}" in metrics
    ]


def leaderboard(parts: Sequence[Run]) -> tuple[list[str], list[Row]]:
    """Return the heads of the figures, and the candidates, best first."""
    names = [name for name in LABELS if any(name in part.metrics for part in parts)][:6]
    rows = [
        Row(
            rank=int(part.metrics.get("rank", place)),
            name=part.name,
            kind=part.tags.get("twinml.kind", ""),
            figures=[number(part.metrics.get(name), 4) for name in names],
            seconds=seconds(part.metrics.get("seconds")),
            params=part.params,
        )
        for place, part in enumerate(parts, start=1)
    ]
    return [LABELS[name] for name in names], sorted(rows, key=lambda row: row.rank)


def learning_curve(trials: Sequence[Mapping[str, Any]]) -> str:
    """Return the chart of every trial's loss, and the best so far, over the seconds spent."""
    spent, best = 0.0, math.inf
    tried: list[tuple[float, float]] = []
    reached: list[tuple[float, float]] = []
    for trial in trials:
        spent += float(trial["seconds"])
        if trial["loss"] is not None:
            tried.append((spent, float(trial["loss"])))
            best = min(best, float(trial["loss"]))
            reached.append((spent, best))
    if len(tried) < 2:
        return ""
    return lines(
        [Series("Best so far", reached), Series("Each trial", tried, dots=True)],
        title="Loss of the trials, and the best so far, over the seconds spent on them",
        x="seconds spent on trials",
        y="loss, lower is better",
        steps=True,
    )


def shown(one: Search) -> dict[str, Any]:
    """Return a search that runs as a template shows it."""
    curve = [(after, loss) for _, loss, after, _ in one.best]
    if curve:
        curve.append((one.elapsed, curve[-1][1]))
    whole = one.elapsed + one.left if one.left is not None else None
    return {
        "search": one,
        "share": None if not whole else min(1.0, one.elapsed / whole),
        "chart": lines(
            [Series("Best so far", curve)],
            title=f"Best loss so far of the search on {one.data}",
            x="seconds",
            y="loss, lower is better",
            steps=True,
        ),
    }


def _search(name: str) -> Search:
    for one in searches():
        if one.id == name:
            return one
    raise NotFound("this search has ended", hint="See the list of jobs.")


def _pictures(run: Run) -> list[tuple[str, str]]:
    folder = run.folder
    if folder is None:
        return []
    return [
        (f"{name}.png", title)
        for name, title in PICTURES
        if (folder / "report" / f"{name}.png").is_file()
    ]


def _curves(run: Run) -> list[tuple[str, Markup]]:
    from twinml.report.held_out_rows import read
    from twinml_local.studio._curves import curves

    rows = None if run.folder is None else read(run.folder)
    return [] if rows is None else curves(rows)


def _log(run: Run) -> str:
    from azureml_runner.logs import last_lines

    folder = run.folder
    return "" if folder is None else "\n".join(last_lines(folder / "std_log.txt", 400))
