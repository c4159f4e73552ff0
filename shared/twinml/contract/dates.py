"""Dates and times as text: how a file writes them, and which moment a text stands for.

A column whose cells are all dates in one form is a date column. ISO 8601 is understood
everywhere, and beside it the form of the training file. A time without a zone counts as UTC, so
that one moment is one value however it is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from twinml.contract.text_values import is_null

__all__ = [
    "DATES",
    "ISO",
    "ISO_PATTERN",
    "DateForm",
    "date_form_of",
    "date_text",
    "moment",
    "written",
]

DATES = "x-date-form"  # of a column in the OpenAPI documents
ISO = "ISO8601"
# What is written otherwise is no date: of ISO 8601 as pandas reads it, that of calendar days.
ISO_TEXT = re.compile(
    r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})"
    r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.]([0-9]{1,9}))?)?"
    r" ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
# The same for documents, as ECMA-262 has it, of days that every year has.
ISO_DAY = (
    "(1[7-9]|2[01])[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
ISO_PATTERN = (
    f"^{ISO_DAY}"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
    "(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])?)?$"
)
# Moments that a 64-bit integer of nanoseconds holds, in which pandas computes, to a whole year.
FIRST, LAST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A date with a short year, with all its zeros.
SHORT = re.compile(r"[0-9]{2}[.][0-9]{2}[.][0-9]{2}")
DAYS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
    "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
    "%a, %d %b %Y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
ZONES = ("", " %z")
# As the documents promise them: days that every month has.
MONTHS = "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
PATTERNS = {
    "%Y": "(1[7-9]|2[01])[0-9]{2}", "%y": "[0-9]{2}", "%m": "(0[1-9]|1[0-2])",
    "%d": "(0[1-9]|1[0-9]|2[0-8])", "%b": MONTHS, "%a": "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
    "%B": "(January|February|March|April|May|June|July|August|September|October|November|December)",
    "%H": "([01][0-9]|2[0-3])", "%I": "(0[1-9]|1[0-2])", "%M": "[0-5][0-9]", "%S": "[0-5][0-9]",
    "%f": "[0-9]{1,6}", "%p": "(AM|PM)", "%z": "[+-](0[0-9]|1[0-3])[0-5][0-9]",
}  # fmt: skip
WORDS = {
    "%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%b": "Mon", "%B": "Month", "%a": "Day",
    "%H": "HH", "%I": "HH", "%M": "MM", "%S": "SS", "%f": "ffffff", "%p": "AM", "%z": "+HHMM",
}  # fmt: skip


@dataclass(frozen=True)
class DateForm:
    """How a column writes dates.

    Attributes
    ----------
    form
        ``ISO8601``, or what ``datetime.strptime`` takes.
    time
        Whether there are times of day among them.
    """

    form: str = ISO
    time: bool = False

    def __post_init__(self) -> None:
        """Check that the form is a known one."""
        if self.form != ISO and self.form not in FORMS:
            raise ValueError(f"dates cannot be written as {self.form!r}")

    @property
    def pattern(self) -> str:
        """A regular expression of ECMA-262 for usual dates in this form."""
        if self.form == ISO:
            return ISO_PATTERN
        plain = self.form.replace(".", "[.]").replace("/", "[/]")
        return f"^{re.sub(r'%.', lambda found: PATTERNS[found.group()], plain)}$"

    def __str__(self) -> str:
        """Say it in words, for remarks and documents.

        >>> print(DateForm("%d.%m.%Y %H:%M", time=True))
        DD.MM.YYYY HH:MM
        """
        if self.form == ISO:
            return "YYYY-MM-DD HH:MM:SS" if self.time else "YYYY-MM-DD"
        return re.sub(r"%.", lambda found: WORDS[found.group()], self.form)


FORMS = tuple(
    day + time + zone for day in DAYS for time in TIMES for zone in ZONES if time or not zone
)


def moment(text: str, form: DateForm) -> float:
    """Return the moment that a text stands for, in seconds since 1970 in UTC.

    Examples
    --------
    >>> moment("1970-01-02", DateForm()), moment("1970-01-01T01:00:00.5+01:00", DateForm())
    (86400.0, 0.5)
    >>> moment("2.1.1970", DateForm("%d.%m.%Y"))
    86400.0

    Raises
    ------
    ValueError
        It is no date in ISO 8601 or in the form, or beyond the years 1678 to 2261.
    """
    bare = text.strip()
    found = ISO_TEXT.fullmatch(bare)
    if found is not None:
        made = _iso(found)
    elif form.form == ISO or not bare.isascii():
        raise ValueError
    else:
        made = datetime.strptime(bare, form.form)
    if made.tzinfo is None:
        made = made.replace(tzinfo=UTC)
    if not FIRST <= made < LAST:
        raise ValueError
    return (made - EPOCH).total_seconds()


def _iso(found: re.Match[str]) -> datetime:
    year, _, month, day, hour, minute, second, part, zone = found.groups()
    made = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((part or "0")[:6].ljust(6, "0")),
        tzinfo=UTC,
    )
    if zone is None or zone == "Z":
        return made
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        raise ValueError
    return made - offset if zone[0] == "+" else made + offset


def date_text(value: Any, form: DateForm) -> str | None:
    """Return the text of a date, without blanks around it; null and a null marker are ``None``.

    >>> date_text(" 2024-01-05 ", DateForm()), date_text("NA", DateForm())
    ('2024-01-05', None)

    Raises
    ------
    TypeError
        It is no text.
    ValueError
        It is no date; see ``moment``.
    """
    if value is None or value != value:
        return None
    if not isinstance(value, str):
        raise TypeError
    bare = value.strip()
    if not bare or is_null(bare):
        return None
    moment(bare, form)
    return bare


def written(seconds: float, form: DateForm) -> str:
    """Return a moment as text in a form; dates without times are cut to the day.

    >>> written(90000.0, DateForm()), written(90000.0, DateForm(time=True))
    ('1970-01-02', '1970-01-02T01:00:00')
    """
    made = EPOCH + timedelta(seconds=round(seconds))
    if form.form != ISO:
        return made.strftime(form.form)
    return made.strftime("%Y-%m-%dT%H:%M:%S" if form.time else "%Y-%m-%d")


def date_form_of(texts: Sequence[str]) -> DateForm | None:
    """Return the form in which all texts are dates, or ``None`` where there is none, or several.

    Parameters
    ----------
    texts
        Different values of a column, without nulls; at least one.

    Examples
    --------
    >>> print(date_form_of(["1/31/2024", "2/1/2024"]))
    MM/DD/YYYY
    >>> date_form_of(["1/2/2024", "2/1/2024"]) is None  # of both orders
    True
    """
    for known in (ISO, *FORMS):
        found = _moments(texts, known)
        if found is None:
            continue
        if known != ISO and any(
            _moments(texts, other) not in (None, found) for other in FORMS if other != known
        ):
            return None
        return DateForm(known, time=any(seconds % 86_400 for seconds in found))
    return None


def _moments(texts: Sequence[str], form: str) -> list[float] | None:
    """Return the moments of texts that are all written in a form, else ``None``."""
    # Version numbers look like dates with short years, but for the zeros.
    if form.startswith("%d.%m.%y") and not all(map(SHORT.match, texts)):
        return None
    try:
        return [moment(text, DateForm(form)) for text in texts]
    except ValueError:
        return None
