"""Endpoints: what is deployed, its share of the traffic, keys, and how to call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from flask import Blueprint, Response, flash, redirect, request, url_for

from twinml.errors import TwinmlError, UsageError
from twinml.platform import EndpointInfo, busiest
from twinml_local.studio._confirm import unconfirmed
from twinml_local.studio._listing import offset
from twinml_local.studio._sources import Sources

__all__ = ["pages"]

SNIPPETS = (
    ("curl.sh", "curl"), ("client.py", "Python"), ("client.mjs", "JavaScript"),
    ("client.ps1", "PowerShell"), ("data.json", "Request body"),
)  # fmt: skip
A_PAGE = 100


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("endpoints", __name__)
    platform = sources.platform

    @made.get("/endpoints")
    def listing() -> str:
        infos, start = sources.endpoints(), offset(request.args)
        return render(
            "endpoints.html.j2", title="Endpoints", section="endpoints", count=len(infos),
            infos=infos[start : start + A_PAGE],
            after=start + A_PAGE if start + A_PAGE < len(infos) else None,
            before=max(0, start - A_PAGE) if start else None,
        )  # fmt: skip

    @made.get("/endpoints/<name>")
    def endpoint(name: str) -> str:
        return shown(name)

    def shown(name: str, **more: object) -> str:
        info = platform.endpoint_info(name)
        return render(
            "endpoint.html.j2", title=name, section="endpoints", tab="details", info=info,
            deployments=sources.deployments(name), **{"keys": None, **more},
        )  # fmt: skip

    @made.post("/endpoints/<name>/keys")
    def keys(name: str) -> str:
        return shown(name, keys=platform.keys(name))

    @made.post("/endpoints/<name>/keys/<which>")
    def regenerate(name: str, which: Literal["primary", "secondary"]) -> str | Response:
        page = ask(
            name,
            f"Replace the {which} key of endpoint {name}?",
            "Callers that still use it are refused; the other key keeps working.",
            title=f"Replace the {which} key of {name}",
            word="Replace the key",
        )
        if page is not None:
            return page
        platform.regenerate_key(name, which)
        flash(f"The {which} key of {name} is replaced.")
        return back_to(name)

    @made.post("/endpoints/<name>/traffic")
    def traffic(name: str) -> str | Response:
        info = platform.endpoint_info(name)
        wanted = read_shares(request.form, "share-", info)
        mirror = read_shares(request.form, "mirror-", info)
        shares = (info.traffic, wanted, info.mirror, mirror)
        page = ask(
            name,
            f"Share out the requests to {name} like this?",
            "It counts from the next request on.",
            title=f"Traffic of {name}",
            word="Change the traffic",
            rows=[
                (deployment, *(f"{share.get(deployment, 0)} %" for share in shares))
                for deployment in info.deployments
            ],
            fields={
                key: value
                for key, value in request.form.items()
                if key.startswith(("share-", "mirror-"))
            },
        )
        if page is not None:
            return page
        platform.set_traffic(name, wanted, mirror=mirror)
        flash(f"The traffic of {name} is changed.")
        return back_to(name)

    @made.post("/endpoints/<name>/start")
    def start(name: str) -> Response:
        platform.start(name)
        flash(f"{name} answers.")
        return back_to(name)

    @made.post("/endpoints/<name>/stop")
    def stop(name: str) -> str | Response:
        served = ", ".join(platform.endpoint_info(name).deployments.values()) or "nothing"
        page = ask(
            name,
            f"Stop endpoint {name}?",
            f"It serves {served}. Requests in flight are answered; keys, port and logs stay.",
            title=f"Stop {name}",
            word="Stop it",
        )
        if page is not None:
            return page
        platform.stop(name)
        flash(f"{name} is stopped.")
        return back_to(name)

    @made.post("/endpoints/<name>/deployments/<deployment>/delete")
    def delete(name: str, deployment: str) -> str | Response:
        info = platform.endpoint_info(name)
        model = info.deployments.get(deployment)
        share = info.traffic.get(deployment, 0)
        page = ask(
            name,
            f"Delete deployment {deployment} of {name}?",
            f"It serves {model}, with {share} % of the traffic. The model stays registered."
            if model
            else "It is not there any more.",
            title=f"Delete {deployment}",
            word="Delete it",
        )
        if page is not None:
            return page
        platform.delete(name, deployment)
        flash(f"{deployment} is deleted.")
        return back_to(name)

    @made.get("/endpoints/<name>/consume")
    def consume(name: str) -> str:
        from twinml.endpoint.snippets import snippets

        info = platform.endpoint_info(name)
        programs: Mapping[str, str] = {}
        problem = ""
        if info.deployments:
            contract = sources.contract(sources.deployments(name)[busiest(info)])
            try:
                programs = snippets(contract.samples)
            except TwinmlError as error:
                problem = str(error)
        return render(
            "consume.html.j2",
            title=f"{name}: consume",
            section="endpoints",
            tab="consume",
            info=info,
            programs=[(title, programs[file]) for file, title in SNIPPETS if file in programs],
            problem=problem,
        )

    @made.get("/endpoints/<name>/documents")
    def documents(name: str) -> str:
        return render(
            "documents.html.j2", title=f"{name}: documents", section="endpoints", tab="documents",
            info=platform.endpoint_info(name),
        )  # fmt: skip

    def ask(name: str, question: str, consequence: str, **more: Any) -> str | None:
        back = url_for("endpoints.endpoint", name=name)
        return unconfirmed(render, question, consequence, section="endpoints", back=back, **more)

    def back_to(name: str) -> Response:
        return redirect(url_for("endpoints.endpoint", name=name), 303)  # type: ignore[return-value]

    return made


def read_shares(form: Mapping[str, str], prefix: str, info: EndpointInfo) -> dict[str, int]:
    """Return whole per cent by deployment from a form; a field that is missing or empty is 0.

    Raises
    ------
    UsageError
        A field holds no whole number.

    Examples
    --------
    >>> served = {"blue": "m:1", "green": "m:2"}
    >>> info = EndpointInfo("bank", "", "", "", "running", deployments=served)
    >>> read_shares({"share-blue": "90", "share-green": "10", "share-other": "x"}, "share-", info)
    {'blue': 90, 'green': 10}
    """
    shares = {}
    for deployment in info.deployments:
        text = form.get(f"{prefix}{deployment}", "").strip() or "0"
        if not (text.isascii() and text.isdigit() and len(text) < 4):
            raise UsageError(
                f"{deployment}: found '{text[:20]}', expected whole per cent from 0 to 100",
                hint="Shares add up to 100.",
            )
        shares[deployment] = int(text)
    return shares
