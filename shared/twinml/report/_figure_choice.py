"""Chooses the pictures that fit a training result, and says in words what each shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from twinml.pages.figure import Picture
from twinml.pages.wording import counted, number, percent, quantity, shorten
from twinml.report import _figures as figures
from twinml.report import _regression as regression
from twinml.report._figures import Curve, Line
from twinml.report._held_out import predicts_numbers
from twinml.report._measures import Measure, measure, ordered, rows_name, split_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twinml.data import Dataset
    from twinml.training.result import Candidate, Dependence, Evaluation, TrainingResult

__all__ = ["draw"]


def draw(result: TrainingResult, dataset: Dataset) -> dict[str, Picture]:
    """Return the pictures by file name without its ending; those that cannot be are left out.

    A curve needs rows of both kinds; a matrix of more than ``MAX_CONFUSION_CLASSES``
    classes could not be read.
    """
    pictures = {"splits": _splits(result), "leaderboard": _leaderboard(result)}
    of_task = regression.pictures if predicts_numbers(result) else _of_classes
    pictures |= of_task(result)
    if len(result.importance):
        pictures["importance"] = _importance(result)
    pictures |= {
        f"dependence_{place}": _dependence(result, each)
        for place, each in enumerate(result.dependence, 1)
    }
    return pictures


def _of_classes(result: TrainingResult) -> dict[str, Picture]:
    pictures: dict[str, Picture] = {}
    curves = [curve for curve in _curves(result) if curve.drawable]
    if curves:
        pictures["roc"] = _roc(result, curves)
        pictures["pr"] = _precision_recall(result, curves)
        pictures["gain"] = _gain(result, curves)
        if result.contract.task == "binary":
            pictures["lift"] = _lift(result, curves)
    pictures["calibration"] = _calibration(result)
    for name, found in (("confusion", result.test), ("confusion_forward", result.forward)):
        if found is not None and len(result.contract.classes) <= figures.MAX_CONFUSION_CLASSES:
            pictures[name] = _confusion(result, found)
    pictures["scores"] = _scores(result)
    return pictures


def estimates(result: TrainingResult) -> list[tuple[str, Evaluation]]:
    """Return the main estimate and, where there is one, the forward-in-time one, by name."""
    found = [(split_name(result.test), result.test)]
    if result.forward is not None:
        found.append((split_name(result.forward), result.forward))
    return found


def _splits(result: TrainingResult) -> Picture:
    shown: list[Measure] = []
    for each in ordered(result.test.metrics, first=result.metric):
        values = [found.metrics[each.name].value for _, found in estimates(result)
                  if each.name in found.metrics]  # fmt: skip
        if each.higher_is_better and all(0 <= v <= 1 or math.isnan(v) for v in values):
            shown.append(each)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{each.label} {_value(found, each)}" for each in shown)
        for name, found in estimates(result)
    )
    return Picture(
        figures.splits(shown, estimates(result)),
        f"Estimates with 95% intervals beside the baseline. {told}.",
        "Dots are estimates, bars their 95% intervals, grey ticks the baseline on the same rows.",
    )


def _value(found: Evaluation, each: Measure) -> str:
    value = found.metrics.get(each.name)
    return number(value.value if value else None)


def _leaderboard(result: TrainingResult) -> Picture:
    chosen_by = measure(result.metric)
    told = ", ".join(
        f"{each.name} {number(each.metrics.get(result.metric), 4)}"
        for each in result.leaderboard[: figures.MAX_BARS]
    )
    lines = [
        Line(each.name, each.metrics.get(result.metric, math.nan), *_ends(each))
        for each in result.leaderboard
    ]
    bars = (
        "Bars are 95% intervals. All candidates are judged on the same rows, so a difference is "
        "surer than the bars look; one that is small beside them may be chance."
        if any(math.isfinite(line.low) for line in lines)
        else "A difference that is small beside the interval of the estimate may be chance."
    )
    return Picture(
        figures.leaderboard(lines, chosen_by, result.test.baseline.get(result.metric)),
        f"{chosen_by.label} of the candidates, out of fold: {told}.",
        f"The axis begins where the candidates do, not at 0. {bars}",
    )


def _ends(candidate: Candidate) -> tuple[float, float]:
    found = candidate.interval
    return (found.low, found.high) if found else (math.nan, math.nan)


def _curves(result: TrainingResult) -> list[Curve]:
    if result.contract.task == "binary":
        return [
            Curve(name, found.labels == 1, found.probabilities[:, 1], _mark(found))
            for name, found in estimates(result)
        ]
    found = result.test
    rows = np.bincount(found.labels, minlength=len(result.contract.classes))
    common = sorted(np.argsort(-rows, kind="stable")[: figures.MAX_CURVES].tolist())
    return [
        Curve(str(result.contract.classes[k]), found.labels == k, found.probabilities[:, k])
        for k in common
    ]


def _mark(found: Evaluation) -> tuple[float, float, float] | None:
    (tn, fp), (fn, tp) = found.confusion.tolist()
    if not (tn + fp and fn + tp and fp + tp):
        return None
    return fp / (tn + fp), tp / (fn + tp), tp / (fp + tp)


def _areas(
    curves: Sequence[Curve], area: Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
) -> dict[str, float]:
    return {curve.name: float(area(curve.hit, curve.score)) for curve in curves}


def _told(areas: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in areas.items())


def _about(result: TrainingResult) -> str:
    if result.contract.task == "binary":
        dot = "The dot is the decision threshold."
        return f"Positive class: {result.contract.positive_class}. {dot}"
    total = len(result.contract.classes)
    few = f", the {figures.MAX_CURVES} most frequent of {total}"
    return f"Each class against all others{few if total > figures.MAX_CURVES else ''}."


def _roc(result: TrainingResult, curves: Sequence[Curve]) -> Picture:
    areas = _areas(curves, roc_auc_score)
    return Picture(
        figures.roc(curves, areas),
        f"ROC curves; area under the curve: {_told(areas)}.",
        f"ROC. {_about(result)} The nearer to the upper left corner, the better.",
    )


def _precision_recall(result: TrainingResult, curves: Sequence[Curve]) -> Picture:
    areas = _areas(curves, average_precision_score)
    return Picture(
        figures.precision_recall(curves, areas),
        f"Precision-recall curves; average precision: {_told(areas)}.",
        f"Precision and recall. {_about(result)} "
        "Dotted lines: the precision of guessing, which is the share of the class.",
    )


def _gain(result: TrainingResult, curves: Sequence[Curve]) -> Picture:
    told = []
    for curve in curves:
        taken, found = figures.cumulative(curve)
        fifth = float(np.interp(0.2, taken, found))
        told.append(f"{curve.name} {percent(fifth)} of the class in the first fifth of the rows")
    about = (
        f"Class: {result.contract.positive_class}."
        if result.contract.task == "binary"
        else _about(result)
    )
    return Picture(
        figures.gain(curves),
        f"Cumulative gain: {', '.join(told)}.",
        f"Gain. {about} Who takes the rows with the highest scores finds so much of the class; "
        "on the dotted line, taking rows at random.",
    )


def _lift(result: TrainingResult, curves: Sequence[Curve]) -> Picture:
    told = ", ".join(
        f"{curve.name} {number(float(figures.tenths(curve)[0]), 1)}" for curve in curves
    )
    return Picture(
        figures.lift(curves),
        f"Lift in each tenth of the rows; in the first: {told}.",
        f"Lift. How many times more often {result.contract.positive_class} is in each tenth of the "
        "rows than in all of them.",
    )


def _dependence(result: TrainingResult, found: Dependence) -> Picture:
    numbers = predicts_numbers(result)
    if numbers:
        shown = [(result.contract.target, found.predictions[:, 0])]
        ylabel = f"mean prediction of {shorten(result.contract.target, 20)}"
    else:
        classes = [str(each) for each in result.contract.classes]
        if len(classes) == 2:
            order = [1]
        else:
            spread = np.ptp(found.predictions, axis=0)
            order = sorted(np.argsort(-spread, kind="stable")[: figures.MAX_LINES].tolist())
        shown = [(classes[k], found.predictions[:, k]) for k in order]
        ylabel = (
            f"mean probability of {shorten(classes[1], 16)}"
            if len(classes) == 2
            else "mean probability"
        )
    told = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{quantity(value)} {quantity(float(given)) if numbers else percent(float(given))}"
            for value, given in zip(found.values, line, strict=True)
        )
        for name, line in shown
    )
    few = (
        f" The {len(shown)} classes that move most."
        if not numbers and len(result.contract.classes) > max(2, len(shown))
        else ""
    )
    return Picture(
        figures.dependence(found.feature, found.values, shown, ylabel),
        f"Partial dependence on {found.feature}: {told}.",
        f"{found.feature}: the mean prediction when it is set to each value in "
        f"{counted(found.rows, 'test row')}, all else as it is.{few}",
    )


def _calibration(result: TrainingResult) -> Picture:
    if result.contract.task == "binary":
        positive = result.contract.positive_class
        curves = [
            Curve(name, found.labels == 1, found.probabilities[:, 1])
            for name, found in estimates(result)
        ]
        xlabel = f"predicted probability of {shorten(positive, 20)}"
        ylabel = f"observed share of {shorten(positive, 20)}"
    else:
        curves = [
            Curve(name, found.probabilities.argmax(axis=1) == found.labels,
                  found.probabilities.max(axis=1))
            for name, found in estimates(result)
        ]  # fmt: skip
        xlabel, ylabel = "probability of the predicted class", "share predicted right"
    told = "; ".join(
        f"{curve.name}: mean prediction {percent(float(curve.score.mean()))}, "
        f"observed {percent(float(curve.hit.mean()))}"
        for curve in curves
    )
    return Picture(
        figures.calibration(curves, xlabel, ylabel),
        f"Reliability diagram with the number of rows in each bin. {told}.",
        "Calibration. On the dotted line, rows given 30% turn out positive 30% of the time. "
        "Whiskers are 95% intervals; the counts below are rows in each bin."
        if result.contract.task == "binary"
        else "Calibration of the predicted class. On the dotted line, of the rows given 70% "
        "seven in ten are right. Whiskers are 95% intervals; the counts below are rows.",
    )


def _confusion(result: TrainingResult, found: Evaluation) -> Picture:
    classes = result.contract.classes
    if len(classes) <= 6:
        told = "; ".join(
            f"true {classes[true]}: "
            + ", ".join(f"{count:,} as {name}" for name, count in zip(classes, row, strict=True))
            for true, row in enumerate(found.confusion.tolist())
        )
    else:
        right = np.trace(found.confusion) / max(int(found.confusion.sum()), 1)
        told = f"{len(classes)} classes, {percent(float(right))} of the rows on the diagonal"
    at = (
        "the most probable class is predicted"
        if result.threshold is None
        else f"{result.contract.positive_class} is predicted from a probability of "
        f"{number(result.threshold)} on"
    )
    return Picture(
        figures.confusion(found.confusion, classes, f"{split_name(found)}, {found.n_test:,} rows"),
        f"Confusion matrix. {told}.",
        f"Confusion matrix, {split_name(found).lower()}, {found.n_test:,} rows; {at}. "
        "Per cents are of the true class.",
    )


def _scores(result: TrainingResult) -> Picture:
    found = result.test
    if result.contract.task == "binary":
        negative, positive = (str(name) for name in result.contract.classes)
        values = found.probabilities[:, 1]
        groups = [(negative, values[found.labels == 0]), (positive, values[found.labels == 1])]
        xlabel = f"predicted probability of {shorten(positive, 20)}"
    else:
        values = found.probabilities.max(axis=1)
        right = found.probabilities.argmax(axis=1) == found.labels
        groups = [("predicted wrong", values[~right]), ("predicted right", values[right])]
        xlabel = "probability of the predicted class"
    told = "; ".join(
        f"{name}: median {number(float(np.median(part)) if len(part) else None)} "
        f"over {len(part):,} rows"
        for name, part in groups
    )
    return Picture(
        figures.scores(groups, xlabel, result.threshold),
        f"Distribution of the scores by group. {told}.",
        f"Scores by {'true class' if result.contract.task == 'binary' else 'outcome'}, "
        f"{split_name(found).lower()}. The less the two overlap, the easier the decision.",
    )


def _importance(result: TrainingResult) -> Picture:
    chosen_by = measure(result.metric)
    known, rows = bool(result.importance["std"].notna().any()), rows_name(result.test)
    top = result.importance.head(figures.MAX_BARS)
    told = ", ".join(
        f"{name} {number(mean, 4)}" for name, mean in zip(top["feature"], top["mean"], strict=True)
    )
    return Picture(
        figures.importance(result.importance, chosen_by),
        f"Permutation importance by {chosen_by.label}: {told}.",
        f"How much {chosen_by.label} worsens on {rows} when one column is shuffled"
        + ("; whiskers are one standard deviation over the repeats." if known else "."),
    )
