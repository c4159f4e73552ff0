"""Which keys open an endpoint."""

import pytest

from twinml_local.keys import offered_key, opens
from twinml_local.server.deployments.deployment import Serving
from twinml_local.server.scoring.service import Exchange


@pytest.mark.parametrize(
    ("header", "offered"),
    [
        ("Bearer key", b"key"),
        ("bearer key", b"key"),
        ("BEARER key", b"key"),
        ("bEaReR key", b"key"),
        ("Bearer  key ", b"key"),
        ("Bearer a b", b"a b"),
        ("Bearer clé", "clé".encode()),
        ("Basic key", b""),
        ("Bearerkey", b""),
        ("Bearer", b""),
        ("Bearer ", b""),
        ("Bearer   ", b""),
        (" Bearer key", b""),
        ("key", b""),
        ("", b""),
    ],
)
def test_the_scheme_is_bearer_in_any_case(header: str, offered: bytes) -> None:
    assert offered_key(header) == offered


@pytest.mark.parametrize(
    ("offered", "opened"),
    [
        (b"first", True),
        (b"second", True),
        (b"First", False),
        (b"firs", False),
        (b"first1", False),
        (b"firstsecond", False),
        (b"", False),
    ],
)
def test_either_key_opens_and_nothing_else(offered: bytes, opened: bool) -> None:
    assert opens(offered, [b"first", b"second"]) is opened
    assert opens(offered, [b"second", b"first"]) is opened
    assert opens(offered, [b"", b"second", b"first", b""]) is opened
    assert opens(offered, []) is False


@pytest.mark.parametrize(
    ("header", "keys", "refusal"),
    [
        ("Bearer first", ("first", "second"), None),
        ("bearer second", ("first", "second"), None),
        ("Bearer third", ("first", "second"), "the key is wrong"),
        ("Bearer second", ("first",), "the key is wrong"),
        ("Basic first", ("first", "second"), "the key is missing"),
        (None, ("first", "second"), "the key is missing"),
        # An endpoint whose keys are empty is closed, not open.
        (None, ("", ""), "the key is missing"),
        ("Bearer ", ("", "second"), "the key is missing"),
        ("Bearer first", (), "the key is wrong"),
    ],
)
def test_a_request_is_told_what_is_wrong_with_its_key(
    header: str | None, keys: tuple[str, ...], refusal: str | None
) -> None:
    environ = {} if header is None else {"HTTP_AUTHORIZATION": header}
    serving = Serving("bank", {}, {}, keys)
    assert Exchange(environ, serving, "id").refusal() == refusal
