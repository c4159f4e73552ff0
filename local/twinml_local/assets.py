"""The data assets of this machine: immutable, numbered versions of data files.

One folder a version, below ``twinml.settings.home()``::

    data/
    └── bank-full/
        ├── 1/
        │   ├── data.csv.gz    the file as it was, byte for byte
        │   └── asset.json     target, digest, figures
        └── 2/ …

There is no lock and so none can be left behind. A version is made whole in a folder of its
own and then renamed to the next number; the file system lets only one process have that
number, and whoever comes second looks again. A process that is killed half-way leaves a
folder that no reader sees and that a later registration removes.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azureml_runner.files import write_atomic
from twinml.data import Dataset, file_digest
from twinml.errors import DataError, NotFound, PlatformError, UsageError
from twinml.platform import DataAsset
from twinml.settings import home, private_folder

__all__ = ["dropped_columns", "get", "list_assets", "register"]

FORMAT_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
UNFINISHED = ".unfinished-"
ABANDONED_SECONDS = 3600.0
DROPPED = "dropped"
# What a stored file is called, by its first bytes: names lie, contents do not.
ENDINGS = {b"\x1f\x8b": ".csv.gz", b"PK\x03\x04": ".zip", b"PAR1": ".parquet"}


def register(dataset: Dataset) -> DataAsset:
    """Store a data set as a version of its name; what is already there keeps its version.

    Two registrations are the same when name, file, target and dropped columns are; a file is
    known by the digest of its uncompressed bytes.

    Parameters
    ----------
    dataset
        As ``twinml.data.load`` gave it; its source file is copied.

    Returns
    -------
    The version, new or found. ``path`` is the stored file; ``dropped_columns`` tells what to
    drop when it is loaded again.

    Raises
    ------
    UsageError
        The name cannot be that of a folder.
    DataError
        The source file is gone, or is not what it was when it was loaded.
    PlatformError
        The state folder cannot be written.
    """
    folder = _folder(dataset.name)
    try:
        private_folder(folder)
        _remove_abandoned(folder)
        found = _same(dataset)
        if found is not None:
            return found
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        try:
            return _store(dataset, folder, unfinished)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise PlatformError(
            f"data asset '{dataset.name}' cannot be stored: {error.strerror}",
            hint="Check the space and the permissions of the folder TWINML_HOME.",
        ) from error


def get(name: str, version: str | None = None) -> DataAsset:
    """Return a version of a data asset, by default the newest.

    Raises
    ------
    NotFound
        There is no asset of that name, or no such version of it.
    """
    versions = _versions(_folder(name))
    if not versions:
        known = sorted({asset.name for asset in list_assets()})
        close = difflib.get_close_matches(name, known, n=1)
        raise NotFound(
            f"there is no data asset '{name}'",
            hint=f"Did you mean '{close[0]}'?" if close else "Register it: twinml data --register.",
        )
    wanted = versions[-1] if version is None else version
    if wanted not in versions:
        raise NotFound(
            f"data asset '{name}' has no version '{wanted}'",
            hint=f"Versions: {', '.join(versions)}.",
        )
    return _read(_folder(name) / wanted)


def list_assets() -> tuple[DataAsset, ...]:
    """Return all versions of all data assets, by name and version."""
    root = home() / "data"
    if not root.is_dir():
        return ()
    names = sorted(path.name for path in root.iterdir() if NAME.fullmatch(path.name))
    return tuple(asset for name in names for asset in _assets(root / name))


def dropped_columns(asset: DataAsset) -> tuple[str, ...]:
    """Return the columns that were left out when the asset was registered.

    Examples
    --------
    >>> asset = DataAsset("a", "1", "a.csv", "", "y", 0, 0, "", {"dropped": '["duration"]'})
    >>> dropped_columns(asset)
    ('duration',)
    """
    return tuple(json.loads(asset.tags.get(DROPPED, "[]")))


def _folder(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of a data asset",
            hint="Use up to 100 letters, digits, '.', '_' and '-', beginning with a letter or "
            "digit.",
        )
    return home() / "data" / name


def _versions(folder: Path) -> list[str]:
    """Return the finished versions in ascending order."""
    if not folder.is_dir():
        return []
    numbers = [path.name for path in folder.iterdir() if re.fullmatch(r"[1-9][0-9]*", path.name)]
    return sorted(numbers, key=int)


def _assets(folder: Path) -> Iterator[DataAsset]:
    for version in _versions(folder):
        yield _read(folder / version)


def _same(dataset: Dataset) -> DataAsset | None:
    """Return the version that this data set already has."""
    for asset in _assets(_folder(dataset.name)):
        if (asset.digest, asset.target) == (dataset.digest, dataset.target) and set(
            dropped_columns(asset)
        ) == set(dataset.dropped):
            return asset
    return None


def _store(dataset: Dataset, folder: Path, unfinished: Path) -> DataAsset:
    """Copy the data, describe it, and take the first free version number."""
    file = _copy(dataset, unfinished)
    while True:
        # The number comes from a look at the folder before the comparison: whoever registers
        # in between takes this number, and the rename then fails.
        number = max(map(int, _versions(folder)), default=0) + 1
        found = _same(dataset)
        if found is not None:
            return found
        asset = DataAsset(
            name=dataset.name,
            version=str(number),
            path=file.name,
            digest=dataset.digest,
            target=dataset.target,
            n_rows=dataset.n_rows,
            n_columns=dataset.frame.shape[1],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tags={DROPPED: json.dumps(list(dataset.dropped))},
        )
        _describe(asset, unfinished)
        final = folder / asset.version
        try:
            os.rename(unfinished, final)
        except OSError:
            if not final.exists():
                raise
            continue
        _sync(folder)
        return _read(final)


def _copy(dataset: Dataset, unfinished: Path) -> Path:
    """Copy the source file and make sure that it is still the one that was loaded."""
    try:
        with dataset.source.open("rb") as source:
            begin = source.read(4)
            ending = next((e for b, e in ENDINGS.items() if begin.startswith(b)), ".csv")
            copy = unfinished / f"data{ending}"
            with copy.open("wb") as target:
                target.write(begin)
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
    except FileNotFoundError:
        raise DataError(
            f"'{dataset.source}' is no longer there", hint="Load it again from where it is."
        ) from None
    found = file_digest(copy)
    if found != dataset.digest:
        raise DataError(
            f"'{dataset.source}' changed after it was loaded: SHA-256 {found}, expected "
            f"{dataset.digest}",
            hint="Load it again, then register it.",
        )
    return copy


def _describe(asset: DataAsset, unfinished: Path) -> None:
    text = json.dumps({"format_version": FORMAT_VERSION, **asdict(asset)}, indent=2)
    write_atomic(unfinished / "asset.json", f"{text}\n")
    _sync(unfinished)


def _sync(folder: Path) -> None:
    """Sync a folder's entries to disk, where the system can do that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(folder: Path) -> DataAsset:
    """Read a version; its path is made absolute, so that the state folder can be moved."""
    try:
        fields: dict[str, Any] = json.loads((folder / "asset.json").read_text(encoding="utf-8"))
        written_as = fields.pop("format_version")
        if written_as > FORMAT_VERSION:
            raise PlatformError(
                f"data asset '{folder.parent.name}' version {folder.name} was written by a newer "
                f"twinml (format {written_as}, this one reads {FORMAT_VERSION})",
                hint="Update twinml.",
            )
        asset = DataAsset(**fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            f"data asset '{folder.parent.name}' version {folder.name} cannot be read: its "
            "asset.json is damaged",
            hint="Remove the folder of this version and register the data again.",
        ) from error
    return DataAsset(**{**asdict(asset), "path": str(folder / asset.path)})


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left; a live one is done long before the limit."""
    for path in folder.glob(f"{UNFINISHED}*"):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
