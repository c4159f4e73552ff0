"""Models: registered versions, where each comes from and goes to, deploying and promoting it."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from markupsafe import Markup

from twinml.errors import NotFound, UsageError
from twinml.pages.charts import Node, graph
from twinml.platform import DataAsset, EndpointInfo, ModelVersion, endpoint_name
from twinml.registry.runs import Run
from twinml_local.studio._confirm import unconfirmed
from twinml_local.studio._jobs import figures_of, main_figure
from twinml_local.studio._sources import Sources

__all__ = ["pages"]


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("models", __name__)

    @made.get("/models")
    def listing() -> str:
        found = sources.models()
        infos = sources.endpoints()
        groups = [
            (name, [(one, main_figure(one.metrics), _where(one.version, infos)) for one in each])
            for name, each in groupby(found, key=lambda one: one.version.name)
        ]
        return render("models.html.j2", title="Models", section="models", groups=groups)

    @made.post("/models")
    def bring() -> Response:
        """Import a model; what would run code of its file is left to the command line."""
        from twinml.registry.importing import import_model, of_address
        from twinml.registry.tracking import Tracking

        given = {
            field: request.form.get(field, "").strip() or None
            for field in ("source", "name", "data", "target")
        }
        if given["source"] is None:
            raise UsageError("there is no model to import", hint="Name a folder, file or version.")
        source, server = of_address(given["source"])
        done = import_model(
            source,
            Tracking(sources.uri),
            origin=None if server is None else Tracking(server),
            name=given["name"],
            data=given["data"],
            target=given["target"],
        )
        version = done.version
        flash(f"{version.reference} is registered: {done.kind}.")
        return redirect(url_for("models.model", name=version.name, version=version.version), 303)  # type: ignore[return-value]

    @made.get("/models/<name>/<version>")
    def model(name: str, version: str) -> str:
        from twinml.model import load_contract, requirements

        one = sources.model(name, version)
        infos = sources.endpoints()
        run = None
        if one.version.run_id:
            try:
                run = sources.run(one.version.run_id)
            except NotFound:
                run = None
        asset = next(
            (
                each
                for each in sources.assets()
                if run is not None and each.digest == run.tags.get("twinml.data")
            ),
            None,
        )
        folder = sources.model_folder(one.version)
        return render(
            "model.html.j2",
            title=f"{name}/{version}",
            section="models",
            one=one,
            run=run,
            asset=asset,
            test=figures_of(one.metrics, "test_"),
            forward=figures_of(one.metrics, "forward_"),
            lineage=lineage(one.version, run, asset, infos),
            where=_where(one.version, infos),
            contract=sources.kept(("contract", one.version.digest), lambda: load_contract(folder)),
            requirements=sorted(requirements(folder)),
            files=[(str(path.relative_to(folder)), path.stat().st_size) for path in _files(folder)],
            has_card=(folder / "model-card.html").is_file(),
            endpoints=infos,
            endpoint=endpoint_name(name),
        )

    @made.get("/models/<name>/<version>/card")
    def card(name: str, version: str) -> Response:
        from twinml_local.studio._security import REPORT_POLICY

        file = sources.model_folder(sources.model(name, version).version) / "model-card.html"
        if not file.is_file():
            raise NotFound("the model has no card")
        reply = send_file(file, mimetype="text/html")
        reply.headers["Content-Security-Policy"] = REPORT_POLICY
        return reply

    @made.get("/models/<name>/<version>/files")
    def files(name: str, version: str) -> Response:
        folder = sources.model_folder(sources.model(name, version).version)
        packed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the reply
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in _files(folder):
                archive.write(path, path.relative_to(folder).as_posix())
        packed.seek(0)
        return send_file(
            packed,
            mimetype="application/zip",
            as_attachment=True,
            download_name=f"{name}-{version}.zip",
        )

    @made.post("/models/<name>/<version>/deploy")
    def deploy(name: str, version: str) -> str | Response:
        one = sources.model(name, version).version
        endpoint, deployment = (
            request.form.get(field, "").strip() for field in ("endpoint", "deployment")
        )
        if not endpoint or not deployment:
            raise UsageError("endpoint and deployment need names", hint="Name both.")
        if endpoint in sources.names():
            info = sources.platform.endpoint_info(endpoint)
            served = info.deployments.get(deployment, one.reference.deployed)
            page = served != one.reference.deployed and ask(
                one,
                f"Replace {served} by {one.reference} in deployment {deployment} of {endpoint}?",
                f"It has {info.traffic.get(deployment, 0)} % of the traffic. No request is lost.",
                title=f"Deploy {one.reference}",
                word="Replace it",
                fields={"endpoint": endpoint, "deployment": deployment},
            )
            if page:
                return page
        info = sources.platform.deploy(one, endpoint=endpoint, deployment=deployment)
        share = info.traffic.get(deployment, 0)
        flash(f"{one.reference} is deployment {deployment} of {endpoint}, with {share} % of it.")
        return redirect(url_for("endpoints.endpoint", name=endpoint), 303)  # type: ignore[return-value]

    @made.post("/models/<name>/<version>/promote")
    def promote(name: str, version: str) -> str | Response:
        from twinml.registry import promotion
        from twinml.registry.tracking import Tracking

        one = sources.model(name, version).version
        endpoint = request.form.get("endpoint", "").strip()
        reason = request.form.get("reason", "").strip()
        if endpoint and reason:
            info = sources.platform.endpoint_info(endpoint)
            shares = ", ".join(f"{served} {info.traffic.get(deployment, 0)} %"
                               for deployment, served in info.deployments.items())  # fmt: skip
            page = ask(
                one,
                f"Make {one.reference} the champion, with all traffic of {endpoint}?",
                f"Now it goes to {shares or 'nothing'}.",
                title=f"Promote {one.reference}",
                word="Make it the champion",
                fields={"endpoint": endpoint, "reason": reason},
            )
            if page is not None:
                return page
        done = promotion.promote(
            Tracking(sources.uri),
            name,
            version=version,
            reason=reason,
            platform=sources.platform if endpoint else None,
            endpoint=endpoint or None,
        )
        flash(f"{name}/{done.version} is champion; that is on record.")
        return redirect(url_for("models.model", name=name, version=version), 303)  # type: ignore[return-value]

    def ask(version: ModelVersion, question: str, consequence: str, **more: Any) -> str | None:
        back = url_for("models.model", name=version.name, version=version.version)
        return unconfirmed(render, question, consequence, section="models", back=back, **more)

    return made


def lineage(
    version: ModelVersion,
    run: Run | None,
    asset: DataAsset | None,
    infos: Sequence[EndpointInfo],
) -> Markup:
    """Return the way from the data over the job to the model and its deployments."""
    nodes: list[Node] = []
    edges: list[tuple[str, str]] = []
    if asset is not None:
        nodes.append(
            Node(
                "data",
                asset.name,
                f"data, version {asset.version}",
                "",
                f"/data/{asset.name}/{asset.version}",
            )
        )
        edges.append(("data", "job"))
    if run is not None:
        nodes.append(Node("job", run.name, "job", "", f"/jobs/{run.id}"))
        edges.append(("job", "model"))
    nodes.append(
        Node("model", str(version.reference), ", ".join(version.aliases) or "model", "here")
    )
    for info in infos:
        for deployment, served in info.deployments.items():
            if served == version.reference.deployed:
                name = f"{info.name}/{deployment}"
                aside = f"{info.traffic.get(deployment, 0)} % of the traffic"
                nodes.append(Node(name, name, aside, "", f"/endpoints/{info.name}"))
                edges.append(("model", name))
    return graph(
        nodes, edges, title=f"Where {version.reference} comes from and goes to", across=True
    )


def _where(version: ModelVersion, infos: Sequence[EndpointInfo]) -> list[tuple[str, str, int]]:
    """Return endpoint, deployment and share of the traffic of where a version is served."""
    return [
        (info.name, deployment, info.traffic.get(deployment, 0))
        for info in infos
        for deployment, served in info.deployments.items()
        if served == version.reference.deployed
    ]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
