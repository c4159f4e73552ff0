"""Curves of held-out rows, against scikit-learn's, and what is drawn of each kind of target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from twinml.report.held_out_rows import HeldOutRows, read
from twinml_local.studio._curves import calibration, curves, precision_recall, roc


def rows(classes: int, n: int = 600) -> HeldOutRows:
    rng = np.random.default_rng(classes)
    given = np.round(rng.dirichlet(np.full(classes, 0.7), n), 2)
    truth = (rng.random(n)[:, None] > np.cumsum(given, axis=1)[:, :-1]).sum(axis=1)
    return HeldOutRows(
        "Random split", tuple(f"class {one}" for one in range(classes)), truth, given
    )


def test_the_curves_hold_the_areas_of_scikit_learn() -> None:
    found = rows(2)
    truth, score = found.truth == 1, found.predicted[:, 1]
    false, true = zip(*roc(truth, score), strict=True)
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert auc(false, true) == pytest.approx(roc_auc_score(truth, score), abs=0.002)
    recall, precision = zip(*precision_recall(truth, score), strict=True)
    area = sum(np.diff((0.0, *recall)) * precision)
    assert area == pytest.approx(average_precision_score(truth, score), abs=0.02)
    parts = calibration(truth, score)
    assert len(parts) == 10
    assert [given for given, _ in parts] == sorted(given for given, _ in parts)
    assert np.mean([share for _, share in parts]) == pytest.approx(truth.mean())


@pytest.mark.parametrize(("classes", "lines"), [(2, 2), (3, 4), (7, 6)])
def test_each_class_has_a_line_the_most_frequent_first(classes: int, lines: int) -> None:
    titles = dict(curves(rows(classes)))
    assert list(titles) == ["ROC curve", "Precision and recall", "Calibration"]
    assert titles["ROC curve"].count('class="line') == 2 * lines  # and one of each in the legend
    assert all(len(drawn) < 30_000 for drawn in titles.values())


def test_of_one_class_there_is_no_curve() -> None:
    found = rows(2)
    assert curves(HeldOutRows(found.name, found.classes, found.truth * 0, found.predicted)) == []


def test_numbers_are_shown_as_dots_beside_a_line() -> None:
    truth = np.linspace(-5, 5, 2000)
    shown = dict(curves(HeldOutRows("Random split", (), truth, truth[:, None] + 1)))
    assert list(shown) == ["Predicted and true", "Residuals"]
    for drawn in shown.values():
        assert drawn.count("<circle") == 402  # and the ends of the line
        assert len(drawn) < 50_000


def test_held_out_rows_are_read_back_whatever_their_names(tmp_path: Path) -> None:
    names = ("=1+1", "NA")
    table = pd.DataFrame({
        "estimate": ["Random split"] * 3 + ["Forward in time"], "row": [1, 2, 3, 4],
        "y": ["'=1+1", "NA", "NA", "NA"], "predicted": ["NA"] * 4,
        **{f"probability of {name}": [0.25, 0.5, 0.25, 1] for name in names}, "loss": [1.0] * 4,
    })  # fmt: skip
    for place in ("training", "report"):
        (tmp_path / place).mkdir()
    table.to_csv(tmp_path / "report" / "predictions.csv", index=False)
    found = read(tmp_path)
    assert found is not None
    assert (found.name, found.classes, found.truth.tolist()) == ("Random split", names, [0, 1, 1])
    assert found.predicted.tolist() == [[0.5, 0.5]] * 3
    table.drop(columns=[f"probability of {name}" for name in names]).assign(
        y=["1.5", "2", "3", "4"], predicted=["1", "2", "2.5", "0"]
    ).to_csv(tmp_path / "training" / "predictions.csv", index=False)
    numbers = read(tmp_path)
    assert numbers is not None
    assert (numbers.classes, numbers.truth.tolist()) == ((), [1.5, 2.0, 3.0])
    assert numbers.predicted.tolist() == [[1.0], [2.0], [2.5]]


@pytest.mark.parametrize(
    "text", ["", "estimate,row\n", "a,b,c,d,e\n1,2,x,y,z\n", "a,b,c,d,loss\n1,2,x,3,4\n"]
)
def test_what_is_no_such_file_is_none(tmp_path: Path, text: str) -> None:
    assert read(tmp_path) is None
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "predictions.csv").write_text(text, encoding="utf-8")
    assert read(tmp_path) is None
