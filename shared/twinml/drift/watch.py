"""One look at a live endpoint: whether it is asked what its champion learned from.

``python -m twinml.drift.watch --endpoint NAME --since TIME`` prints the answer as JSON, for a
service that wants the work done in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import click

from twinml.errors import TwinmlError, UsageError

__all__ = ["Finding", "look"]


@dataclass(frozen=True)
class Finding:
    """What a look found; ``says`` is a sentence, ``moved`` whether it calls for a training."""

    moved: bool
    says: str


def look(platform_name: str, endpoint: str, since: datetime | None) -> Finding:
    """Compare the collected traffic since a moment with the champion's training rows.

    The champion is the deployment with most of the traffic; what a challenger was asked counts
    as well, because it is the same world.

    Raises
    ------
    NotFound
        There is no such endpoint, or nothing was collected.
    UsageError
        The platform does not keep traffic where it can be read.
    """
    from twinml import drift
    from twinml.model import load_contract, load_reference
    from twinml.platform import ModelReference, load
    from twinml.platform.abilities import able
    from twinml.registry.model_files import fetch_model
    from twinml.registry.tracking import Tracking
    from twinml.traffic.collected import CollectsTraffic, read

    on = load(platform_name)
    platform = able(
        on,
        CollectsTraffic,  # type: ignore[type-abstract]
        "collect traffic with",
        "Download the data collector's folder and compare it: twinml drift --collected DIR.",
    )
    info = on.endpoint_info(endpoint)
    if not any(info.traffic.values()):
        raise UsageError(f"no deployment of endpoint '{endpoint}' has traffic")
    champion = max(info.traffic, key=lambda name: info.traffic[name])
    model = ModelReference.parse(info.deployments[champion])
    tracking = Tracking()
    with tempfile.TemporaryDirectory() as scratch:
        place = fetch_model(tracking, tracking.resolve(model), Path(scratch) / "model")
        names = list(load_contract(place).column_names)
        before = load_reference(place)[names]
    rows = read(platform.collected(endpoint), since=since).frame()
    found = drift.compare(before, rows)
    psi = {one.feature: one.psi for one in found.features}
    worst = sorted(found.drifted, key=lambda name: -psi[name])
    shown = ", ".join(f"{name} (PSI {psi[name]:.2f})" for name in worst[:3])
    more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
    says = (
        f"{shown}{more} drifted over {found.n_current:,} rows asked of {endpoint}, against the "
        f"training rows of {model}"
        if worst
        else found.verdict()
    )
    return Finding(bool(worst), says)


@click.command()
@click.option("--endpoint", required=True)
@click.option("--since", type=datetime.fromisoformat, help="ISO 8601 with a time zone.")
@click.option("--on", "platform_name", default="local", show_default=True)
def command(endpoint: str, since: datetime | None, platform_name: str) -> None:
    """Print whether the traffic of ENDPOINT moved, and the sentence that says so, as JSON."""
    try:
        click.echo(json.dumps(asdict(look(platform_name, endpoint, since))))
    except TwinmlError as error:
        click.echo(json.dumps({"error": error.message}))
        sys.exit(1)


if __name__ == "__main__":
    command()
