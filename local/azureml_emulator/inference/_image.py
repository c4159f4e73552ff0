"""What is put into a container: packages, files and variables, decided before anything runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from azureml_emulator.environments.venvs import BuildError, Requirements

__all__ = ["IMAGE", "SERVER", "Image", "Order", "plan"]

IMAGE = Path(__file__).with_name("inside")
# The pins of a model and its Python decide which version.
SERVER = "azureml-inference-server-http"
MONITORING = "azureml-ai-monitoring==1.0.0"
# What stands for an environment that is an image and no more.
CURATED = ("joblib", "numpy", "pandas", "scikit-learn")
SWAGGERS = ("swagger2.json", "swagger3.json", "swagger3.1.json")
MLFLOW_SCRIPT = "mlflow_score_script.py"


@dataclass(frozen=True)
class Order:
    """A deployment as requested.

    Parameters
    ----------
    id
        Its ARM id.
    endpoint, name
        What it is called.
    model
        The folder that Azure would mount: it holds the model's file or folder.
    model_name, model_version
        As registered.
    code, script
        The user's code and the score script in it, or ``None`` for an MLflow model without.
    conda
        The environment's conda specification, if there is an environment.
    variables
        The user's environment variables.
    workers
        How many processes score.
    start_seconds
        How long the server may take until it is healthy.
    """

    id: str
    endpoint: str
    name: str
    model: Path | None
    model_name: str = ""
    model_version: str = ""
    code: Path | None = None
    script: str | None = None
    conda: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    start_seconds: float = 310.0


@dataclass(frozen=True)
class Image:
    """Packages, files and variables of an order; ``variables`` are those of the image itself."""

    requirements: Requirements
    script: Path
    root: Path
    variables: Mapping[str, str]


def plan(order: Order, root: Path, *, lenient: bool) -> Image:
    """Return the image of an order, and put its files into ``root``.

    Parameters
    ----------
    root
        The folder of the application; it is made anew.
    lenient
        Whether to install what Azure's own script needs and a model forgot to ask for.

    Raises
    ------
    BuildError
        There is nothing to run: no MLflow model and no code, or no such script.
    """
    shutil.rmtree(root, ignore_errors=True)
    mlflow = None if order.model is None else mlflow_folder(order.model)
    variables = {"AML_APP_ROOT": str(root)}
    if order.model is not None:
        variables["AZUREML_MODEL_DIR"] = str(order.model)
    if order.code is not None and order.script is not None:
        shutil.copytree(order.code, root)
        script = root / order.script
        if not script.is_file():
            raise BuildError(f"there is no scoring script '{order.script}' in the code", [])
    elif mlflow is not None:
        root.mkdir(parents=True)
        script = root / MLFLOW_SCRIPT
        shutil.copyfile(IMAGE / "score_mlflow.py", script)
        variables["MLFLOW_MODEL_FOLDER"] = mlflow.name if mlflow != order.model else ""
    else:
        raise BuildError("there is neither an MLflow model nor a scoring script", [])
    if mlflow is not None:
        for name in SWAGGERS:
            if (mlflow / name).is_file() and not (root / name).exists():
                shutil.copyfile(mlflow / name, root / name)
    return Image(_requirements(order, mlflow, lenient), script, root, variables)


def mlflow_folder(directory: Path) -> Path | None:
    """Return the folder of an MLflow model in what was registered, or ``None``."""
    if (directory / "MLmodel").is_file():
        return directory
    return next((path.parent for path in sorted(directory.glob("*/MLmodel"))), None)


def _requirements(order: Order, mlflow: Path | None, lenient: bool) -> Requirements:
    if order.conda is not None:
        wanted = Requirements.from_conda(order.conda)
    elif mlflow is not None and (mlflow / "conda.yaml").is_file():
        wanted = Requirements.from_conda((mlflow / "conda.yaml").read_text(encoding="utf-8"))
    elif mlflow is not None and (mlflow / "requirements.txt").is_file():
        wanted = Requirements.from_text((mlflow / "requirements.txt").read_text(encoding="utf-8"))
    else:
        wanted = Requirements(CURATED)
    # Version 1 of Azure's SDK, wanted in a scoring environment only for the server it brings.
    kept = tuple(
        package
        for package in wanted.packages
        if not Requirements((package,)).names() & {"azureml-defaults"}
    )
    wanted = Requirements(kept, wanted.python)
    if "azureml-inference-server-http" not in wanted.names():
        wanted = wanted.with_packages(SERVER)
    if lenient and "azureml-ai-monitoring" not in wanted.names():
        wanted = wanted.with_packages(MONITORING)
    return wanted
