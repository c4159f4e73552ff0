"""``twinml promotions``: who promoted which model, when and why."""

from __future__ import annotations

import click
from rich.table import Table

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option

__all__ = ["command"]

COLUMNS = ("time (UTC)", "model", "version", "instead of", "by", "test ROC AUC", "reason")


@click.command()
@click.argument("name", required=False)
@on_option
@json_option
@errors_in_one_line
def command(name: str | None, platform_name: str, as_json: bool) -> None:
    """Show a platform's audit trail of model NAME, or of all models, newest first."""
    from twinml.platform import load
    from twinml.registry.promotion import promotions
    from twinml.registry.tracking import Tracking

    found = promotions(Tracking(load(platform_name).tracking_uri), name)
    if not as_json:
        table = Table()
        for heading in COLUMNS:
            table.add_column(heading)
        for one in found:
            figures = [
                f"{one.figures[key]:.4f}" if key in one.figures else "?"
                for key in ("new_test_roc_auc", "previous_test_roc_auc")
            ]
            table.add_row(
                one.time,
                one.model,
                one.version,
                one.previous or "",
                one.by,
                " instead of ".join(figures if one.previous else figures[:1]),
                one.reason + ("" if one.complete else " (broken off)"),
            )
        console.print(table if found else "Nothing was promoted yet.")
    emit(found, as_json=as_json)
