"""How a picture becomes one inline SVG element: numbers in, text that stays text, equal bytes for equal numbers.

Text takes the page's font; shape, weight or place repeat what a colour says. Colours are those of Okabe and Ito, told
apart by every kind of colour vision.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
OTHER = "#9AA0A6"
LEARNED, BASELINE, REFERENCE = "#0072B2", "#5F6368", "#D55E00"
INK, FAINT, RULE = "#202124", "#80868B", "#DADCE0"

_STYLE: Any = {
    "svg.fonttype": "none",
    # Ships with matplotlib, so every machine lays text out alike; it is also wider than the fonts of screens.
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,  # a class may be called "ER+ $low$"
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}


PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}


def across(axes: Axes, *, along: str = "y") -> Any:
    """Data coordinates along one axis, fractions of the axes across it."""
    return axes.get_yaxis_transform() if along == "y" else axes.get_xaxis_transform()


def place_axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in points."""
    width, height = (72 * side for side in figure.get_size_inches())
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height),
        facecolor="none",
    )


@contextmanager
def new_figure(width: float, height: float) -> Generator[Figure]:
    """A figure of so many points, without pyplot and its list of open figures; the style is given back afterwards."""
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width / 72, height / 72), facecolor="none", edgecolor="none")


@lru_cache(maxsize=1024)  # every picture of a page has the same labels, and outlining one takes milliseconds
def text_width(words: str, *, size: float, weight: str = "normal") -> float:
    """Points that a line of text takes across; screens' fonts are no wider."""
    if not words.strip():
        return 0.0
    font = FontProperties(family=_STYLE["font.family"], weight=weight)
    with mpl.rc_context(_STYLE):
        return float(TextPath((0, 0), words, size=size, prop=font).get_extents().width)


def as_svg(figure: Figure, description: str) -> str:
    """The figure as one `<svg>` element fit to stand in a page, described for those who cannot see it."""
    buffer = io.StringIO()
    # The salt makes ids equal between runs, and different between the pictures of one page.
    with mpl.rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", dpi=130, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    for part in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->", r"<defs>\s*</defs>"):
        body = re.sub(part, "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", _lighten, body)
    width, height = (72 * side for side in figure.get_size_inches())
    label = escape(description)
    return Markup(f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{_joined(body)}</svg>')


def _lighten(tag: re.Match[str]) -> str:
    """One tag without the ids that only name groups, with two decimals, and with the page's font."""
    text = re.sub(r'<g id="[^"]*"', "<g", tag[0])
    text = re.sub(r"(\d\.\d{2})\d+", r"\1", text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    # matplotlib before 3.11 writes the short form of the font.
    return re.sub(r"font: (?:\w+ )*?(\d+ )?([\d.]+)px [^;\"]*", _font, text)


def _font(style: re.Match[str]) -> str:
    return f"font-size: {style[2]}px" + (f"; font-weight: {style[1].strip()}" if style[1] else "")


def _joined(body: str) -> str:
    lines: Iterator[str] = (line.strip() for line in body.splitlines())
    return "\n".join(line for line in lines if line)
