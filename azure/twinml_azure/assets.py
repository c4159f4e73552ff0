"""Data and models in a workspace: registered once per digest, and fetched back."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.data.reading import NONE, text_of
from twinml.errors import ModelError
from twinml.platform import DataAsset, ModelReference, ModelVersion
from twinml.registry.aliases import CHAMPION, holder_by_tags, tags_for
from twinml.registry.tracking import DIGEST, put
from twinml.registry.training_run import model_folder
from twinml_azure.resources import TAG, created, refuse_dates, tagged, versions_of

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml_azure.connection import Connection

__all__ = [
    "fetch_model",
    "register_data",
    "register_model",
    "register_table",
    "table_name",
]


def table_name(name: str) -> str:
    """Return the name of the ``mltable`` asset beside the data asset ``name``."""
    return f"{name}-table"


def data_tags(dataset: Dataset) -> dict[str, str]:
    """Return the tags by which the data are found again."""
    return {
        "digest": dataset.digest,
        "target": dataset.target,
        "dropped": json.dumps(sorted(dataset.dropped)),
        # Left out where nothing was asked, as in tags of earlier versions.
        **({} if (asked := text_of(dataset.reading)) == NONE else {"reading": asked}),
    }


def register_data(connection: Connection, dataset: Dataset) -> DataAsset:
    """Upload the file as a ``uri_file``; an unchanged file keeps its version."""
    from azure.ai.ml.entities import Data

    marks, data = data_tags(dataset), connection.client.data
    with connection.errors(f"to register data '{dataset.name}'"):
        found = tagged(data, dataset.name, **marks)
        if found is None:
            found = data.create_or_update(
                Data(
                    name=dataset.name,
                    type="uri_file",
                    path=str(dataset.source),
                    tags={
                        TAG: "data",
                        **marks,
                        "rows": str(dataset.n_rows),
                        "columns": str(dataset.frame.shape[1]),
                    },
                )
            )
    return DataAsset(
        name=dataset.name,
        version=str(found.version),
        path=str(found.path),
        digest=dataset.digest,
        target=dataset.target,
        n_rows=dataset.n_rows,
        n_columns=dataset.frame.shape[1],
        created=created(found),
        tags=dict(found.tags or {}),
    )


def register_table(connection: Connection, dataset: Dataset) -> str:
    """Upload what is trained on as an ``mltable``, and return its reference.

    The table holds the columns that are used, written anew: AutoML takes every column that it
    finds, and does not read compressed files.
    """
    from azure.ai.ml.entities import Data

    name, marks = table_name(dataset.name), data_tags(dataset)
    with connection.errors(f"to register data '{name}'"), tempfile.TemporaryDirectory() as scratch:
        found = tagged(connection.client.data, name, **marks)
        if found is None:
            folder = Path(scratch) / "table"
            folder.mkdir()
            used = [*dataset.features.columns, dataset.target]
            dataset.frame[used].to_csv(folder / "data.csv", index=False)
            (folder / "MLTable").write_text(_mltable("data.csv"), encoding="utf-8")
            found = connection.client.data.create_or_update(
                Data(name=name, type="mltable", path=str(folder), tags={TAG: "data", **marks})
            )
    return f"azureml:{name}:{found.version}"


def _mltable(file: str) -> str:
    import yaml

    table = {
        "paths": [{"file": f"./{file}"}],
        "transformations": [
            {
                "read_delimited": {
                    "delimiter": ",",
                    "encoding": "utf8",
                    "header": "all_files_same_headers",
                    "empty_as_string": False,
                    "support_multi_line": True,
                }
            }
        ],
        "type": "mltable",
    }
    return str(yaml.safe_dump(table, sort_keys=False))


def register_model(
    connection: Connection, directory: Path, *, name: str, run_id: str | None
) -> ModelVersion:
    """Upload an MLflow model directory; an unchanged model keeps its version.

    The first version of a name becomes its champion. What is uploaded requires what Azure's
    scoring script imports as well.

    Raises
    ------
    ModelError
        Azure's server would refuse every request; see ``refuse_dates``.
    """
    from azure.ai.ml.entities import Model

    from twinml import model
    from twinml.model.azure_requirements import copy_for_azure

    refuse_dates(model.load_contract(directory))
    digest, models = model.digest(directory), connection.client.models
    with (
        connection.errors(f"to register model '{name}'"),
        tempfile.TemporaryDirectory() as scratch,
    ):
        found = tagged(models, name, **{DIGEST: digest})
        if found is None:
            tags = {TAG: "model", DIGEST: digest}
            if run_id is not None:
                tags["run_id"] = run_id
            path = copy_for_azure(directory, Path(scratch) / "model")
            found = models.create_or_update(
                Model(name=name, type="mlflow_model", path=str(path), tags=tags)
            )
        return _entitled(models, found, digest)


def register_job_model(connection: Connection, path: str, *, name: str, job: str) -> ModelVersion:
    """Register a model that a job left behind, once per job; nothing is uploaded."""
    from azure.ai.ml.entities import Model

    models = connection.client.models
    with connection.errors(f"to register model '{name}'"):
        found = tagged(models, name, job=job)
        if found is None:
            found = models.create_or_update(
                Model(name=name, type="mlflow_model", path=path, tags={TAG: "model", "job": job})
            )
        return _entitled(models, found, "")


def champion_of(models: Any, name: str) -> str | None:
    """Return the version of a model that is its champion, ``None`` where there is none."""
    return holder_by_tags(
        [(str(item.version), item.tags or {}) for item in versions_of(models, name)], CHAMPION
    )


def _entitled(models: Any, found: Any, digest: str) -> ModelVersion:
    """Return a version, which becomes the champion if its model has none: the first of a name."""
    champion = champion_of(models, found.name)
    if champion is None:
        found.tags = {**(found.tags or {}), **tags_for(CHAMPION)}
        found, champion = models.create_or_update(found), str(found.version)
    return described(found, digest, aliases=(CHAMPION,) * (champion == str(found.version)))


def described(found: Any, digest: str, *, aliases: tuple[str, ...] = ()) -> ModelVersion:
    """Return a registered model as a ``ModelVersion``."""
    tags = found.tags or {}
    return ModelVersion(
        name=str(found.name),
        version=str(found.version),
        uri=f"azureml:{found.name}:{found.version}",
        digest=digest or str(tags.get(DIGEST) or tags.get("job", "")),
        run_id=tags.get("run_id"),
        aliases=aliases,
    )


def fetch_model(connection: Connection, reference: ModelReference) -> Path:
    """Download a version of a model once per digest, and check its files.

    Raises
    ------
    ModelError
        It holds no MLflow model, or not the files that were registered.
    """
    from twinml import model

    name, version = reference.name, reference.version
    with connection.errors(f"to download model '{reference}'"):
        found = connection.client.models.get(name, version)
        digest = str((found.tags or {}).get(DIGEST, ""))
        folder = model_folder(digest or f"{name}-{version}")
        if not (folder / "MLmodel").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
                connection.client.models.download(name, version, download_path=scratch)
                made = next(Path(scratch).rglob("MLmodel"), None)
                if made is None:
                    raise ModelError(
                        f"'{reference}' in the workspace holds no MLflow model",
                        hint="Register a folder with an MLmodel file.",
                    )
                put(made.parent, folder)
    if digest:
        model.check_digest(folder, digest)
    return folder
