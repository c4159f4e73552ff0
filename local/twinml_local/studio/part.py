"""Makes one part of a page: ``python -m twinml_local.studio.part profile bank 1``.

The HTML goes to standard output. Where an error of ours is why there is none, it goes to standard
error in one line, and the process ends with ``REFUSED``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from twinml.errors import TwinmlError
from twinml.platform import load
from twinml_local.studio._data import profile_part
from twinml_local.studio._monitoring import drift_part
from twinml_local.studio._parts import REFUSED
from twinml_local.studio._sources import Sources

__all__ = ["main"]

MAKERS: Mapping[str, Callable[..., str]] = {"profile": profile_part, "drift": drift_part}
# Whoever looks at a page, or asks an endpoint, goes first.
NICENESS = 10


def main(words: Sequence[str]) -> int:
    """Make the part that ``words`` name: its kind, then what the kind takes."""
    os.nice(NICENESS)
    kind, *given = words
    try:
        text = MAKERS[kind](Sources(load("local")), *given)
    except TwinmlError as error:
        sys.stderr.write(" ".join(str(error).split()))
        return REFUSED
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
