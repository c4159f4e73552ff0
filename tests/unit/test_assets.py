"""The data assets of this machine: versions, real processes at once, and a killed one."""

import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twinml import data
from twinml.errors import DataError, NotFound, PlatformError, UsageError
from twinml_local import assets


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("TWINML_HOME", str(folder))
    return folder


def csv(file: Path, seed: int = 37) -> Path:
    rows = "".join(f"{i * seed % 61},{'a' if i % 3 else 'b'},{i % 2}\n" for i in range(60))
    file.write_text("n,kind,y\n" + rows)
    return file


@pytest.fixture
def dataset(tmp_path: Path) -> data.Dataset:
    return data.load(csv(tmp_path / "calls.csv"), "y")


def test_a_version_holds_the_file_and_its_description(home: Path, dataset: data.Dataset) -> None:
    asset = assets.register(dataset)
    assert (asset.name, asset.version, asset.target) == ("calls", "1", "y")
    assert (asset.n_rows, asset.n_columns, asset.digest) == (60, 3, dataset.digest)
    stored = Path(asset.path)
    assert stored == home / "data" / "calls" / "1" / "data.csv"
    assert stored.read_bytes() == dataset.source.read_bytes()
    assert asset.created.endswith("+00:00")
    again = data.load(asset.path, asset.target, name=asset.name, drop=assets.dropped_columns(asset))
    assert assets.register(again) == asset


def test_the_same_keeps_its_version_and_anything_else_gets_the_next(tmp_path: Path) -> None:
    file = csv(tmp_path / "calls.csv")
    packed = tmp_path / "calls.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert assets.register(data.load(file, "y")).version == "1"
    assert assets.register(data.load(packed, "y")).version == "1"
    assert assets.register(data.load(file, "y", drop=["n"])).version == "2"
    assert assets.register(data.load(file, "kind")).version == "3"
    assert assets.register(data.load(csv(file, seed=41), "y")).version == "4"
    assert assets.register(data.load(packed, "y")).version == "1"
    assert assets.register(data.load(packed, "y", name="other")).version == "1"
    assert [(a.name, a.version) for a in assets.list_assets()] == [
        ("calls", "1"),
        ("calls", "2"),
        ("calls", "3"),
        ("calls", "4"),
        ("other", "1"),
    ]
    assert assets.dropped_columns(assets.get("calls", "2")) == ("n",)
    assert Path(assets.get("other").path).name == "data.csv.gz"


def test_versions_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    for seed in range(3, 14):
        assets.register(data.load(csv(tmp_path / "calls.csv", seed), "y"))
    assert assets.get("calls").version == "11"
    assert [a.version for a in assets.list_assets()] == [str(i) for i in range(1, 12)]


def test_a_moved_state_folder_still_works(
    home: Path, dataset: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.register(dataset)
    moved = home.rename(home.parent / "moved")
    monkeypatch.setenv("TWINML_HOME", str(moved))
    assert assets.get("calls").path == str(moved / "data" / "calls" / "1" / "data.csv")


def test_what_is_not_there(dataset: data.Dataset) -> None:
    assert assets.list_assets() == ()
    with pytest.raises(NotFound, match="there is no data asset 'calls'"):
        assets.get("calls")
    assets.register(dataset)
    with pytest.raises(NotFound, match=r"Did you mean 'calls'\?"):
        assets.get("call")
    with pytest.raises(NotFound, match=r"no version '2'\. Versions: 1\."):
        assets.get("calls", "2")
    with pytest.raises(NotFound, match=r"no version '\.\./1'"):
        assets.get("calls", "../1")


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "é", "x" * 101])
def test_names_that_are_no_folder(dataset: data.Dataset, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a data asset"):
        assets.get(name)
    with pytest.raises(UsageError, match="cannot be the name of a data asset"):
        assets.register(dataclasses.replace(dataset, name=name))


def test_a_source_that_changed_or_went_away(home: Path, dataset: data.Dataset) -> None:
    csv(dataset.source, seed=53)
    with pytest.raises(DataError, match="changed after it was loaded"):
        assets.register(dataset)
    dataset.source.unlink()
    with pytest.raises(DataError, match="is no longer there"):
        assets.register(dataset)
    assert list((home / "data" / "calls").iterdir()) == []


def test_a_damaged_or_newer_description(home: Path, dataset: data.Dataset) -> None:
    assets.register(dataset)
    description = home / "data" / "calls" / "1" / "asset.json"
    fields = json.loads(description.read_text())
    description.write_text("{")
    with pytest.raises(
        PlatformError, match=r"version 1 cannot be read: its asset\.json is damaged"
    ):
        assets.get("calls")
    description.write_text(json.dumps({**fields, "format_version": 2}))
    with pytest.raises(PlatformError, match="written by a newer twinml"):
        assets.get("calls")


def test_a_state_folder_that_cannot_be_written(home: Path, dataset: data.Dataset) -> None:
    home.write_text("a file, not a folder")
    with pytest.raises(PlatformError, match="data asset 'calls' cannot be stored"):
        assets.register(dataset)


AT_ONCE = """
import os, sys
from twinml import data
from twinml_local import assets

shared = data.load(sys.argv[1], "y", name="calls")
own = [data.load(file, "y", name="calls") for file in sys.argv[2:]]
ready, go = os.pipe()
children = []
for dataset in own:
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)  # returns when the parent closes its end: all begin together
        for each in (shared, dataset, shared):
            os.write(1, (assets.register(each).version + "\\n").encode())
        os._exit(0)
    children.append(child)
os.close(go)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_eight_processes_register_at_once(home: Path, tmp_path: Path) -> None:
    files = [csv(tmp_path / f"{seed}.csv", seed) for seed in range(3, 12)]
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 24
    stored = assets.list_assets()
    assert [asset.version for asset in stored] == [str(i) for i in range(1, 10)]
    assert {asset.digest for asset in stored} == {data.file_digest(file) for file in files}
    assert all(data.file_digest(Path(asset.path)) == asset.digest for asset in stored)
    assert not list((home / "data" / "calls").glob(".*"))


HALF_WAY = """
import dataclasses, sys
from pathlib import Path
from twinml import data
from twinml_local import assets

dataset = data.load(sys.argv[1], "y")
assets.register(dataclasses.replace(dataset, source=Path(sys.argv[2])))
"""


def test_a_process_killed_half_way_leaves_no_version(home: Path, dataset: data.Dataset) -> None:
    # A pipe as the source file holds the copy where we want it: in the middle.
    pipe = home.parent / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, "-c", HALF_WAY, str(dataset.source), str(pipe)])
    with pipe.open("wb", buffering=0) as stream:
        stream.write(dataset.source.read_bytes()[:200])
        folder = home / "data" / "calls"
        deadline = time.monotonic() + 30
        while not list(folder.glob(".unfinished-*/data.csv")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait(timeout=30) == -signal.SIGKILL
    (abandoned,) = folder.glob(".unfinished-*")
    assert assets.list_assets() == ()
    with pytest.raises(NotFound):
        assets.get("calls")

    assert assets.register(dataset).version == "1"
    assert abandoned.exists()  # it could still be somebody's work
    os.utime(abandoned, (0, 0))
    assert assets.register(dataset).version == "1"
    assert not abandoned.exists()
