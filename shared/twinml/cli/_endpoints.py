"""What the verbs about endpoints share: which endpoint is meant."""

from __future__ import annotations

import click

from twinml.errors import NotFound, UsageError
from twinml.platform import Platform

__all__ = ["endpoint_option", "meant"]

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
