"""How a column writes its numbers: decimal comma, thousands separators, currency, per cent.

A column whose cells are all numbers in one notation is a number column. What its file writes,
a request may write as well; a plain number is understood everywhere. A sign such as ``%`` or
``€`` says the unit and does not change the number: ``12.5%`` is 12.5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

__all__ = ["NOTATION", "PLAIN", "Notation", "decimal_mark", "notation_of", "plain_number"]

NOTATION = "x-number-notation"  # of a column in the OpenAPI documents
DECIMALS = (".", ",")
THOUSANDS = ("", ",", ".", "'", " ")
# Of negative numbers, beside a minus in front: in brackets, behind, typographic.
NEGATIVES = {"": "", "()": "brackets", "1-": "a minus behind", "\u2212": "the sign '\u2212'"}
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
    negative
        How negative numbers are marked where not by a minus in front: ``()`` is brackets around
        them, ``1-`` a minus behind, ``−`` the typographic sign; or nothing.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    negative: str = ""

    def __post_init__(self) -> None:
        """Check that the marks differ and are known."""
        if (
            self.decimal not in DECIMALS
            or self.thousands not in THOUSANDS
            or self.decimal == self.thousands
            or not (self.unit == "" or is_unit(self.unit))
            or self.negative not in NEGATIVES
        ):
            raise ValueError(f"numbers cannot be written as {self!r}")

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON values; earlier versions do not know how negative ones are marked."""
        return {name: text for name, text in asdict(self).items() if text or name != "negative"}

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
        if self.negative:
            words.append(f"{NEGATIVES[self.negative]} for negative numbers")
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
    # Nobody writes 8,090E-01 with a mark between thousands.
    exponent = "" if thousands else "(?:[eE][+-]?[0-9]+)?"
    return re.compile(rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+){exponent}")


@dataclass(frozen=True)
class _Parts:
    """A number as text.

    ``sign`` is ``+``, ``-`` or nothing, ``negative`` which of ``NEGATIVES`` says the latter.
    """

    sign: str
    digits: str
    unit: str
    negative: str


def _parts(text: str) -> _Parts | None:
    """Return the parts of a number; ``None`` for another text.

    >>> _parts("-$1,234.50")
    _Parts(sign='-', digits='1,234.50', unit='$', negative='')
    >>> _parts("(12 %)"), _parts("12 kg")
    (_Parts(sign='-', digits='12', unit='%', negative='()'), None)
    """
    known = text.translate(SAME).strip()
    found = PARTS.fullmatch(known)
    if found is None:
        # In Excel's accounting format a zero is a dash beside its currency.
        unit = known.replace("-", "", 1).strip()
        return _Parts("", "0", unit, "") if unit != known and is_unit(unit) else None
    before, digits, after = found.group(1).strip(), found.group(2), found.group(3).strip()
    negatives = []
    if before.count("(") == after.count(")") == 1:
        negatives.append("()")
        before, after = before.strip("(").strip(), after.strip(")").strip()
    before, sign = _without_sign(before, "+-")
    if sign == "-":
        negatives.append("\u2212" if "\u2212" in text else "")
    after, behind = _without_sign(after, "-")
    if behind:
        negatives.append("1-")
    unit = before or after
    if (before and after) or len(negatives) + (sign == "+") > 1 or (unit and not is_unit(unit)):
        return None
    return _Parts("-" if negatives else sign, digits, unit, negatives[0] if negatives else "")


def _without_sign(text: str, signs: str) -> tuple[str, str]:
    """Return what stands beside a number without the sign at either end, and the sign.

    >>> _without_sign("-$", "+-"), _without_sign("$ -", "-"), _without_sign("$", "-")
    (('$', '-'), ('$', '-'), ('$', ''))
    """
    for sign in signs:
        bare = text.removeprefix(sign) if text.startswith(sign) else text.removesuffix(sign)
        if bare != text:
            return bare.strip(), sign
    return text, ""


def plain_number(text: str, notation: Notation) -> str:
    """Return the plain number that a text stands for in a notation, or the text itself.

    >>> plain_number("1.234,5 €", Notation(",", ".", "€"))
    '1234.5'
    >>> plain_number("1234.5", Notation(",", "", "%")), plain_number("x", Notation(","))
    ('1234.5', 'x')
    """
    found = _parts(text)
    if found is None or found.unit not in ("", notation.unit):
        return text
    digits = found.digits
    forms = [notation, PLAIN]
    if not notation.thousands:
        # The training file had no number so large, or wrote it without.
        forms.append(Notation(notation.decimal, "," if notation.decimal == "." else "."))
    for known in forms:
        if _pattern(known.decimal, known.thousands).fullmatch(digits):
            if known.thousands:
                digits = digits.replace(known.thousands, "")
            return found.sign + digits.replace(known.decimal, ".")
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
            marks = {decimal for decimal, _ in fits[2]}
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
    unit, negatives, fits = found
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
    coded = [mark for mark in negatives if mark in ("()", "1-")]
    if len(texts) == len(coded) and Notation(decimal, thousands, unit) == PLAIN:
        # Where all are in brackets, or have a dash behind, these are codes like any other.
        return None
    return Notation(decimal, thousands, unit, negatives[0] if negatives else "")


def _fits(texts: Sequence[str]) -> tuple[str, list[str], list[tuple[str, str]]] | None:
    """Return the unit of all texts, what marks negative ones, and the marks that read all."""
    units: set[str] = set()
    digits: set[str] = set()
    negatives: list[str] = []
    for text in texts:
        parts = _parts(text)
        if parts is None:
            return None
        digits.add(parts.digits)
        units.add(parts.unit)
        if parts.negative:
            negatives.append(parts.negative)
    if len(units) != 1:
        return None
    fits = [
        (decimal, thousands)
        for decimal in DECIMALS
        for thousands in THOUSANDS
        if decimal != thousands
        and all(_pattern(decimal, thousands).fullmatch(one) for one in digits)
    ]
    return units.pop(), negatives, fits
