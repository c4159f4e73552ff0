"""A client of a published pipeline's REST endpoint: its URI and a key are all it needs."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from twinml.errors import (
    Detail,
    NotFound,
    PayloadError,
    PlatformError,
    PlatformUnavailable,
)
from twinml.platform import PipelineClient, PipelineJob

__all__ = ["ENDED", "RestPipelineClient", "follow"]

ENDED = ("Completed", "Failed", "Canceled")
POLL_SECONDS = 0.2


def follow(client: PipelineClient, job_id: str) -> Iterator[PipelineJob]:
    """Yield a job now and whenever it or one of its steps has changed, until it has ended.

    To stop looking leaves it running.
    """
    seen: PipelineJob | None = None
    while seen is None or seen.status not in ENDED:
        if seen is not None:
            time.sleep(POLL_SECONDS)
        job = client.job(job_id)
        if job != seen:
            yield job
        seen = job


class _Bearer(AuthBase):
    """Sends the key; unlike a header, it is not replaced by what ``.netrc`` holds."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class RestPipelineClient:
    """Starts and watches the jobs of one published pipeline.

    Parameters
    ----------
    uri
        Where jobs are started, as in ``PipelineInfo.uri``: ``http://…/pipelines/NAME/jobs``.
    key
        Either key of the endpoint.
    timeout
        Seconds to wait for an answer.

    Raises
    ------
    NotFound
        From every method: there is no such pipeline or job.
    PayloadError
        From ``submit``: the inputs do not fit the definition; ``details`` names them.
    PlatformUnavailable
        From every method: nothing answers there.
    PlatformError
        From every method: the key is not accepted, or the service failed.

    Examples
    --------
    >>> RestPipelineClient("http://127.0.0.1:8001/pipelines/training/jobs", "secret")
    RestPipelineClient('http://127.0.0.1:8001/pipelines/training/jobs')
    """

    def __init__(self, uri: str, key: str, *, timeout: float = 30.0) -> None:
        self.uri = uri.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._key = key
        self._session.auth = _Bearer(key)
        # A proxy that the environment names does not lead to this machine.
        self._session.trust_env = urlsplit(uri).hostname not in ("127.0.0.1", "localhost", "::1")

    def __repr__(self) -> str:
        return f"RestPipelineClient({self.uri!r})"

    def __enter__(self) -> RestPipelineClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def authentication_header(self) -> dict[str, str]:
        """Return the header that opens the endpoint, for clients of one's own. A secret."""
        return {"Authorization": f"Bearer {self._key}"}

    def submit(self, inputs: Mapping[str, Any] | None = None) -> PipelineJob:
        """Start a job; it is sent once only, because a second try could start a second job."""
        reply = self._call("POST", "", json={"inputs": dict(inputs or {})})
        return _job(reply.json())

    def definition(self) -> dict[str, Any]:
        """Return the pipeline as it was last published: Azure ML's pipeline job."""
        return dict(self._published()["definition"])

    def inputs(self) -> dict[str, dict[str, Any]]:
        """Return ``type`` and, where there is one, ``default`` or ``path`` of each input."""
        return dict(self._published()["inputs"])

    def _published(self) -> dict[str, Any]:
        published: dict[str, Any] = self._call(
            "GET", "", base=self.uri.removesuffix("/jobs")
        ).json()
        return published

    def job(self, job_id: str) -> PipelineJob:
        """Describe a job and its steps."""
        return _job(self._call("GET", _path(job_id)).json())

    def jobs(self, *, status: str | None = None, limit: int | None = None) -> list[PipelineJob]:
        """List jobs, newest first."""
        reply = self._call("GET", "", params={"status": status, "limit": limit})
        return [_job(item) for item in reply.json()["jobs"]]

    def logs(self, job_id: str) -> str:
        """Return what the steps of a job printed so far."""
        return self._call("GET", f"{_path(job_id)}/logs").content.decode()

    def cancel(self, job_id: str) -> PipelineJob:
        """End a job; one that runs is ``Canceled`` a moment later."""
        return _job(self._call("POST", f"{_path(job_id)}/cancel").json())

    def download(self, job_id: str, output: str, folder: Path) -> Path:
        """Fetch an output of a completed job into ``folder``; return the file or folder.

        Raises
        ------
        NotFound
            The job has no such output, or has not completed.
        """
        reply = self._call("GET", f"{_path(job_id)}/outputs/{quote(output, safe='')}")
        target = folder / output
        folder.mkdir(parents=True, exist_ok=True)
        if reply.headers.get("Content-Type", "").startswith("application/zip"):
            with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
                archive.extractall(target)
        else:
            target.write_bytes(reply.content)
        return target

    def wait(self, job_id: str, *, timeout: float | None = None) -> PipelineJob:
        """Return the job once it has ended.

        Raises
        ------
        PlatformError
            It has not after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            job = self.job(job_id)
            if job.status in ENDED:
                return job
            if deadline is not None and time.monotonic() > deadline:
                raise PlatformError(
                    f"job '{job_id}' is {job.status} after {timeout:g} s",
                    hint="Wait longer, or look at its logs.",
                )
            time.sleep(POLL_SECONDS)

    def _call(
        self, method: str, path: str, *, base: str | None = None, **arguments: Any
    ) -> requests.Response:
        url = f"{base or self.uri}{path}"
        try:
            reply = self._session.request(method, url, timeout=self._timeout, **arguments)
        except requests.RequestException as error:
            raise PlatformUnavailable(
                f"the pipeline endpoint {self.uri} does not answer ({type(error).__name__})",
                hint="See whether it is running: twinml status.",
            ) from error
        if not reply.ok:
            raise _error(reply)
        return reply


def _path(job_id: str) -> str:
    return f"/{quote(job_id, safe='')}"


def _error(reply: requests.Response) -> PlatformError | PayloadError:
    """Return the error that a reply in twinml's shape describes, or any other failed reply."""
    try:
        shape = reply.json()
        message, hint = str(shape["message"]), shape.get("hint")
        details = [Detail(**item) for item in shape.get("details", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return PlatformError(f"the pipeline endpoint answered {reply.status_code}")
    if reply.status_code == 404:
        return NotFound(message, hint=hint, details=details)
    if reply.status_code in (400, 413, 415):
        return PayloadError(message, hint=hint, details=details, status=reply.status_code)
    return PlatformError(message, hint=hint, details=details)


def _job(content: Mapping[str, Any]) -> PipelineJob:
    return PipelineJob(
        id=content["id"],
        pipeline=content["pipeline"],
        status=content["status"],
        inputs=content["inputs"],
        outputs=content["outputs"],
        error=content["error"],
        created=content["created"],
        started=content["started"],
        ended=content["ended"],
        steps=tuple(content.get("steps", ())),
        schedule=content.get("schedule"),
        reason=content.get("reason"),
    )
