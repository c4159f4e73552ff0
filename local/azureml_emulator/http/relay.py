"""Hosts that are let through: package indexes, so that ``pip install`` works inside a job.

Everything else that is not emulated stays refused. What passes is TLS between the client and
the host: nothing of it is read here. The way out is the one that this process was started
with, ``HTTPS_PROXY`` included.
"""

from __future__ import annotations

import configparser
import os
import re
import selectors
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["index_hosts", "is_host", "open_way", "pip_files", "public_roots", "pump"]

CONNECT_SECONDS = 20.0
IDLE_SECONDS = 120.0
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*|\d+(\.\d+){3}")
_VARIABLES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL",
)  # fmt: skip
_SETTINGS = ("index-url", "extra-index-url", "find-links")


def is_host(text: str) -> bool:
    """Tell whether a text is the name of a host, and no more.

    >>> is_host("index.example.com"), is_host("https://example.com"), is_host("example.com:443")
    (True, False, False)
    """
    return _HOST.fullmatch(text) is not None


def index_hosts(environ: Mapping[str, str], files: Iterable[Path]) -> set[str]:
    """Return the hosts of the indexes that pip and uv are configured with.

    Parameters
    ----------
    environ
        The variables of pip and uv.
    files
        pip's configuration; those that are not there are left out.
    """
    texts = [environ.get(name, "") for name in _VARIABLES]
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in parser.sections():
            texts += [parser.get(section, name, fallback="") for name in _SETTINGS]
    named = any(environ.get(name) for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"))
    # uv's indexes may have a name: mine=https://…
    found = (urlsplit(re.sub(r"^[\w.-]+=", "", word)) for text in texts for word in text.split())
    hosts = {url.hostname for url in found if url.scheme == "https" and url.hostname}
    return hosts if named else hosts | _default_hosts()


def pip_files(home: Path) -> list[Path]:
    """Return where pip's configuration may be."""
    given = os.environ.get("PIP_CONFIG_FILE")
    return [
        Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf",
        Path(sys.prefix) / "pip.conf", *([Path(given)] if given else []),
    ]  # fmt: skip


def _default_hosts() -> set[str]:
    """Return the hosts of the index that pip takes when none is configured."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return set()
    hosts = (urlsplit(PyPI.simple_url).hostname, PyPI.file_storage_domain)
    return {host for host in hosts if host}


def public_roots(environ: Mapping[str, str]) -> str:
    """Return the certificates of public authorities as PEM, for the hosts that are let through."""
    names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT")
    places = [environ.get(name) for name in names]
    for place in [*places, ssl.get_default_verify_paths().cafile, _certifi()]:
        if place and Path(place).is_file():
            return Path(place).read_text(encoding="utf-8", errors="replace")
    return ""


def _certifi() -> str | None:
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()


def open_way(host: str, port: int) -> socket.socket:
    """Open a connection to a host, through the proxy that this process was given.

    Raises
    ------
    OSError
        There is no way.
    """
    proxy = None if proxy_bypass(host) else getproxies().get("https")
    if not proxy:
        return socket.create_connection((host, port), CONNECT_SECONDS)
    way = urlsplit(proxy)
    connection = socket.create_connection((way.hostname or "", way.port or 3128), CONNECT_SECONDS)
    try:
        connection.sendall(
            f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(1)
            if not part:
                raise ConnectionError(f"the proxy {way.hostname} hung up")
            head += part
        answer = head.split(b"\r\n")[0].decode("latin-1")
        if " 200" not in answer:
            raise ConnectionError(f"the proxy {way.hostname} answers '{answer}'")
    except BaseException:
        connection.close()
        raise
    return connection


def pump(one: socket.socket, other: socket.socket) -> None:
    """Send on what comes from either side, until one of them closes."""
    with selectors.DefaultSelector() as selector:
        for ends in ((one, other), (other, one)):
            ends[0].settimeout(IDLE_SECONDS)
            selector.register(ends[0], selectors.EVENT_READ, ends)
        while ready := selector.select(IDLE_SECONDS):
            for key, _ in ready:
                part = key.data[0].recv(1 << 16)
                if not part:
                    return
                key.data[1].sendall(part)
