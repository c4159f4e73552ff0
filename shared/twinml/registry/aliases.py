"""Which versions of a registered model are its champion and its challenger.

In MLflow's registry these are aliases. Azure ML's has none; there a version gets a tag for each
alias, ``twinml.title.champion``, whose value is the time. The youngest tag counts, so an alias
moves in one write, and a process that dies on its way leaves no model without a champion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twinml.errors import NotFound

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as Registered
    from mlflow.exceptions import MlflowException

    from twinml.platform import ModelReference

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Aliases",
    "absent",
    "holder_by_tags",
    "missing",
    "registered",
    "tags_for",
]

CHAMPION = "champion"
CHALLENGER = "challenger"
_TAG = "twinml.title."
# Schemes of registries that know no aliases.
_WITHOUT_ALIASES = ("azureml:",)
# MLflow calls an alias that a model lacks, and a version that is no number, invalid.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


class Aliases:
    """The aliases in one registry, where it knows none kept as tags.

    Parameters
    ----------
    client, uri
        Of the registry.
    """

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client = client
        self._native = not uri.startswith(_WITHOUT_ALIASES)

    def holder(self, name: str, alias: str) -> Registered | None:
        """Return the version of a model that has an alias, or ``None``."""
        if not self._native:
            return _youngest(registered(self._client, name), alias)
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if absent(error):
                return None
            raise

    def give(self, version: Registered, alias: str) -> None:
        """Give a version an alias, which its holder loses; a champion is no challenger."""
        name, number = version.name, str(version.version)
        if not self._native:
            for tag, value in tags_for(alias).items():
                self._client.set_model_version_tag(name, number, tag, value)
            return
        self._client.set_registered_model_alias(name, alias, number)
        if alias == CHAMPION:
            challenger = self.holder(name, CHALLENGER)
            if challenger is not None and str(challenger.version) == number:
                self._client.delete_registered_model_alias(name, CHALLENGER)

    def of(self, version: Registered) -> tuple[str, ...]:
        """Return the aliases of a version, sorted."""
        number = str(version.version)
        if self._native:
            held = self._client.get_registered_model(version.name).aliases
            return tuple(sorted(alias for alias, of in held.items() if str(of) == number))
        if not any(key.startswith(_TAG) for key in version.tags):
            return ()
        versions = registered(self._client, version.name)
        holders = {alias: _youngest(versions, alias) for alias in (CHALLENGER, CHAMPION)}
        return tuple(
            alias
            for alias, holder in holders.items()
            if holder is not None and str(holder.version) == number
        )


def absent(error: MlflowException) -> bool:
    """Tell whether a registry says that a name, version or alias is not there, and no worse."""
    return error.error_code in _ABSENT


def missing(reference: ModelReference, versions: Mapping[str, Sequence[str]]) -> NotFound:
    """Return the error for a reference that names nothing, by what there is: versions by name."""
    name = reference.name
    if reference.registry is not None or name not in versions:
        return NotFound(
            f"there is no registered model '{reference}'",
            hint=f"Registered: {', '.join(sorted(versions)) or 'none'}.",
        )
    held = sorted(versions[name], key=lambda one: (len(str(one)), str(one)))
    if not held:
        return NotFound(
            f"the registered model '{name}' has no version", hint="Train or register one."
        )
    hint = f"It has: {', '.join(f'{name}/{one}' for one in held[-10:])}."
    if reference.version is not None:
        return NotFound(f"model '{name}' has no version {reference.version}", hint=hint)
    alias = reference.alias or CHAMPION
    if reference.alias is None:
        hint += f" If it was made elsewhere: twinml import models:/{name}/{held[-1]}."
    return NotFound(f"no version of model '{name}' has the alias '{alias}'", hint=hint)


def holder_by_tags(versions: Iterable[tuple[str, Mapping[str, str]]], alias: str) -> str | None:
    """Return which of these versions, given with their tags, got an alias last.

    >>> holder_by_tags([("1", {"twinml.title.champion": "2026-01"}), ("2", {})], "champion")
    '1'
    """
    held = [(tags[_TAG + alias], version) for version, tags in versions if _TAG + alias in tags]
    return max(held)[1] if held else None


def tags_for(alias: str) -> dict[str, str]:
    """Return the tag by which a version gets an alias where a registry knows none."""
    return {_TAG + alias: _now()}


def registered(client: MlflowClient, name: str) -> list[Registered]:
    """Return all versions of a model."""
    quoted = name.replace("'", "''")
    found: list[Registered] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{quoted}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _youngest(versions: list[Registered], alias: str) -> Registered | None:
    """Return the version that got an alias last; who became champion since is no challenger."""
    holder = max(versions, key=lambda one: one.tags.get(_TAG + alias, ""), default=None)
    if holder is None or _TAG + alias not in holder.tags:
        return None
    if alias == CHALLENGER and holder.tags.get(_TAG + CHAMPION, "") > holder.tags[_TAG + alias]:
        return None
    return holder


def _now() -> str:
    """Return the time in UTC; such texts sort as the times do."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
