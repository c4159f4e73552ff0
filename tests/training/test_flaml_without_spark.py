"""Training starts no Java machine, whether pyspark is installed or not."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_training_leaves_spark_alone() -> None:
    code = (
        "import sys, twinml.training; "
        "print([name for name in sys.modules if name.startswith(('pyspark', 'py4j.java'))])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert "Spark" not in done.stderr


def test_pyspark_can_be_imported_afterwards() -> None:
    code = (
        "import importlib.util, twinml.training; "
        "there = importlib.util.find_spec('pyspark') is not None; "
        "print(there and __import__('pyspark').__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("pyspark", "False")
