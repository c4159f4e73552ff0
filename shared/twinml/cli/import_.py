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
    "--registry",
    metavar="URI",
    help="Of which models:/ and runs:/ are, such as http://host:5000 [default: ours].",
)
@click.option(
    "--data",
    metavar="FILE",
    help="Rows like those that it was trained on: ranges, categories, reference for drift.",
)
@click.option("--target", metavar="COLUMN", help="The label among them, if they have one.")
@click.option("--trust", is_flag=True, help="Run what code the file brings: pickles are programs.")
@on_option
@json_option
@errors_in_one_line
def command(
    source: str,
    name: str | None,
    registry: str | None,
    data: str | None,
    target: str | None,
    trust: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Register a model that was made elsewhere, so that the verbs work with it as with ours.

    SOURCE is models:/NAME/VERSION, runs:/ID/PATH, the address of a version in MLflow's pages, a
    folder with an MLmodel file, or a file of skops, LightGBM, XGBoost or CatBoost; with --trust
    also a pickle, and MLflow models with code of their own.
    """
    from twinml.errors import UsageError
    from twinml.platform import load
    from twinml.registry.importing import import_model, of_address
    from twinml.registry.tracking import Tracking

    source, server = of_address(source)
    if server is not None and registry is not None:
        raise UsageError(
            "an address of MLflow's pages says its registry itself", hint="Leave --registry out."
        )
    server = server or registry
    keeps("Nothing was registered.")
    done = import_model(
        source,
        Tracking(load(platform_name).tracking_uri),
        origin=None if server is None else Tracking(server),
        name=name,
        data=data,
        target=target,
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
