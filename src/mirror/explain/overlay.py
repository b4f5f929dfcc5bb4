"""Relevance as pictures: heat over the slide, and the tiles that count most either way.

Signed relevance takes ColorBrewer's RdBu, which every kind of colour vision tells apart, zero in its middle; shares of
attention take viridis from zero. Ends are where the outermost hundredth of the tiles begins.

Pixels are laid on the page as they are and matplotlib draws what is written over them: it would bring every picture to
size anew for every layer, most of the time of an explanation.

Legend: T tiles, H, W height and width, px.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from mirror.data.places import TilePlaces
from mirror.evaluation.report.drawing import FAINT, new_figure
from mirror.explain.caption import Caption, Row, fitted, write_rows
from mirror.explain.wording import Meaning

SIDE = 560
"""Longest side of a slide in a picture, points, and the least width of a picture, which has to hold its title."""
HEAT = 0.75
"""How far the heat covers the grey slide below it."""
COLUMNS = 6
EXAMPLE_PX = 136
_FRAME = 4
PICTURE_PX = EXAMPLE_PX - 2 * _FRAME
_DPI = 110
_SMOOTH, _HARD = Image.Resampling.BILINEAR, Image.Resampling.NEAREST


Picture: TypeAlias = NDArray[np.uint8]
"""RGB (H, W, 3)."""


class Canvas(NamedTuple):
    """The slide to draw on: RGB (H, W, 3), None where its file is not there; its size in level-0 px (width, height); um
    a level-0 px, None where nobody knows."""

    image: NDArray[np.uint8] | None
    size: tuple[float, float]
    mpp: float | None


class Shown(NamedTuple):
    """One layer: its values (T,), what they are, in which unit, whether they have a sign, and what that means."""

    name: str
    values: NDArray[np.floating[Any]]
    unit: str
    signed: bool
    meaning: Meaning | None = None


class Example(NamedTuple):
    """One tile with its picture RGB (`PICTURE_PX`, `PICTURE_PX`, 3), its row in the feature file and its value; its
    slide where a sheet has tiles of several."""

    image: NDArray[np.uint8]
    tile: int
    value: float
    slide: str = ""


def empty_canvas(places: TilePlaces) -> Canvas:
    """A canvas for a slide whose file is not there, or is not its own: as large as its tiles reach."""
    right, bottom = np.maximum(places.coords.max(axis=0), 0) + places.side
    return Canvas(None, (float(right), float(bottom)), places.mpp)


def colours_of(shown: Shown) -> NDArray[np.uint8]:
    """RGB (T, 3) of the tiles."""
    colours, norm = _scale(shown)
    return (colours(norm(shown.values.astype(float)))[:, :3] * 255).round().astype(np.uint8)


def draw_overlay(canvas: Canvas, places: TilePlaces, shown: Shown, caption: Caption) -> Picture:
    """The slide as it is, and in grey with the heat over it; scale bar and colour scale below."""
    by = SIDE / max(canvas.size)
    width, height = (max(2, round(length * by)) for length in canvas.size)
    panels = 2 if canvas.image is not None else 1
    wide = max(SIDE, panels * (width + 14)) + 14
    if shown.meaning is not None:
        caption = caption._replace(lines=(*caption.lines, shown.meaning.legend))
    rows, head = caption.laid(wide - 28)
    with new_figure(wide, head + height + 86) as figure:
        page = _white_page(figure)
        write_rows(figure, rows)
        axes = [_panel(figure, 14 + panel * (width + 14), 86, width, height) for panel in range(panels)]
        axes[0].set(xlim=(0, canvas.size[0]), ylim=(canvas.size[1], 0))
        boxes = [_pixels_of(one) for one in axes]
        heat = _heat(places, shown, canvas.size, (width, height))
        heated = page[boxes[-1]]
        if canvas.image is not None:
            page[boxes[0]] = _of_size(canvas.image, page[boxes[0]], _SMOOTH)
            heated[:] = _of_size(canvas.image.mean(axis=2).round().astype(np.uint8), heated, _SMOOTH)[..., None]
        cover = heat.there * np.float32(HEAT if canvas.image is not None else 1.0)
        _lay(heated, _of_size(heat.colour, heated, _HARD), _of_size(cover, heated, _HARD)[..., None])
        _scale_bar(axes[0], canvas)
        _colour_scale(figure, shown, left=14, width=420)
        return _written_over(page, figure)


def draw_examples(
    top: Sequence[Example], bottom: Sequence[Example], shown: Shown, caption: Caption, *, side_um: float | None
) -> Picture:
    """Contact sheet: the tiles with most and those with least of a layer, framed in their colours."""
    sections: list[tuple[str, Sequence[Example]]] = []
    for part, end in ((top, "highest"), (bottom, "lowest")):
        heading = f"the {len(part)} {end} tiles"
        if shown.meaning is not None:
            does = shown.meaning.more if end == "highest" else shown.meaning.less
            beside = f", compared with {shown.meaning.compared}"
            heading = f"{heading}: each {does}{beside}" if part else f"no tile {does}{beside}"
        sections.append((heading, part))
    return draw_sheet(sections, shown, caption, sides_um=[side_um])


def draw_sheet(
    sections: Sequence[tuple[str, Sequence[Example]]],
    shown: Shown,
    caption: Caption,
    *,
    sides_um: Collection[float | None],
) -> Picture:
    """Contact sheet: under each heading, in as many rows as it takes, its tiles by rank, framed in the colours of their
    values among all `shown`. `sides_um`: sides of the tiles of every slide in um, None where it has no scale."""
    side, gap, head, lead = EXAMPLE_PX, 30, 30, 16
    named = any(example.slide for _, part in sections for example in part)
    gap += 12 * named
    rows = [math.ceil(len(part) / COLUMNS) for _, part in sections]
    width = 14 + COLUMNS * (side + 14)
    measures = "; ".join(filter(None, (shown.unit, _width_of_tiles(sides_um))))
    words, top = caption._replace(lines=(*caption.lines, measures)).laid(width - 28)
    top = math.ceil(top)
    told_above = [fitted(heading, width - 28, size=11, most=len(heading)) for heading, _ in sections]
    height = top + sum(head + lead * (len(told) - 1) for told in told_above) + sum(rows) * (side + gap)
    colours, norm = _scale(shown)
    told = _told_of([example.value for _, part in sections for example in part], signed=shown.signed)
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    with new_figure(width, height) as figure:
        write_rows(figure, words)
        edge = top
        for above, (_, part) in zip(told_above, sections, strict=True):
            for number, line in enumerate(above):
                _write(figure, 14, edge + head + lead * number - 8, line, size=11)
            edge += head + lead * (len(above) - 1)
            for place, example in enumerate(part):
                row, column = divmod(place, COLUMNS)
                left, up = 14 + column * (side + 14), edge + row * (side + gap)
                frame = sheet[up : up + side, left : left + side]
                frame[:] = (np.array(colours(norm(example.value))[:3]) * 255).round()
                frame[_FRAME:-_FRAME, _FRAME:-_FRAME] = example.image
                value = f"{example.value:{told}}"
                _write(figure, left, up + side + 14, f"{place + 1}.  {value}  (tile {example.tile})", size=9)
                if example.slide:
                    _write(figure, left, up + side + 26, fitted(example.slide, side, size=8, most=1)[0], size=8)
            edge += math.ceil(len(part) / COLUMNS) * (side + gap)
        page = _white_page(figure)
        page[:] = _of_size(sheet, page, _HARD)
        return _written_over(page, figure)


def _width_of_tiles(sides_um: Collection[float | None]) -> str:
    """How wide the tiles of a sheet are, as far as it is known; nothing where it is known of none."""
    known = sorted({round(side) for side in sides_um if side is not None})
    if not known:
        return ""
    of = "" if None not in sides_um else " where the slide's scale is known"
    return f"a tile is {known[0]}{f' to {known[-1]}' if len(known) > 1 else ''} um wide{of}"


def _told_of(values: Sequence[float], *, signed: bool) -> str:
    """The format of all numbers of a sheet, never with an exponent: two decimals, or as many as show two digits of the
    largest."""
    largest = max(map(abs, values), default=0.0)
    decimals = 2 if largest == 0 else max(2, 1 - math.floor(math.log10(largest)))
    return f"{'+' if signed else ''}.{decimals}f"


def _scale(shown: Shown) -> tuple[Colormap, Normalize]:
    values = np.abs(shown.values.astype(float)) if shown.signed else shown.values.astype(float)
    end = float(np.quantile(values, 0.99)) or float(values.max()) or 1.0
    if shown.signed:
        return mpl.colormaps["RdBu_r"], Normalize(-end, end, clip=True)
    return mpl.colormaps["viridis"], Normalize(0.0, end, clip=True)


class _Heat(NamedTuple):
    """RGB uint8 (H, W, 3), and where there is any tile (H, W)."""

    colour: Picture
    there: NDArray[np.bool_]


def _heat(places: TilePlaces, shown: Shown, size: tuple[float, float], pixels: tuple[int, int]) -> _Heat:
    """Where tiles overlap, their mean."""
    width, height = pixels
    colours, norm = _scale(shown)
    by = np.array([width / size[0], height / size[1]])
    low = np.floor(places.coords * by).astype(int)
    high = np.maximum(np.ceil((places.coords + places.side) * by - 1e-6).astype(int), low + 1)
    low, high = (np.clip(edge, 0, pixels) for edge in (low, high))
    across, down = (high - low).T
    # A row a pixel of a tile: ten thousand small rectangles one by one take a third longer.
    tile = np.repeat(np.arange(len(low)), across * down)
    within = np.arange(len(tile)) - (np.cumsum(across * down) - across * down)[tile]
    rows, columns = low[tile, 1] + within // across[tile], low[tile, 0] + within % across[tile]
    pixel, values = rows * width + columns, shown.values.astype(float)
    count = np.bincount(pixel, minlength=height * width).reshape(height, width)
    total = np.bincount(pixel, weights=values[tile], minlength=height * width).reshape(height, width)
    return _Heat(colours(norm(total / np.maximum(count, 1)), bytes=True)[..., :3], count > 0)


def _lay(panel: Picture, colour: NDArray[np.uint8], cover: NDArray[np.float32]) -> None:
    """Cover so much (..., 1), a share, of what is in `panel` (..., 3), which may be a view of a page."""
    mixed = colour.astype(np.float32)
    mixed -= panel
    mixed *= cover
    mixed += panel
    panel[:] = mixed.round(out=mixed)


def _scale_bar(axes: Axes, canvas: Canvas) -> None:
    """A bar of a round length of about a sixth of the width, in um where the resolution is known."""
    unit, each = ("um", canvas.mpp) if canvas.mpp is not None else ("px at level 0, resolution unknown", 1.0)
    wanted = canvas.size[0] * each / 6
    power = 10 ** math.floor(math.log10(wanted))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= wanted)
    width, height = canvas.size
    left, thick = 0.03 * width, 0.008 * max(canvas.size)
    top = height - 0.03 * max(canvas.size) - thick
    text = f"{length / 1000:g} mm" if unit == "um" and length >= 1000 else f"{length:g} {unit}"
    axes.add_patch(
        Rectangle((left, top), length / each, thick, facecolor="black", edgecolor="white", linewidth=0.8, zorder=5)
    )
    axes.text(
        left, top - thick / 2, text, size=10, color="black", va="bottom", zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def _colour_scale(figure: Figure, shown: Shown, *, left: float, width: float) -> None:
    axes = _panel(figure, left, 50, width, 12)
    colours, norm = _scale(shown)
    # An arrow below the zero of shares would point at nothing.
    extend = "both" if shown.signed or float(shown.values.min()) < 0 else "max"
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=axes, orientation="horizontal", extend=extend)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.locator_params(nbins=5)
    bar.ax.tick_params(labelsize=9, color=FAINT)
    bar.set_label("\n".join(fitted(shown.unit, width + 100, size=10)), size=10)


def _write(figure: Figure, left: float, top: float, text: str, *, size: float) -> None:
    """Text with its base line at a place in points from the top left corner."""
    write_rows(figure, [Row(text, top, size)], left=left)


def _panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without ticks at a place in points."""
    across, up = _points(figure)
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up), facecolor="none")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT, linewidth=0.8)
    return axes


def _points(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return width * 72, height * 72


def png(picture: Picture) -> bytes:
    """As a file has it. Compression runs beside other threads."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="png", compress_level=1, compress_type=zlib.Z_RLE)
    return content.getvalue()


def _white_page(figure: Figure) -> Picture:
    """As large as the figure will be."""
    figure.set_dpi(_DPI)
    width, height = FigureCanvasAgg(figure).get_width_height()
    return np.full((height, width, 3), 255, dtype=np.uint8)


def _pixels_of(axes: Axes) -> tuple[slice, slice]:
    """Rows and columns of the page that axes cover."""
    box, (_, high) = axes.bbox, axes.figure.canvas.get_width_height()
    left, right, up, down = (round(edge) for edge in (box.x0, box.x1, high - box.y1, high - box.y0))
    return slice(up, down), slice(left, right)


def _of_size(image: NDArray[Any], like: Picture, edges: Image.Resampling) -> NDArray[Any]:
    """As high and wide as another picture."""
    height, width = like.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width, height), edges))


def _written_over(page: Picture, figure: Figure) -> Picture:
    """The page with what the figure, which has no ground of its own, draws on it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    ink = drawn.reshape(-1, 4)
    inked = np.flatnonzero(ink[:, 3])  # little of a page
    ink, pixels = ink[inked], page.reshape(-1, 3)
    below = pixels[inked]
    _lay(below, ink[:, :3], ink[:, 3:].astype(np.float32) / np.float32(255))
    pixels[inked] = below
    return page
