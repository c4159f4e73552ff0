"""The model: an MLflow model directory that loads without twinml and FLAML."""

from twinml.model._directory import (
    check_digest,
    digest,
    load_contract,
    load_measured,
    load_predictor,
    load_reference,
    metadata,
    packages,
    requirements,
    save,
)
from twinml.model._loaded import LoadedModel
from twinml.model._scoring import Scorer

__all__ = [
    "LoadedModel",
    "Scorer",
    "check_digest",
    "digest",
    "load_contract",
    "load_measured",
    "load_predictor",
    "load_reference",
    "metadata",
    "packages",
    "requirements",
    "save",
]
