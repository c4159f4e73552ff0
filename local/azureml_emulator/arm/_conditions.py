"""Whether a change may be made to a resource as it is: ``If-Match`` and ``If-None-Match``."""

from __future__ import annotations

__all__ = ["conditions_hold"]


def conditions_hold(if_match: str | None, if_none_match: str | None, etag: str | None) -> bool:
    """Return whether a change may be made, as RFC 9110 has it.

    Parameters
    ----------
    if_match, if_none_match
        The headers: ``*``, or etags in quotes with commas between them; ``None`` without one.
    etag
        Of the resource, without quotes; ``None`` where there is no such resource.

    Examples
    --------
    >>> conditions_hold('"a", "b"', None, "b"), conditions_hold("*", None, None)
    (True, False)
    >>> conditions_hold(None, "*", None), conditions_hold(None, '"a"', "a")
    (True, False)
    """
    if etag is None:
        return if_match is None
    if if_match is not None and not _names(if_match, etag):
        return False
    # What must not be there is compared weakly, what must be there is not.
    return if_none_match is None or not _names(if_none_match.replace('W/"', '"'), etag)


def _names(header: str, etag: str) -> bool:
    """Return whether a header is about a resource that is there and has ``etag``."""
    return header.strip() == "*" or f'"{etag}"' in [tag.strip() for tag in header.split(",")]
