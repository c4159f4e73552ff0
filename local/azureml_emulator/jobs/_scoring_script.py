"""Score an input with a user's script of ``init()`` and ``run(mini_batch)``.

Runs as the step of a job, in the environment that the job names, and needs nothing but
Python there (3.8 or newer); for an MLTable that names a reader also pandas and PyYAML. A mini
batch is a list of files, or rows of such a table. What ``run`` returns, a list or a data frame,
becomes lines of one file.
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
    what, batches = _batches(given)
    _say(f"{sum(map(len, batches))} {what} in {len(batches)} mini batches")
    failed = 0
    with _Lines(given.append) as lines:
        for number, batch in enumerate(batches, 1):
            started = time.monotonic()
            rows = _run(script, batch, given.retries)
            if rows is None:
                failed += len(batch)
                if 0 <= given.most_errors < failed:
                    raise SystemExit(f"{failed} {what} failed; {given.most_errors} may")
                continue
            count = lines.write(rows)
            spent = time.monotonic() - started
            _say(f"mini batch {number}: {len(batch)} {what}, {count} rows, {spent:.1f} s")
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
    parser.add_argument("--size", type=int, default=10, help="files in a batch; bytes of a table")
    parser.add_argument("--keys", default="", help="columns of a table, whose values make batches")
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("--most-errors", type=int, default=-1, help="files or rows; -1: any number")
    return parser


def _batches(given: argparse.Namespace) -> tuple[str, list[Any]]:
    """Return what the input consists of, and its mini batches."""
    table = given.data / "MLTable"
    if not table.is_file():
        data = given.data
        files = [data] if data.is_file() else sorted(p for p in data.rglob("*") if p.is_file())
        return "files", _cut(files, given.size)
    import yaml

    content = yaml.safe_load(table.read_text(encoding="utf-8")) or {}
    files = [file for item in content.get("paths") or [] for file in _files(given.data, item)]
    steps = [
        (item, {}) if isinstance(item, str) else next(iter(item.items()))
        for item in content.get("transformations") or []
    ]
    if not any(name.startswith("read_") for name, _ in steps):
        return "files", _cut(files, given.size)
    frame = _frame(files, steps)
    if given.keys:
        return "rows", [rows for _, rows in frame.groupby(given.keys.split(","), sort=False)]
    whole = sum(file.stat().st_size for file in files)
    return "rows", _cut(frame, max(1, len(frame) * given.size // max(1, whole)))


def _cut(items: Any, size: int) -> list[Any]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _files(folder: Path, item: dict[str, str]) -> list[Path]:
    """Return the files that an entry of an MLTable's paths names."""
    kind, value = next(iter(item.items()))
    if "://" in value:
        raise SystemExit(f"the MLTable names '{value}', which is not in its own folder")
    if kind == "file":
        return [folder / value]
    pattern = f"{value.rstrip('/')}/**/*" if kind == "folder" else value
    found = folder.glob(pattern[2:] if pattern.startswith("./") else pattern)
    return sorted(path for path in found if path.is_file() and path.name != "MLTable")


def _frame(files: list[Path], steps: list[Any]) -> Any:
    """Return the rows of an MLTable."""
    import pandas

    frame = None
    for name, options in steps:
        given = options if isinstance(options, dict) else {}
        if name == "read_delimited":
            header = None if given.get("header") in (False, "no_header") else 0
            encoding = str(given.get("encoding", "utf8")).replace("utf8bom", "utf-8-sig")
            delimiter = given.get("delimiter", ",")
            parts = [
                pandas.read_csv(path, sep=delimiter, header=header, encoding=encoding)
                for path in files
            ]
            frame = pandas.concat(parts, ignore_index=True)
        elif name == "read_parquet":
            frame = pandas.concat(map(pandas.read_parquet, files), ignore_index=True)
        elif name == "read_json_lines":
            parts = [pandas.read_json(path, lines=True) for path in files]
            frame = pandas.concat(parts, ignore_index=True)
        elif name in ("keep_columns", "drop_columns") and frame is not None:
            columns = [options] if isinstance(options, str) else list(options)
            frame = frame[columns] if name == "keep_columns" else frame.drop(columns=columns)
        elif name != "convert_column_types":
            raise SystemExit(f"the MLTable asks for '{name}', which the emulator does not read")
    return frame


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


def _run(script: ModuleType, batch: Any, retries: int) -> Any | None:
    for left in range(retries, -1, -1):
        try:
            return script.run([str(p) for p in batch] if isinstance(batch, list) else batch)
        except Exception as error:
            again = ", once more" if left else ""
            name = batch[0].name if isinstance(batch, list) else f"row {batch.index[0]}"
            _say(f"{name} …: {type(error).__name__}: {error}{again}")
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
