"""A platform as a whole, found by its name.

``load("local")`` finds a platform by its entry point in the group ``twinml.platforms``;
shared code never imports one by name.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

from twinml.errors import PlatformUnavailable, UsageError
from twinml.platform._assets import Assets
from twinml.platform._endpoints import EndpointInfo, Endpoints
from twinml.platform._pipelines import Pipelines

__all__ = ["PLATFORMS", "Lifecycle", "Platform", "available", "load"]

# The group of entry points.
PLATFORMS = "twinml.platforms"


class Lifecycle(Protocol):
    """Brings endpoints back and ends what was left running."""

    def start(self, endpoint: str) -> EndpointInfo:
        """Bring a stopped endpoint back; returns once it answers."""
        ...

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """End the processes that this platform left running, or one endpoint's.

        Returns what it ended.
        """
        ...


class Platform(Assets, Endpoints, Pipelines, Lifecycle, Protocol):
    """A place to run the workflow. Every method is idempotent and raises ``PlatformError``."""

    name: str


def available() -> tuple[str, ...]:
    """Return the names of the installed platforms, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=PLATFORMS)))


def load(name: str) -> Platform:
    """Return the platform called ``name``, connected.

    Raises
    ------
    UsageError
        No platform of that name is installed.
    PlatformUnavailable
        It is installed but cannot be used; the message says what is missing.
    """
    for point in entry_points(group=PLATFORMS):
        if point.name == name:
            try:
                factory = point.load()
            except ImportError as error:
                raise PlatformUnavailable(
                    f"platform '{name}' needs the package '{error.name}', which is not installed",
                    hint=f"Install it: pip install 'twinml[{name}]'.",
                ) from error
            platform: Platform = factory()
            return platform
    raise UsageError(
        f"there is no platform '{name}'", hint=f"Installed: {', '.join(available()) or 'none'}."
    )
