"""What pictures say, and that it fits into them."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mirror.explain.caption import MOST, Caption, fitted, write_rows
from mirror.explain.relevance import Method
from mirror.explain.wording import MEAN_TILE, REST_OF_SLIDE, meaning

TARGETS = ("class:B", "class:ER+ $low$", "risk", "agreement", "embedding")
METHODS = [method for method in get_args(Method) if method != "attention"]
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs", "Sc")), min_size=1, max_size=300)


@pytest.mark.parametrize(("target", "method"), list(product(TARGETS, METHODS)))
def test_both_colours_have_words_of_their_own_for_every_target_and_method(target: str, method: Method) -> None:
    found = meaning(target, method)
    assert found.more != found.less and found.compared in (REST_OF_SLIDE, MEAN_TILE)
    assert (found.compared == MEAN_TILE) == (method in ("contributions", "integrated-gradients"))
    assert found.legend == f"red {found.more}, blue {found.less}, compared with {found.compared}"
    name = target.removeprefix("class:")
    told = {"risk": "risk", "agreement": "expression", "embedding": "sets this slide apart"}.get(target, name)
    assert told in found.more and told in found.less
    # Nothing speaks against an embedding, and what points less to one class need not point to another.
    assert "against" not in found.legend and " for " not in found.legend


def test_pattern_says_where_and_the_others_what_moves_the_number() -> None:
    assert meaning("risk", "pattern").more == "points to a higher risk"
    for method in set(METHODS) - {"pattern"}:
        assert meaning("risk", method).less == "lowers the risk"


@settings(deadline=None, max_examples=50)
@given(NAMES, st.floats(40, 400), st.sampled_from([("normal", 10.0), ("bold", 13.0)]))
def test_text_is_within_its_width_and_its_ends_are_kept(text: str, width: float, look: tuple[str, float]) -> None:
    weight, size = look
    rows = fitted(text, width, size=size, weight=weight)
    figure = Figure(figsize=(10, 1), dpi=72)
    assert 1 <= len(rows) <= MOST
    for row in rows:
        drawn = figure.text(0, 0, row, size=size, weight=weight, family=["DejaVu Sans"], parse_math=False)
        assert drawn.get_window_extent().width <= width * 1.02 + 1 or len(row) == 1
    whole = "".join(rows)
    if "…" not in whole or "…" in text:
        assert whole.replace(" ", "") == text.replace(" ", "")
    else:
        before, _, after = whole.replace(" ", "").partition("…")
        assert text.replace(" ", "").startswith(before) and text.replace(" ", "").endswith(after)


def test_a_name_as_long_as_two_rows_loses_its_middle_and_the_lines_below_move_down() -> None:
    short, long = (Caption(name, ("model m",)) for name in ("S1: risk", "TCGA-3C-AALI-01Z-00-DX1." * 9 + ": risk"))
    (rows, high), (more, higher) = short.laid(400), long.laid(400)
    assert [row.text for row in rows] == ["S1: risk", "model m"] and len(more) == 3
    assert "…" in more[0].text + more[1].text and more[1].text.endswith(": risk")
    assert higher - high == pytest.approx(more[2].down - rows[1].down) and higher > high
    figure = Figure(figsize=(400 / 72, 2))
    write_rows(figure, more)
    assert [text.get_text() for text in figure.texts] == [row.text for row in more]
