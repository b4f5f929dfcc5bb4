"""Truths about the clinical table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mirror.config import ClinicalConfig
from mirror.data.clinical import read_clinical
from mirror.errors import DataError

HEADER = "case_id,subtype,days,status\n"


def read(folder: Path, rows: str, **changes: object):
    path = folder / "clinical.csv"
    path.write_text(HEADER + rows)
    settings = {
        "label": "subtype",
        "time": "days",
        "time_unit": "days",
        "event": "status",
        "event_convention": "deceased_or_living",
    } | changes
    return read_clinical(ClinicalConfig.model_validate({"path": path, **settings}))


def test_labels_and_survival_are_read_and_nothing_missing_is_filled(tmp_path):
    found = read(tmp_path, "P1,A,365.25,1:DECEASED\nP2,,730.5,0:LIVING\nP3,B,,1:DECEASED\nP4,[Not Available],9,\n")
    patients = found.patients
    assert patients["label"].tolist() == ["A", None, "B", None]
    np.testing.assert_allclose(patients["time"], [12, 24, np.nan, np.nan])
    assert patients["event"].tolist()[:2] == [True, False]
    assert patients["event"].isna().tolist() == [False, False, True, True]
    assert (found.rows_given, found.excluded) == (4, ())


def test_patients_of_other_classes_have_no_label_and_are_counted(tmp_path):
    patients = read(tmp_path, "P1,A,1,Dead\nP2,B,1,Dead\nP3,C,1,Dead\nP4,,1,Dead\n", classes=("A", "B")).patients
    assert patients["label"].tolist() == ["A", "B", None, None]
    assert patients["class_outside"].tolist() == [None, None, "C", None]


def test_a_table_without_survival_or_without_labels_is_enough(tmp_path):
    only_labels = read(tmp_path, "P1,A,1,Dead\n", time=None, event=None, event_convention=None).patients
    assert only_labels["event"].isna().all() and only_labels["label"].tolist() == ["A"]
    only_survival = read(tmp_path, "P1,A,1,Dead\n", label=None).patients
    assert only_survival["label"].tolist() == [None] and only_survival["event"].tolist() == [True]


def test_an_identical_copy_is_listed_and_a_contradicting_row_is_refused(tmp_path):
    found = read(tmp_path, "P1,,5,Dead\nP1,,5,Dead\nP2,A,5,Dead\n")
    assert [(entry.kind, entry.item) for entry in found.excluded] == [("clinical", "P1")]
    assert len(found.patients) + len(found.excluded) == found.rows_given
    with pytest.raises(DataError, match=r"(?s)clinical\.csv.*'P1': row 1 and row 3; keep the right one"):
        read(tmp_path, "P1,A,5,Dead\nP2,A,5,Dead\nP1,B,5,Dead\n")


def test_copies_that_differ_only_in_columns_nobody_asked_for_are_identical(tmp_path):
    found = read(tmp_path, "P1,A,5,Dead\nP1,A,6,Alive\n", time=None, event=None, event_convention=None)
    assert len(found.patients) == 1


def test_every_bad_cell_is_named_with_row_and_column_in_one_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "P1,A,-5,Dead\nP2,A,x,maybe\nP3,A,5,Dead\n")
    message = str(caught.value)
    assert "clinical.csv" in message
    assert "row 1, column 'days': -5 days is no time to an event" in message
    assert "row 2, column 'days': 'x' is not a number" in message
    assert "row 2, column 'status': 'maybe' is no value of deceased_or_living" in message
    assert "row 3" not in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": "subtyp"}, r"has the columns case_id, subtype, days, status.*\n.*'subtyp'; did you mean 'subtype'"),
        ({"classes": ("A", "LUAD2")}, "class 'LUAD2' does not occur; did you mean 'LUAD'"),
    ],
)
def test_a_name_that_does_not_occur_is_reported_with_the_nearest(change, says, tmp_path):
    with pytest.raises(DataError, match=says):
        read(tmp_path, "P1,A,1,Dead\nP2,LUAD,1,Dead\n", **change)


def test_a_row_without_a_patient_is_named(tmp_path):
    with pytest.raises(DataError, match="row 2 names no patient"):
        read(tmp_path, "P1,A,1,Dead\n,A,1,Dead\n")


COVARIATES = {"covariates": {"numbers": ["age"], "categories": ["sex"]}, "label": None, "time": None, "event": None}


def read_covariates(folder: Path, rows: str):
    path = folder / "clinical.csv"
    path.write_text("case_id,age,sex\n" + rows)
    return read_clinical(ClinicalConfig.model_validate({"path": path, **COVARIATES})).covariates


def test_covariates_are_numbers_and_names_and_nothing_missing_is_filled(tmp_path):
    found = read_covariates(tmp_path, "P1,61.5,F\nP2,,M\nP3,40,\n")
    assert found.index.tolist() == ["P1", "P2", "P3"]
    np.testing.assert_array_equal(found["age"], [61.5, np.nan, 40.0])
    assert found["sex"].tolist() == ["F", "M", None]


def test_a_covariate_that_is_no_number_is_named_with_its_row(tmp_path):
    with pytest.raises(DataError, match=r"(?s)row 2, column 'age': 'old' is not.*row 3, column 'age': 'inf'"):
        read_covariates(tmp_path, "P1,61,F\nP2,old,M\nP3,inf,M\n")


def test_rows_of_a_patient_that_differ_in_a_covariate_contradict_each_other(tmp_path):
    with pytest.raises(DataError, match="contradict"):
        read_covariates(tmp_path, "P1,61,F\nP1,62,F\n")


def test_a_column_is_a_number_or_a_category_and_not_both():
    with pytest.raises(ValueError, match="twice: age"):
        ClinicalConfig.model_validate({"path": "c.csv", "covariates": {"numbers": ["age"], "categories": ["age"]}})
