"""Loaded models, how the traffic goes to them, and which of them answers a request."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.contract import Contract, ScoringRequest, example, parse, render
from twinml.contract.dialects import DEFAULT
from twinml.errors import ModelError, NotFound, PlatformUnavailable, TwinmlError
from twinml_local.compiled import CompiledModel, NotCovered
from twinml_local.compiled import load as load_compiled
from twinml_local.server.deployments._microbatching import Batches, Predictor, predict_alone
from twinml_local.server.deployments.ood import OODLater
from twinml_local.server.state import ServerSettings

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "Deployment",
    "PipelineLater",
    "Predictor",
    "Serving",
    "check",
    "choose",
    "load",
    "mirrored",
    "prove",
]


class PipelineLater:
    """The pipeline of a model, loaded when it is first asked.

    Loading it imports scikit-learn, pandas and the learners: seconds, and hundreds of
    megabytes, that a model with a compiled form does not need.

    Parameters
    ----------
    directory, digest
        The model directory, and what its files must be.
    """

    def __init__(self, directory: Path, digest: str) -> None:
        self._directory = directory
        self._digest = digest
        self._lock = threading.Lock()
        self._pipeline: Predictor | None = None

    @property
    def loaded(self) -> Predictor:
        """The pipeline, from now on if not yet."""
        if self._pipeline is None:
            with self._lock:
                if self._pipeline is None:
                    from twinml.model import load_predictor

                    self._pipeline = load_predictor(self._directory, self._digest)
        return self._pipeline

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return labels, shape (n_rows,)."""
        return self.loaded.predict(frame)

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return class probabilities, shape (n_rows, n_classes), in contract order."""
        return self.loaded.predict_proba(frame)


@dataclass(frozen=True)
class Deployment:
    """A model that answers under a name.

    Attributes
    ----------
    name
        Of the deployment.
    contract
        What its requests are checked against.
    predictor
        The pipeline, which defines every prediction.
    model
        Reads ``name:version``.
    digest
        Of the model.
    compiled
        Gives the pipeline's predictions faster, or says that it does not cover a request.
    batches
        Predicts several requests in one call of the pipeline, where there is no compiled form.
    ood
        Tells how unlike the training rows a request's rows are.
    """

    name: str
    contract: Contract
    predictor: Predictor = field(repr=False)
    model: str = ""
    digest: str = ""
    compiled: CompiledModel | None = field(default=None, repr=False)
    batches: Batches | None = field(default=None, repr=False)
    ood: OODLater | None = field(default=None, repr=False)

    @property
    def gathers(self) -> bool:
        """Whether requests find each other in ``predict``: then they must not take turns."""
        return self.batches is not None

    def predict(
        self, request: ScoringRequest, *, wait: bool = True
    ) -> tuple[Sequence[str | int | float | bool], NDArray[Any] | None]:
        """Return labels or numbers, or none but the probabilities or bounds that are asked for.

        Raises
        ------
        NotCovered
            The compiled form does not score this request, and not ``wait`` forbids the pipeline.
        """
        intervals = self.contract.intervals
        if request.method == "predict_interval" and intervals is not None:
            numbers, _ = self.predict(replace(request, method="predict"), wait=wait)
            return (), intervals.bounds(numbers, request.level)
        if self.compiled is not None:
            try:
                labels, probabilities = self.compiled.predict_columns(
                    request.columns, request.n_rows
                )
            except NotCovered:
                if not wait:
                    raise
            else:
                return (labels, None) if request.method == "predict" else ((), probabilities)
        if self.batches is not None:
            return self.batches.predict(request)
        return predict_alone(self.predictor, request)


@dataclass(frozen=True)
class Serving:
    """All that decides how a request is answered, at one moment.

    A request takes it once and keeps it: what changes meanwhile is for the next one.

    Attributes
    ----------
    endpoint
        Its name.
    deployments
        Loaded models by deployment name.
    traffic, mirror
        Per cent of the requests by deployment name, and of copies of them.
    keys
        Any of them opens ``/score`` and ``/invocations``.
    settings
        Limits.
    failed
        Why deployments are not served, by their names.
    """

    endpoint: str
    deployments: Mapping[str, Deployment]
    traffic: Mapping[str, int]
    keys: Sequence[str] = field(repr=False)
    mirror: Mapping[str, int] = field(default_factory=dict)
    settings: ServerSettings = field(default_factory=ServerSettings)
    failed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key_bytes(self) -> tuple[bytes, ...]:
        """The keys, to compare with what a request offers."""
        return tuple(key.encode() for key in self.keys)

    @cached_property
    def sole(self) -> Deployment | None:
        """The deployment that has all the traffic, where one has."""
        shared = [name for name in self.deployments if self.traffic.get(name, 0) > 0]
        return self.deployments[shared[0]] if len(shared) == 1 else None

    def chosen(self, wanted: str | None, point: float) -> Deployment:
        """Return the deployment that answers; see ``choose``."""
        if wanted is None and self.sole is not None:
            return self.sole
        if wanted in self.failed:
            raise PlatformUnavailable(
                f"deployment '{wanted}' did not load", hint="Its log has the reason: twinml logs."
            )
        names = tuple(self.deployments)
        return self.deployments[choose(self.traffic, names, wanted=wanted, point=point)]


def load(
    name: str,
    directory: Path,
    *,
    model: str,
    digest: str,
    compiled: str = "",
    form: str = "",
    batched: bool = False,
    threads: int = 1,
) -> Deployment:
    """Load the model in ``directory`` as deployment ``name``.

    Parameters
    ----------
    name
        Of the deployment.
    directory
        The model directory.
    model, digest
        As in ``Deployment``; files that are not those of the digest are not loaded.
    compiled, form
        Where its compiled form is, and the digest of that; without one the pipeline is loaded
        at once.
    batched
        Whether the pipeline gives the same bits in batches.
    threads
        How many may share the rows of a long request, where a compiled form scores it.

    Raises
    ------
    ModelError
        The files are not those of ``digest``, this version cannot load them, or the compiled
        form is not the one that was verified for that model.
    """
    # Here and not above: an app with an injected predictor can do without.
    from twinml.model import load_contract

    contract = load_contract(directory)
    pipeline = PipelineLater(directory, digest)
    walked = batches = None
    if compiled:
        walked = load_compiled(Path(compiled), digest=digest, form=form)
        walked.threads = min(threads, os.cpu_count() or 1)
        _warm(walked, contract)
    else:
        _ = pipeline.loaded
        batches = Batches(pipeline) if batched else None
    return Deployment(name, contract, pipeline, model, digest, walked, batches, OODLater(directory))


def check(endpoint: str, name: str, directory: Path, *, model: str, digest: str) -> None:
    """Refuse a model whose files are not those that were deployed, whatever form serves it.

    Raises
    ------
    ModelError
        It was changed; the message names the model and both digests.
    """
    from twinml.model import check_digest

    try:
        check_digest(directory, digest)
    except (TwinmlError, ValueError) as error:
        reason = error.message if isinstance(error, TwinmlError) else type(error).__name__
        raise ModelError(
            f"{model}: {reason}",
            hint=f"Fetch it anew: twinml deploy --model {model.replace(':', '/')} "
            f"--endpoint {endpoint} --name {name}.",
        ) from error


def _warm(form: CompiledModel, contract: Contract) -> None:
    """Score the contract's samples, so that the first request finds code and memory in place."""
    body = json.dumps({"data": list(contract.samples)}).encode()
    request = parse(contract, body, content_type="application/json", route="score")
    with contextlib.suppress(NotCovered):
        form.predict_columns(request.columns, request.n_rows)


def prove(deployment: Deployment) -> None:
    """Score an example of the contract, from the request's bytes to the reply's.

    Raises
    ------
    ModelError
        The deployment cannot do that.
    """
    contract = deployment.contract
    try:
        body = json.dumps(example(contract, DEFAULT.key, n=1)).encode()
        request = parse(contract, body, content_type="application/json", route="score")
        render(contract, request, *deployment.predict(request))
    except Exception as error:  # whatever a model may raise
        reason = error.message if isinstance(error, TwinmlError) else type(error).__name__
        raise ModelError(
            f"{deployment.model} cannot score an example of its own contract: {reason}",
            hint="The endpoint's log has the reason: twinml logs.",
        ) from error


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
    target, reached = point * sum(shares.values()), 0
    for name, share in shares.items():
        reached += share
        if target < reached:
            return name
    raise PlatformUnavailable(
        "no deployment of this endpoint has traffic",
        hint="Name one in the header azureml-model-deployment, or give one traffic.",
    )


def mirrored(mirror: Mapping[str, int], deployments: Sequence[str], *, point: float) -> str | None:
    """Return the deployment that gets a copy of a request, if any does.

    Parameters
    ----------
    mirror
        Per cent by deployment name, together at most 100.
    deployments
        Names of those that are loaded.
    point
        Uniform in [0, 1), another one than ``choose`` was given.

    Examples
    --------
    >>> mirrored({"green": 20}, ["blue", "green"], point=0.1)
    'green'
    >>> mirrored({"green": 20}, ["blue", "green"], point=0.3) is None
    True
    """
    reached = 0
    for name, share in mirror.items():
        reached += share
        if point * 100 < reached:
            return name if name in deployments else None
    return None
