"""What a comparison says of two sides' answers, and what read_json makes of numbers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from twinml.comparison import (
    Answers,
    Package,
    Reference,
    Refusal,
    Side,
    cases,
    differing,
    judge,
    recalculate,
    write,
)
from twinml.comparison.parsing import changed_cells, read_as_pandas
from twinml.contract import infer_contract, parse
from twinml.endpoint import request_body
from twinml.errors import UsageError
from twinml.model import Scorer

FRAME = pd.DataFrame(
    {
        "age": [30, 41, 56, 70],
        "rate": [4.963, 1.25, np.nan, 0.5],
        "job": ["cook", None, "clerk", "cook"],
        "owner": [True, False, True, True],
    }
)
LABELS = pd.Series(["no", "yes", "no", "yes"], name="y")
CONTRACT = infer_contract(FRAME, LABELS, name="bank")
ROWS = [
    {name: None if value != value else value for name, value in row.items()}
    for row in FRAME.to_dict(orient="records")
]
SIDES = (Side("local", "http://127.0.0.1:1/score"), Side("cloud", "https://x.example/score"))


def answers(*shares: float) -> Answers:
    """Answers to one row for each share of the second class; NaN is a refused row."""
    table = np.array([[1 - share, share] for share in shares])
    labels = [None if math.isnan(s) else "yes" if s >= 0.5 else "no" for s in shares]
    refusals = {row: Refusal(400, "no") for row, s in enumerate(shares) if math.isnan(s)}
    return Answers(labels, table, refusals)


def test_equal_answers_pass_to_the_last_bit():
    found = judge(SIDES, (answers(0.2, 0.7), answers(0.2, 0.7)))
    assert found.passes
    assert (found.same_labels, found.n_scored, found.max_change) == (2, 2, 0.0)
    assert found.differences == ()
    assert found.verdict == "local and cloud predict alike, to the last bit, on all 2 rows"


def test_one_bit_is_a_difference_and_a_tolerance_forgives_it():
    pair = (answers(0.2), answers(math.nextafter(0.2, 1)))
    strict, loose = judge(SIDES, pair), judge(SIDES, pair, tolerance=1e-9)
    assert not strict.passes
    assert loose.passes
    assert [each.cause for each in loose.differences] == ["unknown"]
    assert "none by more than 1e-09" in loose.verdict


def test_another_label_is_never_forgiven():
    found = judge(SIDES, (answers(0.49), answers(0.51)), tolerance=1.0)
    assert not found.passes
    assert found.same_labels == 0


def test_input_parsing_is_told_apart_from_the_model():
    exact, parsed = answers(0.1, 0.2, 0.3), answers(0.11, 0.2, 0.3)
    cloud = answers(0.11, 0.25, 0.3)
    found = judge(SIDES, (exact, cloud), reference=Reference(exact, parsed, ()))
    assert {each.row: each.cause for each in found.differences} == {0: "input parsing", 1: "model"}
    assert [each.row for each in found.unexplained] == [1]
    assert found.causes == {"input parsing": 1, "model": 1}
    same = judge(SIDES, (exact, parsed), reference=Reference(exact, parsed, ()))
    assert same.passes
    assert "input parsing explains every one" in same.verdict


def test_a_side_that_refuses_alone_fails_unless_it_cannot_read_the_row():
    exact = answers(0.1, 0.2)
    refusing = answers(math.nan, 0.2)
    reads = Reference(exact, exact, ())
    cannot = Reference(exact, refusing, ())
    assert [e.cause for e in judge(SIDES, (exact, refusing), reference=reads).unexplained] == [
        "refusal"
    ]
    assert judge(SIDES, (exact, refusing), reference=cannot).passes
    both = judge(SIDES, (refusing, refusing), reference=reads)
    assert both.passes
    assert (both.both_refused, both.n_scored) == (1, 1)


def test_true_is_not_one():
    one, true = answers(0.2), answers(0.2)
    one.labels[0], true.labels[0] = 1, True
    assert not judge(SIDES, (one, true)).passes


def test_different_models_fail_even_if_they_answer_alike():
    sides = (Side("a", "u", digest="1" * 64), Side("b", "v", digest="2" * 64))
    found = judge(sides, (answers(0.2), answers(0.2)))
    assert not found.passes
    assert found.verdict == "a and b serve different models"


def test_sides_that_answered_other_rows_are_refused():
    with pytest.raises(UsageError, match="1 rows, the other 2"):
        judge(SIDES, (answers(0.1), answers(0.1, 0.2)))


def test_read_json_moves_a_float_and_the_change_is_found():
    rows = [{**ROWS[0], "rate": 1 / 3}, {**ROWS[1], "rate": 1.25}]
    frame = read_as_pandas(CONTRACT, rows)
    (cell,) = changed_cells(CONTRACT, rows, frame, first=7)
    assert (cell.row, cell.column, cell.sent) == (7, "rate", 1 / 3)
    assert 0 < abs(cell.became - cell.sent) < 20 * math.ulp(1 / 3)
    assert frame["age"].tolist() == [30, 41]
    assert frame["owner"].tolist() == [True, False]
    assert frame["job"].isna().tolist() == [False, True]


def test_adversarial_rows_keep_the_contract_and_try_every_column():
    made = cases(CONTRACT, ROWS)
    assert {case.column for case in made} == {*CONTRACT.column_names, "(whole row)"}
    for case in made:
        body = request_body([case.row], dialect="input_data")
        request = parse(CONTRACT, body, content_type="application/json", route="score")
        assert request.frame().shape == (1, 4), case.what
    sent = {case.what: case.row[case.column] for case in made if case.column == "rate"}
    assert sent["smallest denormal"] == 5e-324
    assert math.copysign(1, sent["minus zero"]) == -1
    assert sent["null"] is None
    assert sent["next to the maximum"] == math.nextafter(4.963, math.inf)
    whole = {case.what: case.row for case in made if case.column == "(whole row)"}
    assert whole["every null that is allowed"]["job"] is None


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """A model that answers every float with another probability."""
    rows = FRAME.fillna({"rate": 1.0, "job": "none"})
    encoder = ColumnTransformer(
        [("job", OneHotEncoder(handle_unknown="ignore"), ["job"])], remainder="passthrough"
    )
    pipeline = Pipeline([("encode", encoder), ("model", LogisticRegression(C=0.1))])
    return Scorer(pipeline.fit(rows[["age", "rate", "job"]], LABELS))


def test_the_model_answers_both_readings(scorer: Scorer):
    contract = infer_contract(FRAME[["age", "rate", "job"]], LABELS, name="bank")
    third = 1 / 3
    rows = [{"age": 30, "rate": rate, "job": "cook"} for rate in (1.25, third, 1e308)]
    found = recalculate(scorer, contract, rows, size=2, alone_from=2)
    assert found.exact.labels[:2] == found.parsed.labels[:2]
    assert found.exact.probabilities[0].tolist() == found.parsed.probabilities[0].tolist()
    assert {cell.row for cell in found.changed} == {1}
    assert np.isfinite(found.exact.probabilities[1]).all()


def test_the_model_is_asked_again_only_where_rows_were_read_otherwise(scorer: Scorer):
    class Counting(Scorer):
        asked = 0

        def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
            self.asked += 1
            return super().predict(model_input, params)

    contract = infer_contract(FRAME[["age", "rate", "job"]], LABELS, name="bank")
    model = Counting(scorer.pipeline)
    rows = [{"age": 30, "rate": rate, "job": "cook"} for rate in (1.25, 2.5, 1 / 3)]
    found = recalculate(model, contract, rows, size=1, alone_from=3)
    assert model.asked == 4
    assert found.exact.labels[:2] == found.parsed.labels[:2]
    assert found.exact.probabilities[:2].tolist() == found.parsed.probabilities[:2].tolist()
    assert None not in found.parsed.labels


def test_packages_that_differ_are_listed_those_of_the_model_first():
    found = differing(
        {"a": "1", "numpy": "2.4", "flask": "3"}, {"numpy": "2.3", "flask": "3"}, ["numpy"]
    )
    assert found == (Package("numpy", ("2.4", "2.3"), True), Package("a", ("1", None), False))


def test_the_page_names_what_differs_and_keeps_strangers_words_harmless(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    exact = answers(0.1, 0.2)
    refusing = Answers([None, "no"], exact.probabilities, {0: Refusal(424, evil)})
    sides = (
        Side("local", "http://127.0.0.1:1/score", "d" * 64, (1.0, 2.0), "here"),
        Side(evil, "https://x.example/score", "d" * 64, (10.0, 30.0), "there"),
    )
    found = judge(
        sides, (exact, refusing), reference=Reference(exact, exact, ()),
        packages=[Package("numpy", ("2.4", None), True)],
    )  # fmt: skip
    text = write(found, tmp_path / "compare.html").read_text()
    assert evil not in text
    assert "424: &lt;script&gt;" in text
    assert "refusal" in text
    assert "numpy" in text
    assert found.to_dict()["differences"][0]["change"] is None
    assert found.to_dict()["unexplained"] == 1
