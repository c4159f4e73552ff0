"""Deploy the challenger beside the champion, with a share of the traffic or a copy of it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from twinml.pipeline.steps._command import NONE, read_json, say, step, write_json

__all__ = ["command"]


@click.command()
@click.option("--registration", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--endpoint", default=NONE, help="Where; 'none' deploys nothing.")
@click.option("--mode", type=click.Choice(["traffic", "mirror"]), default="traffic")
@click.option("--percent", type=click.IntRange(0, 100), default=10)
@click.option("--deployed", type=click.Path(path_type=Path), required=True, help="Output.")
@step
def command(registration: Path, endpoint: str, mode: str, percent: int, deployed: Path) -> None:
    """Deploy what was registered, on the platform that ``TWINML_PLATFORM`` names."""
    facts = read_json(registration)
    result: dict[str, object] = {"endpoint": None, "deployment": None}
    if endpoint == NONE:
        reason = "no endpoint was named"
    elif not facts["registered"]:
        reason = "nothing was registered"
    else:
        from twinml.platform import ModelReference, load
        from twinml.registry.promotion import propose
        from twinml.registry.tracking import Tracking

        version = Tracking().resolve(ModelReference(facts["model"], facts["version"]))
        proposal = propose(
            load(os.environ.get("TWINML_PLATFORM", "local")),
            version,
            endpoint=endpoint,
            percent=percent,
            mirror=mode == "mirror",
        )
        result = proposal.to_dict()
        reason = proposal.reason
    write_json(deployed, {**result, "reason": reason})
    say(reason)


if __name__ == "__main__":
    command()
