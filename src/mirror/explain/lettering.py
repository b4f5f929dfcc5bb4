"""Letters that the pictures' own font lacks: another installed font draws them, else their code stands for them."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties, fontManager, get_font, weight_dict

FONT = "DejaVu Sans"
"""Ships with matplotlib, so every machine lays out alike what it can draw."""
_NO_LETTERS = "Last Resort"
"""Fonts that have a box in place of every letter there is."""


def drawable(text: str, weight: str = "normal") -> str:
    """`text` with the code (`\\u5207`) of every letter that no installed font of this weight draws, so that two names
    stay two."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _drawn_by(letter, weight) else _code(letter) for letter in text)


def families(text: str, weight: str = "normal") -> list[str]:
    """The pictures' own font, and those that draw what it lacks of a `drawable` text."""
    others = () if text.isascii() else (_drawn_by(letter, weight) for letter in text)
    return list(dict.fromkeys([FONT, *filter(None, others)]))


@lru_cache(maxsize=4096)
def _drawn_by(letter: str, weight: str) -> str | None:
    """The first font that has the letter; None where none has."""
    if not letter.isprintable():
        return None
    return next(
        (name for name in _installed(weight) if get_font(_file(name, weight)).get_char_index(ord(letter))), None
    )


@lru_cache(maxsize=2)
def _installed(weight: str) -> tuple[str, ...]:
    """Families of upright fonts: our own first, then those without serifs. Of this very weight: of another one
    matplotlib says at every use that it has to do."""
    upright = [font for font in fontManager.ttflist if font.style == "normal" and not font.name.startswith(_NO_LETTERS)]
    found = {font.name for font in upright if weight_dict[weight] in (font.weight, weight_dict.get(str(font.weight)))}
    return tuple(sorted(found, key=lambda name: (name != FONT, "Sans" not in name, name)))


def _file(name: str, weight: str) -> str:
    return fontManager.findfont(FontProperties(family=[name], weight=weight))


def _code(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
