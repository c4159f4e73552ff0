"""What the verbs about collected traffic share: where it is, and from when on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from twinml.cli._common import console
from twinml.cli._endpoints import meant
from twinml.cli.metrics import length_of_time
from twinml.errors import PlatformError

if TYPE_CHECKING:
    from twinml.traffic.collected import CollectsTraffic, Traffic

__all__ = ["collected_folder", "collected_options", "collecting", "traffic_of"]

F = TypeVar("F", bound=Callable[..., Any])


def collected_options(function: F) -> F:
    """Add ``--collected`` and ``--last``."""
    for option in (
        click.option(
            "--last",
            callback=length_of_time,
            default="30d",
            show_default=True,
            metavar="TIME",
            help="How far to look back: 90s, 15m, 1h, 7d.",
        ),
        click.option(
            "--collected",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="A modelDataCollector folder instead of an endpoint here, as downloaded from "
            "Azure ML's storage.",
        ),
    ):
        function = option(function)
    return function


def collecting(platform_name: str) -> CollectsTraffic:
    """Return the platform, if it keeps traffic where it can be read.

    Raises
    ------
    PlatformError
        It does not.
    """
    from twinml.platform import load
    from twinml.traffic.collected import CollectsTraffic

    platform = load(platform_name)
    if not isinstance(platform, CollectsTraffic):
        raise PlatformError(
            f"platform '{platform_name}' does not keep collected traffic here",
            hint="Download the data collector's folder from its storage account and name it: "
            "--collected DIR.",
        )
    return platform


def collected_folder(platform_name: str, endpoint_name: str | None, folder: Path | None) -> Path:
    """Return the folder of collected traffic that the options name."""
    if folder is not None:
        return folder
    from twinml.platform import load

    platform = collecting(platform_name)
    return platform.collected(meant(load(platform_name), endpoint_name))


def traffic_of(folder: Path, last: timedelta, deployments: Sequence[str] | None = None) -> Traffic:
    """Read the traffic and remark on what could not be read."""
    from twinml.traffic.collected import read

    traffic = read(folder, deployments=deployments, since=datetime.now(UTC) - last)
    if traffic.torn:
        console.print(f"{traffic.torn} torn lines were left out")
    if traffic.cut_off:
        console.print(f"only the newest {traffic.n_rows:,} rows are looked at")
    return traffic
