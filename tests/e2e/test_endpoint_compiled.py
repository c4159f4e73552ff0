"""Compiled scoring at an endpoint: the same bytes as the pipeline's, without its libraries."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from click.testing import CliRunner

from azureml_runner.processes import running
from twinml import model
from twinml.cli import main
from twinml.contract import example, example_csv
from twinml.errors import ModelError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server.deployments.compiling import compiled_form
from twinml_local.server.state import read_state, write_state

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
SCORE = ("data", "inputs", "input_data")
LIBRARIES = ("sklearn", "pandas", "lightgbm", "numba", "mlflow")


def deploy(directory: Path, deployment: str) -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model=deployment,
        version="1",
        digest=model.digest(directory),
    )


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


@pytest.fixture(scope="module")
def two_ways(
    ensemble_directory: Path, compiled_forms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """One model twice: ``quick`` is compiled, ``plain`` is made to score with its pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        (home / "compiled").symlink_to(compiled_forms)
        patch.setenv("TWINML_HOME", str(home))
        deploy(ensemble_directory, "quick")
        state = read_state(folder())
        plain = replace(state.deployments["quick"], compiled="", refusal="the test wants it so")
        endpoints.stop()
        deployments = {**state.deployments, "plain": plain}
        write_state(folder(), replace(state, deployments=deployments))
        endpoints.start(NAME)
        yield home
        endpoints.stop()


@pytest.fixture
def info(own_home: Path, two_ways: Path, monkeypatch: pytest.MonkeyPatch) -> EndpointInfo:
    monkeypatch.setenv("TWINML_HOME", str(two_ways))
    return endpoints.info(NAME)


def both(
    info: EndpointInfo, route: str, body: bytes, content_type: str = "application/json"
) -> bytes:
    """Return the reply of both deployments, which is one."""
    replies = []
    for deployment in ("quick", "plain"):
        reply = requests.post(
            info.scoring_uri.replace("/score", route),
            body,
            headers={
                "Authorization": f"Bearer {endpoints.keys(NAME).primary}",
                "Content-Type": content_type,
                "azureml-model-deployment": deployment,
            },
            timeout=60,
        )
        assert reply.headers["azureml-model-deployment"] == deployment
        replies.append((reply.status_code, reply.content))
    assert replies[0] == replies[1]
    assert replies[0][0] == 200, replies[0][1]
    return replies[0][1]


def rows(n: int, seed: int) -> list[dict[str, Any]]:
    """Rows in and out of the training range, with nulls and texts never seen."""
    rng = np.random.default_rng(seed)
    balances = rng.normal(1000, 600, n).tolist()
    jobs = ["admin.", "services", "retired", None, "pilot", "", "Admin."]
    extremes = [None, 0, -0.0, 1e-36, 1e300, -1e300, 5e-324]
    return [
        {
            "age": int(rng.integers(-5, 130)) if rng.random() < 0.95 else 2**53,
            "balance": extremes[int(rng.integers(7))] if rng.random() < 0.2 else balances[at],
            "job": jobs[int(rng.integers(len(jobs)))],
            "owner": bool(rng.random() < 0.5),
        }
        for at in range(n)
    ]


def test_one_is_compiled_and_one_is_not(info: EndpointInfo) -> None:
    assert info.notes == {
        "quick": "scores compiled",
        "plain": "scores with its pipeline, one request at a time: the test wants it so",
    }


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("n", [1, 2, 100, 3000])
def test_many_rows_give_the_same_bytes(info: EndpointInfo, n: int, method: str) -> None:
    for seed in range(20 if n < 3 else 2):
        body = {"data": rows(n, seed), "method": method}
        both(info, "/score", json.dumps(body).encode())


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    "dialect",
    [*SCORE, "dataframe_split", "dataframe_records", "instances", "mlflow_inputs"],
)
def test_every_dialect_gives_the_same_bytes(
    info: EndpointInfo, ensemble_directory: Path, dialect: Any, method: Any
) -> None:
    contract = model.load_contract(ensemble_directory)
    body = json.dumps(example(contract, dialect, n=5, method=method)).encode()
    both(info, "/score" if dialect in SCORE else "/invocations", body)


def test_csv_gives_the_same_bytes(info: EndpointInfo, ensemble_directory: Path) -> None:
    body = example_csv(model.load_contract(ensemble_directory)).encode()
    both(info, "/invocations", body, "text/csv")


def test_extreme_numbers(info: EndpointInfo) -> None:
    for text in ("NaN", "Infinity", "-Infinity", "1e400", "-0.0", "0.1", "null"):
        body = json.dumps({"data": [OLD]}).replace("1.5", text).encode()
        both(info, "/score", body)
    both(info, "/score", json.dumps({"data": [OLD, OLD | {"job": float("nan")}]}).encode())


def test_refusals_are_the_same_too(info: EndpointInfo) -> None:
    replies = set()
    for deployment in ("quick", "plain"):
        with endpoints.client(NAME, deployment=deployment) as client:
            reply = client.post(json.dumps({"data": [OLD | {"age": "x"}]}).encode())
        replies.add((reply.status_code, reply.content))
    assert len(replies) == 1
    assert replies.pop()[0] == 400


def test_a_compiled_server_starts_without_the_pipelines_libraries(
    own_home: Path, compiled_forms: Path, ensemble_directory: Path
) -> None:
    own_home.mkdir()
    (own_home / "compiled").symlink_to(compiled_forms)
    try:
        deploy(ensemble_directory, "blue")
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]
            for value in (None, "never seen", float("nan")):
                reply = client.post(json.dumps({"data": [OLD | {"job": value}]}).encode())
                assert reply.status_code == 200
        assert mapped_libraries() == set()
    finally:
        endpoints.stop()


def mapped_libraries() -> set[str]:
    pid = running(folder() / "server.pid")
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    maps = "".join(
        Path(f"/proc/{each}/maps").read_text() for each in (pid, *map(int, listing.stdout.split()))
    )
    return {name for name in LIBRARIES if f"/{name}/" in maps}


def test_a_model_that_is_not_compiled_says_why(own_home: Path, model_directory: Path) -> None:
    try:
        info = deploy(model_directory, "blue")
        assert (
            "scores with its pipeline, in batches: the model takes its rows as array"
            in info.notes["blue"]
        )
        assert info.notes["blue"] in CliRunner().invoke(main, ["status"]).stdout
        assert any("its rows as array" in line for line in endpoints.logs(NAME))
        assert any("scores with its pipeline, in batches" in line for line in endpoints.logs(NAME))
        bodies = [json.dumps({"data": [OLD | {"age": 20 + age}]}).encode() for age in range(70)]

        def post(body: bytes) -> tuple[int, bytes]:
            with endpoints.client(NAME) as client:
                reply = client.post(body)
            return reply.status_code, reply.content

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(post, bodies))
        assert found == [post(body) for body in bodies]
        assert {status for status, _ in found} == {200}
    finally:
        endpoints.stop()


def test_a_form_is_made_once_and_never_another_models(
    own_home: Path, compiled_forms: Path, ensemble_directory: Path, tmp_path: Path
) -> None:
    own_home.mkdir()
    shutil.copytree(compiled_forms, own_home / "compiled")
    digest = model.digest(ensemble_directory)
    first = compiled_form(ensemble_directory, digest)
    made = Path(first.directory).stat().st_mtime_ns
    assert compiled_form(ensemble_directory, digest) == first
    assert Path(first.directory).stat().st_mtime_ns == made
    # What was made with an older compiler is made anew.
    outcome = Path(first.directory) / "outcome.json"
    outcome.write_text(outcome.read_text().replace('"made_with": "', '"made_with": "old-'))
    anew = compiled_form(ensemble_directory, digest)
    assert anew != first  # so that workers see that it is another one
    assert replace(anew, made=first.made) == first
    assert "old-" not in outcome.read_text()
    # Another pipeline in a folder that looks alike is not even loaded.
    other = tmp_path / "other"
    shutil.copytree(ensemble_directory, other)
    (other / "data" / "pipeline.pkl").write_bytes(b"not a pickle")
    with pytest.raises(ModelError, match=f"changed after it was saved: .* expected {digest[:12]}"):
        compiled_form(other, digest)
