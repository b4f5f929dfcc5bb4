"""What the page says of numbers is what the numbers say, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test
from made_predictions import survival
from report_inputs import make_inputs, scores_of

from mirror.data.selection import Criterion, Scope, Selection
from mirror.evaluation.report.chosen_genes import rows_by_choice
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.map_points import place_points
from mirror.evaluation.report.names import representation_label
from mirror.evaluation.report.opening import Opening, opening
from mirror.evaluation.report.pictures import signed
from mirror.evaluation.report.risk_split import median_follow_up, risk_groups, split_by_risk
from mirror.evaluation.report.verdicts import Verdict, chance, headline_intervals, headlines, verdicts
from mirror.evaluation.representations import is_learned, recipes


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs()


def opening_of(scores: pd.DataFrame) -> Opening:
    return opening(headlines(verdicts(scores)), scores=scores, patients=make_inputs().patients)


def test_seeds_are_averaged_within_their_fold():
    one = scores_of({"fused": [0.8, 0.9], "raw_fused": [0.7, 0.7]})
    other = one.assign(seed=1, value=one["value"] + 0.1)
    (verdict,) = verdicts(pd.concat([one, other]))
    assert verdict.differences == pytest.approx((0.1, 0.2))


def test_learned_ahead_everywhere_and_beyond_the_spread_is_called_ahead():
    scores = scores_of({"fused": [0.90, 0.91, 0.92], "slide": [0.5] * 3, "raw_fused": [0.80, 0.82, 0.81]})
    chosen = headlines(verdicts(scores))
    found, sure = opening_of(scores).found_exactly, opening_of(scores).sure_exactly
    assert chosen[0].outcome == "ahead"
    assert "0.910 by linear probe, 0.100 above the best baseline (both as given) with 0.810" in found
    assert "the learned representation is ahead in all 3 folds, by more than the spread over folds (sd 0.010)" in sure


def test_clinical_variables_beside_a_representation_do_not_make_its_headline():
    scores = scores_of(
        {"fused": [0.8, 0.8], "fused_clinical": [0.95, 0.95], "raw_fused": [0.7, 0.7], "chance": [0.99] * 2}
    )
    (verdict,) = verdicts(scores)
    assert (verdict.learned, verdict.baseline) == ("fused", "raw_fused")
    retrieval = scores_of({"fused": [0.8, 0.8]}).assign(task="retrieval")
    assert "retrieval" not in opening_of(pd.concat([scores, retrieval])).asked_exactly


def test_a_better_baseline_is_said_plainly():
    scores = scores_of({"fused": [0.80, 0.82, 0.81], "raw_fused": [0.5] * 3, "pca8_fused": [0.90, 0.91, 0.92]})
    found, sure = opening_of(scores).found_exactly, opening_of(scores).sure_exactly
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
def test_what_the_folds_do_not_settle_is_called_undecided(fused: list[float], said: str):
    scores = scores_of({"fused": fused, "raw_fused": [0.82, 0.80, 0.80] if fused[0] == 0.8 else [0.80] * len(fused)})
    chosen = headlines(verdicts(scores))
    sure = opening_of(scores).sure_exactly
    assert chosen[0].outcome == "undecided"
    assert "undecided" in sure and said in sure


def test_one_fold_claims_nothing():
    scores = scores_of({"fused": [0.9], "raw_fused": [0.5]})
    sure = opening_of(scores).sure_exactly
    assert "one fold only" in sure and "ahead" not in sure


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
    named = {
        name: representation_label(name)
        for name in ("fused", "raw_slide", "raw_fused", "pca32_fused", "abmil", "unheard")
    }
    assert list(named.values()) == ["Both", "Mean tile", "Both as given", "PCA 32, both", "ABMIL", "unheard"]


def test_rows_of_chosen_genes_are_baselines_with_names_for_people():
    assert representation_label("alignment-only_fused") == "Both, alignment-only"
    assert representation_label("alignment-only_aligned") == "Aligned modalities, alignment-only"
    named = {name: representation_label(name) for name in ("panel_expression", "panel_fused")}
    assert list(named.values()) == ["Expression, chosen genes", "Both, chosen genes"]
    assert not any(map(is_learned, named))


ROWS = tuple(recipes((4,), panel=True, clinical=True))


def choice(scope: Scope, criterion: Criterion = "label") -> Selection:
    return Selection(scope, criterion, (), (), (), (), (), (), "")


@pytest.mark.parametrize("scope", ["fold", "cohort"])
def test_every_row_is_spoken_of_once_where_genes_were_chosen(scope: Scope):
    said = rows_by_choice(ROWS, choice(scope))
    assert all(said.count(f"'{representation_label(name)}'") == 1 for name in ROWS)


def test_the_sentence_on_rows_says_what_the_choice_saw():
    assert "values and labels of test patients" in rows_by_choice(ROWS, choice("cohort"))
    beside = rows_by_choice(["fused", "slide", "other_fused", "other_slide", "raw_fused"], choice("cohort"))
    assert "'Both' and 'Both, other' read the chosen genes" in beside
    assert "'Slide' and 'Slide, other' read slides alone, but their training was shown these genes." in beside
    assert "values and survival of test patients" in rows_by_choice(ROWS, choice("cohort", "survival"))
    by_variance = rows_by_choice(ROWS, choice("cohort", "variance"))
    assert "values of test patients" in by_variance and "optimistic" not in by_variance
    assert "no row saw anything of patients it is judged on" in rows_by_choice(ROWS, choice("fold"))


def test_follow_up_of_patients_without_events_is_their_median_time():
    followed = pd.DataFrame({"time": [30.0, 10.0, 20.0], "event": pd.array([False] * 3, dtype="boolean")})
    assert median_follow_up(followed) == 20.0


def test_events_alone_do_not_measure_follow_up():
    followed = pd.DataFrame({"time": [10.0, 20.0], "event": pd.array([True] * 2, dtype="boolean")})
    assert median_follow_up(followed) is None
    assert median_follow_up(followed.head(0)) is None


def test_an_early_event_counts_as_followed_for_longer_than_it_was():
    followed = pd.DataFrame({"time": [1.0, 10.0, 20.0, 30.0], "event": pd.array([True, False, False, False])})
    assert median_follow_up(followed) == 20.0
    assert followed["time"].median() == 15.0


def test_chance_is_known_only_where_classes_do_not_matter_or_count_the_same():
    assert chance("auroc", classes=3) == chance("c_index", classes=0) == 0.5
    assert chance("balanced_accuracy", classes=4) == 0.25
    assert chance("accuracy", classes=4) is None and chance("balanced_accuracy", classes=0) is None


def test_a_headline_with_an_interval_says_it_and_whether_zero_is_within() -> None:
    names = {"fused": 5.0, "raw_fused": 0.0}
    predictions = pd.concat(
        [survival(seed=0, signal=signal).assign(representation=name) for name, signal in names.items()]
    )
    scores = scores_of({"fused": [0.8, 0.82, 0.81], "raw_fused": [0.5, 0.52, 0.51]}, task="survival", protocol="cox")
    intervals = headline_intervals(scores, predictions, seed=0, resamples=200)
    (key,) = intervals
    assert key == ("survival", "cox", "c_index")
    found = intervals[key]
    assert 0 < found.low < found.estimate < found.high
    (verdict,) = headlines(verdicts(scores))
    people = pd.DataFrame({"has_expression": [True] * 60})
    said = opening([verdict._replace(interval=found)], scores=scores, patients=people).sure_exactly
    assert f"between {signed(found.low)} and {signed(found.high)} (95 % interval; zero is outside it)" in said
    assert "not that of another training" in said
    close = verdict._replace(interval=found._replace(low=0.0003, high=0.02))
    said = opening([close], scores=scores, patients=people).sure_exactly
    assert "between just above zero and +0.020 (95 % interval; zero is outside it)" in said
    close = verdict._replace(interval=found._replace(low=-0.02, high=-0.0003))
    assert "and just below zero (95 %" in opening([close], scores=scores, patients=people).sure_exactly
    within = found._replace(low=-0.1)
    said = opening([verdict._replace(interval=within)], scores=scores, patients=people).sure_exactly
    assert "zero is within it" in said


def test_of_a_metric_where_lower_is_better_the_lower_side_leads() -> None:
    scores = scores_of({"fused": [0.10, 0.12], "slide": [0.3, 0.3], "raw_fused": [0.2, 0.2], "pca8_fused": [0.4, 0.4]})
    (verdict,) = verdicts(scores.assign(metric="calibration_error"))
    assert (verdict.learned, verdict.baseline) == ("fused", "raw_fused")
    assert verdict.differences == pytest.approx((0.1, 0.08))
    assert verdict.ahead == 2
