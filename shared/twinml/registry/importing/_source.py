"""What a model from elsewhere is kept in: an MLflow model, or a file of one library.

A file is known by its first bytes, not by its name: what is to be loaded without running code
must not become a pickle by being renamed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from twinml.errors import ModelError

__all__ = ["Format", "Source", "mlflow_model", "of_path"]

Format: TypeAlias = Literal["skops", "lightgbm", "xgboost", "catboost", "pickle", "mlflow"]
# Of files: an MLflow model is a folder.
FILES = tuple(one for one in get_args(Format) if one != "mlflow")

# MLflow's flavours that hold an estimator, and the key under which each names its file.
FLAVORS = {
    "sklearn": "pickled_model",
    "lightgbm": "data",
    "xgboost": "data",
    "catboost": "data",
}
_STARTS: tuple[tuple[bytes, Format], ...] = (
    (b"tree\n", "lightgbm"),
    (b"CBM1", "catboost"),
    (b"\x80", "pickle"),  # protocol 2 and later
    (b"x\x01", "pickle"),  # compressed by joblib: zlib, gzip, bzip2, xz
    (b"x^", "pickle"),
    (b"x\x9c", "pickle"),
    (b"x\xda", "pickle"),
    (b"\x1f\x8b", "pickle"),
    (b"BZh", "pickle"),
    (b"\xfd7zXZ", "pickle"),
)


@dataclass(frozen=True)
class Source:
    """A model from elsewhere, not yet loaded.

    Attributes
    ----------
    file, format
        The file that holds the estimator, and how; with ``mlflow`` none does, and MLflow alone
        can load the folder.
    directory
        The MLflow model that it is part of, if it is.
    signature
        MLflow's columns as ``MLmodel`` has them, ``None`` without a signature.
    example
        Rows of the model's own input example, by column.
    """

    file: Path
    format: Format
    directory: Path | None = None
    signature: list[dict[str, Any]] | None = None
    example: Mapping[str, list[Any]] = field(default_factory=dict)


def of_path(path: Path) -> Source:
    """Return the model in a folder or a file.

    Raises
    ------
    ModelError
        There is none, or none of a format that can be imported.
    """
    if path.is_dir():
        return mlflow_model(path)
    if not path.is_file():
        raise ModelError(
            f"there is no model in {path}: no such file or folder",
            hint="Name a file, a folder with an MLmodel file, or models:/NAME/VERSION.",
        )
    return Source(path, format_of(path))


def mlflow_model(directory: Path) -> Source:
    """Return the model of an MLflow model directory.

    Raises
    ------
    ModelError
        MLflow could not serve it, or it lacks a file that it names.
    """
    import yaml

    try:
        described = yaml.safe_load((directory / "MLmodel").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"there is no MLflow model in {directory}", hint="Name a folder with an MLmodel file."
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(
            f"{directory / 'MLmodel'} cannot be read: {type(error).__name__}",
            hint="Save the model again with MLflow.",
        ) from error
    flavors = (described if isinstance(described, dict) else {}).get("flavors") or {}
    served = flavors.get("python_function") or {}
    if not served.get("loader_module"):
        raise ModelError(
            f"the model has the flavours {', '.join(sorted(flavors)) or 'none'}, and MLflow serves "
            "it by none of them: python_function is missing",
            hint="Log it with mlflow.pyfunc, or a flavour that has a prediction.",
        )
    signature, example = _signature(described), _example(directory, described)
    flavor = next((one for one in FLAVORS if one in flavors), None)
    if flavor is None or not _plainly_served(flavor, flavors[flavor], served):
        return Source(directory / "MLmodel", "mlflow", directory, signature, example)
    file = (directory / str(flavors[flavor].get(FLAVORS[flavor]))).resolve()
    if not file.is_relative_to(directory.resolve()) or not file.exists():
        raise ModelError(
            f"MLmodel names the file '{flavors[flavor].get(FLAVORS[flavor])}', which the model "
            "does not have",
            hint="Save the model again with MLflow.",
        )
    if file.is_dir():  # XGBoost's and CatBoost's flavours of earlier versions
        file = next((one for one in sorted(file.iterdir()) if one.is_file()), file)
    return Source(file, format_of(file), directory, signature, example)


def _plainly_served(flavor: str, kept: Mapping[str, Any], served: Mapping[str, Any]) -> bool:
    """Tell whether MLflow serves the flavour's own file, and nothing else.

    A folder may name one file for those who look at the flavour, and run another one.
    """
    if kept.get("code") or served.get("code"):
        return False
    path = served.get("model_path", served.get("data"))
    own = (kept.get(FLAVORS[flavor]), kept.get("model_path", kept.get("data")))
    return served["loader_module"] == f"mlflow.{flavor}" and (path is None or path in own)


def format_of(file: Path) -> Format:
    """Return how a file holds a model, by its content.

    Raises
    ------
    ModelError
        In none of the ways that can be imported.
    """
    with file.open("rb") as stream:
        start = stream.read(4096)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if "schema.json" in archive.namelist():
                return "skops"
    elif start.lstrip().startswith(b"{") and b"learner" in start:
        return "xgboost"  # JSON, and UBJSON, whose objects start alike
    else:
        for first, found in _STARTS:
            if start.startswith(first):
                return found
    raise ModelError(
        f"{file.name} holds no model that can be imported",
        hint=f"Save it as one of: {', '.join(FILES)}.",
    )


def _signature(described: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    import json

    kept = (described.get("signature") or {}).get("inputs")
    if not kept:
        return None
    inputs = json.loads(kept)
    return [dict(one) for one in inputs] if isinstance(inputs, list) else None


def _example(directory: Path, described: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the input example by column; nothing where it is no table with names."""
    import json

    about = described.get("saved_input_example_info") or {}
    if about.get("type") != "dataframe":
        return {}
    try:
        kept = json.loads((directory / str(about["artifact_path"])).read_text(encoding="utf-8"))
        names, rows = kept["columns"], kept["data"]
        return {str(name): [row[at] for row in rows] for at, name in enumerate(names)}
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return {}
