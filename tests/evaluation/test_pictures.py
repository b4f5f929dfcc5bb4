"""Pictures are one self-contained SVG element each, equal for equal numbers, with text that stays text."""

from __future__ import annotations

import re
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from mirror.evaluation.report.by_site import SiteScore
from mirror.evaluation.report.curves import Roc, recall_picture, roc_picture, shot_picture, site_picture
from mirror.evaluation.report.drawing import text_width
from mirror.evaluation.report.embedding_map import MOST, Colouring, colouring, draw_map
from mirror.evaluation.report.pictures import (
    Dots,
    Survivors,
    curve_picture,
    difference_picture,
    score_picture,
    signed,
    survival_picture,
)
from mirror.evaluation.report.roc import ACROSS, RocCurve
from mirror.evaluation.report.shots import ShotCurve

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
ROWS = [Dots("Both", (0.8, 0.9), True), Dots("Mean tile", (0.7, 0.8), False)]


def groups() -> list[Survivors]:
    rng = np.random.default_rng(1)
    return [
        Survivors(name, rng.exponential(scale, 40), rng.random(40) < 0.7) for name, scale in (("low", 50), ("high", 20))
    ]


def points(count: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "patient": [f"P{number // 2}" for number in range(count)],
            "modality": ["slide", "expression"] * (count // 2),
            "label": ["A & <b>"] * (count // 2) + ["$B_1$"] * (count // 2),
            "role": ["train", "train", "test", "test", "train"] * (count // 5),
            "x": rng.normal(size=count),
            "y": rng.normal(size=count),
        }
    )


ROC = RocCurve(ACROSS**0.3, ACROSS**0.5, ACROSS**0.2, 0.77, 40, 12)
SHOTS = ShotCurve("fused", True, (1, 2, 10), (0.6, 0.7, 0.8), (None, (0.6, 0.8), (0.7, 0.9)), 0.9)
SITE = SiteScore("A1", 40, "9 ILC", 0.7, 0.5, 0.9)


def by_label() -> Colouring:
    labels = points().drop_duplicates("patient").set_index("patient")["label"]
    return colouring("label", "Label", labels, missing="none")


@cache
def pictures() -> dict[str, str]:
    return {
        "scores": score_picture(ROWS, reference=0.75, chance=0.5, description="scores"),
        "differences": difference_picture(ROWS[:1], description="differences"),
        "curves": curve_picture([[(1, 2.0), (2, 0.001)], [(1, 3.0), (2, 0.002)]], description="curves"),
        "survival": survival_picture(groups(), until=80.0, description="survival"),
        "map": str(draw_map(points(), [by_label()], description='a "map" of <b>').svg),
        "roc": roc_picture([Roc("Both", True, ROC), Roc("Mean & <b>", False, ROC)], description="roc"),
        "shots": shot_picture([SHOTS, SHOTS._replace(representation="raw_slide", learned=False)], description="shots"),
        "sites": site_picture([SITE, SITE._replace(site="<b>")], overall=0.8, metric="AUROC", description="sites"),
        "recall": recall_picture([("one way", [1, 1, 3, 7]), ("the other", [1, 2, 2, 9])], description="recall"),
    }


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg).replace("<svg", f"<svg {XLINK}", 1))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parse(svg).iter("text")]


@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_one_described_element_that_refers_only_to_itself(name: str):
    svg = pictures()[name]
    root = parse(svg)
    known = {f"#{element.get('id')}" for element in root.iter() if element.get("id")}
    references = {value for element in root.iter() for key, value in element.items() if key.endswith("href")}
    references |= set(re.findall(r"url\(([^)]*)\)", svg))
    assert root.tag == "svg" and root.get("role") == "img" and root.get("aria-label")
    assert references <= known
    assert "http" not in svg and "<style" not in svg and "font-family" not in svg


def test_equal_numbers_give_equal_bytes():
    assert pictures.__wrapped__() == pictures.__wrapped__()


def test_pictures_of_one_page_share_no_ids():
    found = [identity for svg in pictures().values() for identity in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(found) == len(set(found))


def test_drawing_leaves_the_style_of_others_alone():
    before = dict(mpl.rcParams)
    pictures.__wrapped__()
    assert dict(mpl.rcParams) == before


def test_labels_of_users_are_text_not_markup_nor_formulas():
    svg = score_picture([Dots("<b> & $x^2$", (0.5, 0.6), True)], reference=None, chance=None, description="<i>")
    assert "<b> & $x^2$" in texts(svg)
    assert parse(svg).get("aria-label") == "<i>"


def test_means_are_written_beside_their_rows():
    assert {"0.850", "0.750"} <= set(texts(pictures()["scores"]))


def test_chance_out_of_sight_is_not_drawn():
    near = score_picture(ROWS, reference=None, chance=0.7, description="near")
    far = score_picture(ROWS, reference=None, chance=0.2, description="far")
    assert " chance" in texts(near) and " chance" not in texts(far)


def test_numbers_at_risk_are_those_still_followed():
    shown = texts(pictures()["survival"])
    for group in groups():
        row = shown.index(group.label, shown.index("at risk"))
        ticks = (0, 24, 48, 72)
        oracle = KaplanMeierFitter().fit(group.months, group.events).event_table["at_risk"]
        wanted = [int(oracle[oracle.index >= tick].max()) if (oracle.index >= tick).any() else 0 for tick in ticks]
        wanted[0] = len(group.months)
        assert shown[row + 1 : row + 5] == [str(count) for count in wanted]


def test_a_single_epoch_is_a_dot_not_nothing():
    assert "<use" in curve_picture([[(1, 2.0)]], description="one")


@pytest.mark.parametrize(("value", "text"), [(0.1234, "+0.123"), (-0.02, "\N{MINUS SIGN}0.020"), (-0.0001, "0.000")])
def test_signs_are_written_out_unless_nothing_is_left(value: float, text: str):
    assert signed(value) == text


def test_every_point_of_a_map_has_the_colour_of_its_class_under_every_choice():
    names = points()["patient"].unique()
    folds = pd.Series([f"fold {number % 2}" for number in range(len(names))], index=names)
    drawn = draw_map(points(), [by_label(), colouring("fold", "Fold", folds, missing="none")], description="map")
    marks = [one for one in parse(drawn.svg).iter() if "p " in f"{one.get('class')} " and one.get("fill")]
    assert len(marks) == len(points())
    for key, legend in ((one.key, one.legend) for one in drawn.colourings):
        for place, colour in enumerate(legend.values()):
            assert f"#map:has(#by-{key}:checked) .{key}{place} {{ fill: {colour}; }}" in drawn.style
    # Test patients come last, on top of the others, and say who they are.
    told = [one for one in marks if one.find("title") is not None]
    assert len(told) == (points()["role"] == "test").sum() and marks[-1] is told[-1]


def test_of_a_crowded_map_whole_patients_are_left_out():
    crowd = points(2 * MOST + 100)
    drawn = draw_map(crowd, [], description="crowd")
    marks = [one for one in parse(drawn.svg).iter() if one.tag in ("circle", "rect")]
    assert len(marks) <= MOST and drawn.left_out > 0
    assert sum(one.tag == "circle" for one in marks) == sum(one.tag == "rect" for one in marks)


def test_the_rarest_classes_share_the_grey_with_those_who_have_none():
    values = pd.Series([*"aaabbbccddeeffghi", None], index=[f"P{number}" for number in range(18)])
    found = colouring("label", "Label", values, missing="no label")
    assert list(found.legend) == [*"abcdefg", "2 more or no label"]
    assert len(set(found.legend.values())) == 8
    assert list(found.classes[-3:]) == [7, 7, 7]


def test_long_names_are_not_cut_off() -> None:
    name, group = "Both as given, with clinical variables", "prototype 4 of many"
    rows = [Dots(name, (0.8, 0.9), True), Dots("Mean tile", (0.7, 0.8), False)]
    survivors = [groups()[0]._replace(label=group), groups()[1]]
    for picture, label, size, weight in (
        (score_picture(rows, reference=None, chance=None, description="d"), name, 10, "bold"),
        (survival_picture(survivors, until=80.0, description="d"), group, 9.5, "normal"),
    ):
        # Its last line in the picture: the name in the margin, which ends where x says.
        (*_, beside) = [element for element in parse(picture).iter() if (element.text or "") == label]
        assert "text-anchor: end" in str(beside.get("style"))
        assert float(str(beside.get("x"))) > text_width(label, size=size, weight=weight)


def test_a_bar_ends_where_its_interval_ends() -> None:
    row = Dots("A\nb", (0.0, 0.1), True, (0.02, 0.08))
    (bar,) = re.findall(r"<path[^>]*stroke-width: 8[^>]*>", difference_picture([row], description="d"))
    assert "square" not in bar
    (line,) = re.findall(
        r"<path[^>]*stroke-width: 1.6[^>]*>", score_picture([row], reference=None, chance=None, description="d")
    )
    assert "square" not in line
