"""Truths about samples in other units than the rest of their table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mirror.config import ExpressionConfig
from mirror.data.expression import ExpressionTable, read_expression
from mirror.data.unit_checks import check_units
from mirror.errors import DataError


def amounts(samples: int, genes: int, *, depth: float = 0.0, seed: int = 0) -> np.ndarray:
    """Genes of very different levels, of which patients differ by half as much; some are not expressed at all."""
    rng = np.random.default_rng(seed)
    logs = (
        rng.normal(5, 3, size=genes)
        + rng.normal(scale=1.5, size=(samples, genes))
        + depth * rng.normal(size=(samples, 1))
    )
    return np.where(logs > 0, np.exp2(logs), 0).astype(np.float32)


def check(values: np.ndarray, units: str) -> None:
    rows, genes = [f"S{row}" for row in range(len(values))], [f"G{column}" for column in range(values.shape[1])]
    check_units(values.astype(np.float32), units, rows=rows, genes=genes, source="t.csv")


SCALES = {
    "log10": (lambda x: np.log2(x + 1), lambda x: np.log10(x + 1), "log2(FPKM + 1)"),
    "ln": (lambda x: np.log2(x + 1), lambda x: np.log(x + 1), "log2(FPKM + 1)"),
    "log2 in log10": (lambda x: np.log10(x + 1), lambda x: np.log2(x + 1), "log10(FPKM + 1)"),
    "logarithms in amounts": (lambda x: x, lambda x: np.log2(x + 1), "FPKM"),
}


@pytest.mark.parametrize("genes", [50, 150, 1200])
@pytest.mark.parametrize("scale", SCALES)
def test_the_samples_on_another_scale_are_named(scale, genes):
    most, some, units = SCALES[scale]
    values = amounts(40, genes)
    check(most(values), units)
    for others in ([3, 17, 18, 30], list(range(20))):
        mixed = most(values)
        mixed[others] = some(values[others])
        with pytest.raises(DataError, match=r"t\.csv mixes units") as raised:
            check(mixed, units)
        assert f"'S{others[0]}'" in str(raised.value)


@pytest.mark.parametrize("samples", [2, 5, 40])
@pytest.mark.parametrize("scale", [name for name in SCALES if name != "ln"])
def test_a_single_sample_on_another_scale_is_found_where_the_scales_are_far_apart(scale, samples):
    most, some, units = SCALES[scale]
    values = amounts(samples, 60)
    mixed = most(values)
    mixed[1] = some(values[1])
    with pytest.raises(DataError, match=r"(?s)mixes units.*'S1'"):
        check(mixed, units)


def test_a_sample_without_any_value_and_missing_cells_take_no_part():
    values = np.log2(amounts(40, 100) + 1)
    values[5] = values[7, :30] = np.nan
    check(values, "log2(FPKM + 1)")
    values[[3, 7, 9]] *= np.log(2)
    with pytest.raises(DataError, match=r"3 samples are on another scale than the other 36") as raised:
        check(values, "log2(FPKM + 1)")
    assert all(f"'S{row}'" in str(raised.value) for row in (3, 7, 9))


@pytest.mark.parametrize("spoil", [0, np.nan])
@pytest.mark.filterwarnings("error")
def test_samples_in_which_nothing_is_expressed_are_of_no_other_scale(spoil):
    values = amounts(6, 60)
    values[4] = spoil
    check(values, "FPKM")
    check(np.full((6, 60), spoil), "FPKM")
    check(np.log2(values + 1), "log2(FPKM + 1)")


def test_libraries_of_very_different_depth_are_one_unit():
    values = np.round(amounts(40, 300, depth=2.5, seed=3))
    check(values, "counts")
    check(np.log2(values + 1), "log2(counts + 1)")
    check(values * 0.9, "expected_count")


def real_amounts(name: str, shared: Path) -> ExpressionTable:
    config = ExpressionConfig(
        path=shared / "cohorts" / name / "expression.csv.gz", orientation="patients_in_rows", units="log2(TPM + 0.001)"
    )
    table = read_expression(config).table
    return replace(table, values=np.maximum(np.exp2(table.values) - 0.001, 0))


@pytest.mark.parametrize("name", ["coadread", "blca"])
def test_genes_that_most_samples_hardly_express_are_of_one_unit(name, shared):
    table = real_amounts(name, shared)
    medians = np.median(table.values, axis=0)
    levels = [(0.05, 0.5), (0.2, 2), (0.5, 3), (1, 5), (2, 8), (5, 15), (10, 30)]
    sets = [np.flatnonzero((medians > low) & (medians < high))[:200] for low, high in levels]
    families = [r"HOX[A-D]\d", r"KRT\d", r"IL\d", r"CYP\d", r"SLC\d"]
    sets += [np.flatnonzero([re.match(family, gene) is not None for gene in table.genes]) for family in families]
    for genes in sets:
        for count in {50, 100, len(genes)}:
            values = table.values[:, genes[:count]]
            check(values, "TPM")
            check(np.log2(values + 1), "log2(TPM + 1)")


@pytest.mark.parametrize("name", ["coadread", "blca"])
def test_logarithms_among_genes_of_a_level_are_found_where_the_level_tells(name, shared):
    values = real_amounts(name, shared).values
    medians = np.median(values, axis=0)
    mixed = values[:, np.flatnonzero((medians > 30) & (medians < 100))[:100]].copy()
    mixed[[4, 40]] = np.log2(mixed[[4, 40]] + 1)
    with pytest.raises(DataError, match=r"mixes units.*2 stay low as 'S4'.*`units: other, \.\.\.` is not checked"):
        check(mixed, "TPM")


def test_a_whole_tissue_in_which_genes_are_off_is_no_other_scale():
    values = amounts(40, 60)
    values[:12, ::2] *= 0.02
    check(values, "FPKM")
    check(np.log2(values + 1), "log2(FPKM + 1)")


@pytest.mark.parametrize("name", ["coadread", "blca"])
def test_real_cohorts_are_in_one_unit_and_mixed_ones_are_found(name, shared):
    linear = real_amounts(name, shared).values
    check(np.log2(linear + 1), "log2(TPM + 1)")
    mixed = np.log2(linear + 1)
    mixed[::9] *= np.log(2)
    with pytest.raises(DataError, match="mixes units"):
        check(mixed, "log2(TPM + 1)")


def test_counts_are_whole_numbers():
    values = np.round(amounts(4, 30))
    check(values, "counts")
    values[2, 5] = 1.5
    with pytest.raises(DataError, match=r"(?s)1 of 4 samples are not.*'S2': 1 of 30 values are no whole.*such as 1\.5"):
        check(values, "counts")
    check(values, "expected_count")


@pytest.mark.parametrize("decimals", [2, 3, 6])
def test_counts_come_whole_out_of_their_logarithm_and_nothing_else_does(decimals):
    counts = np.round(amounts(6, 60))
    check(np.round(np.log2(counts + 1), decimals), "log2(counts + 1)")
    mixed = np.log2(counts + 1)
    mixed[4] = np.log(counts[4] + 1)
    with pytest.raises(DataError, match=r"(?s)1 of 6 samples are not.*'S4': .* no whole numbers.*`norm_count`"):
        check(np.round(mixed, decimals), "log2(counts + 1)")


def test_tpm_adds_up_to_a_million_at_most_and_to_all_of_it_where_most_samples_do():
    values = amounts(6, 400)
    tpm = values / values.sum(axis=1, keepdims=True) * 1e6
    check(tpm, "TPM")
    check(np.log2(tpm + 0.001).round(4), "log2(TPM + 0.001)")
    check(tpm[:, :300], "TPM")
    tpm[3] *= 2
    with pytest.raises(DataError, match=r"(?s)1 of 6 samples are not.*'S3': adds up to 2e\+06; TPM adds up to a mill"):
        check(tpm, "TPM")
    tpm[3] /= 3
    with pytest.raises(DataError, match=r"'S3': adds up to 6\.667e\+05, where 5 others make a million"):
        check(tpm, "TPM")


@pytest.mark.parametrize(
    ("units", "other", "said"),
    [
        (
            "log2(FPKM + 0.001)",
            lambda x: np.log2(x + 1),
            r"lowest value 0 stands in \d+ of 200 genes, where log2\(FPKM",
        ),
        ("log2(FPKM + 0.001)", lambda x: np.log10(x + 0.001), r"lowest value -3 .* where log10\(FPKM \+ 0\.001\) has"),
        ("log2(FPKM + 0.01)", lambda x: np.log2(x + 0.1), r"where log2\(FPKM \+ 0\.1\) has .* has -6\.644"),
    ],
)
def test_zeros_where_another_offset_or_base_has_them_are_refused(units, other, said):
    values, offset = amounts(5, 200), float(units.rsplit("+ ", 1)[1][:-1])
    logged = np.log2(values + offset)
    check(logged, units)
    logged[2] = other(values[2])
    with pytest.raises(DataError, match=rf"(?s)(mixes units.*'S2'|1 of 5 samples are not.*'S2': .*{said})"):
        check(logged, units)
    with pytest.raises(DataError, match=rf"(?s)5 of 5 samples are not.*{said}"):
        check(other(values), units)


@pytest.mark.parametrize("said", ["log2", "log10", "ln"])
@pytest.mark.parametrize("is_in", ["log2", "log10", "ln"])
def test_a_whole_transcriptome_in_tpm_tells_the_base_of_its_logarithm(said, is_in):
    values = amounts(6, 1200).astype(np.float64)
    tpm = values / values.sum(axis=1, keepdims=True) * 1e6
    logs = np.log(tpm + 1) / {"log2": np.log(2), "log10": np.log(10), "ln": 1}[is_in]
    if said == is_in:
        check(logs, f"{said}(TPM + 1)")
        return
    with pytest.raises(DataError) as raised:
        check(logs, f"{said}(TPM + 1)")
    lower = np.log([2, 10, np.e][["log2", "log10", "ln"].index(said)]) < np.log(
        [2, 10, np.e][["log2", "log10", "ln"].index(is_in)]
    )
    if lower:  # the other way the sum is far above a million
        assert f"read as {is_in}(TPM + 1) each sample adds up to a million" in str(raised.value)
    check(logs[:, :900], f"other, {said}(TPM + 1)")
    if lower:
        check(logs[:, :900], f"{said}(TPM + 1)")  # genes left out: no sum tells
