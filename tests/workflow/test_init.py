"""From a folder of files to a report by answering what it asks."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import typer
import yaml
from typer.main import get_command
from typer.testing import CliRunner

import feature_layouts as layouts
from mirror.cli.app import app
from mirror.config import load_config
from mirror.data.cohort_tables import clinical_tables, expression_tables, owners_by_name, owners_by_table
from mirror.data.survey import survey
from project_scripts import load_script

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that records the session of the documentation."""
    return load_script("docs/record_session")


def call(*words: str | Path, answers: str | None = None, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)), input=answers)
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def masked(text: str) -> str:
    """Without the numbers of scores and losses, which differ from one machine to another."""
    return re.sub(r"[ │]+\d\.\d+±\d\.\d+", " x", re.sub(r"loss \d+\.\d+", "loss x", text))


@pytest.mark.slow
def test_the_session_of_the_documentation_is_what_a_terminal_shows_up_to_the_configuration(
    script: ModuleType, tmp_path: Path
) -> None:
    page = script.PAGE.read_text()
    for part in script.first_part(tmp_path):
        assert part.rstrip() in page


@pytest.mark.slow
def test_the_session_of_the_documentation_is_what_a_terminal_shows(script: ModuleType, tmp_path: Path) -> None:
    assert masked(script.record(tmp_path)) == masked(script.PAGE.read_text())


@pytest.fixture(scope="module")
def trident(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of TRIDENT features, an RNA table and a clinical table; to be copied where it is written into."""
    folder = tmp_path_factory.mktemp("theirs") / "my_cohort"
    script.make_folder(folder, patients=40)
    return folder


ANSWERS = "\n\n\nTPM\nlog2(RSEM + 1)\n\n\n\n\n\n\n2\n2\n"
"""As in the documentation, but that the numbers are first called what they cannot be."""


@pytest.mark.slow
def test_answering_what_it_asks_leads_to_a_report(trident: Path) -> None:
    said = call("init", trident, answers=ANSWERS)
    assert "looks like a logarithm already" in said
    path = trident / "my_cohort.yaml"
    config = load_config(path)
    assert config.cohort.expression is not None
    assert config.cohort.expression.units == "log2(RSEM + 1)"
    assert config.cohort.clinical is not None
    assert config.cohort.clinical.event_convention == "one_is_censored"
    quick = {"pretraining": {"epochs": 1}, "evaluation": {"components": [4], "shots": 3, "draws": 2, "inner_folds": 2}}
    with path.open("a") as file:
        file.write(yaml.safe_dump(quick))
    call("run", path)
    assert (trident / "runs" / "my_cohort" / "report.html").is_file()


FLAGS = (
    *("--no-input", "--units", "log2(RSEM + 1)", "--event-convention", "one_is_censored", "--folds", "2"),
    *("--expression", "rna.tsv.gz", "--clinical", "clinical.csv", "--label", "subtype", "--classes", "all"),
    *("--time", "survival_months", "--time-unit", "months", "--event", "censorship"),
)


def test_every_answer_can_be_given_as_an_option(trident: Path, tmp_path: Path) -> None:
    """In folders of their own, for a later init finds the slide table that an earlier one wrote."""
    places = [tmp_path / name / "my_cohort" for name in ("asked", "told")]
    for place in places:
        shutil.copytree(trident, place, ignore=shutil.ignore_patterns("*.yaml", "*.slides.csv", "runs"))
    call("init", places[0], answers=ANSWERS)
    call("init", places[1], *FLAGS)
    asked, told = ((place / "my_cohort.yaml").read_text() for place in places)
    assert asked == told


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [(KeyboardInterrupt, 130, "stopped"), (EOFError, 1, "the answers have come to an end; --no-input")],
)
def test_ctrl_c_and_an_end_of_the_answers_are_told_apart(
    trident: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: type[BaseException],
    code: int,
    said: str,
) -> None:
    def nobody(prompt: object) -> str:
        del prompt
        raise raised

    # The runner of other tests answers in the place of the terminal; here the command itself is called.
    monkeypatch.setattr(sys.modules[typer.prompt.__module__], "visible_prompt_func", nobody)
    command = get_command(app)
    with pytest.raises(SystemExit) as ended:
        command.main(["init", str(trident), "--name", "stopped"], standalone_mode=False)
    assert ended.value.code == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (trident / "stopped.yaml").exists()


def test_what_cannot_be_known_is_never_guessed(trident: Path) -> None:
    said = call("init", trident, "--name", "quiet", "--no-input", code=1)
    assert "never guessed" in said
    assert "--units, --event-convention" in said
    assert not (trident / "quiet.yaml").exists()


def test_an_option_that_does_not_fit_is_refused(trident: Path) -> None:
    said = call("init", trident, "--name", "x", *FLAGS, "--units", "TPM", code=1)
    assert "--units" in said
    assert "logarithm already" in said
    assert "no column 'grade'" in call("init", trident, "--name", "x", *FLAGS, "--label", "grade", code=1)
    assert "there is no C in 'subtype'" in call("init", trident, "--name", "x", *FLAGS, "--classes", "A,C", code=1)


def test_what_is_there_is_not_overwritten_unasked(trident: Path) -> None:
    call("init", trident, "--name", "once", *FLAGS)
    before = (trident / "once.yaml").read_text()
    assert "--overwrite" in call("init", trident, "--name", "once", *FLAGS, "--folds", "3", code=1)
    assert (trident / "once.yaml").read_text() == before
    call("init", trident, "--name", "once", *FLAGS, "--folds", "3", "--overwrite")
    assert load_config(trident / "once.yaml").cohort.folds.count == 3


def tcga(folder: Path, *, patients: int = 12) -> list[str]:
    """Bare features named by slide barcodes, RNA of samples in rows, cBioPortal's words for the event, CLAM's table."""
    names = [f"TCGA-A1-{number:04d}" for number in range(patients)]
    (folder / "pt_files").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in names:
        torch.save(
            torch.from_numpy(rng.normal(size=(9, 8)).astype(np.float32)), folder / "pt_files" / f"{name}-01Z-00-DX1.pt"
        )
    samples = [f"{name}-01A-11R-A144-07" for name in names] + [f"{names[0]}-11A-11R-A144-07"]
    values = rng.normal(size=(len(samples), 80)).round(3)
    rna = pd.DataFrame(values, columns=[f"G{number}" for number in range(80)])
    rna.insert(0, "sample", samples)
    rna.insert(1, "plate", "P1")
    rna.to_csv(folder / "rna.csv", index=False)
    status = ["1:DECEASED" if number % 3 else "0:LIVING" for number in range(patients)]
    about = {
        "PATIENT_ID": names,
        "OS_STATUS": status,
        "OS_MONTHS": np.arange(patients) + 0.5,
        "SUBTYPE": ["x", "y"] * 6,
    }
    pd.DataFrame(about).to_csv(folder / "clinical.tsv", sep="\t", index=False)
    return names


def test_barcodes_are_taken_for_what_they_are(tmp_path: Path) -> None:
    names = tcga(tmp_path / "brca")
    call("init", tmp_path / "brca", "--no-input", "--units", "z-score of one study")
    config = load_config(tmp_path / "brca" / "brca.yaml")
    table, about = config.cohort.expression, config.cohort.clinical
    assert table is not None
    assert about is not None
    assert (table.identifiers, table.orientation, table.id) == ("tcga", "patients_in_rows", "sample")
    assert table.ignore_columns == ("plate",)
    assert (about.patient, about.label, about.time, about.event) == ("PATIENT_ID", "SUBTYPE", "OS_MONTHS", "OS_STATUS")
    assert (about.time_unit, about.event_convention) == ("months", "deceased_or_living")
    said = call("cohort", tmp_path / "brca" / "brca.yaml")
    assert f"{len(names)} slides of {len(names)} patients, {len(names)} with expression" in said


def test_a_table_of_slides_is_found_by_what_is_in_it(tmp_path: Path) -> None:
    names = tcga(tmp_path / "brca")
    slides = [f"{name}-01Z-00-DX1" for name in names]
    pd.DataFrame({"case": names, "wsi": slides, "label": "a"}).to_csv(tmp_path / "brca" / "clam.csv", index=False)
    found = survey(tmp_path / "brca")
    owners = owners_by_table(slides, found.tables)[0]
    assert owners.columns == ("wsi", "case")
    assert owners.patients == dict(zip(slides, names, strict=True))
    said = call("init", tmp_path / "brca", "--patients-by", "table", "--no-input", "--units", "z-score")
    assert "clam.csv" in said
    assert load_config(tmp_path / "brca" / "brca.yaml").cohort.slides.slide == "wsi"


def test_a_patient_is_the_longest_name_that_ends_at_a_sign(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\nP1,a\nP10,b\nP1_B,c\n")
    tables = survey(tmp_path).tables
    owners = owners_by_name(["P10-S1", "P1_B-S1", "P1_S9", "P100-S1"], tables)
    assert owners is not None
    assert owners.patients == {"P10-S1": "P10", "P1_B-S1": "P1_B", "P1_S9": "P1"}
    assert owners.unknown == ("P100-S1",)


DUCT, LOBULE = "Infiltrating duct carcinoma, NOS", "Lobular carcinoma, NOS"


def as_it_comes(folder: Path) -> list[str]:
    """A TCGA cohort with what such folders have: a slide of nobody, two ways to write a class, classes with commas,
    what describes a gene beside it, a note."""
    names = tcga(folder)
    shutil.copy(folder / "pt_files" / f"{names[0]}-01Z-00-DX1.pt", folder / "pt_files" / "BIOBANK_0012.pt")
    rna = pd.read_csv(folder / "rna.csv").drop(columns="plate").set_index("sample").T.abs()
    rna.insert(0, "gene_name", [f"S{number}" for number in range(len(rna))])
    rna.insert(1, "Entrez_Gene_Id", range(10_000_000, 10_000_000 + len(rna)))
    rna.rename_axis("gene_id").to_csv(folder / "rna.csv")
    about = pd.read_csv(folder / "clinical.tsv", sep="\t").drop(columns="SUBTYPE")
    about["diagnosis"] = [DUCT, DUCT.lower(), LOBULE, DUCT] * 3
    about["grade"] = range(len(about))
    about.to_csv(folder / "clinical.tsv", sep="\t", index=False)
    (folder / "README.txt").write_text("ask Anna\n")
    return names


def test_a_class_in_several_ways_is_one_and_its_name_may_have_a_comma(tmp_path: Path) -> None:
    folder = tmp_path / "brca"
    names = as_it_comes(folder)
    given = ("--no-input", "--units", "log2(TPM + 1)", "--folds", "3", "--classes", f"{LOBULE}, {DUCT}")
    said = call("init", folder, *given)
    assert f"{DUCT}; {DUCT.lower()}" in said
    assert "Slides without patient, which will be left out: BIOBANK_0012" in said
    assert "not read README.txt" in said
    config = load_config(folder / "brca.yaml")
    assert config.cohort.clinical is not None
    assert config.cohort.expression is not None
    assert config.cohort.clinical.spellings == {DUCT.lower(): DUCT}
    assert config.cohort.clinical.classes == (LOBULE, DUCT)
    assert config.cohort.expression.ignore_columns == ("gene_name", "Entrez_Gene_Id")
    said = call("cohort", folder / "brca.yaml")
    assert f"{len(names)} slides of {len(names)} patients, {len(names)} with expression" in said
    assert f"{DUCT} 9; {LOBULE} 3" in said
    assert "there is no C in 'diagnosis'" in call("init", folder, *given[:-1], f"{DUCT};C", "--overwrite", code=1)


def test_a_column_that_is_not_listed_is_taken_by_its_name(tmp_path: Path) -> None:
    as_it_comes(tmp_path / "brca")
    answers = ("", "", "", "log2(TPM + 1)", "", "no_such", "grade", "0,1", "none", "five", "3")
    said = call("init", tmp_path / "brca", answers="\n".join(answers) + "\n")
    assert "'no_such' is none of diagnosis, " in said
    assert "'five' is no number of folds" in said
    config = load_config(tmp_path / "brca" / "brca.yaml")
    assert config.cohort.clinical is not None
    assert config.cohort.clinical.label == "grade"
    assert config.cohort.clinical.classes == ("0", "1")


def test_a_refusal_of_units_names_the_samples(tmp_path: Path) -> None:
    names = as_it_comes(tmp_path / "brca")
    rna = pd.read_csv(tmp_path / "brca" / "rna.csv", index_col="gene_id")
    rna.iloc[0, 2] = 22.5
    rna.to_csv(tmp_path / "brca" / "rna.csv")
    said = call("init", tmp_path / "brca", "--no-input", "--units", "log2(TPM + 1)", code=1)
    assert f"sample '{names[0]}-01A-11R-A144-07': adds up to 5.9" in said


def test_a_study_of_cbioportal_is_read_as_it_is_downloaded(tmp_path: Path) -> None:
    folder = tmp_path / "brca"
    names = as_it_comes(folder)
    rna = pd.read_csv(folder / "rna.csv")
    samples = {name: name[:15] for name in rna.columns if name.startswith("TCGA")}
    rna = rna.rename(columns={"gene_name": "Hugo_Symbol", **samples}).drop(columns="gene_id")
    rna.to_csv(folder / "data_mrna_seq_v2_rsem.txt", sep="\t", index=False)
    (folder / "rna.csv").unlink()
    about = (folder / "clinical.tsv").read_text()
    columns = about.split("\n")[0].split("\t")
    marked = ["\t".join([f"#{kind}", *[kind] * (len(columns) - 1)]) for kind in ("Name", "What it is", "STRING", "1")]
    (folder / "data_clinical_patient.txt").write_text("\n".join([*marked, about]))
    (folder / "clinical.tsv").unlink()
    call("init", folder, "--no-input", "--units", "RSEM")
    config = load_config(folder / "brca.yaml")
    assert config.cohort.expression is not None
    assert config.cohort.clinical is not None
    assert config.cohort.expression.layout == "cbioportal"
    assert config.cohort.clinical.event_convention == "deceased_or_living"
    assert f"{len(names)} with expression" in call("cohort", folder / "brca.yaml")


def test_a_table_without_an_event_says_that_survival_is_left_out(tmp_path: Path) -> None:
    as_it_comes(tmp_path / "brca")
    table = pd.read_csv(tmp_path / "brca" / "clinical.tsv", sep="\t")
    table.assign(OS_STATUS="moved").to_csv(tmp_path / "brca" / "clinical.tsv", sep="\t", index=False)
    said = call("init", tmp_path / "brca", "--no-input", "--units", "log2(TPM + 1)")
    assert "No survival: no column looks like an event" in said


def test_tables_of_other_patients_are_left_alone(tmp_path: Path) -> None:
    tcga(tmp_path / "brca")
    tables = survey(tmp_path / "brca").tables
    strangers = [f"TCGA-ZZ-{number:04d}" for number in range(12)]
    assert expression_tables(tables, strangers) == []
    assert clinical_tables(tables, strangers) == []


def test_features_of_two_encoders_are_asked_about_and_those_of_another_form_imported(tmp_path: Path) -> None:
    for slide in ("P1", "P2"):
        layouts.stamp(tmp_path / "mixed" / "stamp", slide)
        layouts.trident(tmp_path / "mixed" / "trident", slide)
    (tmp_path / "mixed" / "patients.csv").write_text("case_id,grade\nP1,a\nP2,b\n")
    assert "Which features?" in call("init", tmp_path / "mixed", answers="\n\x04", code=1)
    said = call(
        "init", tmp_path / "mixed", "--features", "stamp/uni2-0123abcd/batch1", "--no-input", "--clinical", "none"
    )
    assert "imported once" in said
    config = load_config(tmp_path / "mixed" / "mixed.yaml")
    assert config.cohort.features.path == (tmp_path / "mixed" / "mixed.features").resolve()
    assert sorted(path.stem for path in config.cohort.features.path.glob("*.h5")) == ["P1", "P2"]


def test_a_folder_without_features_says_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\nP1,a\n")
    (tmp_path / "broken.csv.gz").write_bytes(b"not gzip")
    said = call("init", tmp_path, "--no-input", code=1)
    assert "mirror slides" in said
    assert "not read broken.csv.gz" in said


def test_the_session_says_nothing_of_the_machine(script: ModuleType) -> None:
    page = script.PAGE.read_text()
    assert "/tmp" not in page
    assert sys.prefix not in page
