"""What the verbs about endpoints share: which endpoint is meant, and a client of it."""

from __future__ import annotations

import os

import click

from twinml.endpoint import Endpoint
from twinml.errors import NotFound, PlatformUnavailable, UsageError
from twinml.platform import Platform, load

__all__ = ["connect", "endpoint_option", "meant"]

endpoint_option = click.option(
    "--endpoint",
    "endpoint_name",
    metavar="NAME",
    help="The endpoint [default: the only one that there is].",
)


def meant(platform: Platform, name: str | None) -> str:
    """Return ``name``, or the name of the only endpoint.

    Raises
    ------
    NotFound
        Nothing is deployed.
    UsageError
        There are several endpoints.
    """
    if name is not None:
        return name
    names = [info.name for info in platform.endpoints()]
    if not names:
        raise NotFound("there is no endpoint", hint="Deploy a model first: twinml deploy.")
    if len(names) > 1:
        raise UsageError(
            f"there are {len(names)} endpoints: {', '.join(names)}",
            hint="Name one: --endpoint NAME.",
        )
    return names[0]


def connect(
    platform_name: str, name: str | None, deployment: str | None, url: str | None, key: str | None
) -> Endpoint:
    """Return a client of the endpoint that the options name, key included.

    Raises
    ------
    UsageError
        The options contradict each other, or the variable for the key is empty.
    NotFound
        There is no such endpoint or deployment.
    PlatformUnavailable
        The endpoint was stopped.
    """
    if url is not None:
        if name is not None:
            raise UsageError("got both --endpoint and --url", hint="Give one of them.")
        if key is not None and not os.environ.get(key):
            raise UsageError(f"the environment variable {key} is empty", hint="Put the key there.")
        return Endpoint(url, os.environ[key] if key else None, deployment=deployment)
    if key is not None:
        raise UsageError("--key-env goes with --url", hint="Leave it out: the key is known here.")
    platform = load(platform_name)
    chosen = meant(platform, name)
    info = platform.endpoint_info(chosen)
    if info.state == "stopped":
        raise PlatformUnavailable(
            f"endpoint '{chosen}' is not running",
            hint=f"Start it: twinml start --endpoint {chosen}.",
        )
    if deployment is None:
        return platform.endpoint(chosen)
    if deployment not in info.deployments:
        raise NotFound(
            f"endpoint '{chosen}' has no deployment '{deployment}'",
            hint=f"It has: {', '.join(sorted(info.deployments))}.",
        )
    return Endpoint(info.scoring_uri, platform.keys(chosen).primary, deployment=deployment)
