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

from mirror.evaluation.pictures import (
    Dots,
    Survivors,
    curve_picture,
    difference_picture,
    map_picture,
    score_picture,
    signed,
    survival_picture,
)

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


@cache
def pictures() -> dict[str, str]:
    return {
        "scores": score_picture(ROWS, reference=0.75, chance=0.5, description="scores"),
        "differences": difference_picture(ROWS[:1], description="differences"),
        "curves": curve_picture([[(1, 2.0), (2, 0.001)], [(1, 3.0), (2, 0.002)]], description="curves"),
        "survival": survival_picture(groups(), until=80.0, description="survival"),
        "map": map_picture(points(), colours={"A & <b>": "#0072B2", "$B_1$": "#D55E00"}, description='a "map" of <b>'),
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


def test_a_crowded_map_becomes_one_small_picture():
    crowd = points(6000)
    svg = map_picture(crowd, colours={"A & <b>": "#0072B2", "$B_1$": "#D55E00"}, description="crowd")
    assert "data:image/png;base64," in svg
    assert len(svg) < 1_000_000


def test_a_single_epoch_is_a_dot_not_nothing():
    assert "<use" in curve_picture([[(1, 2.0)]], description="one")


@pytest.mark.parametrize(("value", "text"), [(0.1234, "+0.123"), (-0.02, "\N{MINUS SIGN}0.020"), (-0.0001, "0.000")])
def test_signs_are_written_out_unless_nothing_is_left(value: float, text: str):
    assert signed(value) == text
