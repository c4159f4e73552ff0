"""The model: an MLflow model directory that loads without twinml and FLAML."""

from twinml.model._custom_scoring import CustomScorer, as_signed, values_of
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
    "CustomScorer",
    "LoadedModel",
    "Scorer",
    "as_signed",
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
    "values_of",
]
