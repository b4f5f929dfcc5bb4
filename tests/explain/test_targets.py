"""What is explained is what was judged: heads say of a view what the evaluation's own say of its representation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from mirror.config import EvaluationConfig
from mirror.errors import ConfigError, DataError
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.representations import PatientTable
from mirror.explain.targets import Agreement, Head, fit_targets, target_names
from mirror.types import Fold

CONFIG = EvaluationConfig(components=(), shots=(), inner_folds=3)


def cohort(*, classes: tuple[str, ...] = ("IDC", "ILC"), width: int = 8, patients: int = 120) -> PatientTable:
    rng = np.random.default_rng(len(classes))
    codes = rng.permutation(np.arange(patients) % len(classes))
    hidden = rng.normal(size=patients) + codes
    scales = 10.0 ** rng.uniform(-2, 2, width)
    views = {
        name: 3.0 + scales * (np.outer(hidden, rng.normal(size=width)) / 2 + rng.normal(size=(patients, width)))
        for name in ("slide", "expression", "align_slide", "align_expression")
    }
    views["fused"] = np.hstack([views["slide"], views["expression"]])
    for name in ("expression", "fused", "align_expression"):
        views[name][3::17] = np.nan
    return PatientTable(
        patients=tuple(f"P{row:03d}" for row in range(patients)),
        views=views,
        labels=tuple(None if row % 11 == 5 else classes[code] for row, code in enumerate(codes)),
        classes=classes,
        time=rng.exponential(np.exp(-hidden / 2)) * 30 + 0.1,
        event=rng.random(patients) < 0.6,
    )


def as_views(table: PatientTable, rows: np.ndarray) -> dict[str, torch.Tensor]:
    return {f"X_{name}": torch.from_numpy(view[rows]) for name, view in table.views.items()}


@pytest.mark.parametrize("width", [8, 100])
@pytest.mark.parametrize("classes", [("IDC", "ILC"), ("A", "B", "C")])
@pytest.mark.parametrize("representation", ["slide", "fused"])
def test_heads_say_of_the_view_what_the_evaluation_predicted(classes, representation, width) -> None:
    table = cohort(classes=classes, width=width)  # of width 100 they are fitted in the row space
    fold = Fold(0, table.patients[:80], table.patients[80:])
    predicted = evaluate_fold(table, fold, CONFIG, seed=4, representations=[representation]).predictions
    names = [*(f"class:{name}" for name in classes), "risk"]
    *heads, risk = fit_targets(names, representation, table, fold, CONFIG, seed=4)

    linear = predicted[predicted["protocol"] == "linear"]
    said = np.stack([head.value(as_views(table, table.rows(linear["patient"]))).numpy() for head in heads], axis=1)
    probabilities = linear[[f"probability_{name}" for name in classes]].to_numpy()
    if len(classes) == 2:
        assert expit(said) == pytest.approx(probabilities, abs=1e-9)
    else:  # z_k less the mean of two others is 3/2 of z_k less the mean of all
        assert softmax(said * 2 / 3, axis=1) == pytest.approx(probabilities, abs=1e-9)

    cox = predicted[predicted["protocol"] == "cox"]
    hazard = risk.value(as_views(table, table.rows(cox["patient"]))).numpy()
    assert hazard == pytest.approx(cox["risk"].to_numpy(), abs=1e-9)


def test_heads_remember_on_whom_and_test_patients_do_not_move_them() -> None:
    table = cohort()
    fold = Fold(0, table.patients[:80], table.patients[80:])
    heads = fit_targets(["class:ILC", "risk"], "fused", table, fold, CONFIG, seed=0)
    lack = {name for name, row in zip(table.patients, table.views["fused"], strict=True) if np.isnan(row).any()}
    unlabelled = {name for name, label in zip(table.patients, table.labels, strict=True) if label is None}
    assert set(heads[0].fitted_on) == set(fold.train) - lack - unlabelled
    assert set(heads[1].fitted_on) == set(fold.train) - lack

    views = {name: np.where(np.arange(120)[:, None] < 80, view, -view) for name, view in table.views.items()}
    moved = replace(table, views=views)
    again = fit_targets(["class:ILC", "risk"], "fused", moved, fold, CONFIG, seed=0)
    for one, other in zip(heads, again, strict=True):
        assert isinstance(one, Head) and isinstance(other, Head)
        assert (one.weights == other.weights).all() and one.offset == other.offset


def test_agreement_is_the_cosine_of_the_aligned_views() -> None:
    views = {
        "X_align_slide": torch.tensor([[1.0, 0.0], [2.0, 2.0]], requires_grad=True),
        "X_align_expression": torch.tensor([[0.0, 3.0], [1.0, 1.0]]),
    }
    value = Agreement().value(views)
    assert value.tolist() == pytest.approx([0.0, 1.0])
    value.sum().backward()
    assert views["X_align_slide"].grad is not None


def test_what_cannot_be_explained_is_refused_with_what_can() -> None:
    table = cohort()
    fold = Fold(0, table.patients[:80], table.patients[80:])
    assert target_names(table) == ("class:IDC", "class:ILC", "risk", "agreement")
    with pytest.raises(ConfigError, match="there are class:IDC, class:ILC, risk, agreement"):
        fit_targets(["class:LUAD"], "slide", table, fold, CONFIG, seed=0)
    with pytest.raises(ConfigError, match="explain one of slide, expression, fused"):
        fit_targets(["risk"], "raw_slide", table, fold, CONFIG, seed=0)
    nobody = replace(table, labels=("IDC",) * 80 + ("ILC",) * 40)
    with pytest.raises(DataError, match="no linear probe on 'slide' of fold 0: 2 training patients a class"):
        fit_targets(["class:ILC"], "slide", nobody, fold, CONFIG, seed=0)
    unknown = replace(table, time=np.full(120, np.nan), labels=(None,) * 120)
    assert target_names(unknown) == ("agreement",)
