"""A picture as the pages show it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

__all__ = ["PNG_SIGNATURE", "Picture"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture as the page shows it: PNG bytes, alternative text, a caption."""

    png: bytes
    alt: str
    caption: str

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, so that the page does not jump while it loads."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")
