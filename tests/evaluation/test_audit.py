"""An audit finds what was planted, each kind of it with its size, and nothing in cohorts without a flaw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from clean_cohorts import Clean, clean_cohort, with_fold
from lifelines import NelsonAalenFitter
from scipy.stats import chi2_contingency, contingency, f_oneway, spearmanr
from sklearn.metrics import roc_auc_score

from mirror.config import ExpressionConfig
from mirror.data.cohort import Cohort
from mirror.data.expression import ExpressionTable, read_expression
from mirror.data.panel import fit_panel
from mirror.data.tables import read_text_table
from mirror.evaluation.audit.cohort import check_cohort
from mirror.evaluation.audit.columns import check_columns, order_p, rank_correlations, standing_apart, variance_between
from mirror.evaluation.audit.finding import FAMILY_ALPHA, Audit, Check, Finding, settle
from mirror.evaluation.audit.halves import Judged, check_halves, check_pooled
from mirror.evaluation.audit.memories import Memory, Refit, check_memories
from mirror.evaluation.audit.site_label import cramers_v, permuted_p, site_auroc
from mirror.evaluation.audit.site_survival import check_site_survival, expected_events, permuted_log_rank
from mirror.evaluation.audit.sites import BARCODE, barcode_sites
from mirror.types import Fold

CLEAN = 200


def audit(clean: Clean, folds: tuple[Fold, ...] | None = None) -> Audit:
    """All checks of a cohort, with a panel fitted in each fold, as a run fits it."""
    cohort, folds = clean.cohort, clean.cohort.folds if folds is None else folds
    assert cohort.expression is not None
    memories, refits, judged = [], [], []
    for fold in folds:
        panel = fit_panel(cohort.expression, fold.train, transform="standardise")
        train, test = frozenset(fold.train), frozenset(fold.test)
        memories.append(Memory("moments", f"fold {fold.number}", frozenset(panel.fitted_on), train, test))
        again = fit_panel(cohort.expression, panel.fitted_on, transform="standardise")
        refits.append(Refit("moments", f"fold {fold.number}", panel.mean, again.mean, again.scale))
        judged.append(Judged(f"fold {fold.number}", frozenset(panel.fitted_on), test))
    halves = check_halves(folds, judged, source="made folds")
    return settle(
        [halves, check_memories(memories, refits), *check_cohort(*clean[:1], folds, clean.groups, label="subtype")]
    )


def only(found: Audit) -> Finding:
    assert len(found.findings) == 1, [finding.sentence for finding in found.findings]
    return found.findings[0]


def with_expression(clean: Clean, change) -> Clean:
    """`change` gets the values (N, G) and the cohort's patients in their order, and edits the values in place."""
    table = clean.cohort.expression
    assert table is not None
    values = table.values.copy()
    change(values, clean.cohort.patients.loc[list(table.patients)])
    changed = ExpressionTable(table.patients, table.genes, values, table.units, table.source)
    return clean._replace(cohort=replace(clean.cohort, expression=changed))


def with_slides(clean: Clean, slides: pd.DataFrame) -> Clean:
    return clean._replace(cohort=replace(clean.cohort, slides=slides))


def test_two_hundred_clean_cohorts_raise_no_alarm():
    found = {seed: audit(clean_cohort(seed)).findings for seed in range(CLEAN)}
    assert {seed: findings for seed, findings in found.items() if findings} == {}


def test_the_tests_of_an_audit_hold_its_family_level_together():
    """A hundred audits of ten uniform p-values, a hundred times: what is below the level in any is what Holm says."""
    rng = np.random.default_rng(0)

    def suspicion(p: float) -> Finding:
        return Finding("c", "leak", "", 1, "", "", "", (), p)

    for _ in range(50):
        p = rng.uniform(0, 5 * FAMILY_ALPHA, 4)
        found = settle([Check("a", "", tuple(map(suspicion, p)), tests=9)])
        alarms = (np.sort(p) * np.arange(9, 5, -1) <= FAMILY_ALPHA).cumprod().sum()
        assert len(found.findings) == alarms
    certain = Finding("c", "leak", "", 1, "", "", "")
    assert settle([Check("a", "", (certain,))]).findings == (certain,)


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_in_both_halves_is_found_and_named(seed: int):
    clean = clean_cohort(seed)
    fold = clean.cohort.folds[1]
    leaked = fold._replace(train=(*fold.train, *fold.test[:3]))
    findings = {finding.check: finding for finding in audit(clean, with_fold(clean.cohort, leaked)).findings}
    found = findings["patients in both halves"]
    assert (found.severity, found.size, found.where) == ("leak", 3, "fold 1")
    assert set(found.examples) == set(fold.test[:3])
    # The panel of that fold was fitted on them too, and its memory says so.
    assert set(findings["fitted on the wrong patients"].examples) == set(fold.test[:3])


def test_a_run_that_was_judged_on_whom_it_was_trained_is_found_though_the_folds_are_clean():
    folds = [Fold(0, ("a", "b"), ("c", "d"))]
    check = check_halves(folds, [Judged("seed 0, fold 0", frozenset("ab"), frozenset("bc"))], source="folds")
    (finding,) = check.findings
    assert (finding.severity, finding.size, finding.examples) == ("leak", 1, ("b",))


def test_a_test_patient_whom_a_pooled_cohort_lent_is_found():
    found = list(check_pooled({"run": ("x", "c")}, {"run": ("c", "d")}))
    assert [(finding.severity, finding.examples) for finding in found] == [("leak", ("c",))]
    assert list(check_pooled({"run": ("x",)}, {"run": ("c", "d")})) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_panel_fitted_on_test_patients_is_found(seed: int):
    cohort = clean_cohort(seed).cohort
    assert cohort.expression is not None
    fold = cohort.folds[0]
    panel = fit_panel(cohort.expression, [*fold.train, *fold.test], transform="standardise")
    memory = Memory("panel", "fold 0", frozenset(panel.fitted_on), frozenset(fold.train), frozenset(fold.test))
    finding = only(settle([check_memories([memory], [])]))
    assert (finding.severity, finding.size) == ("leak", len(fold.test))


@pytest.mark.parametrize("seed", range(5))
def test_moments_that_are_not_those_of_whom_they_name_are_found(seed: int):
    cohort = clean_cohort(seed).cohort
    assert cohort.expression is not None
    fold = cohort.folds[0]
    liar = fit_panel(cohort.expression, [*fold.train, *fold.test], transform="standardise")
    honest = fit_panel(cohort.expression, fold.train, transform="standardise")
    finding = only(settle([check_memories([], [Refit("panel", "fold 0", liar.mean, honest.mean, honest.scale)])]))
    assert finding.severity == "leak" and "not those of the patients they name" in finding.sentence
    same = Refit("panel", "fold 0", honest.mean.astype(np.float32).astype(float), honest.mean, honest.scale)
    assert settle([check_memories([], [same])]).findings == ()


def test_a_choice_by_values_alone_is_a_warning_and_a_silent_memory_too():
    halves = frozenset("ab"), frozenset("cd")
    mild = Memory("choice of genes", "fold 0", frozenset("abcd"), *halves, mild=True)
    silent = Memory("weights", "fold 0", None, *halves)
    strange = Memory("scaler", "fold 0", frozenset("abz"), *halves)
    found = settle([check_memories([mild, silent, strange], [])]).findings
    assert {(finding.severity, finding.size) for finding in found} == {("warning", 2), ("warning", 1)}
    assert len(found) == 3 and {finding.examples for finding in found} >= {("z",)}


@pytest.mark.parametrize("seed", range(5))
def test_one_slide_under_two_names_is_a_leak_across_halves_and_a_warning_within_a_patient(seed: int):
    clean = clean_cohort(seed)
    slides, fold = clean.cohort.slides.copy(), clean.cohort.folds[0]
    one, other = (int(np.flatnonzero(slides["patient"] == half[0])[0]) for half in (fold.train, fold.test))
    for column in ("tiles", "feature_hash"):
        slides.loc[one, column] = slides.loc[other, column]
    finding = only(audit(with_slides(clean, slides)))
    assert (finding.severity, finding.size) == ("leak", 2)
    assert finding.examples == (" = ".join(sorted(slides.loc[[one, other], "slide"])),)
    # Both patients are together in the training halves of all folds but the two in which one is judged.
    own = clean.cohort.slides.copy()
    twin = own.iloc[[0]].assign(slide=own.loc[0, "slide"] + "-again")
    finding = only(audit(with_slides(clean, pd.concat([own, twin], ignore_index=True))))
    assert (finding.severity, finding.unit) == ("warning", "slides")


def test_one_profile_under_two_names_is_found():
    clean = clean_cohort(3)
    fold = clean.cohort.folds[0]

    def copy(values: np.ndarray, patients: pd.DataFrame) -> None:
        place = list(patients.index)
        values[place.index(fold.test[0])] = values[place.index(fold.train[0])]

    finding = only(audit(with_expression(clean, copy)))
    assert (finding.check, finding.severity) == ("profiles under two names", "leak")


@pytest.mark.parametrize("seed", range(5))
def test_floor_values_of_groups_are_found(seed: int):
    def standardise_by_batch(values: np.ndarray, patients: pd.DataFrame) -> None:
        batch = np.array([clean.groups["batch"][name] for name in patients.index])
        values[:, :20] = np.where(np.random.default_rng(seed).random((len(values), 20)) < 0.4, -9.97, values[:, :20])
        for name in set(batch):
            rows = batch == name
            values[rows] = (values[rows] - np.nanmean(values[rows], axis=0)) / np.nanstd(values[rows], axis=0)

    clean = clean_cohort(seed)
    finding = only(audit(with_expression(clean, standardise_by_batch)))
    assert (finding.severity, finding.where) == ("leak", "column 'batch'")
    assert finding.size >= 15


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("target", ["label", "event", "batch"])
def test_a_column_that_is_the_label_or_the_outcome_is_found(target: str, noise: float):
    clean = clean_cohort(4)

    def write(values: np.ndarray, patients: pd.DataFrame) -> None:
        groups = patients.index.map(clean.groups["batch"]) if target == "batch" else patients[target].astype(str)
        codes = pd.factorize(np.asarray(groups, dtype=object), sort=True)[0]
        values[:, 7] = codes + noise * np.random.default_rng(0).normal(size=len(values))

    findings = audit(with_expression(clean, write)).findings
    assert all(finding.severity == "leak" and finding.examples == ("GENE7",) for finding in findings)
    # Without noise its values are floors of the groups too.
    assert f"of its variance is {target}" in [finding.unit for finding in findings if finding.size > 0.99]
    assert len(findings) == 1 or noise == 0.0


def codes_of(clean: Clean, patients: pd.DataFrame, target: str) -> np.ndarray:
    groups = patients.index.map(clean.groups["batch"]) if target == "batch" else patients[target].astype(str)
    return pd.factorize(np.asarray(groups, dtype=object), sort=True)[0]


def spoilt(codes: np.ndarray, how: str) -> np.ndarray:
    """The label as a column with errors: 1 or 10 % of it dealt anew, or noise of a tenth of a step."""
    rng = np.random.default_rng(0)
    if how == "noise of 10 %":
        return codes + 0.1 * rng.normal(size=len(codes))
    rate = {"1 % wrong": 0.01, "10 % wrong": 0.1}[how]
    wrong = rng.choice(len(codes), max(1, round(rate * len(codes))), replace=False)
    changed = codes.copy()
    changed[wrong] = (codes[wrong] + 1) % (codes.max() + 1)
    return changed.astype(float)


@pytest.mark.parametrize("how", ["1 % wrong", "10 % wrong", "noise of 10 %"])
@pytest.mark.parametrize("seed", [4, 6, 7])
def test_a_label_with_errors_among_the_genes_is_a_warning_with_its_size(seed: int, how: str):
    clean = clean_cohort(seed)

    def write(values: np.ndarray, patients: pd.DataFrame) -> None:
        values[:, 7] = spoilt(codes_of(clean, patients, "label"), how)

    found = [one for one in audit(with_expression(clean, write)).findings if one.unit == "of its variance is label"]
    assert [(one.severity, one.examples) for one in found] == [("warning", ("GENE7",))]
    assert 0.4 < found[0].size <= 0.99 and f"{found[0].size:.3f}" in found[0].sentence


def test_a_crowd_of_markers_is_biology_and_one_that_stands_apart_a_warning():
    crowd = np.array([0.97, 0.96, 0.95, 0.93, 0.92, 0.9, 0.8, 0.3])
    assert standing_apart(crowd).tolist() == []
    assert standing_apart(np.array([0.3, 0.95, 0.2, 0.94])).tolist() == [1, 3]
    assert standing_apart(np.array([0.3, 0.89, 0.2])).tolist() == []
    assert standing_apart(np.array([0.95])).tolist() == []


@pytest.mark.parametrize(
    ("how", "severity"),
    [("as it is", "leak"), ("1 % wrong", "warning"), ("10 % wrong", "warning"), ("noise of 10 %", "warning")],
)
def test_a_clinical_variable_that_is_the_label_is_found_with_its_size(how: str, severity: str):
    clean = clean_cohort(4)
    patients = clean.cohort.patients
    codes = codes_of(clean, patients, "label")
    values = codes.astype(float) if how == "as it is" else spoilt(codes, how)
    columns = {"age": np.random.default_rng(1).normal(60, 9, len(codes)), "diagnosis": values}
    if how != "noise of 10 %":
        # Several codes of one diagnosis tell it no less.
        parts = np.random.default_rng(2).integers(2, size=len(codes))
        columns["icd"] = [f"{value:g}.{part}" for value, part in zip(values, parts, strict=True)]
    found = only_covariates(clean, pd.DataFrame(columns, index=patients.index))
    assert {one.where: one.severity for one in found} == dict.fromkeys([*columns][1:], severity)
    assert all(one.size > 0.5 for one in found)


def only_covariates(clean: Clean, covariates: pd.DataFrame) -> tuple[Finding, ...]:
    found = audit(clean._replace(cohort=replace(clean.cohort, covariates=covariates)))
    assert {one.check for one in found.findings} <= {"clinical variables that give away"}
    return found.findings


def test_a_clinical_variable_that_is_the_time_or_the_event_is_found_and_a_name_of_a_patient_is_not():
    clean = clean_cohort(5)
    patients = clean.cohort.patients
    columns = {"days": 30.4 * patients["time"], "status": np.where(patients["event"], "dead", "alive")}
    columns |= {"number": [f"file {n}" for n in range(len(patients))], "stage": np.arange(len(patients)) % 3.0}
    found = only_covariates(clean, pd.DataFrame(columns, index=patients.index))
    assert {(one.where, one.severity, one.unit) for one in found} == {
        ("days", "leak", "rank correlation"),
        ("status", "leak", "shared with event"),
    }


def hospital_of(clean: Clean, strength: float, seed: int) -> dict[str, str]:
    """Three hospitals, by chance or by how long patients live."""
    rng = np.random.default_rng(seed)
    rank = clean.cohort.patients["time"].rank(pct=True)
    mixed = (1 - strength) * rng.random(len(rank)) + strength * 0.999 * rank
    return {str(name): f"hospital {int(3 * share)}" for name, share in mixed.items()}


@pytest.mark.parametrize("seed", range(3))
def test_a_site_that_orders_survival_is_a_warning_with_its_size_in_a_cohort_without_label_too(seed: int):
    clean = clean_cohort(seed)
    cohort = replace(clean.cohort, slides=clean.cohort.slides.assign(label=None))
    finding = only(audit(Clean(cohort, {"hospital": hospital_of(clean, 0.8, seed)})))
    assert (finding.check, finding.severity, finding.where) == ("site confounded with survival", "warning", "hospital")
    assert finding.unit == "c-index" and finding.size > 0.6 and finding.p is not None and finding.p <= FAMILY_ALPHA


def test_where_no_fold_can_order_test_patients_the_size_is_the_ratio_of_hazards_and_the_words_say_so():
    clean = clean_cohort(0)
    patients = clean.cohort.patients
    names = tuple(str(name) for name in patients.index)
    alone = [Fold(number, names[:number] + names[number + 1 :], (name,)) for number, name in enumerate(names)]
    sites = {"hospital": hospital_of(clean, 0.8, 0)}
    ordered, unordered = (check_site_survival(sites, patients, folds) for folds in (clean.cohort.folds, alone))
    told, short = unordered.findings[0], (unordered.looked, unordered.findings[0].sentence)
    assert all("no fold has test patients to order" in words and "nan" not in words for words in short)
    assert told.unit == "times the hazard" and f"{told.size:.2f} times the hazard of another" in told.sentence
    assert told.size > 1 and told.p == ordered.findings[0].p
    assert ordered.findings[0].unit == "c-index" and "no fold" not in ordered.looked


def test_hospitals_that_follow_for_different_times_are_no_hospitals_that_differ():
    """Of uniform p-values one in ten is below 0.1; unequal follow-up must not make it many more."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        site = rng.integers(4, size=120)
        time, end = rng.exponential(20.0, 120), rng.exponential(np.array([5.0, 15.0, 40.0, 80.0])[site])
        followed = {"time": np.minimum(time, end), "event": (time <= end) * 1.0}
        frame = pd.DataFrame({**followed, "site": [f"site {number}" for number in site]})
        p.append(permuted_log_rank(frame))
    assert 0.04 < np.mean(np.array(p) < 0.1) < 0.18


def test_expected_events_are_the_hazard_summed_up_to_the_end_of_follow_up():
    time, event = np.array([1.0, 2.0, 2.0, 3.0, 5.0]), np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    fitted = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)
    assert expected_events(time, event) == pytest.approx(fitted.cumulative_hazard_at_times(time).to_numpy())
    assert expected_events(time, event).sum() == pytest.approx(event.sum())


def test_the_share_of_variance_between_classes_is_epsilon_squared_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [20, 30, 25]))
    x = rng.normal(size=(75, 3)) + np.outer(codes, [0.0, 1.0, 9.0])
    x[:4, 1] = np.nan
    shares = variance_between(np.column_stack([x, np.ones(75)]), codes)
    for column in range(3):
        there = ~np.isnan(x[:, column])
        parts = [x[there & (codes == code), column] for code in range(3)]
        statistic, n = f_oneway(*parts).statistic, there.sum()
        assert shares[column] == pytest.approx(1 - (n - 1) / (n - 3 + 2 * statistic))
    assert shares[3] == 0.0


def test_a_column_that_is_the_survival_time_is_found():
    def write(values: np.ndarray, patients: pd.DataFrame) -> None:
        values[:, 9] = np.log(patients["time"])

    finding = only(audit(with_expression(clean_cohort(5), write)))
    assert (finding.severity, finding.where, finding.unit) == ("leak", "GENE9", "rank correlation")


def test_a_column_that_is_the_survival_time_is_found_though_it_has_gaps():
    def write(values: np.ndarray, patients: pd.DataFrame) -> None:
        values[:, 9] = np.where(np.arange(len(values)) % 9 == 0, np.nan, -patients["time"])

    finding = only(audit(with_expression(clean_cohort(5), write)))
    assert (finding.severity, finding.where, finding.size) == ("leak", "GENE9", pytest.approx(1.0))


@pytest.mark.parametrize("seed", range(3))
def test_of_few_events_and_many_genes_some_gene_orders_them_by_chance_and_that_is_no_leak(seed: int):
    """Of eight events a rank correlation beyond 0.95 has a chance of one in 900: of 5,000 genes several have it."""
    rng = np.random.default_rng(seed)
    names = tuple(f"P{number}" for number in range(40))
    table = ExpressionTable(
        names, tuple(f"G{n}" for n in range(5000)), rng.normal(size=(40, 5000)).astype(np.float32), "log", "made"
    )
    people = pd.DataFrame({"label": None, "time": rng.exponential(30, 40), "event": np.arange(40) < 8}, index=names)
    check = check_columns(table, people, {})
    assert {finding.unit for finding in check.findings} == {"rank correlation"}  # suspicions, until they are settled
    assert settle([check]).findings == ()


@pytest.mark.parametrize("seed", range(3))
def test_of_small_classes_and_many_genes_some_gene_splits_them_by_chance_and_that_is_no_leak(seed: int):
    """Genes that are there or not: of 8 patients against 8 one in 6,435 is there in exactly one class."""
    rng = np.random.default_rng(seed)
    names = tuple(f"P{number}" for number in range(16))
    values = (rng.random((16, 20000)).argsort(axis=0) < 8).astype(np.float32)
    table = ExpressionTable(names, tuple(f"G{n}" for n in range(20000)), values, "log", "made")
    people = pd.DataFrame({"label": ["a", "b"] * 8, "time": np.nan, "event": pd.NA}, index=names)
    assert settle([check_columns(table, people, {})]).findings == ()


def test_the_rank_correlations_are_those_of_scipy():
    rng = np.random.default_rng(2)
    x, time = rng.normal(size=(30, 4)), rng.exponential(size=30).round(1)
    x[:, 1] = time + 0.1 * x[:, 1]
    x[[3, 7], 2], x[5:, 3] = np.nan, np.nan
    order, known = rank_correlations(x, time)
    for column in range(3):
        found = spearmanr(x[:, column], time, nan_policy="omit")
        assert order[column] == pytest.approx(found.statistic)
        assert order_p(order, known)[column] == pytest.approx(found.pvalue)
    assert (order[3], list(known)) == (0.0, [30, 30, 28, 5])


@pytest.mark.parametrize("seed", range(5))
def test_a_site_that_tells_the_label_is_a_warning_with_its_size(seed: int):
    clean = clean_cohort(seed)
    labels = clean.cohort.patients["label"]
    rng = np.random.default_rng(seed)
    # A batch that is the label in two of three patients.
    batch = {name: str(label) if rng.random() < 0.67 else "class 0" for name, label in labels.items()}
    finding = only(audit(clean._replace(groups={"subtype": clean.groups["subtype"], "batch": batch})))
    assert (finding.check, finding.severity, finding.where) == ("site confounded with label", "warning", "batch")
    assert finding.size > 0.6 and finding.p is not None and finding.p <= FAMILY_ALPHA


def test_the_chance_of_a_table_is_that_of_labels_dealt_anew():
    table = np.array([[9, 2], [3, 8], [5, 5]])
    rng = np.random.default_rng(1)
    rows, columns = np.repeat(np.arange(3), table.sum(axis=1)), np.repeat([0, 1], table.sum(axis=0))
    statistic = chi2_contingency(table, correction=False).statistic
    dealt = []
    for _ in range(4000):
        shuffled = np.zeros_like(table)
        np.add.at(shuffled, (rows, rng.permutation(columns)), 1)
        dealt.append(chi2_contingency(shuffled, correction=False).statistic >= statistic - 1e-9)
    assert permuted_p(table) == pytest.approx(np.mean(dealt), abs=0.015)


def test_the_size_of_an_association_is_zero_at_chance_and_one_where_both_say_the_same():
    assert cramers_v(np.array([[50, 50], [50, 50]])) == 0.0
    assert cramers_v(np.array([[60, 0], [0, 40]])) == pytest.approx(1.0)
    table = np.array([[30, 20], [10, 40]])
    plain = contingency.association(table, method="cramer", correction=False)
    assert 0 < cramers_v(table) < plain  # the correction takes off what chance alone gives


def test_the_auroc_from_a_site_is_that_of_its_shares_among_training_patients():
    frame = pd.DataFrame(
        {"site": list("aabbbbccaabbc"), "label": list("xyxxyyyyxyxyy")}, index=[f"p{n}" for n in range(13)]
    )
    fold = Fold(0, tuple(frame.index[:8]), tuple(frame.index[8:]))
    train, test = frame.iloc[:8], frame.iloc[8:]
    overall = (train["label"] == "y").mean()
    rate = {site: ((part["label"] == "y").sum() + overall) / (len(part) + 1) for site, part in train.groupby("site")}
    oracle = roc_auc_score(test["label"] == "y", [rate[site] for site in test["site"]])
    assert site_auroc(frame, [fold]) == pytest.approx(oracle)
    moved = frame.assign(label=[*frame["label"][:8], *frame["label"][8:][::-1]])
    assert site_auroc(moved, [fold]) != pytest.approx(oracle)


def test_sites_of_barcodes_are_those_of_tcga_and_other_names_have_none():
    assert barcode_sites(["TCGA-A1-A0SB", "TCGA-3C-AALI-01Z", "P-17"]) == {
        "TCGA-A1-A0SB": "A1",
        "TCGA-3C-AALI-01Z": "3C",
    }


def test_a_cohort_without_expression_or_label_is_audited_and_says_what_it_could_not_look_at():
    clean = clean_cohort(0)
    slides = clean.cohort.slides.assign(label=None)
    bare: Cohort = replace(clean.cohort, slides=slides, expression=None)
    checks = check_cohort(bare, bare.folds, {}, label=None)
    sizes = pd.Series(barcode_sites([str(name) for name in clean.cohort.patients.index])).value_counts()
    large, small = int((sizes >= 8).sum()), bool((sizes < 8).any())
    *looked, survival = [check.looked for check in checks[1:]]
    assert looked == [
        "no expression in this cohort",
        "no clinical variable is predicted from",
        "no expression in this cohort",
        "no label to be confounded with",
    ]
    assert survival.startswith(f"{BARCODE} ({large + small} sites, those of fewer than 8 patients as one: c-index of ")


def test_the_markers_of_six_cancers_are_biology(shared):
    samples = read_text_table(shared / "expression" / "rtcga_samples.csv", ["sample", "project"])
    path = shared / "expression" / "rtcga_rsem_log2.tsv.gz"
    table = read_expression(ExpressionConfig(path=path, orientation="genes_in_rows", units="log2(RSEM + 1)")).table
    projects = dict(zip(samples["sample"], samples["project"], strict=True))
    patients = pd.DataFrame({"label": pd.Series(projects), "time": np.nan, "event": pd.NA})
    check = check_columns(table, patients, {"project": projects}, label="project")
    assert check.findings == ()
