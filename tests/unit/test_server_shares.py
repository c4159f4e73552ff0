"""Which percentages an endpoint may have, and who answers and gets copies because of them."""

from collections import Counter

import pytest

from twinml.errors import NotFound, PlatformUnavailable, UsageError
from twinml_local.server.deployments.deployment import Serving, choose, mirrored
from twinml_local.server.deployments.shares import check_shares

BOTH = ("blue", "green")


@pytest.mark.parametrize(
    ("traffic", "deployments", "point", "answers"),
    [
        # A share begins at its lower bound and ends before its upper one.
        ({"blue": 90, "green": 10}, BOTH, 0.0, "blue"),
        ({"blue": 90, "green": 10}, BOTH, 0.8999, "blue"),
        ({"blue": 90, "green": 10}, BOTH, 0.9, "green"),
        ({"blue": 90, "green": 10}, BOTH, 0.999999, "green"),
        ({"blue": 1, "green": 99}, BOTH, 0.0099, "blue"),
        ({"blue": 1, "green": 99}, BOTH, 0.01, "green"),
        # Shares that do not add up to 100 count in proportion to each other.
        ({"blue": 30, "green": 10}, BOTH, 0.7499, "blue"),
        ({"blue": 30, "green": 10}, BOTH, 0.75, "green"),
        ({"blue": 1, "green": 1}, BOTH, 0.4999, "blue"),
        ({"blue": 1, "green": 1}, BOTH, 0.5, "green"),
        ({"blue": 100, "green": 300}, BOTH, 0.2499, "blue"),
        ({"blue": 100, "green": 300}, BOTH, 0.25, "green"),
        # So do those that are left where one has traffic and is not loaded.
        ({"red": 50, "blue": 25, "green": 25}, BOTH, 0.0, "blue"),
        ({"red": 50, "blue": 25, "green": 25}, BOTH, 0.4999, "blue"),
        ({"red": 50, "blue": 25, "green": 25}, BOTH, 0.5, "green"),
        ({"red": 50, "blue": 25, "green": 25}, ("blue",), 0.999999, "blue"),
        # No share, no answer, wherever the point falls.
        ({"blue": 0, "green": 100}, BOTH, 0.0, "green"),
        ({"blue": 100, "green": 0}, BOTH, 0.999999, "blue"),
        ({"green": 100}, BOTH, 0.0, "green"),
        ({"blue": 50, "red": 0, "green": 50}, ("blue", "red", "green"), 0.5, "green"),
    ],
)
def test_who_answers(
    traffic: dict[str, int], deployments: tuple[str, ...], point: float, answers: str
) -> None:
    assert choose(traffic, deployments, wanted=None, point=point) == answers


@pytest.mark.parametrize("traffic", [{}, {"blue": 0}, {"red": 100}, {"blue": 0, "red": 100}])
def test_nobody_answers_without_a_share(traffic: dict[str, int]) -> None:
    with pytest.raises(PlatformUnavailable, match="no deployment of this endpoint has traffic"):
        choose(traffic, BOTH, wanted=None, point=0.0)


def test_a_request_that_names_a_deployment_gets_it_or_none() -> None:
    traffic = {"blue": 100}
    assert choose(traffic, BOTH, wanted="green", point=0.0) == "green"
    assert choose({}, BOTH, wanted="blue", point=0.0) == "blue"
    with pytest.raises(NotFound, match="there is no deployment 'red'") as caught:
        choose({"red": 100}, ("green", "blue"), wanted="red", point=0.0)
    assert caught.value.hint == "Deployed: blue, green."
    with pytest.raises(NotFound) as caught:
        choose(traffic, (), wanted="red", point=0.0)
    assert caught.value.hint == "Deployed: none."


@pytest.mark.parametrize("total", [*range(1, 130), 1000])
def test_the_last_point_belongs_to_the_last_share(total: int) -> None:
    last = 1 - 2**-53  # the largest number below 1
    traffic = {"blue": total - 1, "green": 1}
    assert choose(traffic, BOTH, wanted=None, point=last) == "green"


@pytest.mark.parametrize("traffic", [{"a": 70, "b": 20, "c": 10}, {"a": 7, "b": 2, "c": 1}])
def test_shares_are_as_wide_as_they_say(traffic: dict[str, int]) -> None:
    counted = Counter(
        choose(traffic, ("c", "b", "a"), wanted=None, point=step / 1000) for step in range(1000)
    )
    assert counted == {"a": 700, "b": 200, "c": 100}


@pytest.mark.parametrize(
    ("mirror", "deployments", "point", "copied_to"),
    [
        ({"green": 20}, BOTH, 0.0, "green"),
        ({"green": 20}, BOTH, 0.1999, "green"),
        ({"green": 20}, BOTH, 0.2, None),
        ({"green": 20}, BOTH, 0.999999, None),
        ({"green": 1}, BOTH, 0.0099, "green"),
        ({"green": 1}, BOTH, 0.01, None),
        ({"green": 0}, BOTH, 0.0, None),
        ({"green": 100}, BOTH, 0.999999, "green"),
        ({}, BOTH, 0.0, None),
        # The share of one that is not loaded goes to nobody else.
        ({"green": 20}, ("blue",), 0.0, None),
        ({"red": 20, "green": 20}, BOTH, 0.0, None),
        ({"red": 20, "green": 20}, BOTH, 0.1999, None),
        ({"red": 20, "green": 20}, BOTH, 0.2, "green"),
        ({"red": 20, "green": 20}, BOTH, 0.3999, "green"),
        ({"red": 20, "green": 20}, BOTH, 0.4, None),
    ],
)
def test_who_gets_a_copy(
    mirror: dict[str, int], deployments: tuple[str, ...], point: float, copied_to: str | None
) -> None:
    assert mirrored(mirror, deployments, point=point) == copied_to


@pytest.mark.parametrize(
    ("traffic", "loaded", "sole"),
    [
        ({"blue": 100}, BOTH, "blue"),
        ({"blue": 1}, BOTH, "blue"),
        ({"blue": 0, "green": 100}, BOTH, "green"),
        ({"blue": 99, "green": 1}, BOTH, None),
        ({"blue": 50, "green": 50}, ("blue",), "blue"),
        ({"blue": 0}, BOTH, None),
        ({}, BOTH, None),
    ],
)
def test_the_one_that_has_all_the_traffic(
    traffic: dict[str, int], loaded: tuple[str, ...], sole: str | None
) -> None:
    serving = Serving("bank", {name: name for name in loaded}, traffic, ())  # type: ignore[misc]
    assert serving.sole == sole
    if sole is not None:
        assert serving.chosen(None, 0.999999) == sole
        assert {serving.chosen(name, 0.0) for name in loaded} == set(loaded)


def test_one_that_did_not_load_says_so_to_who_names_it() -> None:
    deployments = {"blue": "blue", "green": "green"}
    serving = Serving("bank", deployments, {"blue": 50, "green": 50, "red": 50}, (), failed=["red"])  # type: ignore[arg-type]
    with pytest.raises(PlatformUnavailable, match="deployment 'red' did not load"):
        serving.chosen("red", 0.0)
    assert [serving.chosen(None, point) for point in (0.0, 0.4999, 0.5)] == [
        "blue",
        "blue",
        "green",
    ]
    assert serving.chosen("green", 0.0) == "green"
    with pytest.raises(NotFound):
        serving.chosen("grey", 0.0)


@pytest.mark.parametrize(
    ("traffic", "mirror"),
    [
        ({}, {}),
        ({"blue": 0}, {}),
        ({"blue": 0, "green": 0}, {}),
        ({"blue": 100}, {}),
        ({"blue": 100, "green": 0}, {}),
        ({"blue": 99, "green": 1}, {}),
        ({"blue": 100}, {"green": 0}),
        ({"blue": 100}, {"green": 50}),
        ({"blue": 100, "green": 0}, {"green": 1}),
        ({}, {"green": 50}),
    ],
)
def test_percentages_that_an_endpoint_may_have(
    traffic: dict[str, int], mirror: dict[str, int]
) -> None:
    check_shares(traffic, mirror)


@pytest.mark.parametrize(
    ("traffic", "mirror", "message"),
    [
        ({"blue": -1, "green": 101}, {}, "the share of 'blue' is -1 %"),
        ({"blue": 101, "green": -1}, {}, "the share of 'blue' is 101 %"),
        ({"blue": 100}, {"green": -1}, "the share of 'green' is -1 %"),
        ({"blue": 100}, {"green": 101}, "the share of 'green' is 101 %"),
        ({"blue": 99}, {}, r"adds up to 99 % \(blue=99\)"),
        ({"blue": 1}, {}, r"adds up to 1 % \(blue=1\)"),
        ({"blue": 100, "green": 1}, {}, r"adds up to 101 % \(blue=100 green=1\)"),
        ({"blue": 100}, {"green": 51}, "51 % is to be mirrored to 'green', expected at most 50"),
        ({"blue": 100}, {"green": 10, "red": 10}, "2 deployments are to be mirrored to"),
        ({"blue": 99, "green": 1}, {"green": 10}, "'green' has 1 % of the traffic"),
    ],
)
def test_percentages_that_it_may_not_have(
    traffic: dict[str, int], mirror: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_shares(traffic, mirror)
