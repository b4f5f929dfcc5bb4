"""What is to be known of a layer before it is believed: a few words for pictures and the viewer, a sentence for tables.

Legend: N patients.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from mirror.explain.head_score import HeadScore, Unjudged
from mirror.explain.offered import FEWEST, MOST

Kind = Literal["UNPROVEN", "UNSURE", "FEW", "UNLIKE", "INCOMPLETE"]
_MOST_DIGITS = 6


class Warned(NamedTuple):
    """`short` follows the `kind` in captions and in the viewer; `note` is the whole sentence."""

    kind: Kind
    short: str
    note: str

    @property
    def told(self) -> str:
        """As a caption has it."""
        return f"{self.kind}: {self.short}"


def unproven(reason: str) -> Warned:
    """Of a method that is not offered, for the `reason` that `offered.why_not` gives."""
    return Warned("UNPROVEN", "this method has not passed for what is shown (docs/explain.md)", f"UNPROVEN: {reason}")


def unsure(name: str, score: HeadScore | Unjudged) -> Warned:
    """Of the target `name`, whose head may judge by chance, or is judged by nobody."""
    nothing = "its heat says what the head looks at, and may say nothing of the disease"
    if isinstance(score, Unjudged):
        return Warned("UNSURE", f"the head is {score.told}", f"UNSURE: the head of {name} is {score.told}; {nothing}")
    note = f"UNSURE: the head of {name} judges no better than chance may, {score.told}: {nothing}"
    return Warned("UNSURE", "the head judges no better than chance may", note)


def few(name: str, fitted_on: int) -> Warned:
    """Of the target `name`, whose head was fitted on so few patients."""
    exams = f"those of the exams on {FEWEST} to {MOST}"
    note = (
        f"FEW: the head of {name} was fitted on {fitted_on} patients, {exams} (docs/explain.md): with fewer, heat is "
        "less to be believed"
    )
    return Warned("FEW", f"the head was fitted on {fitted_on} patients, {exams}", note)


def unlike(name: str, value: float, usual: tuple[float, float]) -> Warned:
    """Of the target `name`, whose `value` no training patient has: they have the `usual` ones, least to greatest."""
    found, least, greatest = _apart(value, usual)
    note = (
        f"UNLIKE: {name} of this slide is {found}, training patients have {least} to {greatest}: the slide is unlike "
        "those the model knows, and so is what it says of it"
    )
    return Warned("UNLIKE", f"number {found} is outside training patients' {least} to {greatest}", note)


def incomplete(name: str, whole: float, added: float) -> Warned:
    """Of the target `name`, whose tiles do not add up to what the slide adds."""
    short = f"tiles add up to {whole:+.3f}, the slide adds {added:+.3f}"
    return Warned("INCOMPLETE", short, f"INCOMPLETE: of {name}, {short}")


def _apart(value: float, usual: tuple[float, float]) -> tuple[str, ...]:
    """With as many decimals as tell the value from the ends."""

    def rounded(digits: int) -> tuple[str, ...]:
        return tuple(f"{round(one, digits) + 0.0:+.{digits}f}" for one in (value, *usual))

    tried = map(rounded, range(2, _MOST_DIGITS))
    return next((found for found in tried if found[0] not in found[1:]), rounded(_MOST_DIGITS))
