"""What a step may say of an error that nobody foresaw: its log's end becomes the job's error."""

from __future__ import annotations

import traceback

__all__ = ["without_words"]


def without_words(error: BaseException) -> str:
    """Return an error's traceback and type, without its text, which may quote the data."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{frames}error: {type(error).__name__} (its words are left out: they may quote data)"
