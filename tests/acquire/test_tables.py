"""Truths about the tables that are made of what the sources sent."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO

import pandas as pd
import pytest

from mirror.acquire.client import Client
from mirror.acquire.fetch import fetch
from mirror.acquire.lock import Lock
from mirror.acquire.plan import plan
from mirror.acquire.settings import load_recipe
from mirror.acquire.tables import write_tables
from mirror.config import ExpressionConfig, SampleSheetConfig
from mirror.data.expression import read_expression
from mirror.errors import DataError
from mirror.simulate.archive import Served


def fetched(made, folder, recipe=None):
    recipe = recipe or made.recipe
    client = Client(recipe.transfer)
    fetch(plan(recipe, folder, client), folder, client, recipe.transfer)
    return Lock.load(folder)


def clinical(folder):
    return pd.read_csv(folder / "clinical.csv", dtype=str, keep_default_na=False).set_index("case_id")


@pytest.mark.parametrize("name", ["nsclc", "rcc"])
def test_clinical_data_of_the_studies_is_the_simulated_truth(simulate, tmp_path, name):
    made = simulate(name, parts=("clinical", "survival"))
    lock = fetched(made, tmp_path)
    counts = write_tables(lock, tmp_path)
    table = clinical(tmp_path)
    for person in made.people:
        row = table.loc[person.name]
        assert (row["label"], row["project"]) == (person.label, person.project)
        assert row["survival_months"] == ("" if person.months is None else str(person.months))
        assert row["event"] == ("1:DECEASED" if person.dead else "0:LIVING")
    timed = [person for person in made.people if person.months is not None]
    assert counts[1:] == (len(made.people), len(made.people), len(timed), sum(person.dead for person in timed))


def test_survival_from_the_gdc_where_no_study_is_named(simulate, tmp_path):
    made = simulate(parts=("clinical",), studies=None)
    lock = fetched(made, tmp_path)
    write_tables(lock, tmp_path)
    table = clinical(tmp_path)
    for person in made.people:
        days = "" if person.months is None else str(round(person.months * 30.4375))
        assert table.loc[person.name, "survival_days"] == days
        assert table.loc[person.name, "label"] == person.label


@pytest.mark.parametrize(
    ("case", "days", "event"),
    [
        ({"demographic": {"vital_status": "Dead", "days_to_death": 10}}, "10", "1:DECEASED"),
        ({"demographic": {"vital_status": "Dead"}, "follow_ups": [{"days_to_follow_up": 9}]}, "", "1:DECEASED"),
        (
            {
                "demographic": {"vital_status": "Alive", "days_to_death": 5},
                "diagnoses": [{"days_to_last_follow_up": 20}],
                "follow_ups": [{"days_to_follow_up": 30}, {}],
            },
            "30",
            "0:LIVING",
        ),
        ({"demographic": {"vital_status": "Alive"}, "diagnoses": [{"days_to_last_follow_up": 0}]}, "0", "0:LIVING"),
        ({"demographic": {"vital_status": "Not Reported"}, "follow_ups": [{"days_to_follow_up": 30}]}, "", ""),
        ({}, "", ""),
    ],
)
def test_follow_up_is_what_was_heard_last_and_nothing_is_made_up(simulate, tmp_path, case, days, event):
    made = simulate(parts=("clinical",), studies=None)
    person = made.people[0]
    identity = {"submitter_id": person.name, "project": {"project_id": person.project}}
    made.archive.content.hits["cases"][0] = identity | case
    write_tables(fetched(made, tmp_path), tmp_path)
    row = clinical(tmp_path).loc[person.name]
    assert (row["survival_days"], row["event"]) == (days, event)


def test_slides_and_star_files_belong_to_their_patients_and_are_read_by_the_package(simulate, tmp_path):
    made = simulate(parts=("star",))
    lock = fetched(made, tmp_path)
    write_tables(lock, tmp_path)
    slides = pd.read_csv(tmp_path / "slides.csv")
    assert dict(zip(slides["slide_id"], slides["case_id"], strict=True)) == {
        slide: person.name for person in made.people for slide in person.slides
    }
    config = ExpressionConfig(
        path=tmp_path / "star",
        layout="gdc_star",
        value="tpm_unstranded",
        identifiers="tcga",
        units="TPM",
        samples=SampleSheetConfig(path=tmp_path / "samples.csv"),
    )
    table = read_expression(config).table
    assert set(table.patients) == {person.name for person in made.people if person.expressed}
    assert len(table.genes) == 50


def test_the_genes_of_the_archive_are_unpacked_whatever_it_calls_them(simulate, tmp_path):
    made = simulate(parts=("genes",))
    path = f"/intogen/{made.recipe.genes.archive}"
    body = BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("../../Compendium_Cancer_Genes.tsv", "SYMBOL\tCANCER_TYPE\nTP53\tBRCA\n")
    made.archive.content.files[path] = Served(body.getvalue())
    lock = fetched(made, tmp_path)
    write_tables(lock, tmp_path)
    assert (tmp_path / "genes" / "Compendium_Cancer_Genes.tsv").read_text().endswith("TP53\tBRCA\n")
    assert not (tmp_path.parent / "Compendium_Cancer_Genes.tsv").exists()


@pytest.mark.parametrize("body", [b"<html>", b""])
def test_an_archive_that_is_none_says_so(simulate, tmp_path, body):
    made = simulate(parts=("genes",))
    made.archive.content.files[f"/intogen/{made.recipe.genes.archive}"] = Served(body)
    with pytest.raises(DataError, match="is no readable zip archive"):
        write_tables(fetched(made, tmp_path), tmp_path)


def test_a_label_that_the_studies_have_not_is_named(simulate, tmp_path):
    made = simulate(parts=("survival",))
    other = made.recipe.studies.model_copy(update={"label": "ONCOTREE_CODES"})
    recipe = made.recipe.model_copy(update={"studies": other})
    with pytest.raises(DataError, match="have no attribute 'ONCOTREE_CODES'; did you mean 'ONCOTREE_CODE'"):
        write_tables(fetched(made, tmp_path, recipe), tmp_path)


def test_documents_of_something_else_are_named(simulate, tmp_path):
    made = simulate(parts=("clinical", "survival"))
    lock = fetched(made, tmp_path)
    path = tmp_path / lock.of_part("clinical")[0].path
    path.write_text(json.dumps({"data": {}}))
    with pytest.raises(DataError, match=r"gdc_cases\.000\.json holds no cases of the GDC"):
        write_tables(lock, tmp_path)


def test_the_sample_of_the_first_name_stands_for_the_patient(simulate, tmp_path):
    made = simulate(parts=("survival",))
    study = made.recipe.studies.studies[0]
    rows = made.archive.content.documents[f"/cbioportal/studies/{study}/clinical-data"]["SAMPLE"]
    person = made.people[0].name
    rows.insert(0, next(row for row in rows if row["patientId"] == person) | {"sampleId": f"{person}-06", "value": "X"})
    write_tables(fetched(made, tmp_path), tmp_path)
    assert clinical(tmp_path).loc[person, "label"] == made.people[0].label


def test_recipes_name_classes_of_their_own_cohorts(shared):
    for name, cohort in (("brca", "brca"), ("rcc", "rcc"), ("coadread", "coadread")):
        recipe = load_recipe(name)
        codes = pd.read_csv(shared / "cohorts" / cohort / "clinical.csv")["oncotree_code"]
        assert set(recipe.studies.classes) <= set(codes)
        drivers = pd.read_csv(shared / "expression" / "intogen_drivers.csv")["cancer_type"]
        assert set(recipe.genes.cancer_types) <= set(drivers)
