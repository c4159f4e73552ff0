"""Pack a state folder so that a test can open it anywhere: ``pack_home.py HOME ARCHIVE``.

``home-0.1.tar.xz`` is the folder that release 0.1 (commit 799a5b7) left of a made-up data set of
240 rows (age, job, income; nobody's data), by its own command line::

    twinml data --data visitors.csv --target y --register
    twinml train --data visitors.csv --target y --trials 1 --learners LogisticRegression
    twinml deploy --model visitors --endpoint visitors
    twinml stop

Paths of the folder become ``@HOME@``, SQLite files the SQL that makes them, and the keys are not
those that were drawn. Left out are compiled forms (they are of one processor, and made anew) and
what describes usual rows, without which a model answers the same.
"""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path

PLACE = "@HOME@"
LEFT_OUT = ("compiled", "logs", "workers", "ood.npz")
SQL = ".sql"


def pack(home: Path, archive: Path) -> None:
    """Write what is in ``home`` to ``archive``."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(home.rglob("*")):
            name = path.relative_to(home)
            if path.is_dir() or set(name.parts) & set(LEFT_OUT) or path.suffix == ".lock":
                continue
            content, suffix = path.read_bytes(), ""
            if path.name == "keys.json":
                content = json.dumps({"primary": "p" * 32, "secondary": "s" * 32}).encode()
            elif path.suffix == ".db":
                with closing(sqlite3.connect(path)) as store:
                    content, suffix = "\n".join(store.iterdump()).encode(), SQL
            entry = tarfile.TarInfo(str(name) + suffix)
            content = content.replace(str(home).encode(), PLACE.encode())
            entry.size, entry.mode = len(content), path.stat().st_mode & 0o777
            packed.addfile(entry, io.BytesIO(content))


def unpack(archive: Path, home: Path) -> None:
    """Make the state folder ``home`` of ``archive``."""
    with tarfile.open(archive) as packed:
        packed.extractall(home, filter="data")
    for path in home.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if PLACE.encode() in content:
            path.write_bytes(content.replace(PLACE.encode(), str(home).encode()))
        if path.suffix == SQL:
            with closing(sqlite3.connect(path.with_suffix(""))) as store:
                store.executescript(path.read_text(encoding="utf-8"))
            path.unlink()


if __name__ == "__main__":
    pack(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
