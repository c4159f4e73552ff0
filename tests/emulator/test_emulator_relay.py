"""Hosts that are let through: the package index, by name, and nothing else."""

import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from azureml_emulator.__main__ import main
from azureml_emulator.http.certificates import CertificateAuthority
from azureml_emulator.http.proxy import Proxy
from azureml_emulator.http.relay import index_hosts, is_host


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("index.example.com", True), ("localhost", True), ("10.0.0.1", True),
        ("https://example.com", False), ("example.com:443", False), ("a b", False),
        ("-a.com", False), ("", False), ("*", False),
    ],
)  # fmt: skip
def test_a_host_is_a_name_and_no_more(text: str, yes: bool):
    assert is_host(text) is yes


@pytest.mark.parametrize(
    ("environ", "configured", "hosts"),
    [
        ({"PIP_INDEX_URL": "https://me:secret@one.example/simple"}, "", {"one.example"}),
        (
            {"PIP_INDEX_URL": "https://one.example/", "PIP_EXTRA_INDEX_URL": "https://b.example/"},
            "", {"one.example", "b.example"},
        ),
        ({"UV_DEFAULT_INDEX": "mine=https://two.example/simple"}, "", {"two.example"}),
        (
            {"UV_INDEX_URL": "https://three.example/a?b=c"},
            "[global]\nextra-index-url =\n  https://four.example/x\n  https://five.example/y\n",
            {"three.example", "four.example", "five.example"},
        ),
        ({"PIP_INDEX_URL": "http://plain.example/", "PIP_FIND_LINKS": "/opt/wheels"}, "", set()),
        ({"PIP_INDEX_URL": "https://one.example/"}, "no section", {"one.example"}),
    ],
)  # fmt: skip
def test_the_configured_index_is_let_through(tmp_path: Path, environ, configured, hosts):
    path = tmp_path / "pip.conf"
    path.write_text(configured)
    assert index_hosts(environ, [path, tmp_path / "absent.conf"]) == hosts


def test_where_none_is_configured_it_is_pips_own(tmp_path: Path):
    assert index_hosts({}, [tmp_path / "absent.conf"])


@pytest.mark.parametrize("given", ["https://example.com", "management.azure.com"])
def test_what_cannot_be_let_through_is_refused(tmp_path: Path, given: str):
    done = CliRunner().invoke(main, ["--directory", str(tmp_path / "e"), "--allow", given])
    assert done.exit_code == 1
    assert f"--allow {given}" in done.output.replace(" is '", " ").replace("'", "")


def connect(proxy: Proxy, goal: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.server_port), 10)
    client.sendall(f"CONNECT {goal} HTTP/1.1\r\nHost: {goal}\r\n\r\n".encode())
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    return client


def test_bytes_pass_to_a_host_that_is_let_through_and_to_no_other(monkeypatch):
    monkeypatch.setattr("azureml_emulator.http.relay.getproxies", dict)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer() -> None:
        came, _ = listener.accept()
        with came:
            came.sendall(came.recv(100)[::-1])

    allowed = frozenset({"localhost"})
    with Proxy(lambda *_: [], CertificateAuthority(), allowed=allowed) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        server = threading.Thread(target=answer)
        server.start()
        with connect(proxy, f"localhost:{port}") as client:
            client.sendall(b"through")
            assert client.recv(100) == b"hguorht"
        server.join()
        # The same place by another name: it speaks TLS with the emulator, not with the listener.
        listener.settimeout(0.3)
        with connect(proxy, f"127.0.0.1:{port}"), pytest.raises(TimeoutError):
            listener.accept()
        listener.close()
        with socket.create_connection(("127.0.0.1", proxy.server_port), 10) as client:
            client.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 502")
        proxy.shutdown()
        thread.join()
