"""The workspace and its credential: found without the SDK, connected to with it.

Reading the configuration takes milliseconds and no network; the SDK, which takes seconds to
import, is loaded when something is first asked of the workspace.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twinml.errors import NotFound, PlatformError, PlatformUnavailable

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

__all__ = ["Connection", "NoWorkspace", "WorkspaceAddress", "find_workspace"]

CONFIG_FILES = (Path("config.json"), Path(".azureml") / "config.json")
# Azure sets the first name of each in its own jobs; the others are for people.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "subscription_id": ("AZUREML_ARM_SUBSCRIPTION", "AZURE_SUBSCRIPTION_ID"),
    "resource_group": ("AZUREML_ARM_RESOURCEGROUP", "AZURE_RESOURCE_GROUP"),
    "workspace_name": ("AZUREML_ARM_WORKSPACE_NAME", "AZUREML_WORKSPACE_NAME"),
}
MANAGEMENT_SCOPE = "https://management.azure.com/.default"
PACKAGES = ("azure.ai.ml", "azure.identity")
_WITHOUT_AZURE = "To rehearse without Azure: make rehearse."
_HINT = (
    "Download config.json from the workspace's page in the Azure portal, or set "
    f"{', '.join(names[0] for names in VARIABLES.values())}. {_WITHOUT_AZURE}"
)


@dataclass(frozen=True)
class WorkspaceAddress:
    """Where a workspace is; ``source`` says where that was read."""

    subscription_id: str
    resource_group: str
    workspace_name: str
    source: str

    @property
    def resource_id(self) -> str:
        """The ARM id of the workspace."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )


def find_workspace(
    start: Path | None = None, environ: Mapping[str, str] | None = None
) -> WorkspaceAddress:
    """Return the workspace that the environment or a ``config.json`` names.

    Parameters
    ----------
    start
        Where to look first, by default the current folder; then in those above it.
    environ
        The environment variables, by default those of this process. They win when they name
        the workspace in full.

    Raises
    ------
    PlatformUnavailable
        Nothing names a workspace, or not in full; the message says what is missing.
    """
    environ = os.environ if environ is None else environ
    found = {
        field: next((environ[name] for name in names if environ.get(name)), "")
        for field, names in VARIABLES.items()
    }
    if all(found.values()):
        return WorkspaceAddress(**found, source="environment variables")
    path = _config_file((start or Path.cwd()).resolve())
    if path is not None:
        return _read(path)
    if found["workspace_name"] or found["resource_group"]:
        missing = [VARIABLES[field][0] for field, value in found.items() if not value]
        raise PlatformUnavailable(
            f"the Azure ML workspace is not named in full: {' and '.join(missing)} not set",
            hint=_HINT,
        )
    raise PlatformUnavailable(
        "no Azure ML workspace is configured: there is no config.json in this folder or above, "
        "and no AZUREML_ARM_* variables are set",
        hint=_HINT,
    )


def _config_file(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        for name in CONFIG_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def _read(path: Path) -> WorkspaceAddress:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = {field: content.get(field) for field in VARIABLES}
    except (OSError, ValueError, AttributeError) as error:
        raise PlatformUnavailable(
            f"{path} cannot be read as the configuration of an Azure ML workspace",
            hint=_HINT,
        ) from error
    missing = [field for field, value in values.items() if not isinstance(value, str) or not value]
    if missing:
        raise PlatformUnavailable(f"{path} has no {' and no '.join(missing)}", hint=_HINT)
    return WorkspaceAddress(**values, source=str(path))


class Connection:
    """The way to one workspace.

    Parameters
    ----------
    address
        The workspace, by default what ``find_workspace`` finds.

    Raises
    ------
    PlatformUnavailable
        A package or the workspace's name is missing. That the credential is, shows when
        something is first asked.
    """

    def __init__(self, address: WorkspaceAddress | None = None) -> None:
        self.address = address or find_workspace()
        self._require_packages()

    @staticmethod
    def _require_packages() -> None:
        logging.getLogger("azure").setLevel(logging.ERROR)
        for package in PACKAGES:
            if not _installed(package):
                raise PlatformUnavailable(
                    f"the package {package.replace('.', '-')} is not installed",
                    hint="Install it: pip install 'twinml[azure]'.",
                )

    @cached_property
    def credential(self) -> DefaultAzureCredential:
        """The credential, which has proved that it opens Azure.

        Raises
        ------
        PlatformUnavailable
            There is none, or it is refused.
        """
        # Where the workspace is decides, in a rehearsal, who is asked for a token.
        _ = self.address
        from azure.identity import DefaultAzureCredential

        # Signing in comes first: it is quick to fail and says what is wrong, whereas the SDK
        # takes seconds to import and reports a refusal from somewhere deep inside.
        try:
            with self.errors():
                credential = DefaultAzureCredential()
                credential.get_token(MANAGEMENT_SCOPE)
        except ValueError as error:
            raise _no_credential(_first_line(error)) from error
        return credential

    @cached_property
    def client(self) -> MLClient:
        """The SDK's client, signed in.

        Raises
        ------
        PlatformUnavailable
            There is no credential, or it is refused.
        """
        address, credential = self.address, self.credential
        from azure.ai.ml import MLClient

        _quiet()
        return MLClient(
            credential,
            address.subscription_id,
            address.resource_group,
            address.workspace_name,
            show_progress=False,
            enable_telemetry=False,
        )

    @cached_property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI of the workspace."""
        with self.errors("to look at the workspace"):
            workspace = self.client.workspaces.get(self.address.workspace_name)
        return str(workspace.mlflow_tracking_uri)

    @contextlib.contextmanager
    def errors(self, what: str = "the request") -> Iterator[None]:
        """Turn the SDK's exceptions into twinml's, one line each, and keep it off the terminal.

        Raises
        ------
        NotFound, PlatformUnavailable, PlatformError
            For the SDK's exceptions.
        """
        from azure.core import exceptions

        try:
            # The SDK prints a dot for each poll, in the middle of what --json prints, and
            # remarks of its own among our progress.
            silence = io.StringIO()
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                yield
        except exceptions.ClientAuthenticationError as error:
            raise _no_credential(_refusal(error)) from error
        except exceptions.ResourceNotFoundError as error:
            raise NotFound(
                _first_line(error), hint=f"The workspace is from {self.address.source}."
            ) from error
        except (exceptions.ServiceRequestError, exceptions.ServiceResponseError) as error:
            raise PlatformUnavailable(
                f"Azure cannot be reached: {_first_line(error)}",
                hint="Check the network and the proxy.",
            ) from error
        except exceptions.AzureError as error:
            raise PlatformError(f"Azure refused {what}: {_first_line(error)}") from error


class NoWorkspace(Connection):
    """Stands for a workspace that nothing names: an empty one.

    Raises
    ------
    PlatformUnavailable
        The Azure SDK is not installed.
    """

    def __init__(self) -> None:
        super().__init__(WorkspaceAddress("", "", "", "nothing"))

    @cached_property
    def client(self) -> MLClient:
        """A client that finds nothing."""
        return cast("MLClient", _Empty())


class _Empty:
    """All operations of a client, where there is nothing."""

    def __getattr__(self, name: str) -> _Empty:
        return self

    def get(self, name: str, **where: str) -> Any:
        """Refuse, as there is nothing of that name."""
        from azure.core.exceptions import ResourceNotFoundError

        raise ResourceNotFoundError(name)

    def list(self, **where: str) -> list[Any]:
        """Return nothing."""
        return []


def _quiet() -> None:
    """Take off the handlers that the SDK puts on its own loggers when it is imported.

    They write its remarks (experimental classes, downloads) to stderr, whatever a program wants.
    What goes wrong is raised besides.
    """
    for name in tuple(logging.root.manager.loggerDict):
        if f"{name}.".startswith("azure.ai.ml."):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.setLevel(logging.CRITICAL)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _no_credential(reason: str) -> PlatformUnavailable:
    return PlatformUnavailable(
        f"no credential opens Azure: {reason}",
        hint="Sign in with 'az login', or set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
        f"AZURE_CLIENT_SECRET. {_WITHOUT_AZURE}",
    )


def _refusal(error: Any) -> str:
    r"""Return why signing in failed: what a credential was refused for, if one was tried.

    Examples
    --------
    >>> _refusal("It failed.\nAttempted credentials:\n"
    ...          "\tA: A authentication unavailable.\n\tB: Authentication failed: wrong secret.")
    'B: Authentication failed: wrong secret'
    """
    for line in str(error).splitlines():
        if line.startswith("\t") and "unavailable" not in line and "failed" in line:
            return line.strip().rstrip(".")
    return _first_line(error)


def _first_line(error: Any) -> str:
    """Return the first line of a message that says something, without a final full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
