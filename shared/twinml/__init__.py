"""One workflow, two platforms, one proof.

The package that both sides run: data, contract, training, model, endpoint client,
workflow and the command line. It imports neither ``twinml_local`` nor ``twinml_azure``;
platforms are found through the entry-point group ``twinml.platforms``.

What a notebook needs is here by name, and imported when it is first asked for::

    data       load_data, bundled, Dataset, Contract
    training   train, TrainingOptions, TrainingResult, TrainedModel
    models     Tracking, ModelReference, ModelVersion, load_predictor, load_contract, explain
    platforms  load_platform, Platform, Endpoint, Workflow
    errors     TwinmlError and its subclasses
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twinml.settings import __version__

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.data import Dataset, bundled
    from twinml.data import load as load_data
    from twinml.endpoint import Endpoint
    from twinml.errors import (
        DataError,
        EndpointError,
        ModelError,
        NotFound,
        PayloadError,
        PlatformError,
        PlatformUnavailable,
        TrainingError,
        TwinmlError,
        UsageError,
    )
    from twinml.explanation.members import explain
    from twinml.model import load_contract, load_predictor
    from twinml.platform import ModelReference, ModelVersion, Platform, TrainedModel
    from twinml.platform import load as load_platform
    from twinml.registry.tracking import Tracking
    from twinml.training import TrainingOptions, TrainingResult, train
    from twinml.workflow import Workflow

__all__ = [
    "Contract",
    "DataError",
    "Dataset",
    "Endpoint",
    "EndpointError",
    "ModelError",
    "ModelReference",
    "ModelVersion",
    "NotFound",
    "PayloadError",
    "Platform",
    "PlatformError",
    "PlatformUnavailable",
    "Tracking",
    "TrainedModel",
    "TrainingError",
    "TrainingOptions",
    "TrainingResult",
    "TwinmlError",
    "UsageError",
    "Workflow",
    "__version__",
    "bundled",
    "explain",
    "load_contract",
    "load_data",
    "load_platform",
    "load_predictor",
    "train",
]

# Where a name is; it is an error where nothing else is said.
_MODULES = {
    "Contract": "contract",
    "Dataset": "data",
    "Endpoint": "endpoint",
    "ModelReference": "platform",
    "ModelVersion": "platform",
    "Platform": "platform",
    "Tracking": "registry.tracking",
    "TrainedModel": "platform",
    "TrainingOptions": "training",
    "TrainingResult": "training",
    "Workflow": "workflow",
    "bundled": "data",
    "explain": "explanation.members",
    "load_contract": "model",
    "load_data": "data",
    "load_platform": "platform",
    "load_predictor": "model",
    "train": "training",
}
_NAMES = {"load_data": "load", "load_platform": "load"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, _NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
