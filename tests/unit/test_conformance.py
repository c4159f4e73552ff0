"""How the measurement with public samples reads them, and what it calls their outcomes."""

from pathlib import Path

import pytest

from tests.conformance.samples import Sample, filled, found, kind_of
from tests.conformance.sdk_outcomes import counts, group_of, left_out, outcome
from tests.conformance.sdk_outcomes import markdown as sdk_markdown
from tests.conformance.table import markdown, summary
from tests.conformance.verdict import Outcome, Verdict, verdict

AZUREML = "$schema: https://azuremlschemas.azureedge.net/latest/"


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        (Outcome(), Verdict.ACCEPTED),
        (Outcome("HttpResponseError", "x", 400, "NotImplementedByEmulator"), Verdict.BY_NAME),
        (Outcome("HttpResponseError", "x", 501, "NotImplementedByEmulator"), Verdict.BY_NAME),
        (Outcome("ValidationException", "x"), Verdict.NOT_LOADED),
        (Outcome("Timeout", "x"), Verdict.WRONG),
        (Outcome("HttpResponseError", "as it should", 400, "UserError"), Verdict.AS_AZURE),
        (Outcome("HttpResponseError", "x", 501, "RouteNotEmulated"), Verdict.MISLEADING),
        (
            Outcome("NotFound", "//registries/azureml/x was not found", 404, "UserError"),
            Verdict.MISLEADING,
        ),
        (Outcome("HttpResponseError", "x", 400, "UserError"), Verdict.WRONG),
        (Outcome("HttpResponseError", "x", 500, "InternalServerError"), Verdict.WRONG),
    ],
)
def test_verdicts(outcome: Outcome, wanted: Verdict):
    assert verdict(outcome, (("as it should", "why"),)) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{AZUREML}commandJob.schema.json", "job"),
        (f'"{AZUREML[:7]}": "{AZUREML[9:]}Schedule.json"', "schedule"),
        (f"{AZUREML}unknown.schema.json\ntype: command", None),
        ("type: git", "connection"),
        ("name: x\n  type: git", None),
        ("dependencies: []", None),
    ],
)
def test_kinds_of_files(text: str, wanted: str | None):
    assert kind_of(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ENDPOINT_NAME}} <my-endpoint-name> {{ x_y }}", "ep ep x-y"),
        ("${{inputs.a}} {{MODEL_VERSION}} <A B>", "${{inputs.a}} 1 a-b"),
        ("account_name: a\nname: <a-b>", "account_name: a\nname: a_b"),
        ("XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX", "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_placeholders(text: str, wanted: str):
    assert filled(text, "ep") == wanted


def test_files_come_in_the_order_in_which_they_are_needed(tmp_path: Path):
    for name, kind in (("a.yml", "commandJob"), ("b.yaml", "environment"), ("c.yml", "none")):
        (tmp_path / name).write_text(f"{AZUREML}{kind}.schema.json")
    assert found(tmp_path) == [Sample("b.yaml", "environment"), Sample("a.yml", "job")]


def test_the_table_sums_up_and_names_what_is_wrong():
    refused = {"error": "HttpResponseError", "message": "too\n long", "status": 400, "code": "E"}
    rows = [
        {"kind": "job", "path": "a.yml", "error": "", "message": ""},
        {"kind": "job", "path": "b.yml", **refused},
    ]
    assert summary(rows) == {"job": {"accepted": 1, "refused wrongly": 1}}
    text = markdown(rows)
    assert "| job | 1 |  |  |  |  | 1 |" in text
    assert "| **all** | **1** | **0** | **0** | **0** | **0** | **1** |" in text
    assert "- refused wrongly: `b.yml`: too long" in text


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("model/e2etests/test_model.py::TestModel::test_crud_file", ""),
        ("dsl/e2etests/test_dsl_pipeline.py::Test::test_spark_components", "Spark"),
        ("model/e2etests/test_model.py::TestModel::test_promote_model_to_registry", "registry"),
        ("model/e2etests/test_model.py::TestModel::test_register_model", ""),
        ("pipeline_job/e2etests/test_job.py::Test::test_tensorflow_distribution", ""),
        ("model/e2etests/test_model.py::TestModel::test_mlflow_model", ""),
        ("pipeline_job/e2etests/test_job.py::Test::test_pipeline_with_flow_node", "prompt flow"),
        ("internal/e2etests/test_pipeline.py::Test::test_scope", "Microsoft's own"),
        ("internal_utils/e2etests/test_utils.py::Test::test_upload", ""),
        ("automl_job/e2etests/test_remote_text.py::Test::test_run", "AutoML of images"),
        ("automl_job/e2etests/test_remote_classification.py::Test::test_run", ""),
    ],
)
def test_what_the_sdks_suite_leaves_out_has_a_reason(test: str, why: str) -> None:
    assert why in left_out(f"tests/{test}")
    assert bool(left_out(f"tests/{test}")) == bool(why)
    assert group_of(f"tests/{test}") == test.partition("/")[0]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (("passed", ""), ("passed", "")),
        (("passed", "No such file or directory"), ("passed", "")),
        (("skipped", "Skipped: left out: Spark"), ("not run", "Spark")),
        (("skipped", "Skipped: slow"), ("not run", "skipped by Microsoft: slow")),
        (("failed", "FileNotFoundError: a.yml"), ("not run", "its data are not there")),
        (("failed", "assert 1 == 2"), ("failed", "assert 1 == 2")),
    ],
)
def test_what_a_test_of_the_sdk_is_called(row: tuple[str, str], wanted: tuple[str, str]) -> None:
    assert outcome({"outcome": row[0], "said": row[1]}) == wanted


def test_the_last_run_of_a_test_counts_and_the_table_tells_why() -> None:
    name = "tests/model/e2etests/test_model.py::T::test_"
    rows = [
        {"test": f"{name}a", "outcome": "failed", "said": "assert a\n  b"},
        {"test": f"{name}b", "outcome": "failed", "said": "x"},
        {"test": f"{name}b", "outcome": "passed", "said": ""},
        {"test": f"{name}c", "outcome": "skipped", "said": "Skipped: slow"},
    ]
    assert counts(rows) == {"model": {"failed": 1, "passed": 1, "not run": 1}}
    lines = sdk_markdown(rows).splitlines()
    assert "| **all** | **1** | **1** | **1** |" in lines
    assert "- failed: `model/e2etests/test_model.py::T::test_a`: assert a b" in lines
    assert "- not run: 1 of model: skipped by Microsoft: slow" in lines
