"""Which bytes are a head like the last one."""

import pytest

from twinml_local.server.process._heads import LONGEST, around_length, body_behind, usual

BEFORE = b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: "
AFTER = b"\r\nAccept: */*\r\n\r\n"
AROUND = (BEFORE, AFTER)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (BEFORE + b"2" + AFTER + b"{}", (b"2", b"{}")),
        (BEFORE + b"12" + AFTER + b"x" * 12, (b"12", b"x" * 12)),
        (BEFORE + b"002" + AFTER + b"{}", (b"002", b"{}")),
        (BEFORE + b"000000002" + AFTER + b"{}", (b"000000002", b"{}")),
        (BEFORE + b"0000000002" + AFTER + b"{}", None),  # a digit too many
        (BEFORE + b"2" + AFTER + b"{}{", None),  # more than the body
        (BEFORE + b"2" + AFTER + b"{", None),  # less
        (BEFORE + b"0" + AFTER, None),
        (BEFORE + AFTER, None),
        (BEFORE + b"+2" + AFTER + b"{}", None),
        (BEFORE + b"2 " + AFTER + b"{}", None),
        (BEFORE + "\u0662".encode() + AFTER + b"{}", None),
        (BEFORE + b"2, 2" + AFTER + b"{}", None),
        (BEFORE + b"2\r\nA: b" + AFTER + b"{}", None),
        (BEFORE + b"2" + AFTER[:-2] + b"A: b\r\n\r\n{}", None),
        (BEFORE.replace(b"POST", b"POSS") + b"2" + AFTER + b"{}", None),
        (BEFORE + b"2", None),
        (BEFORE, None),
        (b"", None),
    ],
)  # fmt: skip
def test_the_body_behind_a_head(data: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert body_behind(AROUND, data) == found


LAST = b"POST /score HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: "


@pytest.mark.parametrize(
    ("data", "around"),
    [
        (BEFORE + b"2" + AFTER + b"{}", AROUND),
        (LAST + b"2\r\n\r\n{}", (LAST, b"\r\n\r\n")),
        (LAST + b"4\r\n\r\n\r\n\r\n", (LAST, b"\r\n\r\n")),
        (BEFORE + b"2" + AFTER + b"{}{", None),
        (BEFORE + b"2" + AFTER + b"{", None),
        (BEFORE + b"2" + AFTER[:-2], None),
        (BEFORE + b"2\r\nContent-Length: 2" + AFTER + b"{}", None),
        (BEFORE + b"2\r\nX-Content-Length: 2" + AFTER + b"{}", None),
        (BEFORE.replace(b"Length: ", b"Length:") + b"2" + AFTER + b"{}", None),
        (BEFORE.replace(b"Length: ", b"Length:  ") + b"2" + AFTER + b"{}", None),
        (b"POST / HTTP/1.1\r\n\r\n", None),
        (b"POST / HTTP/1.1", None),
        (b"", None),
    ],
)  # fmt: skip
def test_a_head_around_its_length(data: bytes, around: tuple[bytes, bytes] | None) -> None:
    assert around_length(data) == around


@pytest.mark.parametrize("over", [0, 1])
def test_long_heads_are_not_kept(over: int) -> None:
    spare = LONGEST - len(BEFORE) - 1 - len(b"\r\nA: \r\n\r\n")
    after = b"\r\nA: " + b"b" * (spare + over) + b"\r\n\r\n"
    assert around_length(BEFORE + b"1" + after + b"1") == (None if over else (BEFORE, after))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"HTTP_ACCEPT": "*/*"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, False),
        ({"HTTP_EXPECT": "100-continue"}, False),
        ({"HTTP_UPGRADE": "h2c"}, False),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, False),
    ],
)
def test_what_is_usual(more: dict[str, str], expected: bool) -> None:
    assert usual({"SERVER_PROTOCOL": "HTTP/1.1", **more}) is expected
