"""``twinml rehearse``: the workflow for Azure, against an emulator on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._output import console, emit, errors_in_one_line, json_option, keeps, program
from twinml.cli._training import DataOptions, data_options, training_options
from twinml.errors import PlatformError
from twinml.platform.abilities import TRAIN_HERE, Rehearses, able

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training import TrainingOptions

__all__ = ["command"]

REHEARSAL, REFERENCE = "rehearsal", "local"


@click.command(short_help="Run the workflow for Azure against an emulator on this machine.")
@data_options
@training_options
@click.option(
    "--train",
    default=TRAIN_HERE,
    show_default=True,
    metavar="WHERE",
    help="Who trains: local, job or automl, as in twinml run.",
)
@click.option(
    "--pipeline/--no-pipeline",
    "pipeline",
    default=True,
    show_default=True,
    help="Publish and run the pipeline, as in twinml run.",
)
@click.option(
    "--rows",
    default="1000",
    show_default=True,
    metavar="N|all",
    help="Rows to compare with this machine's endpoint.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="RULE",
    help="Let the emulator fail, such as 'PUT */onlineEndpoints/* 429 once'.",
)
@click.option("--fresh", is_flag=True, help="Forget what was rehearsed before.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave the emulator running: verbs take --on rehearsal until twinml stop.",
)
@json_option
@errors_in_one_line
def command(
    source: DataOptions,
    train: str,
    pipeline: bool,
    rows: str,
    faults: tuple[str, ...],
    fresh: bool,
    keep: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Rehearse a run on Azure: the unmodified Azure SDK, an emulator, and a comparison.

    The emulator is started, and a child process is pointed at it by environment variables alone.
    It runs all steps of twinml run --on azure; then the same rows go to its endpoint and to one
    on this machine, and every difference is explained. Nothing is sent to a real cloud.
    """
    from twinml.platform import load
    from twinml.training import TrainingOptions

    wanted = TrainingOptions.parse(**options)
    dataset = source.load(wanted.split_column)
    platform = able(load(REHEARSAL), Rehearses, "rehearse")  # type: ignore[type-abstract]
    began = marked = time.monotonic()
    phases: dict[str, float] = {}

    def ended(phase: str) -> None:
        nonlocal marked
        now = time.monotonic()
        phases[phase], marked = now - marked, now

    keeps("Steps that ended are kept by the emulator; the same command goes on from there.")
    try:
        with console().status("starting the emulator"):
            platform.begin(fresh=fresh, faults=faults)
        ended("start the emulator")
        words = _words(source, options)
        ran = _child(
            "run",
            "--on",
            platform.rehearsed,
            "--train",
            train,
            *(() if pipeline else ("--no-pipeline",)),
            *words,
        )
        ended("run")
        compared = None
        if train != "automl":
            with console().status("serving the same model on this machine"):
                endpoint = _serve_here(dataset, wanted)
            ended("serve it here")
            compared = _child(
                *("compare", REFERENCE, platform.rehearsed, "--endpoint", endpoint),
                *("--rows", rows, "--adversarial"),
                *(("--data", source.data) if source.data else ()),
                may_fail=True,
            )
            ended("compare")
    finally:
        if not keep:
            platform.stop()
            ended("stop the emulator")
    seconds = time.monotonic() - began
    passes = compared is None or bool(compared.get("passes"))
    emit(
        {
            "passes": passes,
            "seconds": seconds,
            "phases": phases,
            "run": ran,
            "comparison": compared,
            "kept": keep,
        },
        as_json=as_json,
        text=_summary(ran, compared, seconds, phases, keep),
    )
    if not passes:
        raise SystemExit(1)


def _words(source: DataOptions, options: dict[str, Any]) -> list[str]:
    """Return the options of this call for the child."""
    words = source.words()
    for option, value in options.items():
        if value not in (None, ""):
            words += [f"--{option.replace('_', '-')}", str(value)]
    return words


def _child(*words: str, may_fail: bool = False) -> dict[str, Any]:
    """Run a verb in a process of its own; its progress is shown, its result returned."""
    done = subprocess.run(
        [sys.executable, "-m", "twinml", *words, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise PlatformError(
            f"twinml {words[0]} ended with {done.returncode} and without a result",
            hint="What it said is above.",
        ) from None
    if "error_code" in result or (done.returncode and not may_fail):
        raise PlatformError(
            f"twinml {words[0]}: {result.get('message', 'failed')}", hint=result.get("hint")
        )
    return result


def _serve_here(dataset: Dataset, options: TrainingOptions) -> str:
    """Deploy the model of the same run on this machine, unless it is; returns the endpoint."""
    from twinml.platform import endpoint_name, load
    from twinml.registry import training_run
    from twinml.registry.tracking import Tracking
    from twinml.workflow import DEPLOYMENT

    done = training_run.run(dataset, options, Tracking())
    local = load(REFERENCE)
    version = local.register_model(done.directory, name=dataset.name, run_id=done.run_id)
    name = endpoint_name(version.name)
    local.deploy(version, endpoint=name, deployment=DEPLOYMENT)
    return name


def _summary(
    ran: dict[str, Any],
    compared: dict[str, Any] | None,
    seconds: float,
    phases: dict[str, float],
    keep: bool,
) -> str:
    call = program()
    lines = ["", f"Rehearsed all {len(ran['steps'])} steps in {seconds:.0f} s."]
    spent = ", ".join(f"{phase} {took:.0f} s" for phase, took in phases.items())
    longest = sorted(ran["steps"], key=lambda step: -float(step["seconds"]))[:3]
    steps = ", ".join(f"{step['number']} {step['seconds']:.0f} s" for step in longest)
    lines += [f"  Time       {spent}", f"             the longest steps of the run: {steps}"]
    if compared is not None:
        lines += [
            f"  Compared   {compared['verdict']}",
            f"  Labels     {compared['same_labels']:,} of {compared['scored']:,} agree, "
            f"|Δp| at most {compared['max_change']:.3g}",
            *(f"  Cause      {cause}: {n:,} rows" for cause, n in compared["causes"].items()),
            f"  Page       {compared['page']}",
        ]
    if keep:
        lines += [
            f"  Running    try {call} score --on rehearsal --sample 3, or any verb",
            f"  End it     {call} stop",
        ]
    else:
        lines.append(f"  Look round {call} rehearse --keep, then any verb with --on rehearsal")
    lines += [
        "  Next       az login, and config.json of your workspace; then",
        f"             {call} check --on azure",
        f"             {call} run --on azure --plan, and without --plan",
    ]
    return "\n".join(lines)
