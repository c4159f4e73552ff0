"""Asks again before an action that cannot be taken back, or that callers notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import request

__all__ = ["unconfirmed"]


def unconfirmed(
    render: Callable[..., str],
    question: str,
    consequence: str,
    *,
    title: str,
    section: str,
    word: str,
    back: str,
    fields: Mapping[str, str] | None = None,
    rows: Sequence[Sequence[str]] = (),
) -> str | None:
    """Return the page that asks whether to do what this POST asks for; ``None`` once confirmed.

    Parameters
    ----------
    word
        On the button that does it.
    back
        Address of the page to return to.
    fields
        Of the form, to be sent again with the answer.
    rows
        Deployment, traffic and mirrored traffic, each before and after.
    """
    if request.form.get("confirmed") == "yes":
        return None
    return render(
        "confirm.html.j2", title=title, section=section, question=question,
        consequence=consequence, action=request.path, fields=fields or {}, rows=rows, word=word,
        back=back,
    )  # fmt: skip
