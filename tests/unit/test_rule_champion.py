"""When one model replaces another, and what the record of a promotion says of how it went."""

from __future__ import annotations

import math

import pytest

from twinml.registry.promotion import abandoned, carry_out, serving, shares
from twinml.training._regression_metrics import METRICS as OF_NUMBERS
from twinml.training.metrics import HIGHER_IS_BETTER, METRICS, is_better

INF, NAN = math.inf, math.nan
A_BIT_MORE = math.nextafter(0.75, 1)
A_BIT_LESS = math.nextafter(0.75, 0)


def test_only_losses_are_better_when_lower() -> None:
    assert tuple(HIGHER_IS_BETTER) == (*METRICS, *OF_NUMBERS)
    assert {name for name in METRICS if not HIGHER_IS_BETTER[name]} == {"log_loss", "brier"}
    errors = {name for name in OF_NUMBERS if name.endswith("_error")}
    assert {name for name in OF_NUMBERS if not HIGHER_IS_BETTER[name]} == errors


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("new", "old", "min_gain", "better"),
    [
        (0.76, 0.75, 0.0, True),
        (A_BIT_MORE, 0.75, 0.0, True),
        (0.75, 0.75, 0.0, False),
        (A_BIT_LESS, 0.75, 0.0, False),
        (0.50, 0.75, 0.0, False),
        (-1.0, 1.0, 0.0, False),
        # By more than the least gain: a gain that equals it is not enough.
        (1.00, 0.75, 0.25, False),
        (math.nextafter(1.0, 2), 0.75, 0.25, True),
        (A_BIT_LESS + 0.25, 0.75, 0.25, False),
        (0.76, 0.75, 0.25, False),
        (0.50, 0.75, 0.25, False),
        (0.25, 0.75, 0.25, False),
        # What is not finite shows nothing.
        (NAN, 0.75, 0.0, False),
        (0.75, NAN, 0.0, False),
        (NAN, NAN, 0.0, False),
        (INF, 0.75, 0.0, False),
        (-INF, 0.75, 0.0, False),
        (0.75, INF, 0.0, False),
        (0.75, -INF, 0.0, False),
        (INF, INF, 0.0, False),
    ],
)
def test_equal_or_worse_never_replaces_the_champion(
    metric: str, new: float, old: float, min_gain: float, better: bool
) -> None:
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    assert is_better(metric, sign * new, sign * old, min_gain) is better
    if not min_gain:
        assert is_better(metric, sign * new, sign * old) is better


@pytest.mark.parametrize(
    ("traffic", "name"),
    [
        ({"blue": 90, "green": 10}, "blue"),
        ({"blue": 10, "green": 90}, "green"),
        ({"blue": 50, "green": 50}, "blue"),
        ({"green": 50, "blue": 50}, "green"),
        ({"blue": 0, "green": 1}, "green"),
    ],
)
def test_the_deployment_with_most_of_the_traffic_is_the_one_that_serves(
    traffic: dict[str, int], name: str
) -> None:
    assert serving(traffic) == name


@pytest.mark.parametrize(
    ("percent", "mirror", "expected"),
    [
        (10, False, ({"blue": 90, "green": 10}, {})),
        (0, False, ({"blue": 100, "green": 0}, {})),
        (100, False, ({"blue": 0, "green": 100}, {})),
        (10, True, ({"blue": 100}, {"green": 10})),
    ],
)
def test_a_challenger_gets_its_share_and_the_champion_the_rest(
    percent: int, mirror: bool, expected: tuple[dict[str, int], dict[str, int]]
) -> None:
    assert shares("blue", "green", percent, mirror=mirror) == expected


def test_only_earlier_challengers_are_removed() -> None:
    there = ["version-1", "version-2", "version-3", "blue", "my-version-4"]
    assert abandoned(there, {"version-3", "version-1"}) == ["version-2"]
    assert abandoned(there, {"blue"}) == ["version-1", "version-2", "version-3"]
    assert abandoned({}, {"blue"}) == []


@pytest.mark.parametrize("breaks", [None, 0, 1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_record_ends_after_the_last_step_and_says_how_it_went(
    breaks: int | None, error: type[BaseException]
) -> None:
    done: list[object] = []

    def step(number: int) -> None:
        if number == breaks:
            raise error("no quota")
        done.append(number)

    steps = [lambda number=number: step(number) for number in range(3)]
    if breaks is None:
        carry_out(steps, done.append)
        assert done == [0, 1, 2, "FINISHED"]
        return
    with pytest.raises(error, match="no quota"):
        carry_out(steps, done.append)
    assert done == [*range(breaks), "FAILED"]


def test_a_record_that_cannot_be_ended_as_finished_does_not_end_as_failed() -> None:
    ends: list[str] = []

    def end(status: str) -> None:
        ends.append(status)
        raise OSError("no connection")

    with pytest.raises(OSError, match="no connection"):
        carry_out([], end)
    assert ends == ["FINISHED"]
