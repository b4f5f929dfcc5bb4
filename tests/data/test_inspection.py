"""Truths about what an inspection sees in a table."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mirror.data.expression import ExpressionTable, ReadExpression
from mirror.data.inspection import inspect_expression, library_sizes, principal_components, share_between
from mirror.data.ledger import Excluded
from mirror.data.unit_checks import guess_units

RNG = np.random.default_rng(0)
LINEAR = RNG.gamma(0.5, 80, size=(30, 400)) * (RNG.random((30, 400)) > 0.1)
TPM = LINEAR / LINEAR.sum(axis=1, keepdims=True) * 1e6


def table(values: np.ndarray, units: str = "log2(TPM + 1)") -> ExpressionTable:
    rows, genes = (tuple(f"{letter}{n}" for n in range(size)) for letter, size in zip("PG", values.shape, strict=True))
    return ExpressionTable(rows, genes, values.astype(np.float32), units, "t.csv")


@pytest.mark.parametrize(
    ("values", "units", "reason"),
    [
        (np.round(LINEAR), "counts", "whole numbers"),
        (TPM, "TPM", "adds up to a million"),
        (LINEAR, "FPKM, RSEM or part of a TPM table", "sums differ"),
        (np.log2(LINEAR + 1), "log2(x + 1)", "the lowest value 0 stands in 10"),
        (np.log2(LINEAR + 0.001), "log2(x + 0.001)", "the lowest value -9.966"),
        (np.log2(LINEAR + 1).clip(1.5), "log2(x + 1)", "no zeros that would tell what was added"),
        (np.log2(LINEAR + 1) + 0.1 * RNG.random((30, 400)) + 2, "log2(x + 1)", "no zeros that would tell"),
        (RNG.normal(size=(30, 400)), "z-score", "around zero"),
        (RNG.normal(size=(10, 30)), "z-score", "around zero"),
        (np.full((2, 2), np.nan), "unknown", "no value"),
    ],
)
def test_units_are_guessed_with_the_reason(values, units, reason):
    guess = guess_units(values.astype(np.float32))
    assert guess.units == units
    assert reason in guess.reason


def test_of_a_large_table_some_samples_are_looked_at_and_the_extremes_of_all(monkeypatch):
    monkeypatch.setattr("mirror.data.unit_checks._CELLS_LOOKED_AT", 1)
    values = np.tile(np.log2(LINEAR + 0.001), (4, 1)).astype(np.float32)
    values[37, 5] = 22  # of a sample that is not looked at
    guess = guess_units(values)
    assert guess.units == "log2(x + 0.001)"
    values[37, 5] = 300
    assert guess_units(values).units != guess.units


def test_library_sizes_are_sums_on_the_linear_scale():
    np.testing.assert_allclose(library_sizes(table(np.log2(TPM + 1))), 1e6, rtol=1e-4)
    np.testing.assert_allclose(library_sizes(table(TPM, "TPM")), 1e6, rtol=1e-4)
    assert library_sizes(table(TPM, "z-score")) is None
    assert library_sizes(table(TPM, "other, arbitrary")) is None


def test_components_are_those_of_scikit_learn_on_standardised_genes():
    values = RNG.normal(size=(30, 50)) @ RNG.normal(size=(50, 400))
    found = principal_components(values.astype(np.float32))
    model = PCA(2)
    scores = model.fit_transform(StandardScaler().fit_transform(values))
    np.testing.assert_allclose(np.abs(found.scores), np.abs(scores), rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found.explained, model.explained_variance_ratio_, rtol=1e-4)


def test_a_single_patient_lies_in_the_middle():
    found = inspect_expression(ReadExpression(table(LINEAR[:1], "FPKM"), (), 1, 400), {"batch": {"P0": "x"}})
    np.testing.assert_array_equal(found.components.scores, np.zeros((1, 2)))
    np.testing.assert_array_equal(found.groupings["batch"].between, [0, 0])


def test_a_single_wild_value_is_no_component():
    values = RNG.normal(size=(60, 40))
    values[:, :20] += 3 * RNG.normal(size=(60, 1))
    tame = principal_components(values.astype(np.float32)).scores[:, 0]
    values[5, 30:] = 1e4
    assert abs(np.corrcoef(tame, principal_components(values.astype(np.float32)).scores[:, 0])[0, 1]) > 0.99


def test_the_share_between_groups_is_all_where_the_groups_are_all_there_is():
    groups = ["a"] * 15 + ["b"] * 15
    values = np.where(np.array(groups)[:, None] == "a", 1.0, -1.0) * RNG.normal(size=400)
    first = principal_components(values.astype(np.float32)).scores[:, 0]
    assert share_between(first, groups) == pytest.approx(1)
    assert share_between(first, ["a", "b"] * 15) == pytest.approx(1 / 225)


def test_gaps_copies_and_constant_genes_are_counted():
    values = np.log2(LINEAR + 1)
    values[3, 5] = values[4, 5] = values[:, 6] = np.nan
    values[:, 7] = 2
    read = ReadExpression(table(values), (Excluded("gene", "A", "no name", "t.csv"),) * 2, 30, 402)
    found = inspect_expression(read, {"batch": {f"P{n}": "x" for n in range(10)}})
    assert (found.missing_cells, found.genes_with_missing, found.constant_genes) == (32, 2, 1)
    assert found.left_out == {"gene: no name": 2}
    assert found.groupings["batch"].groups.count("(none)") == 20
    assert np.isfinite(found.components.scores).all()


def test_an_inspection_names_the_genes_whose_floors_tell_groups_apart():
    values = RNG.normal(size=(60, 4))
    values[:20, 2], values[30:48, 2] = -5, -4
    read = ReadExpression(table(values), (), 60, 4)
    cohort = {f"P{n}": "a" if n < 30 else "b" for n in range(60)}
    batch = {f"P{n}": "odd" if n % 2 else "even" for n in range(60)}
    found = inspect_expression(read, {"cohort": cohort, "batch": batch}).groupings
    assert [floor.gene for floor in found["cohort"].floors] == ["G2"]
    assert found["batch"].floors == ()
    assert inspect_expression(read).groupings == {}
