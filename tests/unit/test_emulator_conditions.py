"""When a change to a resource is refused for the state that the resource is in."""

import pytest

from azureml_emulator.arm._conditions import conditions_hold


@pytest.mark.parametrize(
    ("if_match", "there", "absent"),
    [
        (None, True, True),
        ("*", True, False),
        (" * ", True, False),
        ('"now"', True, False),
        ('"earlier"', False, False),
        ('"earlier", "now"', True, False),
        ('"now","later"', True, False),
        ('"earlier", "later"', False, False),
        ("now", False, False),
        ('"NOW"', False, False),
        # A weak etag says that two are alike, not that they are the same.
        ('W/"now"', False, False),
        ('"*"', False, False),
        ("", False, False),
    ],
)
def test_if_match(if_match: str | None, there: bool, absent: bool) -> None:
    assert conditions_hold(if_match, None, "now") is there
    assert conditions_hold(if_match, None, None) is absent


@pytest.mark.parametrize(
    ("if_none_match", "there"),
    [
        (None, True),
        ("*", False),
        ('"now"', False),
        ('W/"now"', False),
        ('"earlier"', True),
        ('"earlier", "now"', False),
        ("now", True),
        ("", True),
    ],
)
def test_if_none_match(if_none_match: str | None, there: bool) -> None:
    assert conditions_hold(None, if_none_match, "now") is there
    assert conditions_hold(None, if_none_match, None) is True


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "holds"),
    [
        ('"now"', '"earlier"', True),
        ('"now"', '"now"', False),
        ('"earlier"', '"earlier"', False),
        ("*", "*", False),
    ],
)
def test_both_have_to_hold(if_match: str, if_none_match: str, holds: bool) -> None:
    assert conditions_hold(if_match, if_none_match, "now") is holds
