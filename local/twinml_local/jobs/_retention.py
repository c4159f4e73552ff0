"""Deletes what ended jobs left: their folders, and the entries by which steps are reused.

A job stays if it runs or waits, if it is among the newest, or if a job that stays has taken a
step's result from it, at however many removes. Records of jobs stay in any case.

A step that is looking for an earlier result holds the lock of the results until it is on
record, and so does this: what a step has found is referenced before it can be deleted. Folders
are moved out of the way under the lock and deleted after it; what a crash leaves of them goes
the next time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azureml_runner.engine import ReuseStore
from azureml_runner.store import ENDED
from twinml.errors import UsageError
from twinml.pipeline.retention import Cleaned
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs._store import JobStore

__all__ = ["clean", "out_of_reach"]

TRASH = ".deleted-"


def clean(
    store: JobStore,
    directory: Path,
    *,
    pipeline: str | None,
    keep: int,
    older_than: timedelta | None,
    dry_run: bool,
) -> Cleaned:
    """Delete as ``twinml.pipeline.retention.KeepsJobs.clean_pipelines`` says.

    Parameters
    ----------
    directory
        The service's folder, with ``jobs/`` and ``reuse/``; the service may run.
    """
    if keep < 0:
        raise UsageError(f"keep is {keep}", hint="Give a number of jobs, or 0.")
    folders = directory / "jobs"
    reuse = ReuseStore(directory / "reuse")
    border = None if older_than is None else datetime.now(UTC) - older_than
    with reuse.locked():
        jobs = store.jobs()
        leaving = {
            job.id
            for job in out_of_reach(jobs, pipeline, keep, border)
            if (folders / job.id).is_dir()
        }
        wanted = _referenced({job.id for job in jobs} - leaving, folders)
        held = leaving & wanted
        leaving -= held
        gone = [folders / job_id for job_id in sorted(leaving)]
        results = reuse.entries_within(gone)
        n_bytes = sum(map(_size, gone))
        if not dry_run:
            for entry in results:
                entry.unlink(missing_ok=True)
            for folder in gone:
                folder.rename(folders / f"{TRASH}{folder.name}")
            store.forget_outputs(leaving)
    if not dry_run:
        for folder in folders.glob(f"{TRASH}*"):
            shutil.rmtree(folder, ignore_errors=True)
    return Cleaned(tuple(sorted(leaving)), tuple(sorted(held)), len(results), n_bytes)


def out_of_reach(
    jobs: Iterable[JobRecord], pipeline: str | None, keep: int, border: datetime | None
) -> Iterable[JobRecord]:
    """Yield the jobs that neither their number nor their age keeps.

    Parameters
    ----------
    jobs
        In order from the newest.
    pipeline
        Whose jobs alone may go; ``None`` for those of all pipelines.
    keep
        As many of the newest ended jobs of each pipeline stay.
    border
        What ended later stays; ``None`` where age does not count.
    """
    seen: dict[str, int] = {}
    for job in jobs:
        if job.status not in ENDED or pipeline not in (None, job.pipeline):
            continue
        seen[job.pipeline] = seen.get(job.pipeline, 0) + 1
        if seen[job.pipeline] <= keep:
            continue
        if border is not None and datetime.fromisoformat(job.ended or job.created) > border:
            continue
        yield job


def _referenced(kept: set[str], folders: Path) -> set[str]:
    """Return the jobs whose folders hold results of the jobs in ``kept``, and so on."""
    found: set[str] = set()
    waiting = list(kept)
    while waiting:
        for done in (folders / waiting.pop() / "steps").glob("*/done.json"):
            for path in _outputs(done):
                if path.is_relative_to(folders):
                    owner = path.relative_to(folders).parts[0]
                    if owner not in found and owner not in kept:
                        found.add(owner)
                        waiting.append(owner)
    return found


def _outputs(done: Path) -> list[Path]:
    try:
        content = json.loads(done.read_text(encoding="utf-8"))
        return [Path(path) for path in content["outputs"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _size(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)
