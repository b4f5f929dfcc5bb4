"""The report says what the numbers say, shows user text as text, and loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test

from mirror.errors import DataError
from mirror.evaluation.report import (
    LISTED,
    ReportInputs,
    Verdict,
    headlines,
    opening,
    place_points,
    render_report,
    representation_label,
    risk_groups,
    split_by_risk,
    verdicts,
)
from mirror.evaluation.scores import COLUMNS, summarise

REPRESENTATIONS = ("slide", "expression", "fused", "raw_slide", "raw_fused", "pca8_fused")
EVIL = "<script>alert('x')</script>"


def scores_of(values: dict[str, list[float]], *, task: str = "subtyping", protocol: str = "linear") -> pd.DataFrame:
    metric = "c_index" if task == "survival" else "auroc"
    rows = [
        ("demo", fold, 0, "published", name, protocol, task, metric, value)
        for name, by_fold in values.items()
        for fold, value in enumerate(by_fold)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def make_inputs(*, patients: int = 60, folds: int = 3, classes: int = 2, seed: int = 0) -> ReportInputs:
    rng = np.random.default_rng(seed)
    names = [f"P-{number:03d}" for number in range(patients)]
    label = [f"class {number % classes}" for number in range(patients)]
    people = pd.DataFrame({"patient": names, "label": label, "time": rng.exponential(30, patients)})
    people["event"] = pd.array(rng.random(patients) < 0.6, dtype="boolean")
    people["slides"], people["has_expression"] = 1, [number % 10 != 0 for number in range(patients)]
    people.loc[3, "event"], people.loc[3, "time"] = pd.NA, np.nan
    parts = []
    for task, protocols, metrics in (
        ("subtyping", ("linear", "shot10"), ("accuracy", "auroc")),
        ("survival", ("cox", "discrete"), ("c_index",)),
    ):
        parts += [
            ("demo", fold, 0, "published", name, protocol, task, metric, rng.uniform(0.55, 0.95))
            for fold in range(folds)
            for name in REPRESENTATIONS
            for protocol in protocols
            for metric in metrics
        ]
    predictions = pd.DataFrame(
        [
            {"patient": name, "fold": number % folds, "seed": 0, "representation": representation, "protocol": protocol}
            | {"task": "survival", "draw": 0, "risk": rng.normal()}
            for number, name in enumerate(names)
            for representation in REPRESENTATIONS
            for protocol in ("cox", "discrete")
        ]
    )
    history = [{"epoch": epoch, "total": 2.0 / (1 + epoch), "alignment": 3.0 / (1 + epoch)} for epoch in range(5)]
    points = [
        {
            "patient": name,
            "modality": modality,
            "label": label[number],
            "role": "train" if number % folds else "test",
        }
        | {f"v{place}": value for place, value in enumerate(rng.normal(size=6))}
        for number, name in enumerate(names)
        for modality in ("slide", "expression")
    ]
    excluded = pd.DataFrame(
        [("slide", f"S-{number}", "no features", "slides.csv") for number in range(4)],
        columns=["kind", "item", "reason", "source"],
    )
    return ReportInputs(
        name="demo",
        preset="published",
        config_yaml="name: demo\n",
        counts={"slide": {"given": patients + 4, "kept": patients, "excluded": 4}},
        excluded=excluded,
        patients=people,
        notes=["One is an event."],
        scores=pd.DataFrame(parts, columns=list(COLUMNS)),
        predictions=predictions,
        histories={(0, fold): history for fold in range(folds)},
        embedding=pd.DataFrame(points),
        facts={"date": "2025-01-01", "torch": "2.0"},
    )


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
    row = Page(page).row("PCA 8, both")
    shown = [cell.lstrip("\N{BLACK DIAMOND}\xa0").split("±") for cell in row[1:]]
    order = [(p, m) for p in ("linear", "shot10") for m in ("auroc", "accuracy")]
    wanted = [summary.loc[(*column, "pca8_fused")] for column in order]
    assert shown == [[f"{one['mean']:.3f}", f"{one['sd']:.3f}"] for one in wanted]


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


def test_seeds_are_averaged_within_their_fold():
    one = scores_of({"fused": [0.8, 0.9], "raw_fused": [0.7, 0.7]})
    other = one.assign(seed=1, value=one["value"] + 0.1)
    (verdict,) = verdicts(pd.concat([one, other]))
    assert verdict.differences == pytest.approx((0.1, 0.2))


def test_learned_ahead_everywhere_and_beyond_the_spread_is_called_ahead(inputs: ReportInputs):
    scores = scores_of({"fused": [0.90, 0.91, 0.92], "slide": [0.5] * 3, "raw_fused": [0.80, 0.82, 0.81]})
    chosen = headlines(verdicts(scores))
    _, found, sure = opening(replace(inputs, scores=scores), chosen)
    assert chosen[0].outcome == "ahead"
    assert "0.910 by linear probe, 0.100 above the best baseline (both as given) with 0.810" in found
    assert "the learned representation is ahead in all 3 folds, by more than the spread over folds (sd 0.010)" in sure


def test_a_better_baseline_is_said_plainly(inputs: ReportInputs):
    scores = scores_of({"fused": [0.80, 0.82, 0.81], "raw_fused": [0.5] * 3, "pca8_fused": [0.90, 0.91, 0.92]})
    _, found, sure = opening(replace(inputs, scores=scores), headlines(verdicts(scores)))
    assert "0.100 below the best baseline (PCA 8, both) with 0.910" in found
    assert "the baseline is ahead in all 3 folds" in sure


@pytest.mark.parametrize(
    ("fused", "said"),
    [
        ([0.80, 0.90, 0.81], "learned ahead in 2 of 3 folds, the difference within its spread"),
        ([0.801, 0.90, 0.801], "learned ahead in 3 of 3 folds, the difference within its spread"),
        ([0.79, 0.84, 0.84, 0.84], "learned ahead in 3 of 4 folds, the difference larger than its spread"),
    ],
    ids=["folds disagree", "agree within the spread", "disagree beyond the spread"],
)
def test_what_the_folds_do_not_settle_is_called_undecided(inputs: ReportInputs, fused: list[float], said: str):
    scores = scores_of({"fused": fused, "raw_fused": [0.82, 0.80, 0.80] if fused[0] == 0.8 else [0.80] * len(fused)})
    chosen = headlines(verdicts(scores))
    sure = opening(replace(inputs, scores=scores), chosen).sure
    assert chosen[0].outcome == "undecided"
    assert "undecided" in sure and said in sure


def test_one_fold_claims_nothing(inputs: ReportInputs):
    scores = scores_of({"fused": [0.9], "raw_fused": [0.5]})
    sure = opening(replace(inputs, scores=scores), headlines(verdicts(scores))).sure
    assert "one fold only" in sure and "ahead" not in sure


def test_without_a_test_the_page_does_not_speak_of_significance(page: str):
    text = " ".join(Page(page).text)
    assert "no test of significance was made" in text
    assert "significan" not in text.replace("no test of significance was made", "")


def test_differences_come_from_folds_that_both_sides_have():
    (verdict,) = verdicts(scores_of({"fused": [0.9, np.nan, 0.8], "raw_fused": [0.7, 0.9, 0.7]}))
    assert verdict == Verdict(
        "subtyping", "linear", "auroc", "fused", pytest.approx(0.85), "raw_fused", 0.7, pytest.approx((0.2, 0.1))
    )


def test_risk_groups_are_halves_of_each_fold(inputs: ReportInputs):
    predicted = inputs.predictions.query("representation == 'fused' and protocol == 'cox'")
    groups = risk_groups(predicted)
    risk, fold = (predicted.set_index("patient")[name] for name in ("risk", "fold"))
    for number in fold.unique():
        members = fold.index[fold == number]
        assert (groups[members] == "high").sum() == len(members) // 2
        assert risk[members][groups[members] == "high"].min() > risk[members][groups[members] == "low"].max()


def test_risk_groups_do_not_know_the_outcome(inputs: ReportInputs):
    predicted = inputs.predictions.query("protocol == 'cox'")
    turned = inputs.patients.assign(event=~inputs.patients["event"], time=inputs.patients["time"].to_numpy()[::-1])
    turned = turned.assign(time=turned["time"].fillna(1.0).where(inputs.patients["time"].notna()))
    before, after = (split_by_risk(predicted, people, representation="fused") for people in (inputs.patients, turned))
    assert before is not None and after is not None
    assert len(before.low.months) == len(after.low.months) and len(before.high.months) == len(after.high.months)
    assert before.low.events.sum() == (~after.low.events).sum()
    assert before.p != after.p


def test_a_model_that_cannot_tell_patients_apart_splits_nobody(inputs: ReportInputs):
    predicted = inputs.predictions.query("protocol == 'cox'").copy()
    predicted.loc[predicted["fold"] == 0, "risk"] = 0.25
    groups = risk_groups(predicted.query("representation == 'fused'"))
    assert (groups == "none").sum() == 20
    split = split_by_risk(predicted, inputs.patients, representation="fused")
    # Patient 3 is of fold 0 and has no follow-up.
    assert split is not None and split.unsplit == 19


def test_log_rank_is_that_of_lifelines(inputs: ReportInputs):
    predicted = inputs.predictions.query("representation == 'fused' and protocol == 'cox'")
    table = predicted.merge(inputs.patients, on="patient").dropna(subset=["time"])
    high = table["risk"] > table["fold"].map(predicted.groupby("fold")["risk"].median())
    oracle = logrank_test(
        table.loc[high, "time"],
        table.loc[~high, "time"],
        table.loc[high, "event"].astype(bool),
        table.loc[~high, "event"].astype(bool),
    )
    split = split_by_risk(predicted, inputs.patients, representation="fused")
    assert split is not None and split.p == pytest.approx(oracle.p_value, abs=1e-12)


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
    assert "5 rarer classes" in html
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


def test_map_axes_are_fitted_on_training_points(inputs: ReportInputs):
    before = place_points(inputs.embedding)
    moved = inputs.embedding.copy()
    vectors = [name for name in moved if str(name).startswith("v")]
    test = moved["role"] == "test"
    moved.loc[test, vectors] *= 7.0
    after = place_points(moved)
    train = (~test).to_numpy()
    np.testing.assert_allclose(before.loc[train, ["x", "y"]], after.loc[train, ["x", "y"]])


def test_map_spreads_training_points_as_their_principal_components(inputs: ReportInputs):
    train = inputs.embedding[(inputs.embedding["role"] == "train") & (inputs.embedding["modality"] == "slide")]
    values = train.filter(like="v").drop(columns="modality", errors="ignore").select_dtypes("number").to_numpy()
    standard = (values - values.mean(0)) / values.std(0)
    oracle = np.linalg.eigvalsh(standard.T @ standard)[::-1][:2]
    placed = place_points(train)
    np.testing.assert_allclose((placed[["x", "y"]] ** 2).sum(), oracle)


def test_representations_have_names_for_people():
    named = {name: representation_label(name) for name in ("fused", "raw_slide", "raw_fused", "pca32_fused", "abmil")}
    assert list(named.values()) == ["Both", "Mean tile", "Both as given", "PCA 32, both", "abmil"]
