"""Assets found in storage: every way to name data, models and code, resolved to blobs.

::

    azureml://datastores/D/paths/P                     also with subscription and workspace
    azureml://jobs/J/outputs/artifacts/paths/P         what a job logged
    azureml://jobs/J/outputs/NAME                      a named output of a job
    azureml://locations/L/workspaces/W/data/N/versions/V
    azureml:N:V    azureml:N@latest                    an asset of the workspace
    /subscriptions/…/data|models|codes/N/versions/V    its ARM id
    https://ACCOUNT.blob.core.windows.net/C/P          a blob of the emulator's own account
    wasbs://C@ACCOUNT.blob.core.windows.net/P
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from azureml_emulator.account import Account
from azureml_emulator.arm.resources import Resource, ResourceStore
from azureml_emulator.errors import ArmError, not_found, not_from_registry
from azureml_emulator.storage.blobs import Blob, BlobStore
from azureml_emulator.storage.mirrors import Mirrors

__all__ = ["ARTIFACT_STORE", "DatastorePath", "Datastores", "artifact_prefix", "datastore_uri"]

ARTIFACT_STORE = "workspaceartifactstore"
MIRRORED = "mirrored"
_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/[^/]+/resourcegroups/[^/]+/(?:providers/[^/]+/)?"
    r"workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)",
    re.IGNORECASE,
)
_JOB = re.compile(r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/(?P<path>.*))?")
_LOCATION = re.compile(
    r"azureml://locations/[^/]+/workspaces/[^/]+/(?P<kind>data|models)/(?P<name>[^/]+)"
    r"/versions/(?P<version>[^/]+)"
)
_ARM = re.compile(
    r"/subscriptions/.+/workspaces/[^/]+/(?:data|models|codes)/[^/]+/(?:versions|labels)/[^/]+",
    re.IGNORECASE,
)
_NAMED = re.compile(r"azureml:(?P<name>[^:/@]+)(?P<mark>[:@])(?P<version>[^:/@]+)")
_WASB = re.compile(r"wasbs?://(?P<container>[^@]+)@(?P<host>[^/]+)/(?P<path>.*)")
_URI = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}


def artifact_prefix(run: str) -> str:
    """Return where the artifacts of a run are in the artifact store's container."""
    return f"ExperimentRun/dcid.{run}"


def datastore_uri(workspace: str, datastore: str, path: str) -> str:
    """Return the full ``azureml://`` address of a path in a workspace's datastore."""
    _, _, subscription, _, group, *_, name = workspace.split("/")
    return (
        f"azureml://subscriptions/{subscription}/resourcegroups/{group}/workspaces/{name}"
        f"/datastores/{datastore}/paths/{path}"
    )


@dataclass(frozen=True)
class DatastorePath:
    """A blob, or a folder of blobs; ``path`` has no slash at its end."""

    container: str
    path: str

    def __truediv__(self, below: str) -> DatastorePath:
        below = below.strip("/")
        return DatastorePath(
            self.container, f"{self.path}/{below}".strip("/") if below else self.path
        )


OutputUri = Callable[[str, str], str | None]


class Datastores:
    """Resolves names of assets and moves their content between blobs and files.

    Parameters
    ----------
    output_uri
        Returns the address of a job's named output.
    mirrors
        Folders of this machine that stand for what is at an address elsewhere.
    """

    def __init__(
        self,
        account: Account,
        store: ResourceStore,
        blobs: BlobStore,
        output_uri: OutputUri,
        mirrors: Mirrors | None = None,
    ) -> None:
        self._account, self._store, self.blobs = account, store, blobs
        self._output_uri = output_uri
        self._mirrors = mirrors or Mirrors({})

    # Names

    def resolve(self, uri: str, workspace: str, *, kind: str = "data") -> DatastorePath:
        """Return the blobs of an asset.

        Parameters
        ----------
        uri
            Its name in any of the ways above.
        workspace
            The ARM id of the workspace that the name is used in.
        kind
            Where ``azureml:N:V`` is looked up first: ``data`` or ``models``.

        Raises
        ------
        ArmError
            There is no such asset, or it is on a host that is not emulated.
        """
        uri = uri.strip()
        if uri.lower().startswith(("azureml:/subscriptions", "azureml:azureml:")):
            uri = uri[len("azureml:") :]
        if uri.startswith("azureml://registries/"):
            raise not_from_registry(uri)
        if match := _DATASTORE.fullmatch(uri):
            owner = _sibling(workspace, match["workspace"])
            return self.datastore(owner, match["datastore"]) / unquote(match["path"])
        if _JOB.fullmatch(uri):
            return self.resolve(self.plain_uri(uri, workspace), workspace)
        if match := _LOCATION.fullmatch(uri):
            asset = f"{workspace}/{match['kind']}/{match['name']}/versions/{match['version']}"
            return self._of_asset(asset, workspace)
        if _ARM.fullmatch(uri):
            return self._of_asset(uri, workspace)
        if match := _NAMED.fullmatch(uri):
            mark = "labels" if match["mark"] == "@" else "versions"
            below = f"{match['name']}/{mark}/{match['version']}"
            kinds = [kind, *({"data", "models"} - {kind})]
            found = [
                f"{workspace}/{each}/{below}"
                for each in kinds
                if self.asset(f"{workspace}/{each}/{below}") is not None
            ]
            return self._of_asset(found[0] if found else f"{workspace}/{kind}/{below}", workspace)
        return self._of_address(uri)

    def plain_uri(self, uri: str, workspace: str) -> str:
        """Return the datastore address of a job's output; other addresses as they are."""
        match = _JOB.fullmatch(uri.strip())
        if match is None:
            return uri
        below = re.sub(r"^paths(/|$)", "", match["path"] or "")
        # A job may have an output of this name: it is meant where nothing says otherwise.
        own = not (match["path"] or "").startswith("paths") and self._output_uri(
            match["job"], "artifacts"
        )
        if match["output"] == "artifacts" and not own:
            return datastore_uri(
                workspace, ARTIFACT_STORE, f"{artifact_prefix(match['job'])}/{below}"
            )
        found = self._output_uri(match["job"], match["output"])
        if found is None:
            raise ArmError(
                404, "UserError", f"Job '{match['job']}' has no output '{match['output']}'."
            )
        return f"{found.rstrip('/')}/{below}" if below else found

    def datastore(self, workspace: str, name: str) -> DatastorePath:
        """Return the root of a datastore; ``ArmError`` if the emulator does not hold it."""
        path = f"{workspace}/datastores/{name}"
        datastore = self._store.get(path)
        if datastore is None:
            raise not_found(path)
        properties = datastore.properties
        if properties.get("accountName") != self._account.storage_account:
            raise ArmError(
                400,
                "UserError",
                f"Datastore '{name}' is in the storage account "
                f"'{properties.get('accountName')}', which the emulator does not stand in for.",
            )
        return DatastorePath(str(properties["containerName"]), "")

    def asset(self, asset_id: str) -> Resource | None:
        """Return a version of an asset by its id; ``latest`` and ``default`` name its newest."""
        name, mark, label = asset_id.rpartition("/labels/")
        if not mark:
            return self._store.get(asset_id)
        versions = [item for item in self._store.list(f"{name}/versions") if not item.archived]
        return versions[-1] if versions and label in ("latest", "default") else None

    def _of_asset(self, asset_id: str, workspace: str) -> DatastorePath:
        asset = self.asset(asset_id)
        if asset is None:
            raise not_found(asset_id)
        kind = asset_id.split("/")[-4].lower()
        return self.resolve(str(asset.properties[_URI[kind]]), _workspace_of(asset.id, workspace))

    def _of_address(self, uri: str) -> DatastorePath:
        wasb = _WASB.fullmatch(uri)
        if wasb and wasb["host"].lower() != self._account.blob_host:
            # A mirror is named by the other spelling of the same address.
            uri = f"https://{wasb['host']}/{wasb['container']}/{wasb['path']}"
        if (source := self._mirrors.find(uri)) is not None:
            return self._imported(uri, source)
        if wasb and wasb["host"].lower() == self._account.blob_host:
            host, container, path = wasb["host"], wasb["container"], wasb["path"]
        else:
            parts = urlsplit(uri)
            if parts.scheme not in ("http", "https"):
                raise ArmError(400, "UserError", f"'{uri}' does not name an asset.")
            host = parts.netloc
            container, _, path = unquote(parts.path).lstrip("/").partition("/")
        if host.lower() != self._account.blob_host:
            raise ArmError(
                400,
                "UserError",
                f"'{uri}' is on a host that the emulator does not stand in for, and it fetches "
                "nothing from elsewhere: make a data asset of a local copy, or name a folder that "
                "stands for it (--mirror).",
            )
        return DatastorePath(container, path.strip("/"))

    def _imported(self, uri: str, source: Path) -> DatastorePath:
        """Import a file or folder of a mirror into the storage, once."""
        place = DatastorePath(MIRRORED, re.sub(r"^\w+://", "", uri).strip("/"))
        self.blobs.create_container(place.container)
        self.store(source, place)
        return place

    # Content

    def blobs_of(self, place: DatastorePath) -> list[tuple[PurePosixPath, Blob]]:
        """Return the blobs of a folder with their paths in it; of a blob, itself."""
        blob = self.blobs.get(place.container, place.path) if place.path else None
        if blob is not None:
            return [(PurePosixPath(blob.name).relative_to(PurePosixPath(blob.name).parent), blob)]
        prefix = f"{place.path}/" if place.path else ""
        return [
            (PurePosixPath(blob.name[len(prefix) :]), blob)
            for blob in self.blobs.list(place.container, prefix)
            if not blob.name.endswith("/")
        ]

    def fetch(self, place: DatastorePath, folder: Path) -> Path:
        """Download a blob into ``folder``, or a folder of blobs as it; returns the path.

        Raises
        ------
        ArmError
            There is nothing.
        """
        found = self.blobs_of(place)
        if not found:
            raise ArmError(
                404, "UserError", f"There is nothing at '{place.container}/{place.path}'."
            )
        for path, blob in found:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(blob.path, target)
        single = len(found) == 1 and found[0][1].name == place.path
        return folder / found[0][0] if single else folder

    def store(self, source: Path, place: DatastorePath, *, leave: Iterable[str] = ()) -> int:
        """Copy a file to a blob, or what a folder holds to a folder; returns how many files.

        Parameters
        ----------
        leave
            Paths in the folder that are left out.
        """
        left = set(leave)
        if source.is_file():
            self.store_file(source, place)
            return 1
        count = 0
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            if path.is_file() and name not in left:
                self.store_file(path, place / name)
                count += 1
        return count

    def store_file(self, source: Path, place: DatastorePath) -> None:
        """Copy one file to one blob."""
        content_type = "text/plain" if source.suffix == ".txt" else "application/octet-stream"
        with source.open("rb") as file:
            self.blobs.put(
                place.container, place.path, file, metadata={}, content_type=content_type
            )

    def remove(self, place: DatastorePath) -> None:
        """Remove a blob, or a folder of blobs."""
        for _, blob in self.blobs_of(place):
            self.blobs.delete(blob.container, blob.name)


def _sibling(workspace: str, name: str | None) -> str:
    return workspace if name is None else f"{workspace.rpartition('/')[0]}/{name}"


def _workspace_of(resource_id: str, default: str) -> str:
    match = re.match(r"(/subscriptions/.+?/workspaces/[^/]+)/", resource_id, re.IGNORECASE)
    return match[1] if match else default
