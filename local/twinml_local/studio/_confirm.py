"""Asks again before an action that cannot be taken back, or that callers notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

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

    What was confirmed is what is done: where it has changed since it was shown (in another tab, by
    a verb), it is shown and asked anew.

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
    shown = sha256(json.dumps([question, consequence, list(rows)]).encode()).hexdigest()[:16]
    confirmed = request.form.get("confirmed") == "yes"
    if confirmed and request.form.get("shown", shown) == shown:
        return None
    return render(
        "confirm.html.j2", title=title, section=section, question=question,
        consequence=consequence, action=request.path, fields=fields or {}, rows=rows, word=word,
        back=back, shown=shown, changed=confirmed,
    )  # fmt: skip
