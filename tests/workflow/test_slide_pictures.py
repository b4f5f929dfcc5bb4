"""The pictures of an explained slide, read back pixel by pixel, and QuPath's GeoJSON on a slide with bounds."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import openslide
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from bounded_slide import write_bounded
from mirror.data.places import TilePlaces
from mirror.explain import caption, lettering, overlay
from mirror.explain.caption import Caption
from mirror.explain.head_score import HeadScore
from mirror.explain.offered import FEWEST
from mirror.explain.relevance import Method, Relevance
from mirror.explain.targets import Agreement, Head
from mirror.explain.warned import unlike
from mirror.explain.wording import Meaning
from mirror.ids import SlideId
from mirror.slides.looks import look_at
from mirror.slides.manifest import SlideEntry, may_have_bounds
from mirror.workflow.slide_layers import Layer, facts_of
from mirror.workflow.slide_pictures import Drawn, draw_layers

CANVAS, AT, SIDE = (1536, 1024), (512, 256), 128
PLACES = TilePlaces(
    np.array([[512, 256], [1152, 256], [640, 512], [896, 384], [1024, 640], [512, 640], [768, 256]]), SIDE, "file", 0.5
)
"""Seven tiles, of which no two change places when x and y do, or when the slide is mirrored."""
COLOURS = np.array(
    [[40, 200, 60], [230, 120, 20], [20, 210, 220], [240, 220, 30], [200, 40, 210], [110, 140, 250], [150, 200, 120]]
)
"""Of the upper half of each tile; the lower half is a third as bright."""
VALUES = np.array([2.0, -2.0, 0.5, 0.0, -1.0, 1.0, -2.0])
GLASS = (200, 200, 230)
METHOD = "pattern"


class Drawing(NamedTuple):
    folder: Path
    slide: Path
    drawn: Drawn
    notes: list[str]


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    """Pictures of a Leica slide whose tiles have known colours and numbers."""
    folder = tmp_path_factory.mktemp("pictures")
    image = np.full((512, 768, 3), GLASS, dtype=np.uint8)
    for (x, y), colour in zip(PLACES.coords - AT, COLOURS, strict=True):
        image[y : y + SIDE // 2, x : x + SIDE] = colour
        image[y + SIDE // 2 : y + SIDE, x : x + SIDE] = colour // 3
    path = folder / "S1.scn"
    write_bounded(path, image, canvas=CANVAS, at=AT)
    notes: list[str] = []
    layer = Layer("agreement", Agreement(), METHOD, Relevance(VALUES, 0.3, 0.1), None)
    drawn = draw_layers(folder, "S1", [layer], PLACES, SlideEntry(SlideId("S1"), path, None), model="m", notes=notes)
    return Drawing(folder, path, drawn, notes)


def pixels(path: Path | bytes) -> np.ndarray:
    """RGB (H, W, 3) of a PNG."""
    with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of every stretch of true, the ends not in it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def heated(value: float) -> np.ndarray:
    """ColorBrewer's red for what speaks for, blue for what speaks against, +-2 its ends."""
    return 255 * np.array(mpl.colormaps["RdBu"](0.5 - value / 4)[:3])


class Panels:
    """The two panels of an overlay, found by the lines around them."""

    def __init__(self, page: np.ndarray) -> None:
        self.page = page
        inked = (page < 250).any(axis=2)
        above, below = runs(inked.mean(axis=1) > 0.9)  # of both panels, which reach over the same rows
        self.up, self.down = above[1], below[0]
        lines = runs(inked[self.up : self.down].mean(axis=0) > 0.9)
        assert len(lines) == 4
        self.sides = [(begin[1], end[0]) for begin, end in (lines[:2], lines[2:])]

    def at(self, panel: int, x: float, y: float) -> np.ndarray:
        """RGB at a level-0 px."""
        left, right = self.sides[panel]
        row = self.up + y / CANVAS[1] * (self.down - self.up)
        column = left + x / CANVAS[0] * (right - left)
        return self.page[int(row), int(column)]


def test_the_heat_lies_on_its_tiles_red_for_and_blue_against_with_the_tissue_under_it(drawing: Drawing) -> None:
    panels = Panels(pixels(drawing.folder / "overlay-agreement.png"))
    for (x, y), colour, value in zip(PLACES.coords, COLOURS, VALUES, strict=True):
        for part, tissue in ((0.25, colour), (0.75, colour // 3)):
            spot = (x + SIDE / 2, y + part * SIDE)
            np.testing.assert_allclose(panels.at(0, *spot), tissue, atol=4)
            wanted = overlay.HEAT * heated(value) + (1 - overlay.HEAT) * tissue.mean()
            np.testing.assert_allclose(panels.at(1, *spot), wanted, atol=4)
    # Where no tile is, the grey slide alone; none of these places has a tile.
    for spot in ((560, 450), (1200, 700), (300, 560), (900, 700)):
        scanned = AT[0] <= spot[0] < AT[0] + 768 and AT[1] <= spot[1] < AT[1] + 512
        bare = np.array(GLASS) if scanned else np.full(3, 255)  # outside the slide's bounds there is no black
        np.testing.assert_allclose(panels.at(0, *spot), bare, atol=4)
        np.testing.assert_allclose(panels.at(1, *spot), np.full(3, bare.mean()), atol=4)


@pytest.mark.parametrize(("size", "mpp"), [((1000, 3000), 0.25), ((40_000, 30_000), 0.5)])
def test_the_scale_bar_is_as_long_as_it_says(size: tuple[int, int], mpp: float) -> None:
    shape = np.round(np.array(size[::-1]) / max(size) * 300).astype(int)
    image = np.full((*shape, 3), (250, 170, 60), dtype=np.uint8)
    canvas = overlay.Canvas(image, size, mpp)
    places = TilePlaces(np.array([[0, 0], [size[0] // 2, 0]]), size[0] / 10, "file", mpp)
    shown = overlay.Shown("risk", np.array([1.0, -1.0]), "u", signed=True)
    page = overlay.draw_overlay(canvas, places, shown, overlay.Caption("t")).astype(int)
    slide = (abs(page - np.array([250, 170, 60])) < 4).all(axis=2)
    columns = np.flatnonzero(slide.any(axis=0))
    left, right = columns.min(), columns.max() + 1
    rows = np.flatnonzero(slide.any(axis=1))
    inside = page[rows.min() + 3 : rows.max() - 2, left + 3 : right - 3]
    bars = [run for row in (inside < 25).all(axis=2) for run in runs(row)]
    begin, end = max(bars, key=lambda run: run[1] - run[0])  # letters are narrower
    wanted = max(step * 10**power for power in range(5) for step in (1, 2, 5) if step * 10**power <= size[0] * mpp / 6)
    a_pixel = size[0] * mpp / (right - left)
    assert (end - begin) * a_pixel == pytest.approx(wanted, abs=3 * a_pixel)  # its white rim takes two


@pytest.mark.parametrize(
    ("size", "mpp", "says"),
    [((2000, 1000), 0.5, "100 um"), ((40_000, 30_000), 0.25, "1 mm"), ((6400, 100), None, "1000 px at level 0")],
)
def test_the_scale_bar_says_its_length(size: tuple[int, int], mpp: float | None, says: str) -> None:
    axes = Figure().add_subplot()
    overlay._scale_bar(axes, overlay.Canvas(None, size, mpp))
    (bar,), (text,) = axes.patches, axes.texts
    assert text.get_text().startswith(says)
    number, unit = text.get_text().split()[:2]
    assert float(number) * (1000 if unit == "mm" else 1) == pytest.approx(bar.get_width() * (mpp or 1))


def test_the_contact_sheet_has_the_tiles_in_order_and_the_right_way_up(drawing: Drawing) -> None:
    page = pixels(drawing.folder / "tiles-agreement.png")
    found = {}
    for tile, colour in enumerate(COLOURS):
        above, below = ((abs(page - part) < 4).all(axis=2) for part in (colour, colour // 3))
        # Letters and frames may have a few pixels of some colour.
        if above.sum() < 1000:
            continue
        (up, left), (down, right) = (np.argwhere(above).min(axis=0), np.argwhere(above).max(axis=0))
        assert abs(right - left + 1 - (down - up + 1) * 2) < 8  # the upper half of a square
        lower = np.argwhere(below[down : down + (down - up), left : right + 1])
        assert len(lower) > 0.9 * above.sum(), "the dark half is under the bright one"
        found[tile] = (int(up), int(left), page[(up + down) // 2, left - 3])
    # Most for it: 2, 1, 0.5; most against it: -2 twice, in either order, -1. Zero speaks for nothing.
    reading = sorted(found, key=lambda tile: found[tile][:2])
    assert reading in ([0, 5, 2, 6, 1, 4], [0, 5, 2, 1, 6, 4])
    assert len({found[tile][0] for tile in (0, 5, 2)}) == 1 and len({found[tile][0] for tile in (1, 6, 4)}) == 1
    for tile, (*_, frame) in found.items():
        np.testing.assert_allclose(frame, heated(VALUES[tile]), atol=6)


class Texts:
    """What every figure was told to write, as far as it lies within the picture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: list[list[str]] = []
        drawn = overlay._written_over

        def listened(page: np.ndarray, figure: Figure) -> np.ndarray:
            picture, wide = drawn(page, figure), figure.get_size_inches()[0] * figure.dpi
            for text in figure.texts:
                box = text.get_window_extent()
                assert box.x0 >= 0 and box.x1 <= wide, f"cut off: {text.get_text()}"
            self.of.append([text.get_text() for text in figure.texts])
            return picture

        monkeypatch.setattr(overlay, "_written_over", listened)


LONG = "TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291"


@pytest.mark.parametrize(("name", "label"), [("S1", "B"), (LONG, "Invasive carcinoma of no special type, grade 3")])
def test_every_picture_says_of_which_slide_by_what_and_which_number_it_is(
    drawing: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, label: str
) -> None:
    texts, head = Texts(monkeypatch), Head(f"class:{label}", "log-odds", "fused", np.ones(2), 0.0, ())
    layers = [
        Layer(head.name, head, METHOD, Relevance(VALUES, 1.5, 0.25, -0.5), None),
        Layer("agreement", Agreement(), METHOD, Relevance(VALUES, 0.3, -0.001), None, unproven="it is not offered"),
        Layer("attention", None, "attention", Relevance(np.abs(VALUES)), None),
    ]
    entry = SlideEntry(SlideId(name), drawing.slide, None)
    model = f"patient {name[:12]}; model of run seed0/fold0, which has not seen this patient (test half)"
    draw_layers(tmp_path, name, layers, PLACES, entry, model=model, notes=[])
    assert len(texts.of) == 6
    for layer, pictures in zip(layers, (texts.of[:2], texts.of[2:4], texts.of[4:]), strict=True):
        for own in pictures:
            said = " ".join(own)
            assert f"{name}: {layer.name}" in said and model in said and f"method {layer.method}" in said
    parts = "-0.50 at the training patients' means, +1.25 from the slide, +0.75 from the expression"
    assert all(f"number +1.50 (log-odds) of slide and expression: {parts}" in " ".join(own) for own in texts.of[:2])
    cosine = "(UNPROVEN); number +0.30 (cosine) of the slide with the patient's expression"
    assert all(cosine in " ".join(own) for own in texts.of[2:4])
    assert layers[0].meaning is not None and layers[0].meaning.legend in " ".join(texts.of[0])
    # Rank, number and row of each tile, in two sections of their own.
    ranked = [text for text in texts.of[1] if "(tile " in text]
    assert [text.split(".")[0] for text in ranked] == ["1", "2", "3"] * 2
    assert ranked[0] == "1.  +2.00  (tile 0)" and ranked[3].startswith("1.  -2.00  (tile ")


def test_a_heading_of_a_sheet_is_whole_and_above_its_own_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, drawn = Texts(monkeypatch), overlay._written_over
    places: list[tuple[float, str]] = []

    def listened(page: np.ndarray, figure: Figure) -> np.ndarray:
        figure.canvas.draw()
        high = figure.get_size_inches()[1] * 72
        places.extend((high * (1 - text.get_position()[1]), text.get_text()) for text in figure.texts)
        return drawn(page, figure)

    monkeypatch.setattr(overlay, "_written_over", listened)
    image = np.zeros((overlay.PICTURE_PX, overlay.PICTURE_PX, 3), dtype=np.uint8)
    examples = [overlay.Example(image, row, 1.0 - row) for row in range(3)]
    does = f"points more to {' '.join(['Invasive carcinoma of no special type'] * 6)}"
    named = Meaning(does, "points less to it", LONG)
    shown = overlay.Shown("class", np.arange(3.0), "log-odds", signed=True, meaning=named)
    page = overlay.draw_examples(examples[:2], examples[2:], shown, Caption("S1"), side_um=None)
    said = " ".join(texts.of[0])
    assert f"the 2 highest tiles: each {does}, compared with {LONG}" in said and "…" not in said
    assert f"the 1 lowest tiles: each points less to it, compared with {LONG}" in said
    black = runs((page < 5).all(axis=2).sum(axis=1) > 100)  # rows of tiles, top and bottom, px
    first, second = ((begin * 72 / overlay._DPI, end * 72 / overlay._DPI) for begin, end in black)
    (begin,) = [down for down, text in places if text.startswith("the 2 highest")]
    (other,) = [down for down, text in places if text.startswith("the 1 lowest")]
    heading = [down for down, _ in places if begin <= down < first[0]]
    assert len(heading) > 2 and min(np.diff(heading)) > 11  # rows of size 11, none over another
    assert max(heading) < first[0] and first[1] < other < second[0]
    assert page.shape[0] * 72 / overlay._DPI > second[1]


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ([], "cosine"),
        ([None], "cosine"),
        ([128.2, 127.9], "cosine; a tile is 128 um wide"),
        ([256.0, 128.0], "cosine; a tile is 128 to 256 um wide"),
        ([None, 128.0], "cosine; a tile is 128 um wide where the slide's scale is known"),
    ],
)
def test_a_sheet_says_how_wide_the_tiles_of_all_its_slides_are(
    monkeypatch: pytest.MonkeyPatch, sides: list[float | None], said: str
) -> None:
    texts = Texts(monkeypatch)
    image = np.zeros((overlay.PICTURE_PX, overlay.PICTURE_PX, 3), dtype=np.uint8)
    shown = overlay.Shown("closeness", np.ones(1), "cosine", signed=False)
    overlay.draw_sheet([("all", [overlay.Example(image, 0, 1.0, "S1")])], shown, Caption("S1"), sides_um=sides)
    assert said in texts.of[0]


WARNED = {
    "UNPROVEN": "this method has not passed for what is shown (docs/explain.md)",
    "UNSURE": "the head judges no better than chance may",
    "FEW": "the head was fitted on 80 patients, those of the exams on 191 to 400",
    "UNLIKE": "number -32.42 is outside training patients' -2.00 to +2.39",
    "INCOMPLETE": "tiles add up to -1.500, the slide adds -32.420",
}


def warned_of(*, reason: str | None, low: float, fitted: int, value: float, method: Method) -> Layer:
    head = Head("risk", "log hazard", "fused", np.ones(2), 0.0, tuple(f"P{number}" for number in range(fitted)))
    score = HeadScore("c_index", 0.64, low, 0.77, 38)
    return Layer("risk", head, method, Relevance(VALUES, value, 0.0), (-2.0, 2.39), score, reason)


@pytest.mark.parametrize("files", [True, False])
def test_every_picture_says_what_warns_of_its_layer_and_nothing_of_it_is_cut_off(
    drawing: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: bool
) -> None:
    texts, method = Texts(monkeypatch), "integrated-gradients"
    bad = warned_of(reason="'x' is not offered", low=0.5, fitted=80, value=-32.42, method=method)
    good = warned_of(reason=None, low=0.51, fitted=FEWEST, value=2.39, method="pattern")
    assert {one.kind: one.short for one in bad.warnings} == WARNED and good.warnings == ()
    assert facts_of(bad)["warnings"] == [one._asdict() for one in bad.warnings] and facts_of(good)["warnings"] == []
    entry = SlideEntry(SlideId("S1"), drawing.slide, None) if files else None
    draw_layers(tmp_path, "S1", [bad, good], PLACES, entry, model="m", notes=[])
    each = 2 if files else 1  # overlay, and sheet
    for own in texts.of[:each]:
        for kind, short in WARNED.items():
            assert f"{kind}: {short}" in " ".join(own)
    for own in texts.of[each:]:
        assert not any(f"{kind}:" in text for kind in WARNED for text in own)


def test_a_number_is_told_apart_from_the_ends_that_it_lies_outside_of() -> None:
    assert unlike("risk", 2.394, (-2.0, 2.391)).short == "number +2.394 is outside training patients' -2.000 to +2.391"
    # A training slide by another name, whose number comes out by another order of sums, is not unlike itself.
    for value, kinds in ((2.390001, []), (2.3901, ["UNLIKE"])):
        layer = warned_of(reason=None, low=0.51, fitted=FEWEST, value=value, method="pattern")
        assert [one.kind for one in layer.warnings] == kinds
    assert unlike("risk", 2.5, (-0.001, 2.39)).short == "number +2.50 is outside training patients' +0.00 to +2.39"


@pytest.mark.parametrize(
    ("values", "signed", "told"),
    [
        ([0.3, 0.29, -0.004], True, ["+0.30", "+0.29", "-0.00"]),
        ([0.0031, 0.00042], False, ["0.0031", "0.0004"]),
        ([1234.5, -2.0], True, ["+1234.50", "-2.00"]),
        ([0.0, 0.0], False, ["0.00", "0.00"]),
    ],
)
def test_numbers_of_a_sheet_have_as_many_decimals_as_one_another(
    values: list[float], signed: bool, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Texts(monkeypatch)
    image = np.zeros((overlay.PICTURE_PX, overlay.PICTURE_PX, 3), dtype=np.uint8)
    shown = overlay.Shown("risk", np.array(values), "", signed=signed)
    examples = [overlay.Example(image, row, value) for row, value in enumerate(values)]
    overlay.draw_sheet([("all", examples)], shown, Caption("S1"), sides_um=[])
    ranked = [text.split()[1] for text in texts.of[0] if "(tile " in text]
    assert ranked == told


@pytest.mark.parametrize(
    ("values", "signed", "ends"),
    [
        ([0.0, 0.1, 0.4], False, "max"),
        ([-0.1, 0.1, 0.4], False, "both"),
        ([-0.5, 0.1, 0.4], True, "both"),
        ([0.1, 0.2, 0.4], True, "both"),
    ],
)
def test_a_scale_of_shares_points_at_nothing_below_zero(
    values: list[float], signed: bool, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, drawn = [], Figure.colorbar
    monkeypatch.setattr(Figure, "colorbar", lambda *one, **own: (made.append(own["extend"]), drawn(*one, **own))[1])
    places = PLACES._replace(coords=PLACES.coords[:3])
    shown = overlay.Shown("attention", np.array(values), "share", signed=signed)
    overlay.draw_overlay(overlay.empty_canvas(places), places, shown, Caption("S1"))
    assert made == [ends]


def test_a_tile_that_reaches_beyond_the_scan_is_white_there(drawing: Drawing) -> None:
    corner = (AT[0] - SIDE // 2, AT[1])
    looks = look_at(SlideEntry(SlideId("S1"), drawing.slide, None), mpp=0.5, tiles=[corner], side=SIDE, px=SIDE)
    tile = looks.tiles[corner]
    assert (tile[:, : SIDE // 2 - 1] == 255).all()
    np.testing.assert_array_equal(tile[5, SIDE // 2 + 5], COLOURS[0])


def bars_of(panel: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of every stretch of black in a panel's rows."""
    return [run for row in (panel < 25).all(axis=2) for run in runs(row)]


def test_the_scale_bar_is_seen_beside_the_scan_where_the_canvas_is_white(drawing: Drawing) -> None:
    panels = Panels(pixels(drawing.folder / "overlay-agreement.png"))
    left, right = panels.sides[0]
    below = panels.at(0, 0, 0.9 * CANVAS[1])
    np.testing.assert_array_equal(below, 255)  # the scan ends at 768 of 1024 px, and begins at 512 of 1536
    corner = panels.page[panels.down - (panels.down - panels.up) // 8 : panels.down - 2, left + 2 : right - 2]
    begin, end = max(bars_of(corner), key=lambda run: run[1] - run[0])
    a_pixel = CANVAS[0] * 0.5 / (right - left)
    assert (end - begin) * a_pixel == pytest.approx(100, abs=4 * a_pixel)  # less its white rim
    assert end < AT[0] / CANVAS[0] * (right - left)


def moved(by: tuple[int, int] | np.ndarray) -> TilePlaces:
    return PLACES._replace(coords=PLACES.coords + by)


def drawn_at(places: TilePlaces, drawing: Drawing, folder: Path) -> tuple[Drawn, list[str]]:
    notes: list[str] = []
    layer = Layer("agreement", Agreement(), METHOD, Relevance(VALUES, 0.3, 0.1), None)
    entry = SlideEntry(SlideId("S1"), drawing.slide, None)
    return draw_layers(folder, "S1", [layer], places, entry, model="m", notes=notes), notes


@pytest.mark.parametrize("by", [(5000, 5000), (0, 1024 - 256), (-5000, 0)])
def test_tiles_that_all_lie_outside_the_slide_are_drawn_as_if_it_had_no_file(
    drawing: Drawing, tmp_path: Path, by: tuple[int, int]
) -> None:
    places = moved(by)
    drawn, notes = drawn_at(places, drawing, tmp_path)
    said = " ".join(notes)
    low, high = places.coords.min(axis=0), places.coords.max(axis=0) + SIDE
    assert f"7 of 7 tiles lie outside {drawing.slide}, which has 1,536 x 1,024 px" in said
    assert f"reach from ({low[0]:,}, {low[1]:,}) to ({high[0]:,}, {high[1]:,})" in said
    assert "another slide" in said and "another level" in said and "empty map" in said and "has bounds" in said
    assert drawn.origin is None and drawn.files == ["relevance.geojson", "overlay-agreement.png"]


def test_tiles_of_which_some_lie_outside_the_slide_are_drawn_where_they_are_in_it(
    drawing: Drawing, tmp_path: Path
) -> None:
    away = np.zeros((7, 2), dtype=int)
    away[[0, 3]] = [[1024, 0], [-1500, -900]]  # one at 1536, just beyond the right edge; one left of and above all
    drawn, notes = drawn_at(moved(away), drawing, tmp_path)
    (note,) = notes
    assert note.startswith("2 of 7 tiles lie outside ") and "missing in the heat" in note
    assert "tiles-agreement.png" in drawn.files and drawn.origin == AT
    panels = Panels(pixels(tmp_path / "overlay-agreement.png"))
    for (x, y), colour, value, out in zip(PLACES.coords, COLOURS, VALUES, away.any(axis=1), strict=True):
        tissue = (colour // 3).mean()
        wanted = np.full(3, tissue) if out else overlay.HEAT * heated(value) + (1 - overlay.HEAT) * tissue
        np.testing.assert_allclose(panels.at(1, x + SIDE / 2, y + 0.75 * SIDE), wanted, atol=4)
    # Nothing is wrapped around from beyond the corner to as far before the opposite one.
    wrapped = PLACES.coords[3] + away[3] + SIDE / 2 + CANVAS
    np.testing.assert_allclose(panels.at(1, *wrapped), np.mean(GLASS), atol=4)
    # The tile with most for it is outside: it keeps its rank, without a picture.
    sheet = pixels(tmp_path / "tiles-agreement.png")
    frame = np.argwhere((abs(sheet - heated(2.0)) < 3).all(axis=2))
    up, left = frame.min(axis=0)
    assert (sheet[up + 20 : up + 60, left + 20 : left + 60] == 255).all()


@pytest.mark.parametrize("by", [(64, 0), (0, 64), (-575, 0)])
def test_a_tile_over_the_edge_of_the_slide_is_no_tile_outside(by: tuple[int, int]) -> None:
    size = (int(PLACES.coords[:, 0].max()) + SIDE, int(PLACES.coords[:, 1].max()) + SIDE)
    assert not moved(by).outside(size).any()
    assert PLACES._replace(coords=np.array([[size[0], 0], [-SIDE, 0], [1 - SIDE, 0]])).outside(size).tolist() == [
        True, True, False,
    ]  # fmt: skip


NAMES = ("\u5207\u7247-1", "\u5207\u9762-1")
"""Two slides in Chinese, of letters that DejaVu Sans has not."""


def test_a_name_that_no_font_can_write_is_told_by_its_codes_and_nothing_warns(
    drawing: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lettering, "_installed", lambda _: (lettering.FONT,))
    lettering._drawn_by.cache_clear()
    texts, layer = Texts(monkeypatch), Layer("agreement", Agreement(), METHOD, Relevance(VALUES, 0.3, 0.1), None)
    for name in NAMES:
        entry = SlideEntry(SlideId(name), drawing.slide, None)
        with warnings.catch_warnings(action="error"):
            draw_layers(tmp_path / name, name, [layer], PLACES, entry, model=f"patient {name}", notes=[])
    lettering._drawn_by.cache_clear()
    first, _, second, _ = (" ".join(own) for own in texts.of)
    assert "\\u5207\\u7247-1: agreement" in first and "\\u5207\\u9762-1: agreement" in second and first != second
    assert caplog.text == ""


def test_a_name_is_written_in_another_font_where_one_has_its_letters(
    drawing: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    font = FontBuilder(1000, isTTF=True)  # a font of two letters, which are squares
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({0x5207: "square", 0x7247: "square"})
    pen = TTGlyphPen(None)
    for corner in ((0, 0), (0, 800), (800, 800), (800, 0)):
        (pen.lineTo if corner != (0, 0) else pen.moveTo)(corner)
    pen.closePath()
    square = pen.glyph()
    font.setupGlyf({".notdef": square, "square": square})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Squares Sans", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "squares.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "squares.ttf")
    for kept in (lettering._drawn_by, lettering._installed, caption._across):
        kept.cache_clear()
    layer = Layer("agreement", Agreement(), METHOD, Relevance(VALUES, 0.3, 0.1), None)
    texts, entry = Texts(monkeypatch), SlideEntry(SlideId(NAMES[0]), drawing.slide, None)
    with warnings.catch_warnings(action="error"):
        draw_layers(tmp_path, NAMES[0], [layer], PLACES, entry, model="m", notes=[])
    for kept in (lettering._drawn_by, lettering._installed, caption._across):
        kept.cache_clear()
    assert texts.of[0][0] == f"{NAMES[0]}: agreement"
    # The title begins with two black squares, each of its own, 0.8 of a letter wide.
    title = pixels(tmp_path / "overlay-agreement.png")[:60]
    squares = [run for run in runs((title < 60).all(axis=2).sum(axis=0) >= 14) if run[1] - run[0] >= 14]
    assert len(squares) == 2
    assert caplog.text == ""


def objects(drawing: Drawing) -> list[dict]:
    return json.loads((drawing.folder / "relevance.geojson").read_text())["features"]


def test_qupath_counts_from_where_the_slide_has_pixels(drawing: Drawing) -> None:
    assert drawing.drawn.origin == AT and drawing.notes == []
    with openslide.OpenSlide(drawing.slide) as slide:
        left, up = (int(slide.properties[f"openslide.bounds-{axis}"]) for axis in "xy")
        for feature, colour in zip(objects(drawing), COLOURS, strict=True):
            x, y = map(int, feature["geometry"]["coordinates"][0][0])
            shown = slide.read_region((left + x, up + y), 0, (SIDE, SIDE))  # as QuPath's server asks for it
            np.testing.assert_array_equal(np.asarray(shown)[10, 10, :3], colour)
            np.testing.assert_array_equal(np.asarray(shown)[SIDE - 10, SIDE - 10, :3], colour // 3)


def test_colours_in_qupath_are_of_sign_and_size(drawing: Drawing) -> None:
    told = [one["properties"] for one in objects(drawing)]
    for one, value in zip(told, VALUES, strict=True):
        np.testing.assert_allclose(one["color"], heated(value), atol=4)  # a map has 256 colours
        assert one["measurements"] == {"agreement": value}
        does = "more" if value >= 0 else "less"
        told = f"agrees {does} with the patient's expression, compared with the rest of this slide"
        assert one["classification"]["name"] == told
        red, _, blue = one["classification"]["color"]
        assert (red > blue) == (value >= 0)


@pytest.mark.parametrize(("name", "may"), [("S1", True), ("S1.mrxs", True), ("S1.SCN", True), ("S1.svs", False)])
def test_where_no_file_can_be_asked_a_slide_that_may_have_bounds_has_a_note(
    tmp_path: Path, name: str, may: bool
) -> None:
    assert may_have_bounds(name) == may
    layer = Layer("agreement", Agreement(), "contributions", Relevance(VALUES), None)
    notes: list[str] = []
    drawn = draw_layers(tmp_path, name, [layer], PLACES, None, model="m", notes=notes)
    assert drawn.origin is None and any("has bounds" in note for note in notes) == may
    first = json.loads((tmp_path / "relevance.geojson").read_text())["features"][0]
    assert first["geometry"]["coordinates"][0][0] == PLACES.coords[0].tolist()
    assert first["properties"]["classification"]["name"].endswith("compared with training patients' mean tile")
