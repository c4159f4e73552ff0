"""Collected inputs and outputs: Azure's folders and record, one line a request."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from twinml.contract import Column, Contract
from twinml_local.telemetry import TelemetryClient, TelemetrySettings, prometheus_text
from twinml_local.telemetry.collector import Collector

CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=9,
    samples=(),
    columns=(
        Column("age", "long", nullable=False, minimum=18, maximum=95),
        Column("balance", "double", nullable=True, minimum=0.0, maximum=1.0),
        Column("job", "string", nullable=True, categories=("admin.",)),
    ),
)
COLUMNS = {"age": [41, 70], "balance": [0.5, float("nan")], "job": ["admin.", "Ærø\n"]}


def settings(**given: object) -> TelemetrySettings:
    return TelemetrySettings(**{"flush_seconds": 3600, "collect_rate": 1.0} | given)  # type: ignore[arg-type]


def collect(
    telemetry: TelemetryClient, name: str = "request-1", probabilities: object = None
) -> None:
    telemetry.collect(
        CONTRACT,
        COLUMNS,
        ["no", "yes"],
        probabilities,
        operation_id=name,
        deployment="blue",
        model="bank:3",
    )


def records(directory: Path, collection: str) -> list[dict[str, object]]:
    root = directory / "modelDataCollector" / "bank" / "blue" / collection
    return [
        json.loads(line)
        for path in sorted(root.rglob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_folders_and_records(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings()) as telemetry:
        assert telemetry.collects
        collect(telemetry)
    (path,) = directory.glob("modelDataCollector/bank/blue/model_inputs/*/*/*/*/*.jsonl")
    year, month, day, hour = path.parts[-5:-1]
    assert f"{year}-{month}-{day}T{hour}" in {
        time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() - late)) for late in (0, 60)
    }
    assert path.stat().st_mode & 0o777 == 0o600
    (inputs,) = records(directory, "model_inputs")
    (outputs,) = records(directory, "model_outputs")
    assert inputs["data"] == [
        {"age": 41, "balance": 0.5, "job": "admin."},
        {"age": 70, "balance": None, "job": "Ærø\n"},
    ]
    assert outputs["data"] == [{"y": "no"}, {"y": "yes"}]
    assert list(inputs) == [
        "specversion",
        "id",
        "source",
        "type",
        "datacontenttype",
        "time",
        "data",
        "contentrange",
        "correlationid",
        "xrequestid",
        "modelversion",
        "collectdatatype",
        "agent",
    ]
    assert inputs["specversion"] == "1.0"
    assert inputs["source"] == "/onlineEndpoints/bank/deployments/blue"
    assert inputs["type"] == "azureml.inference.model_inputs"
    assert outputs["type"] == "azureml.inference.model_outputs"
    assert inputs["correlationid"] == outputs["correlationid"] == "request-1"
    assert inputs["id"] != outputs["id"]
    assert inputs["modelversion"] == "3"
    size = len(json.dumps(outputs["data"], separators=(",", ":")))
    assert outputs["contentrange"] == f"bytes 0-{size - 1}/{size}"


def test_probabilities_go_by_class(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings()) as telemetry:
        collect(telemetry, probabilities=np.array([[0.75, 0.25], [0.5, 0.5]]))
    (outputs,) = records(directory, "model_outputs")
    assert outputs["data"] == [{"no": 0.75, "yes": 0.25}, {"no": 0.5, "yes": 0.5}]


def test_nothing_is_collected_unless_asked(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings(collect_rate=0.0)) as telemetry:
        collect(telemetry)
    assert not (directory / "modelDataCollector").exists()


def test_a_share_is_collected_and_pairs_stay_pairs(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings(collect_rate=0.5)) as telemetry:
        for number in range(400):
            collect(telemetry, f"request-{number}")
    inputs = [record["correlationid"] for record in records(directory, "model_inputs")]
    assert 120 < len(inputs) < 280
    assert inputs == [record["correlationid"] for record in records(directory, "model_outputs")]


def test_a_large_file_is_followed_by_another(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings(collect_file_bytes=1)) as telemetry:
        for number in range(3):
            collect(telemetry, f"request-{number}")
            telemetry.flush()
    assert len(list(directory.rglob("model_inputs/**/*.jsonl"))) == 3
    assert len(records(directory, "model_inputs")) == 3


def test_memory_is_bounded(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings(collect_queue_rows=5)) as telemetry:
        for _ in range(4):
            collect(telemetry)
        telemetry.flush()
        assert "twinml_telemetry_dropped_total 2" in prometheus_text(directory)
        collect(telemetry)
    assert len(records(directory, "model_inputs")) == 3


def test_a_full_disk_is_counted_and_harms_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "bank"
    directory.mkdir()
    (directory / "modelDataCollector").write_text("a file where the folder should be")
    with TelemetryClient(directory, settings=settings()) as telemetry:
        collect(telemetry)
        telemetry.record_trace("still here")
        telemetry.flush()
        assert "twinml_telemetry_failed_total 1" in prometheus_text(directory)
    assert "payloads cannot be collected" in caplog.text


def test_old_files_and_their_empty_folders_go(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    with TelemetryClient(directory, settings=settings()) as telemetry:
        collect(telemetry)
    old, *others = sorted(directory.rglob("*.jsonl"))
    os.utime(old, (1, 1))
    collector = Collector(directory, endpoint="bank", agent="twinml/0", file_bytes=10)
    assert collector.remove_older(86_400) == 1
    assert not old.parent.exists()
    assert [path.exists() for path in others] == [True]
