"""What Spark lacks is said in one line, before anything is started."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from twinml.cli import main
from twinml.data import spark_session as spark

needs_pyspark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed"
)


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@needs_pyspark
def test_without_java_it_says_so(no_java: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spark.missing() == "Spark needs Java 17 or newer, and there is no `java` here"
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert spark.missing() is not None


@needs_pyspark
def test_training_on_spark_without_java_is_one_line(no_java: None, table_csv: Path) -> None:
    result = CliRunner().invoke(
        main,
        ["train", "--data", str(table_csv), "--target", "y", "--engine", "spark", "--trials", "1"],
    )
    assert result.exit_code == 1
    assert "Spark needs Java 17" in result.output
    assert "Traceback" not in result.output


def test_without_pyspark_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name == "pyspark" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert spark.missing() == "Spark needs the package pyspark, which is not installed here"
