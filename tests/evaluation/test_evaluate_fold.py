"""One fold, judged: complete, counted, blind to test patients, independent of order and jobs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mirror.config import EvaluationConfig
from mirror.errors import DataError, LeakError
from mirror.evaluation.bootstrap import pooled_interval
from mirror.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    RETRIEVAL_METRICS,
    SURVIVAL_METRICS,
    c_index,
    classification_metrics,
)
from mirror.evaluation.protocols import FoldResult, evaluate_fold
from mirror.evaluation.representations import PatientTable, recipes
from mirror.types import Fold

CONFIG = EvaluationConfig(components=(4,), shots=(5,), draws=3, inner_folds=3)
NAMES = tuple(recipes(CONFIG.components, clinical=True))
JUDGED = tuple(name for name in NAMES if name != "aligned")


def cohort(*, patients: int = 120, seed: int = 0, signal: float = 1.0) -> PatientTable:
    rng = np.random.default_rng(seed)
    classes = ("IDC", "ILC")
    codes = rng.permutation(np.arange(patients) % 2)
    hidden = rng.normal(size=patients) + signal * (2 * codes - 1)
    views = {
        name: np.outer(hidden, rng.normal(size=width)) / 2 + rng.normal(size=(patients, width))
        for name, width in (("slide", 8), ("expression", 8), ("raw_slide", 12), ("raw_expression", 150))
    }
    views["fused"] = np.hstack([views["slide"], views["expression"]])
    for name in ("slide", "expression"):
        views[f"align_{name}"] = views[name] + np.sign(hidden)[:, None]
    own = np.random.default_rng(seed + 1)
    views["clinical"] = np.column_stack([hidden + own.normal(size=patients) / 2, own.random(patients) < 0.5])
    return PatientTable(
        patients=tuple(f"P{row:03d}" for row in range(patients)),
        views=views,
        labels=tuple(classes[code] for code in codes),
        classes=classes,
        time=rng.exponential(np.exp(-signal * hidden / 2)) * 30 + 0.1,
        event=rng.random(patients) < 0.6,
    )


def halves(table: PatientTable, *, number: int = 0) -> Fold:
    return Fold(number, table.patients[:80], table.patients[80:])


def scores(result: FoldResult) -> pd.DataFrame:
    return pd.DataFrame(result.scores).set_index(["representation", "protocol", "metric"])


@pytest.fixture(scope="module")
def whole() -> FoldResult:
    table = cohort()
    return evaluate_fold(table, halves(table), CONFIG, seed=0)


def test_every_cell_of_the_table_is_there_once(whole: FoldResult) -> None:
    found = [(s.representation, s.protocol, s.task, s.metric) for s in whole.scores]
    expected = [
        (n, p, "subtyping", m) for n in JUDGED for p in ("linear", "shot5", "prototype") for m in CLASSIFICATION_METRICS
    ]
    expected += [(n, p, "survival", m) for n in JUDGED for p in ("cox", "discrete") for m in SURVIVAL_METRICS]
    directions = ("slide_to_expression", "expression_to_slide")
    expected += [(n, p, "retrieval", m) for n in ("aligned", "chance") for p in directions for m in RETRIEVAL_METRICS]
    assert sorted(found) == sorted(expected)
    assert not whole.notes


def test_a_signal_is_found_by_every_protocol(whole: FoldResult) -> None:
    table = scores(whole)["value"]
    assert table.xs("auroc", level="metric").min() > 0.75
    assert table.xs("c_index", level="metric").min() > 0.6
    for protocol in ("slide_to_expression", "expression_to_slide"):
        assert table["aligned", protocol, "recall@10"] > table["chance", protocol, "recall@10"] == 0.25
        assert table["aligned", protocol, "median_rank"] < table["chance", protocol, "median_rank"] == 20.5


def test_scores_are_recomputed_from_the_predictions(whole: FoldResult) -> None:
    table = scores(whole)["value"]
    for (name, protocol), part in whole.predictions.groupby(["representation", "protocol"]):
        if name == "aligned":
            continue
        if protocol in ("cox", "discrete"):
            found = c_index(part["time"].to_numpy(), part["event"].to_numpy(bool), part["risk"].to_numpy())
            assert table[name, protocol, "c_index"] == found
            continue
        draws = [
            classification_metrics(
                (draw["label"] == "ILC").to_numpy(np.int64), draw[["probability_IDC", "probability_ILC"]].to_numpy()
            )
            for _, draw in part.groupby("draw")
        ]
        assert len(draws) == (3 if protocol == "shot5" else 1)
        for metric in draws[0]:
            assert table[name, protocol, metric] == pytest.approx(np.mean([draw[metric] for draw in draws]))


def test_every_score_is_the_estimate_that_its_interval_is_of(whole: FoldResult) -> None:
    stamped = whole.predictions.assign(cohort="demo", fold=0, seed=0, preset="published")
    cells = dict(list(stamped.groupby(["representation", "protocol"])))
    rng = np.random.default_rng(0)
    for score in (score for score in whole.scores if score.representation != "chance"):
        cell = cells[score.representation, score.protocol]
        found = pooled_interval(cell, metric=score.metric, resamples=2, rng=rng)
        assert found.estimate == pytest.approx(score.value, abs=1e-12), score


def test_horizons_that_training_patients_do_not_reach_are_left_out_and_said() -> None:
    table = cohort()
    short = replace(table, time=np.minimum(table.time, 47.0 - 1e-3 * np.arange(120)), event=table.event)
    result = evaluate_fold(short, halves(table), CONFIG, seed=0, representations=("slide",))
    assert [note for note in result.notes if "cox" in note] == [
        "fold 0, slide, cox: fewer than 5 training patients are followed beyond 48, 60 months, so time_auroc and "
        "integrated_brier do not look there"
    ]
    assert {name for name in result.predictions if str(name).startswith("survival_")} == {
        "survival_12",
        "survival_24",
        "survival_36",
    }
    assert scores(result)["value"].between(0, 1).all()


def test_every_test_patient_is_predicted_once_a_cell_and_draw(whole: FoldResult) -> None:
    cells = whole.predictions.groupby(["representation", "protocol", "draw"])["patient"]
    expected = [f"P{row:03d}" for row in range(80, 120)]
    assert all(sorted(patients) == expected for _, patients in cells)
    assert len(cells) == len(JUDGED) * (1 + 3 + 1 + 1 + 1) + 2


def test_the_order_of_patients_changes_nothing(whole: FoldResult) -> None:
    table = cohort()
    order = np.random.default_rng(5).permutation(len(table.patients))
    shuffled = PatientTable(
        patients=tuple(table.patients[row] for row in order),
        views={name: x[order] for name, x in table.views.items()},
        labels=tuple(table.labels[row] for row in order),
        classes=table.classes,
        time=table.time[order],
        event=table.event[order],
    )
    fold = halves(table)
    other = evaluate_fold(shuffled, fold._replace(train=fold.train[::-1], test=fold.test[::-1]), CONFIG, seed=0)
    assert other.scores == whole.scores
    pd.testing.assert_frame_equal(other.predictions, whole.predictions)


def test_two_jobs_give_the_numbers_of_one(whole: FoldResult) -> None:
    table = cohort()
    heard: list[tuple[int, int]] = []
    other = evaluate_fold(
        table,
        halves(table),
        CONFIG,
        seed=0,
        n_jobs=2,
        progress=lambda done, total, _note="": heard.append((done, total)),
    )
    assert other.scores == whole.scores
    assert heard == [(done, len(NAMES)) for done in range(len(NAMES) + 1)]


def test_what_a_patient_is_predicted_does_not_depend_on_the_other_test_patients(whole: FoldResult) -> None:
    table = cohort()
    noise = cohort(seed=1)
    for view, x in noise.views.items():
        x[:81] = table.views[view][:81]
    one_of_them = replace(
        table,
        views=noise.views,
        labels=table.labels[:81] + noise.labels[81:],
        time=np.append(table.time[:81], noise.time[81:]),
    )
    other = evaluate_fold(one_of_them, halves(table), CONFIG, seed=0).predictions
    columns = ["representation", "protocol", "draw", "strength", "probability_ILC", "risk"]
    before, after = (frame.loc[frame["patient"] == "P080", columns] for frame in (whole.predictions, other))
    pd.testing.assert_frame_equal(before.reset_index(drop=True), after.reset_index(drop=True))


def test_shuffled_labels_and_survival_end_at_chance() -> None:
    values = []
    for seed in range(8):
        table, rng = cohort(seed=seed), np.random.default_rng(seed)
        order = rng.permutation(len(table.patients))
        labels = tuple(table.labels[row] for row in rng.permutation(len(table.patients)))
        shuffled = replace(table, labels=labels, time=table.time[order], event=table.event[order])
        result = evaluate_fold(
            shuffled, halves(table), CONFIG, seed=seed, representations=("fused", "raw_fused", "pca4_fused")
        )
        values.append(scores(result)["value"])
    mean = pd.concat(values, axis=1).mean(axis=1)
    areas = mean[mean.index.get_level_values("metric").isin(["auroc", "c_index"])]
    # A fold's AUROC on 40 patients has a deviation of about 0.09 at chance, the mean of eight 0.033.
    assert (areas - 0.5).abs().max() < 0.12
    assert areas.mean() == pytest.approx(0.5, abs=0.05)


def test_everybody_is_counted_and_the_incomplete_are_told_apart() -> None:
    table = cohort()
    for view in ("expression", "fused", "raw_expression"):
        table.views[view][[3, 4, 90]] = np.nan
    labels = tuple(None if row in (4, 5, 91) else label for row, label in enumerate(table.labels))
    time = table.time.copy()
    time[[6, 90]] = np.nan
    result = evaluate_fold(replace(table, labels=labels, time=time), halves(table), CONFIG, seed=0)
    assert len(result.counts) == 2 * len(JUDGED) + 1
    for count in result.counts:
        assert count.train + count.train_without_endpoint + count.train_without_modality == 80
        assert count.test + count.test_without_endpoint + count.test_without_modality == 40
        # Everything that was fitted remembers on whom, and those are training patients.
        assert len(count.fitted_on) == count.train
        assert {*count.scaled_on, *count.fitted_on} <= set(halves(table).train)
    of = {(count.representation, count.task): count for count in result.counts}
    assert of["fused", "subtyping"][2:8] == (77, 38, 2, 1, 1, 1)
    assert of["slide", "subtyping"][2:8] == (78, 39, 2, 1, 0, 0)
    assert of["pca4_fused", "survival"][2:8] == (77, 39, 1, 1, 2, 0)
    predicted = result.predictions.query("representation == 'fused' and protocol == 'linear'")["patient"]
    assert set(predicted) == {f"P{row:03d}" for row in range(80, 120)} - {"P090", "P091"}


def test_a_label_outside_the_classes_is_not_in_the_task() -> None:
    table = cohort()
    result = evaluate_fold(
        replace(table, labels=("MDLC", *table.labels[1:])), halves(table), CONFIG, seed=0, representations=("slide",)
    )
    assert result.counts[0].train_without_endpoint == 1


def test_a_cohort_without_labels_or_survival_skips_that_task_and_says_so() -> None:
    table = cohort()
    unlabelled = replace(table, labels=(None,) * 120, classes=())
    result = evaluate_fold(unlabelled, halves(table), CONFIG, seed=0, representations=("slide",))
    assert {score.task for score in result.scores} == {"survival"}
    assert any("no subtyping" in note for note in result.notes)
    nothing = replace(unlabelled, time=np.full(120, np.nan))
    result = evaluate_fold(nothing, halves(table), CONFIG, seed=0, representations=("slide",))
    assert not result.scores
    assert result.predictions.empty
    assert len(result.notes) == 2


def test_a_view_that_the_cohort_lacks_leaves_its_representations_out_and_says_so() -> None:
    table = cohort()
    slides_only = replace(table, views={name: table.views[name] for name in ("slide", "raw_slide")})
    result = evaluate_fold(slides_only, halves(table), CONFIG, seed=0)
    assert {score.representation for score in result.scores} == {"slide", "raw_slide", "pca4_slide"}
    assert sum("left out" in note for note in result.notes) == len(recipes(CONFIG.components)) - 3


def test_fewer_components_than_asked_for_are_said() -> None:
    table = cohort()
    config = CONFIG.model_copy(update={"components": (16,)})
    result = evaluate_fold(table, halves(table), config, seed=0, representations=("pca16_fused",))
    assert result.notes == ["fold 0, pca16_fused, raw_slide has no more than 12 components in its training patients"]


def test_too_few_training_patients_of_a_class_give_nan_and_a_reason() -> None:
    table = cohort()
    rare = [row for row, label in enumerate(table.labels[:80]) if label == "ILC"][3:]
    labels = tuple("IDC" if row in rare else label for row, label in enumerate(table.labels))
    result = evaluate_fold(replace(table, labels=labels), halves(table), CONFIG, seed=0, representations=("slide",))
    found = scores(result)["value"]
    assert math.isnan(found["slide", "shot5", "auroc"])
    assert math.isfinite(found["slide", "linear", "auroc"])
    assert result.notes == ["fold 0, slide, shot5: 5 training patients a class are needed and ILC has 3"]


def test_a_class_without_test_patients_gives_nan_and_a_reason() -> None:
    table = cohort()
    labels = table.labels[:80] + ("IDC",) * 40
    result = evaluate_fold(replace(table, labels=labels), halves(table), CONFIG, seed=0, representations=("slide",))
    found = scores(result)["value"]
    assert math.isnan(found["slide", "linear", "auroc"])
    assert math.isfinite(found["slide", "linear", "accuracy"])
    assert any("no test patient of ILC, so no balanced_accuracy, macro_f1, auroc" in note for note in result.notes)


def test_survival_that_cannot_be_fitted_or_judged_gives_nan_and_a_reason() -> None:
    table = cohort()
    train_alive, test_alive = table.event.copy(), table.event.copy()
    train_alive[:80], test_alive[80:] = False, False
    for event, reason in ((train_alive, "0 training patients with an event"), (test_alive, "no two test patients")):
        result = evaluate_fold(replace(table, event=event), halves(table), CONFIG, seed=0, representations=("slide",))
        found = scores(result)["value"]
        assert math.isnan(found["slide", "cox", "c_index"])
        assert math.isnan(found["slide", "discrete", "c_index"])
        assert sum(reason in note for note in result.notes) == 2


def test_representations_meet_the_same_draws() -> None:
    table = cohort()
    twins = replace(table, views={**table.views, "expression": table.views["slide"].copy()})
    result = evaluate_fold(twins, halves(table), CONFIG, seed=0, representations=("slide", "expression"))
    one, other = (
        result.predictions.query("representation == @name").drop(columns="representation").reset_index(drop=True)
        for name in ("slide", "expression")
    )
    pd.testing.assert_frame_equal(one, other)


def test_another_seed_draws_other_patients(whole: FoldResult) -> None:
    table = cohort()
    other = evaluate_fold(table, halves(table), CONFIG, seed=1, representations=("slide",))
    key = ("slide", "shot5", "auroc")
    assert scores(other)["value"][key] != scores(whole)["value"][key]


def test_a_patient_in_both_halves_is_named() -> None:
    table = cohort()
    with pytest.raises(LeakError, match="P079"):
        evaluate_fold(table, Fold(2, table.patients[:80], table.patients[79:]), CONFIG, seed=0)


def test_an_unknown_representation_is_named() -> None:
    table = cohort()
    with pytest.raises(DataError, match="'pca8_fused'"):
        evaluate_fold(table, halves(table), CONFIG, seed=0, representations=("pca8_fused",))
