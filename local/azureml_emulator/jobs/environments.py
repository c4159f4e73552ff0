"""Which interpreter a job's command gets: a built environment, or the emulator's own.

There is no container runtime here. A conda file becomes a virtual environment. An image
alone, a Dockerfile and a curated environment cannot be had: the command runs with the
emulator's own interpreter then, and the job says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from azureml_emulator.environments.venvs import Log, Requirements, VenvCache

__all__ = ["EnvironmentOf", "interpreter", "is_curated"]

EnvironmentOf = Callable[[Any, str], Mapping[str, Any] | None]


def interpreter(
    definition: Mapping[str, Any] | None,
    venvs: VenvCache,
    log: Log,
    warn: Callable[[str], None],
) -> Path:
    """Return the interpreter for an environment, built now if need be.

    Parameters
    ----------
    definition
        The properties of an environment version; ``None`` for none at all.
    log
        Gets the lines of the build.
    warn
        Gets what differs from the service in a way that may matter.

    Raises
    ------
    BuildError
        Its packages cannot be installed.
    """
    here = Path(sys.executable)
    mine = f"the emulator's own Python {sys.version_info.major}.{sys.version_info.minor}"
    if definition is None or definition.get("environmentType") == "Curated":
        log(f"A curated environment: {mine} stands in for it ({here}).")
        return here
    image = definition.get("image")
    conda = definition.get("condaFile")
    if conda:
        if image:
            log(f"The image '{image}' is not used: there is no container runtime.")
        venv = venvs.get(Requirements.from_conda(conda), log=log)
        if venv.stand_in:
            warn(venv.stand_in)
        return venv.python
    what = f"the image '{image}'" if image else "a Dockerfile"
    message = f"The environment is {what}, and there is no container runtime: {mine} is used."
    log(message)
    warn(message)
    return here


def is_curated(name: str) -> bool:
    """Whether an environment's name is one of those that the service keeps for itself."""
    return name.lower().startswith("azureml-")
