"""Saving and loading, and what a server's process has to import for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml.contract import infer_contract
from twinml.errors import ModelError
from twinml.training._ensemble import Vote, fit_stack
from twinml.training._recipe import Recipe
from twinml.training.learners import LEARNERS
from twinml.training.tasks import Classification, Task, predictions, task_of
from twinml_local.compiled import CompiledModel, compile_model, form_digest, load, save

DIGEST = "d" * 64

CONFIGS: dict[str, dict[str, Any]] = {
    "LightGBM": {"n_estimators": 10, "num_leaves": 8},
    "XGBoost": {"n_estimators": 10, "max_depth": 3},
    "ExtraTrees": {"n_estimators": 5, "min_samples_leaf": 5, "max_features": 0.6},
    "HistGradientBoosting": {"max_iter": 8, "max_leaf_nodes": 8},
    "LogisticRegression": {"C": 0.3},
}
OF_NUMBERS: dict[str, dict[str, Any]] = {
    "LightGBM": CONFIGS["LightGBM"],
    "RidgeLog": {"alpha": 1.0},
    "XGBoostLog": CONFIGS["XGBoost"],
}


def made(n_classes: int, join: str) -> tuple[CompiledModel, dict[str, list[Any]], int]:
    rng = np.random.default_rng(3)
    n = 500
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "amount": rng.lognormal(3, 2, n),
            "city": rng.choice(["bonn", "oslo", "rome", "\ud800", "Ünï ✓"], n),
            "flag": rng.random(n) < 0.5,
        }
    )
    score = frame["x"] + frame["flag"]
    y: Any = np.digitize(score, [0.2, 1.0][: n_classes - 1])
    classes = np.array([3, 7, 11][:n_classes])
    task: Task = Classification(classes=tuple(classes.tolist()))
    labels, configs = classes[y], CONFIGS
    if n_classes == 1:
        labels, configs = np.exp(score.to_numpy()), OF_NUMBERS
        y, task = labels, task_of(labels, "regression")
    contract = infer_contract(frame, pd.Series(labels), name="made", regression=n_classes == 1)
    members = {one.name: (one, configs[one.name]) for one in LEARNERS if one.name in configs}
    fitted = Recipe(members, task, seed=0).fit(frame, y, np.ones(n), jobs=1)
    if join == "vote":
        how: Any = Vote(dict.fromkeys(members, 1 / len(members)))
    else:
        X = np.asarray(fitted.encoder.transform(frame), dtype=np.float64)
        shares = {name: predictions(one, X) for name, one in fitted.members.items()}
        how = fit_stack(task, shares, y, np.ones(n))
    pipeline = fitted.pipeline(how, 0.3 if n_classes == 2 else None)
    columns = {name: frame[name].tolist() for name in contract.column_names}
    return compile_model(pipeline, contract, digest=DIGEST), columns, n


@pytest.mark.parametrize("join", ["vote", "stack"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_threads_share_the_rows_and_give_the_same_bits(n_classes: int, join: str) -> None:
    compiled, columns, n = made(n_classes, join)
    many = {name: values * 4 for name, values in columns.items()}
    # More threads than there are parts worth one, and rows that do not divide evenly.
    for threads, left_out in ((2, 0), (3, 1), (64, 7)):
        compiled.threads = threads
        some = {name: values[left_out:] for name, values in many.items()}
        found, bits = compiled.predict_columns(some, 4 * n - left_out)
        compiled.threads = 1
        expected, wanted = compiled.predict_columns(some, 4 * n - left_out)
        assert (found, bits.tobytes()) == (expected, wanted.tobytes()), threads


SCORE = """
import json, sys
from pathlib import Path
from twinml_local.compiled import load
model = load(Path(sys.argv[1]), digest=sys.argv[2])
request = json.loads(Path(sys.argv[3]).read_text())
labels, shares = model.predict_columns(request, len(request["x"]))
one = {name: values[:1] for name, values in request.items()}
model.predict_columns(one, 1)
print(json.dumps({
    "labels": labels,
    "shares": shares.tobytes().hex(),
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@pytest.mark.parametrize(
    ("n_classes", "join"), [(2, "stack"), (3, "vote"), (3, "stack"), (1, "vote")]
)
def test_a_fresh_process_answers_alike_and_imports_little(
    tmp_path: Path, n_classes: int, join: str
) -> None:
    compiled, columns, n = made(n_classes, join)
    folder = tmp_path / "saved"
    save(compiled, folder)
    request = tmp_path / "request.json"
    request.write_text(json.dumps(columns))
    run = subprocess.run(
        [sys.executable, "-c", SCORE, str(folder), DIGEST, str(request)],
        capture_output=True,
        text=True,
        check=True,
        # Nothing there: what the server needs is in the folder.
        env={"TWINML_HOME": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"},
    )
    reply = json.loads(run.stdout)
    labels, shares = compiled.predict_columns(columns, n)
    assert reply["labels"] == labels
    assert reply["shares"] == shares.tobytes().hex()
    heavy = {"sklearn", "pandas", "lightgbm", "xgboost", "mlflow", "scipy", "numba"}
    assert not heavy & set(reply["modules"])
    assert not (tmp_path / "none").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    compiled, _, _ = made(2, "vote")
    folder = tmp_path / "saved"
    save(compiled, folder)
    return folder


def test_the_folder_holds_no_pickle(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "compiled.json",
        "compiled.npz",
        "kernel.o",
    ]
    with np.load(saved / "compiled.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


def test_another_models_digest_is_an_error(saved: Path) -> None:
    load(saved, digest=DIGEST)
    load(saved)
    with pytest.raises(ModelError, match="was made from dddddddddddd, expected eeee"):
        load(saved, digest="e" * 64)


def test_a_newer_format_is_an_error(saved: Path) -> None:
    path = saved / "compiled.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ModelError, match="has format 99"):
        load(saved)


def test_other_versions_of_the_libraries_are_an_error(saved: Path) -> None:
    path = saved / "compiled.json"
    description = json.loads(path.read_text())
    description["versions"]["scikit-learn"] = "0.1"
    path.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"verified with scikit-learn 0\.1, now "):
        load(saved)


@pytest.mark.parametrize("name", ["compiled.json", "compiled.npz", "kernel.o"])
def test_a_file_that_is_not_there_is_an_error(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ModelError, match="no compiled model"):
        load(saved)


@pytest.mark.parametrize("name", ["compiled.json", "compiled.npz", "kernel.o"])
def test_half_a_file_is_an_error(saved: Path, name: str) -> None:
    path = saved / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="damaged"):
        load(saved)


def test_one_bit_of_an_array_is_an_error(saved: Path) -> None:
    path = saved / "compiled.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        load(saved)


def test_a_kernel_of_another_processor_is_an_error(saved: Path) -> None:
    path = saved / "compiled.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kernel": "another"}))
    (saved / "kernel.o").write_bytes(b"code of another processor")
    with pytest.raises(ModelError, match="for another processor"):
        load(saved, digest=DIGEST)


def test_a_form_of_another_digest_is_an_error(saved: Path) -> None:
    form = form_digest(saved)
    assert repr(load(saved, digest=DIGEST, form=form)).startswith("CompiledModel(5 members")
    with pytest.raises(ModelError, match=f"digest is {form[:12]}, expected 0000"):
        load(saved, digest=DIGEST, form="0" * 64)
    with pytest.raises(ModelError, match="made by an earlier version"):
        load(saved, digest=DIGEST, form="")


@pytest.mark.parametrize("name", ["compiled.json", "compiled.npz", "kernel.o"])
def test_each_file_counts_in_the_digest_of_a_form(saved: Path, name: str) -> None:
    before = form_digest(saved)
    path = saved / name
    path.write_bytes(path.read_bytes() + b" ")
    assert form_digest(saved) not in ("", before)
    path.unlink()
    assert form_digest(saved) == ""
