"""The plan of the house: how many rooms, how many arrows between them, and what each shows.

A room is a direct child of a package, a module or a folder; an arrow goes from a room to one that
it imports, wherever in a file. ``lint-imports`` holds that nothing below imports in a circle
either, modules included. A number that has fallen may be lowered here; one that is to rise needs
a reason.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from itertools import permutations
from pathlib import Path

import grimp
import pytest

import twinml

ROOT = Path(__file__).parents[2]
PLAN = {  # package: rooms, arrows
    "twinml": (23, 122),  # a model is registered with its card, which report writes
    # Units of systemd run endpoints and the pipeline service: above both, beside the platform.
    # What is exported is an endpoint's folder: its state, keys, compiled form and name.
    # The Studio shows all stores of this machine: it is above them, and below the platform.
    "twinml_local": (14, 37),
    # environments is asked what Azure has, and refuses what it has not; the pytest plugin is a
    # room, and recordings another, around the application or in its place.
    "azureml_emulator": (19, 82),
    "azureml_runner": (12, 13),
    "twinml_azure": (11, 31),
}
# A run is told by its records, and kept in MLflow's store.
CIRCLES = {("azureml_emulator.jobs", "azureml_emulator.mlflow")}
WHERE = {"twinml": "shared", "twinml_azure": "azure"}
FACES = [
    path
    for package in PLAN
    for path in sorted((ROOT / WHERE.get(package, "local") / package).rglob("__init__.py"))
    if "__all__" in path.read_text(encoding="utf-8")
]


@cache
def imports() -> grimp.ImportGraph:
    # grimp's cache goes by the time of a file, and misses one that changed within a second.
    return grimp.build_graph(*PLAN, cache_dir=None)


def module_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(ROOT).parts[1:])


@pytest.mark.parametrize("package", PLAN)
def test_rooms_and_arrows_are_no_more_than_planned(package: str) -> None:
    graph = imports()
    rooms = sorted(graph.find_children(package))
    arrows = [
        (one, other)
        for one, other in permutations(rooms, 2)
        if graph.direct_import_exists(importer=one, imported=other, as_packages=True)
    ]
    assert len(rooms) <= PLAN[package][0], rooms
    assert len(arrows) <= PLAN[package][1], arrows


@pytest.mark.parametrize("package", PLAN)
def test_no_rooms_import_each_other_in_a_circle(package: str) -> None:
    graph = imports()
    found = {
        tuple(sorted(".".join(module.split(".")[:2]) for module in pair))
        for pair in graph.nominate_cycle_breakers(package)
    }
    assert found <= CIRCLES


@pytest.mark.parametrize("path", FACES, ids=module_of)
def test_a_face_shows_all_that_it_names_and_no_more(path: Path) -> None:
    face = importlib.import_module(module_of(path))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(module_of(path))
        for alias in node.names
    }
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    # What the face itself calls is not for others.
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    hidden = used | {name for name in named if name.startswith("_")}
    assert (named | defined) - hidden <= set(face.__all__)
    assert len(set(face.__all__)) == len(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError):
        getattr(face, "nothing of this name")


def test_the_names_of_twinml_are_those_of_their_homes() -> None:
    from twinml import data, errors, platform, training

    assert twinml.train is training.train
    assert twinml.load_data is data.load
    assert twinml.load_platform is platform.load
    for name in errors.__all__:
        if name != "Detail":
            assert getattr(twinml, name) is getattr(errors, name)
    assert set(twinml.__all__) <= set(dir(twinml))


def test_importing_twinml_is_cheap() -> None:
    code = (
        "import sys, twinml; twinml.__version__;"
        "print(*(name for name in sys.modules if name.startswith('twinml.')),"
        "{'numpy', 'pandas', 'mlflow', 'click'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {"twinml.settings", "twinml.errors", "set()"}


PRIVATE = list(PLAN)
# Found by name, or run as programs.
FOUND_OTHERWISE = ("twinml.cli.", "twinml.pipeline.steps.", "azureml_emulator.inference.inside.")
DOCUMENTED = {
    module
    for page in (ROOT / "docs/api").glob("*.md")
    for module in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
}
STARTED = {
    module
    for folder in ("shared", "local", "azure")
    for path in [ROOT / "pyproject.toml", *(ROOT / folder).rglob("*.py")]
    for module in re.findall(
        r'(?:"-m", *"|python -m |= ")((?:twinml|azureml)\w*(?:\.\w+)+)',
        path.read_text(encoding="utf-8"),
    )
}


@pytest.mark.parametrize("package", PRIVATE)
def test_a_module_is_private_exactly_if_its_room_alone_uses_it(package: str) -> None:
    graph = imports()
    for module in sorted(graph.find_descendants(package)):
        room, _, name = module.rpartition(".")
        if room == package or name == "__main__" or graph.find_children(module):
            continue
        if module.startswith(FOUND_OTHERWISE):
            continue
        outside = {
            user
            for user in graph.find_modules_that_directly_import(module)
            if user != room and not user.startswith(f"{room}.")
        }
        if name.startswith("_"):
            assert not outside, f"{module} is private, but {sorted(outside)} import it"
        else:
            assert outside or module in DOCUMENTED | STARTED, f"{module} is used by {room} alone"
