"""``twinml models``: what is registered."""

from __future__ import annotations

import click
from rich.table import Table

from twinml.cli._common import console, emit, errors_in_one_line, json_option

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@json_option
@errors_in_one_line
def command(name: str | None, as_json: bool) -> None:
    """List the registered versions of model NAME, or of all models."""
    from twinml.tracking import Tracking

    tracking = Tracking()
    found = tracking.versions(name)
    shown = [
        {**vars(version), "metrics": tracking.metrics(version.run_id) if version.run_id else {}}
        for version in found
    ]
    if not as_json:
        table = Table()
        for heading in ("model", "version", "aliases", "test ROC AUC", "test log loss", "digest"):
            table.add_column(heading)
        for version, values in zip(found, shown, strict=True):
            metrics = values["metrics"]
            table.add_row(
                version.name,
                version.version,
                ", ".join(version.aliases),
                *(
                    f"{metrics[key]:.4f}" if key in metrics else ""
                    for key in ("test_roc_auc", "test_log_loss")
                ),
                version.digest[:12],
            )
        console.print(table if found else "No model is registered yet: twinml train")
    emit(shown, as_json=as_json)
