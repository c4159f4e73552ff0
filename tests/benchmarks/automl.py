"""Measure the AutoML against others on the same rows; prints a table, asserts nothing.

Every system learns from the same 80 % of the rows and is measured on the other 20 %, in a
process of its own, one after another. Run it on a quiet machine::

    make bench-automl ARGS="--seeds 0 1 2 --budgets 60 240"

AutoGluon wants other versions of the common packages: give the Python of an environment that
has autogluon.tabular with ``--autogluon PATH``. Without it those lines are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
SEED_DATA = ROOT.parent / "shared" / "data" / "bankmarketing_train.csv.gz"
BUNDLED = ROOT / "data" / "bank-full.csv.gz"
TARGET = "y"

Predict = Callable[[pd.DataFrame], np.ndarray]


def lightgbm_default(train: pd.DataFrame, budget: float, seed: int) -> Predict:
    """LightGBM as it comes, strings as its own categories."""
    from lightgbm import LGBMClassifier

    X, y = train.drop(columns=TARGET), train[TARGET]
    kinds = {c: pd.CategoricalDtype(sorted(X[c].unique())) for c in X if X[c].dtype == object}
    model = LGBMClassifier(n_jobs=2, random_state=seed, verbose=-1).fit(X.astype(kinds), y)
    return lambda rows: model.predict_proba(rows.astype(kinds))[:, 1]


def flaml_as_it_is(ensemble: bool) -> Callable[[pd.DataFrame, float, int], Predict]:
    """FLAML's AutoML with its defaults, best single or its stacking."""

    def fit(train: pd.DataFrame, budget: float, seed: int) -> Predict:
        from flaml import AutoML

        automl = AutoML()
        automl.fit(
            train.drop(columns=TARGET),
            train[TARGET],
            task="classification",
            metric="roc_auc",
            time_budget=budget,
            ensemble=ensemble,
            seed=seed,
            n_jobs=2,
            verbose=0,
            # Its MLflow logging raises under MLflow 3.15.
            mlflow_logging=False,
        )
        return lambda rows: automl.predict_proba(rows)[:, 1]

    return fit


def autogluon(preset: str) -> Callable[[pd.DataFrame, float, int], Predict]:
    """AutoGluon with a preset; runs in its own environment."""

    def fit(train: pd.DataFrame, budget: float, seed: int) -> Predict:
        from autogluon.tabular import TabularPredictor

        predictor = TabularPredictor(
            label=TARGET, eval_metric="roc_auc", path=tempfile.mkdtemp(), verbosity=0
        ).fit(train, time_limit=budget, presets=preset, num_cpus=2)
        return lambda rows: predictor.predict_proba(rows)["yes"].to_numpy()

    return fit


SYSTEMS: dict[str, Callable[[pd.DataFrame, float, int], Predict]] = {
    "LightGBM, defaults": lightgbm_default,
    "FLAML, best": flaml_as_it_is(ensemble=False),
    "FLAML, stacking": flaml_as_it_is(ensemble=True),
    "AutoGluon, medium_quality": autogluon("medium_quality"),
    "AutoGluon, best_quality": autogluon("best_quality"),
}
WITHOUT_BUDGET = {"LightGBM, defaults"}


def measure_peer(name: str, data: Path, split: Path, budget: float, seed: int) -> dict[str, Any]:
    """Fit one of the others on the training rows and measure it on the test rows."""
    frame = pd.read_csv(data)
    rows = np.load(split)
    train, test = frame.iloc[rows["train"]], frame.iloc[rows["test"]]
    started = time.monotonic()
    predict = SYSTEMS[name](train.reset_index(drop=True), budget, seed)
    seconds = time.monotonic() - started
    features = test.drop(columns=TARGET).reset_index(drop=True)
    return figures(predict, features, (test[TARGET] == "yes").to_numpy(), seconds)


def measure_twinml(data: Path, budget: float, seed: int, learners: str) -> dict[str, Any]:
    """Train as `twinml train` does; its own random split is the one that all others get."""
    from twinml.data import load
    from twinml.training import TrainingOptions, train

    dataset = load(data, TARGET)
    names = tuple(name for name in learners.split(",") if name)
    started = time.monotonic()
    result = train(dataset, TrainingOptions(budget=budget, seed=seed, learners=names))
    seconds = time.monotonic() - started
    features = dataset.features.iloc[result.test.rows].reset_index(drop=True)
    found = figures(
        lambda rows: result.pipeline.predict_proba(rows)[:, 1],
        features,
        result.test.labels == 1,
        seconds,
    )
    found["best"] = result.best.name
    found["trials"] = len(result.trials)
    return found


def figures(
    predict: Predict, features: pd.DataFrame, truth: np.ndarray, seconds: float
) -> dict[str, Any]:
    """Return quality on all rows and the median time of one."""
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    positive = np.asarray(predict(features), dtype=float)
    times = []
    for index in range(40):
        row = features.iloc[[index]]
        started = time.perf_counter()
        predict(row)
        times.append(time.perf_counter() - started)
    return {
        "roc_auc": float(roc_auc_score(truth, positive)),
        "log_loss": float(log_loss(truth, positive)),
        "accuracy": float(accuracy_score(truth, positive >= 0.5)),
        "fit_seconds": seconds,
        "one_row_ms": float(np.median(times[5:]) * 1000),
    }


def in_own_process(python: str, arguments: list[str]) -> dict[str, Any] | str:
    """Run this file for one measurement; return its figures, or why there are none."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [python, __file__, *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        return lines[-1][:200]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Return the means over the seeds as Markdown, each system and budget a line."""
    frame = pd.DataFrame([one for one in results if "roc_auc" in one])
    lines = [
        "| system | budget s | seeds | ROC AUC | log loss | accuracy | fit s | one row ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    if not frame.empty:
        for (system, budget), group in frame.groupby(["system", "budget"], sort=False):
            mean = group.mean(numeric_only=True)
            lines.append(
                f"| {system} | {budget or '–'} | {len(group)} | {mean['roc_auc']:.4f} | "
                f"{mean['log_loss']:.4f} | {mean['accuracy']:.4f} | "
                f"{mean['fit_seconds']:.1f} | {mean['one_row_ms']:.1f} |"
            )
    lines += [
        f"| {one['system']} | {one['budget'] or '–'} | seed {one['seed']} | failed: "
        f"{one['failed']} | | | | |"
        for one in results
        if "failed" in one
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything that was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[60.0, 240.0])
    parser.add_argument("--data", type=Path, default=SEED_DATA if SEED_DATA.is_file() else BUNDLED)
    parser.add_argument("--systems", nargs="+", help="Only those whose names hold one of these.")
    parser.add_argument("--learners", default="", help="Of twinml; default all installed.")
    parser.add_argument("--autogluon", metavar="PYTHON", help="Python that has autogluon.tabular.")
    parser.add_argument("--out", type=Path, help="Append every single result here, JSON lines.")
    parser.add_argument("--one", nargs=3, metavar=("SYSTEM", "BUDGET", "SEED"), help="(internal)")
    parser.add_argument("--split", type=Path, help="(internal)")
    given = parser.parse_args()

    if given.one:
        system, budget, seed = given.one[0], float(given.one[1]), int(given.one[2])
        if system == "twinml":
            print(json.dumps(measure_twinml(given.data, budget, seed, given.learners)))
        else:
            print(json.dumps(measure_peer(system, given.data, given.split, budget, seed)))
        return

    from twinml.data import load
    from twinml.training.splits import random_split

    labels = (load(given.data, TARGET).labels == "yes").to_numpy().astype(np.int64)
    plan = [
        (system, 0.0 if system in WITHOUT_BUDGET else budget)
        for budget in given.budgets
        for system in ["twinml", *SYSTEMS]
        if system not in WITHOUT_BUDGET or budget == given.budgets[0]
    ]
    results: list[dict[str, Any]] = []
    print(f"{given.data.name}, {len(labels):,} rows; {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        for seed in given.seeds:
            split = random_split(labels, 0.2, seed)
            path = Path(scratch) / f"{seed}.npz"
            np.savez(path, train=split.train, test=split.test)
            for system, budget in plan:
                if given.systems and not any(part in system for part in given.systems):
                    continue
                python = sys.executable
                if system.startswith("AutoGluon"):
                    if not given.autogluon:
                        continue
                    python = given.autogluon
                arguments = ["--one", system, str(budget), str(seed), "--data", str(given.data)]
                arguments += ["--split", str(path), "--learners", given.learners]
                found = in_own_process(python, arguments)
                line = {"system": system, "budget": int(budget), "seed": seed}
                line |= found if isinstance(found, dict) else {"failed": found}
                results.append(line)
                print(json.dumps(line), flush=True)
                if given.out:
                    with given.out.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(line) + "\n")
    print()
    print(table(results))


if __name__ == "__main__":
    main()
