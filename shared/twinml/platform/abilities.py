"""Optional abilities of a platform: plan, check, remove, rehearse.

A side that has something to show beforehand, or costs money, implements these; the verbs ask
with ``isinstance`` and say so where a side has nothing of the kind::

    Plans       what a run would create, change and keep
    Checks      what stands in the way of a run
    Removes     what twinml made there, and its removal
    Trains      ways to train on the platform's own machines
    Rehearses   a stand-in for the platform, on this machine
    InstallsServices  a service manager that starts what is deployed
    Exports     folders that serve a model elsewhere
    HasStudio   a site that shows all of it
    IsStrict    endpoints that refuse what Azure ML would refuse
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

from twinml.errors import UsageError

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import DataAsset, ModelVersion, Platform, TrainedModel
    from twinml.training import TrainingOptions

__all__ = [
    "TRAIN_HERE",
    "Change",
    "Check",
    "Checks",
    "Exports",
    "HasStudio",
    "InstallsServices",
    "IsStrict",
    "Plans",
    "Rehearses",
    "Removes",
    "Site",
    "Trains",
    "able",
]

TRAIN_HERE = "local"
Action = Literal["create", "change", "keep", "delete"]
Level = Literal["ok", "note", "warning", "error"]
T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """One resource and what would be, or was, done to it; ``detail`` says why, or what of it."""

    action: Action
    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at beforehand.

    Attributes
    ----------
    level
        ``error`` if a run would fail, ``warning`` if it may, ``note`` if it is worth knowing.
    what
        What was looked at.
    found
        The value found.
    todo
        What to do about it; empty where nothing is to be done.
    """

    level: Level
    what: str
    found: str
    todo: str = ""


@runtime_checkable
class Plans(Protocol):
    """Can tell what a run would do."""

    def plan(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        *,
        train: str,
        endpoint: str | None = None,
        pipeline: bool = True,
        digest: str | None = None,
    ) -> tuple[Change, ...]:
        """Return what a run would create, change and keep; changes nothing.

        ``digest`` is that of the model, where the training is done already; the others are
        those of ``Workflow``.
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """Can check the preconditions of a run."""

    def check(self, model: Path | None = None) -> Iterator[Check]:
        """Yield what was looked at, one by one; ``model`` is a model directory to deploy."""
        ...


@runtime_checkable
class Removes(Protocol):
    """Can remove what twinml made there."""

    def removable(self) -> tuple[Change, ...]:
        """Return what twinml made and ``remove`` would delete, in that order."""
        ...

    def remove(self, change: Change) -> None:
        """Delete one of what ``removable`` returned; fine if it is gone already."""
        ...


@runtime_checkable
class Trains(Protocol):
    """Can train on its own machines."""

    trainers: tuple[str, ...]

    def train(
        self,
        how: str,
        dataset: Dataset,
        asset: DataAsset,
        options: TrainingOptions,
        say: Callable[[str], None],
    ) -> TrainedModel:
        """Train there, one of ``trainers``, and fetch the result; the same run is found again."""
        ...


@runtime_checkable
class Rehearses(Protocol):
    """Is a stand-in of another platform, run on this machine."""

    rehearsed: str

    def begin(self, *, fresh: bool = False, faults: Sequence[str] = ()) -> None:
        """Start the stand-in unless it runs, and point this process at it and at nothing else."""
        ...

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """End the stand-in; what it holds is kept."""
        ...


@runtime_checkable
class InstallsServices(Protocol):
    """Runs servers of its own, which a service manager can start."""

    def start_pipelines(self) -> bool:
        """Start the pipeline service if anything is published; tells whether it runs."""
        ...

    def has_service_manager(self) -> bool:
        """Tell whether there is a service manager that answers."""
        ...

    def service_units(self) -> Mapping[str, str]:
        """Return the units, by file name."""
        ...

    def install_services(self) -> tuple[str, ...]:
        """Write the units and have them started; returns their names."""
        ...

    def uninstall_services(self) -> tuple[str, ...]:
        """End and remove them; returns their names."""
        ...


@runtime_checkable
class Exports(Protocol):
    """Can write a folder that serves a model on a machine without what trained it."""

    def export(self, model: ModelVersion, folder: Path, *, name: str) -> Mapping[str, str]:
        """Write the folder, as endpoint ``name``; returns what is in it, by file."""
        ...


@dataclass(frozen=True)
class Site:
    """A site's address; ``renewed`` where one that ran older code was ended for it."""

    address: str
    renewed: bool = False


@runtime_checkable
class HasStudio(Protocol):
    """Has a site that shows what is in its stores."""

    def serve_studio(
        self, *, host: str, port: int | None, ready: Callable[[str, str | None], None]
    ) -> None:
        """Serve the site in this process, until it is ended.

        Parameters
        ----------
        host
            Where to listen; elsewhere than on loopback the site asks for a sign-in key.
        port
            ``None`` takes the one that it had before.
        ready
            Called with the address, and the sign-in key where one is asked for, before the
            first request is answered.
        """
        ...

    def start_studio(self) -> Site:
        """Serve the site on loopback in a process of its own, if none does with today's code."""
        ...

    def evidence(self, folder: Path) -> Mapping[str, str]:
        """Write pictures of the site's pages into a folder; return what each is, by file."""
        ...


@runtime_checkable
class IsStrict(Protocol):
    """Has endpoints that can be told to take no more than Azure ML's do."""

    def be_strict(self, endpoint: str, strict: bool) -> None:
        """Have an endpoint refuse what Azure's side would refuse or answer otherwise, or not."""
        ...


def able(
    platform: Platform,
    wanted: type[T],
    what: str,
    hint: str = "Name another one: --on azure, or --on rehearsal.",
) -> T:
    """Return ``platform`` as something that can do ``what``.

    Parameters
    ----------
    hint
        What to do where it cannot.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not isinstance(platform, wanted):
        raise UsageError(
            f"platform '{platform.name}' has nothing to {what}",
            hint=hint,
        )
    return platform
