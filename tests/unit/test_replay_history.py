"""What a replay comes to: scores, the verdict, the page."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from twinml.errors import DataError
from twinml.pages.result_page import write
from twinml.workflow.replay import Entry, Foretold, History, Scores
from twinml.workflow.replay._history import scores
from twinml.workflow.replay.page import result_page


def entry(number: int, first: float, kept: float, **changes: object) -> Entry:
    given: dict[str, object] = {
        "number": number,
        "label": f"month {number}",
        "n_rows": 100 * number,
        "shares": {"no": 0.75, "yes": 0.25},
        "first": Scores(0.7, first),
        "kept": Scores(0.8, kept),
        "champion": "bank/1",
        "challenger": None,
        "drifted": (),
        "why": "",
        "decision": "no challenger",
        "reason": "",
        "proposed": None,
        "seconds": 1.0,
    }
    return Entry(**{**given, **changes})  # type: ignore[arg-type]


def history(*entries: Entry) -> History:
    return History("bank", ("no", "yes"), "3 periods", 500, Scores(0.93, 0.2), entries, 9.0)


def test_estimates_are_counted_by_what_they_say_of_themselves() -> None:
    told = [
        Foretold(0.80, 0.82, 0.01, ""), Foretold(0.80, 0.8201, 0.01, ""),
        Foretold(0.80, 0.78, 0.01, ""), Foretold(0.80, 0.80, 0.01, "month drifted"),
        Foretold(0.80, math.nan, 0.01, ""), None,
    ]  # fmt: skip
    found = history(*(entry(number, 0.4, 0.3, foretold=one) for number, one in enumerate(told, 1)))
    assert found.honesty == (5, 4, 2)
    assert found.to_dict()["estimates"] == {"made": 5, "known": 4, "right": 2}
    shown = str(result_page(found).sections)
    assert "in 4 of 5 periods, and was right to .02 in 2 of these" in shown
    assert "month drifted" in shown


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    yes = np.clip(0.3 * truth + rng.random(200) * 0.7, 0, 1)
    found = scores(truth, np.column_stack([1 - yes, yes]))
    assert found.ranking == roc_auc_score(truth, yes)
    assert found.loss == log_loss(truth, yes)


def test_one_class_has_no_roc_auc() -> None:
    found = scores(np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5))
    assert found.ranking is None
    assert found.loss == pytest.approx(math.log(2))


def test_three_classes_with_one_missing() -> None:
    truth = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2]])
    assert scores(truth, probabilities).ranking == 1.0


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError):
        scores(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))


def test_overall_scores_weigh_periods_by_their_rows() -> None:
    found = history(entry(1, 0.4, 0.1), entry(3, 0.8, 0.3))
    assert found.overall("first").loss == pytest.approx((0.4 + 3 * 0.8) / 4)
    assert found.overall("kept").loss == pytest.approx((0.1 + 3 * 0.3) / 4)


@pytest.mark.parametrize(
    ("first", "kept", "words"),
    [(0.8, 0.4, "50% lower"), (0.4, 0.5, "25% higher"), (0.5, 0.501, "changed little")],
)
def test_the_verdict_says_what_the_loop_was_worth(first: float, kept: float, words: str) -> None:
    assert words in history(entry(1, first, kept)).verdict


def test_counts() -> None:
    found = history(
        entry(1, 1, 1, why="drift"),
        entry(2, 1, 1, challenger="bank/2", decision="promoted", reason="better"),
        entry(3, 1, 1, challenger="bank/3", decision="kept", reason="not yet"),
    )
    assert (found.retrainings, found.promotions) == (1, 1)


def test_it_is_plain_json() -> None:
    found = json.loads(json.dumps(history(entry(1, 0.8, 0.4)).to_dict()))
    assert found["overall"]["kept"]["loss"] == 0.4
    assert found["entries"][0]["first"] == {"ranking": 0.7, "loss": 0.8}


def test_the_page_tells_what_happened(tmp_path: Path) -> None:
    found = history(
        entry(1, 0.8, 0.4, why="age drifted.", proposed="bank/2"),
        entry(2, 0.9, 0.5, challenger="bank/2", decision="promoted", reason="log loss −0.1"),
        replace(entry(3, 0.9, 0.3), first=Scores(None, 0.9)),
    )
    page = write(result_page(found), tmp_path / "replay.html").read_text(encoding="utf-8")
    assert "bank/2 promoted: log loss −0.1" in page
    assert "age drifted. Proposed: bank/2." in page
    assert page.count("data:image/png") == 3
