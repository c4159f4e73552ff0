"""Pipelines of GitHub Actions and Azure DevOps, and Bicep, for one data file and its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twinml.errors import UsageError

__all__ = ["API_VERSION", "rendered", "write_templates"]

TEMPLATES = Path(__file__).parent / "templates"
API_VERSION = "2024-10-01"
FILES = {
    "model.yml.j2": (".github/workflows/model.yml", "GitHub Actions: rehearse, then run on Azure"),
    "azure-pipelines.yml.j2": ("azure-pipelines.yml", "the same for Azure DevOps"),
    "main.bicep.j2": ("main.bicep", "workspace, cluster and online endpoint"),
}


def rendered(*, data: str, target: str, budget: str, name: str, endpoint: str) -> dict[str, str]:
    """Return the files' texts, by their path in a repository.

    Parameters
    ----------
    data, target, budget, name
        As ``twinml run`` takes them.
    endpoint
        What it calls its endpoint.

    Raises
    ------
    UsageError
        One of them cannot stand in a pipeline.
    """
    import jinja2

    quoted(name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - YAML and Bicep; what goes in is quoted or was checked
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # GitHub's own expressions have braces.
        variable_start_string="[[",
        variable_end_string="]]",
    )
    facts = {
        "data": quoted(data), "target": quoted(target), "budget": quoted(budget), "name": name,
        "endpoint": endpoint, "api_version": API_VERSION,
    }  # fmt: skip
    return {
        path: environment.get_template(source).render(facts) for source, (path, _) in FILES.items()
    }


def quoted(text: str) -> str:
    """Return text as a YAML scalar in single quotes.

    Raises
    ------
    UsageError
        It has line breaks or other characters that a pipeline's shell would take for its own.

    Examples
    --------
    >>> quoted("customers' data.csv")
    "'customers'' data.csv'"
    """
    if not text.isprintable() or set(text) & set('"$`\\'):
        raise UsageError(
            f"{text!r} cannot stand in a pipeline",
            hint="Rename the file or the column: no quotes, $, ` and line breaks.",
        )
    return "'" + text.replace("'", "''") + "'"


def write_templates(folder: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Write the files below ``folder``, all or none; return what each is, by its path.

    Raises
    ------
    UsageError
        One of them is there, with another text.
    """
    for path, text in texts.items():
        file = folder / path
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"there is a '{file}' already, and it is another one",
                hint="Move it away, or name another folder: --out FOLDER.",
            )
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return dict(FILES.values())
