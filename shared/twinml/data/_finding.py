"""One remark about a data file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """Something that a reader of the data should know; none of them stops the work.

    Attributes
    ----------
    level
        ``note`` for what is merely worth knowing, ``warning`` for what may spoil the model.
    kind
        A short fixed word such as ``constant`` or ``leak``, for programs.
    column
        The column meant, or ``None`` when it is about several columns, the rows or the file.
    message
        One sentence without a full stop.
    decision
        The file could have been read in another way, or something in it is left out:
        ``load(…, strict=True)`` refuses instead.
    """

    level: Literal["note", "warning"]
    kind: str
    column: str | None
    message: str
    decision: bool = False
