"""Data: registered versions, and what is in each of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from flask import Blueprint, Response, send_file

from twinml_local.studio._sources import Sources

__all__ = ["pages"]


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("data", __name__)

    @made.get("/data")
    def listing() -> str:
        found = sources.assets()
        sets = [(name, list(each)) for name, each in groupby(found, key=lambda one: one.name)]
        return render("data_list.html.j2", title="Data", section="data", sets=sets)

    @made.get("/data/<name>/<version>")
    def version(name: str, version: str) -> str:
        asset = sources.asset(name, version)
        profile = sources.profile(asset)
        learned = [run for run in sources.runs(200) if run.tags.get("twinml.data") == asset.digest]
        return render(
            "data.html.j2",
            title=f"{name} v{version}",
            section="data",
            asset=asset,
            profile=profile,
            runs=learned,
        )

    @made.get("/data/<name>/<version>/file")
    def file(name: str, version: str) -> Response:
        asset = sources.asset(name, version)
        ending = asset.path.rpartition("/data")[2]
        return send_file(
            asset.path,
            mimetype="application/octet-stream",
            as_attachment=True,
            download_name=f"{asset.name}-{asset.version}{ending}",
        )

    return made
