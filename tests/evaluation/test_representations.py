"""Representations: fitted on training patients only, standardised, NaN where a modality is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from mirror.errors import DataError
from mirror.evaluation.representations import (
    LEARNED,
    PatientTable,
    fit_representation,
    free_baselines,
    is_learned,
    recipes,
    row_space,
)

RECIPES = recipes((4, 8), panel=True, clinical=True)
NAMES = tuple(RECIPES)


def table(*, patients: int = 40, genes: int = 60, seed: int = 0) -> PatientTable:
    rng = np.random.default_rng(seed)
    views = {
        "slide": rng.normal(size=(patients, 6)),
        "expression": rng.normal(size=(patients, 6)),
        "raw_slide": rng.normal(3.0, 5.0, size=(patients, 10)),
        "raw_expression": rng.normal(size=(patients, genes)) * rng.gamma(2.0, size=genes),
        "align_slide": rng.normal(size=(patients, 3)),
        "align_expression": rng.normal(size=(patients, 3)),
        "clinical": np.column_stack([rng.normal(60, 9, size=patients), np.arange(patients) % 3 == 0]),
    }
    views["fused"] = np.hstack([views["slide"], views["expression"]])
    views["panel_expression"] = views["raw_expression"][:, :5].copy()
    return PatientTable(
        patients=tuple(f"P{row:03d}" for row in range(patients)),
        views=views,
        labels=tuple(("A", "B")[row % 2] for row in range(patients)),
        classes=("A", "B"),
        time=rng.exponential(20.0, size=patients),
        event=rng.random(patients) < 0.5,
    )


def test_every_kind_of_representation_is_there_of_slides_of_expression_and_of_both() -> None:
    assert list(recipes((8, 16))) == [
        *("slide", "expression", "fused", "aligned", "raw_slide", "raw_expression", "raw_fused"),
        *("pca8_slide", "pca16_slide", "pca8_expression", "pca16_expression", "pca8_fused", "pca16_fused"),
    ]


def test_clinical_variables_stand_alone_and_beside_the_others() -> None:
    assert set(recipes((8,), clinical=True)) - set(recipes((8,))) == {
        *("clinical", "slide_clinical", "expression_clinical", "fused_clinical", "raw_fused_clinical"),
    }
    cohort, rows = table(), np.arange(40)
    alone, fused, both = (
        fit_representation(name, cohort, rows).transform(cohort, rows)
        for name in ("clinical", "fused", "fused_clinical")
    )
    np.testing.assert_array_equal(both, np.hstack([fused, alone]))


def test_only_what_a_model_gave_is_learned() -> None:
    learned = [name for name in NAMES if is_learned(name)]
    assert learned == ["slide", "expression", "fused", "aligned", *(f"{name}_clinical" for name in LEARNED)]
    assert set(free_baselines((4, 8))) == {name for name in recipes((4, 8)) if not is_learned(name)}


def test_rows_of_chosen_genes_are_asked_for_by_name() -> None:
    assert set(recipes((8,), panel=True)) - set(recipes((8,))) == {"panel_expression", "panel_fused"}


@pytest.mark.parametrize("name", NAMES)
def test_training_patients_are_standardised(name: str) -> None:
    cohort, train = table(), np.arange(30)
    x = fit_representation(name, cohort, train).transform(cohort, train)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(x.std(axis=0), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_fitted_does_not_move_when_test_patients_become_noise(name: str) -> None:
    cohort, train = table(), np.arange(30)
    noise = table(seed=9)
    for view, x in noise.views.items():
        x[:30] = cohort.views[view][:30]
    x[30] = np.nan
    before, after = (fit_representation(name, patients, train) for patients in (cohort, noise))
    for one, other in zip(before.blocks, after.blocks, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.scale, other.scale)
        np.testing.assert_array_equal(one.axes, other.axes)


def test_a_representation_remembers_on_whom_it_was_fitted() -> None:
    assert fit_representation("raw_fused", table(), np.array([3, 7, 1])).fitted_on == ("P003", "P007", "P001")


@pytest.mark.parametrize("genes", [7, 60])
def test_components_are_the_whitened_pca_of_standardised_columns(genes: int) -> None:
    cohort, train = table(genes=genes), np.arange(30)
    x = cohort.views["raw_expression"]
    z = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    oracle = PCA(4, whiten=True, svd_solver="full").fit(z[train])
    ours = fit_representation("pca4_fused", cohort, train).transform(cohort, np.arange(40))[:, 4:]
    # scikit-learn divides by N - 1; the sign of a component is nobody's.
    expected = oracle.transform(z) * np.sqrt(30 / 29)
    np.testing.assert_allclose(np.abs(ours), np.abs(expected), atol=1e-8)


def test_components_end_at_the_rank() -> None:
    cohort = table(genes=60)
    x = fit_representation("pca64_fused", cohort, np.arange(20)).transform(cohort, np.arange(40))
    assert x.shape == (40, 10 + 19)


@pytest.mark.parametrize("name", NAMES)
def test_a_patient_without_a_needed_modality_is_a_row_of_nan_and_no_other_is(name: str) -> None:
    cohort = table()
    for view in ("expression", "fused", "align_expression", "raw_expression", "panel_expression"):
        cohort.views[view][[2, 35]] = np.nan
    x = fit_representation(name, cohort, np.arange(30)).transform(cohort, np.arange(40))
    needs_expression = any("expression" in view or view == "fused" for view in RECIPES[name].views)
    missing = np.isnan(x).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(missing), [2, 35] if needs_expression else [])
    assert np.isfinite(x[~missing]).all()


def test_a_single_missing_gene_counts_as_the_training_mean() -> None:
    cohort, train = table(), np.arange(30)
    cohort.views["raw_expression"][35, 4] = np.nan
    cohort.views["raw_expression"][2, 5] = np.nan
    fitted = fit_representation("raw_expression", cohort, train)
    x = fitted.transform(cohort, np.arange(40))
    assert x[35, 4] == 0.0
    assert x[2, 5] == 0.0
    assert fitted.blocks[0].mean[5] == pytest.approx(np.nanmean(cohort.views["raw_expression"][train, 5]))


def test_a_gene_that_is_constant_or_unknown_in_training_patients_is_harmless() -> None:
    cohort = table()
    cohort.views["raw_expression"][:30, 0] = -9.9658
    cohort.views["raw_expression"][:30, 1] = np.nan
    x = fit_representation("raw_expression", cohort, np.arange(30)).transform(cohort, np.arange(40))
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x[:30, :2], 0.0, atol=1e-12)
    assert np.abs(x).max() < 1e3


@settings(deadline=None, max_examples=25)
@given(patients=st.integers(2, 12), columns=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_row_space_keeps_every_product_between_new_and_fitted_patients(
    patients: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, new = rng.normal(size=(patients, columns)), rng.normal(size=(3, columns))
    basis = row_space(x)
    assert (basis is None) == (columns <= patients)
    if basis is not None:
        np.testing.assert_allclose((new @ basis) @ (x @ basis).T, new @ x.T, atol=1e-10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DataError, match="no representation 'pca_fused'"):
        fit_representation("pca_fused", table(), np.arange(30))


def test_a_view_that_no_training_patient_has_is_refused() -> None:
    cohort = table()
    cohort.views["fused"][:30] = np.nan
    with pytest.raises(DataError, match="none of 30 training patients has the view 'fused'"):
        fit_representation("fused", cohort, np.arange(30))


def test_an_inconsistent_table_names_every_problem() -> None:
    good = table()
    good.views["slide"][3, 0] = np.nan
    with pytest.raises(DataError, match=r"(?s)patient stands in it twice.*`time` has 3 rows.*'slide' of patient P002"):
        PatientTable(("P000", *good.patients[:-1]), good.views, good.labels, good.classes, good.time[:3], good.event)


def test_a_patient_of_the_fold_who_is_not_in_the_table_is_named() -> None:
    with pytest.raises(DataError, match="patient P999"):
        table().rows(["P001", "P999"])
