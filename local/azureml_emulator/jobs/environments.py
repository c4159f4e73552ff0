"""Which interpreter a job's command gets: a built environment, or the emulator's own.

There is no container runtime here. A conda file becomes a virtual environment, and so does a
curated environment whose packages are known. An image alone and a Dockerfile cannot be had: the
command runs with the emulator's own interpreter then, and the job says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from azureml_emulator.environments.curated import requirements_of
from azureml_emulator.environments.venvs import BuildError, Log, Requirements, VenvCache

__all__ = ["EnvironmentOf", "interpreter", "is_curated"]

EnvironmentOf = Callable[[Any, str], Mapping[str, Any] | None]


def interpreter(
    definition: Mapping[str, Any] | None,
    venvs: VenvCache,
    log: Log,
    warn: Callable[[str], None],
    *,
    build_curated: bool = True,
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
    build_curated
        Whether curated environments are built, as far as it is known what they hold.

    Raises
    ------
    BuildError
        Its packages cannot be installed.
    """
    here = Path(sys.executable)
    mine = f"the emulator's own Python {sys.version_info.major}.{sys.version_info.minor}"
    if definition is None or definition.get("environmentType") == "Curated":
        wanted = requirements_of(str((definition or {}).get("curated"))) if build_curated else None
        if wanted is not None:
            try:
                return _built(wanted, venvs, log, warn)
            except BuildError as error:
                warn(
                    f"The curated environment could not be built ({error.message}): {mine} is used."
                )
        log(f"A curated environment: {mine} stands in for it ({here}).")
        return here
    image = definition.get("image")
    conda = definition.get("condaFile")
    if conda:
        if image:
            log(f"The image '{image}' is not used: there is no container runtime.")
        return _built(Requirements.from_conda(conda), venvs, log, warn)
    what = f"the image '{image}'" if image else "a Dockerfile"
    message = f"The environment is {what}, and there is no container runtime: {mine} is used."
    log(message)
    warn(message)
    return here


def _built(wanted: Requirements, venvs: VenvCache, log: Log, warn: Callable[[str], None]) -> Path:
    venv = venvs.get(wanted, log=log)
    if venv.stand_in:
        warn(venv.stand_in)
    return venv.python


def is_curated(name: str) -> bool:
    """Whether an environment's name is one of those that the service keeps for itself."""
    return name.lower().startswith("azureml-")
