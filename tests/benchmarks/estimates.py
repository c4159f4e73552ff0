"""Is the estimate without labels honest? ``make bench-estimates`` (half a minute).

Bank marketing rows: a model learns from some, and the others come month by month. In the order of
time, where the concept drifts, the estimate is not to claim that it knows; in an order drawn by
chance it is to know, and to be right. Labels of a month are told once it is over.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from twinml import drift
from twinml.data import bundled, load
from twinml.drift.estimated import TOLERANCE, estimate, roc_auc


def main() -> None:
    """Print a line for each order and target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learn", type=int, default=15_000, help="rows that are learned from")
    parser.add_argument("--rows", type=int, default=1_500, help="rows of a month")
    given = parser.parse_args()
    frame = load(bundled(), "y").frame
    shuffled = frame.sample(frac=1.0, random_state=0)
    print(f"{'order':<10} {'target':<10} {'classes':>7} {'months':>6} {'known':>6} {'right':>6}  "
          f"right of all  worst of known")  # fmt: skip
    for order, rows, target in (
        ("by chance", shuffled, "y"),
        ("by chance", shuffled, "marital"),
        ("by chance", shuffled, "education"),
        ("in time", frame, "y"),
        ("in time", frame, "marital"),
    ):
        found = measured(rows, target, learn=given.learn, rows=given.rows)
        known = [gap for knows, gap in found if knows]
        right = sum(abs(gap) <= TOLERANCE for gap in known)
        whole = sum(abs(gap) <= TOLERANCE for _, gap in found)
        worst = f"{max(map(abs, known)):.3f}" if known else "–"
        print(f"{order:<10} {target:<10} {frame[target].nunique():>7} {len(found):>6} "
              f"{len(known):>6} {right:>6}  {whole:>12}  {worst:>14}")  # fmt: skip


def measured(
    frame: pd.DataFrame, target: str, *, learn: int, rows: int
) -> Sequence[tuple[bool, float]]:
    """Return for each month whether the estimate knows, and by how much it was off."""
    features, labels = frame.drop(columns=target), frame[target]
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_include=object),
        ),
        remainder="passthrough",
    )
    booster = HistGradientBoostingClassifier(early_stopping=True, random_state=0)
    model: Any = make_pipeline(encode, booster).fit(features[:learn], labels[:learn])
    classes = list(model.classes_)
    found: list[tuple[bool, float]] = []
    gap, margin = None, 0.0
    for start in range(learn, len(frame) - rows + 1, rows):
        now = features[start : start + rows]
        given = model.predict_proba(now)
        drifted = drift.compare(features[:learn], now).drifted
        told = estimate(given, drifted=drifted, last_gap=gap, last_margin=margin)
        truth = np.eye(len(classes))[
            [classes.index(label) for label in labels[start : start + rows]]
        ]
        gap, margin = roc_auc(given, truth) - told.roc_auc, told.margin
        found.append((told.knows, gap))
    return found


if __name__ == "__main__":
    main()
