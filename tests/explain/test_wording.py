"""What pictures say, and that it fits into them."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mirror.explain import gene_picture
from mirror.explain.caption import LINE, MOST, Caption, fitted, write_rows
from mirror.explain.lettering import families
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


@settings(deadline=None, max_examples=30)
@given(NAMES.filter(lambda text: text.strip()), st.floats(60, 400))
def test_what_warns_of_a_picture_is_whole_at_any_width(text: str, width: float) -> None:
    rows, high = Caption("S1: risk", (), (text,)).laid(width)
    told = "".join(row.text for row in rows if row.size == LINE)
    assert told.replace(" ", "") == text.replace(" ", "") and all(row.down < high for row in rows)
    figure = Figure(figsize=(10, 1), dpi=72)
    for row in rows:
        look = {"size": row.size, "weight": row.weight, "family": families(row.text, row.weight)}
        drawn = figure.text(0, 0, row.text, parse_math=False, **look)
        assert drawn.get_window_extent().width <= width * 1.02 + 1 or len(row.text) == 1


@pytest.mark.parametrize(
    ("target", "unit", "says"),
    [
        ("class:ILC", "log-odds", "class ILC likelier with more of the gene"),
        ("risk", "log hazard", "a higher risk with more of the gene"),
        ("agreement", "cosine", "adds to the agreement"),
    ],
)
def test_the_picture_of_genes_says_of_whom_it_is_and_which_way_is_which(
    monkeypatch: pytest.MonkeyPatch, target: str, unit: str, says: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gene_picture, "write_rows", lambda _, rows: said.extend(row.text for row in rows))
    row = {"effect": 0.5, "size": 0.1, "low": 0.25, "high": 0.75, "folds": 3, "runs": 3, "target": target}
    genes = pd.DataFrame([{"gene": f"GENE{number}", **row} for number in range(30)])
    about = Caption(f"brca: {target}", ("the expression, 116 test patients of 3 runs",))
    content = gene_picture.gene_picture(genes, about, target=target, unit=unit, folds=3)
    assert content[:4] == b"\x89PNG"
    told = " ".join(said)
    assert f"brca: {target}" in told and "116 test patients" in told and says in told
    assert "the 20 largest effects of 30 genes; band: 95 % interval over 3 folds" in told
