"""Two sides of a comparison: the rows that are sent to both, and the packages of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.comparison._adversarial import cases
from twinml.comparison._answers import ask, latencies, recalculate
from twinml.comparison._environment import Package, differing, pinned
from twinml.comparison._judgement import Comparison, Side, judge
from twinml.errors import DataError

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.endpoint import Endpoint
    from twinml.platform import Deployed

__all__ = ["Asked", "compare_sides", "rows_for"]

BASE_ROWS = 5  # real rows that the adversarial ones are made from


@dataclass(frozen=True)
class Asked:
    """A side that is asked; ``deployed`` is ``None`` where only its address is known."""

    name: str
    client: Endpoint
    deployed: Deployed | None


def compare_sides(
    sides: tuple[Asked, Asked],
    directory: Path,
    *,
    data: Path | None,
    n_rows: int | None,
    adversarial: bool,
    tolerance: float,
    request_rows: int,
    timed: int,
    counting: Callable[[str], AbstractContextManager[Callable[[int, float], None]]],
) -> Comparison:
    """Send the same rows to both sides and to the model itself, and judge the answers.

    Parameters
    ----------
    directory
        The model that both should serve.
    data, n_rows
        As in ``rows_for``.
    adversarial
        Whether to add rows that servers may read differently.
    tolerance
        Difference of probabilities up to which answers count as equal.
    request_rows
        Rows in a request.
    timed
        Requests with one row to time each side with.
    counting
        Gives, for the time of something counted, what is told how many are done and which share.
    """
    from twinml.model import digest, load_contract, load_predictor

    contract = load_contract(directory)
    ordinary = rows_for(contract, data, n_rows)
    odd = cases(contract, ordinary[:BASE_ROWS]) if adversarial else []
    rows = [*ordinary, *(case.row for case in odd)]
    chunks = {"size": request_rows, "alone_from": len(ordinary)}
    answers = []
    for side in sides:
        with counting(f"rows scored by {side.name}") as tell:
            told = partial(_told, tell, len(rows))
            answers.append(ask(side.client, rows, len(contract.classes), **chunks, progress=told))
    predictor = load_predictor(directory, digest(directory))
    reference = recalculate(predictor, contract, rows, **chunks)
    taken = latencies([side.client for side in sides], ordinary, timed)
    return judge(
        (_described(sides[0], taken[0]), _described(sides[1], taken[1])),
        (answers[0], answers[1]),
        cases=odd,
        reference=reference,
        tolerance=tolerance,
        packages=_packages(sides, directory),
    )


def rows_for(contract: Contract, data: Path | None, n_rows: int | None) -> list[dict[str, Any]]:
    """Return rows of a file, or the contract's samples, features only, null as ``None``.

    Parameters
    ----------
    data
        A CSV or Parquet file; ``None`` takes the bundled one, where it fits.
    n_rows
        So many, spread over the file; ``None`` for all.

    Raises
    ------
    DataError
        The file lacks a column of the model.
    """
    from twinml.data import bundled, read_rows
    from twinml.data.json_rows import records

    names = contract.column_names
    text = {column.name for column in contract.columns if column.mlflow_type == "string"}
    frame = read_rows(data or bundled(), text=text)
    missing = [name for name in names if name not in frame.columns]
    if missing and data is not None:
        raise DataError(
            f"{data.name} has no column '{missing[0]}', which the model takes",
            hint="Name the file that the model was trained on, or one of its shape.",
        )
    if missing:
        return [dict(sample) for sample in contract.samples][:n_rows]
    step = max(1, len(frame) // n_rows) if n_rows else 1
    return records(frame[list(names)].iloc[::step].head(n_rows or len(frame)))


def _told(tell: Callable[[int, float], None], total: int, done: int) -> None:
    tell(done, done / total)


def _described(side: Asked, taken: tuple[float, ...]) -> Side:
    from twinml.model import digest

    return Side(
        name=side.name,
        scoring_uri=side.client.scoring_uri,
        digest=digest(side.deployed.directory) if side.deployed else None,
        latencies=taken,
        packages=side.deployed.packages_source if side.deployed else "not known",
    )


def _packages(sides: Sequence[Asked], directory: Path) -> tuple[Package, ...]:
    one, other = (side.deployed.packages if side.deployed else None for side in sides)
    if one is None or other is None:
        return ()
    used = pinned((directory / "requirements.txt").read_text(encoding="utf-8").splitlines())
    both_whole = all(side.deployed and side.deployed.packages_whole for side in sides)
    if not both_whole:
        # A list of requirements says nothing of the packages that it does not name.
        named = one.keys() & other.keys()
        one, other = ({name: each[name] for name in named} for each in (one, other))
    return differing(one, other, used)
