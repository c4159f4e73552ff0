"""Folders of this machine that stand for what is at addresses elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from azureml_emulator.errors import ArmError

__all__ = ["Mirrors"]


class Mirrors:
    """Finds what is at an address in the folder that stands for it.

    Parameters
    ----------
    folders
        By address, without a slash at its end: ``https://example.com/data``.

    Examples
    --------
    >>> mirrors = Mirrors({"https://example.com/data": Path("data")})
    >>> mirrors.find("https://example.com/database/a.csv")
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)

    def find(self, uri: str) -> Path | None:
        """Return the file or folder at an address, ``None`` where no folder stands for it.

        Raises
        ------
        ArmError
            404: a folder stands for it, and does not have it.
        """
        for address, folder in self._folders.items():
            if uri == address or uri.startswith(f"{address}/"):
                whole = folder.resolve()
                found = (whole / unquote(uri[len(address) :]).strip("/")).resolve()
                if not found.is_relative_to(whole) or not found.exists():
                    raise ArmError(404, "UserError", f"'{uri}' is not in its mirror, '{folder}'.")
                return found
        return None
