"""CPU seconds and heavy imports of the verbs that only read: ``make bench-cli``.

Every verb is run as a process of its own on the home of ``TWINML_HOME`` (or the nearest
``.twinml``); it does not matter whether anything is deployed there, but it is said. A line shows
the least user and system time of the runs, and which heavy packages the process had imported.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from twinml.cli import VERBS
from twinml.settings import home

READ_ONLY = ("status", "models", "keys", "traffic", "logs", "metrics", "report --no-open")
HEAVY = ("flaml", "matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "sklearn",
         "sqlalchemy")  # fmt: skip
PROGRAM = """
import atexit, os, pathlib, sys
def tell():
    found = [name for name in {heavy!r} if name in sys.modules]
    pathlib.Path(os.environ["TWINML_IMPORTED"]).write_text(" ".join(found))
atexit.register(tell)
sys.argv[0] = "twinml"
from twinml.cli import main
main()
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="the best of so many")
    runs = parser.parse_args().runs
    print(f"home {home()}, the best of {runs}\n\n{'verb':<24} {'CPU s':>6}  code  heavy imports")
    helps = [f"{verb} --help" for verb in VERBS]
    for words in ("--version", "--help", *READ_ONLY, *helps):
        seconds, code, imported = min(measured(words) for _ in range(runs))
        print(f"{words:<24} {seconds:>6.2f}  {code:>4}  {imported}")


def measured(words: str) -> tuple[float, int, str]:
    """Return the CPU seconds of ``twinml WORDS``, its exit code and what it imported."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "imported"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *words.split()],
            env=os.environ | {"TWINML_IMPORTED": str(told)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds, done.returncode, told.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
