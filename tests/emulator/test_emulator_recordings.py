"""Recordings: what is kept of exchanges, and that they are answered again as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.test import Client, TestResponse

from azureml_emulator.app import Emulator
from azureml_emulator.identity import tokens
from azureml_emulator.recordings import (
    MASK,
    PARTS,
    Asked,
    Recorder,
    RecordingError,
    Replay,
    asked_of,
    difference,
    nearest,
)
from tests.emulator.conftest import ARM_VERSION

ARM = "management.azure.com"
Send = Callable[..., TestResponse]


def sender(app: Any, account: Any) -> Send:
    """Return what sends a request as the proxy would hand it on."""
    client = Client(app)
    token = tokens.issue(account, f"https://{ARM}/.default")
    storage = tokens.issue(account, "https://storage.azure.com/.default")

    def send(
        method: str, path: str, body: Any = None, *, host: str = ARM, query: str = "", **more: Any
    ) -> TestResponse:
        bearer = storage if ".blob." in host else token
        sent = {"authorization": f"Bearer {bearer}", **more.pop("headers", {})}
        return client.open(
            path, method=method, json=body, headers=sent, buffered=True,
            query_string=query or f"api-version={ARM_VERSION}",
            environ_overrides={
                "azureml_emulator.host": host,
                "azureml_emulator.path": path,
                "azureml_emulator.headers": list(sent.items()),
            },
            **more,
        )  # fmt: skip

    return send


@pytest.fixture
def recording(tmp_path: Path, emulator: Emulator) -> tuple[Path, Send, str]:
    """Return a file that is recorded into, what sends to the emulator, and its workspace."""
    file = tmp_path / "recordings" / "one.jsonl"
    account = emulator.account
    recorder = Recorder(emulator, file, account, emulator.router.knows_host)
    return file, sender(recorder, account), account.workspace_id


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_session_is_answered_again_in_its_order(recording: tuple[Path, Send, str]) -> None:
    file, send, workspace = recording
    blob = "/azureml-blobstore-emulator/a.json"

    def session(send: Send) -> list[list[Any]]:
        asset = f"{workspace}/data/rows/versions/1"
        body = {"properties": {"dataType": "uri_file", "dataUri": "https://h/x?sv=1&sig=a%2Bb"}}
        answers = [
            send("GET", asset), send("PUT", asset, body), send("GET", asset),
            send("GET", asset.replace("/data/", "/DATA/")), send("GET", f"{workspace}/data"),
            send("POST", f"{workspace}/listKeys"),
            send("POST", f"{workspace}/datastores/workspaceblobstore/listSecrets"),
            send("GET", f"{workspace}/nothing/x"),
        ]  # fmt: skip
        return [[one.status_code, one.get_json()] for one in answers]

    first = session(send)
    assert [status for status, _ in first][:3] == [404, 201, 200]
    account = Replay(file).account
    again = [session(sender(Replay(file), account)) for _ in range(2)]
    assert again[0] == again[1]
    kept = file.read_text()
    for secret in ("a%2Bb", "Bearer", first[5][1]["userStorageKey"]):
        assert secret not in kept, secret
    assert again[0][:5] == json.loads(json.dumps(first[:5]).replace("a%2Bb", MASK))
    assert (again[0][5][0], again[0][5][1]["userStorageKey"]) == (200, MASK)
    assert again[0][6][1]["secretsType"] == first[6][1]["secretsType"]
    # The last answer is given from then on.
    send_again = sender(Replay(file), account)
    asset = f"{workspace}/data/rows/versions/1"
    found = [send_again("GET", asset).status_code for _ in range(4)]
    assert found == [404, 200, 200, 200]
    assert sender(Replay(file), account)("GET", blob, host="other.blob.x").status_code == 403


def test_files_are_kept_byte_for_byte_and_known_by_what_signs_them_not(
    recording: tuple[Path, Send, str], emulator: Emulator
) -> None:
    file, send, _ = recording
    host, path = emulator.account.blob_host, "/azureml-blobstore-emulator/a%20b.json"
    content = b'{"a":  1}\n'
    headers = {"x-ms-blob-type": "BlockBlob"}
    session: list[tuple[str, dict[str, Any]]] = [
        ("PUT", {"data": content, "headers": headers}), ("HEAD", {}), ("GET", {}),
        ("GET", {"headers": {"x-ms-range": "bytes=0-3"}}), ("DELETE", {}),
    ]  # fmt: skip
    before = [send(method, path, host=host, query="x=1", **more) for method, more in session]
    after_send = sender(Replay(file), emulator.account)
    after = [
        after_send(method, path, host=host, query="x=1&sv=2&sig=other", **more)
        for method, more in session
    ]
    for one, other in zip(before, after, strict=True):
        assert (one.status_code, one.data) == (other.status_code, other.data)
        assert one.headers.get("x-ms-error-code") == other.headers.get("x-ms-error-code")
    assert '"a"' not in json.dumps([one.get("request") for one in lines(file)])
    assert before[1].headers["Content-Length"] == after[1].headers["Content-Length"]


def test_what_was_not_recorded_names_what_is_most_like_it(
    recording: tuple[Path, Send, str],
) -> None:
    file, send, workspace = recording
    asset = f"{workspace}/data/rows/versions/1"
    send("PUT", asset, {"properties": {"dataType": "uri_file", "dataUri": "azureml:a"}})
    account = Replay(file).account
    asked = {"properties": {"dataType": "uri_folder", "dataUri": "azureml:a"}}
    answer = sender(Replay(file), account)("PUT", asset, asked)
    assert answer.status_code == 501
    error = answer.get_json()["error"]
    assert error["code"] == "NotRecorded"
    assert f"most like it is PUT {ARM}{asset}?api-version={ARM_VERSION}" in error["message"]
    assert error["message"].endswith(
        "but its body differs: 'properties.dataType' was \"uri_file\"."
    )
    loose = sender(Replay(file, [part for part in PARTS if part != "body"]), account)
    assert loose("PUT", asset, asked).status_code == 201


def test_an_answer_too_large_is_not_kept(
    recording: tuple[Path, Send, str], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, send, _ = recording
    monkeypatch.setattr("azureml_emulator.recordings.MOST_BYTES", 5)
    host, path = emulator.account.blob_host, "/azureml-blobstore-emulator/large"
    headers = {"x-ms-blob-type": "BlockBlob"}
    assert send("PUT", path, host=host, data=b"123456", headers=headers).status_code == 201
    assert send("GET", path, host=host).data == b"123456"
    again = sender(Replay(file), emulator.account)
    assert lines(file)[1]["request"]["digest"].startswith("sha256 ")
    assert again("PUT", path, host=host, data=b"123456", headers=headers).status_code == 201
    assert again("PUT", path, host=host, data=b"123457", headers=headers).status_code == 501
    answer = again("GET", path, host=host)
    assert (answer.status_code, "6 bytes" in answer.text) == (501, True)


def test_a_file_of_others_is_refused(recording: tuple[Path, Send, str], tmp_path: Path) -> None:
    file, send, workspace = recording
    send("GET", workspace)
    other = Emulator(tmp_path / "other")
    try:
        with pytest.raises(RecordingError, match="of another state folder"):
            Recorder(other, file, other.account, other.router.knows_host)
    finally:
        other.close()
    for text, words in (
        ("", "no recording"), ("{}", "no recording"),
        ('{"azureml_emulator": 1}', "another version"),
        (file.read_text() + "{}\n", "line 3, is no exchange"),
        (file.read_text() + "{\n", "line 3, is no exchange"),
    ):  # fmt: skip
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(RecordingError, match=words):
            Replay(tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "GET"}, "its method differs"),
        ({"host": "i"}, "its host differs"),
        ({"path": "/y"}, "its path differs"),
        ({"query": "a=2"}, "its query differs: 'a' was '1'"),
        ({"query": ""}, "its query differs: 'a' was '1'"),
        ({"query": "a=1&b=3"}, "its query differs: 'b' was not sent"),
        ({"body": b""}, "its body differs"),
        ({"body": b'{"k": [1, {"m": 3}]}'}, "its body differs: 'k[1].m' was 2"),
        ({"body": b'{"k": [1]}'}, """its body differs: 'k' was [1,{"m":2}]"""),
        ({"body": b'{"k": [1, {"m": 2}], "l": 1}'}, "its body differs: 'l' was not sent"),
        ({"body": b'{}'}, "its body differs: 'k' is missing"),
    ],
)  # fmt: skip
def test_the_difference_is_named(change: dict[str, Any], words: str) -> None:
    kept = {"method": "PUT", "host": "h", "path": "/x", "query": "a=1",
            "body": b'{"k": [1, {"m": 2}]}'}  # fmt: skip
    assert difference(asked_of(**{**kept, **change}), asked_of(**kept)) == words


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ([], None),
        ([Asked("GET", "h", "/a/b"), Asked("PUT", "h", "/a/x")], 1),
        ([Asked("GET", "h", "/a/b")], 0),
        ([Asked("PUT", "h", "/q"), Asked("PUT", "h", "/a/b", (("v", "1"),))], 1),
        ([Asked("PUT", "h", "/a/bb"), Asked("PUT", "h", "/A/b", (), "{}")], 1),
    ],
)
def test_the_nearest_has_the_method_and_most_of_the_address(
    kept: list[Asked], found: int | None
) -> None:
    near = nearest(Asked("PUT", "h", "/a/b"), kept)
    assert near == (None if found is None else kept[found])


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("sv=1&sr=b&sig=x&comp=list", (("comp", "list"),)),
        ("sv=1&sr=b", (("sr", "b"), ("sv", "1"))),
        (f"{MASK.replace('=', '%3D')}&comp=list", (("comp", "list"),)),
        ("b=&a=2&a=1", (("a", "1"), ("a", "2"), ("b", ""))),
    ],
)
def test_a_query_counts_but_for_what_signs_it(query: str, pairs: Any) -> None:
    assert asked_of("GET", "h", "/", query, b"").query == pairs


@pytest.mark.e2e
def test_a_recording_is_served_without_an_emulator(emulators: Any, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"

    def ask(told: dict[str, str]) -> list[Any]:
        with requests.Session() as session:
            session.trust_env = False
            session.proxies = {"https": told["HTTPS_PROXY"]}
            session.verify = told["REQUESTS_CA_BUNDLE"]
            token = session.post(
                f"https://login.microsoftonline.com/{told['AZURE_TENANT_ID']}/oauth2/v2.0/token",
                data={"grant_type": "client_credentials", "scope": f"https://{ARM}/.default",
                      "client_id": told["AZURE_CLIENT_ID"],
                      "client_secret": told["AZURE_CLIENT_SECRET"]}, timeout=60,
            ).json()["access_token"]  # fmt: skip
            address = f"https://{ARM}/subscriptions/{told['AZURE_SUBSCRIPTION_ID']}/resourceGroups"
            answer = session.get(
                address, params={"api-version": "2022-09-01"}, timeout=60,
                headers={"Authorization": f"Bearer {token}"},
            )  # fmt: skip
            return [answer.status_code, answer.json()]

    recorded = emulators("--record", str(file))
    before = ask(recorded.environment)
    assert before[0] == 200
    assert recorded.stop() == 0
    replayed = emulators("--replay", str(file))
    assert ask(replayed.environment) == before
    assert replayed.stop() == 0
    assert list((replayed.directory).glob("*.sqlite")) == []
