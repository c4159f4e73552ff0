"""Fetching: a real server on loopback, and a file that is whole and right, or not there."""

import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from twinml import data
from twinml.errors import DataError

NAME = "bank-additional-full"
CONTENT = b'"age";"y"\n56;"no"\n'
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


# As UCI nests it, with the resource forks that it ships.
INNER = zipped(
    **{
        "bank-additional/._bank-additional-full.csv": b"fork",
        "__MACOSX/bank-additional/._bank-additional-full.csv": b"fork",
        "bank-additional/bank-additional-full.csv": CONTENT,
    }
)
PAGES = {
    "/good.zip": zipped(**{"bank.zip": zipped(x=b""), "bank-additional.zip": INNER}),
    "/flat.zip": zipped(**{f"{NAME}.csv": CONTENT}),
    "/changed.zip": zipped(**{f"{NAME}.csv": CONTENT + b'57;"yes"\n'}),
    "/other.zip": zipped(**{"other.csv": CONTENT}),
    "/my%20table.csv?sig=secret": b"a;y\n" + b"1,5;no\n2,5;yes\n" * 40,
    "/page.zip": b"<html>maintenance</html>",
}


class Publisher(BaseHTTPRequestHandler):
    requested: list[str]

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        if self.path == "/cut.zip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(PAGES["/good.zip"][:100])
            return
        if self.path == "/silent.zip":
            self.server.stopping.wait(5)
            return
        page = PAGES.get(self.path)
        self.send_response(200 if page else 503)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def publisher() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.requested = []
    server.stopping = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(publisher: ThreadingHTTPServer) -> str:
    publisher.requested.clear()
    return f"http://127.0.0.1:{publisher.server_address[1]}"


@pytest.mark.parametrize("page", ["/good.zip", "/flat.zip"])
def test_the_file_comes_out_of_the_zips(tmp_path: Path, url: str, page: str) -> None:
    folder = tmp_path / "new" / "folder"
    file = data.fetch(NAME, folder, url=url + page, sha256=SHA256)
    assert file == folder / f"{NAME}.csv"
    assert file.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [file]


def test_a_good_file_is_not_fetched_again(
    tmp_path: Path, url: str, publisher: ThreadingHTTPServer
) -> None:
    for _ in range(2):
        data.fetch(NAME, tmp_path, url=url + "/good.zip", sha256=SHA256)
    assert publisher.requested == ["/good.zip"]
    (tmp_path / f"{NAME}.csv").write_bytes(b"spoilt")
    data.fetch(NAME, tmp_path, url=url + "/good.zip", sha256=SHA256)
    assert (tmp_path / f"{NAME}.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("/missing.zip", "answered 503 Service Unavailable, expected 200"),
        ("/page.zip", "did not send a whole zip file"),
        ("/cut.zip", "cannot be fetched: the connection broke off"),
        ("/silent.zip", "cannot be fetched: no answer in time"),
        ("/other.zip", f"does not hold '{NAME}.csv'"),
        ("/changed.zip", f"expected {SHA256}"),
    ],
)
def test_what_goes_wrong_leaves_the_old_file(
    tmp_path: Path, url: str, page: str, message: str
) -> None:
    old = tmp_path / f"{NAME}.csv"
    old.write_bytes(b"an older file")
    with pytest.raises(DataError) as caught:
        data.fetch(NAME, tmp_path, url=url + page, sha256=SHA256, timeout=0.3)
    assert message in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"an older file"


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DataError, match="cannot be fetched: no connection"):
            data.fetch(NAME, tmp_path, url=f"http://127.0.0.1:{port}/x.zip", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_refused_before_any_request(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.fetch("bank-aditional-full", tmp_path)
    assert caught.value.hint == (
        "Did you mean 'bank-additional-full'? Known: bank-additional-full, bank-full."
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        data.fetch(NAME, tmp_path / "file", url=url + "/good.zip", sha256=SHA256)


def test_an_address_is_read_like_a_file(
    tmp_path: Path, url: str, publisher: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINML_HOME", str(tmp_path))
    for _ in range(2):
        dataset = data.load(f"{url}/my%20table.csv?sig=secret", "y")
    assert publisher.requested == ["/my%20table.csv?sig=secret"] * 2
    assert (dataset.name, dataset.n_rows, dataset.frame["a"][1]) == ("my-table", 80, 2.5)
    assert dataset.source.parent.parent == tmp_path / "downloads"
    assert data.load(dataset.source.as_uri(), "y").digest == dataset.digest
    with pytest.raises(DataError) as caught:
        data.load(f"{url.replace('//', '//me:secret@')}/no.csv?sig=secret", "y")
    assert caught.value.message == f"{url}/no.csv answered 503 Service Unavailable, expected 200"


def test_a_file_address_names_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("a,y\n" + "1,no\n2,yes\n" * 40)
    assert data.load((tmp_path / "a b.csv").as_uri(), "y").n_rows == 80
    assert data.load(f"file://localhost{tmp_path}/a%20b.csv", "y").n_rows == 80
    with pytest.raises(DataError, match="'file://elsewhere' names a file of another machine"):
        data.load("file://elsewhere/a.csv", "y")
    with pytest.raises(DataError, match=r"there is no file 'no\.csv'"):
        data.load("file://./no.csv", "y")
