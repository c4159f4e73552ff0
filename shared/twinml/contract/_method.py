"""Which method a request asks for, wherever it says so; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from twinml.contract._words import kind, shown
from twinml.contract.intervals import DEFAULT_LEVEL, PredictionIntervals
from twinml.errors import PayloadError

__all__ = ["METHODS", "METHOD_KEYS", "Method", "level_of", "method_of"]

Method: TypeAlias = Literal["predict", "predict_proba", "predict_interval"]
# What each method gives, in words.
METHODS: dict[Method, str] = {
    "predict": "predictions",
    "predict_proba": "probabilities",
    "predict_interval": "intervals",
}

# Members of a body that may name a method, in the order in which they are read.
PARAMETERS = ("GlobalParameters", "params")
METHOD_KEYS = ("method", "level", *PARAMETERS)


def method_of(
    document: Mapping[str, Any], known: Sequence[Method] = ("predict", "predict_proba")
) -> Method:
    """Return the method that a body asks for beside its rows.

    ``GlobalParameters`` counts more than ``method``, and ``params`` more than both. A member
    that is null, or parameters without ``method``, leave it to the others; a method of null
    stands for ``predict``. A number as ``GlobalParameters`` is ignored, as Azure's script does.

    Raises
    ------
    PayloadError
        One of them names a method that the model does not have, whether it would count or not, or
        is not an object.

    Examples
    --------
    >>> method_of({"method": "predict", "params": {"method": "predict_proba"}})
    'predict_proba'
    """
    method = _named(document.get("method"), known)
    for place in PARAMETERS:
        parameters = document.get(place)
        if parameters is None:
            continue
        if type(parameters) is dict:
            if "method" in parameters:
                method = _named(parameters["method"], known)
        elif place == "params" or type(parameters) not in (int, float):
            raise PayloadError(
                f"'{place}' is {kind(parameters)}, expected an object",
                hint=f'Send {{"{place}": {{"method": "{known[-1]}"}}}}, or leave it out.',
            )
    return method


def _named(asked: Any, known: Sequence[Method]) -> Method:
    if asked is None:
        return "predict"
    for method in known:
        if asked == method:
            return method
    raise PayloadError(
        f"the method is {shown(asked)}, expected {' or '.join(map(repr, known))}",
        hint="Leave the method out for "
        f"{'labels' if 'predict_proba' in known else 'the predictions themselves'}.",
    )


def level_of(document: Mapping[str, Any], intervals: PredictionIntervals | None) -> float:
    """Return the share of rows that intervals are to hold: ``level``, where a method may stand.

    Raises
    ------
    PayloadError
        It is no number between 0 and 1, or more than the model's residuals can tell.

    Examples
    --------
    >>> level_of({"params": {"method": "predict_interval", "level": 0.8}}, None)
    0.8
    """
    level: Any = document.get("level")
    for place in PARAMETERS:
        parameters = document.get(place)
        if type(parameters) is dict and parameters.get("level") is not None:
            level = parameters["level"]
    if level is None:
        level = DEFAULT_LEVEL
    if type(level) not in (int, float) or not 0 < level < 1:
        raise PayloadError(
            f"the level is {shown(level)}, expected a number between 0 and 1",
            hint='Send {"params": {"method": "predict_interval", "level": 0.9}}.',
        )
    if intervals is not None and level > intervals.highest_level:
        raise PayloadError(
            f"the level is {level}, at most {intervals.highest_level:.4g} can be told from the "
            f"{len(intervals.scores):,} residuals that the model keeps",
            hint="Ask for a lower level.",
        )
    return float(level)
