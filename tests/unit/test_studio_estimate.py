"""What Monitoring says of answers without labels: by held-out rows, and by labels that came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinml.contract import infer_contract
from twinml.drift.estimated import estimate, told_by
from twinml.report.held_out_rows import HeldOutRows
from twinml.traffic.collected import Request, Traffic
from twinml.traffic.feedback import GroundTruth, Truth
from twinml_local.studio._monitoring import foretold

CONTRACT = infer_contract(
    pd.DataFrame({"a": [1, 2] * 20}), pd.Series(["no", "yes"] * 20, name="y"), name="bank"
)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, and labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    second = rng.beta(0.3, 0.5, n)
    return np.column_stack([1 - second, second]), (rng.random(n) < second).astype(int)


def traffic(given: np.ndarray) -> Traffic:
    outputs = [{"no": float(no), "yes": float(yes)} for no, yes in given]
    half = len(outputs) // 2
    return Traffic(
        tuple(
            Request(name, "blue", "1", "2026-11-28T10:00:00", [{}] * len(some), some)
            for name, some in (("first", outputs[:half]), ("second", outputs[half:]))
        )
    )


def test_before_any_label_held_out_rows_tell_whether_it_knows(tmp_path: Path) -> None:
    given, _ = rows(2000, 0)
    truth = GroundTruth(tmp_path)
    told = foretold(CONTRACT, traffic(given), truth, ())
    assert told is not None
    assert told["labels"] == 0
    assert "no labels have told" in told["estimate"].doubt
    held, labels = rows(2000, 1)
    held_out = HeldOutRows("Random split", ("no", "yes"), labels, held)
    told = foretold(CONTRACT, traffic(given), truth, (), held_out)
    assert told is not None
    first = told_by(held, labels)
    assert first is not None
    assert told["estimate"] == estimate(given, told=[first])
    assert told["estimate"].knows
    other = HeldOutRows("Random split", ("a", "b", "c"), labels, held)
    told = foretold(CONTRACT, traffic(given), truth, (), other)
    assert told is not None
    assert not told["estimate"].knows


def test_labels_that_came_tell_of_the_rows_that_have_none(tmp_path: Path) -> None:
    given, labels = rows(3000, 2)
    truth = GroundTruth(tmp_path)
    truth.record(Truth("first", row, ("no", "yes")[labels[row]]) for row in range(1500))
    told = foretold(CONTRACT, traffic(given), truth, ())
    assert told is not None
    assert told["labels"] == 1500
    assert told["accuracy"] == pytest.approx((given[:1500].argmax(axis=1) == labels[:1500]).mean())
    first = told_by(given[:1500], labels[:1500])
    assert first is not None
    assert told["estimate"] == estimate(given[1500:], told=[first])
    drifted = foretold(CONTRACT, traffic(given), truth, ("a",))
    assert drifted is not None
    assert "a drifted" in drifted["estimate"].doubt


def test_answers_that_are_labels_are_not_estimated(tmp_path: Path) -> None:
    request = Request("first", "blue", "1", "2026-11-28T10:00:00", [{}], [{"y": "no"}])
    assert foretold(CONTRACT, Traffic((request,)), GroundTruth(tmp_path), ()) is None
