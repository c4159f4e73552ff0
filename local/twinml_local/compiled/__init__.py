"""Compiled scoring."""
from twinml_local.compiled._errors import NotCovered, Refusal
from twinml_local.compiled._model import CompiledModel, load
