"""Why a model is not compiled, and why a request is not scored by a compiled one."""

from __future__ import annotations

from twinml.errors import ModelError

__all__ = ["NotCovered", "Refusal"]


class Refusal(ModelError):
    """The model cannot be compiled, or the compiled form differs from it; the pipeline serves."""


class NotCovered(Exception):
    """The pipeline has to answer this request: it holds what the compiled form does not take."""
