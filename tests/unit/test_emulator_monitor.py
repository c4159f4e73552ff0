"""Signals of monitors: which windows, which figures, what is an alarm; and what is collected."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError
from azureml_emulator.inference._collector import cloud_event, folder_of
from azureml_emulator.schedules._monitor import monitor_job, window
from twinml.errors import DataError
from twinml_local.jobs.monitoring import is_beyond, measure, read_rows

NOON = datetime(2026, 7, 9, 12, tzinfo=UTC)
DATA = {"inputDataType": "Fixed", "jobInputType": "uri_folder", "uri": "azureml:a:1"}


def definition(**signal: Any) -> dict[str, Any]:
    asked = {"signalType": "DataDrift", "productionData": DATA, "referenceData": DATA,
             "metricThresholds": [], **signal}  # fmt: skip
    return {"signals": {"s": asked}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("P1W", 604800), ("P1DT1H", 90000), ("PT0.5S", 0.5), ("PT0S", 0), (None, None), ("", None)],
)
def test_durations(text: str | None, wanted: float | None):
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["P", "PT", "1D", "P1M", "P1Y", "PT1", "P1D "])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ArmError, match="is not an ISO 8601 duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"inputDataType": "Trailing", "windowSize": "P1D"}, ["2026-07-08T12", "2026-07-09T12"]),
        (
            {"inputDataType": "Trailing", "windowSize": "PT6H", "windowOffset": "P1D"},
            ["2026-07-08T06", "2026-07-08T12"],
        ),
        ({"inputDataType": "Static", "windowStart": "a", "windowEnd": "b"}, ["a", "b"]),
        ({"inputDataType": "Fixed"}, None),
    ],
)
def test_windows(data: dict[str, Any], wanted: list[str] | None):
    found = window(data, NOON)
    assert (found and [text[:13] for text in found]) == wanted


def test_a_monitor_is_a_pipeline_of_its_signals():
    asked = definition(
        features={"filterType": "FeatureSubset", "features": ["a"]},
        metricThresholds=[{"dataType": "Numerical", "metric": "M", "threshold": {"value": 0.1}}],
    )
    job = monitor_job("watch", asked, NOON, {"azureml.scheduleId": "watch"})
    assert job["inputs"]["s_production"] == {"jobInputType": "uri_folder", "uri": "azureml:a:1"}
    node = job["jobs"]["s"]
    assert node["componentId"].startswith("azureml://registries/azureml/components/data_drift")
    assert node["inputs"]["reference"]["value"] == "${{parent.inputs.s_reference}}"
    spec = json.loads(node["inputs"]["signal"]["value"])
    assert spec["features"] == ["a"]
    assert spec["thresholds"] == [{"type": "Numerical", "metric": "M", "value": 0.1}]


@pytest.mark.parametrize(
    ("signal", "code", "words"),
    [
        ({"signalType": "Custom"}, "NotImplementedByEmulator", "of type 'Custom'"),
        ({"productionData": None}, "ValidationError", "has no production data"),
        ({"referenceData": {"uri": ""}}, "ValidationError", "has no reference data"),
    ],
)
def test_a_signal_that_is_not_measured_is_refused(signal: dict[str, Any], code: str, words: str):
    with pytest.raises(ArmError, match=words) as caught:
        monitor_job("watch", definition(**signal), NOON, {})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("metric", "value", "threshold", "wanted"),
    [
        ("PopulationStabilityIndex", 0.1, 0.1, False),
        ("PopulationStabilityIndex", 0.1001, 0.1, True),
        ("TwoSampleKolmogorovSmirnovTest", 0.02, 0.02, False),
        ("TwoSampleKolmogorovSmirnovTest", 0.0199, 0.02, True),
        ("PearsonsChiSquaredTest", 0.5, 0.02, False),
        ("NullValueRate", 1.0, None, False),
    ],
)
def test_alarms(metric: str, value: float, threshold: float | None, wanted: bool):
    assert is_beyond(metric, value, threshold) is wanted


def request(signal: str, *thresholds: tuple[str, str, float], **more: Any) -> dict[str, Any]:
    asked = [{"type": kind, "metric": name, "value": value} for kind, name, value in thresholds]
    columns = {"production": {}, "reference": {"target_column": "y"}}
    return {"signal": signal, "thresholds": asked, "features": None, "overrides": {},
            "columns": columns, **more}  # fmt: skip


@pytest.fixture
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows of production and of the reference, an old age and a new job apart."""
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"age": rng.normal(40, 10, 200), "job": ["a", "b"] * 100, "y": 1})
    production = pd.DataFrame({"age": rng.normal(60, 10, 80), "job": ["a", "c"] * 40})
    return production, reference


def test_drift_is_measured_by_kind_and_without_the_target(frames):
    asked = [
        ("Numerical", "NormalizedWassersteinDistance", 0.5),
        ("Numerical", "TwoSampleKolmogorovSmirnovTest", 0.02),
        ("Categorical", "PearsonsChiSquaredTest", 0.02),
        ("Categorical", "JensenShannonDistance", 0.99),
    ]
    found = measure(request("DataDrift", *asked), *frames)
    by_name = {(one.feature_name, one.metric_name): one for one in found}
    assert set(by_name) == {
        *(("age", name) for kind, name, _ in asked if kind == "Numerical"),
        *(("job", name) for kind, name, _ in asked if kind == "Categorical"),
    }
    assert by_name["age", "NormalizedWassersteinDistance"].metric_value == pytest.approx(2, abs=0.4)
    assert by_name["age", "TwoSampleKolmogorovSmirnovTest"].beyond
    assert by_name["job", "PearsonsChiSquaredTest"].beyond
    # Half of all rows are of values that the other side does not have.
    distance = by_name["job", "JensenShannonDistance"]
    assert (distance.metric_value, distance.beyond) == (pytest.approx(0.5**0.5), False)


def test_quality_counts_nulls_wrong_types_and_what_is_out_of_bounds(frames):
    production, reference = frames
    production = production.assign(age=[None, "x", 1e6, *[40.0] * 77])
    asked = [("Numerical", name, 0.0) for name in ("NullValueRate", "DataTypeErrorRate")]
    asked += [("Categorical", "OutOfBoundsRate", 0.5)]
    found = measure(request("DataQuality", *asked), production, reference)
    figures = {(one.feature_name, one.metric_name): one.metric_value for one in found}
    # What is of a wrong type is no value either.
    assert figures["age", "NullValueRate"] == pytest.approx(2 / 80)
    assert figures["age", "DataTypeErrorRate"] == pytest.approx(1 / 80)
    assert figures["job", "OutOfBoundsRate"] == 0.5


def test_only_the_features_that_are_asked_for(frames):
    asked = request("DataDrift", ("Categorical", "PopulationStabilityIndex", 0.1), features=["job"])
    assert [one.feature_name for one in measure(asked, *frames)] == ["job"]
    with pytest.raises(DataError, match="none of the columns"):
        measure({**asked, "features": ["other"]}, *frames)


@pytest.mark.parametrize("name", ["y", "0"])
def test_predictions_are_compared_under_the_name_of_the_target(name: str):
    reference = pd.DataFrame({"a": range(100), "y": ["yes", "no"] * 50})
    production = pd.DataFrame({name: ["yes"] * 60})
    (found,) = measure(
        request("PredictionDrift", ("Categorical", "PopulationStabilityIndex", 0.1)),
        production,
        reference,
    )
    assert (found.feature_name, found.beyond) == ("y", True)


def test_predictions_without_a_name_are_refused():
    frame = pd.DataFrame({"a": [1], "b": [2]})
    asked = request("PredictionDrift", ("Categorical", "PopulationStabilityIndex", 0.1))
    with pytest.raises(DataError, match="the production data has no column of predictions, 'y'"):
        measure(asked, frame, frame.assign(y=1))
    with pytest.raises(DataError, match="the reference data has no column of predictions"):
        measure({**asked, "columns": {"production": {}, "reference": {}}}, frame, frame)


def headers(moment: datetime, **more: str) -> dict[str, str]:
    return {"ce-time": str(int(moment.timestamp())), "ce-type": "azureml.inference.model_inputs",
            "ce-x-request-id": "r", **more}  # fmt: skip


def test_what_is_collected_is_a_cloud_event_that_is_read_again_by_its_time(tmp_path: Path):
    lines = []
    for hours, age in ((1, 1), (0, 2), (-1, 3)):
        moment = NOON - timedelta(hours=hours)
        body = json.dumps([{"age": age}]).encode()
        event = cloud_event(headers(moment), body, source="/subscriptions/s", version="7")
        assert event["time"] == f"2026-07-09T{12 - hours}:00:00Z"
        assert (event["correlationid"], event["modelversion"]) == ("r", "7")
        assert event["contentrange"] == f"bytes 0-{len(body) - 1}/{len(body)}"
        lines.append(json.dumps(event))
    folder = tmp_path / folder_of(NOON, "Hour")
    folder.mkdir(parents=True)
    (folder / "instance.jsonl").write_text("\n".join(lines))
    # The end is within, the begin is not.
    end, begin = NOON.isoformat(), (NOON - timedelta(hours=1)).isoformat()
    assert read_rows(tmp_path, [begin, end])["age"].tolist() == [2]
    assert read_rows(tmp_path, None)["age"].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="nothing was collected from"):
        read_rows(tmp_path, [end, end])


@pytest.mark.parametrize("rate", ["Year", "Month", "Day", "Hour", "Minute"])
def test_the_folder_of_a_moment(rate: str):
    whole = ["2026", "07", "09", "12", "00"]
    parts = ["Year", "Month", "Day", "Hour", "Minute"].index(rate) + 1
    assert folder_of(NOON, rate) == "/".join(whole[:parts])
