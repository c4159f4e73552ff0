"""Register the new model if it is better than the champion, and say why or why not."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.pipeline.steps._command import folder_in, read_json, say, step, write_json

__all__ = ["command"]


@click.command()
@click.option("--model", type=folder_in, required=True, help="From the step train.")
@click.option("--training", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--evaluation", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--registration", type=click.Path(path_type=Path), required=True, help="Output.")
@step
def command(model: Path, training: Path, evaluation: Path, registration: Path) -> None:
    """Register a better model as challenger, the first one of its name as champion."""
    from twinml.model import digest
    from twinml.registry.tracking import Tracking

    facts, judged = read_json(training), read_json(evaluation)
    # What is registered is what was trained: the digest covers all that predictions need.
    digest(model)
    result = {
        "model": facts["name"],
        "version": None,
        "registered": False,
        "alias": None,
        "reason": judged["reason"],
        "digest": facts["digest"],
        "run_id": facts["run_id"],
        "metric": judged["metric"],
        "candidate": judged["candidate"],
        "champion": judged["champion"],
        "champion_version": judged["champion_version"],
    }
    if judged["better"]:
        tracking = Tracking()
        # Without a metric nothing is crowned: that takes a promotion.
        version = tracking.register(facts["name"], run_id=facts["run_id"], digest=facts["digest"])
        tracking.client.set_model_version_tag(
            version.name, version.version, "twinml.reason", judged["reason"][:5000]
        )
        result |= {
            "version": version.version,
            "registered": True,
            "alias": next(iter(version.aliases), None),
        }
        say(f"registered {version.reference} ({', '.join(version.aliases)})")
    else:
        say(f"not registered: {judged['reason']}")
    write_json(registration, result)


if __name__ == "__main__":
    command()
