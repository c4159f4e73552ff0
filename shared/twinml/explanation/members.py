"""Why a row got its probability: what each feature added, in log-odds, by exact SHAP values.

=======================  ======================================================================
LightGBM, XGBoost,       TreeSHAP of their own (Lundberg et al., "From local explanations to
CatBoost                 global understanding with explainable AI for trees", Nature Machine
                         Intelligence 2020), in log-odds
HistGradientBoosting     TreeSHAP (``twinml.explanation.treeshap``), in log-odds
forests                  TreeSHAP of the probability, then stretched, all features of a row alike,
                         to sum to its log-odds: a forest has no other
logistic regression      what the feature adds, less the mean over training rows: exact, because
                         each of its columns comes from one feature
of the target's          as its kind has it, in logarithms, then stretched, all features of a row
logarithm                alike, to sum to the number: a product has no other sum
=======================  ======================================================================

For each of them, on every row, the base and the contributions add up to the member's score, which
is checked here. An ensemble's contributions are the mean of its members', weighted as in the
ensemble; ``share`` says how much of its weight is covered. The mean of log-odds is not the
log-odds of a voting ensemble's mean probability, so the sum explains the members and tends to, but
is not, the ensemble's log-odds.

A stack that is blended by boosting has TreeSHAP values of its blend, which add up to its log-odds:
those of features as they are, and those of a member's prediction passed on to the features in the
shares that the member's own values have (Chen, Lundberg, Lee, "Explaining a series of models by
propagating Shapley values", Nature Communications 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinml.errors import ModelError
from twinml.explanation import treeshap
from twinml.pages.wording import shorten
from twinml.training.encoded import encoded_columns
from twinml.training.learner import Explainer
from twinml.training.learners import LEARNERS, modules
from twinml.training.log_target import bounds_of, learned_inside
from twinml.training.tasks import predictions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TOLERANCE", "Explanation", "explain"]

LOG_ODDS = "log-odds"
TARGET_UNIT = "the target's unit"

Floats = NDArray[np.float64]

# XGBoost adds up its trees in 32 bits.
TOLERANCE = 1e-3
# A forest may be sure, and has no log-odds then.
LEAST = 1e-6
# Of the sizes that a member's values have: below it their sum is no measure of their shares.
LEAST_NET = 0.1
OWN, HISTOGRAM, FOREST, LINEAR = "own", "histogram", "forest", "linear"


@dataclass(frozen=True)
class Explanation:
    """What each feature added to the score of each row.

    Attributes
    ----------
    features
        Names of the p features, as the model was trained on them.
    classes
        The class whose score is explained: with two classes the second one, with more the one
        that the model predicts; length n.
    base
        Score before anything is known of the row, in log-odds, shape (n,).
    contributions
        Shape (n, p), in log-odds; positive makes the class more probable.
    score
        ``base`` plus the sum of the contributions, shape (n,).
    probability
        What the whole model gives that class, shape (n,).
    members
        Covered members by their share of the covered weight, which sums to 1.
    left_out
        Other members by their weight in the ensemble.
    share
        Weight of the covered members in the ensemble, 0 to 1.
    unit
        Of base, contributions and score. Of a regression the target's: there are no classes,
        ``probability`` is the predicted number, and it is the score where all is covered.
    """

    features: tuple[str, ...]
    classes: tuple[Any, ...]
    base: Floats
    contributions: Floats
    score: Floats
    probability: Floats
    members: Mapping[str, float]
    left_out: Mapping[str, float]
    share: float
    unit: str = LOG_ODDS

    def told(self, row: int, *, digits: int = 4, longest: int = 40) -> str:
        """Return what the model says of a row."""
        if not self.classes:
            return f"predicted {self.probability[row]:.{digits}f}"
        name = shorten(self.classes[row], longest)
        return f"P({name}) = {self.probability[row]:.{digits}f}"

    def covered(self) -> str:
        """Return in a sentence what the contributions cover."""
        named = ", ".join(f"{name} {weight:.0%}" for name, weight in self.members.items())
        if not self.left_out:
            return f"exact SHAP values of the whole model ({named})"
        other = ", ".join(f"{name} {weight:.0%}" for name, weight in self.left_out.items())
        return (
            f"exact SHAP values of members with {self.share:.0%} of the ensemble's weight "
            f"({named}); not covered: {other}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-able values, one object a row in ``rows``."""
        return {
            "unit": self.unit,
            "covered": self.covered(),
            "members": dict(self.members),
            "left_out": dict(self.left_out),
            "share": self.share,
            "rows": [
                {
                    **self._answer(row),
                    "base": float(self.base[row]),
                    "score": float(self.score[row]),
                    "contributions": dict(
                        zip(self.features, self.contributions[row].tolist(), strict=True)
                    ),
                }
                for row in range(len(self.base))
            ],
        }

    def _answer(self, row: int) -> dict[str, Any]:
        value = float(self.probability[row])
        if not self.classes:
            return {"prediction": value}
        return {"class": self.classes[row], "probability": value}

    def strongest(self, row: int, n: int = 5) -> list[tuple[str, float]]:
        """Return the ``n`` features that moved a row most, with their contributions."""
        order = np.argsort(-np.abs(self.contributions[row]))[:n]
        return [(self.features[place], float(self.contributions[row, place])) for place in order]


def explain(
    pipeline: Any, frame: pd.DataFrame, *, background: pd.DataFrame | None = None
) -> Explanation:
    """Explain what ``pipeline`` predicts for the rows of ``frame``.

    Parameters
    ----------
    pipeline
        As in a model directory that twinml trained: one encoding, then a learner, a vote or a
        stack of them, with or without a decision threshold.
    frame
        Raw features, n rows.
    background
        Training rows, of which a linear member needs the mean; without them it is left out.

    Raises
    ------
    ModelError
        The model has no member that can be explained, or is built otherwise.
    """
    whole = _thawed(pipeline)
    whole = _thawed(getattr(whole, "estimator_", whole))  # inside a decision threshold
    try:
        encode, model = whole.named_steps["encode"], whole.named_steps["model"]
        names = encoded_columns(encode.named_steps["columns"])
    except (AttributeError, KeyError) as error:
        raise ModelError(
            "the model is not built as twinml builds it, so its trees cannot be found",
            hint="Explain a model that twinml train made.",
        ) from error
    members = _members(model)
    known = None if background is None else _matrix(encode, background)
    usable = {
        name: one
        for name, one in members.items()
        if _kind(one) not in ((None, LINEAR) if known is None else (None,))
    }
    if not usable:
        raise ModelError(
            f"the model has no member that can be explained here: {', '.join(members)}",
            hint="Trees can be; a linear model with the training rows that are kept with it.",
        )
    X = _matrix(encode, frame)
    predicted = predictions(pipeline, frame)
    labels = list(getattr(pipeline, "classes_", ()))
    two = len(labels) == 2
    chosen = np.full(len(X), 1) if two else predicted.argmax(axis=1)
    rows = np.arange(len(X))

    def of_score(one: Any, given: Floats) -> Floats:
        values = member_values(one, given, len(labels) or 1, known)  # (n, scores, p + 1)
        return np.asarray(values[rows, 0 if two else chosen])

    parts = {name: of_score(member, X) for name, member in usable.items()}
    if getattr(_thawed(model), "passthrough", False):
        stack = _thawed(model)
        blend = of_score(_thawed(stack.final_estimator_), stack.transform(X))
        weights, base, contributions = _passed_on(list(members), parts, blend, X.shape[1])
        own = weights.pop("")
        total = own + sum(weights.values())
        covered = own + sum(weights[name] for name in usable)
    else:
        weights = _weights(model, list(members))
        total, own = sum(abs(weight) for weight in weights.values()), 0.0
        covered = sum(abs(weights[name]) for name in usable)
        # A stack may count a member negatively; a vote never does.
        shares = np.array([weights[name] / covered for name in parts])
        joined = np.tensordot(shares, np.stack(list(parts.values())), axes=1)
        base, contributions = joined[:, -1], joined[:, :-1]
        if not labels:
            # A blend of numbers is no mean: its coefficients need not sum to 1.
            scale, shift = sum(weights.values()), _intercept(model)
            base, contributions = base * scale + shift, contributions * scale
    # Parts of a date are one feature.
    features = list(dict.fromkeys(names))
    of_features = np.zeros((len(X), len(features)))
    for place, name in enumerate(names):
        of_features[:, features.index(name)] += contributions[:, place]
    return Explanation(
        features=tuple(features),
        classes=tuple(_plain(labels[place]) for place in chosen) if labels else (),
        base=base,
        contributions=of_features,
        score=base + contributions.sum(axis=1),
        probability=predicted[rows, chosen],
        members={name: abs(weights[name]) / covered for name in usable},
        left_out={
            name: abs(weight) / total for name, weight in weights.items() if name not in usable
        },
        share=covered / total,
        unit=LOG_ODDS if labels else TARGET_UNIT,
    )


def raw_scores(member: Any, X: Floats) -> Floats:
    """Return a member's scores, log-odds, shape (n, 1), or (n, k) for k > 2 classes.

    Of numbers the predictions, shape (n, 1).

    Of a forest and more than two classes, the logarithm of the probability.
    """
    own = _explainer(member)
    if (learned := learned_inside(member)) is not None:
        return _turned_back(member, raw_scores(learned, X))
    if own is not None:
        found = own.scores(member, X)
    elif _kind(member) == FOREST:
        found = predictions(member, X)
        return _log_odds(found) if hasattr(member, "classes_") else found
    else:
        found = _scores(member)(X)
    values = np.asarray(found, dtype=np.float64)
    return values.reshape(len(X), -1)


def _log_odds(probabilities: Floats) -> Floats:
    """Return log-odds of the second of two classes, shape (…, 1), or logarithms of all."""
    if probabilities.shape[-1] == 2:
        share = np.clip(probabilities[..., 1:], LEAST, 1 - LEAST)
        return np.asarray(np.log(share / (1 - share)))
    return np.asarray(np.log(np.clip(probabilities, LEAST, 1.0)))


def member_values(
    member: Any, X: Floats, n_classes: int, background: Floats | None = None
) -> Floats:
    """Return a member's SHAP values, shape (n, scores, p + 1), the base last.

    Parameters
    ----------
    member
        Of a kind that the module names.
    X, background
        Encoded rows, shapes (n, p) and (m, p).
    n_classes
        With two, or 1 for a number, there is one score, with k > 2 there are k.

    Raises
    ------
    ModelError
        They do not add up to the member's raw score.
    """
    kind, own = _kind(member), _explainer(member)
    scores = 1 if n_classes <= 2 else n_classes
    if (learned := learned_inside(member)) is not None:
        found = _of_logarithm(member, member_values(learned, X, n_classes, background))
    elif own is not None:
        found = own.contributions(member, X)
    elif kind == FOREST:
        found = _of_forest(member, X, n_classes)
    elif kind == HISTOGRAM:
        base, parts = treeshap.shap_values(treeshap.of_histogram(member), X)
        found = _joined(base + np.ravel(member._baseline_prediction), parts)
    else:
        found = _of_linear(member, X, X if background is None else background)
    values = np.asarray(found, dtype=np.float64).reshape(len(X), scores, X.shape[1] + 1)
    raw = raw_scores(member, X)
    if not np.allclose(values.sum(axis=2), raw, atol=TOLERANCE, rtol=TOLERANCE):
        worst = float(np.abs(values.sum(axis=2) - raw).max())
        raise ModelError(
            f"the contributions of {type(member).__name__} miss its raw score by {worst:.2g}",
            hint="This should not happen: please report it with the versions of the packages.",
        )
    return values


def _joined(base: Floats, parts: Floats) -> Floats:
    """Join a base, shape (k,) or (n, k), and contributions (n, p, k) to (n, k, p + 1)."""
    bases = np.broadcast_to(base, (len(parts), parts.shape[2]))
    return np.concatenate([parts.transpose(0, 2, 1), bases[:, :, None]], axis=2)


def _of_forest(member: Any, X: Floats, n_classes: int) -> Floats:
    # Its trees compare numbers of 32 bits.
    narrow = X.astype(np.float32).astype(np.float64)
    mean, parts = treeshap.shap_values(treeshap.of_forest(member), narrow)
    reached = mean + parts.sum(axis=1)
    if not np.allclose(reached, predictions(member, X), atol=TOLERANCE):
        raise ModelError(
            f"the contributions of {type(member).__name__} miss its prediction",
            hint="This should not happen: please report it with the versions of the packages.",
        )
    if n_classes == 1:
        return _joined(mean, parts)
    base, score = _log_odds(mean), _log_odds(reached)
    if n_classes == 2:
        mean, reached, parts = mean[1:], reached[:, 1:], parts[:, :, 1:]
    moved = reached - mean
    still = np.abs(moved) < 1e-9
    # Where nothing moved, the slope of the log-odds.
    slope = 1 / np.clip(mean * (1 - mean) if n_classes == 2 else mean, LEAST, None)
    stretch = np.where(still, slope, (score - base) / np.where(still, 1.0, moved))
    return _joined(base, parts * stretch[:, None, :])


def _of_logarithm(member: Any, values: Floats) -> Floats:
    """Return contributions to the logarithm, (n, 1, p + 1), as such to the number."""
    parts, start = values[:, 0, :-1], values[:, 0, -1]
    moved = parts.sum(axis=1)
    base = _turned_back(member, start)
    still = np.abs(moved) < 1e-9
    # Where nothing moved, the slope of the exponential function.
    gained = _turned_back(member, start + moved) - base
    stretch = np.where(still, np.exp(start), gained / np.where(still, 1.0, moved))
    return np.column_stack([parts * stretch[:, None], base])[:, None, :]


def _turned_back(member: Any, learned: Floats) -> Floats:
    bounds = bounds_of(member)
    assert bounds is not None, "_kind leaves out what turns back otherwise"
    return np.asarray(bounds.turned_back(learned))


def _of_linear(member: Any, X: Floats, background: Floats) -> Floats:
    """Return what each feature adds by itself: the score less that with the feature fixed."""

    def scores(rows: Floats) -> Floats:
        return np.asarray(_scores(member)(rows), dtype=np.float64).reshape(len(rows), -1)

    def without(rows: Floats, place: int) -> Floats:
        fixed = rows.copy()
        fixed[:, place] = background[0, place]
        return scores(fixed)

    whole, mean = scores(X), scores(background)
    parts = np.stack(
        [
            (whole - without(X, place)) - (mean - without(background, place)).mean(axis=0)
            for place in range(X.shape[1])
        ],
        axis=1,
    )
    return _joined(mean.mean(axis=0), parts)


def _scores(member: Any) -> Any:
    """Return a linear member's function of its scores."""
    return getattr(member, "decision_function", None) or member.predict


def _intercept(model: Any) -> float:
    final = getattr(_thawed(model), "final_estimator_", None)
    return 0.0 if final is None else float(np.ravel(_thawed(final)[-1].intercept_)[0])


def _matrix(encode: Any, frame: pd.DataFrame) -> Floats:
    return np.asarray(encode.transform(frame), dtype=np.float64)


def _members(model: Any) -> dict[str, Any]:
    """Return the members of a vote, a stack or a single learner."""
    model = _thawed(model)
    if not hasattr(model, "estimators"):
        return {type(model).__name__: model}
    fitted: Sequence[Any] = model.estimators_
    return {name: _thawed(one) for (name, _), one in zip(model.estimators, fitted, strict=True)}


def _weights(model: Any, names: Sequence[str]) -> dict[str, float]:
    """Return how the members of a vote or a stack, or a single learner, are weighted."""
    model = _thawed(model)
    given: Sequence[float] = [1.0] * len(names)
    if hasattr(model, "final_estimator_"):
        coefficients = np.atleast_2d(_thawed(model.final_estimator_)[-1].coef_)
        if coefficients.shape != (1, len(names)):
            raise ModelError(
                "a stack of more than two classes cannot be explained",
                hint="Explain a vote or a single learner of it.",
            )
        given = coefficients[0].tolist()
    elif getattr(model, "weights", None) is not None:
        given = model.weights
    return dict(zip(names, map(float, given), strict=True))


def _passed_on(
    names: Sequence[str], parts: Mapping[str, Floats], blend: Floats, n_features: int
) -> tuple[dict[str, float], Floats, Floats]:
    """Pass what a blend gives its members' predictions on to their features.

    Parameters
    ----------
    names
        Of all members, in the order of their columns.
    parts
        SHAP values of those that have some, (n, p + 1), the base last.
    blend
        SHAP values of the members' columns, the features and the base, (n, m + p + 1).

    Returns
    -------
    The mean size of what each member was given, and of the features' own under ``""``; the base
    (n,); and contributions (n, p).
    """
    said, direct = np.split(blend[:, :-1], [blend.shape[1] - 1 - n_features], axis=1)
    given = said.reshape(len(said), len(names), -1).sum(axis=2)
    weights = dict(zip(names, np.abs(given).mean(axis=0).tolist(), strict=True))
    contributions = direct.copy()
    for place, name in enumerate(names):
        if name in parts:
            contributions += given[:, place, None] * passed_shares(parts[name][:, :-1])
    return {**weights, "": float(np.abs(direct).sum(axis=1).mean())}, blend[:, -1], contributions


def passed_shares(values: Floats) -> Floats:
    """Return the shares of features in what a member adds, (n, p), each row summing to 1.

    Where what a member adds nearly cancels out, shares of the sum would be huge: there they are
    those of the sizes.

    Examples
    --------
    >>> passed_shares(np.array([[3.0, 1.0], [2.0, -1.0], [1.0, -1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [2.0, -1.0], [0.5, 0.5], [0.5, 0.5]]
    """
    sizes = np.abs(values)
    summed, size = values.sum(axis=1, keepdims=True), sizes.sum(axis=1, keepdims=True)
    even = np.full(values.shape, 1.0 / values.shape[1])
    by_size = np.divide(sizes, size, out=even, where=size > 0)
    signed = np.abs(summed) >= LEAST_NET * size
    found: Floats = np.divide(values, summed, out=by_size, where=signed & (size > 0))
    return found


def _thawed(estimator: Any) -> Any:
    """Return what a ``FrozenEstimator`` holds, or the estimator itself."""
    while type(estimator).__name__ == "FrozenEstimator":
        estimator = estimator.estimator
    return estimator


def _explainer(member: Any) -> Explainer | None:
    """Return the explainer of a member's own library, if it has one."""
    module = type(member).__module__.partition(".")[0]
    for learner in LEARNERS:
        if learner.explainer is not None and module == modules(learner.packages)[0]:
            return learner.explainer
    return None


def _kind(member: Any) -> str | None:
    """Return how a member is explained; ``None`` if it cannot be."""
    if (learned := learned_inside(member)) is not None:
        return None if bounds_of(member) is None else _kind(learned)
    if _explainer(member) is not None:
        return OWN
    if hasattr(member, "_predictors"):
        # Not those with categories of their own: they take columns in another order.
        return HISTOGRAM if getattr(member, "_preprocessor", None) is None else None
    if hasattr(member, "estimators_") and getattr(member, "n_outputs_", 0) == 1:
        return FOREST
    steps = getattr(member, "steps", ())
    return LINEAR if steps and hasattr(steps[-1][1], "coef_") else None


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
