"""What twinml makes in a workspace: names, tags, and finding it again.

Everything carries the tag ``twinml``, whose value says what it is. Data and models carry their
digest as well, environments are versioned by theirs, and training jobs are named by their
fingerprint: by these they are found again, so that nothing is made twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinml.errors import ModelError, PlatformError, UsageError

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml_azure.connection import Connection

__all__ = [
    "CLUSTER",
    "DATE_NAMES",
    "TAG",
    "Sizes",
    "created",
    "ensure_cluster",
    "get",
    "is_ours",
    "refuse_dates",
    "succeeded",
    "tagged",
    "versions_of",
    "word",
]

TAG = "twinml"
CLUSTER = "twinml-cpu"
# Names that pandas.read_json takes for dates, whatever the column holds.
DATE_NAMES = re.compile(r"(?:.*_(?:at|time)|modified|date|datetime|timestamp.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Sizes:
    """The machines that runs and deployments take; each can be set by an environment variable.

    Attributes
    ----------
    instance_type
        Of a deployment, ``TWINML_AZURE_INSTANCE_TYPE``.
    cluster_size, cluster_nodes
        Of the training cluster, ``TWINML_AZURE_CLUSTER_SIZE`` and ``TWINML_AZURE_CLUSTER_NODES``;
        it has none when nothing runs.
    idle_seconds
        After so long without a job a node is given back, ``TWINML_AZURE_IDLE_SECONDS``.
    """

    instance_type: str = "Standard_DS3_v2"
    cluster_size: str = "Standard_DS3_v2"
    cluster_nodes: int = 2
    idle_seconds: int = 120

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Sizes:
        """Return the sizes that the environment sets, by default that of this process.

        Raises
        ------
        UsageError
            A number is none.
        """
        environ = os.environ if environ is None else environ

        def number(name: str, default: int) -> int:
            word = environ.get(name) or str(default)
            if not word.isascii() or not word.isdecimal() or int(word) < 1:
                raise UsageError(f"{name} is '{word}'", hint="Give a number from 1 on.")
            return int(word)

        return cls(
            environ.get("TWINML_AZURE_INSTANCE_TYPE") or cls.instance_type,
            environ.get("TWINML_AZURE_CLUSTER_SIZE") or cls.cluster_size,
            number("TWINML_AZURE_CLUSTER_NODES", cls.cluster_nodes),
            number("TWINML_AZURE_IDLE_SECONDS", cls.idle_seconds),
        )


def get(operations: Any, name: str, **where: str) -> Any | None:
    """Return what ``operations`` has under ``name``, or ``None``."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return operations.get(name, **where)
    except ResourceNotFoundError:
        return None


def tagged(operations: Any, name: str, **wanted: str) -> Any | None:
    """Return the newest version of an asset that carries all ``wanted`` tags."""
    fitting = [
        item
        for item in versions_of(operations, name)
        if all((item.tags or {}).get(tag) == value for tag, value in wanted.items())
    ]
    return max(fitting, key=created, default=None)


def versions_of(operations: Any, name: str) -> list[Any]:
    """Return all versions of an asset, none where there is no such asset."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return list(operations.list(name=name))
    except ResourceNotFoundError:
        return []


def created(asset: Any) -> str:
    """Return when an asset was made, as ISO 8601; empty where it does not say."""
    context = asset.creation_context
    return context.created_at.isoformat() if context and context.created_at else ""


def is_ours(item: Any) -> bool:
    """Whether twinml made it."""
    return TAG in (item.tags or {})


def word(value: Any) -> str:
    """Return a state in the service's own word; the SDK gives text or an enumeration.

    >>> from enum import Enum
    >>> word(Enum("State", {"SUCCEEDED": "Succeeded"}).SUCCEEDED), word("Failed"), word(None)
    ('Succeeded', 'Failed', '')
    """
    return "" if value is None else str(getattr(value, "value", value))


def succeeded(item: Any) -> bool:
    """Whether a resource was made and is healthy."""
    return word(item.provisioning_state).lower() == "succeeded"


def ensure_cluster(connection: Connection, sizes: Sizes) -> str:
    """Make the training cluster unless it is there; returns its name.

    Raises
    ------
    PlatformError
        There is one of that name that twinml did not make, or it could not be made.
    """
    from azure.ai.ml.entities import AmlCompute

    with connection.errors(f"to make the cluster '{CLUSTER}'"):
        found = get(connection.client.compute, CLUSTER)
        if found is not None and succeeded(found):
            if str(found.type).lower() != "amlcompute":
                raise PlatformError(
                    f"the compute '{CLUSTER}' is a {found.type}, not a cluster",
                    hint="Rename or remove it.",
                )
            return CLUSTER
        connection.client.compute.begin_create_or_update(
            AmlCompute(
                name=CLUSTER,
                size=sizes.cluster_size,
                min_instances=0,
                max_instances=sizes.cluster_nodes,
                idle_time_before_scale_down=sizes.idle_seconds,
                tags={TAG: "cluster"},
            )
        ).result()
    return CLUSTER


def refuse_dates(contract: Contract) -> None:
    """Refuse a model with a date column that Azure's server makes pandas' dates of by its name.

    The model's signature says text, as that of every date column does, and MLflow refuses dates
    there: no request would be answered.

    Raises
    ------
    ModelError
        There is such a column.
    """
    names = [
        column.name
        for column in contract.columns
        if column.type == "datetime" and DATE_NAMES.fullmatch(column.name)
    ]
    if names:
        shown = ", ".join(f"'{name}'" for name in names)
        raise ModelError(
            f"Azure's server turns {shown} into dates because of the name, and the model, which "
            "reads them from text, would refuse every request",
            hint="Rename the column before training (created_at: created, date: day), or leave it "
            "out with --drop; on this machine the model serves as it is.",
        )
