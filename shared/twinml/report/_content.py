"""The content of the page: headline, sentences and tables, as plain values for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from twinml.pages.tables import Cell, Table, profile_column
from twinml.pages.wording import counted, number, percent, quantity, sentence
from twinml.report import _origin as origin
from twinml.report import _regression as regression
from twinml.report import distributions
from twinml.report._calls import calls
from twinml.report._decisions import confused_pairs, cost_table, threshold_table
from twinml.report._figure_choice import estimates
from twinml.report._files import CARD, PREDICTIONS
from twinml.report._held_out import (
    Group,
    by_group,
    group_table,
    predicts_numbers,
    weak_groups,
    worst,
)
from twinml.report._measures import Measure, interval, measure, ordered, rows_name, split_name
from twinml.report._omissions import omissions

if TYPE_CHECKING:
    from twinml.data import Dataset, Finding
    from twinml.platform import EndpointInfo, ModelVersion
    from twinml.training.result import Candidate, Evaluation, Interval, TrainingResult

__all__ = ["build", "estimate_table", "expectation", "parts", "weakness"]

MAX_PROFILE_ROWS = 200
MAX_IMPORTANCE_ROWS = 40


def build(
    result: TrainingResult,
    dataset: Dataset,
    *,
    endpoint: EndpointInfo | None,
    model: ModelVersion | None,
    steps: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the values that ``report.html.j2`` shows."""
    name = model.name if model else result.contract.name
    return {
        "title": f"{name}: training report",
        "name": name,
        "version": model.version if model else None,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "summary": _summary(result, dataset),
        "tiles": _tiles(result),
        "accuracy": _accuracy(result, dataset),
        "interrupted": result.interrupted,
        "expectation": expectation(result, dataset),
        "shift": _shift(result),
        "estimates": estimate_table(result),
        "glossary": ordered(result.test.metrics, first=result.metric),
        "columns": _columns(result, dataset),
        "omissions": omissions(result, dataset),
        "leaderboard": _leaderboard(result),
        "search": _search(result),
        "weights": _weights(result),
        "configurations": [
            (each.name, [(str(key), quantity(value)) for key, value in each.config.items()])
            for each in result.leaderboard
            if each.config
        ],
        "decision": _decision(result),
        "judged": rows_name(result.test),
        "held_out": not result.test.out_of_fold,
        "regression": predicts_numbers(result),
        "classes": parts(result),
        "thresholds": threshold_table(result),
        "costs": cost_table(result),
        "pairs": confused_pairs(result),
        "groups": group_table(result, groups := by_group(result, dataset)),
        "weak": weakness(result, groups),
        "worst": worst(result, dataset),
        "predictions": PREDICTIONS,
        "card": CARD,
        "importance": _importance(result),
        "dependence": [f"dependence_{place}" for place in range(1, len(result.dependence) + 1)],
        "target": distributions.target(dataset),
        "distributions": distributions.features(result, dataset),
        "n_columns": dataset.features.shape[1],
        "missing": distributions.missing(dataset),
        "profile": _profile(dataset),
        "findings": [(found.level, _finding(found)) for found in dataset.findings],
        "order": sentence(dataset.order_note),
        "calls": calls(result.contract, endpoint, name),
        "endpoint": endpoint,
        "traffic": ", ".join(
            f"{deployment} {share}%" for deployment, share in endpoint.traffic.items()
        )
        if endpoint
        else "",
        **origin.build(result, dataset, model=model, steps=steps, environment=environment),
    }


def _main(result: TrainingResult) -> Measure:
    """Return the metric that chose, or the first one that the test set has."""
    return ordered(result.test.metrics, first=result.metric)[0]


def _summary(result: TrainingResult, dataset: Dataset) -> str:
    kinds = {"binary": " with two classes", "regression": ", a number"}.get(
        result.contract.task, f" with {len(result.contract.classes)} classes"
    )
    return (
        f"Data {dataset.name}: {counted(dataset.n_rows, 'row')}, "
        f"{counted(len(result.contract.columns), 'column')}, target {dataset.target}{kinds}. "
        f"Best of {counted(len(result.leaderboard), 'candidate')}: {result.best.name}."
    )


def _tiles(result: TrainingResult) -> list[tuple[str, str, str]]:
    chosen_by = _main(result)
    tiles = [
        (
            f"{chosen_by.label}, {name.lower()}",
            number(found.metrics[chosen_by.name].value),
            f"95% interval {interval(found.metrics[chosen_by.name])}",
        )
        for name, found in estimates(result)
        if chosen_by.name in found.metrics
    ]
    accuracy = result.test.metrics.get("accuracy")
    if accuracy:
        tiles.append(
            (
                f"Accuracy, {split_name(result.test).lower()}",
                percent(accuracy.value),
                f"majority baseline {percent(result.test.baseline.get('accuracy'))}",
            )
        )
    tiles.append(
        ("Best candidate", result.best.name, f"of {counted(len(result.leaderboard), 'candidate')}")
    )
    return tiles


def _accuracy(result: TrainingResult, dataset: Dataset) -> str:
    accuracy = result.test.metrics.get("accuracy")
    base = result.test.baseline.get("accuracy", math.nan)
    if accuracy is None or not math.isfinite(base):
        return ""
    majority = dataset.labels.mode().iloc[0]
    gain = 100 * (accuracy.value - base)
    if accuracy.low <= base:
        verdict = "the model is not clearly better than that"
    else:
        verdict = f"the model gains {gain:.1f} percentage points"
    text = (
        f"Accuracy is {percent(accuracy.value)} "
        f"(95% interval {percent(accuracy.low)} – {percent(accuracy.high)}); always answering "
        f"“{majority}” is right for {percent(base)} of the same rows, so {verdict}."
    )
    later = result.forward.metrics.get("accuracy") if result.forward else None
    if result.forward and later:
        text += (
            f" Forward in time it is {percent(later.value)} against "
            f"{percent(result.forward.baseline.get('accuracy'))}."
        )
    return text


def _figure(found: Interval) -> str:
    return f"{number(found.value)} (95% interval {interval(found)})"


def expectation(result: TrainingResult, dataset: Dataset) -> dict[str, str]:
    """Say which figure to expect of new rows, and why that one."""
    chosen_by = _main(result)
    here = result.test.metrics[chosen_by.name]
    there = result.forward.metrics.get(chosen_by.name) if result.forward else None
    later = (
        "It comes from rows that are later than all training rows, as next month’s rows will be. "
    )
    if there is not None:
        figure = f"Next month, expect the forward-in-time figure: {chosen_by.label} "
        figure += f"{_figure(there)}."
        why = later + _aside(chosen_by, here, there)
    elif result.test.out_of_fold:
        figure = f"Expect {chosen_by.label} {_figure(here)} only while new rows look like these."
        why = (
            f"No rows were held out: each of the {result.test.n_test} was judged by models of the "
            "others. The same rows chose the recipe, so the figure may be a little hopeful. "
        )
        why += sentence(result.forward_note)
    elif result.test.split.startswith("group:"):
        column = result.test.split.removeprefix("group:")
        figure = (
            f"Expect {chosen_by.label} {_figure(here)} of new rows, if their “{column}” is new."
        )
        why = f"No “{column}” has rows both among those learned from and among those tested. "
        why += sentence(result.forward_note)
    elif result.test.split != "random":
        figure = f"Next month, expect {chosen_by.label} {_figure(here)}."
        why = later + sentence(result.forward_note)
    else:
        figure = f"Expect {chosen_by.label} {_figure(here)} only while new rows look like these."
        why = "It is the random-split figure, and there is no forward-in-time estimate. "
        why += sentence(result.forward_note)
    leaking = [f"“{name}”" for name in dataset.leaks if name in result.contract.column_names]
    if leaking:
        why += (
            f" Even so, do not count on it: the model uses {', '.join(leaking)}, "
            "known only after the event (see below)."
        )
    return {"figure": figure, "why": why}


def _aside(chosen_by: Measure, here: Interval, there: Interval) -> str:
    """Compare the random split (``here``) with the forward-in-time estimate (``there``)."""
    split = f"The random split ({number(here.value)})"
    better, worse = (here, there) if chosen_by.higher_is_better else (there, here)
    if here.low <= there.high and there.low <= here.high:
        return f"{split} agrees with it within the intervals."
    if worse.high < better.low:
        return f"{split} mixes earlier and later rows, which flatters the model."
    return f"{split} is worse here, but its test rows are not later than its training rows."


def _shift(result: TrainingResult) -> str:
    """Say how the share of the positive class moves between the two test sets."""
    if result.contract.task != "binary" or result.forward is None:
        return ""
    here, there = (float(np.mean(found.labels == 1)) for _, found in estimates(result))
    return (
        f"The share of “{result.contract.positive_class}” is {percent(here)} in the random test "
        f"rows and {percent(there)} in the later ones."
    )


def estimate_table(result: TrainingResult) -> Table:
    """Return both estimates, a line a metric."""
    shown = estimates(result)
    heads = [Cell("Metric")]
    for name, _ in shown:
        heads += [Cell(name, True), Cell("95% interval", True), Cell("Baseline", True)]
    rows = []
    for each in ordered(result.test.metrics, first=result.metric):
        cells = [Cell(each.label)]
        for _, found in shown:
            value = found.metrics.get(each.name)
            cells += [
                Cell(number(value.value if value else None), True),
                Cell(interval(value), True),
                Cell(number(found.baseline.get(each.name)), True),
            ]
        rows.append(tuple(cells))
    tested = "; ".join(
        f"{name.lower()}: {_sizes(found)}"
        + (f", by {_by(found.split)}" if found.split != "random" else "")
        for name, found in shown
    )
    if result.measured_apart:
        tested += "; the model itself then learned from all rows"
    return Table(f"How the recipe did on rows that it never saw ({tested})",
                 tuple(heads), tuple(rows), emphasis=0)  # fmt: skip


def _sizes(found: Evaluation) -> str:
    if found.out_of_fold:
        return f"{counted(found.n_test, 'row')}, each judged by models of the others"
    return f"{counted(found.n_train, 'row')} to train, {found.n_test:,} to test"


def _by(split: str) -> str:
    kind, _, column = split.partition(":")
    if kind == "group":
        return f"the groups of column {column}"
    return f"column {column}" if kind == "column" else "the order of the rows"


def _columns(result: TrainingResult, dataset: Dataset) -> list[tuple[str, str, str]]:
    """Return what to say about leaks and dropped columns: the level, a text, a command."""
    notes = []
    for column, reason in dataset.leaks.items():
        known_late = f"is known only after the event: {reason.rstrip('.')}."
        if column in result.contract.column_names:
            text = (
                f"Column “{column}” {known_late} The figures on this page therefore promise more "
                "than a model in use can keep. A realistic model drops it:"
            )
            notes.append(("warning", text, f"--drop {column}"))
        else:
            text = f"Column “{column}” was dropped. It {known_late} The figures do without it."
            notes.append(("note", text, ""))
    others = [f"“{column}”" for column in dataset.dropped if column not in dataset.leaks]
    if others:
        text = (
            f"Dropped before training: {', '.join(others)}. The figures on this page do without. "
            "A column that is known only after the event is rightly dropped: "
            "it is not there yet when the model is asked."
        )
        notes.append(("note", text, ""))
    return notes


def _finding(found: Finding) -> str:
    # Many messages name their column already.
    named = found.column is None or f"'{found.column}'" in found.message
    return sentence(found.message) if named else f"{found.column}: {sentence(found.message)}"


def _leaderboard(result: TrainingResult) -> Table:
    shown = ordered(
        {name for each in result.leaderboard for name in each.metrics}, first=result.metric
    )
    noted = any(each.note for each in result.leaderboard)
    heads = [Cell("Candidate"), Cell("Kind")]
    heads += [Cell(each.label, True) for each in shown]
    heads += [Cell("Trials", True), Cell("Seconds", True)]
    heads += [Cell("Note")] if noted else []

    def row(candidate: Candidate) -> tuple[Cell, ...]:
        cells = [Cell(candidate.name), Cell(candidate.kind)]
        for each in shown:
            value = candidate.metrics.get(each.name)
            cells.append(Cell(number(value, 4), True, value))
        cells.append(Cell(f"{candidate.trials:,}", True, candidate.trials))
        cells.append(Cell(number(candidate.seconds, 1), True, candidate.seconds))
        if noted:
            cells.append(Cell(candidate.note or "–"))
        return tuple(cells)

    return Table(
        f"Candidates, best first by {measure(result.metric).label}, out of fold",
        tuple(heads),
        tuple(row(each) for each in result.leaderboard),
        sortable=True,
        emphasis=0,
    )


def _weights(result: TrainingResult) -> Table | None:
    ensembles = [each for each in result.leaderboard if each.weights]
    if not ensembles:
        return None
    totals = {each.name: sum(each.weights.values()) for each in ensembles}
    rows = tuple(
        (Cell(each.name), Cell(member), Cell(number(share, 3), True),
         Cell(percent(share / totals[each.name]) if totals[each.name] else "–", True))
        for each in ensembles
        for member, share in sorted(each.weights.items(), key=lambda item: -item[1])
    )  # fmt: skip
    heads = (Cell("Ensemble"), Cell("Member"), Cell("Weight", True), Cell("Share", True))
    return Table("What the ensembles are made of", heads, rows)


def _search(result: TrainingResult) -> str:
    if not result.trials:
        return ""
    unfinished = sum(trial.loss is None for trial in result.trials)
    learners = len({trial.learner for trial in result.trials})
    text = (
        f"The search tried {counted(len(result.trials), 'configuration')} of "
        f"{counted(learners, 'learner')}"
    )
    ended = "was" if unfinished == 1 else "were"
    text += f"; {unfinished:,} {ended} stopped early or failed." if unfinished else "."
    if result.test.out_of_fold:
        text += " What is shown here chose the model; the figures above are of other divisions."
    return text


def _decision(result: TrainingResult) -> str:
    if predicts_numbers(result):
        return regression.decision(result)
    if result.threshold is None:
        return "The class with the highest probability is predicted."
    return (
        f"“{result.contract.positive_class}” is predicted when its probability is at least "
        f"{number(result.threshold)}, the decision threshold stored with the model."
    )


def parts(result: TrainingResult) -> list[Table]:
    """Return the figures by class, or of the prediction intervals, a table an estimate."""
    found = [_by_part(result, found, name) for name, found in estimates(result)]
    return [table for table in found if table is not None]


def _by_part(result: TrainingResult, found: Evaluation, name: str) -> Table | None:
    if predicts_numbers(result):
        return regression.coverage(found, name)
    return _classes(result, found, name)


def _classes(result: TrainingResult, found: Evaluation, name: str) -> Table:
    counts = np.asarray(found.confusion, dtype=float)
    right = np.diag(counts)
    rows = []
    for k, label in enumerate(result.contract.classes):
        true, named = counts[k].sum(), counts[:, k].sum()
        precision = right[k] / named if named else math.nan
        recall = right[k] / true if true else math.nan
        f1 = 2 * right[k] / (true + named) if true + named else math.nan
        rows.append(
            (
                Cell(str(label)),
                Cell(f"{int(true):,}", True),
                Cell(f"{int(named):,}", True),
                Cell(number(precision), True),
                Cell(number(recall), True),
                Cell(number(f1), True),
            )
        )
    heads = (Cell("Class"), Cell("Rows", True), Cell("Predicted", True),
             Cell("Precision", True), Cell("Recall", True), Cell("F1", True))  # fmt: skip
    return Table(f"By class, {name.lower()}, {counted(found.n_test, 'row')}", heads, tuple(rows))


def weakness(result: TrainingResult, groups: list[Group]) -> str:
    """Say in which groups the model errs."""
    found = weak_groups(result, groups)
    if not groups:
        return f"No group of the {rows_name(result.test)} is large enough for figures of its own."
    if not found:
        return "In no group of them does the model err clearly more than in the other rows."
    named = ", ".join(f"{each.column} {each.value}" for each in found[:5])
    return f"The model errs more where: {named}."


def _importance(result: TrainingResult) -> Table | None:
    if not len(result.importance):
        return None
    label = measure(result.metric).label
    shown = result.importance.head(MAX_IMPORTANCE_ROWS)
    columns = zip(shown["feature"], shown["mean"], shown["std"], strict=True)
    rows = tuple(
        (Cell(str(name)), Cell(number(mean, 4), True), Cell(number(spread, 4), True))
        for name, mean, spread in columns
    )
    heads = (Cell("Column"), Cell(f"Worse {label}", True), Cell("Standard deviation", True))
    caption = f"Permutation importance on {rows_name(result.test)}"
    if len(result.importance) > len(rows):
        caption += f", the first {len(rows)} of {len(result.importance)} columns"
    return Table(caption, heads, rows)


def _profile(dataset: Dataset) -> Table:
    whole = dataset.profile()
    frame = whole.head(MAX_PROFILE_ROWS)
    columns = [profile_column(str(name), frame[name]) for name in frame.columns]
    caption = f"Columns of {dataset.name}, {counted(dataset.n_rows, 'row')}"
    if len(whole) > len(frame):
        caption += f"; the first {len(frame)} of {len(whole)} columns"
    heads = tuple(head for head, _ in columns)
    return Table(caption, heads, tuple(zip(*(cells for _, cells in columns), strict=True)))
