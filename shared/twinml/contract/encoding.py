"""The encoding of a text: UTF-8, UTF-16 or, where it can be nothing else, Windows-1252.

The same for a training file and for the body of a request.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["CHARSETS", "WINDOWS", "codec_of", "is_wide"]

WINDOWS = "cp1252"
CHARSETS = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "us-ascii": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "windows-1252": WINDOWS,
    "cp1252": WINDOWS,
    # Who says so writes Windows-1252, as browsers take it.
    "iso-8859-1": WINDOWS,
    "latin-1": WINDOWS,
    "latin1": WINDOWS,
}
"""What senders call an encoding, and Python's name of it."""

_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LOOKED_AT = 1_000
# In the languages that are written in Windows-1252, so many accents do not stand in a row; text in
# another encoding of one byte a letter, such as Cyrillic, looks like this everywhere.
_FOREIGN = re.compile("[À-ÖØ-öø-ÿ]{3}")


def codec_of(content: bytes) -> str | None:
    """Return the name of a text's codec, ``None`` where it is none of those known.

    >>> codec_of("größe".encode()), codec_of("größe".encode("cp1252"))
    ('utf-8-sig', 'cp1252')
    >>> codec_of("größe".encode("utf-16")), codec_of("größe".encode("utf-16-be"))
    ('utf-16', 'utf-16-be')
    >>> codec_of("привет".encode("cp1251"))
    """
    if content[:2] in _BYTE_ORDER_MARKS:
        return "utf-16"
    start = content[:_LOOKED_AT]
    for first, codec in ((0, "utf-16-be"), (1, "utf-16-le")):
        zeros, others = start[first::2], start[1 - first :: 2]
        if len(zeros) > 1 and set(zeros) == {0} and 0 not in others:
            return codec
    for codec in ("utf-8-sig", WINDOWS):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        return None if codec == WINDOWS and _FOREIGN.search(text) else codec
    return None


def is_wide(codec: str) -> bool:
    """Tell whether a codec takes two bytes a letter."""
    return codec.startswith("utf-16")
