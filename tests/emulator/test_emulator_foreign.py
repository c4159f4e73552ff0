"""What runs in the environments of others: Python 3.8's words only, no option unknown there."""

import ast
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import azureml_emulator
from azureml_emulator.inference._container import gunicorn_options

ROOT = Path(azureml_emulator.__file__).parent
FOREIGN = [
    *sorted((ROOT / "inference/inside").glob("*.py")),
    *sorted((ROOT / "batch/code").glob("*.py")),
    ROOT / "jobs/_scoring_script.py",
]
# Methods, modules and arguments that are younger than 3.8, and a union of types as a value.
YOUNGER = {"removeprefix", "removesuffix", "strict", "UTC", "tomllib", "zoneinfo", "pairwise"}


def younger(source: str) -> set[str]:
    """Return the names in a program that Python 3.8 does not know; its syntax must be 3.8's."""
    tree = ast.parse(source, feature_version=(3, 8))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            unions = (isinstance(a, ast.BinOp) and isinstance(a.op, ast.BitOr) for a in node.args)
            if node.func.id in ("isinstance", "issubclass") and any(unions):
                found.add("X | Y")
    late = "annotations" in found or not any(isinstance(n, ast.AnnAssign) for n in ast.walk(tree))
    return (found & (YOUNGER | {"X | Y"})) | (set() if late else {"annotations"})


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_it_is_written_for_python_3_8(path: Path):
    assert younger(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a.removeprefix('b')", "removeprefix"),
        ("zip(a, b, strict=True)", "strict"),
        ("isinstance(a, int | str)", "X | Y"),
        ("a: dict[str, int] = {}", "annotations"),
    ],
)
def test_younger_words_are_seen(source: str, name: str):
    assert younger(source) == {name}


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (None, {}),
        ('cli = ["--reload"]', {}),
        ('cli = ["--no-control-socket"]', {"GUNICORN_CMD_ARGS": "--no-control-socket"}),
    ],
)
def test_gunicorn_gets_the_option_only_where_it_knows_it(tmp_path: Path, settings, options):
    package = tmp_path / "lib/python3.8/site-packages/gunicorn"
    package.mkdir(parents=True)
    if settings is not None:
        (package / "config.py").write_text(settings)
    assert gunicorn_options(tmp_path) == options


# Python 3.6 says of a package without a file of its own that its place is "namespace".
NAMESPACE = """
import sys
from importlib.machinery import ModuleSpec
class Finder:
    def find_spec(name, path=None, target=None):
        if name == __name__ + ".server":
            return ModuleSpec(name, None, origin="namespace", is_package=True)
sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    ("package", "contrib"),
    [
        ({"__init__.py": NAMESPACE}, False),
        ({"__init__.py": "", "server/__init__.py": ""}, False),
        ({"__init__.py": "", "server/__init__.py": "import azureml.contrib.services"}, True),
    ],
)
def test_the_server_starts_whatever_its_package_is_like(
    tmp_path: Path, package: dict[str, str], contrib: bool
):
    tells = "import sys\ndef run(): print('azureml.contrib.services' in sys.modules)\n"
    for name, text in {**package, "amlserver.py": tells}.items():
        path = tmp_path / "azureml_inference_server_http" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with subprocess.Popen(
        [sys.executable, "-S", ROOT / "inference/inside/serve.py"],
        env={"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.read() == f"{contrib}\n"


TYPES = {"rate": "double", "n": "long", "code": "string", "half": "float", "when": "datetime"}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_tables_are_read_as_the_signature_says(tmp_path: Path, suffix: str):
    from azureml_emulator.batch.code import score_mlflow

    whole = pd.DataFrame(
        {
            "rate": [1, 2], "n": [3.0, 4.0], "code": ["007", "08"],
            "half": [1, 0], "when": ["2026-01-02", "2026-01-03"], "other": [1, 2],
        }
    )  # fmt: skip
    path = tmp_path / f"table{suffix}"
    if suffix == ".csv":
        whole.to_csv(path, index=False)
    elif suffix == ".json":
        whole.to_json(path)
    else:
        whole.to_parquet(path)
    table = score_mlflow.read(path, TYPES)
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert kinds.pop("when").startswith("datetime64")
    assert table["code"].tolist() == ["007", "08"]
    assert kinds["code"] in ("object", "str", "string")
    del kinds["code"]
    assert kinds == {"rate": "float64", "n": "int64", "half": "float32", "other": "int64"}


def test_what_is_no_whole_number_is_left_for_the_model_to_refuse(tmp_path: Path):
    from azureml_emulator.batch.code import score_mlflow

    path = tmp_path / "table.csv"
    path.write_text("n,gap\n1.5,1\n2,\n")
    table = score_mlflow.read(path, {"n": "long", "gap": "long", "absent": "double"})
    assert table["n"].tolist() == [1.5, 2.0]
    assert str(table["gap"].dtype) == "float64"
