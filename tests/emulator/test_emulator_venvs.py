"""Environments are built once, shared, and whole or not there."""

import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azureml_emulator.venvs import BuildError, Requirements, Venv, VenvCache


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """Return the path of a package that needs no index."""
    path = tmp_path / "tiny_one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        info = "tiny_one-1.0.dist-info"
        file.writestr("tiny_one.py", "ANSWER = 42\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-one\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return str(path)


def answer(venv: Venv) -> str:
    done = subprocess.run(
        [venv.python, "-c", "import tiny_one; print(tiny_one.ANSWER)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_four_who_want_the_same_share_one_build(tmp_path: Path, wheel: str):
    lines: list[str] = []
    wanted = Requirements((wheel,))

    def get(_: int) -> Venv:
        return VenvCache(tmp_path / "cache").get(wanted, log=lines.append)

    with ThreadPoolExecutor(4) as pool:
        venvs = set(pool.map(get, range(4)))
    assert len(venvs) == 1
    assert sum("building" in line for line in lines) == 1
    assert sum("found in the cache" in line for line in lines) == 3
    assert answer(venvs.pop()) == "42"


def test_what_a_killed_process_left_is_built_anew(tmp_path: Path, wheel: str):
    cache = VenvCache(tmp_path / "cache")
    venv = cache.get(Requirements((wheel,)), log=lambda _: None)
    (venv.directory / "complete.json").unlink()
    next(venv.directory.rglob("tiny_one.py")).unlink()
    assert answer(cache.get(Requirements((wheel,)), log=lambda _: None)) == "42"


def test_a_failure_shows_the_installers_words_and_leaves_nothing(tmp_path: Path):
    cache = VenvCache(tmp_path / "cache")
    with pytest.raises(BuildError) as caught:
        cache.get(Requirements(("-r", "/nowhere/at/all.txt")), log=lambda _: None)
    assert caught.value.tail
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_python_that_is_not_here_is_stood_in_for_and_said_so(tmp_path: Path, wheel: str):
    lines: list[str] = []
    wanted = Requirements((wheel,), python="3.99.1")
    venv = VenvCache(tmp_path / "cache").get(wanted, log=lines.append)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"WARNING: Python 3.99.1 is not on this machine; {here} stands in for it." in lines
    assert answer(venv) == "42"


def test_conda_specifications_are_read_as_conda_means_them():
    text = """
name: env
channels: [conda-forge]
dependencies:
  - python=3.11.7
  - pip<=23.2
  - conda-forge::numpy=1.26
  - scipy>=1.11,<2
  - pandas==2.2.3
  - joblib
  - pip:
    - mlflow==3.15.0
    - scikit-learn==1.9.1  # as trained
"""
    wanted = Requirements.from_conda(text)
    assert wanted.python == "3.11.7"
    assert wanted.packages == (
        *("numpy==1.26.*", "scipy>=1.11,<2", "pandas==2.2.3", "joblib"),
        *("mlflow==3.15.0", "scikit-learn==1.9.1"),
    )
    assert wanted.names() == {"numpy", "scipy", "pandas", "joblib", "mlflow", "scikit-learn"}


@pytest.mark.parametrize("text", ["{", "name: env", "dependencies: none"])
def test_what_is_no_conda_specification_is_refused(text: str):
    with pytest.raises(BuildError):
        Requirements.from_conda(text)
