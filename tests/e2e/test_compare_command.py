"""``twinml compare`` on running endpoints: the same model, and another one under the same name."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.dummy import DummyClassifier

from twinml import model
from twinml.cli import main
from twinml.platform import load
from twinml_local import endpoints

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with the model registered and deployed, and one that always says no."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("TWINML_HOME", str(folder))
        platform = load("local")
        version = platform.register_model(model_directory, name="bank-test")
        platform.deploy(version, endpoint="bank-test", deployment="blue")
        contract = model.load_contract(model_directory)
        rows = pd.DataFrame([dict(sample) for sample in contract.samples] * 2)
        constant = DummyClassifier(strategy="prior").fit(rows, ["no", "yes"] * (len(rows) // 2))
        model.save(constant, contract, folder / "constant")
        other = platform.register_model(folder / "constant", name="constant")
        platform.deploy(other, endpoint="constant", deployment="blue")
        yield folder
        endpoints.stop()


@pytest.fixture(autouse=True)
def at_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process at the shared folder, as the user's shell would."""
    monkeypatch.setenv("TWINML_HOME", str(home))


@pytest.fixture(scope="module")
def rows(home: Path, model_directory: Path) -> Path:
    samples = model.load_contract(model_directory).samples
    path = home / "rows.csv"
    pd.DataFrame([dict(sample) for sample in samples]).to_csv(path, index=False)
    return path


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments, "--timed", "3", "--json"])


def address(name: str) -> str:
    platform = load("local")
    os.environ["KEY_OF_TEST"] = platform.keys(name).primary
    return platform.endpoint_info(name).scoring_uri


def test_the_same_model_passes_and_leaves_a_page(home: Path, rows: Path):
    done = compare(
        *("local", address("bank-test"), "--endpoint", "bank-test", "--key-env", "KEY_OF_TEST"),
        *("--data", str(rows), "--adversarial"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["passes"] is True
    assert found["label_agreement"] == 1.0
    assert found["max_change"] == 0.0
    assert found["rows"] == 5 + found["adversarial"]
    assert found["changed_cells"] > 0
    assert found["same_model"] is None  # a URL does not tell
    assert found["sides"][0]["digest"]
    page = Path(found["page"])
    assert page.is_relative_to(home)
    assert json.loads((page.parent / "compare.json").read_text()) == found
    assert os.environ["KEY_OF_TEST"] not in page.read_text() + done.output


def test_another_model_fails_and_the_rows_are_named(home: Path, rows: Path):
    done = compare(
        *("local", address("constant"), "--endpoint", "bank-test", "--key-env", "KEY_OF_TEST"),
        *("--data", str(rows)),
    )
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["passes"] is False
    assert found["causes"] == {"model": 5}
    assert found["max_change"] == 0.5
    assert all(each["labels"][0] is not None for each in found["differences"])


def test_different_digests_fail_whatever_they_answer(home: Path, rows: Path):
    for endpoint, passes in (("bank-test", True), ("constant", True)):
        done = compare("local", "local", "--endpoint", endpoint, "--data", str(rows))
        assert (json.loads(done.stdout)["passes"], done.exit_code) == (passes, 0)
        assert json.loads(done.stdout)["same_model"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://127.0.0.1:1/score", "http://127.0.0.1:2/score"), "--model-dir"),
        (("nowhere", "local"), "there is no platform 'nowhere'"),
        (("local", "local", "--rows", "none"), "--rows is 'none'"),
        (("local", "local", "--endpoint", "bank-test", "--key-env", "X"), "for no URL"),
        (("local", "local", "--endpoint", "absent"), "absent"),
    ],
)
def test_bad_calls_are_refused_in_words(home: Path, arguments: tuple[str, ...], words: str):
    done = compare(*arguments)
    assert done.exit_code == 1
    shape = json.loads(done.stdout)
    assert words in f"{shape['message']} {shape.get('hint')}"
