"""Search spaces of sweeps: what a job says of its hyperparameters, read, and values drawn.

Pure: the same space, algorithm and seed give the same values, so that a sweep that was
interrupted goes on with the trials that it had.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azureml_emulator.errors import ArmError

__all__ = ["ALGORITHMS", "Distribution", "draw", "read_space"]

ALGORITHMS = ("random", "grid", "bayesian")
Scalar = str | int | float | bool

# The names that the two shapes of a job's body have for the same arguments, in order.
_ARGUMENTS = {
    "choice": ("values",),
    "uniform": ("min_value", "max_value"),
    "loguniform": ("min_value", "max_value"),
    "quniform": ("min_value", "max_value", "q"),
    "qloguniform": ("min_value", "max_value", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
    "randint": ("upper",),
}


@dataclass(frozen=True)
class Distribution:
    """What one hyperparameter may be: a kind, such as ``uniform``, and its arguments."""

    kind: str
    arguments: tuple[Any, ...]

    def sample(self, source: random.Random) -> Scalar:
        """Return one value."""
        if self.kind == "choice":
            return _scalar(source.choice(self.arguments[0]))
        if self.kind == "randint":
            return source.randrange(int(self.arguments[0]))
        plain = self.kind.removeprefix("q").removeprefix("log")
        first, second, *quantum = (float(argument) for argument in self.arguments)
        drawn: Callable[[float, float], float]
        drawn = source.uniform if plain == "uniform" else source.gauss
        value = drawn(first, second)
        if "log" in self.kind:
            value = math.exp(value)
        return round(value / quantum[0]) * quantum[0] if quantum else value


def read_space(space: Mapping[str, Any]) -> dict[str, Distribution]:
    """Return the distributions of a search space.

    Parameters
    ----------
    space
        ``{"lr": ["uniform", [0.1, 1]]}`` as a job has it, or
        ``{"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}}`` as a pipeline does.

    Raises
    ------
    ArmError
        A distribution is unknown, or lacks an argument.

    Examples
    --------
    >>> read_space({"lr": ["uniform", [0.1, 1]]})
    {'lr': Distribution(kind='uniform', arguments=(0.1, 1))}
    """
    if not space:
        raise ArmError(400, "ValidationError", "The sweep's search space is empty.")
    return {name: _distribution(name, item) for name, item in space.items()}


def draw(
    space: Mapping[str, Distribution], algorithm: str, most: int, seed: str
) -> list[dict[str, Scalar]]:
    """Return the values of each trial, ``most`` at most: a grid may have fewer.

    Bayesian sampling is random sampling here.

    Examples
    --------
    >>> space = read_space({"a": ["choice", [[1, 2]]], "b": ["choice", [["x"]]]})
    >>> draw(space, "grid", 10, "seed")
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'}]
    >>> draw(space, "random", 3, "seed") == draw(space, "random", 3, "seed")
    True
    """
    if algorithm == "grid":
        return list(itertools.islice(_grid(space), most))
    # Not for secrets: it has to give the same values again.
    source = random.Random(seed)  # noqa: S311
    return [{name: one.sample(source) for name, one in space.items()} for _ in range(most)]


def _grid(space: Mapping[str, Distribution]) -> Iterator[dict[str, Scalar]]:
    for name, distribution in space.items():
        if distribution.kind != "choice":
            raise ArmError(
                400,
                "ValidationError",
                f"Grid sampling takes 'choice' alone; '{name}' is '{distribution.kind}'.",
            )
    columns = [[_scalar(value) for value in one.arguments[0]] for one in space.values()]
    for row in itertools.product(*columns):
        yield dict(zip(space, row, strict=True))


def _distribution(name: str, item: Any) -> Distribution:
    if isinstance(item, Mapping):
        kind = str(item.get("type", "")).lower().replace("_", "")
        found = [item.get(argument) for argument in _ARGUMENTS.get(kind, ())]
    elif isinstance(item, Sequence) and len(item) == 2 and isinstance(item[0], str):
        kind = item[0].lower().replace("_", "")
        found = list(item[1])
    else:
        raise ArmError(400, "ValidationError", f"'{name}' of the search space is no distribution.")
    if kind not in _ARGUMENTS:
        kinds = ", ".join(_ARGUMENTS)
        raise ArmError(
            400, "ValidationError", f"'{name}' has the distribution '{kind}', not one of {kinds}."
        )
    wanted = _ARGUMENTS[kind]
    if len(found) != len(wanted) or None in found or (kind == "choice" and not found[0]):
        raise ArmError(
            400, "ValidationError", f"'{name}' ({kind}) of the search space needs {wanted}."
        )
    return Distribution(kind, tuple(found))


def _scalar(value: Any) -> Scalar:
    return value if isinstance(value, str | int | float | bool) else str(value)
