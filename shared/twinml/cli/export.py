"""``twinml export``: a folder that serves a model elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import console, emit, errors_in_one_line, json_option, keeps, table
from twinml.cli._types import ENDPOINT, MODEL

__all__ = ["command"]


@click.command()
@click.option(
    "--model", "reference", type=MODEL, required=True, metavar="NAME[/VERSION|@ALIAS]",
    help="What to serve.",
)  # fmt: skip
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Does not exist yet.",
)
@click.option("--name", type=ENDPOINT, help="Of the endpoint [default: made from the model's].")
@on_option
@json_option
@errors_in_one_line
def command(
    reference: str, folder: Path, name: str | None, platform_name: str, as_json: bool
) -> None:
    """Write a folder that serves a model without the packages that trained it.

    It has pinned requirements, the source of the server, a proof that every reply is byte for byte
    the same, a smoke test that asks for it, and files for Docker, Compose, Kubernetes, Azure
    Container Apps and systemd. It holds no key.
    """
    from twinml.platform import ModelReference, endpoint_name, load
    from twinml.platform.abilities import Exports, able
    from twinml.registry.tracking import Tracking

    keeps(f"{folder} was not written.")
    on = load(platform_name)
    hint = "Leave --on out: this machine does, with the same model."
    platform = able(on, Exports, "write a folder with", hint)  # type: ignore[type-abstract]
    version = Tracking(on.tracking_uri).resolve(ModelReference.parse(reference))
    with console().status("writing and verifying"):
        content = platform.export(version, folder, name=name or endpoint_name(version.name))
    emit(
        {"model": version.name, "version": version.version, "folder": folder, "files": content},
        as_json=as_json,
        text=f"{version.reference}: {folder}\n" + table(("file", "what"), sorted(content.items())),
    )
