"""What the pages read: stores, files and the platform, behind one object.

Nothing is kept but what costs seconds and cannot change: a loaded model, by digest, and parts of
pages.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from twinml.errors import NotFound
from twinml.platform import DataAsset, EndpointInfo, ModelVersion
from twinml.registry import runs
from twinml.registry.listing import Listed, listed
from twinml.registry.runs import Run
from twinml_local import assets
from twinml_local.endpoint_folders import folder_of, names, state_of
from twinml_local.studio._parts import Parts
from twinml_local.telemetry import Recent, recent, totals

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.data import Dataset
    from twinml.platform import Platform
    from twinml_local.server.state import DeploymentState

__all__ = ["Sources"]

T = TypeVar("T")

KEPT = 8
PROMOTIONS = "promotions"


class _Kept:
    """The last results of what costs seconds, by what they depend on."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                found: T = self._results[key]
                return found
        made = make()
        with self._lock:
            self._results[key] = made
            while len(self._results) > self._most:
                self._results.popitem(last=False)
        return made


class Sources:
    """The stores of this machine, read anew by every page.

    Parameters
    ----------
    platform
        Whose verbs change things.
    code
        The mark of the code that makes parts of pages.
    """

    def __init__(self, platform: Platform, code: str = "") -> None:
        self.platform, self.made = platform, Parts(code)
        self._kept = _Kept(KEPT)

    @property
    def uri(self) -> str:
        """MLflow's tracking and registry."""
        return self.platform.tracking_uri

    # --- data ---------------------------------------------------------------------------

    def assets(self) -> tuple[DataAsset, ...]:
        """Return all versions of the data, by name, newest first."""
        found = sorted(assets.list_assets(), key=lambda one: int(one.version), reverse=True)
        return tuple(sorted(found, key=lambda one: one.name))

    def asset(self, name: str, version: str) -> DataAsset:
        """Return a version of the data; ``NotFound`` if there is none."""
        return assets.get(name, version)

    def dataset(self, asset: DataAsset) -> Dataset:
        """Read the rows of a version, as they were read when it was registered."""
        from twinml import data
        from twinml.data.reading import NONE, options_of

        return data.load(
            asset.path,
            asset.target,
            name=asset.name,
            drop=assets.dropped_columns(asset),
            **options_of(asset.tags.get(assets.READING, NONE)),
        )

    # --- runs and models ----------------------------------------------------------------

    def runs(self, limit: int, offset: int = 0) -> tuple[Run, ...]:
        """Return jobs, newest first."""
        return runs.latest(self.uri, limit=limit, offset=offset)

    def run(self, run_id: str) -> Run:
        """Return a job; ``NotFound`` if there is none."""
        return runs.run(self.uri, run_id)

    def parts(self, run: Run) -> tuple[Run, ...]:
        """Return the runs within a job: candidates, or steps."""
        return runs.children(self.uri, run)

    def trials(self, run: Run) -> list[dict[str, Any]]:
        """Return what a search tried, in order; nothing where its files are elsewhere."""
        folder = run.folder
        try:
            if folder is None:
                return []
            text = (folder / "training" / "trials.json").read_text(encoding="utf-8")
            found: list[dict[str, Any]] = json.loads(text)
        except (OSError, ValueError):
            return []
        return found

    def models(self, name: str | None = None) -> tuple[Listed, ...]:
        """Return registered versions, by name and newest first."""
        return listed(self.uri, name)

    def model(self, name: str, version: str) -> Listed:
        """Return a registered version; ``NotFound`` if there is none."""
        for one in self.models(name):
            if one.version.version == version:
                return one
        raise NotFound(f"there is no model '{name}/{version}'", hint="See the list of models.")

    def model_folder(self, version: ModelVersion) -> Path:
        """Return the files of a model, where they are or fetched."""
        from twinml.registry.training_run import model_folder

        fetched = model_folder(version.digest)
        if (fetched / "MLmodel").is_file():
            return fetched
        from twinml.registry.model_files import fetch_model
        from twinml.registry.tracking import Tracking

        return fetch_model(Tracking(self.uri), version, fetched)

    # --- endpoints ----------------------------------------------------------------------

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Return all endpoints, by name."""
        return self.platform.endpoints()

    def names(self) -> tuple[str, ...]:
        """Return the names of all endpoints: quicker than what they do."""
        return names()

    def deployments(self, endpoint: str) -> Mapping[str, DeploymentState]:
        """Return the deployments of an endpoint; ``NotFound`` if there is no such endpoint."""
        return state_of(endpoint).deployments

    def contract(self, deployment: DeploymentState) -> Contract:
        """Return what a deployed model takes and gives."""
        from twinml.model import load_contract

        return self._kept.get(
            ("contract", deployment.digest), lambda: load_contract(Path(deployment.directory))
        )

    def directory(self, deployment: DeploymentState) -> Path:
        """Return the files of a deployed model."""
        return Path(deployment.directory)

    def collect_rate(self, endpoint: str) -> float:
        """Return which share of its requests an endpoint keeps."""
        return state_of(endpoint).settings.collect_rate

    def recent(self, endpoint: str, since: timedelta) -> Recent:
        """Return what an endpoint did in a time up to now."""
        return recent(folder_of(endpoint), since)

    def totals(self, endpoint: str) -> tuple[int, int]:
        """Return how many requests an endpoint answered since it began, and how many failed."""
        return totals(folder_of(endpoint))

    def promotions(self, limit: int) -> tuple[Run, ...]:
        """Return the records of promotions, newest first."""
        return runs.latest(self.uri, limit=limit, experiment=PROMOTIONS)

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` made for this key, now or before."""
        return self._kept.get(key, make)
