"""The application: what every page has, errors, and the pages of each part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, flash, get_flashed_messages, jsonify, redirect, request
from werkzeug.exceptions import HTTPException, NotFound

from twinml.errors import TwinmlError
from twinml.pages.templates import style_sheet
from twinml.registry.store_errors import explained
from twinml.settings import home
from twinml_local.jobs import lifecycle as jobs
from twinml_local.studio import (
    _compare,
    _data,
    _endpoints,
    _jobs,
    _logs,
    _models,
    _monitoring,
    _overview,
    _pipelines,
    _rehearsal,
    _scoring,
)
from twinml_local.studio._code import changed_since_start, mark
from twinml_local.studio._parts import live
from twinml_local.studio._security import guard, once, own_path, sign_in_pages, token
from twinml_local.studio._sources import Sources
from twinml_local.studio._templates import templates

if TYPE_CHECKING:
    from twinml.platform import Platform

__all__ = ["create_app", "one_of_each", "prepare"]

log = logging.getLogger("twinml.studio")

HERE = Path(__file__).parent
SOURCES = "twinml-sources"
MAX_BODY_BYTES = 2_000_000
PARTS = (
    ("overview", "Overview", "/"),
    ("data", "Data", "/data"),
    ("jobs", "Jobs", "/jobs"),
    ("models", "Models", "/models"),
    ("endpoints", "Endpoints", "/endpoints"),
    ("monitoring", "Monitoring", "/monitoring"),
    ("logs", "Logs", "/logs"),
    ("pipelines", "Pipelines", "/pipelines"),
    ("compare", "Compare", "/compare"),
    ("rehearsal", "Rehearsal", "/rehearsal"),
)
ROOMS = (
    _overview, _data, _jobs, _models, _endpoints, _scoring, _monitoring, _logs, _pipelines,
    _compare, _rehearsal,
)  # fmt: skip
TITLES = {
    400: "The request cannot be answered",
    401: "Sign in first",
    403: "That is not allowed",
    404: "There is no such page",
    405: "That is not done this way",
    413: "That is too large",
    500: "Something went wrong",
}


@dataclass(frozen=True)
class _Assets:
    """Files that pages load, by path, with a mark that changes when they do."""

    content: dict[str, tuple[str, str]]
    mark: str


def create_app(
    platform: Platform,
    *,
    secret: str,
    loopback: bool = True,
    key: str | None = None,
    port: int = 0,
) -> Flask:
    """Return the site of ``platform``.

    Parameters
    ----------
    secret
        Signs cookies.
    loopback, key
        As for ``guard``.
    port
        Where it listens: cookies of one machine are shared by its ports.
    """
    app = Flask(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=secret,
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME=f"twinml-studio-{port}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
    )
    guard(app, loopback=loopback, key=key)
    assets = _read_assets()
    code = mark()
    render = _renderer(assets, signed_in=key is not None)
    sources = Sources(platform, code)
    app.extensions[SOURCES] = sources
    app.register_blueprint(sign_in_pages(key, render))
    app.register_blueprint(live(sources.made))
    for part in ROOMS:
        app.register_blueprint(part.pages(sources, render))
    _add_errors(app, render)

    @app.get("/static/<name>", endpoint="static")
    def static_file(name: str) -> Response:
        found = assets.content.get(name)
        if found is None:
            return Response("there is no such file", 404)
        text, kind = found
        return Response(
            text, mimetype=kind, headers={"Cache-Control": "private, max-age=31536000, immutable"}
        )

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="Healthy", service="studio", code=code)

    return app


def prepare(app: Flask) -> None:
    """Make one page of each kind for nobody: imports and templates cost the first one most.

    The profiles of the data are begun, too.
    """
    sources: Sources = app.extensions[SOURCES]
    for url in one_of_each(sources):
        try:
            with app.test_request_context(url):
                app.dispatch_request()
        except Exception as error:  # who asks for it is told
            log.debug("%s is not prepared: %s", url, error)


def one_of_each(sources: Sources) -> Iterator[str]:
    """Yield the addresses of the pages, of those of one thing one of each kind."""
    yield from (address for _, _, address in PARTS)
    for asset in sources.assets()[:1]:
        yield f"/data/{asset.name}/{asset.version}"
    for run in [one for one in sources.runs(200) if one.is_search][:1]:
        yield f"/jobs/{run.id}"
    for listed in sources.models()[:1]:
        yield f"/models/{listed.version.name}/{listed.version.version}"
    for name in sources.names()[:1]:
        yield from (f"/endpoints/{name}", f"/endpoints/{name}/test", f"/endpoints/{name}/consume",
                    f"/monitoring/{name}", f"/logs/{name}")  # fmt: skip
    for published in sources.platform.pipelines()[:1]:
        yield f"/pipelines/{published.name}"
        for job in jobs.recorded(published.name, limit=1):
            yield f"/pipelines/{published.name}/jobs/{job.id}"


def _read_assets() -> _Assets:
    here = HERE / "static"
    own = here.joinpath("studio.css").read_text(encoding="utf-8")
    content = {
        "studio.css": (f"{style_sheet()}\n{own}", "text/css"),
        "studio.js": (here.joinpath("studio.js").read_text(encoding="utf-8"), "text/javascript"),
    }
    whole = "".join(text for text, _ in content.values())
    return _Assets(content, sha256(whole.encode()).hexdigest()[:12])


def _renderer(assets: _Assets, *, signed_in: bool) -> Callable[..., str]:
    made = templates()
    made.globals["once"] = once
    outdated = changed_since_start()

    def render(template: str, **values: Any) -> str:
        section = values.pop("section", "")
        return made.get_template(template).render(
            menu=PARTS,
            section=section,
            mark=assets.mark,
            csrf=token,
            notes=get_flashed_messages,
            asks_for_key=signed_in,
            outdated=outdated,
            **values,
        )

    return render


def _add_errors(app: Flask, render: Callable[..., str]) -> None:
    def page(status: int, message: str, hint: str = "") -> tuple[str, int]:
        title = TITLES.get(status, TITLES[400 if status < 500 else 500])
        return render("error.html.j2", title=title, message=message, hint=hint), status

    @app.errorhandler(TwinmlError)
    def refused(error: TwinmlError) -> tuple[str, int] | Response:
        # What was asked for in a form is answered where the form is.
        back = own_path(request.form.get("back", ""))
        if request.method == "POST" and back:
            flash(str(error))
            return redirect(back, 303)  # type: ignore[return-value]
        return page(error.status, error.message, error.hint or "")

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> tuple[str, int] | HTTPException:
        status = error.code or 500
        if isinstance(error, NotFound):
            return page(status, "nothing is at this address", "The parts are in the menu.")
        return page(status, error.description or error.name) if status >= 400 else error

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[str, int] | Response:
        known = explained(error, home())
        if known is not None:
            return refused(known)
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return page(500, "this page could not be made", "The log of the site says why.")
