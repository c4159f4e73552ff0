"""``twinml models``: what is registered."""

from __future__ import annotations

import re

import click
from rich.table import Table

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.errors import NotFound

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@on_option
@json_option
@errors_in_one_line
def command(name: str | None, platform_name: str, as_json: bool) -> None:
    """List a platform's registered versions of model NAME, or of all models."""
    from twinml.platform import load
    from twinml.registry.tracking import Tracking

    tracking = Tracking(load(platform_name).tracking_uri)
    found = tracking.versions(name)
    if name is not None and not found:
        raise _unknown(name, sorted({version.name for version in tracking.versions()}))
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


def _unknown(name: str, known: list[str]) -> NotFound:
    hint = f"Registered: {', '.join(known) or 'none'}."
    bare = re.split("[/@]", name)[0]
    if bare != name:
        hint = f"Give a name only, without version or alias: twinml models {bare}. {hint}"
    return NotFound(f"there is no registered model '{name}'", hint=hint)
