"""How much of a file is in flight, when a part is whole, and when an earlier run is continued."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from twinml.batch import Parts, score_file, scoring
from twinml.batch import remote as remote_scoring
from twinml.batch._parts import _write_whole
from twinml.batch.scoring import Scorer, identity, in_order, source_for
from twinml.contract import Column, Contract
from twinml.endpoint import Endpoint
from twinml.errors import DataError


class Late(Future[str]):
    """Work that is done when its result is asked for, as by a thread that is slow."""

    def __init__(self, chunk: str, log: list[str]) -> None:
        super().__init__()
        self.chunk, self.log = chunk, log
        log.append(f"start {chunk}")

    def result(self, timeout: float | None = None) -> str:
        self.log.append(f"end {self.chunk}")
        if self.chunk == "bad":
            raise DataError("no")
        return self.chunk.upper()


@pytest.mark.parametrize(
    ("most", "log"),
    [
        (1, "read a, start a, read b, end a, start b, read c, end b, start c, end c"),
        (2, "read a, start a, read b, start b, read c, end a, start c, end b, end c"),
        (3, "read a, start a, read b, start b, read c, start c, end a, end b, end c"),
        (9, "read a, start a, read b, start b, read c, start c, end a, end b, end c"),
    ],
)
def test_no_more_chunks_are_in_flight_than_were_asked_for(most: int, log: str) -> None:
    seen: list[str] = []

    def chunks() -> Iterator[str]:
        for name in "abc":
            seen.append(f"read {name}")
            yield name

    assert list(in_order(chunks(), lambda chunk: Late(chunk, seen), most=most)) == ["A", "B", "C"]
    assert ", ".join(seen) == log


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_hundred_chunks_never_pile_up(most: int) -> None:
    seen: list[str] = []
    names = [f"c{number}" for number in range(100)]
    assert len(list(in_order(names, lambda chunk: Late(chunk, seen), most=most))) == 100
    started = ended = 0
    for line in seen:
        started += line.startswith("start")
        ended += line.startswith("end")
        assert started - ended <= most
    assert (started, ended) == (100, 100)


@pytest.mark.parametrize("chunks", [["a", "bad", "c", "d"], ["bad"]])
def test_what_has_not_begun_is_cancelled_when_work_fails(chunks: list[str]) -> None:
    futures: list[Late] = []

    def start(chunk: str) -> Late:
        futures.append(Late(chunk, []))
        return futures[-1]

    with pytest.raises(DataError):
        list(in_order(chunks, start, most=3))
    begun = chunks.index("bad") + 1
    assert [future.cancelled() for future in futures] == [
        place >= begun for place in range(len(futures))
    ]
    assert len(futures) == min(len(chunks), 4)


def test_what_has_not_begun_is_cancelled_when_nobody_waits_any_longer() -> None:
    futures: list[Late] = []
    results = in_order("abcd", lambda c: futures.append(Late(c, [])) or futures[-1], most=2)
    assert next(results) == "A"
    results.close()
    assert [future.cancelled() for future in futures] == [False, True]


CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=10,
    columns=(Column("age", "long", nullable=False),),
    samples=(),
)


class Counting:
    """A scorer that counts how many tables it has at a time, and can break off at one."""

    form = "counting"

    def __init__(self, threads: int = 1, breaks_at: int | None = None) -> None:
        self.threads, self.breaks_at = threads, breaks_at
        self.lock = threading.Lock()
        self.scored: list[int] = []

    def score(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        ages = table.column("age").to_pylist()
        with self.lock:
            if self.breaks_at in ages:
                raise DataError("no power")
            self.scored += ages
        shares = np.array([[1 - age / 100, age / 100] for age in ages])
        return ["yes" if age >= 5 else "no" for age in ages], shares


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("age\n" + "".join(f"{age}\n" for age in range(10)))
    return path


def run(file: Path, scorer: Scorer, **options: Any) -> Any:
    options = {"digest": "m1", "chunk_rows": 3} | options
    return score_file(
        source_for(file, CONTRACT), CONTRACT, scorer, file.with_name("out.parquet"), **options
    )


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_all_rows_are_scored_once_and_stay_in_order(file: Path, threads: int) -> None:
    scorer = Counting(threads)
    told: list[tuple[int, float]] = []
    done = run(file, scorer, progress=lambda rows, share: told.append((rows, share)))
    assert (done.rows, done.resumed, done.form) == (10, 0, "counting")
    assert done.scoring_seconds >= 0
    assert [rows for rows, _ in told] == [3, 6, 9, 10]
    assert told[-1][1] == 1.0
    assert sorted(scorer.scored) == list(range(10))
    found = pq.read_table(done.out).to_pydict()
    assert list(found) == ["age", "prediction", "probability_no", "probability_yes"]
    assert found["age"] == list(range(10))
    assert found["prediction"] == ["no"] * 5 + ["yes"] * 5
    assert found["probability_yes"] == [age / 100 for age in range(10)]
    assert [path.name for path in sorted(file.parent.iterdir())] == ["out.parquet", "rows.csv"]


class Gated(Counting):
    """A scorer that scores nothing before it is let."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.gate = threading.Event()
        self.by: set[int] = set()

    def score(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        self.by.add(threading.get_ident())
        assert self.gate.wait(60)
        return super().score(table)


@pytest.mark.parametrize("threads", [1, 2])
def test_while_nothing_is_done_one_chunk_more_than_threads_is_started(
    file: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first wait for a result is where the reading must have stopped."""
    scorer = Gated(threads)
    told: list[int] = []
    waited_at: list[int] = []
    wait = Future.result

    def result(self: Future[Any], timeout: float | None = None) -> Any:
        waited_at.append(len(told))
        scorer.gate.set()
        return wait(self, timeout)

    monkeypatch.setattr(Future, "result", result)
    run(file, scorer, chunk_rows=1, progress=lambda rows, share: told.append(rows))
    assert waited_at[0] == threads + 1
    assert len(told) == 10
    assert len(scorer.by) == threads


def test_the_seconds_of_scoring_are_those_of_this_run(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="no power"):
        run(file, Counting(breaks_at=7))
    # A clock that ticks at every look: at the start, before and after each chunk, at the end.
    clock = itertools.count(100.0)
    monkeypatch.setattr(scoring, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    done = run(file, Counting())
    assert (done.scoring_seconds, done.seconds) == (2.0, 5.0)
    assert done.rows_per_second == 4 / 5.0


def test_a_run_that_broke_off_is_continued_and_not_begun_anew(file: Path) -> None:
    with pytest.raises(DataError, match="no power"):
        run(file, Counting(breaks_at=7))
    assert not file.with_name("out.parquet").exists()
    parts = file.with_name("out.parquet.parts")
    assert sorted(path.name for path in parts.iterdir()) == [
        "00000.arrow",
        "00001.arrow",
        "state.json",
    ]
    scorer = Counting()
    told: list[int] = []
    done = run(file, scorer, progress=lambda rows, share: told.append(rows))
    assert (done.rows, done.resumed) == (10, 6)
    assert scorer.scored == [6, 7, 8, 9]
    assert told == [9, 10]
    assert pq.read_table(done.out).column("age").to_pylist() == list(range(10))
    assert not parts.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"chunk_rows": 4}, "chunk rows is not"),
        ({"digest": "m2"}, "scorer is not"),
        ({"digest": "m2", "chunk_rows": 2}, "chunk rows, scorer are not"),
    ],
)
def test_parts_of_other_chunks_or_another_model_are_not_mixed_in(
    file: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(DataError, match="no power"):
        run(file, Counting(breaks_at=7))
    scorer = Counting()
    with pytest.raises(DataError, match=f"beginning of something else: {named} what it was begun"):
        run(file, scorer, **change)
    assert scorer.scored == []
    again = run(file, scorer, restart=True, **change)
    assert (again.rows, again.resumed) == (10, 0)
    assert scorer.scored == list(range(10))


def test_parts_of_another_input_are_not_mixed_in(file: Path) -> None:
    with pytest.raises(DataError, match="no power"):
        run(file, Counting(breaks_at=7))
    file.write_text(file.read_text() + "10\n")
    with pytest.raises(DataError, match="something else: input is not what it was begun with"):
        run(file, Counting())


def test_what_parts_depend_on(file: Path) -> None:
    source = source_for(file, CONTRACT)
    here = {"input": source.digest(), "scorer": "m1", "chunk rows": 3}
    assert identity(source, "m1", 3) == here
    assert identity(source, "m1", 3, engine="spark") == here | {"engine": "spark"}
    rows = remote_scoring.HeldRows([{"age": 1}])
    with Endpoint("http://127.0.0.1:1/score", deployment="green") as endpoint:
        known = remote_scoring.identity(rows, endpoint, "input_data", proba=True, chunk_rows=7)
    assert known == {
        "input": rows.digest(),
        "endpoint": "http://127.0.0.1:1/score",
        "deployment": "green",
        "dialect": "input_data",
        "probabilities": True,
        "chunk rows": 7,
    }


def test_a_file_is_in_place_only_once_it_is_whole_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"before")
    synced: list[os.stat_result] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        assert path.read_bytes() == b"before"
        fsync(descriptor)
        synced.append(os.fstat(descriptor))

    monkeypatch.setattr(os, "fsync", watched)
    _write_whole(path, b"whole" * 1000)
    [stat] = synced
    assert stat.st_size == 5000  # nothing waits in a buffer of this process
    # It is the very file that was synced, moved: a copy would be seen half-written.
    assert path.stat().st_ino == stat.st_ino
    assert path.read_bytes() == b"whole" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_while_writing_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path / "out.parquet", {"input": "abc"})
    table = pa.table({"a": [1, 2]})

    def fails(descriptor: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="no space"):
            parts.add(0, table)
    assert not parts.has(0)
    assert not parts.path(0).exists()
    parts.add(0, table)
    assert parts.has(0)
    assert not parts.has(1)
    assert parts.path(12).name == "00012.arrow"
    assert parts.join([0]).read_bytes()[:4] == b"PAR1"


def test_the_state_says_what_the_parts_are_of(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "out.csv", {"input": "abc", "rows": (1, 2)})
    kept = json.loads((parts.folder / "state.json").read_text())
    assert kept == {"input": "abc", "rows": [1, 2]}
    Parts(tmp_path / "out.csv", {"input": "abc", "rows": (1, 2)})
    for other, named in (
        ({"input": "abc", "rows": (1, 3)}, "rows is"),
        ({"input": "abc"}, "rows is"),
        ({"input": "ab", "rows": (1, 2), "engine": "spark"}, "engine, input are"),
    ):
        with pytest.raises(DataError, match=f"of something else: {named} not what it was begun"):
            Parts(tmp_path / "out.csv", other)


def test_an_output_is_in_place_even_if_its_parts_are_gone_already(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "out.csv", {})
    parts.add(0, pa.table({"a": [1]}))

    def numbers() -> Iterator[int]:
        yield 0
        shutil.rmtree(parts.folder)

    assert parts.join(numbers()).read_text() == '"a"\n1\n'


def test_parts_that_stop_coming_leave_no_output(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "out.csv", {})
    parts.add(0, pa.table({"a": [1]}))

    def numbers() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(parts.join, numbers()).result()
    assert parts.has(0)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv.parts"]
