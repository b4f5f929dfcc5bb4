"""Truths about units of expression: what is known by its name, checked against the values, converted, and refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.data.conversion import convert
from mirror.data.unit_checks import check_units
from mirror.errors import ConfigError, DataError
from mirror.units import QUANTITIES, Units, parse_units, same_units

LINEAR = np.random.default_rng(0).gamma(0.5, 80, size=(4, 1200)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log2(TPM + 0.001)", Units("TPM", 2.0, 0.001)),
        ("log2(TPM + 1), simulated", Units("TPM", 2.0, 1.0)),
        ("log10(fpkm+1)", Units("FPKM", 10.0, 1.0)),
        ("log2(FPKM-UQ + 1)", Units("FPKM-UQ", 2.0, 1.0)),
        ("counts", Units("counts")),
        ("RSEM", Units("RSEM")),
        ("log2(norm_count+1)", Units("norm_count", 2.0, 1.0)),
        ("ln(RPKM + 1e-3)", Units("RPKM", float(np.e), 0.001)),
        ("LOG2( tpm + .5 )", Units("TPM", 2.0, 0.5)),
        ("z-score of one study", Units("z-score")),
        ("Z scores", Units("z-score")),
        ("other", Units("other")),
        ("Other, batch-corrected log2(TPM + 1)", Units("other")),
    ],
)
def test_units_are_known_by_their_name(text, expected):
    assert parse_units(text) == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("log2(TMP + 1)", "log2(TPM + 1)"),
        ("log2(TPM+0.001", "log2(TPM + 0.001)"),
        ("log2 TPM", "log2(TPM + 1)"),
        ("log(FPKM + 1)", "log2(FPKM + 1)"),
        ("log1p(counts)", None),
        ("cuonts", "counts"),
        ("TPMs", "TPM"),
        ("fpkm_uq", "FPKM-UQ"),
        ("TPM + 1", "TPM"),
        ("zscore_x", "z-score"),
        ("log2(TPM + 1.5.2)", None),
        ("log2", None),
        ("arbitrary", None),
        ("", None),
    ],
)
def test_a_slip_of_the_pen_is_refused_with_what_was_meant_and_the_way_to_say_something_else(text, meant):
    with pytest.raises(ConfigError) as raised:
        parse_units(text)
    said = str(raised.value)
    assert f"write `other, {text}`" in said
    if meant is not None:
        assert f"did you mean '{meant}'?" in said


@given(
    quantity=st.sampled_from(QUANTITIES),
    base=st.sampled_from([None, 2.0, 10.0, float(np.e)]),
    offset=st.sampled_from([0.0, 1.0, 0.5, 0.001, 1e-6]),
)
def test_units_say_themselves_in_the_form_in_which_they_are_known(quantity, base, offset):
    units = Units(quantity, base, offset if base else 0.0)
    assert parse_units(str(units)) == units


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("log2(TPM+0.001)", "log2(TPM + 0.001)", True),
        ("log2(TPM + 1), Toil", "LOG2(tpm + 1.0)", True),
        ("log2(TPM + 1)", "log2(TPM + 0.001)", False),
        ("log2(TPM + 1)", "ln(TPM + 1)", False),
        ("log2(RPM + 1)", "log2(CPM + 1)", True),
        ("RPM", "RPKM", False),
        ("z-score of one study", "Z-score  of one study", True),
        ("z-score of one study", "z-score of another", False),
        ("other, A", "other, B", False),
        ("words of long ago", "words of long ago", True),
        ("words of long ago", "TPM", False),
    ],
)
def test_units_are_the_same_by_what_they_mean(first, second, same):
    assert same_units(first, second) is same_units(second, first) is same


@given(st.floats(0.001, 10), st.sampled_from(["log2", "log10", "ln"]))
def test_a_logarithm_is_undone_and_made_again_with_another_base_and_offset(offset, base):
    logged = np.log2(LINEAR.astype(np.float64) + 0.5).astype(np.float32)
    there = convert(logged, "log2(TPM + 0.5)", f"{base}(TPM + {offset!r})", source="t")
    np.testing.assert_allclose(
        convert(there, f"{base}(TPM + {offset!r})", "TPM", source="t"), LINEAR, rtol=1e-3, atol=1e-2
    )


def test_fpkm_becomes_tpm_by_the_sum_of_each_sample():
    tpm = convert(np.log2(LINEAR + 1), "log2(FPKM + 1)", "TPM", source="t")
    np.testing.assert_allclose(tpm, LINEAR / LINEAR.sum(axis=1, keepdims=True) * 1e6, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("given_units", "wanted", "kind", "says"),
    [
        ("z-score of one study", "log2(TPM + 1)", ConfigError, "undone only with the means and deviations"),
        ("TPM", "z-score", ConfigError, "undone only"),
        ("counts", "TPM", ConfigError, "gene lengths"),
        ("other, arbitrary", "TPM", ConfigError, "'other, arbitrary' is in words of your own"),
        ("TPM", "log2(TPM)", ConfigError, "without offset"),
    ],
)
def test_what_cannot_be_converted_is_said_with_the_reason(given_units, wanted, kind, says):
    values = LINEAR.copy()
    values[0, 0] = 0
    with pytest.raises(kind, match=says):
        convert(values, given_units, wanted, source="t")


def test_a_log_of_a_log_is_refused():
    with pytest.raises(DataError, match=r"t\.csv is in 'TPM'.*a log of a log means nothing"):
        convert(np.log2(LINEAR + 1), "TPM", "log2(TPM + 1)", source="t.csv")


def check(values: np.ndarray, units: str) -> None:
    rows, genes = [f"S{row}" for row in range(len(values))], [f"G{column}" for column in range(values.shape[1])]
    check_units(values, units, rows=rows, genes=genes, source="t.csv")


def test_negative_counts_are_named_with_row_and_column():
    values = LINEAR.copy()
    values[2, 7] = -3
    with pytest.raises(DataError, match=r"(?s)t\.csv is in 'counts' but has 1 negative values.*'S2', gene 'G7': -3"):
        check(values, "counts")


def test_values_too_large_for_a_logarithm_are_named():
    with pytest.raises(DataError, match=r"(?s)values above 64; these are no logarithms.*'S0', gene 'G"):
        check(LINEAR, "log2(TPM + 1)")


@pytest.mark.parametrize("units", ["TPM", "log2(TPM + 1)"])
def test_a_table_of_mixed_units_names_a_sample_of_each_kind(units):
    values = LINEAR.copy()
    values[3] = np.log2(values[3] + 1)
    with pytest.raises(
        DataError, match=r"mixes units: 3 samples reach values as 'S0'.*1 stay low as 'S3'.*`units: other,"
    ):
        check(values, units)


def test_what_fits_its_units_passes_missing_values_included():
    values = LINEAR.copy()
    values[0, 3] = values[1] = np.nan
    check(values, "TPM")
    check(np.log2(values + 0.001), "log2(TPM + 0.001)")
    check(values - 100, "z-score")


@pytest.mark.parametrize("text", ["log2(FPKM + 0.001), z-score per study", "TPM z-scores", "z-scored log2(TPM + 1)"])
def test_z_scores_of_anything_are_z_scores_and_are_not_undone(text):
    assert parse_units(text) == Units("z-score")
    with pytest.raises(ConfigError, match="z-score is undone only"):
        convert(np.zeros((2, 3), np.float32), text, "TPM", source="table.csv")


def test_the_most_that_a_logarithm_can_be_follows_its_base():
    values = np.full((2, 3), 2.0, np.float32)
    values[1, 2] = 30.0
    check_units(values, "log2(FPKM + 1)", rows=["a", "b"], genes=["x", "y", "z"], source="table.csv")
    with pytest.raises(DataError, match="'b', gene 'z'"):
        check_units(values, "log10(TPM + 1)", rows=["a", "b"], genes=["x", "y", "z"], source="table.csv")


@pytest.mark.parametrize(
    ("units", "value", "below"),
    [
        ("log2(TPM + 0.001)", -10.5, "below -10"),
        ("log2(TPM + 1)", -0.25, "below 0,"),
        ("log10(FPKM + 0.1)", -1.2, "below -1"),
        ("RSEM", -0.5, "negative values"),
    ],
)
def test_what_no_measurement_gives_is_refused_in_a_table_of_any_size(units, value, below):
    values = np.array([[1.0, 2.0], [0.5, value]], np.float32)
    with pytest.raises(DataError, match=rf"(?s)has 1 .*({below}).*in 1 of 2 samples.*sample 'S1', gene 'G1': {value}"):
        check(values, units)
    check(values, "z-score")
    check(values, f"other, batch-corrected {units}")


def test_a_table_that_fits_in_no_sample_is_refused_with_what_it_looks_like():
    values = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    with pytest.raises(DataError, match=r"in 6 of 6 samples\)\. The values look like z-score: .* correct `units`"):
        check(values, "log2(TPM + 1)")


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 6])
def test_a_floor_that_was_rounded_when_it_was_printed_is_the_floor(decimals):
    check(np.full((1, 2), np.round(np.log2(0.001), decimals), np.float32), "log2(TPM + 0.001)")


@pytest.mark.parametrize("units", ["TPM", "log2(TPM + 1)"])
@pytest.mark.parametrize(("samples", "genes"), [(20, 50), (1, 200)])
def test_one_logarithm_more_than_the_units_say_is_refused_from_fifty_genes_of_twenty_samples_on(units, samples, genes):
    values = np.log2(LINEAR.reshape(24, 200) + 1)[:samples, :genes]
    values = values if units == "TPM" else np.log2(values + 1)
    with pytest.raises(
        DataError,
        match=r"no value is above .* a log of a log means nothing; correct `units`.*`units: other, .* look like",
    ):
        check(values, units)
    check(values[:, :-1], units)


def test_low_values_that_are_skewed_or_whole_are_no_logarithms():
    check(LINEAR / 80, "TPM")
    check(np.random.default_rng(0).poisson(4, size=(4, 1200)).astype(np.float32), "counts")


def test_samples_of_low_counts_are_not_taken_for_another_scale():
    values = np.random.default_rng(0).negative_binomial(0.3, 0.01, size=(4, 1200)).astype(np.float32)
    values[3] = np.random.default_rng(1).poisson(3, 1200)
    check(values, "counts")
