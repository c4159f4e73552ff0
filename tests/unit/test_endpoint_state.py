"""What an ``endpoint.json`` may hold: what cannot be an endpoint is refused by name."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from twinml.errors import NotFound, PlatformError
from twinml_local.server.state import (
    DeploymentState,
    EndpointState,
    ServerSettings,
    read_state,
    write_state,
)

STATE = EndpointState(
    "bank",
    "127.0.0.1",
    5001,
    "2026-01-01T00:00:00",
    deployments={
        "blue": DeploymentState("m", "1", "d", "/m", "/f", "", False, "f", "now", "12:03")
    },
    traffic={"blue": 100},
    settings=ServerSettings(max_rows=None, cors_origins=("*",), collect_rate=1),
)


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    shape: dict[str, Any] = {"format_version": 1, **json.loads(json.dumps(asdict(STATE)))}
    place = shape
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return shape


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE


def test_what_was_added_later_may_be_missing(tmp_path: Path) -> None:
    shape = changed(("mirror",), {})
    for key in ("compiled", "refusal", "batches", "form", "made_with", "made"):
        del shape["deployments"]["blue"][key]
    shape["settings"] = {"of a later version": 1}
    (tmp_path / "endpoint.json").write_text(json.dumps(shape))
    found = read_state(tmp_path)
    assert found.deployments == {"blue": DeploymentState("m", "1", "d", "/m")}
    assert found.settings == ServerSettings()


@pytest.mark.parametrize("port", [0, 65535])
def test_a_port_that_can_be(tmp_path: Path, port: int) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps(changed(("port",), port)))
    assert read_state(tmp_path).port == port


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("name",), 5, "name: 5"),
        (("host",), None, "host: None"),
        (("port",), "5001", "port: 5001"),
        (("port",), -1, "port: -1"),
        (("port",), 65536, "port: 65536"),
        (("created",), [], "created"),
        (("deployments",), [], "list"),
        (("deployments", "blue"), None, "NoneType"),
        (("deployments", "blue"), {}, "'model'"),
        (("deployments", "blue", "digest"), 7, "digest: 7"),
        (("deployments", "blue", "directory"), {}, "directory"),
        (("deployments", "blue", "form"), None, "form: None"),
        (("deployments", "blue", "batches"), "yes", "batches: yes"),
        (("traffic",), 100, "int"),
        (("traffic", "blue"), "all", "all"),
        (("mirror",), "green", "str"),
        (("settings",), None, "NoneType"),
        (("settings", "workers"), "4", "workers: 4"),
        (("settings", "workers"), True, "workers: True"),
        (("settings", "max_rows"), 1.5, "max_rows: 1.5"),
        (("settings", "collect_rate"), "1", "collect_rate: 1"),
        (("settings", "cors_origins"), "*", r"cors_origins: \*"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_by_name(
    tmp_path: Path, path: tuple[str, ...], value: Any, told: str
) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps(changed(path, value)))
    with pytest.raises(PlatformError, match=f"lacks what an endpoint needs .*{told}") as error:
        read_state(tmp_path)
    assert f"twinml delete --endpoint {tmp_path.name}" in str(error.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_state(tmp_path)
    path = tmp_path / "endpoint.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(PlatformError, match="is not JSON"):
        read_state(tmp_path)
    path.write_text(json.dumps(changed(("format_version",), 2)))
    with pytest.raises(PlatformError, match="has format 2, this version reads up to 1"):
        read_state(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(PlatformError, match="cannot be read"):
        read_state(tmp_path)
