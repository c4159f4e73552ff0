"""Measures a signal of an Azure ML monitor: ``python -m twinml_local.jobs.monitoring FOLDER``.

``FOLDER/request.json`` says what: the signal, its thresholds, where the production and the
reference data are, and of which time. ``FOLDER/output`` gets ``metrics.json``, a row for each
feature and metric,. The figures are those of ``twinml.drift``; the distances
that Azure has beside them are taken from the same histograms and values.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.errors import DataError, TwinmlError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.drift import FeatureDrift

__all__ = ["Metric", "is_beyond", "measure", "read_rows"]

# The smaller, the less likely is chance: a value below its threshold is an alarm.
P_VALUES = {"TwoSampleKolmogorovSmirnovTest", "PearsonsChiSquaredTest"}
TARGET_NAMES = ("prediction_column", "target_column", "prediction", "target")
KINDS = {"numeric": "Numerical", "categorical": "Categorical"}


@dataclass(frozen=True)
class Metric:
    """A figure of a feature; ``beyond`` says whether it is an alarm."""

    feature_name: str
    data_type: str
    metric_name: str
    metric_value: float
    threshold_value: float | None
    beyond: bool


def is_beyond(metric: str, value: float, threshold: float | None) -> bool:
    """Return whether a value is an alarm: above its threshold, a p-value below it.

    Examples
    --------
    >>> is_beyond("PopulationStabilityIndex", 0.2, 0.1), is_beyond("NullValueRate", 0.0, 0.0)
    (True, False)
    >>> is_beyond("PearsonsChiSquaredTest", 0.01, 0.05)
    True
    """
    if threshold is None:
        return False
    return value < threshold if metric in P_VALUES else value > threshold


def read_rows(place: Path, window: Sequence[str] | None) -> pd.DataFrame:
    """Return rows: what a data collector wrote in a window of time, or a table.

    Parameters
    ----------
    place
        A folder of CloudEvents in JSON lines; an MLTable folder, a data file, or a folder of them.
    window
        Begin and end in ISO 8601, of events alone; the end itself is within.

    Raises
    ------
    DataError
        There is nothing.
    """
    import pandas as pd

    from twinml_local.jobs.automl.mltable import read_table

    files = sorted(place.rglob("*.jsonl")) if place.is_dir() else [place]
    events = [event for path in files if path.suffix == ".jsonl" for event in _events(path)]
    if not events:
        return read_table(place)
    rows = [
        row
        for event in events
        if window is None or _is_within(str(event["time"]), window)
        for row in event["data"]
    ]
    if not rows:
        raise DataError(
            f"nothing was collected from {window[0]} to {window[1]}"
            if window
            else "nothing was collected",
            hint="Score with the deployment, or choose another window.",
        )
    return pd.DataFrame(rows)


def _events(path: Path) -> list[dict[str, Any]]:
    found = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if not isinstance(event, dict) or "specversion" not in event:
                return []
            found.append(event)
    return found


def _is_within(time: str, window: Sequence[str]) -> bool:
    begin, end = (datetime.fromisoformat(text) for text in window)
    return begin < datetime.fromisoformat(time) <= end


def measure(
    request: Mapping[str, Any], production: pd.DataFrame, reference: pd.DataFrame
) -> list[Metric]:
    """Return the figures that a signal asks for.

    Parameters
    ----------
    request
        ``signal`` (DataDrift, DataQuality, PredictionDrift), ``thresholds``, ``features``,
        ``columns`` and ``overrides``.

    Raises
    ------
    DataError
        The production data has none of the columns.
    """
    from twinml.drift import compare

    if request["signal"] == "PredictionDrift":
        production, reference = _predictions(request["columns"], production, reference)
    features = _features(request, production, reference)
    numeric = [name for name in features if _is_numeric(reference[name])]
    errors = {}
    kept, before = production[features].copy(), reference[features].copy()
    for name in features:
        kept[name], errors[name] = _typed(kept[name], name in numeric)
        if request["overrides"].get(name) == "Categorical":
            kept[name], before[name] = (part[name].map(_text) for part in (kept, before))
    report = compare(before, kept)
    found = []
    for one in report.features:
        kind = KINDS[one.kind]
        for asked in request["thresholds"]:
            if asked["type"] != kind:
                continue
            metric, threshold = asked["metric"], asked["value"]
            if metric == "DataTypeErrorRate":
                value = errors[one.feature]
            else:
                value = FIGURES[metric](one, before[one.feature], kept[one.feature])
            beyond = is_beyond(metric, value, threshold)
            found.append(Metric(one.feature, kind, metric, value, threshold, beyond))
    return found


def _features(
    request: Mapping[str, Any], production: pd.DataFrame, reference: pd.DataFrame
) -> list[str]:
    asked = request["features"]
    left = set(request["columns"]["reference"].values())
    if request["signal"] == "PredictionDrift":
        left = set()
    wanted = [str(name) for name in reference.columns if name not in left]
    if asked is not None:
        wanted = [name for name in wanted if name in asked]
    both = [name for name in wanted if name in production]
    if not both:
        raise DataError(
            "the production data has none of the columns of the reference data",
            hint=f"It has: {', '.join(map(str, production.columns))}.",
        )
    return both


def _predictions(
    columns: Mapping[str, Mapping[str, str]], production: pd.DataFrame, reference: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both with the predictions alone, under the reference's name of them."""
    name = _named(columns["reference"])
    if name is None or name not in reference:
        raise DataError(
            f"the reference data has no column of predictions{f' {name!r}' if name else ''}",
            hint="Name it: data_column_names={'target_column': …}.",
        )
    given = _named(columns["production"])
    candidates = [given] if given else [name, *production.columns[: len(production.columns) == 1]]
    found = next((each for each in candidates if each in production), None)
    if found is None:
        raise DataError(
            f"the production data has no column of predictions, '{candidates[0]}'",
            hint=f"It has: {', '.join(map(str, production.columns))}.",
        )
    return production[[found]].set_axis([name], axis=1), reference[[name]]


def _named(columns: Mapping[str, str]) -> str | None:
    return next((columns[name] for name in TARGET_NAMES if columns.get(name)), None)


def _is_numeric(values: pd.Series[Any]) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(values) and not is_bool_dtype(values)


def _typed(values: pd.Series[Any], numeric: bool) -> tuple[pd.Series[Any], float]:
    """Return values as numbers, where they should be, and the share of those that are none."""
    import pandas as pd

    if not numeric:
        return values, 0.0
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers, float((numbers.isna() & values.notna()).mean())


def _text(value: Any) -> Any:
    return value if value is None or value != value else str(value)


def _distance(one: FeatureDrift, *_: Any) -> float:
    """Return the Jensen-Shannon distance of the two histograms, 0 to 1."""
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(one.reference, one.current, base=2))


def _wasserstein(one: FeatureDrift, before: pd.Series[Any], after: pd.Series[Any]) -> float:
    """Return the Wasserstein distance in standard deviations of the reference."""
    from scipy.stats import wasserstein_distance

    spread = float(before.std())
    distance = float(wasserstein_distance(before.dropna(), after.dropna()))
    return distance / spread if spread else distance


Figure = Callable[["FeatureDrift", "pd.Series[Any]", "pd.Series[Any]"], float]
FIGURES: Mapping[str, Figure] = {
    "JensenShannonDistance": _distance,
    "NormalizedWassersteinDistance": _wasserstein,
    "NullValueRate": lambda one, *_: one.null_current,
    "OutOfBoundsRate": lambda one, *_: one.outside,
    "PearsonsChiSquaredTest": lambda one, *_: one.p_value,
    "PopulationStabilityIndex": lambda one, *_: one.psi,
    "TwoSampleKolmogorovSmirnovTest": lambda one, *_: one.p_value,
}


def main(folder: Path) -> None:
    """Measure what ``request.json`` asks for, and write ``output``."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    windows = request["windows"]
    production, reference = (
        read_rows(Path(request[role]), windows[role]) for role in ("production", "reference")
    )
    found = measure(request, production, reference)
    out = folder / "output"
    out.mkdir(exist_ok=True)
    rows = [vars(metric) for metric in found]
    (out / "metrics.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    beyond = sum(metric.beyond for metric in found)
    click.echo(
        f"{request['signal']}: {len(production):,} rows against {len(reference):,}; "
        f"{len(found)} figures, {beyond} beyond their thresholds"
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except TwinmlError as error:
        sys.exit(" ".join(filter(None, (error.message, error.hint))))
