"""``twinml ui``: MLflow's own pages over our tracking store."""

from __future__ import annotations

import os
import sys

import click

from twinml.cli._output import errors_in_one_line
from twinml.errors import UsageError
from twinml.settings import tracking_uri

__all__ = ["command"]


@click.command()
@click.option("--port", type=int, default=5000, show_default=True)
@errors_in_one_line
def command(port: int) -> None:
    """Show runs, metrics and registered models in MLflow's UI, on this machine only."""
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise UsageError(f"the tracking server has pages of its own: {uri}", hint="Open it there.")
    from twinml.registry.store import alone, open_client

    with alone(uri):
        open_client(uri)
    arguments = ["--host", "127.0.0.1", "--port", str(port)]
    command_line = [sys.executable, "-m", "mlflow", "server", *arguments]
    # The address may hold a password, which has no place among arguments.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    os.execve(sys.executable, command_line, environment)  # noqa: S606 - takes this process's place
