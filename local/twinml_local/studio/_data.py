"""Data: registered versions, and what is in each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby

from flask import Blueprint, Response, send_file

from twinml.platform import DataAsset
from twinml_local.assets import dropped_columns
from twinml_local.studio._parts import Part
from twinml_local.studio._sources import Sources
from twinml_local.studio._templates import templates

__all__ = ["pages", "prepare", "profile_part"]

MOST_COLUMNS = 60
MOST_PREPARED = 20


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("data", __name__)

    @made.get("/data")
    def listing() -> str:
        found = sources.assets()
        prepare(sources)
        sets = [(name, list(each)) for name, each in groupby(found, key=lambda one: one.name)]
        return render("data_list.html.j2", title="Data", section="data", sets=sets)

    @made.get("/data/<name>/<version>")
    def version(name: str, version: str) -> str:
        asset = sources.asset(name, version)
        profile = profile_of(sources, asset)
        learned = [run for run in sources.runs(200) if run.tags.get("twinml.data") == asset.digest]
        return render(
            "data.html.j2",
            title=f"{name} v{version}",
            section="data",
            asset=asset,
            profile=profile,
            dropped=dropped_columns(asset),
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


def prepare(sources: Sources) -> None:
    """Have the profile of each data set's newest version made, where it is not there yet."""
    newest = {one.name: one for one in reversed(sources.assets())}
    for asset in list(newest.values())[:MOST_PREPARED]:
        profile_of(sources, asset)


def profile_of(sources: Sources, asset: DataAsset) -> Part:
    """Return the figures about the rows of a version."""
    state = json.dumps(asdict(asset), sort_keys=True)
    return sources.made.get(["profile", asset.name, asset.version], state)


def profile_part(sources: Sources, name: str, version: str) -> str:
    """Return the HTML of the figures about the rows of a version.

    Raises
    ------
    TwinmlError
        There is no such version, or its file cannot be read.
    """
    from twinml.contract import model_frame
    from twinml.report import distributions

    dataset = sources.dataset(sources.asset(name, version))
    frame = model_frame(dataset.features)
    names = list(frame.columns)[:MOST_COLUMNS]
    return templates().get_template("profile_part.html.j2").render(
        features=dataset.profile().to_dict("records"),
        distributions=[
            distributions.target(dataset),
            *(distributions.distribution(str(one), frame[one]) for one in names),
        ],
        findings=[(one.level, one.message) for one in dataset.findings],
        order=dataset.order_note,
        task=f"{dataset.task}: {dataset.task_reason}" if dataset.task_reason else dataset.task,
    )  # fmt: skip
