"""Truths about gene panels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel, apply, fit_panel
from mirror.errors import ArtefactError, DataError

GENES = ("A", "B", "C")
PATIENTS = tuple(f"P{number}" for number in range(8))


def table(
    values: np.ndarray | None = None, genes: tuple[str, ...] = GENES, units: str = "other, log2"
) -> ExpressionTable:
    if values is None:
        values = np.random.default_rng(0).normal(loc=4, size=(8, len(genes)))
    return ExpressionTable(PATIENTS, genes, values.astype(np.float32), units, "table.csv")


def with_missing() -> ExpressionTable:
    values = np.random.default_rng(1).normal(size=(8, 3))
    values[2, 1] = values[6, 0] = np.nan
    return table(values)


def test_standardised_training_values_have_mean_zero_and_deviation_one():
    panel = fit_panel(with_missing(), PATIENTS, transform="standardise")
    values = with_missing().values.astype(np.float64)
    np.testing.assert_allclose(panel.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(panel.scale, np.nanstd(values, axis=0))
    scaled = apply(panel, table(), PATIENTS).values
    np.testing.assert_allclose(scaled, (table().values - panel.mean) / panel.scale, rtol=1e-5)


def test_without_transform_values_stay_as_they_are_and_missing_ones_become_zero():
    source = with_missing()
    applied = apply(fit_panel(source, PATIENTS, transform="none"), source, PATIENTS)
    np.testing.assert_array_equal(applied.values, np.nan_to_num(source.values))
    assert (applied.missing_cells, applied.missing_genes) == (2, ())


def test_standardised_missing_values_become_the_training_mean():
    source = with_missing()
    applied = apply(fit_panel(source, PATIENTS, transform="standardise"), source, PATIENTS)
    assert applied.values[2, 1] == applied.values[6, 0] == 0
    assert np.isfinite(applied.values).all()


@settings(max_examples=50)
@given(order=st.permutations(PATIENTS[:5]), noise=st.floats(-1e6, 1e6))
@pytest.mark.parametrize("transform", ["none", "standardise"])
def test_the_panel_depends_neither_on_other_patients_nor_on_the_order_of_its_own(transform, order, noise):
    other = with_missing()
    other.values[5:] = noise
    before = fit_panel(with_missing(), PATIENTS[:5], transform=transform)
    after = fit_panel(other, order, transform=transform)
    assert before.fitted_on == after.fitted_on == PATIENTS[:5]
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.scale, after.scale)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_gene_that_is_constant_in_training_is_not_blown_up(level):
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[:, 1] = level
    panel = fit_panel(table(values), PATIENTS, transform="standardise")
    assert panel.scale[1] == 1
    np.testing.assert_allclose(apply(panel, table(values), PATIENTS).values[:, 1], 0, atol=1e-6)


def test_a_gene_without_any_value_in_training_is_filled_with_zero():
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[:, 2] = np.nan
    panel = fit_panel(table(values), PATIENTS, transform="standardise")
    assert (apply(panel, table(values), PATIENTS).values[:, 2] == 0).all()


def test_training_patients_without_expression_are_not_among_those_it_was_fitted_on():
    panel = fit_panel(table(), [*PATIENTS[:3], "P99"], transform="standardise")
    assert panel.fitted_on == PATIENTS[:3]


def test_a_panel_of_one_patient_is_refused():
    with pytest.raises(DataError, match=r"1 of the training patients have expression in table\.csv"):
        fit_panel(table(), ["P1", "P99"], transform="none")


def test_genes_are_matched_by_name_whatever_their_order_and_missing_ones_are_reported():
    source = table()
    panel = fit_panel(source, PATIENTS, transform="standardise")
    other = ExpressionTable(PATIENTS, ("C", "Z", "A"), source.values[:, [2, 1, 0]], "other, log2", "other.csv")
    applied, whole = apply(panel, other, ["P5", "P1"]), apply(panel, source, ["P5", "P1"])
    np.testing.assert_array_equal(applied.values[:, [0, 2]], whole.values[:, [0, 2]])
    assert (applied.values[:, 1] == 0).all()
    assert applied.missing_genes == ("B",)
    assert applied.missing_cells == 2
    assert applied.patients == ("P5", "P1")


def test_other_units_are_refused_naming_both():
    panel = fit_panel(table(), PATIENTS, transform="none")
    with pytest.raises(DataError, match=r"table\.csv is in 'counts', the panel was fitted on 'other, log2'; convert"):
        apply(panel, table(units="counts"), PATIENTS)


def test_units_are_compared_by_what_they_mean():
    panel = fit_panel(table(units="log2(TPM + 0.001)"), PATIENTS, transform="none")
    apply(panel, table(units="log2(TPM+0.001), Toil"), PATIENTS)
    with pytest.raises(DataError, match=r"is in 'log2\(TPM \+ 1\)', the panel was fitted on"):
        apply(panel, table(units="log2(TPM + 1)"), PATIENTS)


def test_a_table_that_shares_no_gene_is_refused_with_examples_of_both():
    panel = fit_panel(table(), PATIENTS, transform="none")
    with pytest.raises(DataError, match=r"it has ENSG1, ENSG2, ENSG3, the panel A, B, C"):
        apply(panel, table(genes=("ENSG1", "ENSG2", "ENSG3")), PATIENTS)


@pytest.mark.parametrize("transform", ["none", "standardise"])
def test_the_panel_survives_a_round_trip_to_the_last_bit(transform, tmp_path):
    panel = fit_panel(with_missing(), PATIENTS[:5], transform=transform)
    panel.save(tmp_path / "panel.json")
    again = GenePanel.load(tmp_path / "panel.json")
    assert (again.genes, again.units, again.transform, again.fitted_on) == (
        GENES,
        "other, log2",
        transform,
        PATIENTS[:5],
    )
    np.testing.assert_array_equal(again.mean, panel.mean)
    np.testing.assert_array_equal(again.scale, panel.scale)


@pytest.mark.parametrize("text", ["{", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "transform": "none"}'])
def test_a_damaged_or_foreign_panel_is_refused(text, tmp_path):
    (tmp_path / "panel.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"panel\.json"):
        GenePanel.load(tmp_path / "panel.json")
