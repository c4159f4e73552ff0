"""MLTable folders: which files a table is made of, and how they are read.

Files are read as the ``MLTable`` file says: delimited text, Parquet or JSON lines, with columns
kept or dropped. What else such a file can ask for is refused by its name, never left out.
"""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from twinml.errors import DataError

__all__ = ["read_table"]

FILE = "MLTable"
_SUFFIXES = {".parquet": "read_parquet", ".jsonl": "read_json_lines"}
# What changes nothing here: types are inferred, and rows keep their order.
_WITHOUT_EFFECT = {"convert_column_types", "extract_columns_from_partition_format"}


def read_table(folder: Path) -> pd.DataFrame:
    """Return the rows of a table.

    Parameters
    ----------
    folder
        A folder with a file ``MLTable``; or a data file itself, or a folder of such files.

    Raises
    ------
    DataError
        There is no data, or the table asks for something that is not known.
    """
    description = folder / FILE if folder.is_dir() else folder
    if description.name != FILE or not description.exists():
        return _frame(_files_of(folder), {})
    try:
        content = yaml.safe_load(description.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise DataError(f"the file MLTable is not YAML{where}") from error
    if not isinstance(content, Mapping) or not content.get("paths"):
        raise DataError("the file MLTable has no 'paths'")
    files: list[Path] = []
    for item in content["paths"]:
        files += _matching(folder, item)
    steps = [_step(item) for item in content.get("transformations") or []]
    readers = {name: options for name, options in steps if name.startswith("read_")}
    frame = _frame(files, readers)
    for name, options in steps:
        if not name.startswith("read_"):
            frame = _transformed(frame, name, options)
    return frame


def _matching(folder: Path, item: Any) -> list[Path]:
    if not isinstance(item, Mapping) or len(item) != 1:
        raise DataError(f"'{item}' among the paths of MLTable is not file, folder or pattern")
    kind, value = next(iter(item.items()))
    if "://" in str(value):
        raise DataError(
            f"MLTable names '{value}', which is not in its own folder",
            hint="Put the files beside MLTable.",
        )
    place = folder / str(value)
    if kind == "file":
        if not place.is_file():
            raise DataError(f"MLTable names the file '{value}', which is not there")
        return [place]
    if kind == "folder":
        return _files_of(place)
    if kind == "pattern":
        return [Path(path) for path in sorted(glob.glob(str(place), recursive=True))]
    raise DataError(f"'{kind}' among the paths of MLTable is not file, folder or pattern")


def _files_of(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*") if path.is_file() and path.name[0] not in "._")


def _step(item: Any) -> tuple[str, Any]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, Mapping) and len(item) == 1:
        name, options = next(iter(item.items()))
        return str(name), options or {}
    raise DataError(f"'{item}' is not a transformation of MLTable")


def _frame(files: list[Path], readers: Mapping[str, Any]) -> pd.DataFrame:
    if not files:
        raise DataError("the table has no files")
    frames = []
    for path in files:
        reader = next(iter(readers), None) or _SUFFIXES.get(path.suffix.lower(), "read_delimited")
        frames.append(_read(path, reader, readers.get(reader) or {}))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _delimiter(path: Path, encoding: str) -> str:
    with path.open(encoding=encoding, newline="") as stream:
        try:
            return csv.Sniffer().sniff(stream.readline(), delimiters=",;\t|").delimiter
        except csv.Error:  # a single column
            return ","


def _read(path: Path, reader: str, options: Mapping[str, Any]) -> pd.DataFrame:
    try:
        if reader == "read_parquet":
            return pd.read_parquet(path)
        if reader == "read_json_lines":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            # pandas' own reader rounds floats, and takes names like 'date' for dates.
            return pd.DataFrame.from_records([json.loads(line) for line in lines if line.strip()])
        if reader == "read_delimited":
            encoding = str(options.get("encoding", "utf8")).replace("utf8bom", "utf-8-sig")
            delimiter = options.get("delimiter") or ("," if options else _delimiter(path, encoding))
            return pd.read_csv(
                path,
                sep=delimiter,
                encoding=encoding,
                header=None if options.get("header") in (False, "no_header") else 0,
                float_precision="round_trip",
            )
    except (ValueError, TypeError, UnicodeError, OSError) as error:
        # The reader's own words may quote what the file holds.
        form = reader.removeprefix("read_").replace("_", " ")
        raise DataError(
            f"'{path.name}' cannot be read as {form} ({type(error).__name__})",
            hint="Write it again in that form, or name the reader in MLTable.",
        ) from error
    raise DataError(
        f"MLTable asks for '{reader}', which is not known here",
        hint="Use read_delimited, read_parquet or read_json_lines.",
    )


def _transformed(frame: pd.DataFrame, name: str, options: Any) -> pd.DataFrame:
    if name in _WITHOUT_EFFECT:
        return frame
    if name in ("keep_columns", "drop_columns"):
        columns = [options] if isinstance(options, str) else list(options)
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise DataError(f"MLTable has no column '{missing[0]}' for {name}")
        return frame[columns] if name == "keep_columns" else frame.drop(columns=columns)
    if name == "take":
        return frame.head(int(options["count"] if isinstance(options, Mapping) else options))
    raise DataError(
        f"MLTable asks for '{name}', which is not known here",
        hint="Use keep_columns, drop_columns or take.",
    )
