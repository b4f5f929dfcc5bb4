"""What the colours over a slide say, in the same words in pictures, tables, QuPath's classes and the viewer.

Targets differ in what more of them is: a class has tiles that point to it, the embedding has no tile that speaks
against it. Methods differ in what zero is: `pattern` compares a tile with the rest of its slide, and says what it
points to; the others say whether it raises or lowers the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mirror.explain.relevance import Method
from mirror.explain.targets import AGREEMENT, CLASS, EMBEDDING, RISK

REST_OF_SLIDE, MEAN_TILE = "the rest of this slide", "training patients' mean tile"
_COMPARED: Mapping[Method, str] = {
    "pattern": REST_OF_SLIDE,
    "attention-gradient": REST_OF_SLIDE,
    "contributions": MEAN_TILE,
    "integrated-gradients": MEAN_TILE,
}
_POINTS = {
    RISK: ("points to a higher risk", "points to a lower risk"),
    AGREEMENT: ("agrees more with the patient's expression", "agrees less with the patient's expression"),
    EMBEDDING: ("has more of what sets this slide apart", "has less of what sets this slide apart"),
}
_MOVES = {
    RISK: ("raises the risk", "lowers the risk"),
    AGREEMENT: ("raises the agreement with the expression", "lowers the agreement with the expression"),
    EMBEDDING: ("adds to what sets this slide apart", "takes from what sets this slide apart"),
}


def effect_of(target: str, unit: str) -> str:
    """What the effect of a gene on a target is."""
    if target == AGREEMENT:
        return f"mean contribution, {unit}"
    return "sd of the output that go along with one sd of the gene"


class Meaning(NamedTuple):
    """What a tile does whose number is above zero, and below, as the rest of a sentence; `compared` with what zero is
    like."""

    more: str
    less: str
    compared: str

    @property
    def legend(self) -> str:
        """The sentence for both colours."""
        return f"red {self.more}, blue {self.less}, compared with {self.compared}"


def meaning(target: str, method: Method) -> Meaning:
    """Of a signed layer: the relevance of tiles for `target` by `method`."""
    points = method == "pattern"
    name = target.removeprefix(CLASS)
    if target.startswith(CLASS):
        words = (f"points {much} to class {name}" for much in ("more", "less"))
        more, less = words if points else (f"{way} the log-odds of class {name}" for way in ("raises", "lowers"))
    else:
        more, less = (_POINTS if points else _MOVES)[target]
    return Meaning(more, less, _COMPARED[method])
