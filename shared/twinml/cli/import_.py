"""``twinml import``: register a model that was made elsewhere."""

from __future__ import annotations

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, keeps

__all__ = ["command"]


@click.command()
@click.argument("source")
@click.option("--name", help="What to register it as [default: as it is called there].")
@click.option(
    "--data",
    metavar="FILE",
    help="Rows like those that it was trained on: ranges, categories, reference for drift.",
)
@click.option("--target", metavar="COLUMN", help="The label among them [default: target].")
@click.option("--trust", is_flag=True, help="Run what code the file brings: pickles are programs.")
@on_option
@json_option
@errors_in_one_line
def command(
    source: str,
    name: str | None,
    data: str | None,
    target: str | None,
    trust: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Register a classifier that was made elsewhere, so that all verbs work with it.

    SOURCE is models:/NAME/VERSION, runs:/ID/PATH, a folder with an MLmodel file, or a file
    of skops, LightGBM, XGBoost or CatBoost; with --trust also a pickle.
    """
    from twinml.data import load as load_data
    from twinml.errors import UsageError
    from twinml.platform import load
    from twinml.registry.importing import import_model
    from twinml.registry.tracking import Tracking

    if data is not None and target is None:
        raise UsageError("the label among the rows is not named", hint="Name it: --target COLUMN.")
    keeps("Nothing was registered.")
    rows = None if data is None else load_data(data, target or "")
    done = import_model(
        source,
        Tracking(load(platform_name).tracking_uri),
        name=name,
        data=rows,
        target=target or "target",
        trust=trust,
    )
    alike = (
        f"answers as the original on {done.compared} row{'s' * (done.compared != 1)}, bit for bit"
        if done.compared
        else "there is no MLflow model with a signature to compare its answers with"
    )
    emit(
        {
            "model": done.version.name,
            "version": done.version.version,
            "aliases": done.version.aliases,
            "digest": done.version.digest,
            "directory": done.directory,
            "kind": done.kind,
            "compared": done.compared,
        },
        as_json=as_json,
        text=f"{done.version.reference}: {done.kind}; {alike}",
    )
