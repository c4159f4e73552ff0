"""Collected traffic for tests, written by the collector itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from twinml_local.telemetry.collector import Collector, Payload

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0).timestamp()
HOUR = 3600.0


def collect(
    folder: Path,
    table: pd.DataFrame,
    *,
    moment: float = NOW,
    deployment: str = "blue",
    name: str = "r",
    labels: bool = False,
) -> None:
    """Write the rows as requests of ten rows each, one a second."""
    collector = Collector(folder, endpoint="shop", agent="test", file_bytes=10**6)
    rows = table.drop(columns="y").astype(object)
    rows = rows.where(rows.notna(), None)
    for number, start in enumerate(range(0, len(rows), 10)):
        part = rows.iloc[start : start + 10]
        yes = np.linspace(0.1, 0.9, len(part))
        collector.write(
            [
                Payload(
                    moment + number,
                    deployment,
                    "1",
                    f"{name}-{number}",
                    {column: part[column].tolist() for column in part},
                    "y",
                    ("no", "yes"),
                    np.where(yes > 0.4, "yes", "no").tolist(),
                    None if labels else np.column_stack([1 - yes, yes]),
                )
            ]
        )
