"""Runs kept in a JSON file, to compare later ones with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twinml.benchmark._result import PERCENTILES, BenchmarkResult
from twinml.errors import UsageError

__all__ = ["Difference", "compare", "load", "save"]

FORMAT = "twinml-benchmark-1"
SETTINGS = ("concurrency", "rate", "rows")
NEEDED = {"name", "latency_ms", "requests_per_second", "error_share", *SETTINGS}


@dataclass(frozen=True)
class Difference:
    """A figure then and now; ``ratio`` is now over then, ``None`` where there is none."""

    run: str
    figure: str
    then: float | None
    now: float | None

    @property
    def ratio(self) -> float | None:
        """Now over then."""
        if self.then is None or self.now is None or self.then <= 0:
            return None
        return self.now / self.then


def key(name: str, result: BenchmarkResult | Mapping[str, Any]) -> str:
    """Return the key that matches runs: the endpoint's name and its load."""
    shape = result.to_dict() if isinstance(result, BenchmarkResult) else result
    load = f"{shape['rate']:g} requests/s" if shape["rate"] else f"{shape['concurrency']} at a time"
    return f"{name}, {load}"


def save(path: Path, runs: Sequence[tuple[str, BenchmarkResult]]) -> None:
    """Write named runs to ``path``, in one move.

    Raises
    ------
    UsageError
        The file cannot be written.
    """
    shapes = [result.to_dict() | {"name": name} for name, result in runs]
    whole = {"format": FORMAT, "saved": datetime.now(UTC).isoformat(), "runs": shapes}
    scratch = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(whole, indent=1, default=vars) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="Name another file."
        ) from error


def load(path: Path) -> list[dict[str, Any]]:
    """Return the runs of a saved file.

    Raises
    ------
    UsageError
        There is no such file, or it holds no saved runs.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        if whole["format"] != FORMAT:
            raise ValueError(f"format {whole['format']!r}")
        runs: list[dict[str, Any]] = whole["runs"]
        for run in runs:
            lacking = NEEDED - run.keys()
            if lacking:
                raise ValueError(f"a run lacks {', '.join(sorted(lacking))}")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="Make one with --save FILE."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} holds no saved benchmark ({error})", hint="Make one with --save FILE."
        ) from error
    return runs


def compare(
    then: Sequence[Mapping[str, Any]], now: Sequence[tuple[str, BenchmarkResult]]
) -> tuple[list[Difference], list[str]]:
    """Return figure by figure what changed, and remarks on what cannot be compared.

    Runs are matched by name and load; a single run on either side is matched whatever it is.
    """
    before = {key(run["name"], run): run for run in then}
    single = len(then) == len(now) == 1
    differences: list[Difference] = []
    remarks: list[str] = []
    for name, result in now:
        label = key(name, result)
        old = then[0] if single else before.get(label)
        if old is None:
            remarks.append(f"The saved file has no run '{label}'.")
            continue
        new = result.to_dict()
        changed = [
            f"{setting} was {_said(old[setting])}, is {_said(new[setting])}"
            for setting in SETTINGS
            if old[setting] != new[setting]
        ]
        if changed:
            remarks.append(f"{label}: {'; '.join(changed)}: the runs are not alike.")
        for p in PERCENTILES:
            figure = f"p{p:g}"
            differences.append(
                Difference(
                    label,
                    f"{figure} ms",
                    old["latency_ms"].get(figure),
                    new["latency_ms"].get(figure),
                )
            )
        for figure in ("requests_per_second", "error_share"):
            differences.append(
                Difference(label, figure.replace("_", " "), old[figure], new[figure])
            )
    return differences, remarks


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:g}"
