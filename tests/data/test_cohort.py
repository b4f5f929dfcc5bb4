"""Truths about the join of slides, expression and clinical table."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from mirror.config import CohortConfig
from mirror.data.cohort import COLUMNS, Cohort, build_cohort
from mirror.data.cohort_facts import endpoint_sentences, lifetime_sentences
from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.ledger import Excluded, balance
from mirror.errors import ArtefactError, DataError, LeakError, MirrorError


def excluded(cohort: Cohort) -> set[tuple[str, str, str]]:
    return set(cohort.excluded[["kind", "item", "reason"]].itertuples(index=False, name=None))


def test_a_clean_cohort_keeps_everything(tiny):
    cohort = build_cohort(tiny().config())
    assert tuple(cohort.slides.columns) == COLUMNS
    assert {kind: tuple(count) for kind, count in cohort.counts.items()} == {
        "slide": (13, 13, 0),
        "feature_file": (13, 13, 0),
        "expression": (12, 12, 0),
        "gene": (5, 5, 0),
        "clinical": (12, 12, 0),
    }
    assert cohort.slides["slide"].is_monotonic_increasing
    assert (cohort.feature_dim, cohort.encoder, len(cohort.folds)) == (4, None, 3)
    assert list(cohort.patients.index) == [f"P{number:02d}" for number in range(12)]
    assert cohort.facts["survival"]["events"] == 4
    assert cohort.facts["labels"]["classes"] == {"A": 6, "B": 6}


def test_follow_up_is_told_as_it_was_read_and_nobody_is_followed_for_longer_than_a_life(tiny):
    made = tiny()
    months = made.clinical["months"]
    facts = build_cohort(made.config()).facts
    (_, told) = endpoint_sentences(facts)
    assert f"(column 'months', read as months) has a median of {months.median():.1f} months" in told
    assert told.endswith(f"the longest is {months.max():.1f} months")
    assert lifetime_sentences(facts) == []
    made.clinical.loc[[2, 4], "months"] = [1500, 100]
    made.write("clinical", made.clinical)
    facts = build_cohort(made.config(clinical={"time_unit": "years"})).facts
    assert facts["survival"]["longest_months"] == 18000
    (warning,) = lifetime_sentences(facts)
    assert facts["survival"]["longer_than_a_life"] == [{"patient": "P02", "months": 18000.0}]
    assert "(100 years) of P02: 1,500 years. Column 'months' is read as years" in warning
    assert "`clinical.time_unit`" in warning


def test_every_row_carries_what_the_tables_say_of_its_patient(tiny):
    made = tiny()
    cohort = build_cohort(made.config())
    for row in cohort.slides.itertuples():
        clinical = made.clinical.set_index("case_id").loc[row.patient]
        assert (row.label, row.time, row.event) == (clinical.subtype, clinical.months, clinical.dead == 1)
        assert row.patient[1:] == row.slide[1:3]
    assert cohort.expression is not None
    profiles = made.expression.set_index("case_id").loc[list(cohort.expression.patients)]
    np.testing.assert_array_equal(cohort.expression.values, profiles.to_numpy(dtype=np.float32))


def test_everything_left_out_is_listed_with_its_reason_and_the_account_balances(tiny):
    made = tiny()
    made.bag("stray", torch.ones(3, 4))
    (made.folder / "features" / "S05.pt").unlink()
    made.write("slides", pd.concat([made.slides, made.slides.iloc[[3]]]))
    made.write("expression", pd.concat([made.expression, made.expression.iloc[[0]].assign(case_id="X")]))
    made.write("clinical", pd.concat([made.clinical.drop(index=2), made.clinical.iloc[[4]]]))
    cohort = build_cohort(made.config())
    assert excluded(cohort) == {
        ("slide", "S05", "no feature file"),
        ("slide", "S02", "an identical copy of another row"),
        ("feature_file", "stray.pt", "its slide is not in the slide table"),
        ("expression", "P05", "no slide of this patient was kept"),
        ("expression", "X", "not a patient of the cohort"),
        ("clinical", "P05", "no slide of this patient was kept"),
        ("clinical", "P04", "an identical copy of another row"),
    }
    for count in cohort.counts.values():
        assert count.kept + count.excluded == count.given
    assert {kind: count.given for kind, count in cohort.counts.items()} == {
        "slide": 14,
        "feature_file": 13,
        "expression": 13,
        "gene": 5,
        "clinical": 12,
    }


def test_an_account_that_does_not_balance_is_a_defect_and_says_so():
    with pytest.raises(MirrorError, match=r"kept \+ excluded is not given \(slide .*report it"):
        balance({"slide": 3}, {"slide": 1}, [Excluded("slide", "a", "because", "here")])


def test_patients_without_expression_or_clinical_row_stay_and_nothing_of_theirs_is_filled(tiny):
    made = tiny()
    made.write("expression", made.expression.drop(index=[1, 4]))
    made.write("clinical", made.clinical.drop(index=[3]))
    cohort = build_cohort(made.config())
    assert cohort.patients.index[~cohort.patients["has_expression"]].tolist() == ["P01", "P04"]
    lost = cohort.patients.loc["P03"]
    assert lost["label"] is None and np.isnan(lost["time"]) and lost["event"] is pd.NA
    assert cohort.facts["labels"]["missing"] == cohort.facts["survival"]["missing"] == 1
    assert sum(len(fold.test) for fold in cohort.folds) == 12


def test_new_patients_need_neither_clinical_table_nor_expression_nor_folds(tiny):
    cohort = build_cohort(tiny(patients=1).config(expression=None, clinical=None), with_folds=False)
    assert (len(cohort.slides), cohort.expression, cohort.folds) == (2, None, ())
    assert cohort.slides["label"].isna().all() and cohort.slides["event"].isna().all()
    assert set(cohort.counts) == {"slide", "feature_file"}


@pytest.mark.parametrize("bare", [False, True])
def test_a_cohort_survives_a_round_trip(bare, tiny, tmp_path):
    made = tiny()
    made.bag("stray", torch.ones(3, 4))
    made.write("clinical", made.clinical.drop(index=[3]))
    config = made.config(expression=None, clinical=None) if bare else made.config()
    cohort = build_cohort(config, with_folds=not bare)
    cohort.save(tmp_path / "out")
    again = Cohort.load(tmp_path / "out")
    pd.testing.assert_frame_equal(again.slides, cohort.slides)
    pd.testing.assert_frame_equal(again.excluded, cohort.excluded)
    assert (again.folds, again.feature_dim, again.encoder) == (cohort.folds, cohort.feature_dim, cohort.encoder)
    assert (again.counts, again.facts) == (cohort.counts, cohort.facts)
    assert (again.paths, again.owners) == (cohort.paths, cohort.owners)
    if cohort.expression is None:
        assert again.expression is None
    else:
        assert again.expression is not None
        assert again.expression.content_hash() == cohort.expression.content_hash()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cohort.parquet", "covariates.parquet", "excluded.csv", "folds.json", "cohort.json"} | (
        set() if bare else {"expression.h5ad"}
    )


def test_an_interrupted_save_is_not_taken_for_a_cohort(tiny, tmp_path, monkeypatch):
    cohort = build_cohort(tiny().config())
    cohort.save(tmp_path / "out")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mirror.data.cohort.save_folds", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cohort.save(tmp_path / "out")
    with pytest.raises(ArtefactError, match=r"cohort\.json is missing"):
        Cohort.load(tmp_path / "out")
    assert not [path for path in (tmp_path / "out").iterdir() if "aside" in path.name]


@pytest.mark.parametrize(
    "name", ["cohort.parquet", "covariates.parquet", "excluded.csv", "folds.json", "expression.h5ad"]
)
def test_a_cohort_that_lacks_or_spoils_a_file_is_refused_by_name(name, tiny, tmp_path):
    build_cohort(tiny().config()).save(tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    with pytest.raises(ArtefactError, match="out"):
        Cohort.load(tmp_path / "out")


def test_a_full_disk_leaves_no_half_file(tiny, tmp_path):
    made = tiny()
    config = made.folder / "config.json"
    config.write_text(made.config().model_dump_json())
    # In a process of its own, because the limit on file sizes cannot be taken back from the test's.
    script = f"""
        import resource, signal
        from pathlib import Path
        from mirror.config import CohortConfig
        from mirror.data.cohort import build_cohort
        from mirror.errors import MirrorError
        cohort = build_cohort(CohortConfig.model_validate_json(Path({str(config)!r}).read_text()))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (100, 10_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                cohort.save(Path({str(tmp_path / "out")!r}))
            except MirrorError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "cohort.parquet" in first and "expression.h5ad" in second
    assert "free space" in first and "free space" in second
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cohort.parquet",
        "covariates.parquet",
        "excluded.csv",
    ]


def test_the_cohort_does_not_depend_on_the_order_of_any_table(tiny):
    made = tiny()
    before = build_cohort(made.config())
    for name in ("slides", "expression", "clinical"):
        made.write(name, getattr(made, name).sample(frac=1, random_state=1))
    after = build_cohort(made.config())
    pd.testing.assert_frame_equal(before.slides, after.slides)
    assert before.folds == after.folds
    assert before.expression is not None and after.expression is not None
    assert before.expression.content_hash() == after.expression.content_hash()


def test_the_same_features_under_two_names_are_reported_and_kept(tiny):
    made = tiny()
    for slide in ("S03", "S07"):
        made.bag(slide, torch.ones(3, 4))
    cohort = build_cohort(made.config())
    assert cohort.facts["duplicate_features"] == [["S03", "S07"]]
    assert len(cohort.slides) == 13


def test_a_bad_bag_stops_the_run_or_is_left_out_as_the_configuration_says(tiny):
    made = tiny()
    spoilt = torch.ones(7, 4)
    spoilt[2, 1] = torch.nan
    made.bag("S02", spoilt)
    made.bag("S04", torch.empty(0, 4))
    (made.folder / "features" / "S06.pt").write_bytes(b"half")
    with pytest.raises(DataError) as caught:
        build_cohort(made.config())
    message = str(caught.value)
    assert "S02.pt has NaN or infinite values in 1 of 7 tiles, the first in row 3" in message
    assert "S04.pt is an empty bag" in message and "S06.pt" in message and "features.on_bad: exclude" in message
    cohort = build_cohort(made.config(features={"on_bad": "exclude"}))
    assert cohort.counts["slide"] == (13, 10, 3) and cohort.counts["feature_file"] == (13, 10, 3)
    assert cohort.counts["expression"] == (12, 9, 3)


def test_all_problems_of_all_tables_come_in_one_error(tiny):
    made = tiny()
    made.bag("S02", torch.ones(7, 5))
    made.write("clinical", made.clinical.assign(dead=["2", *made.clinical["dead"][1:]]))
    made.write("expression", made.expression.assign(GENE2="high"))
    with pytest.raises(DataError) as caught:
        build_cohort(made.config())
    message = str(caught.value)
    assert "width 4: 12 files" in message and "width 5: 1 files" in message and "S02.pt" in message
    assert "row 1, patient 'P00', column 'dead': '2' is no value of one_is_event" in message
    assert "row 1, column 'GENE2': 'high'" in message


def test_features_of_two_encoders_are_refused_and_so_is_another_than_the_configured(tiny):
    made = tiny()
    for slide, encoder in (("N1", "uni"), ("N2", "conch")):
        with h5py.File(made.folder / "features" / f"{slide}.h5", "w") as file:
            file["features"] = np.ones((3, 4), np.float32)
            file.attrs["encoder"] = encoder
    new = pd.DataFrame({"slide_id": ["N1", "N2"], "case_id": ["P01", "P02"]})
    made.write("slides", pd.concat([made.slides, new]))
    with pytest.raises(DataError, match=r"(?s)several encoders.*conch: 1 files, such as .*N2\.h5.*uni: 1 files"):
        build_cohort(made.config())
    made.write("slides", pd.concat([made.slides, new[:1]]))
    assert build_cohort(made.config()).encoder == "uni"
    with pytest.raises(DataError, match=r"(?s)`features.encoder` is phikon, but files name others.*uni"):
        build_cohort(made.config(features={"encoder": "phikon"}))


def test_features_of_two_magnifications_are_refused_as_the_files_of_trident_and_ours_name_them(tiny):
    made = tiny()
    (made.folder / "features" / "S01.pt").unlink()
    (made.folder / "features" / "S02.pt").unlink()
    with h5py.File(made.folder / "features" / "S01.h5", "w") as file:
        file["features"] = np.ones((3, 4), np.float32)
        file.create_dataset("coords", data=np.zeros((3, 2))).attrs["target_magnification"] = 20
    ours = made.folder / "features" / "S02.h5"
    write_bag(ours, np.ones((3, 4), np.float32), facts=BagFacts(target_magnification=10.0))
    with pytest.raises(
        DataError, match=r"(?s)several magnifications.*10x: 1 files, such as .*S02\.h5.*20x: 1 files, such as .*S01\.h5"
    ):
        build_cohort(made.config())
    write_bag(ours, np.ones((3, 4), np.float32), facts=BagFacts(mpp=1.0, target_magnification=20.0))
    # Files that name none are taken on trust, and no resolution is held against a magnification.
    tiles = build_cohort(made.config()).facts["tiles"]
    assert (tiles["magnification"], tiles["mpp"]) == (20.0, 1.0)


def test_a_slide_of_two_patients_and_a_nameless_row_are_named(tiny):
    made = tiny()
    more = pd.DataFrame({"slide_id": ["S03", None], "case_id": ["P09", "P09"]})
    made.write("slides", pd.concat([made.slides, more]))
    with pytest.raises(DataError) as caught:
        build_cohort(made.config())
    assert "slide 'S03' is patient 'P03' in row 5 and 'P09' in row 14; keep the right one" in str(caught.value)
    assert "row 15 lacks its slide or its patient" in str(caught.value)


def test_tables_that_share_nothing_are_shown_with_three_names_of_each_side(tiny):
    made = tiny()
    made.write("clinical", made.clinical.assign(case_id=[f"Q{number}" for number in range(12)]))
    made.write("expression", made.expression.assign(case_id=[f"{name}-01A" for name in made.expression["case_id"]]))
    with pytest.raises(DataError) as caught:
        build_cohort(made.config())
    assert (
        "expression.csv belongs to a patient of the cohort: it has P00-01A, P01-01A, P02-01A, the cohort P00, P01, P02"
        in str(caught.value)
    )
    assert "the second Q0, Q1, Q10" in str(caught.value)


def test_slides_that_share_nothing_with_the_files_are_shown_with_three_names_of_each_side(tiny):
    made = tiny()
    made.write("slides", made.slides.assign(slide_id=made.slides["slide_id"] + ".svs"))
    with pytest.raises(DataError, match=r"the table names S00\.svs, .* the files are S00, S00b, S01"):
        build_cohort(made.config())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"slides": {"slide": "slideid"}}, r"slides\.csv has the columns slide_id, case_id.*did you mean 'slide_id'"),
        ({"clinical": {"event": "death"}}, r"clinical\.csv has the columns .*no column 'death'; did you mean 'dead'"),
        ({"features": {"path": Path("/nowhere")}}, "no folder of tile features /nowhere"),
        ({"folds": {"count": 7}}, r"7 folds need 7 patients of each class.*class 'A' has 6"),
        (
            {"clinical": {"event_convention": "deceased_or_living"}},
            "row 1, patient 'P00', column 'dead': '1' is no value of deceased",
        ),
    ],
)
def test_a_wrong_configuration_is_answered_with_the_remedy(change, says, tiny):
    with pytest.raises(DataError, match=rf"(?s){says}"):
        build_cohort(tiny().config(**change))


def test_progress_counts_the_slides(tiny):
    seen: list[tuple[int, int]] = []
    build_cohort(tiny().config(), progress=lambda done, total, _="": seen.append((done, total)))
    assert seen[0] == (0, 13) and seen[-1] == (13, 13)


def real(shared: Path, name: str, *, classes: tuple[str, ...] | None, units: str, folds: bool) -> CohortConfig:
    folder = shared / "cohorts" / name
    return CohortConfig.model_validate(
        {
            "features": {"path": folder / "features"},
            "slides": {"path": folder / "slides.csv"},
            "expression": {
                "path": folder / "expression.csv.gz",
                "orientation": "patients_in_rows",
                "identifiers": "tcga",
                "units": units,
            },
            "clinical": {
                "path": folder / "clinical.csv",
                "label": "oncotree_code" if classes else None,
                "classes": classes,
                "time": "survival_months",
                "event": "censorship",
                "event_convention": "one_is_censored",
            },
            "folds": {"path": folder / "folds.json" if folds else None},
        }
    )


@pytest.mark.parametrize(
    ("name", "classes", "folds", "patients", "slides", "expression", "deaths"),
    [
        ("brca", {"IDC": 694, "ILC": 143}, True, 897, 937, (897, 1526), 128),
        ("coadread", {"COAD": 204, "READ": 76}, True, 316, 321, (293, 1577), 78),
        ("blca", None, False, 371, 434, (358, 1577), 169),
        # Six patients have no clinical data, so that 218 deaths are known.
        ("rcc", {"CCRCC": 492, "PRCC": 267, "CHRCC": 107}, False, 872, 899, (591, 1526), 218),
    ],
)
def test_the_real_cohorts_have_their_known_numbers(shared, name, classes, folds, patients, slides, expression, deaths):
    names = tuple(classes) if classes else None
    cohort = build_cohort(real(shared, name, classes=names, units="z-score", folds=folds))
    assert (len(cohort.patients), len(cohort.slides), cohort.feature_dim) == (patients, slides, 192)
    assert cohort.expression is not None and cohort.expression.values.shape == expression
    assert int(cohort.patients["has_expression"].sum()) == expression[0]
    assert cohort.facts["survival"]["events"] == deaths
    assert (cohort.facts["labels"] or {}).get("classes") == classes
    assert len(cohort.excluded) == 0 and len(cohort.folds) == 5
    assert sorted(patient for fold in cohort.folds for patient in fold.test) == list(cohort.patients.index)


def test_the_folds_of_rcc_that_share_patients_are_refused_and_the_patients_named(shared):
    with pytest.raises(LeakError) as caught:
        build_cohort(real(shared, "rcc", classes=None, units="z-score", folds=True))
    content = json.loads((shared / "cohorts" / "rcc" / "folds.json").read_text())
    for number, part in content.items():
        both = sorted(set(part["train"]) & set(part["val"]))
        assert f"fold {number}: {len(both)} patients in both halves: {', '.join(both)}" in str(caught.value)


def test_patients_with_expression_alone_are_kept_where_the_table_is_of_this_cohort(tiny, tmp_path):
    made = tiny()
    (made.folder / "features" / "S05.pt").unlink()
    made.write("expression", pd.concat([made.expression, made.expression.iloc[[0]].assign(case_id="X")]))
    assert build_cohort(made.config()).without_slide.empty
    cohort = build_cohort(made.config(expression={"without_slide": "keep"}))
    assert list(cohort.without_slide.index) == ["P05", "X"]
    assert not {"P05", "X"} & set(cohort.slides["patient"])
    clinical = made.clinical.set_index("case_id").loc["P05"]
    one = cohort.patients.loc["P05"]
    assert (one.has_expression, one.label, one.time, one.event) == (
        True,
        clinical.subtype,
        clinical.months,
        clinical.dead == 1,
    )
    assert cohort.patients.loc["X", "label"] is None and np.isnan(cohort.patients.loc["X", "time"])
    assert cohort.expression is not None
    assert {"P05", "X"} <= set(cohort.expression.patients)
    assert {kind: tuple(cohort.counts[kind]) for kind in ("expression", "clinical")} == {
        "expression": (13, 13, 0),
        "clinical": (12, 12, 0),
    }
    assert (cohort.facts["patients"], cohort.facts["patients_without_slide"]) == (13, 2)
    for fold in cohort.folds:
        assert set(fold.train) | set(fold.test) == set(cohort.patients.index)
        assert not set(fold.train) & set(fold.test)
    cohort.save(tmp_path / "kept")
    loaded = Cohort.load(tmp_path / "kept")
    pd.testing.assert_frame_equal(loaded.without_slide, cohort.without_slide)
    pd.testing.assert_frame_equal(loaded.patients, cohort.patients)
    build_cohort(made.config()).save(tmp_path / "kept")
    assert Cohort.load(tmp_path / "kept").without_slide.empty
    assert not (tmp_path / "kept" / "without_slide.parquet").exists()
