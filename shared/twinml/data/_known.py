"""What is known about some data files beyond what their bytes say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from twinml.errors import DataError

__all__ = ["BANK_ADDITIONAL_SHA256", "BANK_FULL_SHA256", "KNOWN", "Known", "bundled", "leaks"]

# As UCI publishes them, and bank-full as it lies in data/ (commas, no quotes).
BANK_ADDITIONAL_SHA256 = "74adfc578bf77a7ff4bb1ba4a9f8709d9e3c6907342959c2c8416847e0afb4d8"
BANK_FULL_SHA256 = "d1513ec63b385506f7cfce9f2c5caa9fe99e7ba4e8c3fa264b3aaf0f849ed32d"
BUNDLED_SHA256 = "b44507c26634736d4a0619ec2d7c4b6ff56a2c63cbeb5176d3134e7b25e416f0"

# These seven together are found in no other public data set than UCI's bank marketing data,
# in all its four files and in the samples that were drawn from them.
BANK_COLUMNS = frozenset(
    {"campaign", "contact", "duration", "month", "pdays", "poutcome", "previous"}
)
BANK_TARGETS = frozenset({"y", "deposit"})
DURATION = (
    "the length of the call is known only when the call is over, and with it the answer; a "
    "call of 0 seconds is always 'no'"
)


@dataclass(frozen=True)
class Known:
    """What the source of a file documents about it."""

    name: str
    order_note: str
    chronological: bool = field(default=False)


_DATED = "rows are in date order (May 2008 to November 2010), as the source documents"

KNOWN: dict[str, Known] = {
    BUNDLED_SHA256: Known("bank-full", _DATED, chronological=True),
    BANK_FULL_SHA256: Known("bank-full", _DATED, chronological=True),
    BANK_ADDITIONAL_SHA256: Known("bank-additional-full", _DATED, chronological=True),
}


def leaks(columns: Iterable[str], target: str) -> dict[str, str]:
    """Return the columns that are known to leak ``target``, with the reason.

    The rule goes by names, so that it also holds for shuffled samples: a file with all seven
    campaign columns of UCI's bank marketing data, whose target is ``y`` (or ``deposit``, as
    some copies name it), has the leak ``duration``.

    Parameters
    ----------
    columns
        All columns of the file, dropped ones too.
    target
        The column to predict.
    """
    if BANK_COLUMNS.issubset(columns) and target in BANK_TARGETS:
        return {"duration": DURATION}
    return {}


def bundled() -> Path:
    """Return the path of the bank marketing data that comes with the source code.

    Raises
    ------
    DataError
        The package is installed without the source tree, so there is no such file.
    """
    path = Path(__file__).resolve().parents[3] / "data" / "bank-full.csv.gz"
    if not path.is_file():
        raise DataError(
            "the bank marketing data is not here: it comes with the source tree, not with the "
            "installed package",
            hint="Name a file with --data, or get one: twinml data --fetch bank-full --to DIR.",
        )
    return path
