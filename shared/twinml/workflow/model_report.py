"""The report of one model: written for the run that made it, and found again with that run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from twinml.errors import NotFound
from twinml.report import PAGE, write
from twinml.settings import home

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import ModelVersion, TrainedModel
    from twinml.registry.tracking import Tracking

__all__ = ["of_version", "write_for"]

FOLDER = "report"  # among the artifacts of a run


def of_version(version: ModelVersion, tracking_uri: str, file: str = PAGE) -> Path:
    """Return the report of the run that made a registered version, or a file beside it.

    One in a store on this machine is shown where it is, another one is fetched into the state
    folder.

    Raises
    ------
    NotFound
        That run has no report.
    """
    found = None
    if version.uri.startswith("file:"):
        found = _beside(version.uri.rpartition("/")[0], file)
    elif version.run_id:
        from twinml.registry.tracking import Tracking

        folder = home() / "fetched" / f"{version.name}-{version.version}"
        found = Tracking(tracking_uri).fetch(version.run_id, f"{FOLDER}/{file}", folder)
    if found is None:
        raise NotFound(
            f"no {'report' if file == PAGE else file} was written of model {version.reference}",
            hint="twinml run and twinml train write one, of the model that they make.",
        )
    return found


def write_for(
    done: TrainedModel, dataset: Dataset, tracking: Tracking, version: ModelVersion | None
) -> Path:
    """Write the report of a training and log it with its run; an existing one is kept.

    Parameters
    ----------
    version
        What the model is registered as.
    """
    if done.reused and done.run_id:
        artifacts = str(tracking.client.get_run(done.run_id).info.artifact_uri)
        found = _beside(artifacts) if artifacts.startswith("file:") else None
        if found is not None:
            return found
    folder = home() / "reports" / dataset.name
    files = write(done.searched(), dataset, folder, model=version)
    if done.run_id:
        tracking.add_artifacts(done.run_id, folder, FOLDER)
    return files.html


def _beside(artifacts: str, file: str = PAGE) -> Path | None:
    """Return a file of the report among artifacts on this machine, if it is there."""
    found = Path(unquote(urlsplit(artifacts).path)) / FOLDER / file
    return found if found.is_file() else None
