"""The two keys of an endpoint or of the pipelines: their file, and which requests they open."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from twinml.errors import NotFound, PlatformError

if TYPE_CHECKING:
    from twinml.platform import Keys

__all__ = ["generate_keys", "offered_key", "opens", "read_key_values", "read_keys"]


def generate_keys(path: Path, *, replace: bool = False) -> Keys:
    """Return the two keys in ``path``, made (mode 0600) if there are none or ``replace``."""
    from twinml.platform import Keys

    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists() and not replace:
            return read_keys(path)
        keys = Keys(primary=secrets.token_urlsafe(32), secondary=secrets.token_urlsafe(32))
        content = {"primary": keys.primary, "secondary": keys.secondary}
        write_atomic(path, json.dumps(content), mode=0o600)
        return keys


def read_keys(path: Path) -> Keys:
    """Return the two keys in ``path``.

    Raises
    ------
    NotFound
        There is no such file.
    PlatformError
        It does not hold two keys.
    """
    from twinml.platform import Keys

    primary, secondary = read_key_values(path)
    return Keys(primary=primary, secondary=secondary)


def read_key_values(path: Path) -> tuple[str, str]:
    """Return what ``read_keys`` does as bare text, for a server that has to stay light."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["primary"]), str(content["secondary"])
    except FileNotFoundError as error:
        raise NotFound(f"there are no keys at '{path.parent.name}/{path.name}'") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            f"'{path.parent.name}/{path.name}' does not hold two keys",
            hint="Remove it; it is made anew when the endpoint is next started.",
        ) from error


def offered_key(authorization: str) -> bytes:
    """Return the key in a header ``Authorization``, empty where there is none.

    Examples
    --------
    >>> offered_key("Bearer k1"), offered_key("BEARER  k1 "), offered_key("Basic k1")
    (b'k1', b'k1', b'')
    """
    scheme, _, given = authorization.partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def opens(offered: bytes, keys: Sequence[bytes]) -> bool:
    """Return whether what is offered is one of the keys; what is empty opens nothing.

    Examples
    --------
    >>> opens(b"k2", [b"k1", b"k2"]), opens(b"k3", [b"k1", b"k2"]), opens(b"", [b""])
    (True, False, False)
    """
    # Every key is compared, and in constant time: an answer's timing says nothing.
    matches = [hmac.compare_digest(offered, key) for key in keys]
    return bool(offered) and any(matches)
