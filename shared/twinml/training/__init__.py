"""Search for a model, join the best, refit and estimate honestly: ``train``."""

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
from twinml.training.search import Progress

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
