"""Deletion of old jobs' files, where a platform keeps them on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

__all__ = ["Cleaned", "KeepsJobs"]


@dataclass(frozen=True)
class Cleaned:
    """What was deleted, or would be.

    Attributes
    ----------
    jobs
        Ids of the jobs whose files went; their records stay.
    referenced
        Ids of jobs that would have gone, but whose results a job that stays has reused.
    results
        Entries by which unchanged steps found those files.
    n_bytes
        How much that was.
    """

    jobs: tuple[str, ...]
    referenced: tuple[str, ...]
    results: int
    n_bytes: int


@runtime_checkable
class KeepsJobs(Protocol):
    """A platform whose jobs leave files on this machine."""

    def clean_pipelines(
        self,
        pipeline: str | None = None,
        *,
        keep: int,
        older_than: timedelta | None = None,
        dry_run: bool = False,
    ) -> Cleaned:
        """Delete the files of ended jobs that nothing refers to.

        Parameters
        ----------
        pipeline
            Of this one only.
        keep
            The newest ended jobs of each pipeline that stay.
        older_than
            Leave what ended more recently.
        dry_run
            Only say what would be deleted.
        """
        ...
