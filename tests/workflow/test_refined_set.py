"""The recipes run to their end on simulated sources, and what they find is what was put there."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mirror.acquire.lock import Lock
from mirror.acquire.manifest import Manifest
from mirror.acquire.settings import load_recipe, recipe_names
from mirror.acquire.sources.intogen import CANCER_TYPE, SYMBOL, TABLE
from mirror.cli.app import app
from mirror.config import load_config
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel
from mirror.data.splits import read_folds
from mirror.errors import ArtefactError, ConfigError, DataError
from mirror.simulate.archive import Archive, Served
from mirror.simulate.sources import (
    SIGNAL,
    SimulatedPatient,
    SourceSizes,
    content_of,
    gene_of,
    simulate_sources,
)
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.refine import refine_cohort
from mirror.workflow.refined_set import make_refined_set

SIZES = SourceSizes(patients=60, transcripts=240, others=5)
QUICK = {"attempts": 2, "backoff": 0.01}


@pytest.fixture(scope="module")
def refined(tmp_path_factory) -> Generator[dict[str, tuple[Path, list, Path, str]]]:
    """Each recipe run by its command: folder, people, settings and what was said. The archives are gone afterwards."""
    made = {}
    with ExitStack() as stack:
        for name in recipe_names():
            top = tmp_path_factory.mktemp(name)
            content, people = simulate_sources(load_recipe(name), top / "sources", seed=1, sizes=SIZES)
            archive = stack.enter_context(Archive(content))
            over = {"hosts": archive.hosts.model_dump(), "transfer": QUICK, "toil": {"transcripts": SIZES.transcripts}}
            over |= {"elimination": {"folds": 2, "step": 0.2}, "folds": 2}
            (top / "settings.yaml").write_text(yaml.safe_dump(over))
            done = run("refine", name, "--output", str(top / "d"), "--settings", str(top / "settings.yaml"))
            assert done.exit_code == 0, done.output
            made[name] = (top / "d", people, top / "settings.yaml", " ".join(done.output.split()))
    yield made


def run(*arguments: str):
    return CliRunner().invoke(app, ["data", *arguments])


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_leaves_a_panel_a_fold_the_published_one_and_their_tables(refined, name):
    folder, people, _, said = refined[name]
    recipe = load_recipe(name)
    classes = recipe.studies.classes
    signal = {gene_of(row) for row in range(SIGNAL)}
    folds = read_folds(folder / "folds.json", [person.name for person in people]).folds
    able = {person.name for person in people if person.slides and person.expressed}
    labelled = {person.name for person in people if person.label in classes} & able
    panels = {path.name.split(".")[0]: GenePanel.load(path) for path in (folder / "refined").glob("*.panel.json")}
    assert set(panels) == {"fold0", "fold1", "published"}
    for fold in folds:
        panel = panels[f"fold{fold.number}"]
        assert set(panel.selection.selected_on) == labelled & set(fold.train)
        assert set(panel.fitted_on) == able & set(fold.train)
        assert panel.selection.scope == "fold"
    published = panels["published"]
    assert set(published.selection.selected_on) == labelled
    assert published.transform == "none"
    assert "the whole cohort, as published" in published.selection.note
    for panel in panels.values():
        chosen = dict(zip(panel.genes, panel.selection.origins, strict=True))
        rows = {int(gene[4:15]): origin for gene, origin in chosen.items()}
        eliminated = [row for row, origin in rows.items() if origin in ("elimination", "both")]
        # What separates the classes was put into the first transcripts, so that is what survives.
        assert np.mean([gene_of(row) in signal for row in eliminated]) > 3 * SIGNAL / SIZES.transcripts
        curated = {f"GENE{SIGNAL + number}" for number in range(2 * len(recipe.genes.cancer_types))}
        wanted = {row for row in range(SIZES.transcripts) if gene_of(row) in curated}
        assert wanted == {row for row, origin in rows.items() if origin in ("curated", "both")}
        assert panel.selection.curated_missing == ("NOWHERE",)
    for file, names in (("refined", ["fold0", "fold1"]), ("published", ["published"])):
        table = ExpressionTable.load(folder / "refined" / f"{file}.h5ad")
        assert set(table.genes) == {gene for one in names for gene in panels[one].genes}
        assert set(table.patients) == able
        assert table.units == "log2(FPKM + 0.001)"
    assert f"{len(able)} of {len(people)} patients" in said


@pytest.mark.parametrize("name", recipe_names())
def test_the_card_accounts_for_everybody_and_every_file(refined, name):
    folder, people, _, _ = refined[name]
    card = (folder / "DATASET_CARD.md").read_text()
    assert card.startswith(f"# {load_recipe(name).title}\n")
    for heading in ("Sources", "Files", "Transforms", "Patients", "Panels", "Limits", "Licence and terms of use"):
        assert f"\n## {heading}" in card
    rows = pd.read_csv(folder / "patients.csv", keep_default_na=False)
    assert list(rows["case_id"]) == sorted(person.name for person in people)
    assert (rows["kept"] == (rows["reason"] == "")).all()
    for reason, count in rows["reason"].replace("", "kept").value_counts().items():
        assert f"| {reason} | {count} |" in card
    told = dict(zip(rows["case_id"], rows["reason"], strict=True))
    for person in people:
        assert told[person.name] == (
            "no diagnostic slide" if not person.slides else "" if person.expressed else "no expression of a tumour"
        )
    entries = Manifest(folder).entries()
    assert {entry.path for entry in entries} == {file.path for file in Lock.load(folder).files}
    sources = card.split("## Sources")[1].split("## Files")[0]
    counted = [int(number) for number in re.findall(r"^\| \w+ \|[^|]+\| (\d+) \|", sources, flags=re.MULTILINE)]
    assert sum(counted) == len(entries)
    for entry in entries:
        assert entry.terms in card
        assert (entry.checksum in card) == (entry.pinned == "at first fetch")
    assert "**recorded at first fetch**" in card
    excluded = pd.read_csv(folder / "excluded.csv")
    normals = sum(person.normal and bool(person.slides) for person in people)
    assert f"| expression, not a tumour (sample type 11) | {normals} |" in card
    assert normals == excluded["reason"].str.startswith("not a tumour").sum()


def test_a_set_is_made_again_without_a_source_and_panels_are_not_chosen_twice(refined):
    folder, _, settings, _ = refined["brca"]
    panels = {path: path.stat().st_mtime_ns for path in (folder / "refined").glob("*.panel.json")}
    card = (folder / "DATASET_CARD.md").read_text()
    done = run("refine", "brca", "--output", str(folder), "--settings", str(settings), "--offline")
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in panels} == panels
    assert (folder / "DATASET_CARD.md").read_text() == card


def test_what_test_patients_express_changes_the_published_panel_and_not_that_of_their_fold(refined, tmp_path):
    folder = copy(refined["brca"][0], tmp_path)
    names = pd.read_csv(folder / "patients.csv")["case_id"]
    test = read_folds(folder / "folds.json", list(names)).folds[0].test
    path = folder / "expression" / "tcga_RSEM_isoform_fpkm.tsv.gz"
    matrix = pd.read_csv(path, sep="\t", index_col=0)
    theirs = [sample for sample in matrix if sample[:12] in test]
    matrix[theirs] = matrix[theirs].to_numpy()[:, ::-1]  # every test patient gets the transcripts of another one
    matrix.to_csv(path, sep="\t")
    before = {path.name: path.read_text() for path in (folder / "refined").glob("*.panel.json")}
    make_refined_set(folder)
    after = {path.name: path.read_text() for path in (folder / "refined").glob("*.panel.json")}
    assert after["fold0.panel.json"] == before["fold0.panel.json"]
    assert after["fold1.panel.json"] != before["fold1.panel.json"]
    assert after["published.panel.json"] != before["published.panel.json"]


def copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_the_configuration_it_leaves_chooses_the_same_genes(refined, tmp_path):
    folder = copy(refined["nsclc"][0], tmp_path)
    config = load_config(folder / "run.yaml")
    made = prepare_cohort(config)
    assert made.feature_dim == 192
    done = refine_cohort(config, made, made.folds)
    for number, panel in done.panels.items():
        ours = GenePanel.load(folder / "refined" / f"fold{number}.panel.json")
        assert panel.genes == ours.genes
        assert panel.selection.selected_on == ours.selection.selected_on


def test_a_list_of_the_users_own_takes_the_place_of_the_open_one(refined, tmp_path):
    folder = copy(refined["coadread"][0], tmp_path)
    (tmp_path / "census.csv").write_text(f"Gene Symbol,Tier\nGENE{SIGNAL + 15},1\n")
    settings = yaml.safe_load(refined["coadread"][2].read_text())
    settings["genes"] = {"path": str(tmp_path / "census.csv"), "symbol": "Gene Symbol"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings))
    recipe = load_recipe("coadread", settings=tmp_path / "s.yaml")
    replace(Lock.load(folder), recipe=recipe.model_dump(mode="json")).save(folder)
    panel = make_refined_set(folder).panels["fold0"]
    chosen = zip(panel.genes, panel.selection.origins, strict=True)
    curated = {gene for gene, origin in chosen if origin in ("curated", "both")}
    assert {gene_of(int(gene[4:15])) for gene in curated} == {f"GENE{SIGNAL + 15}"}


def test_a_matrix_of_another_size_than_the_recipe_says_is_refused(refined, tmp_path):
    folder = copy(refined["brca"][0], tmp_path)
    path = folder / "lock.json"
    path.write_text(path.read_text().replace(f'"transcripts": {SIZES.transcripts}', '"transcripts": 197044'))
    with pytest.raises(DataError, match="has 240 transcripts, the recipe says 197044: it is cut short"):
        make_refined_set(folder)


def test_a_folder_without_what_it_takes_says_what_to_fetch(refined, tmp_path):
    folder = copy(refined["brca"][0], tmp_path)
    (folder / "expression" / "tcga_RSEM_isoform_fpkm.tsv.gz").unlink()
    with pytest.raises(ArtefactError, match="lacks 1 files, such as expression/tcga"):
        make_refined_set(folder)
    path = folder / "lock.json"
    path.write_text(path.read_text().replace('"part": "toil"', '"part": "star"'))
    with pytest.raises(ConfigError, match="has no toil; fetch with --parts toil too"):
        make_refined_set(folder)


@pytest.mark.slow
def test_a_recipe_of_ones_own_refines_a_real_transcriptome(shared, tmp_path):
    source = shared / "expression" / "rtcga_rsem_log2.tsv.gz"
    samples = pd.read_csv(shared / "expression" / "rtcga_samples.csv")
    tumours = samples[samples["sample"].str[13] == "0"].assign(patient=lambda table: table["sample"].str[:12])
    classes = ("ACC", "CHOL", "STAD", "UCS", "UVM")
    projects = [f"TCGA-{name}" for name in sorted(set(tumours["project"]))]
    recipe = {
        "name": "rare",
        "projects": projects,
        "parts": ["clinical", "survival", "genes", "toil"],
        "studies": {"studies": ["rare"], "classes": list(classes)},
        "toil": {"matrix": "real.gz", "probe_map": "real.map", "units": "log2(RSEM + 1)"},
        "genes": {"archive": "drivers.zip", "cancer_types": ["ACC", "CHOL", "STAD", "UCS", "UM"]},
        "folds": 3,
    }
    (tmp_path / "rare.yaml").write_text(yaml.safe_dump(recipe))
    config = load_recipe(str(tmp_path / "rare.yaml"))
    people = [
        SimulatedPatient(
            row.patient, f"TCGA-{row.project}", row.project, 0, (f"{row.patient}-DX1",), True, False, 9.0, True
        )
        for row in tumours.drop_duplicates("patient").itertuples()
    ]
    content = content_of(config, people, seed=0)
    content.files["/xena/real.gz"] = Served(source)
    names = pd.read_csv(source, sep="\t", usecols=["sample"])["sample"]
    to_symbols = "".join(f"{name}\t{name.split('|')[0]}\n" for name in names if not name.startswith("?"))
    content.files["/xena/real.map"] = Served(f"id\tgene\n{to_symbols}".encode())
    drivers = pd.read_csv(shared / "expression" / "intogen_drivers.csv").set_axis([SYMBOL, CANCER_TYPE], axis=1)
    with zipfile.ZipFile(tmp_path / "drivers.zip", "w") as archive:
        archive.writestr(f"release/{TABLE}", drivers.to_csv(sep="\t", index=False))
    content.files["/intogen/drivers.zip"] = Served(tmp_path / "drivers.zip")
    with Archive(content) as archive:
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"hosts": archive.hosts.model_dump()}))
        done = run(
            *("refine", str(tmp_path / "rare.yaml"), "--output", str(tmp_path / "d")),
            *("--settings", str(tmp_path / "settings.yaml")),
        )
    assert done.exit_code == 0, done.output
    folder = tmp_path / "d"
    print((folder / "DATASET_CARD.md").read_text())
    patients = [person.name for person in people]
    for fold in read_folds(folder / "folds.json", patients).folds:
        panel = GenePanel.load(folder / "refined" / f"fold{fold.number}.panel.json")
        assert not set(panel.selection.selected_on) & set(fold.test)
        assert max(panel.selection.mean_score) > 0.95  # six organs are not hard to tell apart
        wanted = set(drivers[drivers[CANCER_TYPE].isin(config.genes.cancer_types)][SYMBOL])
        curated = [
            gene.split("|")[0]
            for gene, origin in zip(panel.genes, panel.selection.origins, strict=True)
            if origin in ("curated", "both")
        ]
        assert set(curated) == wanted - set(panel.selection.curated_missing)
    table = ExpressionTable.load(folder / "refined" / "published.h5ad")
    assert set(table.patients) == set(patients)
    normals = (~samples["sample"].isin(tumours["sample"])).sum()
    assert (pd.read_csv(folder / "excluded.csv")["kind"] == "expression").sum() == normals
