"""Compare: what sides answered alike, benchmarks and other pages that verbs wrote, promotions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, send_file

from twinml.errors import NotFound
from twinml.settings import home
from twinml_local.studio._security import REPORT_POLICY
from twinml_local.studio._sources import Sources

__all__ = ["pages"]

# What files that verbs write are about, by the beginning of their names.
KINDS = {
    "compare": "Comparison of two sides", "benchmark": "Benchmark", "abtest": "A/B test",
    "probe": "Probe", "drift": "Drift", "replay": "Replay", "report": "Training report",
    "model-card": "Model card",
}  # fmt: skip
MOST = 200
PROMOTIONS = 50


@dataclass(frozen=True)
class Page:
    """A page that a verb wrote."""

    name: str
    kind: str
    written: float


@dataclass(frozen=True)
class Compared:
    """A comparison of two sides, as ``twinml compare`` left it."""

    name: str
    verdict: str
    passes: bool
    rows: int
    same_labels: int
    unexplained: int
    written: float


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("compare", __name__)

    @made.get("/compare")
    def page() -> str:
        return render(
            "compare.html.j2",
            title="Compare",
            section="compare",
            compared=sorted(comparisons(), key=lambda one: -one.written),
            written=sorted(written(), key=lambda one: -one.written)[:MOST],
            promotions=[entry(run.tags, run.metrics, run.status, run.started)
                        for run in sources.promotions(PROMOTIONS)],
        )  # fmt: skip

    @made.get("/reports/<path:name>")
    def report(name: str) -> Response:
        root = (home() / "reports").resolve()
        file = (root / name).resolve()
        if not file.is_relative_to(root) or file.suffix != ".html" or not file.is_file():
            raise NotFound("there is no such report")
        reply = send_file(file, mimetype="text/html")
        reply.headers["Content-Security-Policy"] = REPORT_POLICY
        return reply

    return made


def comparisons() -> Iterator[Compared]:
    """Yield the comparisons that are kept here; a file that is damaged is passed over."""
    root = home() / "reports"
    for path in root.glob("*/compare.json"):
        try:
            shape = json.loads(path.read_text(encoding="utf-8"))
            yield Compared(
                name=path.parent.name,
                verdict=str(shape["verdict"]),
                passes=bool(shape["passes"]),
                rows=int(shape["rows"]),
                same_labels=int(shape["same_labels"]),
                unexplained=int(shape["unexplained"]),
                written=path.stat().st_mtime,
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue


def written() -> Iterator[Page]:
    """Yield the pages that verbs wrote below the state folder."""
    root = home() / "reports"
    for path in root.rglob("*.html"):
        yield Page(path.relative_to(root).as_posix(), kind_of(path), path.stat().st_mtime)


def kind_of(path: Path) -> str:
    """Return what a page is about, by its name.

    Examples
    --------
    >>> kind_of(Path("benchmark-20261128-070000.html")), kind_of(Path("own.html"))
    ('Benchmark', 'Page')
    """
    return next((kind for name, kind in KINDS.items() if path.name.startswith(name)), "Page")


def entry(
    tags: Mapping[str, str], metrics: Mapping[str, float], status: str, started: float
) -> dict[str, Any]:
    """Return a promotion as the page shows it."""
    return {
        "model": tags.get("twinml.model", ""),
        "version": tags.get("twinml.version", ""),
        "previous": tags.get("twinml.previous", ""),
        "by": tags.get("twinml.by", ""),
        "reason": tags.get("twinml.reason", ""),
        "endpoint": tags.get("twinml.endpoint", ""),
        "complete": status == "FINISHED",
        "when": started,
        "new": metrics.get("new_test_roc_auc", metrics.get("new_test_r2")),
        "old": metrics.get("previous_test_roc_auc", metrics.get("previous_test_r2")),
    }
