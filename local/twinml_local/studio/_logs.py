"""Logs of an endpoint: searched, narrowed to a deployment or to failures, followed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from twinml.platform import EndpointInfo
from twinml.traffic.log_entries import entries, is_failure
from twinml_local.studio._listing import first_of
from twinml_local.studio._live import follow
from twinml_local.studio._sources import Sources

__all__ = ["pages"]

# Read when only some of the entries are wanted.
WINDOW = 20_000
SHOWN = 200
LONGEST = 2_000  # characters of an entry that are shown
# This site, too, asks so whether an endpoint answers; one that does not is shown.
PROBE = re.compile(r" - GET /(ready|health|ping|version)? 200 ")


@dataclass(frozen=True)
class Asked:
    """What of a log is asked for."""

    deployment: str = ""
    search: str = ""
    failures: bool = False
    probes: bool = False

    @property
    def query(self) -> str:
        """The same as the query of an address."""
        given = {"deployment": self.deployment, "search": self.search}
        given |= {
            name: "yes"
            for name, wanted in (("failures", self.failures), ("probes", self.probes))
            if wanted
        }
        return urlencode({name: value for name, value in given.items() if value})


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the pages."""
    made = Blueprint("logs", __name__)

    def asked(info: EndpointInfo) -> Asked:
        given = request.args.get("deployment", "")
        return Asked(
            deployment=given if given in info.deployments else "",
            search=request.args.get("search", "")[:200],
            failures=request.args.get("failures") == "yes",
            probes=request.args.get("probes") == "yes",
        )

    def part(name: str, wanted: Asked) -> str:
        everything = wanted.probes and not (wanted.failures or wanted.search)
        found = sources.platform.logs(
            name, deployment=wanted.deployment or None, lines=SHOWN * 2 if everything else WINDOW
        )
        return render("logs_part.html.j2", entries=chosen(found, wanted))

    @made.get("/logs")
    def first() -> str | Response:
        return first_of("logs", sources, render)

    @made.get("/logs/<name>")
    def page(name: str) -> str:
        info = sources.platform.endpoint_info(name)
        wanted = asked(info)
        follows = request.args.get("follow") == "yes"
        return render(
            "logs.html.j2",
            title="Logs",
            section="logs",
            info=info,
            names=sources.names(),
            asked=wanted,
            follows=follows,
            live=f"/logs/{name}/live?{wanted.query}" if follows else "",
            part=part(name, wanted),
        )

    @made.get("/logs/<name>/live")
    def live(name: str) -> Response:
        wanted = asked(sources.platform.endpoint_info(name))
        return follow(lambda: part(name, wanted))

    return made


def chosen(lines: Iterable[str], wanted: Asked) -> list[tuple[str, bool]]:
    r"""Return the last entries that are asked for, newest first, and whether each is a failure.

    Examples
    --------
    >>> lines = ["2026-11-28 10:00 I one", "2026-11-28 10:01 E two", "  File", "2026-11-28 10:02 I"]
    >>> chosen(lines, Asked(search="FILE"))
    [('2026-11-28 10:01 E two\n  File', True)]
    >>> len(chosen(lines, Asked())), len(chosen(lines, Asked(failures=True)))
    (3, 1)
    >>> probe = ["2026-11-28 10:03 I [7] azmlinfsrv - GET /ready 200 0.6ms 305"]
    >>> len(chosen(probe, Asked())), len(chosen(probe, Asked(probes=True)))
    (0, 1)
    """
    found = [
        entry
        for entry in entries(lines)
        if (not wanted.failures or is_failure(entry))
        and (wanted.probes or not PROBE.search(entry))
        and wanted.search.lower() in entry.lower()
    ]
    return [
        (entry if len(entry) <= LONGEST else f"{entry[:LONGEST]}…", is_failure(entry))
        for entry in reversed(found[-SHOWN:])
    ]
