"""The clients in docs/clients are those of the bundled contract, and they work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from twinml import model
from twinml.contract import Contract, infer_contract
from twinml.data import bundled, load
from twinml.endpoint.snippets import snippets
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).resolve().parents[2] / "docs" / "clients"
COMMANDS = {
    "curl.sh": ["sh"],
    "client.py": [sys.executable],
    "client.mjs": ["node"],
    "client.ps1": ["pwsh", "-NoProfile", "-File"],
}
KEY = "a key that is in no process list"


@pytest.fixture(scope="module")
def contract() -> Contract:
    data = load(bundled(), "y")
    return infer_contract(data.features, data.labels, name=data.name)


@pytest.fixture(scope="module")
def answering(
    contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, list[str]]]:
    """An endpoint of a small model of the bundled data: URI, key, and the right answer."""
    features, labels = load(bundled(), "y").features, load(bundled(), "y").labels
    texts = features.select_dtypes("object").columns.tolist()
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    pipeline = make_pipeline(
        ColumnTransformer([("texts", encode, texts)], remainder="passthrough"),
        DecisionTreeClassifier(max_depth=6, random_state=0),
    ).fit(features, labels)
    directory = tmp_path_factory.mktemp("model") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it saves
        digest = model.save(pipeline, contract, directory)
    rows = contract.samples[:2]
    frame = features.head(0).copy()
    for row in rows:
        frame.loc[len(frame)] = [row[name] for name in contract.column_names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINML_HOME", str(tmp_path_factory.mktemp("home")))
        info = endpoints.deploy(
            "bank", "blue", directory=directory, model="bank", version="1", digest=digest
        )
        key = endpoints.keys("bank").primary
        expected = np.asarray(pipeline.predict(frame.astype(features.dtypes))).tolist()
        yield info.scoring_uri, key, expected
        endpoints.stop()


def test_the_committed_clients_are_those_of_the_bundled_contract(contract: Contract) -> None:
    made = snippets(contract.samples[:2])
    for name, text in made.items():
        assert (CLIENTS / name).read_text(encoding="utf-8") == text, (
            f"docs/clients/{name} is not what the contract gives: run `make clients`"
        )
    assert {path.name for path in CLIENTS.iterdir()} == {*made, "README.md"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_client_scores(answering: tuple[str, str, list[str]], name: str) -> None:
    command = COMMANDS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    uri, key, expected = answering
    environment = os.environ | {"TWINML_URL": uri, "TWINML_KEY": key}
    done = subprocess.run(
        [*command, str(CLIENTS / name)], env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.replace("'", '"')) == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_a_client_with_the_wrong_key_fails_and_does_not_show_it(
    answering: tuple[str, str, list[str]], name: str
) -> None:
    command = COMMANDS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    environment = os.environ | {"TWINML_URL": answering[0], "TWINML_KEY": KEY}
    done = subprocess.run(
        [*command, str(CLIENTS / name)], env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "401" in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_text_of_any_kind_stays_what_it_is(tmp_path: Path) -> None:
    odd = {"it's": 'a "quote", a $var, a `tick`', "{{ x }}": "<b>\\n ü", "none": None, "yes": True}
    made = snippets([odd])
    assert json.loads(made["data.json"])["input_data"]["data"] == [list(odd.values())]
    for name, begin in (("client.py", "import json, os, urllib.request\n"), ("client.mjs", "")):
        head = made[name].split("\nconst columns" if name.endswith("mjs") else "\ncolumns")[0]
        start = head.index("rows = ") - (6 if name.endswith("mjs") else 0)
        show = "print(json.dumps(rows))" if begin else "console.log(JSON.stringify(rows));"
        program = tmp_path / name
        program.write_text(begin + head[start:] + "\n" + show, encoding="utf-8")
        if shutil.which(COMMANDS[name][0]):
            done = subprocess.run(
                [*COMMANDS[name], str(program)], capture_output=True, text=True, check=True
            )
            assert json.loads(done.stdout) == [odd]
    assert "'a \"quote\", a $var, a `tick`'" in made["client.ps1"]
    assert "'it''s' = " in made["client.ps1"]
