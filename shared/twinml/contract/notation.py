"""How a column writes its numbers: decimal comma, thousands separators, currency, per cent.

A column whose cells are all numbers in one notation is a number column. What its file writes,
a request may write as well; a plain number is understood everywhere. A sign such as ``%`` or
``€`` says the unit and does not change the number: ``12.5%`` is 12.5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["NOTATION", "PLAIN", "Notation", "decimal_mark", "notation_of", "plain_number"]

NOTATION = "x-number-notation"  # of a column in the OpenAPI documents
DECIMALS = (".", ",")
THOUSANDS = ("", ",", ".", "'", " ")
CURRENCIES = frozenset({
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS",
    "INR", "JPY", "KRW", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "RUB", "SEK", "SGD",
    "THB", "TRY", "TWD", "USD", "ZAR", "kr", "Kr", "zł", "Kč", "Ft", "Fr.", "Rs.", "R$", "US$",
    "A$", "C$", "HK$", "NZ$", "S$",
})  # fmt: skip
# Blanks, apostrophes and minus signs that spreadsheets and typesetting write.
SAME = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u2212": "-"})
PARTS = re.compile(r"([^0-9]*?)([.,]?[0-9](?:.*[0-9])?[.,]?)([^0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class Notation:
    """How numbers are written.

    Attributes
    ----------
    decimal
        ``.`` or ``,``.
    thousands
        What stands between groups of digits: nothing, ``,``, ``.``, ``'`` or a blank.
    unit
        ``%``, a currency's sign or its code, before or after the number; or nothing.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        """Check that the marks differ and are known."""
        if (
            self.decimal not in DECIMALS
            or self.thousands not in THOUSANDS
            or self.decimal == self.thousands
            or not (self.unit == "" or is_unit(self.unit))
        ):
            raise ValueError(f"numbers cannot be written as {self!r}")

    def pattern(self, *, fraction: bool) -> str:
        """Return a regular expression of ECMA-262 for usual numbers in this notation.

        >>> Notation(",", ".", "€").pattern(fraction=False)
        '^[+-]?([0-9]{1,15}|[1-9][0-9]{0,2}([.][0-9]{3}){1,4})( ?€)?$'
        """
        whole = "[0-9]{1,15}"
        if self.thousands:
            whole = f"({whole}|[1-9][0-9]{{0,2}}([{self.thousands}][0-9]{{3}}){{1,4}})"
        part = f"([{self.decimal}][0-9]{{0,15}})?" if fraction else ""
        unit = re.sub(r"[.$]", r"[\g<0>]", self.unit)
        return f"^[+-]?{whole}{part}{f'( ?{unit})?' if unit else ''}$"

    def __str__(self) -> str:
        """Say it in words, for remarks and documents.

        >>> print(Notation(",", ".", "€"))
        a decimal comma, '.' between thousands and the unit '€'
        """
        words = ["a decimal comma"] * (self.decimal == ",")
        if self.thousands:
            mark = "a blank" if self.thousands == " " else f"'{self.thousands}'"
            words.append(f"{mark} between thousands")
        if self.unit:
            words.append(f"the unit '{self.unit}'")
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


PLAIN = Notation()


def is_unit(text: str) -> bool:
    """Tell whether a text is a per cent sign, a currency's sign or one of the known codes."""
    return (
        text in {"%", "‰"}
        or text in CURRENCIES
        or (len(text) == 1 and unicodedata.category(text) == "Sc")
    )


@cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """Return what a number without sign and unit looks like."""
    point, group = re.escape(decimal), re.escape(thousands)
    whole = "[0-9]+"
    if thousands:
        # The second form is the Indian one: 12,34,567.
        lakh = rf"|[1-9][0-9]?(?:{group}[0-9]{{2}})+{group}[0-9]{{3}}" if thousands == "," else ""
        whole = rf"(?:[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+{lakh}|[0-9]+)"
    return re.compile(rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _parts(text: str) -> tuple[str, str, str] | None:
    """Return sign, digits with their marks, and unit of a number; ``None`` for another text.

    >>> _parts("-$1,234.50"), _parts("(12 %)"), _parts("12 kg")
    (('-', '1,234.50', '$'), ('-', '12', '%'), None)
    """
    known = text.translate(SAME).strip()
    bracketed = known.startswith("(") and known.endswith(")")
    found = PARTS.fullmatch(known[1:-1] if bracketed else known)
    if found is None:
        return None
    before, digits, after = found.group(1).strip(), found.group(2), found.group(3).strip()
    sign = ""
    for mark in "+-":
        bare = before.removeprefix(mark) if before.startswith(mark) else before.removesuffix(mark)
        if bare != before:
            sign, before = mark, bare.strip()
            break
    if (before and after) or (bracketed and sign):
        return None
    unit = before or after
    if unit and not is_unit(unit):
        return None
    return "-" if bracketed else sign, digits, unit


def plain_number(text: str, notation: Notation) -> str:
    """Return the plain number that a text stands for in a notation, or the text itself.

    >>> plain_number("1.234,5 €", Notation(",", ".", "€"))
    '1234.5'
    >>> plain_number("1234.5", Notation(",", "", "%")), plain_number("x", Notation(","))
    ('1234.5', 'x')
    """
    found = _parts(text)
    if found is None or found[2] not in ("", notation.unit):
        return text
    sign, digits, _ = found
    forms = [notation, PLAIN]
    if not notation.thousands:
        # The training file had no number so large, or wrote it without.
        forms.append(Notation(notation.decimal, "," if notation.decimal == "." else "."))
    for known in forms:
        if _pattern(known.decimal, known.thousands).fullmatch(digits):
            if known.thousands:
                digits = digits.replace(known.thousands, "")
            return sign + digits.replace(known.decimal, ".")
    return text


def decimal_mark(columns: Iterable[Sequence[str]]) -> str | None:
    """Return the decimal mark that the numbers of a file prove; ``None`` if none or both do.

    Parameters
    ----------
    columns
        Texts of the columns of one file.
    """
    proved = set()
    for texts in columns:
        fits = _fits(texts)
        if fits is not None:
            marks = {decimal for decimal, _ in fits[1]}
            if len(marks) == 1:
                proved |= marks
    return proved.pop() if len(proved) == 1 else None


def notation_of(
    texts: Sequence[str], *, proved: str | None = None, likely: str = "."
) -> Notation | None:
    """Return the notation in which all texts are numbers, or ``None``.

    Plain numbers are plain, unless other columns of the file prove a decimal comma and all
    points can stand between thousands. ``1,234`` alone is read as the file's other numbers are.

    Parameters
    ----------
    texts
        Different values of a column, without nulls; at least one.
    proved
        The decimal mark that other columns of the file prove.
    likely
        The decimal mark to take where nothing proves one.

    Examples
    --------
    >>> print(notation_of(["$1,200", "$5"]))
    ',' between thousands and the unit '$'
    >>> notation_of(["1,5", "12"]) == Notation(","), notation_of(["1.5", "x"])
    (True, None)
    """
    found = _fits(texts)
    if found is None:
        return None
    unit, fits = found
    if not fits:
        return None
    decimals = {decimal for decimal, _ in fits}
    if {(".", ""), (",", "")} <= set(fits):  # whole numbers without any mark
        decimal = "."
    elif len(decimals) == 1:
        decimal = decimals.pop()
    else:
        decimal = proved or ("." if (".", "") in fits else likely)
    thousands = next(mark for mark in THOUSANDS if (decimal, mark) in fits)
    return Notation(decimal, thousands, unit)


def _fits(texts: Sequence[str]) -> tuple[str, list[tuple[str, str]]] | None:
    """Return the unit of all texts, and the pairs of marks that read all of them."""
    units: set[str] = set()
    digits: set[str] = set()
    for text in texts:
        parts = _parts(text)
        if parts is None:
            return None
        digits.add(parts[1])
        units.add(parts[2])
    if len(units) != 1:
        return None
    fits = [
        (decimal, thousands)
        for decimal in DECIMALS
        for thousands in THOUSANDS
        if decimal != thousands
        and all(_pattern(decimal, thousands).fullmatch(one) for one in digits)
    ]
    return units.pop(), fits
