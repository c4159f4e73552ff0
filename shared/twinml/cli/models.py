"""``twinml models``: what is registered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, table
from twinml.cli._types import MODEL_NAME
from twinml.errors import NotFound
from twinml.report import CARD_TEXT
from twinml.settings import home
from twinml.training.estimates import TEST, WORDS, figure_of

__all__ = ["command"]

FIGURES = {"roc_auc": "test ROC AUC", "log_loss": "test log loss"}
HEADINGS = ("model", "version", "aliases", *FIGURES.values(), "digest")


@click.command()
@click.argument("name", required=False, type=MODEL_NAME)
@on_option
@json_option
@errors_in_one_line
def command(name: str | None, platform_name: str, as_json: bool) -> None:
    """List a platform's registered versions of model NAME, or of all models."""
    from twinml.platform import load
    from twinml.registry.listing import listed

    uri = load(platform_name).tracking_uri
    found = listed(uri, name)
    if name is not None and not found:
        raise _unknown(name, sorted({one.version.name for one in listed(uri)}))
    rows = [
        (
            one.version.name,
            one.version.version,
            ", ".join(one.version.aliases),
            *(_figure(one.metrics, key) for key in FIGURES),
            one.version.digest[:12],
        )
        for one in found
    ]
    cards = {str(one.version.reference): _card(one.version.digest) for one in found}
    lines = [table(HEADINGS, rows, right="|".join(FIGURES.values()))]
    if name is not None:
        lines += [f"Model card of {model}: {path}" for model, path in cards.items() if path]
    emit(
        [
            {
                **vars(one.version),
                "metrics": dict(one.metrics),
                "card": cards[str(one.version.reference)],
            }
            for one in found
        ],
        as_json=as_json,
        text="\n".join(lines) if rows else "No model is registered yet: twinml train",
    )


def _figure(metrics: Mapping[str, float], name: str) -> str:
    """Write a figure of test rows; of one that is none of them, say so."""
    found = figure_of(metrics, name)
    if found is None:
        return ""
    prefix, value = found
    return f"{value:.4f}" if prefix == TEST else f"{value:.4f} {WORDS[prefix]}"


def _card(digest: str) -> Path | None:
    """Return the card in the model's folder on this machine, if it is there."""
    path = home() / "models" / digest / CARD_TEXT
    return path if digest and path.is_file() else None


def _unknown(name: str, known: list[str]) -> NotFound:
    hint = f"Registered: {', '.join(known) or 'none'}."
    bare = re.split("[/@]", name)[0]
    if bare != name:
        hint = f"Give a name only, without version or alias: twinml models {bare}. {hint}"
    return NotFound(f"there is no registered model '{name}'", hint=hint)
