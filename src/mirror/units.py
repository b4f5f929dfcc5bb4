"""Units of expression by their names: what is known of them, and when two names mean the same.

Known are a quantity, `log2`, `log10` or `ln` of one with the offset that was added (`log2(TPM + 0.001)`), and whatever
says `z-score`; a remark may follow a comma. `other, ...` takes any words: they are kept, and neither checked nor
converted. Anything else is refused, for a slip of the pen would else switch the checks off.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

from mirror.errors import ConfigError

QUANTITIES = ("counts", "expected_count", "TPM", "FPKM", "FPKM-UQ", "RPKM", "RSEM", "norm_count", "CPM")
"""`counts` are whole numbers of reads, `expected_count` is what RSEM, salmon and kallisto estimate in their place;
`norm_count` and `RSEM` are scaled to a common size."""

_OTHER_NAMES = {"rpm": "CPM"}  # of small RNA: reads per million are counts per million
_BASES = {"log2": 2.0, "log10": 10.0, "ln": math.e}
_NAME = r"(?P<quantity>[a-z_-]+)"
_LINEAR = re.compile(_NAME)
_LOGARITHM = re.compile(
    rf"(?P<log>log2|log10|ln)\s*\(\s*{_NAME}\s*(?:\+\s*(?P<offset>(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)\s*)?\)"
)
_OTHER = re.compile(r"other(\s*,.*)?", re.DOTALL)
# Anywhere: z-scores of a logarithm are z-scores, and nothing that undoes the logarithm undoes them.
_Z_SCORE = re.compile(r"\bz[- ]?scored?s?\b")


@dataclass(frozen=True, slots=True)
class Units:
    """`quantity` (of `QUANTITIES`, `z-score` or `other`), and the base and offset of its logarithm (None: linear)."""

    quantity: str
    base: float | None = None
    offset: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether the numbers are amounts, or logarithms of them: what can be checked and converted."""
        return self.quantity in QUANTITIES

    def __str__(self) -> str:
        if self.base is None:
            return self.quantity
        log = next(name for name, base in _BASES.items() if base == self.base)
        return f"{log}({self.quantity}{f' + {self.offset:g}' if self.offset else ''})"


def parse_units(text: str) -> Units:
    """The units that `text` names. Raises `ConfigError` with the nearest known form where it names none."""
    plain = text.strip().casefold()
    if _OTHER.fullmatch(plain):
        return Units("other")
    if _Z_SCORE.search(plain):
        return Units("z-score")
    plain = plain.split(",", 1)[0].strip()
    match = _LINEAR.fullmatch(plain) or _LOGARITHM.fullmatch(plain)
    known = {quantity.casefold(): quantity for quantity in QUANTITIES} | _OTHER_NAMES
    if match is None or match["quantity"] not in known:
        raise ConfigError(
            f"'{text}' is no known form of units{_nearest(plain)}; known are {', '.join(QUANTITIES)}, log2(...), "
            "log10(...) and ln(...) of them, such as log2(TPM + 0.001), and z-score; for anything else write "
            f"`other, {text}`, which is kept with the numbers, and neither checked nor converted"
        )
    found = match.groupdict()
    return Units(known[found["quantity"]], _BASES.get(found.get("log") or ""), float(found.get("offset") or 0))


def same_units(first: str, second: str) -> bool:
    """Whether numbers in the one may be put beside numbers in the other.

    Spaces, capitals and remarks make no difference to units that are measured. Z-scores and `other` are told apart by
    all that is said of them, for nothing else says whose mean and deviation they have.
    """
    if " ".join(first.casefold().split()) == " ".join(second.casefold().split()):
        return True
    try:
        units = parse_units(first), parse_units(second)
    except ConfigError:  # written by an earlier version, which took any words
        return False
    return units[0].measured and units[0] == units[1]


def remark_on(text: str) -> str | None:
    """What a reader of numbers in units `text` should know: that they cannot be undone, or were not checked."""
    quantity = parse_units(text).quantity
    if quantity == "z-score":
        return (
            "z-scores cannot be undone without the means and deviations of the study that made them, mean nothing "
            "beside those of another study, and are not checked"
        )
    return "in words of your own, the values are neither checked nor converted" if quantity == "other" else None


def _nearest(plain: str) -> str:
    number = re.search(r"\d*\.?\d+(?:e-?\d+)?\s*\)?$", plain)
    offset = number[0].strip(" )") if number else "1"
    forms = [*QUANTITIES, *(f"{log}({quantity} + {offset})" for log in _BASES for quantity in QUANTITIES), "z-score"]
    squeezed = {form.casefold().replace(" ", ""): form for form in forms}
    close = difflib.get_close_matches(plain.replace(" ", ""), squeezed, n=1, cutoff=0.6)
    return f"; did you mean '{squeezed[close[0]]}'?" if close else ""
