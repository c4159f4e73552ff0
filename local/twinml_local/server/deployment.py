"""A loaded model behind its contract, and which of several answers a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twinml.contract import Contract, ScoringRequest
from twinml.errors import NotFound, PlatformUnavailable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Deployment", "Predictor", "choose", "load"]


class Predictor(Protocol):
    """What scores a frame whose columns and dtypes are those of the contract."""

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return labels, shape (n_rows,)."""
        ...

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return class probabilities, shape (n_rows, n_classes), in contract order."""
        ...


@dataclass(frozen=True)
class Deployment:
    """A model that answers under a name. ``model`` reads ``name:version``."""

    name: str
    contract: Contract
    predictor: Predictor = field(repr=False)
    model: str = ""
    digest: str = ""

    def predict(
        self, request: ScoringRequest
    ) -> tuple[Sequence[str | int | float | bool], NDArray[Any] | None]:
        """Return labels, or no labels but probabilities when the request asks for those."""
        frame = request.frame()
        if request.method == "predict":
            return self.predictor.predict(frame).tolist(), None
        return (), self.predictor.predict_proba(frame)


def load(name: str, directory: Path, *, model: str, digest: str) -> Deployment:
    """Load the model in ``directory`` as deployment ``name``.

    Raises
    ------
    ModelError
        The directory holds no model that this version can load.
    """
    # Here and not above: the model room pulls in MLflow, which an app with an
    # injected predictor can do without.
    from twinml.model import load_contract, load_predictor

    return Deployment(
        name=name,
        contract=load_contract(directory),
        predictor=load_predictor(directory),
        model=model,
        digest=digest,
    )


def choose(
    traffic: Mapping[str, int], deployments: Sequence[str], *, wanted: str | None, point: float
) -> str:
    """Return the deployment that answers.

    Parameters
    ----------
    traffic
        Per cent by deployment name; they need not add up to 100.
    deployments
        Names of those that are loaded.
    wanted
        The one that the request names, if it does.
    point
        Uniform in [0, 1).

    Raises
    ------
    NotFound
        There is no deployment called ``wanted``.
    PlatformUnavailable
        No deployment has any traffic.

    Examples
    --------
    >>> choose({"blue": 90, "green": 10}, ["blue", "green"], wanted=None, point=0.95)
    'green'
    >>> choose({"blue": 100}, ["blue", "green"], wanted="green", point=0.0)
    'green'
    """
    if wanted is not None:
        if wanted not in deployments:
            raise NotFound(
                f"there is no deployment '{wanted}'",
                hint=f"Deployed: {', '.join(sorted(deployments)) or 'none'}.",
            )
        return wanted
    shares = {name: traffic[name] for name in deployments if traffic.get(name, 0) > 0}
    reach = point * sum(shares.values())
    for name, share in shares.items():
        if reach < share:
            return name
        reach -= share
    if shares:  # rounding carried the point past the last share
        return next(reversed(shares))
    raise PlatformUnavailable(
        "no deployment of this endpoint has traffic",
        hint="Name one in the header azureml-model-deployment, or give one traffic.",
    )
