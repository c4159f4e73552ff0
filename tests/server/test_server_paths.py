"""Paths that are nearly a route: a 404 that says which one is meant, in the shape of all errors."""

from __future__ import annotations

import pytest

from tests.server.conftest import KEY, Serve


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/score/", "Send it to /score, letter by letter."),
        ("/Score", "Send it to /score, letter by letter."),
        ("//score", "Send it to /score, letter by letter."),
        ("/invocations//", "Send it to /invocations, letter by letter."),
        ("/scores", "See /docs/."),
        ("/score/score", "See /docs/."),
    ],
)
def test_a_path_that_is_nearly_a_route(serve: Serve, path: str, hint: str) -> None:
    environ = {"PATH_INFO": path, "HTTP_AUTHORIZATION": f"Bearer {KEY}"}
    reply = serve().post("/", json={"data": []}, environ_overrides=environ)
    assert reply.status_code == 404
    assert reply.json == {
        "error_code": "ENDPOINT_NOT_FOUND", "message": f"there is no route {path}", "hint": hint,
    }  # fmt: skip
