"""Score the files of an input with a user's script of ``init()`` and ``run(mini_batch)``.

Runs as the step of a job, in the environment that the job names, and needs nothing but
Python there (3.8 or newer). What ``run`` returns, a list or a data frame, becomes lines of
one file.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    """Score what the command line names; what follows ``--`` is the script's own."""
    own, theirs = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, theirs = own[:at], own[at + 1 :]
    given = _parser().parse_args(own)
    if given.model is not None:
        os.environ["AZUREML_MODEL_DIR"] = str(_model_directory(given.model, given.model_name))
    if given.output is not None:
        os.environ["AZUREML_BI_OUTPUT_PATH"] = str(given.output)
    script = _load(given.script, theirs)
    if hasattr(script, "init"):
        script.init()
    data = Path(given.data)
    files = [data] if data.is_file() else sorted(p for p in data.rglob("*") if p.is_file())
    batches = [files[i : i + given.size] for i in range(0, len(files), given.size)]
    _say(f"{len(files)} files in {len(batches)} mini batches of {given.size} at most")
    failed = 0
    with _Lines(given.append) as lines:
        for number, batch in enumerate(batches, 1):
            started = time.monotonic()
            rows = _run(script, batch, given.retries)
            if rows is None:
                failed += len(batch)
                if 0 <= given.most_errors < failed:
                    raise SystemExit(f"{failed} files failed; {given.most_errors} may")
                continue
            count = lines.write(rows)
            spent = time.monotonic() - started
            _say(f"mini batch {number}: {len(batch)} files, {count} rows, {spent:.1f} s")
    if hasattr(script, "shutdown"):
        script.shutdown()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="goes into the folder AZUREML_MODEL_DIR")
    parser.add_argument("--model-name", default="model", help="the model's name in that folder")
    parser.add_argument("--output", type=Path, help="what AZUREML_BI_OUTPUT_PATH names")
    parser.add_argument("--append", type=Path, help="the file of rows; none: nothing is kept")
    parser.add_argument("--size", type=int, default=10, help="files in a mini batch")
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("--most-errors", type=int, default=-1, help="files; -1: any number")
    return parser


def _model_directory(model: Path, name: str) -> Path:
    """Return a folder that has the model, a file or a folder, by its own name."""
    directory = Path(tempfile.mkdtemp(prefix="azureml-models-", dir="."))
    (directory / name).symlink_to(model.resolve())
    return directory.resolve()


def _load(path: Path, arguments: list[str]) -> ModuleType:
    """Import the script as if it had been started from its own folder."""
    sys.path.insert(0, str(path.resolve().parent))
    sys.argv = [str(path), *arguments]
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None or not path.exists():
        raise SystemExit(f"there is no script '{path}'")
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


def _run(script: ModuleType, batch: list[Path], retries: int) -> Any | None:
    for left in range(retries, -1, -1):
        try:
            return script.run([str(path) for path in batch])
        except Exception as error:
            again = ", once more" if left else ""
            _say(f"{batch[0].name} …: {type(error).__name__}: {error}{again}")
    return None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Lines:
    """The file that rows are appended to."""

    def __init__(self, path: Path | None) -> None:
        self._file: io.TextIOWrapper | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():  # the output is a folder: the service's name for its file
                path = path / "parallel_run_step.txt"
            self._file = path.open("w", newline="", encoding="utf-8")

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rows: Any) -> int:
        """Write rows, and return how many they are."""
        if hasattr(rows, "to_csv"):
            if self._file is not None:
                rows.to_csv(self._file, header=False, index=False)
            return len(rows)
        if not isinstance(rows, Iterable) or isinstance(rows, str):
            raise SystemExit(f"run() returned {type(rows).__name__}, not a list or a data frame")
        listed = list(rows)
        if self._file is not None:
            writer = csv.writer(self._file)
            for row in listed:
                if type(row) in (list, tuple):
                    writer.writerow(row)
                else:
                    self._file.write(f"{row}\n")
        return len(listed)


if __name__ == "__main__":
    main()
