"""The emulator's route table: which row a request belongs to, and what its names are."""

import pytest
from werkzeug.wrappers import Response

from azureml_emulator.routing import Route, Router

ARM, SCORING = "management.azure.com", "{endpoint}.eastus.inference.ml.azure.com"


def row(method: str, host: str, path: str) -> Route:
    return Route(method, host, path, lambda call: Response(f"{method} {host}{path}"))


TABLE = [
    row("GET", ARM, "/"),
    row("GET", ARM, "/groups/{group}/Data/{name}"),
    row("PUT", ARM, "/groups/{group}/Data/{other}"),
    row("GET", ARM, "/groups/{group}/data/{late}"),
    row("GET", ARM, "/groups/{group}/{kind}/{name}"),
    row("GET", ARM, "/groups/{group}/data/default"),
    row("GET", "blobs.example", "/{container}"),
    row("PUT", "blobs.example", "/{container}/{names:blob}"),
    row("HEAD", "blobs.example", "/{container}/{names:blob}"),
    row("GET", SCORING, "/score"),
]
ROUTER = Router(TABLE)


@pytest.mark.parametrize(
    ("method", "host", "path", "number", "names"),
    [
        ("GET", ARM, "/", 0, {}),
        ("GET", ARM, "/groups/G/Data/N", 1, {"group": "G", "name": "N"}),
        ("GET", ARM, "/GROUPS/G/dATA/N", 1, {"group": "G", "name": "N"}),
        ("PUT", ARM, "/groups/G/data/N", 2, {"group": "G", "other": "N"}),
        ("GET", ARM, "/groups/Data/data/Groups", 1, {"group": "Data", "name": "Groups"}),
        ("GET", ARM, "/groups/g/jobs/n", 4, {"group": "g", "kind": "jobs", "name": "n"}),
        ("GET", ARM, "/groups/g/data/DEFAULT", 5, {"group": "g"}),
        ("GET", ARM, "/groups/a%20b/data/c%2Fd", 1, {"group": "a b", "name": "c/d"}),
        ("GET", "blobs.example", "/C", 6, {"container": "C"}),
        ("PUT", "blobs.example", "/C/B", 7, {"container": "C", "blob": "B"}),
        ("PUT", "blobs.example", "/C/a/B%20c", 7, {"container": "C", "blob": "a/B c"}),
        ("PUT", "blobs.example", "/C/a//b/", 7, {"container": "C", "blob": "a//b/"}),
        ("PUT", "blobs.example", "/C//b", 7, {"container": "C", "blob": "/b"}),
        ("HEAD", "blobs.example", "/C/B", 8, {"container": "C", "blob": "B"}),
        ("GET", "bank.eastus.inference.ml.azure.com", "/score", 9, {"endpoint": "bank"}),
    ],
)
def test_a_request_finds_its_row(
    method: str, host: str, path: str, number: int, names: dict[str, str]
) -> None:
    found = ROUTER.find(method, host, path)
    assert found is not None
    handler, given = found
    assert TABLE[number].handler is handler
    assert given == names


@pytest.mark.parametrize(
    ("method", "host", "path"),
    [
        ("HEAD", ARM, "/groups/g/data/n"),  # a row for GET is none for HEAD
        ("DELETE", ARM, "/groups/g/data/n"),
        ("GET", ARM, "/groups/g/data"),
        ("GET", ARM, "/groups/g/data/n/"),
        ("GET", ARM, "/groups/g/data//n"),
        ("GET", ARM, "//groups/g/data/n"),
        ("GET", ARM, "/groups/g/data/n/more"),
        ("GET", ARM, "groups/g/data/n"),
        ("OPTIONS", ARM, "*"),
        ("GET", ARM, ""),
        ("PUT", "blobs.example", "/c/"),
        ("GET", "blobs.example", "/"),
        ("GET", "blobs.example", "/groups/g/data/n"),
    ],
)
def test_what_no_row_fits_is_not_found(method: str, host: str, path: str) -> None:
    assert ROUTER.knows_host(host)
    assert ROUTER.find(method, host, path) is None


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "azure.com",
        "x.management.azure.com",
        "management.azure.com.example",
        "eastus.inference.ml.azure.com",
        "bank.eastus.inference.ml.azure.com.example",
        "a..b",
        f"{'x' * 64}.com",
        "",
    ],
)
def test_a_host_that_no_row_names_is_unknown(host: str) -> None:
    assert not ROUTER.knows_host(host)
    assert ROUTER.find("GET", host, "/score") is None
