"""``twinml promotions``: who promoted which model, when and why."""

from __future__ import annotations

from collections.abc import Mapping

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, table
from twinml.cli._types import MODEL_NAME

__all__ = ["command"]

COLUMNS = ("time (UTC)", "model", "version", "instead of", "by", "test ROC AUC", "reason")


@click.command()
@click.argument("name", required=False, type=MODEL_NAME)
@on_option
@json_option
@errors_in_one_line
def command(name: str | None, platform_name: str, as_json: bool) -> None:
    """Show a platform's audit trail of model NAME, or of all models, newest first."""
    from twinml.platform import load
    from twinml.registry.promotion import promotions
    from twinml.registry.tracking import Tracking

    found = promotions(Tracking(load(platform_name).tracking_uri), name)
    rows = [
        (
            one.time,
            one.model,
            one.version,
            one.previous or "",
            one.by,
            " instead of ".join(_figures(one.figures)[: 2 if one.previous else 1]),
            one.reason + ("" if one.complete else " (broken off)"),
        )
        for one in found
    ]
    text = table(COLUMNS, rows) if rows else "Nothing was promoted yet."
    emit(found, as_json=as_json, text=text)


def _figures(figures: Mapping[str, float]) -> list[str]:
    return [
        f"{figures[key]:.4f}" if key in figures else "?"
        for key in ("new_test_roc_auc", "previous_test_roc_auc")
    ]
