"""What `make local` installs: no Azure SDK, and nothing that needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROBE = """
import importlib, importlib.metadata, importlib.util, pkgutil, sys
installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
assert not {n for n in installed if n.startswith(("azure-", "azureml"))}, installed
assert importlib.util.find_spec("azure") is None
for package in ("twinml", "twinml_local"):
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from twinml.errors import PlatformUnavailable
from twinml.platform import available, load
assert {"azure", "local"} <= set(available())
load("local")
from twinml.pipeline import DEFINITION
for part in ("pipeline.yml", "components/train.yml", "environment/conda.yml"):
    assert (DEFINITION.parent / part).is_file(), part
try:
    load("azure").endpoints()
except PlatformUnavailable as error:
    print(error)
else:
    raise SystemExit("the azure platform came without its package")
"""


@pytest.mark.e2e
def test_the_base_lock_installs_without_azure_and_everything_imports(tmp_path: Path) -> None:
    """A venv of the base lock alone; asked for Azure, it says in one line what is missing."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "-q", "--python", python]
    lock = ROOT / "requirements" / "base.lock"
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True, timeout=500)
    subprocess.run([*install, "--no-deps", ROOT], check=True, timeout=300)
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PROBE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Azure" in done.stdout


def test_azure_has_no_package_of_its_own_that_would_hide_the_sdk() -> None:
    assert not (ROOT / "azure" / "__init__.py").exists()
