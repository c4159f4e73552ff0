"""The page of a replay: what happens to a model that never learns again, and to one that does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from twinml.pages.figure import Picture
from twinml.pages.figure_style import BLUE, GREY, INK, MUTED, ORANGE, WIDTH, canvas, drawn
from twinml.pages.result_page import ResultPage, Section, Tile, rows
from twinml.pages.tables import Table
from twinml.workflow.replay._history import History, Metric, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves", "result_page"]


def result_page(history: History) -> ResultPage:
    """Return the page that shows ``history``."""
    kept, first = history.overall("kept"), history.overall("first")
    ranking, loss = history.names["ranking"], history.names["loss"]
    return ResultPage(
        f"{history.name}, replayed in time order",
        kind="Replay",
        verdict=history.verdict,
        reason=(
            f"The first model learned from {history.learned_from}. From then on labels came one "
            "period late; when the rows drifted or the predictions got worse, the published "
            "pipeline trained a challenger, which got a part of the traffic and was promoted if "
            "it was better on the rows whose labels had come."
        ),
        good=kept.loss <= first.loss,
        tiles=(
            Tile(f"{loss}, with the loop", _number(kept.loss), "all periods, by rows"),
            Tile(f"{loss}, never again", _number(first.loss), "the same rows"),
            Tile(
                f"{ranking}, with the loop", _number(kept.ranking), "mean of the periods, by rows"
            ),
            Tile(f"{ranking}, never again", _number(first.ranking), "the same rows"),
            Tile("trainings", str(history.retrainings), f"{history.promotions} were promoted"),
        ),
        sections=(
            Section(
                "Period by period",
                (
                    "Dots on the line of the loop are periods after which a challenger was "
                    "promoted. The dashed line is the figure of a random split over the whole "
                    "table: what a report would have promised.",
                ),
                (_picture(history, "loss"), _picture(history, "ranking")),
            ),
            *([_foretold(history)] if history.classes else []),
            Section("What changed", (), (_shares(history),)),
            Section("The log", (), (), (_log(history),)),
        ),
    )


def _picture(history: History, metric: Metric) -> Picture:
    kept, first = history.overall("kept"), history.overall("first")
    return Picture(
        _curves(history, metric),
        f"{history.names[metric]} by period. With the loop "
        f"{_number(getattr(kept, metric))} overall, "
        f"without it {_number(getattr(first, metric))}.",
        f"{history.names[metric]} by period; "
        + ("less is better." if metric == "loss" else "more is better."),
    )


@drawn
def _curves(history: History, metric: Metric) -> Figure:
    """Draw the metric of both models by period."""
    figure, axes = canvas(3.6)
    _draw(axes, history, metric)
    _name_periods(axes, history)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
    return figure


@drawn
def curves(history: History) -> Figure:
    """Draw log loss and ROC AUC of both models, one above the other, as one picture."""
    figure = Figure(figsize=(1.4 * WIDTH, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw(upper, history, "loss")
    _draw(lower, history, "ranking")
    _name_periods(lower, history)
    upper.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4)
    return figure


def _draw(axes: Axes, history: History, metric: Metric) -> None:
    place = np.arange(len(history.entries))
    first = _values([entry.first for entry in history.entries], metric)
    kept = _values([entry.kept for entry in history.entries], metric)
    axes.plot(place, first, color=ORANGE, linewidth=1.8, label="never learns again")
    axes.plot(place, kept, color=BLUE, linewidth=2.0, label="kept by the loop")
    promoted = [n for n, entry in enumerate(history.entries) if entry.decision == "promoted"]
    axes.plot(place[promoted], kept[promoted], "o", color=BLUE, markersize=5, label="a promotion")
    expected = getattr(history.random_split, metric)
    if expected is not None:
        axes.axhline(
            expected, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)), label="random split"
        )
    axes.set_ylabel(history.names[metric])
    if metric == "loss":
        axes.set_ylim(bottom=0)


def _shares(history: History) -> Picture:
    if not history.classes:
        ((target, _),) = history.entries[0].shares.items()
        return Picture(
            _world(history),
            f"Mean of {target} by period, and rows by period.",
            f"The mean of {target} (line) and the number of rows (bars).",
        )
    last = history.classes[-1]
    low = min(entry.shares[last] for entry in history.entries)
    high = max(entry.shares[last] for entry in history.entries)
    return Picture(
        _world(history),
        f"Share of '{last}' by period, from {low:.0%} to {high:.0%}, and rows by period.",
        f"The share of '{last}' among the labels (line) and the number of rows (bars).",
    )


@drawn
def _world(history: History) -> Figure:
    """Draw the share of the last class and the number of rows by period."""
    figure, axes = canvas(3.2)
    place = np.arange(len(history.entries))
    rows_axes = axes.twinx()
    rows_axes.bar(place, [entry.n_rows for entry in history.entries], color=GREY, alpha=0.5)
    rows_axes.set_ylabel("rows")
    rows_axes.grid(visible=False)
    last = next(reversed(history.entries[0].shares))
    axes.plot(place, [entry.shares[last] for entry in history.entries], color=INK, linewidth=1.8)
    axes.set_zorder(rows_axes.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_ylabel(f"share of '{last}'" if history.classes else f"mean of {last}")
    if history.classes:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    _name_periods(axes, history)
    return figure


def _name_periods(axes: Axes, history: History) -> None:
    labels = [entry.label for entry in history.entries]
    # More than some twenty names cannot be read: every second, third, … is written.
    step = 1 + (len(labels) - 1) // 24
    axes.set_xticks(range(0, len(labels), step), labels[::step], rotation=60, ha="right")
    axes.grid(visible=False, axis="x")


def _log(history: History) -> Table:
    body = [
        (
            f"{entry.number} {entry.label}",
            entry.n_rows,
            _number(entry.first.loss),
            _number(entry.kept.loss),
            entry.champion,
            _happened(entry.decision, entry.reason, entry.challenger),
            (entry.why + (f" Proposed: {entry.proposed}." if entry.proposed else "")) or "–",
        )
        for entry in history.entries
    ]
    heads = (
        "period", "rows", f"{history.names['loss']}, never again", f"{history.names['loss']}, loop",
        "champion", "challenger",
        "trained again, because",
    )  # fmt: skip
    return rows("What the loop did after each period", heads, body)


def _foretold(history: History) -> Section:
    """Return what was estimated before the labels came, beside what the labels said."""
    made, known, right = history.honesty
    told = [(entry, entry.foretold) for entry in history.entries if entry.foretold is not None]
    body = [
        (
            f"{entry.number} {entry.label}",
            f"{one.estimated:.3f}",
            f"{one.truth:.3f}",
            f"{one.estimated - one.truth:+.3f}".replace("-", "−"),
            one.doubt or "it knows",
        )
        for entry, one in told
    ]
    return Section(
        "Estimated without labels",
        (
            "From the probabilities alone, before the labels came. It says that it knows where the "
            "features are like those of training, the last labels agreed, and chance is small: "
            f"in {known} of {made} periods, and was right to .02 in {right} of these. That the "
            "relation of features and target changed, no look at the features can tell.",
        ),
        (),
        (rows("ROC AUC of the endpoint's answers by period",
              ("period", "estimated", "by the labels", "off by", "what it says of itself"), body),),
    )  # fmt: skip


def _happened(decision: str, reason: str, challenger: str | None) -> str:
    return "–" if challenger is None else f"{challenger} {decision}: {reason}"


def _values(found: Sequence[Scores], metric: Metric) -> np.ndarray:
    return np.array(
        [np.nan if getattr(one, metric) is None else getattr(one, metric) for one in found]
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
