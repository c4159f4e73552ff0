"""Pages of other origins: who may call the endpoint from a browser."""

from collections.abc import Callable

import pytest
from werkzeug.test import Client

from twinml.errors import UsageError
from twinml_local.server._cors import allowed_origin, read_origins

Serve = Callable[..., Client]

SHOP = "https://shop.example"
KEY = {"Authorization": "Bearer primary-key-0123456789"}
BODY = {"data": [{"age": 70, "balance": 1.5, "job": "admin.", "owner": True}]}


def test_without_the_setting_there_are_no_headers(client: Client) -> None:
    response = client.post("/score", json=BODY, headers=KEY | {"Origin": SHOP})
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
    assert "Vary" not in response.headers


def test_an_allowed_origin(serve: Serve) -> None:
    client = serve(cors_origins=(SHOP, "www.bing.com"))
    for origin in (SHOP, "https://www.bing.com", "http://www.bing.com:8000"):
        response = client.post("/score", json=BODY, headers=KEY | {"Origin": origin})
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert response.headers["Vary"] == "Origin"
        assert "x-request-id" in response.headers["Access-Control-Expose-Headers"]


def test_errors_can_be_read_by_the_page_too(serve: Serve) -> None:
    client = serve(cors_origins=(SHOP,))
    for response in (
        client.post("/score", json=BODY, headers={"Origin": SHOP}),
        client.get("/nowhere", headers={"Origin": SHOP}),
        client.post("/score", data=b"{", headers=KEY | {"Origin": SHOP}),
    ):
        assert response.status_code >= 400
        assert response.headers["Access-Control-Allow-Origin"] == SHOP


@pytest.mark.parametrize("origin", ["https://evil.example", "http://shop.example", "null", "[", ""])
def test_another_origin(serve: Serve, origin: str) -> None:
    client = serve(cors_origins=(SHOP,))
    response = client.post("/score", json=BODY, headers=KEY | {"Origin": origin})
    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


def test_any_origin(serve: Serve) -> None:
    response = serve(cors_origins=("*",)).get("/health", headers={"Origin": "null"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in response.headers


def test_a_preflight_request_needs_no_key(serve: Serve) -> None:
    client = serve(cors_origins=(SHOP,))
    response = client.options(
        "/score",
        headers={
            "Origin": SHOP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert response.status_code == 200
    assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) >= {"POST", "GET"}
    assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    assert int(response.headers["Access-Control-Max-Age"]) > 0
    # An ordinary OPTIONS request is no preflight.
    plain = client.options("/score", headers={"Origin": SHOP})
    assert "Access-Control-Allow-Methods" not in plain.headers


@pytest.mark.parametrize("text", ["https://", "a b@c", "https://shop.example/path", "://x"])
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(UsageError, match="AML_CORS_ORIGINS"):
        read_origins(text)


def test_hosts_are_compared_whole() -> None:
    assert allowed_origin(["shop.example"], "https://notshop.example") is None
    assert allowed_origin(["shop.example"], "https://shop.example.evil") is None
    assert allowed_origin(["Shop.Example"], "https://shop.example") == "https://shop.example"
