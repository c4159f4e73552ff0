"""What the steps of a job printed, as one text."""

from __future__ import annotations

from pathlib import Path

from azureml_runner.engine import step_folder
from twinml_local.jobs._job import JobRecord

__all__ = ["job_log"]

MAX_LOG_BYTES = 256_000


def job_log(job: JobRecord, directory: Path) -> bytes:
    """Return what the steps printed, each attempt under a heading, only the end if it is long."""
    parts = []
    for step in job.steps:
        folder = step_folder(directory, step.name)
        if step.reused:
            parts.append(f"===== step {step.name}: the result of an earlier run =====\n".encode())
        for attempt in folder.attempts():
            text = _tail(folder.files(attempt).log)
            heading = f"===== step {step.name}, attempt {attempt} =====\n"
            parts.append(heading.encode() + (text.rstrip(b"\n") + b"\n" if text else b""))
    return b"\n".join(parts)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LOG_BYTES))
            text = file.read(MAX_LOG_BYTES)
    except OSError:
        return b""
    note = f"[the first {size - MAX_LOG_BYTES} bytes are left out]\n" if size > len(text) else ""
    return note.encode() + text.decode(errors="replace").encode()
