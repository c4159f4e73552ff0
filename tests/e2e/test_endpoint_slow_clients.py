"""Clients that send slowly or never finish, over raw sockets against the real process."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from twinml import model
from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
BODY = json.dumps({"data": [OLD]}).encode()


@pytest.fixture
def deployed(own_home: Path, model_directory: Path) -> Iterator[EndpointInfo]:
    yield endpoints.deploy(
        NAME,
        "blue",
        directory=model_directory,
        model=NAME,
        version="1",
        digest=model.digest(model_directory),
    )
    endpoints.stop()


def port_of(info: EndpointInfo) -> int:
    return int(info.scoring_uri.split(":")[2].split("/")[0])


def head(length: int) -> bytes:
    return (
        f"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {endpoints.keys(NAME).primary}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def test_half_open_connections_hold_nobody_up(deployed: EndpointInfo) -> None:
    beginnings = (b"", b"POST /sco", head(len(BODY)), head(len(BODY)) + BODY[:9], head(10**6))
    sockets = []
    try:
        for number in range(150):
            connection = socket.create_connection(("127.0.0.1", port_of(deployed)), timeout=20)
            connection.sendall(beginnings[number % len(beginnings)])
            sockets.append(connection)
        time.sleep(1)  # whoever would be stuck is stuck now
        headers = {"Authorization": f"Bearer {endpoints.keys(NAME).primary}"}
        for _ in range(10):
            reply = requests.post(
                deployed.scoring_uri, json={"data": [OLD]}, headers=headers, timeout=10
            )
            assert json.loads(reply.json()) == {"result": ["yes"]}
        assert endpoints.info(NAME) == deployed
        # Those who do finish are answered.
        for number in (2, 3):
            sockets[number].sendall(BODY if number == 2 else BODY[9:])
            sockets[number].settimeout(10)
            assert sockets[number].recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in sockets:
            connection.close()


def test_a_body_byte_by_byte(deployed: EndpointInfo) -> None:
    with socket.create_connection(("127.0.0.1", port_of(deployed)), timeout=20) as connection:
        for byte in head(len(BODY)) + BODY:
            connection.sendall(bytes([byte]))
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_reads_nothing_holds_nobody_up(deployed: EndpointInfo) -> None:
    big = json.dumps({"input_data": [OLD] * 20_000}).encode()
    sockets = []
    try:
        for _ in range(4):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", port_of(deployed)))
            connection.sendall(head(len(big)) + big)
            sockets.append(connection)
        with endpoints.client(NAME) as client:
            for _ in range(5):
                assert client.score([OLD]) == ["yes"]
    finally:
        for connection in sockets:
            connection.close()


def test_cors_by_the_environment(
    own_home: Path, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AML_CORS_ORIGINS", "https://shop.example, www.bing.com")
    info = endpoints.deploy(
        NAME,
        "blue",
        directory=model_directory,
        model=NAME,
        version="1",
        digest=model.digest(model_directory),
    )
    try:
        headers = {"Origin": "https://shop.example"}
        reply = requests.get(info.swagger_uri, headers=headers, timeout=10)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        # The endpoint keeps it when the environment no longer has it.
        monkeypatch.delenv("AML_CORS_ORIGINS")
        endpoints.stop()
        endpoints.start(NAME)
        reply = requests.get(info.swagger_uri, headers=headers, timeout=10)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    finally:
        endpoints.stop()
