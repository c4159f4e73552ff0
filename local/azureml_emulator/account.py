"""The account that the emulator stands for: names, ids and secrets of one folder.

The names are fixed, so that a ``config.json`` stays right; what opens doors is made at random
for each folder, kept in ``site.json`` (0600) and worthless elsewhere.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from azureml_runner.files import write_atomic

__all__ = ["ARM_HOST", "LOCAL_HOST", "LOGIN_HOSTS", "PROVIDER", "Account"]

ARM_HOST = "management.azure.com"
# Requests to the emulator itself, not to what it stands for.
LOCAL_HOST = "127.0.0.1"
LOGIN_HOSTS = ("login.microsoftonline.com", "login.windows.net")
PROVIDER = "Microsoft.MachineLearningServices"


@dataclass(frozen=True)
class Account:
    """The emulated tenant, subscription and storage account."""

    tenant_id: str
    client_id: str
    subscription_id: str
    storage_account: str
    client_secret: str = field(repr=False)
    storage_key: str = field(repr=False)
    resource_group: str = "emulator"
    workspace: str = "emulator"
    location: str = "eastus"

    @classmethod
    def of(cls, directory: Path) -> Account:
        """Return the account of a state folder, made at its first use."""
        path = directory / "site.json"  # the name that folders of earlier versions have
        if path.exists():
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        account = cls(
            tenant_id=str(uuid.uuid4()),
            client_id=str(uuid.uuid4()),
            subscription_id=str(uuid.uuid4()),
            storage_account=f"emulator{secrets.token_hex(6)}",
            client_secret=secrets.token_urlsafe(32),
            storage_key=base64.b64encode(os.urandom(64)).decode(),
        )
        write_atomic(path, json.dumps(asdict(account), indent=2), mode=0o600)
        return account

    @property
    def blob_host(self) -> str:
        """The host name of the storage account."""
        return f"{self.storage_account}.blob.core.windows.net"

    @property
    def api_host(self) -> str:
        """The host name of the region's data plane."""
        return f"{self.location}.api.azureml.ms"

    @property
    def workspace_id(self) -> str:
        """The ARM id of the workspace that is there from the start."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/{PROVIDER}/workspaces/{self.workspace}"
        )

    @property
    def storage_id(self) -> str:
        """The ARM id of the storage account."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Storage/storageAccounts/{self.storage_account}"
        )
