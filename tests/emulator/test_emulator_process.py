"""The emulator as a process: its proxy, its login, and what is left after it is killed."""

import io
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.e2e

ARM = "https://management.azure.com"
VERSION = {"api-version": "2023-04-01-preview"}
COMPUTES = {"api-version": "2023-08-01-preview"}


@pytest.fixture(scope="module")
def emulator(emulators):
    return emulators()


@pytest.fixture(scope="module")
def http(emulator):
    with emulator.signed_in() as session:
        yield session


def data(path: str = "x") -> dict[str, Any]:
    uri = f"azureml://datastores/workspaceblobstore/paths/{path}"
    return {"properties": {"dataType": "uri_file", "dataUri": uri}}


def sas(emulator: Any, http: requests.Session) -> tuple[str, str]:
    """Return the address of the default container and a token that opens it."""
    base = f"{ARM}{emulator.workspace}/datastores/workspaceblobstore"
    store = http.get(base, params=VERSION, timeout=10).json()["properties"]
    secret = http.post(f"{base}/listSecrets", params=VERSION, json={}, timeout=10).json()
    host = f"https://{store['accountName']}.blob.core.windows.net"
    return f"{host}/{store['containerName']}", secret["sasToken"]


def test_a_kill_loses_nothing_that_was_acknowledged(emulators):
    emulator = emulators()
    http = emulator.signed_in()
    base = f"{ARM}{emulator.workspace}"
    container, token = sas(emulator, http)
    content = os.urandom(300_000)
    put = http.put(
        f"{container}/folder/blob{token}",
        data=content,
        headers={"x-ms-blob-type": "BlockBlob", "x-ms-meta-upload_status": "completed"},
        timeout=10,
    )
    assert put.status_code == 201
    assert http.put(f"{base}/data/d/versions/1", json=data(), params=VERSION, timeout=10).ok
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_F2"}}}
    created = http.put(f"{base}/computes/cluster", json=body, params=COMPUTES, timeout=10)
    assert created.json()["properties"]["provisioningState"] == "Creating"
    emulator.kill()
    with pytest.raises(requests.RequestException):
        http.get(base, params=VERSION, timeout=2)

    emulator.start()
    http = emulator.signed_in()
    assert http.get(f"{base}/data/d/versions/1", params=VERSION, timeout=10).ok
    assert http.get(f"{container}/folder/blob{token}", timeout=10).content == content
    head = http.head(f"{container}/folder/blob{token}", timeout=10)
    assert head.headers["x-ms-meta-upload_status"] == "completed"
    # The operation that was under way comes to its end although its process did not.
    status = created.headers["Azure-AsyncOperation"]
    deadline = time.monotonic() + 60
    while http.get(status, timeout=10).json()["status"] != "Succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    after = http.get(f"{base}/computes/cluster", params=COMPUTES, timeout=10).json()
    assert after["properties"]["provisioningState"] == "Succeeded"


def test_an_upload_that_a_kill_cut_short_leaves_nothing(emulators):
    emulator = emulators()
    http = emulator.signed_in()
    container, token = sas(emulator, http)

    def written() -> list[int]:
        folder = emulator.directory / "storage" / "content"
        return [path.stat().st_size for path in folder.iterdir()]

    class Endless(io.RawIOBase):
        sent = 0

        def __len__(self) -> int:
            return 1 << 30

        def read(self, size: int = -1) -> bytes:
            Endless.sent += 1
            # Not before the upload has reached the disk.
            if Endless.sent > 20 and any(written()):
                emulator.kill()
            return bytes(1 << 16)

    with pytest.raises(requests.RequestException):
        http.put(
            f"{container}/half{token}",
            data=Endless(),
            headers={"x-ms-blob-type": "BlockBlob"},
            timeout=10,
        )
    assert len(written()) == 1
    emulator.start()
    assert emulator.signed_in().head(f"{container}/half{token}", timeout=10).status_code == 404
    assert written() == []


def test_versions_that_are_put_at_once_are_all_there(emulator):
    def put(number: int) -> int:
        with emulator.signed_in() as http:
            address = f"{ARM}{emulator.workspace}/data/race/versions/{number}"
            return http.put(address, json=data(), params=VERSION, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(put, range(1, 17))) == {201}
    with emulator.signed_in() as http:
        asset = http.get(f"{ARM}{emulator.workspace}/data/race", params=VERSION, timeout=10).json()
    assert asset["properties"]["nextVersion"] == "17"


def test_hosts_that_are_not_emulated_are_refused_and_logged(emulator, http):
    answer = http.get("https://example.org/secret?word=open-sesame", timeout=10)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "HostNotEmulated"
    assert "'example.org'" in answer.json()["error"]["message"]
    log = emulator.log.read_text()
    assert "refused: GET example.org/secret" in log
    assert "open-sesame" not in log


def test_the_metadata_service_is_refused(emulator):
    with emulator.session() as http:
        answer = http.get(
            "http://169.254.169.254/metadata/identity/oauth2/token",
            headers={"Metadata": "true"},
            timeout=60,
        )
    assert answer.status_code == 403
    assert "unreachable" in answer.json()["error"]["message"]


def test_a_client_without_our_certificate_does_not_trust_it(emulator):
    proxies = {"https": emulator.variables["HTTPS_PROXY"]}
    session = requests.Session()
    session.trust_env = False
    with pytest.raises(requests.exceptions.SSLError):
        session.get(ARM, proxies=proxies, timeout=5)


def test_login_gives_tokens_for_the_right_secret_only(emulator):
    with emulator.session() as http:
        assert emulator.token(http).json()["token_type"] == "Bearer"
        wrong = emulator.token(http, client_secret="wrong")
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        stranger = emulator.token(http, client_id="stranger")
        assert (stranger.status_code, stranger.json()["error"]) == (401, "unauthorized_client")
        other = emulator.token(http, grant_type="password")
        assert (other.status_code, other.json()["error"]) == (400, "unsupported_grant_type")
        elsewhere = http.post(
            "https://login.microsoftonline.com/elsewhere/oauth2/v2.0/token", timeout=10
        )
        assert elsewhere.json()["error"] == "invalid_tenant"


def test_management_wants_a_token(emulator):
    with emulator.session() as http:
        answer = http.get(f"{ARM}{emulator.workspace}", params=VERSION, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_one_connection_serves_many_requests_whatever_their_bodies(emulator):
    """A body that nobody reads must not become the start of the next request."""
    address = f"{ARM}{emulator.workspace}"
    with emulator.signed_in() as http:
        for _ in range(3):
            assert (
                http.post(f"{address}/nowhere", data=b"x" * 70_000, timeout=10).status_code == 501
            )
            chunked = http.put(
                f"{address}/data/chunks/versions/1",
                data=iter([b'{"properties": {"dataType": "uri_file",', b'"dataUri": "a"}}']),
                params=VERSION,
                timeout=10,
            )
            assert chunked.status_code in (200, 201)
            assert http.get(address, params=VERSION, timeout=10).json()["name"] == "emulator"


def test_only_this_machine_can_connect(emulator):
    port = int(emulator.variables["HTTPS_PROXY"].rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(2)
        with pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))


def test_a_folder_has_one_emulator_at_a_time(emulator):
    second = subprocess.run(
        [sys.executable, "-m", "azureml_emulator", "--directory", str(emulator.directory)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.startswith("Error: another emulator is using ")


def test_it_stops_when_asked_and_keeps_its_secrets_to_its_owner(emulators):
    emulator = emulators()
    with emulator.session() as http:
        ready = http.get(emulator.variables["HTTPS_PROXY"], timeout=60).json()
    assert ready == {"azureml_emulator": "ready", "workspace": emulator.workspace}
    assert emulator.stop() == 0
    files = [path for path in emulator.directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"site.json", "environment.json", "ca.pem"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    secret = emulator.variables["AZURE_CLIENT_SECRET"]
    assert secret not in emulator.log.read_text()


def test_it_prints_what_to_export(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "azureml_emulator", "--directory", str(tmp_path / "e")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(11)]
        process.terminate()
        assert process.wait(10) == 0
    names = [line.removeprefix("export ").partition("=")[0] for line in lines]
    assert names[:4] == ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"]
    assert all(line.startswith("export ") for line in lines)
