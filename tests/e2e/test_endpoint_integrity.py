"""Models and compiled forms that were changed, and forms that hold no longer, on real servers."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from azureml_runner.processes import running
from twinml import model
from twinml.errors import ModelError, PlatformError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.compiled import form_digest
from twinml_local.server.state import read_state, write_state

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
SECONDS = 120


class Planted:
    """What an attacker puts in the place of a pipeline: loading it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def home(own_home: Path, compiled_forms: Path, ensemble_directory: Path) -> Iterator[Path]:
    """Return a home with compiled forms of its own."""
    from twinml_local.server.deployments.compiling import compiled_form

    own_home.mkdir()
    # Made where the tests share it: translating the kernel takes long.
    forms = own_home / "compiled"
    forms.symlink_to(compiled_forms)
    compiled_form(ensemble_directory, model.digest(ensemble_directory))
    forms.unlink()
    shutil.copytree(compiled_forms, forms)
    yield own_home
    endpoints.stop()


@pytest.fixture
def copy(ensemble_directory: Path, tmp_path: Path) -> Path:
    """Return a model that a test may change."""
    return Path(shutil.copytree(ensemble_directory, tmp_path / "copy"))


def deploy(directory: Path, deployment: str = "blue") -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model="bank",
        version="7",
        digest=model.digest(directory),
    )


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


def note(deployment: str = "blue") -> str:
    return endpoints.info(NAME).notes.get(deployment, "")


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: {endpoints.info(NAME).notes}"
        time.sleep(0.05)


def answers(deployment: str) -> int:
    with endpoints.client(NAME, deployment=deployment) as client:
        return client.post(json.dumps({"data": [OLD]}).encode()).status_code


def plant(directory: Path, tmp_path: Path) -> tuple[Path, str]:
    """Change a model; return what its pickle would leave behind, and the new digest."""
    mark = tmp_path / "the-pickle-was-run"
    (directory / "data" / "pipeline.pkl").write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(ModelError) as error:
        model.digest(directory)
    return mark, str(error.value).partition("its digest is ")[2][:12]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_changed_model_is_refused_at_every_door_and_its_pickle_is_not_run(
    home: Path, ensemble_directory: Path, copy: Path, tmp_path: Path, compiled: bool
) -> None:
    digest = model.digest(copy)
    deploy(ensemble_directory, "blue")
    deploy(copy, "green")

    def another_version(version: str, **changes: str) -> None:
        """Have the workers load ``green`` anew."""
        state = read_state(folder())
        green = replace(state.deployments["green"], version=version, **changes)
        write_state(folder(), replace(state, deployments={**state.deployments, "green": green}))

    def refused() -> None:
        told = note("green")
        for part in ("did not load: bank:9: the model in ", found, digest[:12]):
            assert part in told
        assert f"twinml deploy --model bank/9 --endpoint {NAME} --name green" in told
        assert "\n" not in told
        assert (answers("green"), answers("blue")) == (503, 200)
        assert not mark.exists()

    if not compiled:
        another_version("8", compiled="", form="", refusal="as wanted")
        until(lambda: "as wanted" in note("green"), "its pipeline does not serve")
    mark, found = plant(copy, tmp_path)
    for deployment in ("green", "red"):
        with pytest.raises(PlatformError, match=f"{found}, expected {digest[:12]}"):
            endpoints.deploy(
                NAME, deployment, directory=copy, model="bank", version="7", digest=digest
            )
    # What is in memory still serves. A worker that reads the files again refuses them.
    assert answers("green") == 200
    another_version("9")
    until(lambda: "did not load" in note("green"), "the changed model is served")
    refused()
    endpoints.stop()
    endpoints.start(NAME)
    refused()


def test_a_worker_that_takes_the_place_of_another_runs_no_changed_pickle(
    home: Path, copy: Path, tmp_path: Path
) -> None:
    deploy(copy)
    endpoints.stop()
    endpoints.start(NAME)  # from now on the supervisor holds what it has checked
    mark, _ = plant(copy, tmp_path)
    assert answers("blue") == 200
    pid = running(folder() / "server.pid")
    assert pid is not None
    # The supervisor holds the compiled form that it has checked; a new worker goes on with it.
    (worker,) = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(worker), signal.SIGKILL)
    until(lambda: note() == "scores compiled", "no worker took its place")
    assert answers("blue") == 200
    assert not mark.exists()


def test_a_changed_compiled_form_is_not_used_and_made_anew(
    home: Path, ensemble_directory: Path
) -> None:
    deploy(ensemble_directory)
    form = Path(read_state(folder()).deployments["blue"].compiled)
    before = form_digest(form)
    endpoints.stop()
    (form / "kernel.o").write_bytes((form / "kernel.o").read_bytes() + b" ")
    endpoints.start(NAME)
    assert answers("blue") == 200
    until(lambda: note() == "scores compiled", "it is not compiled anew")
    assert form_digest(form) == read_state(folder()).deployments["blue"].form == before


def make_older(state_folder: Path) -> None:
    """Make an endpoint's compiled form one that was verified with an earlier scikit-learn."""
    state = read_state(state_folder)
    item = state.deployments["blue"]
    form = Path(item.compiled)
    description = json.loads((form / "compiled.json").read_text())
    description["versions"]["scikit-learn"] = "1.0.0"
    (form / "compiled.json").write_text(json.dumps(description))
    outcome = json.loads((form / "outcome.json").read_text())
    older = {"form": form_digest(form), "made_with": "before"}
    (form / "outcome.json").write_text(json.dumps(outcome | older))
    blue = replace(item, **older)
    write_state(state_folder, replace(state, deployments={**state.deployments, "blue": blue}))


def test_after_an_update_the_pipeline_serves_until_the_model_is_compiled_anew(
    home: Path, ensemble_directory: Path
) -> None:
    info = deploy(ensemble_directory)
    endpoints.stop()
    make_older(folder())
    lock = home / "compiled" / f"{model.digest(ensemble_directory)}.lock"
    # Another process compiles: this one has to wait, and there is time to look.
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from azureml_runner.locks import locked\n"
            "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()",
            str(lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "held\n"
        endpoints.start(NAME)
        until(lambda: "compiling anew since" in note(), "it is not compiled anew")
        assert note().startswith(
            "scores with its pipeline, one request at a time: the compiled form was verified with "
            "scikit-learn 1.0.0, now "
        )
        pid = running(folder() / "compiling.pid")
        assert pid is not None
        until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 19, "it takes time from requests")
        holder.stdin.close()
        key = endpoints.keys(NAME).primary
        found = set()
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {key}"
            deadline = time.monotonic() + SECONDS
            while note() != "scores compiled":
                assert time.monotonic() < deadline, note()
                for _ in range(20):
                    reply = session.post(info.scoring_uri, json={"data": [OLD]}, timeout=60)
                    found.add((reply.status_code, reply.content))
        assert len(found) == 1
        assert next(iter(found))[0] == 200
    finally:
        holder.stdin.close()
        holder.stdout.close()
        holder.wait()
    state = read_state(folder())
    assert state.deployments["blue"].made_with != "before"
    # Nothing is left to do: a start compiles no more.
    endpoints.stop()
    assert endpoints.start(NAME).notes["blue"] == "scores compiled"
    assert running(folder() / "compiling.pid") is None


def test_pickles_can_be_forbidden(
    home: Path, ensemble_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(ensemble_directory)
    endpoints.stop()
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    # Deployed as before, and its compiled form serves.
    assert deploy(ensemble_directory).notes["blue"] == "scores compiled"
    assert answers("blue") == 200
    endpoints.stop()
    state = read_state(folder())
    plain = replace(state.deployments["blue"], compiled="", refusal="the pipeline is of ours")
    write_state(folder(), replace(state, deployments={**state.deployments, "plain": plain}))
    endpoints.start(NAME)
    told = note("plain")
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION forbids to load one" in told
    assert "(the pipeline is of ours)" in told
    assert answers("blue") == 200
    shutil.rmtree(home / "compiled" / model.digest(ensemble_directory))
    with pytest.raises(PlatformError, match=r"did not start: the pipeline in .* is a pickle"):
        deploy(ensemble_directory, "green")
