"""Turns a training result into ``report.html`` and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound, UsageError
from twinml.pages.figure import PNG_SIGNATURE, Picture
from twinml.pages.templates import render
from twinml.report._files import PAGE, PREDICTIONS

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import EndpointInfo, ModelVersion
    from twinml.training.result import TrainingResult

__all__ = ["ReportFiles", "newest", "write"]


@dataclass(frozen=True)
class ReportFiles:
    """The files written: the page, and the pictures by name (``roc``, ``pr``, ``splits``, …).

    The predictions of held-out rows and the model card lie beside them.
    """

    html: Path
    pictures: dict[str, Path]


def write(
    result: TrainingResult,
    dataset: Dataset,
    directory: Path,
    *,
    endpoint: EndpointInfo | None = None,
    model: ModelVersion | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
    extras: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ReportFiles:
    """Write ``directory/report.html`` and the pictures beside it.

    The page loads nothing: style and pictures are inside. It never holds a key.

    Parameters
    ----------
    result
        What the training run found.
    dataset
        The data that it was trained on.
    directory
        Where to write; made if it does not exist, files of an earlier report are replaced.
    endpoint
        Where the model answers; without it the page says how to deploy.
    model
        The registered version.
    steps
        The steps of the run in order, each with ``number``, ``name``, ``seconds`` and
        ``summary``.
    extras
        Pictures made by other steps, title -> PNG file.
    environment
        Package -> version; by default those of this process.

    Returns
    -------
    ReportFiles
        The paths of what was written.

    Raises
    ------
    UsageError
        A file of ``extras`` is missing or is not a PNG.

    """
    from twinml.report import _content as content
    from twinml.report import _figure_choice as figure_choice
    from twinml.report import model_card
    from twinml.report._held_out import predictions

    added = [_extra(title, path) for title, path in (extras or {}).items()]
    drawn = figure_choice.draw(result, dataset)
    page = content.build(
        result, dataset,
        endpoint=endpoint, model=model, steps=steps, environment=environment,
    )  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    predictions(result).to_csv(directory / PREDICTIONS, index=False)
    model_card.write(result, dataset, directory, digest=model.digest if model else None)
    paths = {}
    for name, picture in drawn.items():
        paths[name] = directory / f"{name}.png"
        paths[name].write_bytes(picture.png)
    html = directory / PAGE
    html.write_text(_render(page, drawn, added), encoding="utf-8")
    return ReportFiles(html, paths)


def newest(directory: Path) -> Path:
    """Return the report that was written last anywhere under ``directory``.

    Raises
    ------
    NotFound
        There is no report.

    """
    found = list(directory.rglob(PAGE))
    if not found:
        raise NotFound(
            f"there is no report in {directory}", hint="Make one: twinml run, or twinml train."
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, str(path)))


def _extra(title: str, path: Path) -> Picture:
    try:
        png = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the picture '{title}' cannot be read: {path}: {error.strerror}",
            hint="Give the path of a PNG file.",
        ) from error
    if not png.startswith(PNG_SIGNATURE):
        raise UsageError(
            f"the picture '{title}' is not a PNG: {path} begins with {png[:8]!r}",
            hint="Give the path of a PNG file.",
        )
    return Picture(png, f"{title}.", title)


def _render(
    page: Mapping[str, Any], pictures: Mapping[str, Picture], extras: Sequence[Picture]
) -> str:
    return render("report.html.j2", page=page, pictures=pictures, extras=extras)
