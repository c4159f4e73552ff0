"""What the service's curated environments hold, as far as Python packages can stand for images.

The facts are from the definitions of these environments in the public repository
``Azure/azureml-assets`` (state of July 2026). Left out is what only serves the image: profilers,
debuggers, and packages named to mend a weakness of another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from azureml_emulator.environments.venvs import Requirements
from azureml_emulator.errors import ArmError, not_found

__all__ = ["CURATED", "check_known", "curated_name", "requirements_of"]

_REGISTRY = re.compile(r"azureml://registries/azureml/environments/([^/]+)(?:/.*)?", re.IGNORECASE)
_OLD_SKLEARN = ("pandas~=1.3.0", "scipy~=1.10.0", "numpy~=1.22.0", "joblib~=1.2.0")
# The newest MLflow of that time: later ones save models through packages that are not there.
_MLFLOW = ("azureml-mlflow", "mlflow-skinny<3.14")
_TOOLS = (
    *_MLFLOW, "psutil~=5.8", "matplotlib~=3.5.0", "tqdm~=4.66.3", "ipykernel~=6.0",
)  # fmt: skip
_NEW = ("pandas~=1.5.3", "scipy~=1.10.0", "numpy~=1.22.0")


@dataclass(frozen=True)
class Curated:
    """A curated environment: its Python and its packages."""

    python: str
    packages: tuple[str, ...]


CURATED = {
    "sklearn-1.0": Curated("3.9", (*_OLD_SKLEARN, "scikit-learn~=1.0.0", *_TOOLS)),
    "sklearn-1.1": Curated("3.9", (*_OLD_SKLEARN, "scikit-learn~=1.1.0", *_TOOLS)),
    "sklearn-1.5": Curated(
        "3.10",
        (
            *(*_NEW, "joblib~=1.2.0", "scikit-learn~=1.5.0", *_TOOLS),
            *("azureml-inference-server-http", "pyarrow"),
        ),
    ),
    "lightgbm-3.3": Curated(
        "3.10",
        (*_NEW, "scikit-learn~=1.5.1", "xgboost~=1.7.6", "lightgbm>=4.6.0", *_TOOLS, "pyarrow"),
    ),
    "minimal-py311-inference": Curated(
        "3.11",
        (
            *("azureml-inference-server-http", "azure-storage-blob", "azure-identity"),
            *("numpy", "joblib"),
        ),
    ),
    "mlflow-py312-inference": Curated(
        "3.12",
        (
            *("azureml-inference-server-http", "azureml-ai-monitoring", "mlflow", "scikit-learn"),
            *("cloudpickle", "psutil", "pandas", "numpy", "joblib"),
        ),
    ),
    "mlflow-model-inference": Curated(
        "3.12",
        (
            *("azureml-inference-server-http", "mlflow", "scikit-learn", "cloudpickle", "psutil"),
            *("pandas", "numpy", "joblib"),
        ),
    ),
    "responsibleai-tabular": Curated(
        "3.10",
        (
            *("responsibleai~=0.36.0", "raiwidgets~=0.36.0", "markupsafe<=2.1.2"),
            *("itsdangerous<=2.1.2", "mlflow", "scikit-learn~=1.5.1", "plotly==5.6.0"),
        ),
    ),
}


# What else there is, by what a name begins with; none of it can be built from packages alone.
_OTHERS = re.compile(
    r"sklearn-0\.24|lightgbm-3\.2|acpt-|pytorch-\d|tensorflow-\d|xgboost-\d|onnxruntime-\d"
    r"|minimal(?:-|$)|mlflow-|(ai-ml-)?automl|model-(evaluation|management)|responsibleai-|llm-"
    r"|python-sdk-v2|designer|triton|inference-|foundation-|infschema|tutorial|vowpalwabbit|pyspark"
    r"|hyperdrive|dask|scikit-learn-|rai-|mldesigner|finetune|promptflow|forecasting|mmdetection|transformers-"
)


def check_known(environment: str) -> None:
    """Refuse an environment of Azure's that there is not, and one of another registry.

    Raises
    ------
    ArmError
        404, or 400 for a registry that the emulator does not have.
    """
    registry = re.match(r"azureml://registries/([^/]+)/", environment)
    if registry and registry[1].lower() != "azureml":
        raise ArmError(
            400,
            "NotImplementedByEmulator",
            f"The emulator has no registry '{registry[1]}': '{environment}'.",
        )
    name = curated_name(environment)
    if name and not _OTHERS.match(name) and requirements_of(name) is None:
        raise not_found(f"The curated environment '{environment}'")


def curated_name(environment: str) -> str | None:
    """Return the name of the curated environment that a reference means, or ``None``.

    >>> curated_name("azureml://registries/azureml/environments/sklearn-1.5/labels/latest")
    'sklearn-1.5'
    >>> curated_name("AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest")
    'sklearn-1.0-ubuntu20.04-py38-cpu'
    >>> curated_name("azureml:mine:1")
    """
    match = _REGISTRY.fullmatch(environment)
    if match:
        return match[1].lower().removeprefix("azureml-")
    name = re.split(r"[@:]", environment.removeprefix("azureml:").rpartition("/environments/")[2])
    text = name[0].partition("/")[0].lower()
    return text.removeprefix("azureml-") if text.startswith("azureml-") else None


def requirements_of(name: str) -> Requirements | None:
    """Return what a curated environment holds; ``None`` if that is not known.

    A name that goes on, as older ones do with system and Python, means its beginning.

    >>> requirements_of("sklearn-1.0-ubuntu20.04-py38-cpu").python
    '3.8'
    >>> requirements_of("acpt-pytorch-2.2-cuda12.1")
    """
    for known, held in CURATED.items():
        if name == known or name.startswith(f"{known}-"):
            older = re.search(r"-py(\d)(\d+)\b", name.removeprefix(known))
            python = f"{older[1]}.{older[2]}" if older else held.python
            return Requirements((*held.packages, "pip", "setuptools<81", "wheel"), python)
    return None
