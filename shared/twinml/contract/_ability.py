"""What cannot be done with a model whose answers its own code makes."""

from __future__ import annotations

from twinml.errors import UsageError

__all__ = ["refuse_custom"]


def refuse_custom(custom: bool, verb: str) -> None:
    """Refuse a verb that needs probabilities or numbers, where the answers may be anything.

    Raises
    ------
    UsageError
        The model is a custom one.
    """
    if custom:
        raise UsageError(
            f"the model has code of its own, and its answers may be anything: {verb} needs "
            "probabilities or numbers",
            hint="deploy, score, batch, benchmark, compare, drift and export work with it. For "
            f"{verb}, import the classifier or the regressor itself.",
        )
