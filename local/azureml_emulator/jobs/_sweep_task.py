"""What a sweep is to do, read from a job's body or from a node of a pipeline. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._search_space import ALGORITHMS, Distribution, draw, read_space
from azureml_runner.engine import CommandNode, Input, Literal

__all__ = ["SweepTask", "read_sweep"]

# Trials are processes of this machine; without a limit the service takes 1000.
MOST_TRIALS = 1000
FEW_TRIALS = 20
_SEARCHED = re.compile(r"\$\{\{\s*search_space\.([\w-]+)\s*\}\}")


@dataclass(frozen=True)
class SweepTask:
    """A sweep that can be run.

    Attributes
    ----------
    trial
        The command, which takes the searched values as inputs.
    space
        What is searched, by the input's name.
    most_trials, most_at_once
        How many trials there are, and how many at the same time.
    seconds
        When no further trial starts and those that run are ended; ``None`` for never.
    remarks
        What differs from the service in a way that may matter.
    """

    trial: CommandNode
    space: Mapping[str, Distribution]
    algorithm: str
    metric: str
    maximise: bool
    most_trials: int
    most_at_once: int
    seconds: float | None
    remarks: tuple[str, ...]

    def values(self, seed: str) -> list[dict[str, str | int | float | bool]]:
        """Return the values of each trial."""
        return draw(self.space, self.algorithm, self.most_trials, seed)

    def node(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> CommandNode:
        """Return the command of one trial: drawn ``values`` and what the sweep was ``given``."""
        known = {name: Literal(value) for name, value in values.items()}
        return replace(self.trial, values={**given, **known})


def read_sweep(
    spec: Mapping[str, Any],
    trial: CommandNode,
    *,
    seconds: float | None,
    trial_seconds: float | None,
) -> SweepTask:
    """Return the sweep that a body asks for.

    Parameters
    ----------
    spec
        With names in either spelling: ``searchSpace`` or ``search_space``.
    trial
        The command of a trial; ``${{search_space.x}}`` in it is an input from here on.
    seconds, trial_seconds
        The limits of time.

    Raises
    ------
    ArmError
        Something is missing, unknown, or not a search space.
    """
    space = read_space(_either(spec, "search_space") or {})
    # What names something else than the space has is an error of each trial, as on the service.
    command = _SEARCHED.sub(
        lambda match: f"${{{{inputs.{match[1]}}}}}" if match[1] in space else match[0],
        trial.command,
    )
    objective = spec.get("objective") or {}
    metric, goal = _either(objective, "primary_metric"), str(objective.get("goal") or "").lower()
    if not metric or goal not in ("maximize", "minimize"):
        raise ArmError(
            400,
            "ValidationError",
            "A sweep's objective needs a primary metric and the goal Maximize or Minimize.",
        )
    limits = spec.get("limits") or {}
    algorithm, remarks = _algorithm(spec), list[str]()
    if algorithm == "bayesian":
        remarks.append("Bayesian sampling is not there: values are drawn at random.")
    if _either(spec, "early_termination"):
        remarks.append("The early termination policy is not applied: every trial runs to its end.")
    given = _either(limits, "max_total_trials")
    if given is None:
        remarks.append(f"The sweep has no max_total_trials: {FEW_TRIALS} trials are made.")
    most = _count(given or FEW_TRIALS, "max_total_trials")
    if not 1 <= most <= MOST_TRIALS:
        raise ArmError(400, "ValidationError", f"max_total_trials is {most}, not 1 to 1000.")
    inputs = {**trial.inputs}
    for name in space:
        # A component says of what type the input is; a job does not.
        inputs[name] = inputs.get(name) or Input("string")
    task = SweepTask(
        replace(trial, command=command, inputs=inputs, timeout_seconds=trial_seconds),
        space,
        algorithm,
        str(metric),
        goal == "maximize",
        most,
        _count(_either(limits, "max_concurrent_trials") or most, "max_concurrent_trials"),
        seconds,
        tuple(remarks),
    )
    if algorithm == "grid":
        task.values("")  # whatever makes it impossible is said now
    return task


def _count(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ArmError(
            400, "ValidationError", f"{name} is '{str(value)[:80]}', not a whole number."
        ) from None


def _algorithm(spec: Mapping[str, Any]) -> str:
    found = _either(spec, "sampling_algorithm") or "random"
    if isinstance(found, Mapping):
        found = found.get("samplingAlgorithmType") or found.get("type") or ""
    algorithm = str(found).lower()
    if algorithm not in ALGORITHMS:
        raise ArmError(
            400,
            "ValidationError",
            f"The sampling algorithm '{found}' is not one of {', '.join(ALGORITHMS)}.",
        )
    return algorithm


def _either(item: Mapping[str, Any], name: str) -> Any:
    head, *rest = name.split("_")
    return item.get(name, item.get(head + "".join(part.title() for part in rest)))
