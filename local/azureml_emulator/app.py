"""The emulator as one WSGI application: routing, authentication and request log."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

from azureml_emulator.account import ARM_HOST, LOCAL_HOST, Account
from azureml_emulator.arm.actions import Actions
from azureml_emulator.arm.availability import check_version
from azureml_emulator.arm.capacity import Capacity
from azureml_emulator.arm.data_plane import DataPlane
from azureml_emulator.arm.management import Management
from azureml_emulator.arm.registries import Registries
from azureml_emulator.arm.resources import ResourceStore
from azureml_emulator.arm.subscription import Subscription
from azureml_emulator.arm.workspace import Workspaces
from azureml_emulator.batch.arm import BatchEndpoints
from azureml_emulator.environments.venvs import VenvCache
from azureml_emulator.errors import ArmError, EmulatorError, no_route
from azureml_emulator.faults.plan import ConnectionDropped, FaultPlan
from azureml_emulator.faults.rule import Rule
from azureml_emulator.identity import tokens
from azureml_emulator.identity.login import Login
from azureml_emulator.inference import Fleet
from azureml_emulator.inference.arm import OnlineDeployments
from azureml_emulator.job_service import JobService
from azureml_emulator.routing import Call, Route, Router, json_response
from azureml_emulator.schedules.arm import Schedules
from azureml_emulator.storage.blob_service import Storage
from azureml_emulator.storage.blobs import BlobStore
from azureml_emulator.storage.mirrors import Mirrors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["Emulator"]

IMDS_HOST = "169.254.169.254"
PUBLIC_PATHS = {"/metadata/endpoints"}

_log = logging.getLogger("azureml_emulator")


class Emulator:
    """All emulated services, on one state folder.

    Parameters
    ----------
    directory
        The state folder; only one process at a time may have it.
    operation_seconds
        How long a long-running operation takes that has no work to do.
    lenient
        Whether the gaps of the real service are filled.
    faults
        What goes wrong on purpose, from the start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        operation_seconds: float = 0.2,
        lenient: bool = False,
        mirrors: Mapping[str, Path] | None = None,
        faults: Iterable[Rule] = (),
    ) -> None:
        self.account = Account.of(directory)
        self._faults = FaultPlan(faults)
        self._store = ResourceStore(directory / "resources.sqlite")
        self._blobs = BlobStore(directory / "storage")
        management = Management(self.account, self._store, operation_seconds=operation_seconds)
        workspaces = Workspaces(self.account, management, self._blobs)
        actions = Actions(self.account, management, self._blobs)
        workspaces.make_default()
        self._mirrors = Mirrors(mirrors or {})
        self._jobs = JobService(
            management, self._blobs, directory, lenient=lenient, mirrors=self._mirrors
        )
        fleet = Fleet(directory / "deployments", VenvCache(), lenient=lenient)
        self._deployments = OnlineDeployments(
            self.account, management, self._jobs.datastores, fleet, self._faults
        )
        submit = self._jobs.jobs.submit
        batch = BatchEndpoints(
            self.account,
            management,
            self._jobs.datastores,
            submit,
            self._jobs.status,
            self._jobs.jobs.pages.address,
        )
        self._schedules = Schedules(management, self._jobs.jobs.check, submit, batch.invoke)
        self.router = Router(
            [
                Route("GET", LOCAL_HOST, "/", self._ready),
                *self._faults.routes(),
                *Login(self.account).routes(),
                *Storage(self.account, self._blobs).routes(),
                *workspaces.routes(),
                *Subscription(management, workspaces).routes(),
                *actions.routes(),
                *Registries(self.account).routes(),
                *DataPlane(self.account, management).routes(),
                *self._jobs.routes(),
                *self._deployments.routes(),
                *Capacity(management).routes(),
                *batch.routes(),
                *self._schedules.routes(),
                *management.routes(),
            ]
        )
        self._refused_hosts: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI."""
        started = time.monotonic()
        request = Request(environ)
        host, path = environ["azureml_emulator.host"], environ["azureml_emulator.path"]
        response = self._answer(request, host, path)
        response.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        client_id = request.headers.get("x-ms-client-request-id")
        if client_id:
            response.headers.setdefault("x-ms-client-request-id", client_id)
        _log.info(
            "%s %s%s %d %.0f ms",
            request.method,
            host,
            path,
            response.status_code,
            1000 * (time.monotonic() - started),
        )
        return response(environ, start_response)

    def start(
        self,
        variables: Mapping[str, str],
        *,
        workers: int = 2,
        automl_seconds: float = 120.0,
        build_curated: bool = True,
    ) -> None:
        """Restart deployments and run jobs, unfinished ones first.

        Parameters
        ----------
        variables
            What points the code of jobs at this emulator.
        workers
            How many jobs run at once.
        automl_seconds
            The most that one AutoML run may take.
        build_curated
            Whether curated environments are built; else the emulator's own interpreter runs.
        """
        self._deployments.recover(urlsplit(variables["HTTPS_PROXY"]).port or 0)
        self._jobs.start(
            variables, workers=workers, automl_seconds=automl_seconds, build_curated=build_curated
        )
        self._schedules.start()

    def close(self) -> None:
        """Stop servers, interrupt jobs, which the next start resumes, and close the databases."""
        self._schedules.close()
        self._jobs.close()
        self._deployments.close()
        self._store.close()
        self._blobs.close()

    def _answer(self, request: Request, host: str, path: str) -> Response:
        try:
            if host == IMDS_HOST:
                # The wording and status that the SDK takes for "no managed identity here".
                raise ArmError(403, "Forbidden", "IMDS is unreachable: this is an emulator.")
            if request.method in ("GET", "HEAD"):
                mirrored = self._mirrors.find(f"{request.scheme}://{host}{path}")
                if mirrored is not None:
                    return _file(mirrored, request)
            if not self.router.knows_host(host):
                # Telemetry tries again and again: once a host is enough.
                level = logging.DEBUG if host in self._refused_hosts else logging.WARNING
                self._refused_hosts.add(host)
                _log.log(level, "refused: %s %s%s", request.method, host, path)
                raise ArmError(
                    403,
                    "HostNotEmulated",
                    f"azureml_emulator does not stand in for '{host}' and sends nothing on.",
                )
            found = self.router.find(request.method, host, path)
            if found is None:
                _log.warning("no route: %s %s%s", request.method, host, path)
                raise no_route(request.method, host, path)
            if host != LOCAL_HOST:
                self._faults.strike(request.method, host, path, request.environ)
            handler, parameters = found
            if host == ARM_HOST and path not in PUBLIC_PATHS:
                self._check_management_request(request, path)
                self._store.settle()
            return handler(Call(request, host, path, parameters))
        except EmulatorError as error:
            return error.response()
        except ConnectionDropped:
            raise
        except Exception:
            _log.exception("failed: %s %s%s", request.method, host, path)
            failure = ArmError(500, "InternalServerError", "The emulator failed; its log says why.")
            return failure.response()

    @staticmethod
    def _check_management_request(request: Request, path: str) -> None:
        tokens.check(
            request.headers.get("Authorization", ""),
            # The SDK has two names for this audience and uses both.
            audience=None,
            error=_unauthorised,
        )
        check_version(path, request.args.get("api-version", ""), datetime.now(UTC).date())

    def _ready(self, call: Call) -> Response:
        return json_response({"azureml_emulator": "ready", "workspace": self.account.workspace_id})


def _file(path: Path, request: Request) -> Response:
    """Return a file of a mirror, a range of it where one is asked for."""
    if not path.is_file():
        raise ArmError(404, "UserError", f"'{path.name}' is a folder of a mirror, not a file.")
    return send_file(path, request.environ, conditional=True)


def _unauthorised(reason: str) -> ArmError:
    return ArmError(
        401,
        "InvalidAuthenticationToken",
        f"Authentication failed: {reason}.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
