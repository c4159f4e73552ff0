"""Compile the locks: hashed, for every platform and Python, without an index's address.

The development lock is compiled first and constrains the others, because the Azure SDK is
the pickiest about versions: what is installed for `make local` is what runs beside it.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--override=requirements/override.in",
    "--no-emit-index-url",
    "--no-header",
    "--quiet",
]


def compile_lock(name: str, *arguments: str, output: str | None = None) -> None:
    """Write one lock; ``uv`` is the one beside the running Python."""
    uv = Path(sys.executable).with_name("uv")
    output = output or f"requirements/{name}.lock"
    subprocess.run([uv, "pip", "compile", *FLAGS, *arguments, "-o", output], cwd=ROOT, check=True)


compile_lock("dev", "pyproject.toml", "--extra", "azure", "--extra", "dev", "--extra", "spark")
compile_lock("base", "pyproject.toml", "-c", "requirements/dev.lock")
compile_lock("bootstrap", "requirements/bootstrap.in", "-c", "requirements/dev.lock")
# Goes with the package: it is installed beside a model, in an environment of its own.
compile_lock(
    "inference-server",
    "requirements/inference-server.in",
    output="local/azureml_emulator/inference/inside/server.lock",
)
