"""Change the faults of an emulator that runs: ``python -m azureml_emulator.faults RULE``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import requests

from azureml_emulator.faults.rule import EFFECTS, GRAMMAR

__all__ = ["main"]

EPILOG = (
    "\b\nA rule is\n  {grammar}\nwith the effect a status from 400 to 599, or\n{effects}".format(
        grammar=GRAMMAR, effects="\n".join(f"  {name:20} {text}" for name, text in EFFECTS.items())
    )
)


@click.command(name="azureml_emulator.faults", epilog=EPILOG)
@click.argument("rules", nargs=-1)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".azureml-emulator"),
    show_default=True,
    help="The state folder of the emulator.",
)
@click.option("--clear", is_flag=True, help="Remove all rules first.")
@click.option("--json", "as_json", is_flag=True, help="Print the rules in force as JSON.")
def main(rules: tuple[str, ...], directory: Path, clear: bool, as_json: bool) -> None:
    """Add fault RULES to an emulator that runs, and show those in force."""
    address = f"{_address(directory)}/faults"
    with requests.Session() as session:
        # Straight to the emulator, whatever proxy this shell is pointed at.
        session.trust_env = False
        try:
            if clear:
                session.delete(address, timeout=10)
            for rule in rules:
                answer = session.post(address, json={"rule": rule}, timeout=10)
                if not answer.ok:
                    raise click.ClickException(answer.json()["error"]["message"])
            found = session.get(address, timeout=10).json()
        except requests.ConnectionError as error:
            raise click.ClickException(
                f"no emulator runs on {directory}: python -m azureml_emulator"
            ) from error
    if as_json:
        click.echo(json.dumps(found))
        return
    for item in found["faults"]:
        click.echo(f"{item['rule']}   struck {item['struck']} of {item['seen']}")
    if not found["faults"]:
        click.echo("no faults are set", err=True)


def _address(directory: Path) -> str:
    try:
        variables = json.loads((directory / "environment.json").read_text(encoding="utf-8"))
        return str(variables["HTTPS_PROXY"])
    except (OSError, ValueError, KeyError) as error:
        raise click.ClickException(
            f"there is no emulator's state in {directory}; name its folder: --directory."
        ) from error


if __name__ == "__main__":
    main()
