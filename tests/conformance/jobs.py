"""Runs samples of jobs to their end: a program for the SDK's own interpreter."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.conformance.submit import Maker, client_of, quiet, too_long

DONE = ("Completed", "Failed", "Canceled")
POLL_SECONDS = 4.0


def main(root: Path, items: Path, out: Path, seconds: float) -> None:
    """Submit the jobs of ``items``, a JSON list of paths, and wait for their ends."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, too_long)
    client = client_of(dict(os.environ))
    maker = Maker(client, root.resolve(), cancel=False)
    rows: dict[str, dict[str, Any]] = {}
    for path in json.loads(items.read_text()):
        row = maker.attempt(path, "job")
        rows[path] = row | {"status_of_run": "" if row["error"] else "Queued"}
    deadline = time.monotonic() + seconds
    while (waiting := _unfinished(rows)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        for path in waiting:
            status = client.jobs.get(rows[path]["name"]).status
            found = str(getattr(status, "value", status))
            rows[path]["status_of_run"] = found
            if found == "Failed":
                rows[path]["message"] = _reason(client, rows[path]["name"])
            if found in DONE:
                print(f"{found:10} {path} {rows[path]['message'][:110]!r}", flush=True)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))


def _unfinished(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [
        path for path, row in rows.items() if not row["error"] and row["status_of_run"] not in DONE
    ]


def _reason(client: Any, name: str) -> str:
    """Return why a job failed, in the words that its end prints."""
    try:
        with quiet():
            client.jobs.stream(name)
    except Exception as error:
        found = re.search(r'"message": "(.*?)",\s*"messageParameters', str(error), re.DOTALL)
        return found[1] if found else str(error)[:500]
    return ""


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), float(sys.argv[4]))  # type: ignore[misc]
