"""The text of a file, with a remark on its encoding."""

from __future__ import annotations

from twinml.contract.encoding import WINDOWS, codec_of, is_wide
from twinml.data._finding import Finding
from twinml.errors import DataError

__all__ = ["decoded"]


def decoded(name: str, content: bytes) -> tuple[str, list[Finding]]:
    """Return the text of a file, with a remark where its encoding is not UTF-8.

    Raises
    ------
    DataError
        It is no text, or its encoding cannot be told; the message names the place.
    """
    codec = codec_of(content)
    if codec is None:
        place = _first_strange(content)
        line = content.count(b"\n", 0, place) + 1
        raise DataError(
            f"'{name}' is neither UTF-8 nor Windows-1252: byte 0x{content[place]:02x} at offset "
            f"{place:,}, line {line:,}",
            hint="Save it as UTF-8, for example: iconv -f WINDOWS-1251 -t UTF-8 IN > OUT.",
        )
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{name}' begins like UTF-16 and is not: {error.reason} at offset {error.start:,}",
            hint="The file is cut short or damaged; fetch it again, or save it as UTF-8.",
        ) from None
    if is_wide(codec):
        return _without_zeros(name, text.removeprefix("\ufeff")), [_remark(name, "UTF-16")]
    remarks = [_remark(name, "Windows-1252")] if codec == WINDOWS else []
    return _without_zeros(name, text), remarks


def _first_strange(content: bytes) -> int:
    """Return the place of the first byte that is no UTF-8."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return 0


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
