"""Data and models of a platform: what is registered there, and how a model is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from twinml.errors import ModelError, UsageError

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training import TrainingResult

__all__ = ["Assets", "DataAsset", "ModelReference", "ModelVersion", "TrainedModel"]

_PART = r"[^/:@\s.](?:[^/:@]*[^/:@\s])?"
_REFERENCES = tuple(
    re.compile(form.replace("PART", _PART), re.IGNORECASE)
    for form in (
        r"(?:azureml:|models:/)?(?P<name>PART)(?:[/:](?P<version>PART)|@(?P<alias>PART))?",
        r"azureml://registries/(?P<registry>PART)/models/(?P<name>PART)"
        r"/(?:versions/(?P<version>PART)|labels/(?P<alias>PART))",
        r"(?:azureml:)?/subscriptions/.+/models/(?P<name>PART)"
        r"/(?:versions/(?P<version>PART)|labels/(?P<alias>PART))",
    )
)


@dataclass(frozen=True)
class DataAsset:
    """A registered, immutable version of a data file.

    ``digest`` is the SHA-256 of the uncompressed bytes; the same file gives the same version.
    """

    name: str
    version: str
    path: str
    digest: str
    target: str
    n_rows: int
    n_columns: int
    created: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelReference:
    """Which registered model is meant; with neither version nor alias, the champion.

    Attributes
    ----------
    registry
        An Azure ML registry; ``None`` for the one that belongs to the platform.
    """

    name: str
    version: str | None = None
    alias: str | None = None
    registry: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelReference:
        """Read a reference in any form that people or platforms write.

        ``NAME``, ``NAME/VERSION`` and ``NAME@ALIAS`` are twinml's, the first two with
        ``models:/`` before them MLflow's; Azure ML's are ``azureml:NAME:VERSION``,
        ``azureml:NAME@LABEL``, ARM ids, and
        ``azureml://registries/REGISTRY/models/NAME/versions/VERSION``.

        Raises
        ------
        UsageError
            It is none of these.

        Examples
        --------
        >>> ModelReference.parse("bank@champion")
        ModelReference(name='bank', version=None, alias='champion', registry=None)
        >>> str(ModelReference.parse("azureml:bank:3"))
        'bank/3'
        """
        for form in _REFERENCES:
            found = form.fullmatch(text)
            if found is not None:
                return cls(**found.groupdict())
        raise UsageError(
            f"'{text}' names no model", hint="Name one as NAME, NAME/VERSION or NAME@ALIAS."
        )

    @property
    def deployed(self) -> str:
        """``NAME:VERSION``, as descriptions of endpoints name what serves."""
        return f"{self.name}:{self.version}" if self.version else str(self)

    def __str__(self) -> str:
        mark = f"@{self.alias}" if self.alias else f"/{self.version}" if self.version else ""
        where = f" of registry {self.registry}" if self.registry else ""
        return f"{self.name}{mark}{where}"


@dataclass(frozen=True)
class ModelVersion:
    """A version in the model registry. ``digest`` covers what predictions depend on."""

    name: str
    version: str
    uri: str
    digest: str
    run_id: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def reference(self) -> ModelReference:
        """The reference of this version, ``NAME/VERSION``."""
        return ModelReference(self.name, self.version)


@dataclass(frozen=True)
class TrainedModel:
    """The result of a training, here or on a platform's own machines.

    Attributes
    ----------
    name
        Of the winner.
    directory
        The model's files on this machine.
    digest
        Of these files; empty where they are not twinml's.
    result
        Everything that twinml's own search found; ``None`` for a platform's AutoML.
    run_id
        The MLflow run that it is logged in.
    version
        The model, where it is registered on the platform already.
    where
        An address or a name under which a run elsewhere can be looked at.
    reused
        Whether it was found rather than trained.
    """

    name: str
    directory: Path
    digest: str
    result: TrainingResult | None
    run_id: str | None = None
    version: ModelVersion | None = None
    where: str = ""
    reused: bool = False

    def searched(self) -> TrainingResult:
        """Return what twinml's own search found.

        Raises
        ------
        ModelError
            A platform's AutoML trained the model.
        """
        if self.result is None:
            raise ModelError(f"model '{self.name}' was not trained by twinml: it has no result")
        return self.result


class Assets(Protocol):
    """Registers data and models."""

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI: where the runs of this side's jobs are."""
        ...

    def register_data(self, dataset: Dataset) -> DataAsset:
        """Store ``dataset`` as a version of its name; an unchanged file keeps its version."""
        ...

    def register_model(
        self, directory: Path, *, name: str, run_id: str | None = None
    ) -> ModelVersion:
        """Register an MLflow model directory; an unchanged model keeps its version."""
        ...
