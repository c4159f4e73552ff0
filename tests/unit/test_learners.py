"""A learner has one home: all that is said of learners elsewhere is derived from it."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from twinml.errors import UsageError
from twinml.training import learners

ROOT = Path(__file__).parents[2]
SOURCES = ("shared", "local", "azure")
# Of the learners: the home, the readers of their compiled forms, one choice of two by name, and
# the libraries whose files are imported, learners here or not.
MAY_NAME_THEM = {
    "shared/twinml/training/learners.py",
    "local/twinml_local/compiled/_read_members.py",
    "shared/twinml/cli/replay.py",
    "shared/twinml/registry/importing/_estimator.py",
    "shared/twinml/registry/importing/_source.py",
}
# scikit-learn is not only a learner's package.
PACKAGES = sorted({*learners.packages(), *learners.modules()} - {"scikit-learn", "sklearn"})


def constants(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if "\n" not in node.value and " " not in node.value
        for word in node.value.replace(",", ".").split(".")
    }


def test_no_other_list_names_a_learner() -> None:
    names = {learner.name for learner in learners.LEARNERS} | set(PACKAGES)
    naming = {
        path.relative_to(ROOT).as_posix()
        for source in SOURCES
        for path in (ROOT / source).rglob("*.py")
        if "tests" not in path.parts and constants(path) & names
    }
    assert naming == MAY_NAME_THEM


def test_every_required_package_is_where_the_pipeline_runs_on_azure() -> None:
    path = ROOT / "shared/twinml/pipeline/environment/conda.yml"
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    pinned = {line.partition("==")[0] for line in described["dependencies"][-1]["pip"]}
    assert set(learners.packages(optional=False)) <= pinned


@pytest.mark.parametrize("learner", learners.LEARNERS, ids=lambda one: one.name)
def test_the_project_depends_on_each_learner_s_packages(learner: learners.Learner) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + (
        project["optional-dependencies"][learner.extra] if learner.extra else []
    )
    for package in learner.packages:
        assert any(line.startswith(package) for line in wanted), package


def test_a_further_learner_is_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinml.registry import training_run
    from twinml_azure.training import conda_file
    from twinml_local.compiled._origin import versions

    # A package that is installed, and that no learner needs.
    further = replace(learners.LEARNERS[0], name="Further", packages=("orjson",))
    optional = replace(further, name="Optional", packages=("waitress",), extra="optional")
    before = training_run.computing_versions(), versions(), conda_file()
    monkeypatch.setattr(learners, "LEARNERS", (*learners.LEARNERS, further, optional))
    assert {"orjson", "waitress"} <= set(learners.packages())
    assert "waitress" not in learners.packages(optional=False)
    assert training_run.computing_versions().keys() - before[0] == {"orjson", "waitress"}
    assert versions().keys() - before[1] == {"orjson", "waitress"}
    assert [one.name for one in learners.select(("further",))] == ["Further"]
    (pins,) = (part["pip"] for part in conda_file()["dependencies"] if isinstance(part, dict))
    assert any(pin.startswith("orjson==") for pin in pins)


def test_a_learner_whose_package_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(learners.LEARNERS[0], name="Absent", packages=("no-such-package",))
    monkeypatch.setattr(learners, "LEARNERS", (absent, *learners.LEARNERS[1:]))
    assert "Absent" not in {one.name for one in learners.installed()}
    assert len(learners.installed()) == len(learners.LEARNERS) - 1


def test_what_an_extra_would_add_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(
        learners.LEARNERS[0], name="Missing", packages=("no-such-package",), extra="more",
        kinds=("Regressor",),
    )  # fmt: skip
    monkeypatch.setattr(learners, "LEARNERS", (*learners.LEARNERS, missing))
    assert learners.absent("Classifier") == ()
    assert learners.absent("Regressor") == (
        "Missing was not tried: it is not installed (pip install 'twinml[more]').",
    )
    required = replace(missing, extra=None)
    monkeypatch.setattr(learners, "LEARNERS", (*learners.LEARNERS[:-1], required))
    assert learners.absent("Regressor") == ()


def test_the_budget_pays_for_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinml.training import TrainingOptions, _train

    order: list[str] = []
    monkeypatch.setattr(_train, "select", lambda names, kind: order.append("import") or ())
    monkeypatch.setattr(_train, "Clock", lambda budget: order.append("clock"))
    dataset = SimpleNamespace(labels=np.array(["no", "yes"]), task="classification")
    _train._Run(dataset, TrainingOptions(), print, None)
    assert order == ["import", "clock"]


def codes(*most: int, rows: int = 300) -> np.ndarray:
    """Return encoded columns with codes from 0 to ``most``, and a number after them."""
    numbers = np.arange(rows, dtype=np.float64)
    return np.column_stack([*(np.minimum(numbers, top) for top in most), numbers])


@pytest.mark.parametrize(
    ("most", "columns"),
    [
        ((), []),
        ((1,), []),  # two categories: one split either way
        ((2,), [0]),
        ((255,), [0]),
        ((256,), []),
        ((-1, 3, 1, 0, 2), [1, 4]),
    ],
)
def test_columns_that_are_split_by_sets_of_categories(
    most: tuple[int, ...], columns: list[int]
) -> None:
    X = codes(*most)
    shape = learners.Shape(len(most), 2, 0)
    assert learners.splittable(X, shape.n_codes) == columns
    (categorical,) = (one for one in learners.LEARNERS if one.name == "LightGBMCategorical")
    assert categorical.suits(X, shape) == bool(columns)
    assert categorical.build(categorical.start, X, shape).get_params()["cat_feature"] == columns


@pytest.mark.parametrize(("most", "columns"), [((1, 2), [1]), ((1, 1), None)])
def test_randomized_trees_take_all_rows_and_split_what_can_be_split(most, columns) -> None:
    X = codes(*most)
    (one,) = (one for one in learners.LEARNERS if one.name == "LightGBMExtraTrees")
    shape = learners.Shape(len(most), 2, 0)
    assert one.suits(X, shape)
    given = one.build(one.start_on(len(X)), X, shape).get_params()
    assert (given["extra_trees"], given["subsample_freq"], given["subsample"]) == (True, 0, 1.0)
    assert given.get("cat_feature") == columns


def test_unknown_categories_are_null_to_lightgbm_and_other_learners_see_what_is_there() -> None:
    X = codes(1, 3)
    X[5, :] = -1
    shape = learners.Shape(2, 2, 0)
    for one in learners.LEARNERS:
        seen = one.seen(X, shape)
        nulls = np.argwhere(np.isnan(seen)).tolist()
        splits = one.name in ("LightGBMCategorical", "LightGBMExtraTrees", "LightGBMLog")
        assert nulls == ([[5, 1]] if splits else [])
        assert (seen[~np.isnan(seen)] == X[~np.isnan(seen)]).all()


def test_learners_without_anything_of_their_own_are_left_out() -> None:
    shape = learners.Shape(1, 2, 0)
    every = learners.select(())
    assert learners.suitable(every, codes(2), shape) == every
    left = learners.suitable(every, codes(1), shape)
    assert [one.name for one in every if one not in left] == ["LightGBMCategorical"]
    alone = learners.select(("LightGBMCategorical",))
    assert learners.suitable(alone, codes(2), shape) == alone
    with pytest.raises(UsageError, match="LightGBMCategorical has nothing to split"):
        learners.suitable(alone, codes(1), shape)
