"""``twinml service``: have systemd start what is deployed here, and start it again."""

from __future__ import annotations

import click

from twinml.cli._output import console, emit, errors_in_one_line, json_option
from twinml.platform import load
from twinml.platform.abilities import InstallsServices, able

__all__ = ["command"]


@click.group("service", short_help="Have systemd start what is deployed here, and again.")
def command() -> None:
    """Have systemd start the endpoints of this machine and the pipeline service, and again.

    What is deployed later needs another twinml service install.
    """


@command.command("install")
@click.option("--print", "printed", is_flag=True, help="Only print the units.")
@json_option
@errors_in_one_line
def install(printed: bool, as_json: bool) -> None:
    """Write a user unit for each endpoint and the pipeline service, and start them.

    Where systemd's user manager does not answer, the units are printed. They start with the
    machine, and not only with a session, after: loginctl enable-linger
    """
    platform = able(load("local"), InstallsServices, WHAT)  # type: ignore[type-abstract]
    if printed or not platform.has_service_manager():
        if not printed:
            console().print(NO_MANAGER)
        units = platform.service_units()
        text = "\n".join(f"# {name}\n{unit}" for name, unit in units.items())
        emit({"units": units, "installed": []}, as_json=as_json, text=text or NOTHING)
        return
    names = platform.install_services()
    text = "\n".join(f"systemd runs {name}" for name in names) or NOTHING
    emit({"units": platform.service_units(), "installed": names}, as_json=as_json, text=text)


@command.command("uninstall")
@json_option
@errors_in_one_line
def uninstall(as_json: bool) -> None:
    """End and remove the units of this home; endpoints, pipelines and jobs are kept."""
    platform = able(load("local"), InstallsServices, WHAT)  # type: ignore[type-abstract]
    names = platform.uninstall_services()
    text = "\n".join(f"removed {name}" for name in names) or "there were no units of this home"
    emit({"removed": names}, as_json=as_json, text=text)


NO_MANAGER = (
    "systemd's user manager does not answer: nothing was installed. These are the units, for "
    "~/.config/systemd/user or another supervisor:"
)
WHAT = "install as services"
NOTHING = "nothing is deployed here; to begin: twinml run"
