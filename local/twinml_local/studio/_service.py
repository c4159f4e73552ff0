"""The site's process: where it listens, its keys, starting it in the background and ending it.

::

    HOME/studio/keys.json     the sign-in key and what signs cookies (0600)
    HOME/studio/studio.json   the port, kept so that an address stays the same
    HOME/studio/studio.pid, studio.log
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from azureml_runner.processes import free_port, terminate
from azureml_runner.service import Service, healthy
from twinml.errors import UsageError
from twinml.platform.abilities import Site
from twinml.settings import home, private_folder
from twinml_local.errors import twinml_errors
from twinml_local.keys import generate_keys
from twinml_local.studio._code import mark

if TYPE_CHECKING:
    from twinml.platform import Platform

__all__ = ["serve", "start", "stop"]

HOST = "127.0.0.1"
PORT = 5080
# A page that follows something holds one.
THREADS = 24
START_SECONDS = 60.0
STOP_SECONDS = 5.0


def serve(
    platform: Platform,
    *,
    host: str,
    port: int | None,
    ready: Callable[[str, str | None], None],
) -> None:
    """Serve the site of ``platform`` until the process is ended.

    Raises
    ------
    UsageError
        The address cannot be listened on.
    """
    from waitress.server import create_server

    from twinml_local.studio._app import create_app, prepare
    from twinml_local.studio._security import is_loopback

    private_folder(_folder())
    keys = generate_keys(_folder() / "keys.json")
    chosen = port or free_port(_kept_port() or PORT)
    loopback = is_loopback(host)
    key = None if loopback else keys.primary
    app = create_app(platform, secret=keys.secondary, loopback=loopback, key=key, port=chosen)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    try:
        server = create_server(
            app,
            host=host,
            port=chosen,
            threads=THREADS,
            ident="",
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        raise UsageError(
            f"the site cannot listen on {host}:{chosen}: {error.strerror or error}",
            hint="Name another address: --host and --port.",
        ) from error
    write_atomic(_folder() / "studio.json", json.dumps({"port": chosen}))
    shown = f"[{host}]" if ":" in host else host
    Thread(target=prepare, args=(app,), name="prepare", daemon=True).start()
    ready(f"http://{shown}:{chosen}", key)
    server.run()


@twinml_errors()
def start() -> Site:
    """Serve the site on loopback in a process of its own, if none does that has today's code.

    Raises
    ------
    PlatformError
        It does not start; the message names its log.
    """
    private_folder(_folder())
    with locked(_folder() / "studio.lock", timeout=START_SECONDS):
        code = _code_that_answers() if _service().wait(STOP_SECONDS) else None
        current = code == mark()
        if not current:
            terminate(_folder() / "studio.pid", STOP_SECONDS)
            port = free_port(_kept_port() or PORT)
            write_atomic(_folder() / "studio.json", json.dumps({"port": port}))
            _service().start(
                [sys.executable, "-m", "twinml", "studio", "--port", str(port)],
                env={**os.environ, "TWINML_HOME": str(home())},
                seconds=START_SECONDS,
            )
    return Site(f"http://{HOST}:{_kept_port()}", renewed=code is not None and not current)


@twinml_errors()
def stop() -> bool:
    """End the site's process that ``start`` left; returns whether there was one."""
    return terminate(_folder() / "studio.pid", STOP_SECONDS)


def _folder() -> Path:
    return home() / "studio"


def _kept_port() -> int | None:
    try:
        return int(json.loads((_folder() / "studio.json").read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _code_that_answers() -> str:
    """Return the mark of the code that the site runs; empty where it is too old to say so."""
    import requests

    with requests.Session() as asking:
        asking.trust_env = False
        try:
            shape = asking.get(f"http://{HOST}:{_kept_port()}/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return ""
    return str(shape.get("code", ""))


def _service() -> Service:
    return Service(
        "the site",
        _folder() / "studio.pid",
        _folder() / "studio.log",
        lambda: healthy(_kept_port(), "studio"),
    )
