"""``twinml deploy``: serve a registered model."""

from __future__ import annotations

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, keeps
from twinml.cli._types import DEPLOYMENT, ENDPOINT, MODEL

__all__ = ["command"]


@click.command()
@click.option(
    "--model", "reference", type=MODEL, required=True, metavar="NAME[/VERSION|@ALIAS]",
    help="What to serve.",
)  # fmt: skip
@click.option("--endpoint", type=ENDPOINT, metavar="NAME",
              help="Where [default: made from the model's name].")  # fmt: skip
@click.option("--name", "deployment", type=DEPLOYMENT, default="blue", show_default=True,
              help="The deployment.")  # fmt: skip
@click.option("--all-traffic", is_flag=True, help="Send it all requests once it is ready.")
@click.option(
    "--strict/--lenient",
    default=None,
    help="Refuse what Azure ML would refuse or answer otherwise, or only say so in the header "
    "x-twinml-azure [default: as the endpoint was].",
)
@on_option
@json_option
@errors_in_one_line
def command(
    reference: str,
    endpoint: str | None,
    deployment: str,
    all_traffic: bool,
    strict: bool | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Deploy a registered model to an endpoint, by default its champion.

    An endpoint's first deployment gets all its traffic, a further one none until it is given
    some (twinml traffic). Deploying under a name that exists changes over without losing a
    request; to go back, deploy the earlier version.
    """
    from twinml.platform import ModelReference, endpoint_name, load
    from twinml.platform.abilities import IsStrict, able
    from twinml.registry.tracking import Tracking

    keeps("The endpoint serves what it served before.")
    platform = load(platform_name)
    if strict is not None:
        able(platform, IsStrict, "set: it takes what it takes", "Leave --strict out.")  # type: ignore[type-abstract]
    version = Tracking(platform.tracking_uri).resolve(ModelReference.parse(reference))
    info = platform.deploy(
        version, endpoint=endpoint or endpoint_name(version.name), deployment=deployment
    )
    if isinstance(platform, IsStrict) and strict is not None:
        platform.be_strict(info.name, strict)
    if all_traffic:
        info = platform.set_traffic(info.name, {deployment: 100})
    text = (
        f"{version.reference} answers at {info.scoring_uri} as {deployment} "
        f"with {info.traffic.get(deployment, 0)} % of the traffic"
    )
    note = info.notes.get(deployment)
    emit(info, as_json=as_json, text=f"{text}\n{note}" if note else text)
