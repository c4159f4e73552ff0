"""The management plane and the storage, asked in this process."""

import base64
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from werkzeug.test import TestResponse

from azureml_emulator.app import Emulator
from azureml_emulator.arm.resource_types import RESOURCE_TYPES
from azureml_emulator.arm.resources import ResourceStore
from azureml_emulator.errors import StorageError
from azureml_emulator.storage import sas
from tests.emulator.conftest import ARM_VERSION
from tests.emulator.contract import Ask


def data(**more: Any) -> dict[str, Any]:
    return {"properties": {"dataType": "uri_file", "dataUri": "azureml://x", **more}}


def names(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json["value"]]


def located(properties: Any) -> dict[str, Any]:
    return {"location": "eastus", "properties": properties}


def refusal(answer: TestResponse) -> tuple[int, str]:
    assert set(answer.json) == {"error"}
    assert answer.json["error"]["message"]
    return answer.status_code, answer.json["error"]["code"]


def test_versions_are_numbered_by_the_largest_and_the_newest(ask: Ask):
    for version in ("3", "1", "beta"):
        assert ask("PUT", f"/data/d/versions/{version}", data()).status_code == 201
    asset = ask("GET", "/data/d").json["properties"]
    assert (asset["latestVersion"], asset["nextVersion"]) == ("beta", "4")
    assert ask("DELETE", "/data/d/versions/beta").status_code == 200
    assert ask("GET", "/data/d").json["properties"]["latestVersion"] == "1"
    assert ask("DELETE", "/data/d/versions/beta").status_code == 204


def test_a_version_may_change_its_tags_but_not_its_content(ask: Ask):
    assert ask("PUT", "/data/d/versions/1", data()).status_code == 201
    changed = ask("PUT", "/data/d/versions/1", data(tags={"a": "b"}))
    assert changed.status_code == 200
    assert changed.json["properties"]["tags"] == {"a": "b"}
    assert refusal(ask("PUT", "/data/d/versions/1", data(dataUri="azureml://y"))) == (
        409,
        "UserError",
    )
    assert ask("GET", "/data/d/versions/1").json["properties"]["dataUri"] == "azureml://x"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/data/d/versions/1", {"properties": {"dataType": "uri_file"}}, 400, "ValidationError"),
        ("/data/d.d/versions/1", data(), 400, "ValidationError"),
        ("/data/d", {"properties": {"description": "no type"}}, 400, "ValidationError"),
        ("/batchEndpoints/b-1", located({"authMode": "Magic"}), 400, "ValidationError"),
        ("/schedules/s", {"properties": {"trigger": {}}}, 400, "ValidationError"),
        ("/data/d/versions/_1", data(), 400, "ValidationError"),
        ("/data/d/versions/1", {"properties": []}, 400, "ValidationError"),
        ("/data/d/versions/1", [], 400, "InvalidRequestContent"),
        ("/models/m/versions/1", {"properties": {}}, 400, "ValidationError"),
        ("/computes/c-1", {"properties": {"computeType": "AmlCompute"}}, 400, "ValidationError"),
        ("/computes/cpu", {"properties": {"computeType": "Abacus"}}, 400, "ValidationError"),
        ("/datastores/d", {"properties": {"datastoreType": "AzureBlob"}}, 400, "ValidationError"),
        ("/onlineEndpoints/e", located({"authMode": "Key"}), 400, "ValidationError"),
        (
            "/components/c/versions/1",
            {"properties": {"componentSpec": "x"}},
            400,
            "ValidationError",
        ),
        (
            "/onlineEndpoints/ep-1",
            located({"authMode": "Key", "traffic": {"blue": "all"}}),
            400,
            "ValidationError",
        ),
        (
            "/onlineEndpoints/ep-1",
            located({"authMode": "Key", "traffic": {"blue": -1}}),
            400,
            "ValidationError",
        ),
        (
            "/onlineEndpoints/ep-1",
            located({"authMode": "Key", "traffic": {"blue": 101}}),
            400,
            "ValidationError",
        ),
        (
            "/onlineEndpoints/ep-1",
            located({"authMode": "Key", "mirrorTraffic": {"blue": -1}}),
            400,
            "ValidationError",
        ),
        ("/nowhere/x", {}, 501, "RouteNotEmulated"),
    ],
)
def test_bad_requests_are_refused_in_the_shape_of_arm(
    ask: Ask, path: str, body: Any, status: int, code: str
):
    assert refusal(ask("PUT", path, body)) == (status, code)
    assert ask("GET", path).status_code == (501 if status == 501 else 404)


def test_what_is_not_json_is_refused(ask: Ask):
    answer = ask("PUT", "/data/d/versions/1", data=b"{oops")
    assert refusal(answer) == (400, "InvalidRequestContent")


def test_lists_are_filtered_ordered_and_paged(ask: Ask):
    for number in range(1, 8):
        tags = {"even": "yes"} if number % 2 == 0 else {}
        assert ask("PUT", f"/data/d/versions/{number}", data(tags=tags)).status_code == 201
    ask("PUT", "/data/d/versions/3", data(isArchived=True))
    every = {"listViewType": "All"}
    assert names(ask("GET", "/data/d/versions")) == ["1", "2", "4", "5", "6", "7"]
    assert names(ask("GET", "/data/d/versions", query={"listViewType": "ArchivedOnly"})) == ["3"]
    assert names(ask("GET", "/data/d/versions", query={"tags": "even=yes"})) == ["2", "4", "6"]
    newest = {"$orderBy": "createdtime desc", "$top": "2"}
    assert names(ask("GET", "/data/d/versions", query=newest)) == ["7", "6"]
    for order in ("createdtime asc", "createdtime desc"):
        query = {**every, "count": "3", "$orderBy": order}
        pages = []
        answer = ask("GET", "/data/d/versions", query=query)
        while True:
            pages.append(names(answer))
            following = next_query(answer)
            if following is None:
                break
            answer = ask("GET", "/data/d/versions", query=following)
        assert [len(page) for page in pages] == [3, 3, 1]
        found = [name for page in pages for name in page]
        assert found == sorted("1234567", reverse=order.endswith("desc"))
    assert refusal(ask("GET", "/data", query={"$top": "many"})) == (400, "ValidationError")
    assert refusal(ask("GET", "/data", query={"$skip": "bm8="})) == (400, "ValidationError")
    assert refusal(ask("GET", "/data", query={"listViewType": "Some"})) == (400, "ValidationError")


def next_query(answer: TestResponse) -> dict[str, str] | None:
    """Return the query of the link to the next page, which has to lead to the same list."""
    link = answer.json.get("nextLink")
    if link is None:
        return None
    address = urlsplit(link)
    assert (address.netloc, address.path) == ("management.azure.com", answer.request.path)
    return dict(parse_qsl(address.query))


def test_a_page_is_right_although_its_neighbour_was_deleted_in_between(ask: Ask):
    for number in range(1, 6):
        ask("PUT", f"/data/d/versions/{number}", data())
    first = ask("GET", "/data/d/versions", query={"count": "2"})
    ask("DELETE", "/data/d/versions/2")
    rest = ask("GET", "/data/d/versions", query={**(next_query(first) or {}), "count": "9"})
    assert names(rest) == ["3", "4", "5"]


def test_endpoints_have_keys_or_tokens(ask: Ask):
    for name, mode in (("with-keys", "Key"), ("with-tokens", "AMLToken")):
        made = ask("PUT", f"/onlineEndpoints/{name}", located({"authMode": mode}))
        assert made.status_code == 201
        assert "keys" not in made.json["properties"]
    keys = ask("POST", "/onlineEndpoints/with-keys/listKeys").json
    assert set(keys) == {"primaryKey", "secondaryKey"}
    chosen = {"keyType": "Primary", "keyValue": "of-my-own"}
    assert ask("POST", "/onlineEndpoints/with-keys/regenerateKeys", chosen).status_code == 202
    after = ask("POST", "/onlineEndpoints/with-keys/listKeys").json
    assert after == {**keys, "primaryKey": "of-my-own"}
    assert ask("POST", "/onlineEndpoints/with-tokens/token").json["accessToken"].count(".") == 2
    for path in ("with-keys/token", "with-tokens/listKeys"):
        assert refusal(ask("POST", f"/onlineEndpoints/{path}")) == (400, "BadArgument")
    none = ask("POST", "/onlineEndpoints/with-keys/regenerateKeys", {"keyType": "Third"})
    assert refusal(none) == (400, "BadArgument")


def test_etags_guard_a_change(ask: Ask):
    first = ask("PUT", "/data/d/versions/1", data())
    etag = first.headers["ETag"]
    assert ask("GET", "/data/d/versions/1").headers["ETag"] == etag
    fresh = {"If-None-Match": "*"}
    assert refusal(ask("PUT", "/data/d/versions/1", data(), headers=fresh)) == (
        412,
        "PreconditionFailed",
    )
    guarded = {"If-Match": etag}
    changed = ask("PUT", "/data/d/versions/1", data(description="d"), headers=guarded)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag
    assert ask("PUT", "/data/d/versions/1", data(), headers=guarded).status_code == 412
    assert ask("DELETE", "/data/d/versions/1", headers=guarded).status_code == 412
    assert ask("DELETE", "/data/d/versions/1", headers={"If-Match": "*"}).status_code == 200
    # What is not there matches nothing, and is gone already for who wants it deleted.
    for wanted in ("*", etag):
        absent = ask("PUT", "/data/d/versions/1", data(), headers={"If-Match": wanted})
        assert refusal(absent) == (412, "PreconditionFailed")
    assert ask("DELETE", "/data/d/versions/1", headers=guarded).status_code == 204
    assert ask("PUT", "/data/d/versions/1", data(), headers=fresh).status_code == 201


def test_ids_are_the_same_in_any_case_and_keep_their_own(ask: Ask, emulator: Emulator):
    assert ask("PUT", "/data/Bank/versions/1", data()).status_code == 201
    path = f"{emulator.account.workspace_id}/data/Bank/versions/1".upper()
    answer = ask("GET", f"/~{path}")
    assert answer.json["id"] == f"{emulator.account.workspace_id}/data/Bank/versions/1"
    assert answer.json["type"] == "Microsoft.MachineLearningServices/workspaces/data/versions"


@pytest.mark.parametrize("emulator", [1.5], indirect=True)
def test_operations_take_their_time_and_are_not_overtaken(ask: Ask):
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_F2"}}}
    created = ask("PUT", "/computes/cluster", body)
    assert created.status_code == 201
    assert "Retry-After" not in created.headers
    assert int(created.headers["x-ms-retry-after-ms"]) > 0
    assert refusal(ask("PUT", "/computes/cluster", body)) == (409, "Conflict")
    assert state(ask, created) == "InProgress"
    settled(ask, created)
    assert ask("GET", "/computes/cluster").json["properties"]["provisioningState"] == "Succeeded"
    changed = ask("PATCH", "/computes/cluster", {"tags": {"a": "b"}})
    assert changed.json["properties"]["provisioningState"] == "Updating"
    assert state(ask, changed) == "InProgress"
    settled(ask, changed)
    assert ask("GET", "/computes/cluster").json["tags"] == {"a": "b"}
    deleted = ask("DELETE", "/computes/cluster")
    assert deleted.status_code == 202
    assert deleted.data == b""
    assert ask("GET", "/computes/cluster").json["properties"]["provisioningState"] == "Deleting"
    assert state(ask, deleted) == "InProgress"
    settled(ask, deleted)
    assert refusal(ask("GET", "/computes/cluster")) == (404, "UserError")
    place = path_of(deleted.headers["Location"])
    assert ask("GET", f"/~{place}").status_code == 204


def state(ask: Ask, answer: TestResponse) -> str:
    return ask("GET", f"/~{path_of(answer.headers['Azure-AsyncOperation'])}").json["status"]


def settled(ask: Ask, answer: TestResponse) -> None:
    deadline = time.monotonic() + 60
    while state(ask, answer) != "Succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def path_of(address: str) -> str:
    return address.partition("?")[0].removeprefix("https://management.azure.com")


def test_a_workspace_can_be_made_and_is_furnished(ask: Ask, emulator: Emulator):
    place = emulator.account.workspace_id.rpartition("/")[0] + "/second"
    made = ask("PUT", f"/~{place}", {"location": "eastus", "properties": {}})
    assert made.status_code == 201
    settled(ask, made)
    stores = ask("GET", f"/~{place}/datastores", query={"isDefault": "true"})
    assert names(stores) == ["workspaceblobstore"]
    listed = ask("GET", f"/~{place.rpartition('/')[0]}")
    assert names(listed) == ["emulator", "second"]
    ask("PUT", f"/~{place}/data/d/versions/1", data())
    assert names(ask("GET", "/data")) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (
            "/subscriptions/s/resourceGroups/emulator/providers/P/workspaces/emulator",
            "Subscription",
        ),
        ("{subscription}/resourceGroups/other/providers/P/workspaces/emulator", "ResourceGroup"),
        ("{subscription}/resourceGroups/emulator/providers/P/workspaces/other", "Resource"),
    ],
)
def test_other_places_are_not_found(ask: Ask, emulator: Emulator, path: str, code: str):
    subscription = f"/subscriptions/{emulator.account.subscription_id}"
    place = path.format(subscription=subscription).replace("/P/", f"/{provider(emulator)}/")
    assert refusal(ask("GET", f"/~{place}/data")) == (404, f"{code}NotFound")


def provider(emulator: Emulator) -> str:
    return emulator.account.workspace_id.split("/")[6]


def test_tokens_that_are_no_good_are_refused(ask: Ask, emulator: Emulator):
    def claims(**values: Any) -> str:
        body = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        return f"Bearer e30.{body}.x"

    for header in (
        "",
        "Basic abc",
        "Bearer abc",
        claims(aud="a"),
        claims(aud="a", exp=time.time() - 1),
    ):
        answer = ask("GET", "", headers={"authorization": header})
        assert refusal(answer) == (401, "InvalidAuthenticationToken")
    good = claims(aud="https://management.azure.com", exp=time.time() + 60)
    assert ask("GET", "", headers={"authorization": good}).status_code == 200


def test_an_api_version_has_to_be_named(ask: Ask):
    assert refusal(ask("GET", "", query={"api-version": ""})) == (
        400,
        "MissingApiVersionParameter",
    )


def test_signatures_are_those_of_the_storage_sdk(emulator: Emulator):
    blob = pytest.importorskip("azure.storage.blob")
    account = emulator.account
    expiry = datetime.now(UTC) + timedelta(hours=1)
    whole = blob.generate_account_sas(
        account.storage_account, account.storage_key,
        resource_types=blob.ResourceTypes(container=True, object=True),
        permission=blob.AccountSasPermissions(read=True, list=True), expiry=expiry,
    )  # fmt: skip
    container = blob.generate_container_sas(
        account.storage_account, "c", account.storage_key,
        permission=blob.ContainerSasPermissions(read=True), expiry=expiry,
    )  # fmt: skip

    one = blob.generate_blob_sas(
        account.storage_account, "c", "a/1", account_key=account.storage_key,
        permission=blob.BlobSasPermissions(read=True), expiry=expiry,
    )  # fmt: skip

    def check(token: str, container: str = "c", permission: str = "r", blob: str = "a/1") -> None:
        sas.check(
            dict(parse_qsl(token)), account=account.storage_account, key=account.storage_key,
            container=container, blob=blob, permission=permission,
        )  # fmt: skip

    check(whole)
    check(one)
    with pytest.raises(StorageError, match="did not match"):
        check(one, blob="a/2")
    check(whole, permission="l")
    check(container)
    for token, where, permission, message in (
        (whole, "c", "w", "not authorized"),
        (container, "c", "w", "not authorized"),
        (container, "other", "r", "did not match"),
        (whole.replace("sp=rl", "sp=rwl"), "c", "w", "did not match"),
    ):
        with pytest.raises(StorageError, match=message):
            check(token, where, permission)
    late = sas.account_token(
        account.storage_account,
        account.storage_key,
        lifetime=timedelta(seconds=-1),
        permissions="r",
    )
    with pytest.raises(StorageError, match="has passed"):
        check(late)


def test_the_accounts_key_opens_the_storage(ask: Ask, emulator: Emulator):
    account = emulator.account
    given = ask("POST", "/listKeys").json["userStorageKey"]
    place = "/azureml-blobstore-emulator/a%20b/1"

    def send(
        method: str,
        path: str = place,
        *,
        sent: str | None = None,
        key: str = given,
        name: str = account.storage_account,
        query: str = "",
        **more: Any,
    ) -> TestResponse:
        headers = {"x-ms-version": "2025-01-05", "x-ms-date": "today", **more.pop("headers", {})}
        # The parameter that every request of these tests has.
        address = f"https://{account.blob_host}{path}?api-version={ARM_VERSION}{query}"
        asked = HttpRequest(method, address, headers=headers)
        SharedKeyCredentialPolicy(name, key).on_request(
            PipelineRequest(asked, PipelineContext(None))  # type: ignore[arg-type]
        )
        signed = {key.lower(): text for key, text in asked.headers.items()}
        return ask(
            method, f"/~{sent or path}", host=account.blob_host, query=dict(parse_qsl(query)),
            headers=signed, **more,
        )  # fmt: skip

    body = {"Content-Length": "1", "Content-Type": "text/plain", "x-ms-blob-type": "BlockBlob"}
    assert send("PUT", headers=body, data=b"x").status_code == 201
    assert send("GET").data == b"x"
    listed = send("GET", "/azureml-blobstore-emulator", query="&comp=list&restype=container")
    assert "<Name>a b/1</Name>" in listed.text
    other = base64.b64encode(b"other").decode()
    for refused in (
        send("GET", key=other), send("GET", name="other"), send("GET", sent=f"{place}1"),
    ):  # fmt: skip
        assert refused.headers["x-ms-error-code"] == "AuthenticationFailed"


def test_blobs_are_listed_by_folder_and_page(ask: Ask, emulator: Emulator):
    token = sas.account_token(
        emulator.account.storage_account,
        emulator.account.storage_key,
        lifetime=timedelta(hours=1),
        permissions="rcuwdl",
    )
    query = dict(parse_qsl(token))
    host, container = emulator.account.blob_host, "/~/azureml-blobstore-emulator"

    def blob(method: str, name: str = "", **more: Any) -> TestResponse:
        asked = {**query, **more.pop("query", {})}
        return ask(method, f"{container}{name}", host=host, query=asked, **more)

    for name in ("a/1", "a/2", "b & c/3", "d"):
        answer = blob("PUT", f"/{name}", data=b"0123456789", headers={"x-ms-meta-n_n": "v"})
        assert answer.status_code == 201
    again = blob("PUT", "/d", data=b"x", headers={"if-none-match": "*"})
    assert (again.status_code, again.headers["x-ms-error-code"]) == (409, "BlobAlreadyExists")
    wrong = blob("PUT", "/d", data=b"x", headers={"content-md5": "AAAA"})
    assert (wrong.status_code, wrong.headers["x-ms-error-code"]) == (400, "Md5Mismatch")
    assert blob("GET", "/d").data == b"0123456789"
    part = blob("GET", "/d", headers={"x-ms-range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert part.headers["x-ms-meta-n_n"] == "v"
    beyond = blob("GET", "/d", headers={"x-ms-range": "bytes=10-"})
    assert beyond.headers["x-ms-error-code"] == "InvalidRange"

    listing = {"restype": "container", "comp": "list"}
    folders = blob("GET", query={**listing, "delimiter": "/"}).text
    assert re.findall("<Name>([^<]+)</Name>", folders) == ["a/", "b &amp; c/", "d"]
    page = blob("GET", query={**listing, "prefix": "a/", "maxresults": "1"}).text
    assert re.findall("<Name>([^<]+)</Name>", page) == ["a/1"]
    marker = re.findall("<NextMarker>([^<]+)</NextMarker>", page)[0]
    rest = blob("GET", query={**listing, "prefix": "a/", "marker": marker}).text
    assert re.findall("<Name>([^<]+)</Name>", rest) == ["a/2"]

    assert blob("GET", query={**listing, "maxresults": "few"}).status_code == 400
    assert blob("PUT", "/d", query={"comp": "block"}, data=b"x").status_code == 400
    lost = b"<BlockList><Latest>QQ==</Latest></BlockList>"
    missing = blob("PUT", "/d", query={"comp": "blocklist"}, data=lost)
    assert missing.headers["x-ms-error-code"] == "InvalidBlockList"
    for letter in ("A", "B"):
        kept = blob("PUT", "/d", query={"comp": "block", "blockid": letter}, data=letter.encode())
        assert kept.status_code == 201
    both = b"<BlockList><Latest>B</Latest><Uncommitted>A</Uncommitted></BlockList>"
    assert blob("PUT", "/d", query={"comp": "blocklist"}, data=both).status_code == 201
    assert blob("GET", "/d").data == b"BA"

    assert blob("DELETE", "/d").status_code == 202
    gone = blob("GET", "/d")
    assert (gone.status_code, gone.headers["x-ms-error-code"]) == (404, "BlobNotFound")
    assert ask("GET", f"{container}/a/1", host=host).status_code == 401


def test_an_operation_of_a_dead_process_ends_when_it_is_next_looked_at(tmp_path: Path):
    store = ResourceStore(tmp_path / "r.sqlite")
    store.put("/a/b", {"properties": {"provisioningState": "Creating"}})
    operation = store.begin("/a/b", "succeed", 0.02)
    store.close()
    time.sleep(0.03)
    again = ResourceStore(tmp_path / "r.sqlite")
    again.settle()
    found = again.operation(operation.id)
    assert found is not None
    assert found.done
    resource = again.get("/A/B")
    assert resource is not None
    assert resource.properties["provisioningState"] == "Succeeded"
    again.close()


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path):
    store = ResourceStore(tmp_path / "r.sqlite")

    def half() -> None:
        with store.transaction():
            store.put("/a/b", {})
            store.set_secret("/a/b", {"key": "k"})
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert store.get("/a/b") is None
    assert store.secret("/a/b") is None
    store.close()


def test_every_kind_has_all_its_routes(emulator: Emulator):
    base = emulator.account.workspace_id
    for kind in RESOURCE_TYPES:
        collection = (
            f"{base}/{kind.parent}/p/{kind.segment}" if kind.parent else f"{base}/{kind.segment}"
        )
        for method, path in (
            ("GET", collection),
            *((method, f"{collection}/n") for method in ("GET", "PUT", "PATCH", "DELETE")),
        ):
            assert emulator.router.find(method, "management.azure.com", path), (method, path)
        found = emulator.router.find("GET", "management.azure.com", f"{collection}/n/versions")
        assert (found is not None) == kind.versioned
