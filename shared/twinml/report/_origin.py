"""Where a report comes from: steps with timings, versions, options, digests."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from twinml.pages.tables import Cell, Table, pairs
from twinml.pages.wording import quantity, seconds
from twinml.training import learners

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import ModelVersion
    from twinml.training.result import TrainingResult

__all__ = ["build", "shown_options", "versions"]

PACKAGES = (
    "twinml",
    *learners.packages(),
    "flaml",
    "mlflow",
    "numpy",
    "pandas",
    "scipy",
    "pyarrow",
)
SECRET_WORDS = ("key", "token", "secret", "password", "credential")


def build(
    result: TrainingResult,
    dataset: Dataset,
    *,
    model: ModelVersion | None,
    steps: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str] | None,
) -> dict[str, Table | None]:
    """Return the tables of origin by the name under which the template shows them."""
    named = versions() if environment is None else environment
    timings = result.timings
    return {
        "steps": _steps(steps),
        "timings": pairs("Time by phase of training", timings, seconds) if timings else None,
        "environment": pairs("Versions", named, str),
        "options": pairs("Options of the run", shown_options(result.options), quantity),
        "identity": pairs("Identity", _identity(result, dataset, model), str),
    }


def _steps(steps: Sequence[Mapping[str, Any]]) -> Table | None:
    if not steps:
        return None
    rows = tuple(
        (
            Cell(str(step["number"])),
            Cell(str(step["name"])),
            Cell(seconds(step["seconds"]), True),
            Cell(str(step["summary"])),
        )
        for step in steps
    )
    total = sum(step["seconds"] or 0 for step in steps)
    heads = (Cell("Step"), Cell("Name"), Cell("Time", True), Cell("What came out"))
    return Table(f"Steps of the run, {seconds(total)} in all", heads, rows)


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out options whose name says that they are secret."""
    return {
        name: value
        for name, value in options.items()
        if not any(word in name.lower() for word in SECRET_WORDS)
    }


def versions() -> dict[str, str]:
    """Return the versions of what computes, here."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _identity(
    result: TrainingResult, dataset: Dataset, model: ModelVersion | None
) -> dict[str, str]:
    found = {"data file": dataset.source.name, "data digest (SHA-256)": dataset.digest}
    if "seed" in result.options:
        found["seed"] = str(result.options["seed"])
    found["contract digest"] = result.contract.digest
    if model:
        found["model"] = f"{model.name} version {model.version}"
        found["model digest"] = model.digest
        if model.run_id:
            found["MLflow run"] = model.run_id
        if model.aliases:
            found["aliases"] = ", ".join(model.aliases)
    return found
