"""``twinml templates``: pipelines and Bicep for a repository."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._output import emit, errors_in_one_line, json_option, keeps, table

__all__ = ["command"]


@click.command()
@click.option("--data", required=True, metavar="FILE", help="The data, by its path there.")
@click.option("--target", required=True, metavar="COLUMN", help="Column to predict.")
@click.option("--name", metavar="NAME", help="Of the data set and model [default: the file's].")
@click.option("--budget", default="300s", show_default=True, help="Time for the search.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="The repository's folder [default: this one].",
)
@json_option
@errors_in_one_line
def command(
    data: str, target: str, name: str | None, budget: str, folder: Path, as_json: bool
) -> None:
    """Write GitHub Actions, an Azure DevOps pipeline and Bicep for a model's repository.

    Changes are rehearsed against the emulator; what is on the main branch runs on Azure ML. The
    Bicep file makes workspace, cluster and online endpoint. No file holds a secret.

    For example: twinml templates --data customers.csv --target churned
    """
    from twinml.data.dataset import name_of
    from twinml.platform import endpoint_name
    from twinml.workflow.ci_templates import rendered, write_templates

    keeps("Nothing was written.")
    called = name or name_of(Path(data))
    texts = rendered(
        data=data, target=target, budget=budget, name=called, endpoint=endpoint_name(called)
    )
    written = write_templates(folder, texts)
    emit(
        {"folder": folder, "files": written},
        as_json=as_json,
        text=table(("file", "what"), sorted(written.items())),
    )
