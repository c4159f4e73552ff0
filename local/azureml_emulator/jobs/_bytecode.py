"""What Python compiled of a code asset, kept from one step to the next.

Every step works in a copy of its code, so each of a pipeline's steps would compile the same modules
again: seconds for a package. What the first one compiled goes back beside the asset's sources, as
Python keeps it: by interpreter, and good for the size and time of the source that is named in it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

__all__ = ["keep_bytecode"]

CACHE = "__pycache__"


def keep_bytecode(work: Path, code: Path) -> int:
    """Copy what was compiled below ``work`` to ``code``; return how many files are new there.

    Sources that the step changed or made have none.

    Examples
    --------
    >>> import py_compile, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> code, work = Path(folder.name) / "code", Path(folder.name) / "work"
    >>> code.mkdir()
    >>> _ = (code / "a.py").write_text("A = 1"), (code / "b.py").write_text("B = 1")
    >>> _ = shutil.copytree(code, work), (work / "b.py").write_text("B = 22")
    >>> for name in "ab":
    ...     _ = py_compile.compile(str(work / f"{name}.py"))
    >>> keep_bytecode(work, code), keep_bytecode(work, code)
    (1, 0)
    >>> [path.name.partition(".")[0] for path in code.rglob("*.pyc")]
    ['a']
    >>> folder.cleanup()
    """
    kept = 0
    for cache in work.rglob(CACHE):
        target = code / cache.relative_to(work)
        for compiled in cache.glob("*.pyc"):
            name = f"{compiled.name.partition('.')[0]}.py"
            if (target / compiled.name).exists() or not _same(
                cache.parent / name, target.parent / name
            ):
                continue
            target.mkdir(exist_ok=True)
            half = target / f".{uuid.uuid4().hex}"
            shutil.copyfile(compiled, half)
            os.replace(half, target / compiled.name)
            kept += 1
    return kept


def _same(one: Path, other: Path) -> bool:
    """Tell whether two files have the size and the time by which Python knows a source again."""
    try:
        here, there = one.stat(), other.stat()
    except OSError:
        return False
    return (here.st_size, int(here.st_mtime)) == (there.st_size, int(there.st_mtime))
