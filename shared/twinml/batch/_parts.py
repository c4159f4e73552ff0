"""Output that survives a crash: parts beside the output, joined into it at the end.

::

    scored.parquet.parts/
    ├── state.json     what is being written: digests of input and scorer, options
    ├── 00000.arrow    chunk 0, scored; written atomically
    └── …
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from twinml.data.safe_csv import safe_table
from twinml.errors import DataError, UsageError

__all__ = ["FORMATS", "Parts", "free", "result_columns"]

FORMATS = (".csv", ".json", ".jsonl", ".parquet")
STATE = "state.json"


def free(name: str, taken: Collection[str]) -> str:
    """Return ``name``, or with the first number that makes it one that is not taken."""
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def result_columns(
    taken: Collection[str], classes: Sequence[Any], width: int | None
) -> tuple[str, list[str]]:
    """Return the names of the prediction's column and of the ``width`` probabilities'."""
    names = classes if len(classes) == (width or 0) else range(width or 0)
    return free("prediction", taken), [free(f"probability_{name}", taken) for name in names]


class Parts:
    """The output of one command, chunk by chunk.

    Parameters
    ----------
    out
        Where all of it goes in the end: ``.csv``, ``.parquet``, ``.json`` or ``.jsonl``.
    identity
        What the output depends on. Parts of something else are an error, not mixed in.
    safe_csv
        Whether CSV marks text that a spreadsheet would take for a formula.

    Raises
    ------
    UsageError
        ``out`` has another ending, or its folder does not exist.
    DataError
        There are parts of other input or options.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], *, safe_csv: bool = False) -> None:
        if out.suffix not in FORMATS:
            raise UsageError(
                f"'{out.name}' ends in '{out.suffix}'", hint=f"Name one of: {', '.join(FORMATS)}."
            )
        if not out.parent.is_dir():
            raise DataError(
                f"{out} cannot be written: there is no folder '{out.parent}'",
                hint="Make it first.",
            )
        self.out = out
        self._safe = safe_csv and out.suffix == ".csv"
        self.folder = out.with_name(f"{out.name}.parts")
        try:
            self.folder.mkdir(exist_ok=True)
            self._claim(json.loads(json.dumps(identity)))
        except OSError as error:
            raise DataError(
                f"{self.folder} cannot be written: {error.strerror}", hint="Check its permissions."
            ) from error

    def _claim(self, identity: Mapping[str, Any]) -> None:
        state = self.folder / STATE
        if state.is_file():
            known = json.loads(state.read_bytes())
            if known != identity:
                either = known.keys() | identity.keys()
                other = sorted(key for key in either if known.get(key) != identity.get(key))
                raise DataError(
                    f"{self.folder} holds the beginning of something else: {', '.join(other)} "
                    f"{'is' if len(other) == 1 else 'are'} not what it was begun with",
                    hint=f"Name another output, or begin anew: --restart, or delete {self.folder}.",
                )
            return
        _write_whole(state, json.dumps(identity).encode())

    @classmethod
    def forget(cls, out: Path) -> None:
        """Remove the parts of an earlier command, if there are any."""
        shutil.rmtree(out.with_name(f"{out.name}.parts"), ignore_errors=True)

    def path(self, number: int) -> Path:
        """Return where part ``number`` is kept."""
        return self.folder / f"{number:05d}.arrow"

    def has(self, number: int) -> bool:
        """Tell whether part ``number`` is whole."""
        return self.path(number).is_file()

    def add(self, number: int, table: pa.Table) -> None:
        """Keep a scored chunk; once this returns it survives a crash of the process."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        _write_whole(self.path(number), sink.getvalue())

    def join(self, numbers: Iterable[int]) -> Path:
        """Write parts to the output in this order and put it in place in one move; remove them.

        The numbers may come while later parts are still being made. If their iterator raises,
        the parts stay and there is no output.
        """
        scratch = self.out.with_name(f".{self.out.name}.{os.getpid()}.part")
        try:
            _WRITERS[self.out.suffix](scratch, self._tables(numbers))
            scratch.replace(self.out)
        except OSError as error:
            raise DataError(
                f"{self.out} cannot be written: {error.strerror}",
                hint="Make room or mend its permissions, and run the same command again.",
            ) from error
        finally:
            scratch.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.out

    def _tables(self, numbers: Iterable[int]) -> Iterator[pa.Table]:
        for number in numbers:
            with pa.memory_map(str(self.path(number))) as stream:
                table = pa.ipc.open_file(stream).read_all()
                yield safe_table(table) if self._safe else table


def _write_whole(path: Path, content: Any) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _write_csv(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    options = pa_csv.WriteOptions(quoting_style="needed")
    with pa_csv.CSVWriter(path, first.schema, write_options=options) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _write_lines(path: Path, tables: Iterator[pa.Table]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for row in _records(tables):
            stream.write(row + "\n")


def _write_list(path: Path, tables: Iterator[pa.Table]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        before = "[\n"
        for row in _records(tables):
            stream.write(before + row)
            before = ",\n"
        stream.write("\n]\n")


def _records(tables: Iterator[pa.Table]) -> Iterator[str]:
    for table in tables:
        for row in table.to_pylist():
            # NaN is not JSON; null is what it means in a double column.
            plain = {k: None if v != v else v for k, v in row.items()}
            with contextlib.suppress(ValueError):
                yield json.dumps(plain, ensure_ascii=False, allow_nan=False, default=str)
                continue
            yield json.dumps({k: str(v) if v in _INFINITE else v for k, v in plain.items()})


_INFINITE = (float("inf"), float("-inf"))
_WRITERS = {
    ".csv": _write_csv,
    ".json": _write_list,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
