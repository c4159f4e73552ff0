"""A folder that serves a model without the packages that trained it.

::

    FOLDER/
    ├── README.md, requirements.txt
    ├── endpoint/       endpoint.json, model/ and compiled/, as an endpoint's folder has them
    ├── proof.json      requests, and the bytes that answer them
    ├── packages/       the source of twinml, as it is installed here
    ├── smoke_test.py   asks a running server for the proof; needs Python alone
    └── Dockerfile, compose.yaml, kubernetes.yaml, container-app.yaml, NAME.service

``export_model`` writes it, ``python -m twinml_local.export FOLDER`` serves it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml_local.export._folder import export_model

__all__ = ["export_model"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: what serves a folder has no packages to write one."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._folder"), name)
