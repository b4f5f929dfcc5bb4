"""Truths about floor values: what a study's own standardising leaves is found, and biology is not taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from mirror.config import CohortConfig, ExpressionConfig, load_config
from mirror.data.cohort import build_cohort
from mirror.data.expression import ExpressionTable, read_expression
from mirror.data.floors import artefact_sentences, describe_floors, group_floors
from mirror.data.tables import read_text_table
from mirror.seeding import rng_for
from mirror.simulate.cohort import simulate_cohort

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TWO = ("a",) * 60 + ("b",) * 40


def table(values: np.ndarray) -> ExpressionTable:
    rows, genes = (tuple(f"{letter}{n}" for n in range(size)) for letter, size in zip("PG", values.shape, strict=True))
    return ExpressionTable(rows, genes, values.astype(np.float32), "z-score", "t.csv")


def by_study(linear: np.ndarray, groups: tuple[str, ...]) -> np.ndarray:
    """Log values, standardised in each group on its own."""
    values, names = np.log2(linear + 1), np.array(groups)
    for name in set(groups):
        rows = names == name
        values[rows] = (values[rows] - values[rows].mean(axis=0)) / np.maximum(values[rows].std(axis=0), 1e-3)
    return values


def test_two_different_floors_are_found_and_named_with_their_probability():
    values = rng_for(0, "values").normal(size=(100, 6))
    values[:12, 2], values[60:70, 2] = -5, -4
    values[:30, 3], values[60:90, 3] = -6, -6  # the same floor, as zeros are before any transformation
    values[:30, 4] = -7  # one group alone: its tumours do not express the gene
    values[:2, 5], values[60:62, 5] = -9, -8  # too few to matter
    floors = group_floors(table(values), TWO)
    assert [floor.gene for floor in floors] == ["G2"]
    assert floors[0].by_group == {"a": -5.0, "b": -4.0}
    assert floors[0].share == pytest.approx({"a": 12 / 60, "b": 10 / 40})
    assert floors[0].p == pytest.approx(hypergeom.sf(11, 100, 12, 60))


def test_the_weaker_of_the_two_floors_decides_and_more_groups_make_it_dearer():
    values = rng_for(0, "values").normal(size=(100, 3))
    values[:12, 0], values[60:70, 0] = -5, -4
    two = group_floors(table(values), TWO)[0].p
    four = group_floors(table(values), (*TWO[:-20], *("c",) * 10, *("d",) * 10))[0].p
    weaker = max(hypergeom.sf(11, 100, 12, 60), hypergeom.sf(9, 100, 10, 20))
    assert two == pytest.approx(max(hypergeom.sf(11, 100, 12, 60), hypergeom.sf(9, 100, 10, 40)))
    assert four == pytest.approx(3 * weaker)


def test_most_genes_of_a_table_standardised_study_by_study_are_found_and_none_of_one_standardised_as_a_whole():
    rng = rng_for(0, "sparse")
    linear = rng.gamma(0.5, 20, size=(200, 300)) * (rng.random((200, 300)) > 0.3)
    groups = ("a",) * 120 + ("b",) * 80
    assert len(group_floors(table(by_study(linear, groups)), groups)) > 290
    assert group_floors(table(by_study(linear, ("all",) * 200)), groups) == ()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), sizes=st.tuples(*[st.integers(8, 80)] * 3), mean=st.floats(0.05, 6))
def test_small_counts_that_differ_between_groups_by_biology_raise_no_alarm(seed, sizes, mean):
    rng = rng_for(seed, "counts")
    groups = tuple(name for name, size in zip("abc", sizes, strict=True) for _ in range(size))
    per_group = mean * np.exp(rng.normal(size=(3, 400)))  # a gene is many times as common in one group as in another
    counts = rng.poisson(np.repeat(per_group, sizes, axis=0)).astype(float)
    counts[np.array(groups) == "a", :40] = 0
    assert group_floors(table(counts), groups) == ()
    assert group_floors(table(np.log2(counts + 1)), groups) == ()


def test_a_value_that_others_have_in_other_genes_is_no_floor_of_a_group():
    counts = rng_for(0, "counts").poisson(2.0, size=(100, 50)).astype(float)
    counts[:60, 0] = 0
    counts[60:, 0] = 1 + rng_for(1, "counts").poisson(1.0, size=40)  # all of b express it
    assert group_floors(table(counts), TWO) == ()
    assert "G0" in [floor.gene for floor in group_floors(table(by_study(counts, TWO)), TWO)]


def test_groups_drawn_by_chance_raise_no_alarm_in_a_table_standardised_study_by_study():
    rng = rng_for(0, "sparse")
    linear = rng.gamma(0.5, 20, size=(200, 300)) * (rng.random((200, 300)) > 0.3)
    values = table(by_study(linear, ("a",) * 120 + ("b",) * 80))
    for draw in range(10):
        assert group_floors(values, tuple(rng_for(draw, "groups").permutation(list("xxyyz") * 40))) == ()


def test_missing_values_and_patients_without_a_group_take_no_part():
    values = rng_for(0, "values").normal(size=(100, 2))
    values[:15, 0], values[60:75, 0] = -5, -4
    holes = np.full((20, 2), np.nan)
    strangers = np.full((5, 2), -5.0)
    wider = table(np.vstack([values, holes, strangers]))
    groups = (*TWO, *("a", "b") * 10, *(None,) * 5)
    (floor,), (same,) = group_floors(table(values), TWO), group_floors(wider, groups)
    assert (same.by_group, same.share, same.p) == (floor.by_group, floor.share, floor.p)
    assert group_floors(table(np.full((4, 2), np.nan)), ("a", "a", "b", "b")) == ()
    assert group_floors(table(values), ("a",) * 100) == ()


def test_the_account_says_what_it_means_and_names_a_group_a_value():
    values = rng_for(0, "values").normal(size=(100, 3))
    values[:15, 0], values[60:75, 0] = -5, -4
    groups = {f"P{n}": f"site {n // 20}" for n in range(100)}
    found = describe_floors(table(values), "site", groups)
    assert (found["genes"], found["examples"], found["groups"]["site 4"]) == (1, ["G0"], 20)
    assert "1 of 3 genes" in found["sentence"]
    assert "G0: site 0 -5 in 75%, site 3 -4 in 75%" in found["sentence"]
    assert "Expression-based subtyping is not to be trusted here" in found["sentence"]
    quiet = describe_floors(table(values), "site", dict.fromkeys(groups, "one site"))
    assert (quiet["genes"], quiet["sentence"]) == (0, None)
    assert artefact_sentences({"floors": [found, quiet]}) == [found["sentence"]]
    assert artefact_sentences({}) == []


@pytest.mark.parametrize(("cohort", "found"), [("rcc", 294), ("brca", 0), ("coadread", 0), ("blca", 0)])
def test_of_the_real_cohorts_the_one_standardised_study_by_study_is_told_apart_by_artefact(cohort, found, shared):
    folder = shared / "cohorts" / cohort
    settings = ExpressionConfig(path=folder / "expression.csv.gz", orientation="patients_in_rows", units="other")
    columns = ("oncotree_code", "site", "is_female")
    clinical = read_text_table(folder / "clinical.csv", ["case_id", *columns]).set_index("case_id")
    values = read_expression(settings).table
    genes = {by: describe_floors(values, by, clinical[by].dropna().to_dict())["genes"] for by in columns}
    assert (genes["oncotree_code"], genes["is_female"]) == (found, 0)
    assert bool(genes["site"]) is bool(found)  # sites lie within studies


def test_six_cancers_on_one_scale_raise_no_alarm(shared):
    samples = read_text_table(shared / "expression" / "rtcga_samples.csv", ["sample", "project"])
    path = shared / "expression" / "rtcga_rsem_log2.tsv.gz"
    settings = ExpressionConfig(path=path, orientation="genes_in_rows", units="log2(RSEM + 1)")
    projects = dict(zip(samples["sample"], samples["project"], strict=True))
    found = describe_floors(read_expression(settings).table, "project", projects)
    assert (sum(found["groups"].values()), len(found["groups"]), found["genes"]) == (317, 6, 0)


def test_the_configuration_names_the_groups_and_the_cohort_looks_at_them_and_at_the_label(tmp_path):
    simulate_cohort(tmp_path, seed=1)
    config = load_config(tmp_path / "demo.yaml").cohort
    assert config.clinical is not None
    assert [found["by"] for found in build_cohort(config).facts["floors"]] == ["subtype"]
    assert artefact_sentences(build_cohort(config).facts) == []
    again = config.model_copy(update={"clinical": config.clinical.model_copy(update={"groups": ("subtype", "event")})})
    assert isinstance(again, CohortConfig)
    assert [found["by"] for found in build_cohort(again).facts["floors"]] == ["subtype", "event"]


@pytest.mark.usefixtures("shared")
def test_the_kidney_cohort_says_so_without_being_asked():
    config = load_config(CONFIGS / "rcc.yaml")
    (sentence,) = artefact_sentences(build_cohort(config.cohort).facts)
    assert "column 'oncotree_code'" in sentence
    assert "294 of 1,526 genes" in sentence
