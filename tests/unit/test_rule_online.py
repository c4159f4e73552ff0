"""The verdict on two deployments: every branch of the rule, each at its boundary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from twinml.abtest._guardrail import FAILURES, LATENCY, Guardrail
from twinml.abtest.online import Arm, _judge, _labels_p, _Outcome, _required
from twinml.abtest.sequential import critical, unpaired

NAN = math.nan
LEAST = 0.001
JUST_BELOW = math.nextafter(LEAST, 0)
ARMS = (Arm("blue", 1000, 800, 0.9, 0.3), Arm("green", 500, 300, 0.9, 0.3))
SLOW = Guardrail(LATENCY, 5.0, 9.0, True, "latency is up")
FAILS = Guardrail(FAILURES, 0.0, 0.1, True, "failures are up")
FINE = (Guardrail(FAILURES, 0.0, 0.0, False, "fine"), Guardrail(LATENCY, 5.0, None, None, "none"))


def verdict(**known: Any) -> tuple[str, str]:
    """Judge what shows nothing at all, but for what is ``known``."""
    nothing: dict[str, Any] = {
        "metric": "accuracy",
        "difference": 0.01,
        "low": -0.02,
        "high": 0.04,
        "alpha": 0.05,
        "effect": None,
        "arms": ARMS,
        "mismatch": 1.0,
        "labels_p": 1.0,
        "rails": FINE,
        "required": None,
    }
    found = _judge(_Outcome(**nothing | known))
    return found.decision, found.reason


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.01, 0.04, "ship B"),
        (5e-324, 0.04, "ship B"),
        (0.0, 0.04, "not yet"),
        (-0.04, 0.0, "not yet"),
        (0.0, 0.0, "not yet"),
        (-0.04, -5e-324, "keep A"),
        (-0.04, -0.01, "keep A"),
        (NAN, NAN, "not yet"),
    ],
)
def test_the_interval_must_leave_out_zero(low: float, high: float, decision: str) -> None:
    assert verdict(low=low, high=high)[0] == decision
    # A loss is better when it is lower: the other way round.
    for metric in ("log_loss", "brier"):
        assert verdict(metric=metric, low=-high, high=-low)[0] == decision


def test_words_name_the_side_and_the_figures() -> None:
    better = verdict(difference=0.025, low=0.01, high=0.04)
    assert better == ("ship B", "it is better in accuracy: +0.02500 (+0.01000 to +0.04000)")
    worse = verdict(difference=-0.025, low=-0.04, high=-0.01)
    assert worse == ("keep A", "B is worse in accuracy: -0.02500 (-0.04000 to -0.01000)")
    assert verdict() == (
        "not yet",
        "the difference in accuracy, +0.01000 (-0.02000 to +0.04000), may be chance",
    )
    assert verdict(required=12_345) == (
        "not yet",
        "the difference in accuracy, +0.01000 (-0.02000 to +0.04000), may be chance; were it the "
        "true one, about 12,345 labelled requests would show it (now 1,100)",
    )
    decision, reason = verdict(low=NAN, high=NAN)
    assert decision == "not yet"
    assert reason == (
        "800 and 300 labelled requests that differ are too few; 100 of each come before the "
        "first look"
    )


@pytest.mark.parametrize(("p", "stops"), [(JUST_BELOW, True), (LEAST, False), (0.0, True)])
def test_a_mismatch_and_missing_labels_stop_everything(p: float, stops: bool) -> None:
    sure = {"low": 0.01, "high": 0.04}
    for known, words in (
        (
            {"mismatch": p},
            "the requests are not shared out as the traffic says, so A and B did not get the same "
            "kind of request; find out why first (deployments named by header, lost requests, "
            "traffic changed meanwhile: --last, --expected)",
        ),
        (
            {"labels_p": p},
            "labels are known for 80.0% of A's requests and 60.0% of B's, which is not chance; "
            "wait until they are complete",
        ),
    ):
        decision, reason = verdict(**known, **sure)
        assert decision == ("not yet" if stops else "ship B")
        assert (reason == words) is stops
    # They come before failures: these may be the other kind of request.
    assert verdict(mismatch=p, rails=(FAILS,))[0] == ("not yet" if stops else "keep A")
    assert verdict(labels_p=p, rails=(FAILS,))[0] == ("not yet" if stops else "keep A")


def test_pairs_of_mirror_traffic_have_no_mismatch() -> None:
    assert verdict(mismatch=None, low=0.01)[0] == "ship B"


@pytest.mark.parametrize("low", [-0.02, 0.01, NAN])
def test_a_b_that_fails_more_often_is_not_shipped(low: float) -> None:
    assert verdict(rails=(SLOW, FAILS), low=low) == (
        "keep A",
        "B fails more often: failures are up",
    )


def test_a_b_that_is_slower_has_to_wait_even_if_it_is_better() -> None:
    decision, reason = verdict(rails=(FINE[0], SLOW), difference=0.025, low=0.01)
    assert decision == "not yet"
    assert reason == ("B is better in accuracy: +0.02500 (+0.01000 to +0.04000), but latency is up")
    assert verdict(rails=(SLOW,), low=-0.04, high=-0.01)[0] == "keep A"
    assert verdict(rails=(SLOW,))[0] == "not yet"


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (-0.04, 0.04, "keep A"),
        (-0.05, 0.04, "not yet"),
        (-0.04, 0.05, "not yet"),
        (-0.04, math.nextafter(0.05, 0), "keep A"),
        (-0.09, 0.01, "not yet"),
        (-0.01, 0.09, "not yet"),
        # A difference that is there counts, however small.
        (0.01, 0.04, "ship B"),
        (-0.04, -0.01, "keep A"),
    ],
)
def test_an_interval_within_the_smallest_effect_keeps_a(
    low: float, high: float, decision: str
) -> None:
    found, reason = verdict(low=low, high=high, effect=0.05)
    assert found == decision
    assert ("is smaller than 0.05" in reason) is (decision == "keep A" and low < 0 < high)


@pytest.mark.parametrize(
    ("labelled", "requests"), [((800, 380), (1000, 500)), ((500, 330), (1000, 600))]
)
def test_labels_that_are_complete_in_one_arm_only_show(
    labelled: tuple[int, int], requests: tuple[int, int]
) -> None:
    arms = tuple(
        Arm(name, of, known, 0.5, 0.5)
        for name, known, of in zip("ab", labelled, requests, strict=True)
    )
    table = [[known, of - known] for known, of in zip(labelled, requests, strict=True)]
    expected = chi2_contingency(table, correction=False).pvalue
    assert expected < 0.1
    assert _labels_p(arms) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labelled", "requests"),
    [((0, 0), (10, 10)), ((10, 10), (10, 10)), ((0, 5), (0, 9)), ((5, 0), (9, 0))],
)
def test_labels_say_nothing_where_all_or_none_are_known(
    labelled: tuple[int, int], requests: tuple[int, int]
) -> None:
    arms = (
        Arm("a", requests[0], labelled[0], NAN, NAN),
        Arm("b", requests[1], labelled[1], NAN, NAN),
    )
    assert _labels_p(arms) == 1.0


def test_the_requests_that_would_decide_are_those_where_the_interval_leaves_out_zero() -> None:
    rng = np.random.default_rng(2)
    arm = np.tile([0, 1], 300)
    values = rng.normal(0, 1, 600) + 0.25 * arm
    track = unpaired(arm, values, tuned_for=2000, alpha=0.05)
    needed = _required(track, 2000, 0.05)
    assert needed is not None
    assert 600 < needed < 6000

    def reach(n: float) -> float:
        error = float(track.standard_error[-1]) * math.sqrt(600 / n)
        return float(critical(np.array(n), tuned_for=2000, alpha=0.05)) * error

    # Found on a grid from once to a thousand times the requests so far.
    grid = (600 * 10 ** (3 * step / 599) for step in range(600))
    difference = abs(float(track.difference[-1]))
    assert needed == math.ceil(next(size for size in grid if reach(size) < difference))
    assert _required(unpaired(arm, -values, tuned_for=2000, alpha=0.05), 2000, 0.05) == needed


def test_what_is_not_there_would_never_decide() -> None:
    arm = np.tile([0, 1], 300)
    same = np.repeat(np.arange(300) % 7.0, 2)
    assert _required(unpaired(arm, same, tuned_for=2000, alpha=0.05), 2000, 0.05) is None
    few = unpaired(arm[:100], same[:100], tuned_for=2000, alpha=0.05)
    assert _required(few, 2000, 0.05) is None
    # A difference so small that a thousand times the requests would not do.
    nearly = same + 0.01 * arm
    assert _required(unpaired(arm, nearly, tuned_for=2000, alpha=0.05), 2000, 0.05) is None
