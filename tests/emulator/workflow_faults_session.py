"""``twinml run --on azure`` on a bad day, as a program: variables say where the emulator is.

Each run meets other faults and finds what the one before it left. Prints one JSON object: of
each run its exit code, its error or result, the faults that struck, and what was written.
"""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import requests
from click.testing import CliRunner

WRITTEN = re.compile(
    r" (?:PUT|POST) management\.azure\.com/\S+/workspaces/[^/]+/"
    r"(data|models|onlineEndpoints/[^/]+/deployments|onlineEndpoints|computes)/[^/]+"
    r"(?:/versions/[^/ ]+)? "
)


def main(folder: Path, log: Path) -> dict[str, Any]:
    from twinml.cli import main as cli

    table = folder / "tiny.csv"
    rows = "".join(f"{20 + n % 50},{'cook' if n % 3 else 'none'},{'yes' if n % 50 > 25 else 'no'}\n"
                   for n in range(300))  # fmt: skip
    table.write_text(f"age,job,y\n{rows}")
    admin = requests.Session()
    admin.trust_env = False
    faults = f"{os.environ['HTTPS_PROXY']}/faults"

    def run(rules: list[str], *words: str) -> dict[str, Any]:
        for rule in rules:
            assert admin.post(faults, json={"rule": rule}, timeout=10).status_code == 201
        before, started = log.stat().st_size, time.monotonic()
        done = CliRunner().invoke(
            cli,
            [
                *("run", "--on", "azure", "--data", str(table), "--target", "y", "--json"),
                *("--trials", "2", "--learners", "LogisticRegression", *words),
            ],
        )
        struck = {
            each["rule"]: each["struck"] for each in admin.get(faults, timeout=10).json()["faults"]
        }
        admin.delete(faults, timeout=10)
        with log.open("rb") as file:
            file.seek(before)
            text = file.read().decode()
        kinds = [re.sub(r"/[^/]+/", "/", found) for found in WRITTEN.findall(text)]
        return {
            "code": done.exit_code,
            "answer": json.loads(done.stdout),
            "said": done.stderr,
            "struck": struck,
            "written": sorted(set(kinds)),
            "seconds": time.monotonic() - started,
        }

    return {
        "expired": run(["PUT */data/* token-expired once"], "--no-pipeline"),
        "quota": run(
            [
                "PUT */data/* 429 retry-after=1 once",
                "PUT */models/* 503 once",
                "PUT */onlineEndpoints/tiny reset once",
                "PUT */deployments/* quota once",
            ],
            "--no-pipeline",
        ),
        "image": run(["PUT */deployments/* image-build-failure once"], "--no-pipeline"),
        "cluster": run(
            [
                "PUT */deployments/* operation=2 once",
                "GET */onlineEndpoints/* slow=1 once",
                "PUT */computes/* quota once",
            ]
        ),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
