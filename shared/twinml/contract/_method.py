"""Which method a request asks for, wherever it says so; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from twinml.contract._words import kind, shown
from twinml.errors import PayloadError

__all__ = ["METHOD_KEYS", "Method", "method_of"]

Method: TypeAlias = Literal["predict", "predict_proba"]

# Members of a body that may name a method, in the order in which they are read.
PARAMETERS = ("GlobalParameters", "params")
METHOD_KEYS = ("method", *PARAMETERS)


def method_of(document: Mapping[str, Any]) -> Method:
    """Return the method that a body asks for beside its rows.

    ``GlobalParameters`` counts more than ``method``, and ``params`` more than both. A member
    that is null, or parameters without ``method``, leave it to the others; a method of null
    stands for ``predict``. A number as ``GlobalParameters`` is ignored, as Azure's script does.

    Raises
    ------
    PayloadError
        One of them names a method that there is not, whether it would count or not, or is not
        an object.

    Examples
    --------
    >>> method_of({"method": "predict", "params": {"method": "predict_proba"}})
    'predict_proba'
    """
    method = _named(document.get("method"))
    for place in PARAMETERS:
        parameters = document.get(place)
        if parameters is None:
            continue
        if type(parameters) is dict:
            if "method" in parameters:
                method = _named(parameters["method"])
        elif place == "params" or type(parameters) not in (int, float):
            raise PayloadError(
                f"'{place}' is {kind(parameters)}, expected an object",
                hint=f'Send {{"{place}": {{"method": "predict_proba"}}}}, or leave it out.',
            )
    return method


def _named(asked: Any) -> Method:
    if asked is None or asked == "predict":
        return "predict"
    if asked == "predict_proba":
        return "predict_proba"
    raise PayloadError(
        f"the method is {shown(asked)}, expected 'predict' or 'predict_proba'",
        hint="Leave the method out for labels.",
    )
