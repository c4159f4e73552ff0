"""The text of a file: UTF-8, UTF-16 or, where it can be nothing else, Windows-1252."""

from __future__ import annotations

import codecs
import re

from twinml.data._finding import Finding
from twinml.errors import DataError

__all__ = ["decoded"]

UTF_16 = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
LOOKED_AT = 1_000
# In the languages that are written in Windows-1252, so many accents do not stand in a row; text in
# another encoding of one byte a letter, such as Cyrillic, looks like this everywhere.
FOREIGN = re.compile("[À-ÖØ-öø-ÿ]{3}")


def decoded(name: str, content: bytes) -> tuple[str, list[Finding]]:
    """Return the text of a file, with a remark where its encoding is not UTF-8.

    Raises
    ------
    DataError
        It is no text, or its encoding cannot be told; the message names the place.
    """
    encoding = _wide(content)
    if encoding is not None:
        try:
            text = content.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(
                f"'{name}' begins like UTF-16 and is not: {error.reason} at offset {error.start:,}",
                hint="The file is cut short or damaged; fetch it again, or save it as UTF-8.",
            ) from None
        return _without_zeros(name, text), [_remark(name, "UTF-16")]
    try:
        return _without_zeros(name, content.decode("utf-8-sig")), []
    except UnicodeDecodeError as error:
        place = error.start
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or FOREIGN.search(text):
        line = content.count(b"\n", 0, place) + 1
        raise DataError(
            f"'{name}' is neither UTF-8 nor Windows-1252: byte 0x{content[place]:02x} at offset "
            f"{place:,}, line {line:,}",
            hint="Save it as UTF-8, for example: iconv -f WINDOWS-1251 -t UTF-8 IN > OUT.",
        )
    return _without_zeros(name, text), [_remark(name, "Windows-1252")]


def _wide(content: bytes) -> str | None:
    """Return the name of the codec of text with two bytes a letter.

    >>> _wide("a,b".encode("utf-16")), _wide("a,b".encode("utf-16-be")), _wide(b"a,b")
    ('utf-16', 'utf-16-be', None)
    """
    if content[:2] in UTF_16:
        return "utf-16"
    start = content[:LOOKED_AT]
    for first, codec in ((0, "utf-16-be"), (1, "utf-16-le")):
        zeros, others = start[first::2], start[1 - first :: 2]
        if len(zeros) > 1 and set(zeros) == {0} and 0 not in others:
            return codec
    return None


def _without_zeros(name: str, text: str) -> str:
    zero = text.find("\0")
    if zero >= 0:
        line = text.count("\n", 0, zero) + 1
        raise DataError(
            f"'{name}' is not text: a zero byte in line {line:,}",
            hint="Name a file of CSV, Parquet, Excel or JSON lines.",
        )
    return text


def _remark(name: str, encoding: str) -> Finding:
    return Finding("note", "encoding", None, f"'{name}' is read as {encoding}", decision=True)
