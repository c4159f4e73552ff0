"""The pictures of a report, drawn from arrays."""

from __future__ import annotations

import io
import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from twinml.pages import figure_style
from twinml.report import _figures as figures
from twinml.report._figures import Curve, Line
from twinml.report._measures import measure
from twinml.training.result import Evaluation, Interval

ROC_AUC = measure("roc_auc")


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def share_of(png: bytes, colour: str) -> float:
    """Return the share of pixels that are close to ``colour``."""
    pixels = np.asarray(opened(png).convert("RGB"), dtype=int)
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(pixels - wanted).max(axis=2) <= 3).mean())


def curve(name: str = "a", n: int = 400, seed: int = 0) -> Curve:
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    return Curve(name, rng.random(n) < score, score, (0.2, 0.7, 0.6))


def candidate(name: str, value: float, half: float = math.nan) -> Line:
    return Line(name, value, value - half, value + half)


def evaluation(value: float) -> Evaluation:
    estimate = Interval(value, value - 0.02, value + 0.02)
    empty = np.zeros(0, dtype=np.int64)
    return Evaluation(
        "random", 80, 20, {"roc_auc": estimate}, {"roc_auc": 0.5},
        np.zeros((2, 2), dtype=np.int64), empty, np.zeros((0, 2)), empty,
    )  # fmt: skip


def test_all_pictures_have_one_width() -> None:
    frame = pd.DataFrame({"feature": ["a", "b"], "mean": [0.2, -0.01], "std": [0.01, 0.0]})
    drawn = [
        figures.splits([ROC_AUC], [("Random split", evaluation(0.9))]),
        figures.leaderboard([candidate("a", 0.9)], ROC_AUC, 0.5),
        figures.roc([curve()], {"a": 0.8}),
        figures.precision_recall([curve()], {"a": 0.8}),
        figures.calibration([curve("a"), curve("b", seed=1)], "x", "y"),
        figures.confusion(np.array([[5, 1], [2, 3]]), ["no", "yes"], "title"),
        figures.scores([("no", np.array([0.1])), ("yes", np.array([0.8]))], "x", 0.3),
        figures.importance(frame, ROC_AUC),
        figures.gain([curve()]),
        figures.lift([curve(), curve("b")]),
        figures.dependence("x", [1.0, 2.5], [("yes", np.array([0.1, 0.3]))], "y"),
        figures.dependence("c", ["a", None], [("x", np.zeros(2)), ("y", np.ones(2))], "y"),
    ]
    assert {opened(png).width for png in drawn} == {round(figure_style.WIDTH * figure_style.DPI)}


def test_the_same_values_give_the_same_bytes() -> None:
    assert figures.roc([curve()], {"a": 0.8}) == figures.roc([curve()], {"a": 0.8})


def test_the_style_ends_with_the_call() -> None:
    before = dict(mpl.rcParams)
    figures.roc([curve()], {"a": 0.8})
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["$x^{", "客户年龄", "a\nb\tc", "<script>", "x" * 300, ""])
def test_any_name_can_be_drawn(name: str) -> None:
    frame = pd.DataFrame({"feature": [name], "mean": [0.1], "std": [0.01]})
    assert opened(figures.importance(frame, ROC_AUC)).format == "PNG"
    assert opened(figures.leaderboard([candidate(name, 0.9)], ROC_AUC, None)).format == "PNG"
    counts = np.array([[5, 1], [2, 3]])
    assert opened(figures.confusion(counts, [name, "other"], name)).format == "PNG"


def test_the_winner_is_the_one_coloured_dot() -> None:
    one = figures.leaderboard([candidate("a", 0.9)], ROC_AUC, None)
    three = figures.leaderboard(
        [candidate("a", 0.9), candidate("b", 0.9), candidate("c", 0.9)], ROC_AUC, None
    )
    blue = [share_of(png, figure_style.BLUE) * np.prod(opened(png).size) for png in (one, three)]
    assert blue[0] > 100
    assert blue[1] == pytest.approx(blue[0], rel=0.1)


def test_the_axis_of_the_leaderboard_is_that_of_the_candidates() -> None:
    near = [candidate("a", 0.9), candidate("b", 0.899)]
    far = [candidate("a", 0.9), candidate("b", 0.5)]
    spread = figures.leaderboard(near, ROC_AUC, 0.5)
    assert spread != figures.leaderboard(far, ROC_AUC, 0.5)
    # A dot at each end of the axis, however near the two are.
    pixels = np.asarray(opened(spread).convert("RGB"), dtype=int)
    blue = np.array([int(figure_style.BLUE[i : i + 2], 16) for i in (1, 3, 5)])
    dots = np.flatnonzero((np.abs(pixels - blue).max(axis=2) <= 3).any(axis=0))
    assert dots.max() > 0.85 * pixels.shape[1]


def test_an_interval_is_drawn_where_it_is_known() -> None:
    bare = figures.leaderboard([candidate("a", 0.9), candidate("b", 0.8)], ROC_AUC, None)
    with_bars = [candidate("a", 0.9, 0.01), candidate("b", 0.8, 0.01)]
    assert figures.leaderboard(with_bars, ROC_AUC, None) != bare


def test_gain_and_lift_by_hand() -> None:
    hit = np.array([True, False, True, False])
    given = Curve("a", hit, np.array([0.9, 0.8, 0.4, 0.1]))
    taken, found = figures.cumulative(given)
    assert taken.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.tolist() == [0, 0.5, 0.5, 1, 1]
    twenty = Curve("b", np.arange(20) < 4, -np.arange(20.0))
    assert figures.tenths(twenty) == pytest.approx([5, 5, 0, 0, 0, 0, 0, 0, 0, 0])


def test_importance_of_one_repeat_has_no_whiskers() -> None:
    frame = pd.DataFrame({"feature": ["a", "b"], "mean": [0.2, 0.1], "std": [math.nan, math.nan]})
    bars = share_of(figures.importance(frame, ROC_AUC), figure_style.INK)
    spread = share_of(figures.importance(frame.assign(std=0.05), ROC_AUC), figure_style.INK)
    assert spread > bars


def test_a_candidate_without_the_metric_is_not_drawn() -> None:
    known = figures.leaderboard([candidate("a", 0.9)], ROC_AUC, 0.5)
    with_gap = [candidate("a", 0.9), candidate("b", math.nan)]
    assert figures.leaderboard(with_gap, ROC_AUC, 0.5) == known


def test_a_second_estimate_is_drawn_in_its_own_colour() -> None:
    one = figures.splits([ROC_AUC], [("Random split", evaluation(0.9))])
    two = figures.splits(
        [ROC_AUC], [("Random split", evaluation(0.9)), ("Forward in time", evaluation(0.7))]
    )
    assert share_of(one, figure_style.ORANGE) == 0
    assert share_of(two, figure_style.ORANGE) > 0.001


def test_a_full_cell_of_the_confusion_matrix_is_darker_than_an_empty_one() -> None:
    image = opened(figures.confusion(np.array([[10, 0], [0, 10]]), ["no", "yes"], "t"))
    grey = np.asarray(image.convert("L"), dtype=float)
    height, width = grey.shape
    upper_left = np.median(grey[int(height * 0.25) : int(height * 0.4), int(width * 0.2) : 300])
    upper_right = np.median(grey[int(height * 0.25) : int(height * 0.4), int(width * 0.7) : 640])
    assert upper_left < 100 < upper_right


def test_probabilities_at_the_ends_fall_into_the_outer_bins() -> None:
    ends = Curve("a", np.array([False, True, True, False]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert opened(figures.calibration([ends], "x", "y")).format == "PNG"


def test_a_curve_needs_both_outcomes() -> None:
    score = np.array([0.1, 0.2])
    assert not Curve("a", np.array([True, True]), score).drawable
    assert Curve("a", np.array([True, False]), score).drawable


def test_an_empty_group_of_scores_is_drawn() -> None:
    empty = np.zeros(0)
    png = figures.scores([("no", np.array([0.1, 0.2])), ("yes", empty)], "x", None)
    assert opened(png).format == "PNG"
