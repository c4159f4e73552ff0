"""``twinml ui``: MLflow's own pages over our tracking store."""

from __future__ import annotations

import os
import sys

import click

from twinml.cli._output import errors_in_one_line
from twinml.errors import UsageError
from twinml.settings import home, tracking_uri

__all__ = ["command"]


@click.command()
@click.option("--port", type=int, default=5000, show_default=True)
@errors_in_one_line
def command(port: int) -> None:
    """Show runs, metrics and registered models in MLflow's UI, on this machine only."""
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise UsageError(f"the tracking server has pages of its own: {uri}", hint="Open it there.")
    home().mkdir(parents=True, exist_ok=True)
    arguments = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    command_line = [sys.executable, "-m", "mlflow", "server", *arguments]
    os.execv(sys.executable, command_line)  # noqa: S606 - the UI takes this process's place
