"""The report says what the numbers say, shows user text as text, and loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_inputs import make_inputs, scores_of

from mirror.errors import DataError
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.page import LISTED, render_report
from mirror.evaluation.scores import summarise

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Every tag with its attributes, the text a reader sees, and the rows of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == name)


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs()


@pytest.fixture(scope="module")
def page(inputs: ReportInputs) -> str:
    return render_report(inputs)


def test_nothing_is_loaded_from_anywhere(page: str):
    for tag, attributes in Page(page).tags:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:60]}>"
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_warnings_stand_above_everything_else_and_are_text(inputs: ReportInputs):
    page = render_report(replace(inputs, warnings=["First.", EVIL]))
    above = page.split("</header>")[0]
    assert "<li>First.</li><li>&lt;script&gt;alert" in above
    assert above.index("First.") < above.index("<nav")
    assert 'aria-label="Warnings"' not in render_report(replace(inputs, warnings=[]))


def test_equal_inputs_give_equal_bytes(page: str):
    assert render_report(make_inputs()) == page


def test_user_text_is_never_markup(inputs: ReportInputs):
    patients = inputs.patients.assign(label=inputs.patients["label"].replace("class 0", EVIL))
    embedding = inputs.embedding.assign(label=inputs.embedding["label"].replace("class 0", EVIL))
    excluded = inputs.excluded.assign(item=EVIL, reason=EVIL, source=EVIL)
    evil = replace(
        inputs, name=EVIL, preset=EVIL, config_yaml=EVIL, notes=[EVIL], patients=patients, embedding=embedding
    )
    evil = replace(evil, excluded=excluded, facts={EVIL: EVIL}, histories={(0, 0): [{"epoch": 0, EVIL: 1.0}]})
    html = render_report(evil)
    assert "<script" not in html
    assert "".join(Page(html).text).count(EVIL) >= 9


def test_table_shows_the_summary_of_the_scores(inputs: ReportInputs, page: str):
    summary = summarise(inputs.scores).set_index(["protocol", "metric", "representation"])
    rows = [row[1:] for row in Page(page).rows if row and row[0] == "PCA 8, both"][:2]
    shown = [[cell.lstrip("\N{BLACK DIAMOND}\xa0").split("±") for cell in row] for row in rows]
    for cells, metric in zip(shown, ("auroc", "accuracy"), strict=True):
        wanted = [summary.loc[(protocol, metric, "pca8_fused")] for protocol in ("linear", "shot10")]
        assert cells == [[f"{one['mean']:.3f}", f"{one['sd']:.3f}"] for one in wanted]


def test_a_missing_fold_is_said_beside_the_value(inputs: ReportInputs):
    scores = scores_of({"fused": [0.8, 0.9, np.nan], "raw_fused": [0.7, 0.8, 0.9]})
    page = Page(render_report(replace(inputs, scores=scores)))
    assert page.row("Both")[1] == "0.850±0.071n=2"
    assert "n=" not in page.row("Both as given")[1]


def test_a_value_that_no_fold_has_leaves_an_empty_cell(inputs: ReportInputs):
    values = {"fused": [0.8, 0.9], "raw_fused": [0.7, 0.8]}
    linear, shots = scores_of(values), scores_of({**values, "fused": [np.nan] * 2}, protocol="shot10")
    page = Page(render_report(replace(inputs, scores=pd.concat([linear, shots]))))
    assert page.row("Both")[1:] == ["0.850±0.071", "\N{EN DASH}"]


def test_without_a_test_the_page_does_not_speak_of_significance(page: str):
    text = " ".join(Page(page).text)
    assert "no test of significance was made" in text
    assert "significan" not in text.replace("no test of significance was made", "")


@pytest.mark.parametrize(("task", "word"), [("subtyping", "Survival by predicted risk"), ("survival", "10-shot")])
def test_a_missing_task_leaves_no_hole(inputs: ReportInputs, task: str, word: str):
    only = replace(inputs, scores=inputs.scores[inputs.scores["task"] == task])
    if task == "subtyping":
        only = replace(only, predictions=inputs.predictions.drop(columns="risk"))
        only = replace(only, patients=inputs.patients.assign(time=np.nan, event=pd.NA))
    else:
        only = replace(only, patients=inputs.patients.assign(label=None))
    text = " ".join(Page(render_report(only)).text)
    assert word not in text.split("What was run")[0]


def test_a_cohort_of_slides_alone_has_a_report(inputs: ReportInputs):
    alone = replace(
        inputs,
        patients=inputs.patients.assign(has_expression=False),
        scores=inputs.scores[inputs.scores["representation"].isin(["slide", "raw_slide"])],
        predictions=inputs.predictions[inputs.predictions["representation"].isin(["slide", "raw_slide"])],
        embedding=inputs.embedding[inputs.embedding["modality"] == "slide"],
    )
    text = " ".join(Page(render_report(alone)).text)
    assert "learned from the slides of 60 patients" in text
    assert "Slide (learned, Cox model)" in text


def test_nothing_evaluated_is_said(inputs: ReportInputs):
    empty = replace(inputs, scores=inputs.scores.head(0), predictions=pd.DataFrame(), embedding=pd.DataFrame())
    text = " ".join(Page(render_report(replace(empty, histories={}))).text)
    assert "neither leads" in text


def test_rare_classes_share_a_colour_when_there_are_many():
    html = render_report(make_inputs(classes=12))
    assert "5 more" in html
    assert Page(html).row("class 11")[2] == "5"


def test_one_fold_has_a_report():
    assert "±" not in "".join(cell for row in Page(render_report(make_inputs(folds=1))).rows for cell in row)


def test_the_longest_list_of_exclusions_is_cut_with_a_word(inputs: ReportInputs):
    many = pd.concat([inputs.excluded] * 600, ignore_index=True)
    counts = {"slide": {"given": 2460, "kept": 60, "excluded": 2400}}
    html = render_report(replace(inputs, excluded=many, counts=counts))
    assert f"The first {LISTED:,}; excluded.csv has them all." in html
    assert len(html) < 2_000_000


def test_scores_of_two_presets_are_refused(inputs: ReportInputs):
    mixed = pd.concat([inputs.scores, inputs.scores.assign(preset="other")])
    with pytest.raises(DataError, match=r"demo \(published\), demo \(other\)"):
        render_report(replace(inputs, scores=mixed))
