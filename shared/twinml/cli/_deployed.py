"""Which model a verb goes by, and the options that name an endpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from twinml.cli._endpoints import endpoint_option, meant
from twinml.errors import UsageError

if TYPE_CHECKING:
    from twinml.contract import Contract

__all__ = ["contract_of", "endpoint_options", "model_directory"]

F = TypeVar("F", bound=Callable[..., Any])


def endpoint_options(function: F) -> F:
    """Add ``--endpoint``, ``--deployment``, ``--url`` and ``--key-env``."""
    for option in (
        click.option("--key-env", metavar="VAR", help="Environment variable with --url's key."),
        click.option("--url", metavar="SCORING_URI", help="An endpoint by its address instead."),
        click.option(
            "--deployment", metavar="NAME", help="Ask this deployment, whatever its traffic."
        ),
        endpoint_option,
    ):
        function = option(function)
    return function


def contract_of(
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    model: str | None,
) -> Contract:
    """Return the contract of a model directory, a registered model, or what is deployed.

    Raises
    ------
    UsageError
        Nothing tells which model it is.
    """
    from twinml.model import load_contract

    with model_directory(platform_name, endpoint_name, deployment, url, model) as directory:
        return load_contract(directory)


@contextmanager
def model_directory(
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    model: str | None,
) -> Iterator[Path]:
    """Give the directory of a model that is one, is registered, or is deployed.

    Raises
    ------
    UsageError
        Nothing tells which model it is.
    """
    if model is not None and Path(model).is_dir():
        yield Path(model)
        return
    if model is None and url is not None:
        raise UsageError(
            "a URL does not tell the model's contract",
            hint="Name the model too: --model-dir DIRECTORY or --model NAME/VERSION.",
        )
    if model is None:
        yield deployed_directory(platform_name, endpoint_name, deployment)
        return
    from twinml.registry.tracking import Tracking

    tracking = Tracking()
    with tempfile.TemporaryDirectory() as scratch:
        yield tracking.fetch(tracking.resolve(model), Path(scratch) / "model")


def deployed_directory(platform_name: str, name: str | None, deployment: str | None) -> Path:
    """Return the files of the model behind an endpoint, from the registry of its platform.

    Versions count separately in every registry: a version 2 of Azure's need not be the one here.
    """
    from twinml.platform import load

    platform = load(platform_name)
    info = platform.endpoint_info(meant(platform, name))
    models = {
        model: place
        for place, model in info.deployments.items()
        if place == deployment or (deployment is None and info.traffic.get(place, 0) > 0)
    }
    if len(models) != 1:
        raise UsageError(
            f"endpoint '{info.name}' answers with {len(models)} models there",
            hint=f"Choose with --deployment: {', '.join(sorted(info.deployments)) or 'none'}.",
        )
    return platform.deployed(info.name, next(iter(models.values()))).directory
