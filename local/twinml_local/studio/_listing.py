"""What pages with lists share: where a page of a list begins, and the first page of a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Response, redirect, url_for

from twinml_local.studio._sources import Sources

__all__ = ["first_of", "offset"]


def offset(given: Mapping[str, str]) -> int:
    """Return after how many entries a page of a list begins.

    Examples
    --------
    >>> offset({"after": "50"}), offset({}), offset({"after": "-1"}), offset({"after": "9" * 30})
    (50, 0, 0, 0)
    """
    text = given.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def first_of(part: str, sources: Sources, render: Callable[..., str]) -> str | Response:
    """Lead to the part's page of the first endpoint, or say that there is none."""
    names = sources.names()
    if not names:
        return render("no_endpoint.html.j2", title=part.capitalize(), section=part)
    return redirect(url_for(f"{part}.page", name=names[0]))  # type: ignore[return-value]
