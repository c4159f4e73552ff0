"""Serve the emulator: ``python -m azureml_emulator``; prints what to export, ends on Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from azureml_emulator.account import Account
from azureml_emulator.app import Emulator
from azureml_emulator.faults.rule import Rule, RuleError
from azureml_emulator.http.certificates import CertificateAuthority
from azureml_emulator.http.proxy import Proxy
from azureml_emulator.http.relay import index_hosts, is_host, pip_files, public_roots
from azureml_emulator.recordings import PARTS, Recorder, RecordingError, Replay
from azureml_runner.files import write_atomic
from azureml_runner.locks import Held, locked

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["main", "variables"]


def variables(account: Account, proxy_url: str, bundle: Path) -> dict[str, str]:
    """Return the environment that points the Azure SDK at an emulator."""
    return {
        "HTTPS_PROXY": proxy_url,
        "HTTP_PROXY": proxy_url,
        "NO_PROXY": "127.0.0.1,localhost",
        "REQUESTS_CA_BUNDLE": str(bundle),
        "AZURE_TENANT_ID": account.tenant_id,
        "AZURE_CLIENT_ID": account.client_id,
        "AZURE_CLIENT_SECRET": account.client_secret,
        "AZURE_SUBSCRIPTION_ID": account.subscription_id,
        "AZUREML_ARM_SUBSCRIPTION": account.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": account.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": account.workspace,
        # What curl, urllib and pip look for, each at a name of its own.
        "https_proxy": proxy_url,
        "http_proxy": proxy_url,
        "no_proxy": "127.0.0.1,localhost",
        "SSL_CERT_FILE": str(bundle),
        "CURL_CA_BUNDLE": str(bundle),
        "PIP_CERT": str(bundle),
    }


EPILOG = """\b
In a shell of your own:
  python -m azureml_emulator > azureml.env &
  source azureml.env
  python your_azure_ml_code.py
"""


@click.command(name="azureml_emulator", epilog=EPILOG)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".azureml-emulator"),
    show_default=True,
    help="The state folder.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free port.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append what is asked and answered to a file, a JSON line each, without secrets.",
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Answer as a file says that --record wrote, and do nothing else.",
)
@click.option(
    "--match-on",
    multiple=True,
    type=click.Choice(PARTS),
    help="By what --replay recognises a request, beside its method; may be repeated "
    "[default: all of them].",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="How many jobs run at once; others wait.",
)
@click.option(
    "--automl-seconds",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="The most that one AutoML run may take, whatever its limits say.",
)
@click.option(
    "--curated",
    type=click.Choice(["build", "own"]),
    default="build",
    show_default=True,
    help="Whether jobs in curated environments run in one that is built like it, or with the "
    "emulator's own interpreter.",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="ADDRESS=FOLDER",
    help="A folder that stands for an address elsewhere, from which nothing is fetched.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="HOST",
    help="Let this host through, none by 'none' [default: the package index of pip and uv].",
)
@click.option(
    "--lenient",
    is_flag=True,
    help="Fill the gaps of the real service: serve MLflow's /logged-models, and add the "
    "azureml-ai-monitoring package that a served model forgot to ask for.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="RULE",
    help="Let something go wrong, such as 'PUT */onlineEndpoints/* 409 once'; may be repeated. "
    "python -m azureml_emulator.faults --help explains rules, and sets them later.",
)
@click.option("--routes", is_flag=True, help="List the routes and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print the variables as one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log each request.")
def main(
    directory: Path,
    port: int,
    record: Path | None,
    replay: Path | None,
    match_on: tuple[str, ...],
    workers: int,
    automl_seconds: float,
    curated: str,
    mirrors: tuple[str, ...],
    allowed: tuple[str, ...],
    lenient: bool,
    faults: tuple[str, ...],
    routes: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Serve a stand-in for Azure Machine Learning on 127.0.0.1."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        rules = [Rule.read(text) for text in faults]
    except RuleError as error:
        raise click.ClickException(str(error)) from error
    os.umask(0o077)
    directory = directory.resolve()
    with ExitStack() as held:
        try:
            held.enter_context(locked(directory / "lock", timeout=0.0))
        except Held as error:
            raise click.ClickException(
                f"another emulator is using {directory}; name another folder: --directory."
            ) from error
        if replay is not None:
            if record is not None:
                raise click.ClickException("--replay answers from a file: leave --record out.")
            _replay(replay, match_on or PARTS, directory, port, as_json)
            return
        emulator = Emulator(
            directory,
            lenient=lenient,
            mirrors=dict(map(_mirror, mirrors)),
            faults=rules,
        )
        begin = partial(
            emulator.start,
            workers=workers,
            automl_seconds=automl_seconds,
            build_curated=curated == "build",
        )
        hosts = _allowed(allowed, emulator.router.knows_host)
        try:
            if routes:
                for route in emulator.router.routes:
                    click.echo(route.template)
                return
            app: WSGIApplication = emulator
            if record is not None:
                app = Recorder(emulator, record, emulator.account, emulator.router.knows_host)
            _serve(app, emulator.account, begin, directory, port, hosts, as_json)
        except RecordingError as error:
            raise click.ClickException(str(error)) from error
        finally:
            emulator.close()
    if "mlflow" in sys.modules:
        # Everything is closed. To take MLflow's modules apart would be seconds of work more.
        sys.stdout.flush()
        logging.shutdown()
        os._exit(0)


def _mirror(text: str) -> tuple[str, Path]:
    address, equals, folder = text.rpartition("=")
    if not equals or "://" not in address or not Path(folder).is_dir():
        raise click.ClickException(
            f"--mirror is '{text}', not an address and a folder that exists: "
            "https://example.com/data=./data"
        )
    return address.rstrip("/"), Path(folder)


def _allowed(given: tuple[str, ...], emulated: Callable[[str], bool]) -> frozenset[str]:
    """Return the hosts that are let through: an emulated one never is."""
    for host in given:
        if not is_host(host):
            raise click.ClickException(f"--allow is '{host}', not the name of a host.")
        if emulated(host):
            raise click.ClickException(f"--allow {host}: the emulator stands in for this host.")
    hosts = set(given) or index_hosts(os.environ, pip_files(Path.home()))
    return frozenset(host.lower() for host in hosts if host != "none" and not emulated(host))


def _replay(
    file: Path, match_on: tuple[str, ...], directory: Path, port: int, as_json: bool
) -> None:
    try:
        app = Replay(file, match_on)
    except RecordingError as error:
        raise click.ClickException(str(error)) from error
    _serve(app, app.account, lambda _: None, directory, port, frozenset(), as_json)


def _serve(
    app: WSGIApplication,
    account: Account,
    begin: Callable[[dict[str, str]], None],
    directory: Path,
    port: int,
    allowed: frozenset[str],
    as_json: bool,
) -> None:
    authority = CertificateAuthority()
    bundle = directory / "ca.pem"
    authority.write(bundle, public_roots(os.environ) if allowed else "")
    try:
        proxy = Proxy(app, authority, port, allowed=allowed)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror}"
        ) from error
    exported = variables(account, proxy.url, bundle)
    write_atomic(directory / "environment.json", json.dumps(exported, indent=2), mode=0o600)
    with proxy:
        begin(exported)
        _run(proxy, exported, as_json)


def _run(proxy: Proxy, exported: dict[str, str], as_json: bool) -> None:
    """Serve until a signal asks to stop."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        if as_json:
            click.echo(json.dumps(exported))
        else:
            for name, value in exported.items():
                click.echo(f"export {name}={value}")
        asked.wait()
    finally:
        proxy.shutdown()
        thread.join()


if __name__ == "__main__":
    main()
