"""Columns that repeat like the key of a customer: the same case in several rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.data._finding import Finding
from twinml.data._left_out import CAMEL_ID, ID_NAME
from twinml.data._order import codes_of

__all__ = ["agreement_within", "beyond", "group_keys", "is_group_key", "is_named"]

# What has rows of its own, alone or numbered: "customer", "patient_no", "Customer Number".
OWNER = re.compile(
    r"(^|[_. -])(customer|client|user|patient|subject|person|member|household|account|guest"
    r"|driver|employee|student|participant|respondent|subscriber|device|machine)"
    r"([_. -]?(no|nr|num|number|code|ref|name))?$",
    re.I,
)
CAMEL_OWNER = re.compile(
    r"(Customer|Client|User|Patient|Subject|Person|Member|Household|Account|Guest|Driver"
    r"|Employee|Student|Participant|Device|Machine)(No|Nr|Number|Code|Ref|Name)?$"
)
# A code such as C00123, N14228 or a UUID.
CODE = re.compile(
    r"[A-Za-z]{1,4}[-_]?\d{3,}[A-Za-z]{0,2}|[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
)
FEWEST_GROUPS = 20
FEWEST_ROWS_A_GROUP = 1.5
FEWEST_CODES = 100
# Rows of one code agree in the target so much more than chance has it.
EXCESS = 0.05
STRONG = 0.2


def is_group_key(name: str, values: pd.Series) -> bool:
    """Tell whether a column repeats like the key of something that has several rows.

    It is named so, or holds codes, and its values have more than one row in the mean, but not
    so many that they are mere categories.
    """
    known = values.dropna()
    distinct = known.nunique()
    if values.dtype != object and values.dtype.kind != "i":
        return False
    if distinct < FEWEST_GROUPS or len(known) < FEWEST_ROWS_A_GROUP * distinct:
        return False
    if is_named(name):
        return True
    if values.dtype != object or distinct < FEWEST_CODES:
        return False
    return all(CODE.fullmatch(value) for value in known.unique())


def is_named(name: str) -> bool:
    """Tell whether a name is that of a key, or of somebody who may have several rows.

    Examples
    --------
    >>> [is_named(name) for name in ("customer", "patient_no", "userId", "customer_age", "amount")]
    [True, True, True, False, False]
    """
    return any(form.search(name) for form in (ID_NAME, CAMEL_ID, OWNER, CAMEL_OWNER))


def agreement_within(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return how often two rows of one group agree, and how often any two rows do, in [0, 1].

    Parameters
    ----------
    groups, labels
        Whole numbers from 0, shape (n,).

    Examples
    --------
    >>> agreement_within(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    (1.0, 0.3333333333333333)
    """

    def pairs(counts: NDArray[np.int64]) -> float:
        return float((counts * (counts - 1)).sum())

    both = np.unique(groups * (labels.max() + 1) + labels, return_counts=True)[1]
    within, anywhere = pairs(np.bincount(groups)), pairs(np.array([len(groups)]))
    if not within:
        return 0.0, 0.0
    return pairs(both) / within, pairs(np.bincount(labels)) / anywhere


def beyond(found: float, chance: float) -> float:
    """Return how far ``found`` goes from ``chance`` (0) to all (1).

    Examples
    --------
    >>> beyond(0.75, 0.5), beyond(1.0, 1.0)
    (0.5, 0.0)
    """
    return (found - chance) / (1 - chance) if chance < 1 else 0.0


def group_keys(frame: pd.DataFrame, target: str) -> Iterator[Finding]:
    """Yield a remark about the column that most looks like a key of several rows, if any."""
    labels = codes_of(frame[target])
    best: tuple[float, Finding] | None = None
    for column in (str(name) for name in frame.columns if name != target):
        values = frame[column]
        if not is_group_key(column, values):
            continue
        known = values.notna().to_numpy()
        groups = pd.factorize(values[known])[0].astype(np.int64)
        found, chance = agreement_within(groups, labels[known])
        excess = beyond(found, chance)
        if not is_named(column) and excess < EXCESS:
            continue
        message = (
            f"'{column}' repeats like a customer: {int(known.sum()):,} rows have "
            f"{groups.max() + 1:,} different values; two rows of one value agree in '{target}' in "
            f"{found:.1%} of cases, any two in {chance:.1%}; if new rows are of other values, pass "
            f"--split group:{column}"
        )
        level: Literal["note", "warning"] = "warning" if excess >= STRONG else "note"
        if best is None or excess > best[0]:
            best = excess, Finding(level, "group", column, message)
    if best is not None:
        yield best[1]
