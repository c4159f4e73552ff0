"""Search for a model, join the best, refit and estimate honestly: ``train``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml.training._budget import Progress
    from twinml.training._train import train
    from twinml.training.options import TrainingOptions, parse_seconds
    from twinml.training.result import (
        Candidate,
        Evaluation,
        FittedCandidate,
        Interval,
        TrainingResult,
        Trial,
    )

__all__ = [
    "Candidate",
    "Evaluation",
    "FittedCandidate",
    "Interval",
    "Progress",
    "TrainingOptions",
    "TrainingResult",
    "Trial",
    "parse_seconds",
    "train",
]

_MODULES = {
    "Progress": "_budget",
    "TrainingOptions": "options",
    "parse_seconds": "options",
    "train": "_train",
}


def __getattr__(name: str) -> Any:
    # A server that asks for the names of the learners' packages loads no learner.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'result')}"), name)
