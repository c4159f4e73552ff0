"""Pipelines: what they are (``definition``) and the default one.

The REST client of their jobs is in ``twinml.pipeline.client``.
"""

from twinml.pipeline.default import training_pipeline
from twinml.pipeline.definition import (
    InputType,
    PipelineDefinition,
    PipelineInput,
    PipelineStep,
)

__all__ = [
    "InputType",
    "PipelineDefinition",
    "PipelineInput",
    "PipelineStep",
    "training_pipeline",
]
