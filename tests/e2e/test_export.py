"""A model's folder serves it elsewhere: other packages, another environment, the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from azureml_runner.processes import free_port
from twinml import model
from twinml.errors import ModelError, PlatformError, UsageError
from twinml.platform import ModelVersion
from twinml_local.compiled import _kernel
from twinml_local.export import export_model
from twinml_local.export.__main__ import KEY, SECOND_KEY, given_keys, prepare
from twinml_local.export._folder import _WRITTEN, FILES
from twinml_local.export._packages import SERVING, pinned
from twinml_local.server.state import read_state

pytestmark = pytest.mark.e2e

SECRET = "a-key-that-nobody-guesses"
NO_INDEX = ("Failed to fetch", "error sending request", "dns error")


def version_of(directory: Path) -> ModelVersion:
    return ModelVersion("bank", "3", str(directory), model.digest(directory))


@pytest.fixture(scope="module")
def exported(ensemble_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with a compiled form; it is only read."""
    folder = tmp_path_factory.mktemp("export") / "bank"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("TWINML_HOME", str(tmp_path_factory.mktemp("home")))
        made = export_model(
            version_of(ensemble_directory), ensemble_directory, folder, name="bank-ep"
        )
    assert {path.rstrip("/") for path in made} == {path.name for path in folder.iterdir()}
    return folder


def serve(
    folder: Path, python: Path, state: Path, **more: str
) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    words = ["-m", "twinml_local.export", folder, "--port", str(port), "--state", state]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "packages"), **more}
    process = subprocess.Popen([python, *map(str, words)], env=environment, cwd=folder.parent)
    return process, f"http://127.0.0.1:{port}"


def smoke_test(folder: Path, address: str, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "smoke_test.py", address],
        env={**os.environ, KEY: key}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_it_answers_byte_for_byte_without_the_packages_that_trained(
    exported: Path, tmp_path: Path
) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run(
        [
            *(uv, "pip", "install", "-q", "--python", python, "--only-binary", ":all:"),
            *("-r", exported / "requirements.txt"),
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if any(words in done.stderr for words in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    for absent in ("requests", "sklearn", "pandas", "mlflow", "numba", "scipy", "lightgbm"):
        looked = subprocess.run(
            [python, "-c", f"import {absent}"], capture_output=True, check=False
        )
        assert looked.returncode == 1, absent
    process, address = serve(exported, python, tmp_path / "state", **{KEY: SECRET})
    try:
        proved = smoke_test(exported, address, SECRET)
        assert proved.returncode == 0, proved.stdout + proved.stderr
        assert "15 requests are answered byte for byte" in proved.stdout
        refused = smoke_test(exported, address, "another-key-altogether")
        assert "request 0 is answered 401" in refused.stderr
        document = requests.get(f"{address}/swagger.json", timeout=30).json()
        assert document["info"]["title"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    written = b"".join(path.read_bytes() for path in exported.rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert (tmp_path / "state" / "keys.json").stat().st_mode & 0o077 == 0
    assert not (exported / "state").exists()


def test_a_reply_that_differs_is_found(exported: Path, tmp_path: Path) -> None:
    """The smoke test fails where one byte of a reply is another one."""
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "smoke_test.py").write_bytes((exported / "smoke_test.py").read_bytes())
    proof = json.loads((exported / "proof.json").read_text())
    proof[-1]["reply"] = proof[-1]["reply"].replace("no", "No", 1)
    (folder / "proof.json").write_text(json.dumps(proof))
    process, address = serve(exported, Path(sys.executable), tmp_path / "state", **{KEY: SECRET})
    try:
        proved = smoke_test(folder, address, SECRET)
        assert proved.returncode == 1
        assert f"request {len(proof) - 1} is answered 200" in proved.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_a_changed_model_is_not_served(exported: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    with (folder / "endpoint" / "compiled" / "compiled.npz").open("ab") as stream:
        stream.write(b"x")
    with (folder / "endpoint" / "model" / "contract.json").open("a") as stream:
        stream.write(" ")
    process, _ = serve(folder, Path(sys.executable), tmp_path / "state", **{KEY: SECRET})
    assert process.wait(timeout=120) != 0


def test_a_model_without_a_compiled_form_brings_its_packages(
    model_directory: Path, tmp_path: Path, own_home: Path
) -> None:
    folder = tmp_path / "tree"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_model(version_of(model_directory), model_directory, folder, name="tree-ep")
    lines = (folder / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert {"scikit-learn", "pandas", *SERVING} <= {*names}
    assert "mlflow" not in names
    [item] = read_state(folder / "endpoint").deployments.values()
    assert item.compiled == ""
    assert "the model takes its rows as array" in item.refusal


def test_the_form_is_for_other_processors_and_without_other_libraries(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = json.loads((exported / "endpoint" / "compiled" / "compiled.json").read_text())
    assert description["portable"] is True
    assert {*description["versions"]} == {"numpy"}
    assert description["kernel"] == _kernel.key(portable=True) != _kernel.key()
    for features, says in (
        ({"avx2": True}, "lacks bmi, bmi2, f16c, fma, lzcnt, movbe"),
        ({}, "avx2"),
    ):
        monkeypatch.setattr(_kernel.llvm, "get_host_cpu_features", lambda found=features: found)
        monkeypatch.setattr(_kernel.llvm, "get_default_triple", lambda: "x86_64-unknown-linux-gnu")
        with pytest.raises(ModelError, match=says):
            _kernel._processor(portable=True)
    monkeypatch.setattr(_kernel.llvm, "get_default_triple", lambda: "riscv64-unknown-linux-gnu")
    with pytest.raises(ModelError, match="architecture riscv64"):
        _kernel._processor(portable=True)


def test_files_for_other_machines(exported: Path) -> None:
    compose = yaml.safe_load((exported / "compose.yaml").read_text())
    assert compose["services"]["bank-ep"]["ports"] == ["127.0.0.1:8080:8080"]
    deployment, service = yaml.safe_load_all((exported / "kubernetes.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    app = yaml.safe_load((exported / "container-app.yaml").read_text())
    assert app["properties"]["configuration"]["ingress"]["targetPort"] == 8080
    docker = (exported / "Dockerfile").read_text()
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim" in docker
    unit = (exported / "bank-ep.service").read_text()
    assert "ExecStart=/opt/bank-ep/.venv/bin/python -m twinml_local.export /opt/bank-ep" in unit
    assert {one.name for one in FILES.iterdir() if one.is_file()} == {*_WRITTEN}
    for path in exported.iterdir():
        if path.is_file():
            assert "{{" not in path.read_text()


@pytest.mark.parametrize(
    ("given", "keys", "says"),
    [
        ({}, None, ""),
        ({KEY: "x" * 16}, "x" * 16, ""),
        ({KEY: "x" * 16, SECOND_KEY: "y" * 16}, "x" * 16, ""),
        ({KEY: "x" * 15}, None, f"{KEY} has 15 characters"),
        ({KEY: "x" * 16, SECOND_KEY: "y" * 15}, None, f"{SECOND_KEY} has 15 characters"),
        ({SECOND_KEY: "y" * 16}, None, f"without {KEY}"),
    ],
)
def test_keys_of_the_environment(given: dict[str, str], keys: str | None, says: str) -> None:
    environment: Any = {**given, "HOME": "/"}
    if says:
        with pytest.raises(UsageError, match=says):
            given_keys(environment)
        return
    found = given_keys(environment)
    assert environment == {"HOME": "/"}
    assert (found is None) is (keys is None)
    if found is not None:
        assert found[0] == keys
        assert found[1] == given.get(SECOND_KEY, found[1])
        assert len(found[1]) >= 16


def test_without_a_key_two_are_made_once(exported: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    served = prepare(exported, state, {"TWINML_SERVER_MAX_ROWS": "7"})
    assert served.settings.max_rows == 7
    first = (state / "keys.json").read_text()
    prepare(exported, state, {})
    assert (state / "keys.json").read_text() == first
    prepare(exported, state, {KEY: SECRET})
    assert json.loads((state / "keys.json").read_text())["primary"] == SECRET


def test_what_cannot_be_exported(ensemble_directory: Path, tmp_path: Path, own_home: Path) -> None:
    version = version_of(ensemble_directory)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UsageError, match="holds something"):
        export_model(version, ensemble_directory, tmp_path / "full", name="bank-ep")
    with pytest.raises(UsageError, match="cannot be the name"):
        export_model(version, ensemble_directory, tmp_path / "new", name="../bank")
    other = ModelVersion("bank", "3", "", "0" * 64)
    with pytest.raises(ModelError, match="changed after it was saved"):
        export_model(other, ensemble_directory, tmp_path / "new", name="bank-ep")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    with pytest.raises(PlatformError, match="no-such-package"):
        pinned(["no-such-package"])
