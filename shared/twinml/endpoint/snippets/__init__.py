"""Small programs that call an endpoint: curl, Python, JavaScript and PowerShell.

They are made from sample rows, as a contract or an endpoint's document has them, and read
address and key from ``TWINML_URL`` and ``TWINML_KEY``; the key is on no command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from twinml.contract.dialects import DEFAULT
from twinml.errors import DataError, UsageError

__all__ = ["NAMES", "snippets", "write"]

NAMES = ("curl.sh", "client.py", "client.mjs", "client.ps1")
BODY = "data.json"


def snippets(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the programs and the body that they send, by file name.

    Parameters
    ----------
    rows
        At least one row; all with the same columns.

    Raises
    ------
    UsageError
        There are no rows.
    """
    if not rows:
        raise UsageError(
            "there are no sample rows to make clients from", hint="Save the model again."
        )
    from jinja2 import Environment, StrictUndefined

    body = DEFAULT.write(rows, "predict")
    # The programs are no HTML; what goes into them is JSON, or Python's way to write it.
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    environment.filters |= {"py": repr, "js": _json, "ps": _powershell}
    here = files("twinml.endpoint.snippets")
    made = {BODY: json.dumps(body, indent=2, ensure_ascii=False) + "\n"}
    for name in NAMES:
        template = here.joinpath(f"{name}.j2").read_text(encoding="utf-8")
        made[name] = environment.from_string(template).render(rows=[dict(row) for row in rows])
    return made


def write(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write the programs into ``folder``, made if need be; return their paths.

    Raises
    ------
    DataError
        They cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in snippets(rows).items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
            paths.append(path)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror}", hint="Name another folder."
        ) from error
    return paths


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _powershell(value: Any) -> str:
    """Write a value as PowerShell reads it; text in single quotes is taken as it stands."""
    if value is None:
        return "$null"
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
