"""The emulator's own distribution asks for what twinml's does, as far as both ask for it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def requirements(path: Path) -> dict[str, str]:
    listed = tomllib.loads(path.read_text())["project"]["dependencies"]
    split = (re.fullmatch(r"([a-z-]+)(.*?)(;.*)?", item) for item in listed)
    return {match[1]: match[2] for match in split if match}


def test_versions_are_those_of_twinml():
    whole, own = (requirements(ROOT / name) for name in ("pyproject.toml", "local/pyproject.toml"))
    whole["mlflow-skinny"] = whole["mlflow"]
    assert {name: whole.get(name, spec) for name, spec in own.items()} == own
    assert not own.keys() & {"scikit-learn", "flaml", "numba", "mlflow", "pandas", "numpy"}
