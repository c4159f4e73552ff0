"""A Spark session: on this machine's cores, or on a cluster that ``SPARK_MASTER`` names.

Spark needs Java 17 or newer and the packages of the extra ``spark``; both are looked for before
anything is started, so that what is missing is said in one line.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinml.errors import UsageError

__all__ = ["missing", "session"]

MASTER = "SPARK_MASTER"


def missing() -> str | None:
    """Say what Spark lacks here, or ``None``."""
    if importlib.util.find_spec("pyspark") is None:
        return "Spark needs the package pyspark, which is not installed here"
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin" / "java" if home else None
    if not (java and java.is_file()) and shutil.which("java") is None:
        return "Spark needs Java 17 or newer, and there is no `java` here"
    return None


@contextmanager
def session(name: str, workers: int | None = None, **settings: Any) -> Iterator[Any]:
    """Yield a session; it ends with the block unless it was there before.

    Parameters
    ----------
    name
        The name of the job in Spark's pages.
    workers
        Tasks at a time on this machine; all cores by default. A cluster has its own number.
    settings
        SQL settings within the block, dots written as ``__``.

    Raises
    ------
    UsageError
        Spark or Java is missing, or no session can be started.
    """
    lack = missing()
    if lack is not None:
        raise UsageError(
            lack,
            hint="pip install 'twinml[spark]' and a Java runtime (Debian: default-jre-headless).",
        )
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    spark = running or _started(name, workers)
    before = {key.replace("__", "."): value for key, value in settings.items()}
    kept = {key: spark.conf.get(key, None) for key in before}
    try:
        for key, value in before.items():
            spark.conf.set(key, value)
        yield spark
    finally:
        if running is None:
            spark.stop()
        else:
            _restore(spark, kept)


def _started(name: str, workers: int | None) -> Any:
    from pyspark.sql import SparkSession

    master = os.environ.get(MASTER) or f"local[{workers or '*'}]"
    builder = SparkSession.builder.appName(name).master(master)
    if master.startswith("local"):
        # Nothing of a local session listens beyond loopback.
        for key in ("spark.driver.host", "spark.driver.bindAddress"):
            builder = builder.config(key, "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Every worker that loads a model would remark on packages that only Azure's server needs.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    try:
        spark = (
            builder.config("spark.ui.enabled", "false")
            .config("spark.log.level", "ERROR")
            .config("spark.ui.showConsoleProgress", "false")
            .getOrCreate()
        )
    except Exception as error:  # whatever the JVM said before it went
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"Spark cannot be started: {first[:200]}",
            hint=f"It needs Java 17 or newer; {MASTER} names a cluster.",
        ) from error
    return spark


def _restore(spark: Any, settings: Mapping[str, str | None]) -> None:
    for key, value in settings.items():
        if value is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, value)
