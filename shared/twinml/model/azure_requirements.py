"""What a model requires on Azure beside what it needs to predict.

Azure's generated scoring script imports ``azureml.ai.monitoring``; without it a deployment without
a scoring script answers 502. Nothing of a prediction depends on it, so a model of this machine
does not list it (MLflow would warn at every load that it is not installed), and the digest of a
model is the same with and without.
"""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["MONITORING", "copy_for_azure"]

MONITORING = "azureml-ai-monitoring==1.0.0"


def copy_for_azure(directory: Path, destination: Path) -> Path:
    """Copy a model directory, and let the copy require what Azure's scoring script imports.

    Parameters
    ----------
    directory
        An MLflow model directory; it stays as it is.
    destination
        Of the copy; it does not exist yet.

    Returns
    -------
    Path
        ``destination``.
    """
    import yaml

    shutil.copytree(directory, destination)
    requirements, conda = destination / "requirements.txt", destination / "conda.yaml"
    lines = requirements.read_text(encoding="utf-8").splitlines()
    if MONITORING not in lines:
        requirements.write_text("\n".join([*lines, MONITORING]) + "\n", encoding="utf-8")
    environment = yaml.safe_load(conda.read_text(encoding="utf-8"))
    for entry in environment["dependencies"]:
        if isinstance(entry, dict) and MONITORING not in entry["pip"]:
            entry["pip"].append(MONITORING)
            conda.write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")
    return destination
