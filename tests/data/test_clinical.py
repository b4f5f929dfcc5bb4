"""Truths about the clinical table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mirror.config import ClinicalConfig
from mirror.data.clinical import read_clinical
from mirror.data.tables import glance
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
    assert "clinical.csv" in message and "(rows are counted from 1 below the header):" in message
    assert "row 1, patient 'P1', column 'days': -5 days is no time to an event" in message
    assert "row 2, patient 'P2', column 'days': 'x' is not a number" in message
    assert "row 2, patient 'P2', column 'status': 'maybe' is no value of deceased_or_living" in message
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
    with pytest.raises(
        DataError,
        match=r"(?s)row 2, patient 'P2', column 'age': 'old' is not.*row 3, patient 'P3', column 'age': 'inf'",
    ):
        read_covariates(tmp_path, "P1,61,F\nP2,old,M\nP3,inf,M\n")


def test_rows_of_a_patient_that_differ_in_a_covariate_contradict_each_other(tmp_path):
    with pytest.raises(DataError, match="contradict"):
        read_covariates(tmp_path, "P1,61,F\nP1,62,F\n")


def test_a_column_is_a_number_or_a_category_and_not_both():
    with pytest.raises(ValueError, match="twice: age"):
        ClinicalConfig.model_validate({"path": "c.csv", "covariates": {"numbers": ["age"], "categories": ["age"]}})


DUCT = "P1,Duct carcinoma,1,Dead\nP2,duct  Carcinoma,1,Dead\nP3,Duct carcinoma,1,Dead\nP4,lobular,1,Dead\n"


def test_one_class_in_several_ways_is_refused_until_it_is_said_what_is_meant(tmp_path):
    with pytest.raises(DataError, match=r"(?s)case or spaces alone.*'duct  Carcinoma': 'Duct carcinoma'") as caught:
        read(tmp_path, DUCT)
    assert "- 'Duct carcinoma' and 'duct  Carcinoma'" in str(caught.value)
    with pytest.raises(DataError, match="case or spaces alone"):
        read(tmp_path, DUCT, classes=("Duct carcinoma", "lobular"))
    spellings = {"duct  Carcinoma": "Duct carcinoma", "lobular": "Lobular carcinoma"}
    found = read(tmp_path, DUCT, spellings=spellings, classes=("Duct carcinoma", "Lobular carcinoma"))
    assert found.patients["label"].tolist() == [*["Duct carcinoma"] * 3, "Lobular carcinoma"]
    assert found.groups["subtype"] == dict(found.patients["label"])


def test_ways_of_a_class_that_nobody_asked_for_stop_nothing(tmp_path):
    rows = DUCT + "P5,serous,1,Dead\n"
    found = read(tmp_path, rows, classes=("lobular", "serous"))
    assert found.patients["class_outside"].notna().sum() == 3


def test_classes_that_truly_differ_by_case_can_be_kept_apart(tmp_path):
    rows = "P1,t,1,Dead\nP2,T,1,Dead\n"
    assert read(tmp_path, rows, spellings={"t": "t", "T": "T"}).patients["label"].tolist() == ["t", "T"]


def test_a_spelling_that_does_not_occur_is_named_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"'lobulr' of `spellings` does not occur.*'lobular'"):
        read(tmp_path, "P1,lobular,1,Dead\n", spellings={"lobulr": "lobular"})


def test_a_key_that_is_not_used_leaves_the_fingerprint_of_a_cohort_as_it_was():
    without = ClinicalConfig(path=Path("c.csv"), label="subtype")
    assert "spellings" not in without.model_dump(mode="json")
    given = without.model_copy(update={"spellings": {"a": "A"}})
    assert ClinicalConfig.model_validate(given.model_dump(mode="json")) == given


CBIOPORTAL = """#Patient Identifier\tSubtype\tOverall Survival (Months)\tOverall Survival Status
#Identifier to uniquely specify a patient.\tSubtype\tMonths\tStatus
#STRING\tSTRING\tNUMBER\tSTRING
#1\t1\t1\t1
PATIENT_ID\tSUBTYPE\tOS_MONTHS\tOS_STATUS
TCGA-A1-A0SB\tBRCA_Normal\t8.5\t0:LIVING
TCGA-A1-A0SD\tBRCA_LumA\t14.4\t1:DECEASED
"""


def test_the_four_lines_above_a_clinical_file_of_cbioportal_are_no_header(tmp_path):
    path = tmp_path / "data_clinical_patient.txt"
    path.write_text(CBIOPORTAL)
    columns = {"patient": "PATIENT_ID", "label": "SUBTYPE", "time": "OS_MONTHS", "event": "OS_STATUS"}
    found = read_clinical(
        ClinicalConfig.model_validate({"path": path, "event_convention": "deceased_or_living", **columns})
    )
    assert found.patients["event"].tolist() == [False, True]
    assert glance(path).columns == ("PATIENT_ID", "SUBTYPE", "OS_MONTHS", "OS_STATUS")
    path.write_text("# written by hand\n#PATIENT_ID\tSUBTYPE\nP1\tA\n")  # one line of names, marked or not
    assert glance(path).columns == ("#PATIENT_ID", "SUBTYPE")
    assert glance(path).rows == (("P1", "A"),)
    assert read_clinical(ClinicalConfig(path=path, patient="#PATIENT_ID", label="SUBTYPE")).rows_given == 1


def test_what_the_portals_write_for_nothing_is_missing(tmp_path):
    rows = "P1,'--,1,Dead\nP2,Not Reported,1,Dead\nP3,[Unknown],'--,not reported\nP4,A,1,Dead\n"
    patients = read(tmp_path, rows).patients
    assert patients["label"].tolist() == [None, None, None, "A"]
    assert patients["event"].isna().tolist() == [False, False, True, False]
