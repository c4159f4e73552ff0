"""The options that name an endpoint, and the one object that a command gets for them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from twinml.cli._output import console
from twinml.cli._types import DEPLOYMENT, ENDPOINT, PLATFORM, TIME
from twinml.errors import NotFound, PlatformUnavailable, UsageError

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.endpoint import Endpoint
    from twinml.platform import EndpointInfo, Platform
    from twinml.traffic.collected import CollectsTraffic, Traffic
    from twinml.traffic.metrics import RequestMetrics

__all__ = ["EndpointOptions", "endpoint_options", "key_of", "last_option", "on_option"]

F = TypeVar("F", bound=Callable[..., Any])
More = Literal["deployment", "url", "collected", "on"]

ONLY_ONE = "The endpoint [default: the only one that there is]."

on_option = click.option(
    "--on",
    "platform_name",
    type=PLATFORM,
    default="local",
    show_default=True,
    metavar="PLATFORM",
    help="Where: local, rehearsal or azure.",
)
last_option = click.option(
    "--last",
    type=TIME,
    default="30d",
    show_default=True,
    metavar="TIME",
    help="How far to look back: 90s, 15m, 1h, 7d.",
)
OPTIONS = {
    "deployment": [
        click.option(
            "--deployment",
            type=DEPLOYMENT,
            metavar="NAME",
            help="This deployment, whatever its traffic.",
        )
    ],
    "url": [
        click.option("--url", metavar="SCORING_URI", help="An endpoint by its address instead."),
        click.option(
            "--key-env",
            "key_envs",
            metavar="VAR",
            multiple=True,
            help="Environment variable with a URL's key; once for each URL, in their order.",
        ),
    ],
    "collected": [
        click.option(
            "--collected",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="A modelDataCollector folder instead of an endpoint here, as downloaded from "
            "Azure ML's storage.",
        )
    ],
    "on": [on_option],
}


@dataclass(frozen=True)
class EndpointOptions:
    """An endpoint as the command line names it, by its platform and name or by its address.

    Attributes
    ----------
    platform_name
        What ``--on`` said.
    name
        ``None``: the only endpoint that there is.
    deployment
        ``None``: the traffic decides.
    url, key_envs
        An address, and the environment variables with the keys of addresses.
    folder
        Collected traffic that was fetched from elsewhere.
    """

    platform_name: str = "local"
    name: str | None = None
    deployment: str | None = None
    url: str | None = None
    key_envs: tuple[str, ...] = ()
    folder: Path | None = None

    @functools.cached_property
    def platform(self) -> Platform:
        """The platform, connected."""
        from twinml.platform import load

        return load(self.platform_name)

    @functools.cached_property
    def endpoint(self) -> str:
        """The name of the endpoint.

        Raises
        ------
        NotFound
            None is named, and nothing is deployed.
        UsageError
            None is named, and there are several.
        """
        if self.name is not None:
            return self.name
        names = [info.name for info in self.platform.endpoints()]
        if not names:
            raise NotFound("there is no endpoint", hint="Deploy a model first: twinml deploy.")
        if len(names) > 1:
            raise UsageError(
                f"there are {len(names)} endpoints: {', '.join(names)}",
                hint="Name one: --endpoint NAME.",
            )
        return names[0]

    def info(self) -> EndpointInfo:
        """Describe the endpoint."""
        return self.platform.endpoint_info(self.endpoint)

    def metrics(self, last: timedelta) -> tuple[RequestMetrics, ...]:
        """Return the telemetry of its deployments; empty where the platform shows none here."""
        from twinml.traffic.metrics import KeepsMetrics

        if not isinstance(self.platform, KeepsMetrics):
            return ()
        return self.platform.metrics(self.endpoint, last).deployments

    def connect(self) -> Endpoint:
        """Return a client of the endpoint, key included.

        Raises
        ------
        UsageError
            The options contradict each other, or the variable for the key is empty.
        NotFound
            There is no such endpoint or deployment.
        PlatformUnavailable
            The endpoint was stopped.
        """
        from twinml.endpoint import Endpoint

        if len(self.key_envs) > 1:
            raise UsageError("--key-env is given twice", hint="There is one endpoint; give one.")
        if self.url is not None:
            if self.name is not None:
                raise UsageError("got both --endpoint and --url", hint="Give one of them.")
            return Endpoint(
                self.url, key_of(self.key_envs[0] if self.key_envs else None),
                deployment=self.deployment,
            )  # fmt: skip
        if self.key_envs:
            raise UsageError(
                "--key-env goes with --url", hint="Leave it out: the key is known here."
            )
        chosen, platform = self.endpoint, self.platform
        info = platform.endpoint_info(chosen)
        if info.state == "stopped":
            raise PlatformUnavailable(
                f"endpoint '{chosen}' is not running",
                hint=f"Start it: twinml start --endpoint {chosen}.",
            )
        if self.deployment is None:
            return platform.endpoint(chosen)
        if self.deployment not in info.deployments:
            raise NotFound(
                f"endpoint '{chosen}' has no deployment '{self.deployment}'",
                hint=f"It has: {', '.join(sorted(info.deployments))}.",
            )
        return Endpoint(info.scoring_uri, platform.keys(chosen).primary, deployment=self.deployment)

    @contextmanager
    def model_directory(self, model: str | None) -> Iterator[Path]:
        """Give the directory of a model that is one, is registered, or is deployed.

        Raises
        ------
        UsageError
            Nothing tells which model it is.
        """
        if model is not None and Path(model).is_dir():
            yield Path(model)
            return
        if model is not None:
            from twinml.registry.model_files import directory_of

            with directory_of(model) as directory:
                yield directory
            return
        if self.url is not None:
            raise UsageError(
                "a URL does not tell the model's contract",
                hint="Name the model too: --model-dir DIRECTORY or --model NAME/VERSION.",
            )
        yield self._deployed_directory()

    def contract(self, model: str | None) -> Contract:
        """Return the contract of a model directory, a registered model, or what is deployed.

        Raises
        ------
        UsageError
            Nothing tells which model it is.
        """
        from twinml.model import load_contract

        with self.model_directory(model) as directory:
            return load_contract(directory)

    def _deployed_directory(self) -> Path:
        """Return the files of the model behind the endpoint, from its platform's registry.

        Versions count separately in every registry: a version 2 of Azure's need not be the one
        here.
        """
        info = self.info()
        models = {
            model: place
            for place, model in info.deployments.items()
            if place == self.deployment
            or (self.deployment is None and info.traffic.get(place, 0) > 0)
        }
        if len(models) != 1:
            raise UsageError(
                f"endpoint '{info.name}' answers with {len(models)} models there",
                hint=f"Choose with --deployment: {', '.join(sorted(info.deployments)) or 'none'}.",
            )
        return self.platform.deployed(info.name, next(iter(models.values()))).directory

    def collecting(self) -> CollectsTraffic:
        """Return the platform, if it keeps traffic where it can be read.

        Raises
        ------
        UsageError
            It does not.
        """
        from twinml.platform.abilities import able
        from twinml.traffic.collected import CollectsTraffic

        return able(
            self.platform,
            CollectsTraffic,  # type: ignore[type-abstract]
            "collect traffic with",
            "Download the data collector's folder from its storage account and name it: "
            "--collected DIR.",
        )

    def collected_folder(self) -> Path:
        """Return the folder of collected traffic: the one that is named, or the endpoint's."""
        return self.folder or self.collecting().collected(self.endpoint)

    def traffic(self, last: timedelta, deployments: Sequence[str] | None = None) -> Traffic:
        """Read the collected traffic; print a remark for each file that could not be read."""
        from twinml.traffic.collected import read

        since = datetime.now(UTC) - last
        traffic = read(self.collected_folder(), deployments=deployments, since=since)
        if traffic.torn:
            console().print(f"{traffic.torn} torn lines were left out")
        if traffic.cut_off:
            console().print(f"only the newest {traffic.n_rows:,} rows are looked at")
        return traffic


def key_of(variable: str | None) -> str | None:
    """Return the key in an environment variable; ``None`` where none is named.

    Raises
    ------
    UsageError
        The variable is empty.
    """
    if variable is not None and not os.environ.get(variable):
        raise UsageError(f"the environment variable {variable} is empty", hint="Put the key there.")
    return os.environ[variable] if variable else None


def endpoint_options(*more: More, help: str = ONLY_ONE, required: bool = False) -> Callable[[F], F]:
    """Add ``--endpoint``, and what else is named; the command gets one object, ``where``.

    Parameters
    ----------
    more
        ``on`` adds ``--on``, ``deployment`` ``--deployment``, ``url`` ``--url`` and
        ``--key-env``, ``collected`` ``--collected``.
    help
        Of ``--endpoint``.
    required
        Whether it has to be named.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(
            *args: Any, endpoint_name: str | None = None, platform_name: str = "local",
            deployment: str | None = None, url: str | None = None,
            key_envs: tuple[str, ...] = (), folder: Path | None = None, **kwargs: Any,
        ) -> Any:  # fmt: skip
            where = EndpointOptions(platform_name, endpoint_name, deployment, url, key_envs, folder)
            return function(*args, where=where, **kwargs)

        options = [
            click.option(
                "--endpoint", "endpoint_name", type=ENDPOINT, metavar="NAME", help=help,
                required=required,
            ),
            *(option for each in more for option in OPTIONS[each]),
        ]  # fmt: skip
        decorated: Any = wrapper
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
