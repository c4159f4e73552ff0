"""Which feature each column of the encoded matrix comes from."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer

__all__ = ["encoded_columns"]


def encoded_columns(columns: ColumnTransformer) -> list[str]:
    """Return for each column of the encoded matrix the feature that it comes from.

    Parameters
    ----------
    columns
        Fitted: the first step of ``encoder``.
    """
    names: list[str] = []
    for name, _, chosen in columns.transformers_:
        place = columns.output_indices_[name]
        width = place.stop - place.start
        names += [chosen] * width if isinstance(chosen, str) else [str(one) for one in chosen]
    return names
