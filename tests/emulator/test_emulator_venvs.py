"""Environments are built once, shared, and whole or not there."""

import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from platform import python_version, python_version_tuple

import pytest

from azureml_emulator.environments._eviction import evict
from azureml_emulator.environments._interpreters import Interpreter, candidates, choose
from azureml_emulator.environments.curated import curated_name, requirements_of
from azureml_emulator.environments.venvs import BuildError, Requirements, Venv, VenvCache
from azureml_runner.errors import UsageError
from azureml_runner.locks import locked


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


def test_a_python_that_is_not_here_is_stood_in_for_and_said_so(
    tmp_path: Path, wheel: str, monkeypatch
):
    monkeypatch.setenv("TWINML_FETCH_PYTHON", "off")
    lines: list[str] = []
    wanted = Requirements((wheel,), python="3.99.1")
    venv = VenvCache(tmp_path / "cache").get(wanted, log=lines.append)
    said = f"Python 3.99.1 is not on this machine and could not be fetched; {python_version()}"
    assert venv.stand_in == f"{said} stands in for it."
    assert f"WARNING: {venv.stand_in}" in lines
    assert answer(venv) == "42"


def test_the_python_that_runs_here_stands_in_for_none():
    for asked in (None, "", python_version(), ".".join(python_version_tuple()[:2])):
        found = choose(asked, pytest.fail)
        assert (found.version, found.stand_in) == (python_version(), "")


def test_a_python_is_looked_for_on_the_path_then_in_pyenv_then_in_conda(tmp_path: Path):
    for folder in ("versions/3.8.9", "versions/3.8.18", "versions/3.80.1"):
        (tmp_path / "pyenv" / folder).mkdir(parents=True)
    (tmp_path / "conda/envs/old").mkdir(parents=True)
    environ = {
        "PATH": f"{tmp_path}/a:{tmp_path}/b",
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "CONDA_PREFIX": str(tmp_path / "conda"),
    }
    found = [str(path) for path in candidates("3.8", environ, tmp_path)]
    assert found[:6] == [
        f"{tmp_path}/{place}/python3.8"
        for place in (
            *("a", "b", "pyenv/versions/3.8.18/bin", "pyenv/versions/3.8.9/bin"),
            *("conda/bin", "conda/envs/old/bin"),
        )
    ]
    assert f"{tmp_path}/miniforge3/bin/python3.8" in found


def test_a_python_on_the_path_is_taken_and_a_placeholder_is_not(tmp_path: Path, monkeypatch):
    for folder, text in (("broken", "exit 127"), ("good", "echo /there/python3.8; echo 3.8.18")):
        (tmp_path / folder).mkdir()
        script = tmp_path / folder / "python3.8"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}/broken:{tmp_path}/good")
    assert choose("3.8.1", pytest.fail) == Interpreter(Path("/there/python3.8"), "3.8.18")


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
        *("pip<=23.2", "numpy==1.26.*", "scipy>=1.11,<2", "pandas==2.2.3", "joblib"),
        *("mlflow==3.15.0", "scikit-learn==1.9.1"),
        *("setuptools<81", "wheel"),
    )
    named = {"numpy", "scipy", "pandas", "joblib", "mlflow", "scikit-learn"}
    assert wanted.names() == named | {"pip", "setuptools", "wheel"}


@pytest.mark.parametrize("text", ["{", "name: env", "dependencies: none"])
def test_what_is_no_conda_specification_is_refused(text: str):
    with pytest.raises(BuildError):
        Requirements.from_conda(text)


@pytest.mark.parametrize(
    ("name", "python", "package"),
    [
        ("sklearn-1.5", "3.10", "scikit-learn~=1.5.0"),
        ("sklearn-1.0-ubuntu20.04-py38-cpu", "3.8", "scikit-learn~=1.0.0"),
        ("sklearn-1.1-ubuntu20.04-py38-cpu", "3.8", "scikit-learn~=1.1.0"),
        ("lightgbm-3.3", "3.10", "lightgbm>=4.6.0"),
    ],
)
def test_a_curated_environment_holds_what_its_definition_says(name, python, package):
    wanted = requirements_of(name)
    assert wanted is not None
    assert wanted.python == python
    assert {package, "pip", "azureml-mlflow"} <= set(wanted.packages)


@pytest.mark.parametrize("name", ["sklearn-1.50", "acpt-pytorch-2.2-cuda12.1", "", "None"])
def test_what_is_not_known_of_a_curated_environment_is_not_made_up(name):
    assert requirements_of(name) is None


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("azureml://registries/azureml/environments/sklearn-1.5/versions/3", "sklearn-1.5"),
        ("azureml://registries/AzureML/environments/sklearn-1.5", "sklearn-1.5"),
        ("azureml:AzureML-sklearn-1.5:1", "sklearn-1.5"),
        ("/subscriptions/s/workspaces/w/environments/AzureML-x/versions/1", "x"),
        ("azureml:mine@latest", None),
        ("azureml://registries/mine/environments/sklearn-1.5/versions/3", None),
    ],
)
def test_a_reference_to_a_curated_environment_is_known_by_its_name(reference, name):
    assert curated_name(reference) == name


def built_long_ago(directory: Path, name: str, days: float, size: int = 0) -> Path:
    """Make what the cache takes for an environment that was last used so long ago."""
    venv = directory / (name * 32)
    venv.mkdir(parents=True)
    (venv / "complete.json").write_text("{}")
    (venv / "content").write_bytes(b"x" * size)
    (venv / "used").touch()
    then = time.time() - days * 86_400
    os.utime(venv / "used", (then, then))
    return venv


def test_what_was_not_used_for_long_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_VENVS_DAYS", "7")
    old, new = built_long_ago(tmp_path, "a", 8), built_long_ago(tmp_path, "b", 6)
    assert evict(tmp_path) == [old.name]
    assert not old.exists()
    assert new.exists()
    assert not list(tmp_path.glob(".*.gone"))


def test_the_longest_unused_goes_when_there_is_too_much(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_VENVS_GB", "0.0005")
    first = built_long_ago(tmp_path, "a", 3, 300_000)
    built_long_ago(tmp_path, "b", 1, 300_000)
    assert evict(tmp_path) == [first.name]


def test_what_another_process_works_with_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_VENVS_DAYS", "1")
    venv = built_long_ago(tmp_path, "a", 9)
    holding = (
        "import sys, pathlib; from azureml_emulator.environments._eviction import hold; "
        "hold(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path / f"{venv.name}.use")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert evict(tmp_path) == []
        other.communicate()
    assert evict(tmp_path) == [venv.name]


def test_one_that_is_being_built_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_VENVS_DAYS", "1")
    venv = built_long_ago(tmp_path, "a", 9)
    with locked(tmp_path / f"{venv.name}.lock"):
        assert evict(tmp_path) == []


def test_a_bound_that_is_no_number_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_VENVS_GB", "much")
    with pytest.raises(UsageError, match="TWINML_VENVS_GB is 'much'"):
        evict(tmp_path)
