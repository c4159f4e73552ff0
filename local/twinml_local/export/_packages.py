"""Which packages serve a model, in the versions that are installed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from twinml.errors import PlatformError

__all__ = ["SERVING", "pinned"]

# What the server imports. MLflow is none of them: a model is loaded without.
SERVING = (
    "flask",
    "flask-swagger-ui",
    "gunicorn",
    "httptools",
    "llvmlite",
    "numpy",
    "orjson",
    "setproctitle",
    "uvloop",
)


def pinned(
    wanted: Iterable[str],
    *,
    requires: Callable[[str], list[str] | None] = metadata.requires,
    version: Callable[[str], str] = metadata.version,
) -> list[str]:
    """Return packages and all that they need here, pinned, sorted.

    Raises
    ------
    PlatformError
        One of them is not installed.

    Examples
    --------
    >>> needs = {"a": ["b>=1", "c; python_version < '3'", "d; extra == 'fast'"], "b": None}
    >>> pinned(["A"], requires=needs.__getitem__, version=lambda name: "1.0")
    ['a==1.0', 'b==1.0']
    """
    found: dict[str, str] = {}
    waiting = [canonicalize_name(name) for name in wanted]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = version(name)
        except metadata.PackageNotFoundError as error:
            raise PlatformError(
                f"{name}, which serves the model, is not installed here",
                hint="Install twinml again.",
            ) from error
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(needed.name))
    return sorted(f"{name}=={number}" for name, number in found.items())
