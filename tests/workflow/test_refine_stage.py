"""Truths about refinement on the way from a configuration to a run."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml
from small_job import write_config
from typer.testing import CliRunner

from mirror.artefacts import read_json
from mirror.cli.app import app
from mirror.config import RefinementConfig, load_config
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError, ConfigError
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import pretrain_fold
from mirror.workflow.refine import refine_cohort, refuse_other_choice, unread_choice

REFINEMENT = {"size": 6, "folds": 2, "step": 0.2}


@pytest.fixture
def refined_job(simulated, tmp_path):
    path = write_config(simulated, tmp_path / "out")
    path.write_text(path.read_text() + f"refinement: {REFINEMENT}\n")
    return path


def test_a_run_reads_the_genes_of_its_own_fold_and_another_choice_is_another_run(refined_job):
    config = load_config(refined_job)
    made = prepare_cohort(config)
    run = pretrain_fold(config, made, made.folds[0], 0)
    panel = GenePanel.load(run.panel)
    assert panel.selection is not None
    assert len(panel.genes) == 6
    assert set(panel.selection.selected_on) <= set(made.folds[0].train)
    other = config.model_copy(update={"refinement": RefinementConfig(**{**REFINEMENT, "size": 7})})
    with pytest.raises(ArtefactError, match="a run with other settings"):
        pretrain_fold(other, made, made.folds[0], 0)
    assert pretrain_fold(config, made, made.folds[0], 0).record.stat().st_mtime_ns == run.record.stat().st_mtime_ns


def test_other_labels_of_test_patients_leave_a_leak_free_run_as_it_is_and_not_one_of_the_published_scope(refined_job):
    config = load_config(refined_job)
    made = prepare_cohort(config)
    fold = made.folds[0]
    pretrain_fold(config, made, fold, 0)
    changed = made.slides.copy()
    test = changed["patient"].isin(fold.test)
    changed.loc[test, "label"] = changed.loc[test, "label"].to_numpy()[::-1].copy()
    assert not changed["label"].equals(made.slides["label"])
    other = type(made)(**{name: getattr(made, name) for name in made.__dataclass_fields__} | {"slides": changed})
    pretrain_fold(config, other, fold, 0)
    published = config.model_copy(
        update={"output": config.output / "leak", "refinement": RefinementConfig(**REFINEMENT, scope="cohort")}
    )
    pretrain_fold(published, made, fold, 0)
    with pytest.raises(ArtefactError, match="a run with other settings or data"):
        pretrain_fold(published, other, fold, 0)


def test_the_command_writes_a_panel_a_fold_and_the_table_of_their_genes(refined_job):
    done = CliRunner().invoke(app, ["expression", "refine", str(refined_job)])
    assert done.exit_code == 0, done.output
    folder = refined_job.parent / "expression"
    panels = [GenePanel.load(folder / f"fold{number}.panel.json") for number in range(2)]
    table = ExpressionTable.load(folder / "refined.h5ad")
    assert table.genes == tuple(sorted({gene for panel in panels for gene in panel.genes}))
    assert "training patients of fold 1 only" in " ".join(done.output.split())
    assert "before `mirror run`" not in " ".join(done.output.split())


def test_the_scope_on_the_command_line_stands_before_the_configuration(refined_job):
    done = CliRunner().invoke(app, ["expression", "refine", str(refined_job), "--scope", "cohort", "--fold", "1"])
    assert done.exit_code == 0, done.output
    assert "the whole cohort, as published" in " ".join(done.output.split())
    assert "write `refinement: {scope: cohort}` into job.yaml" in " ".join(done.output.split())
    folder = refined_job.parent / "expression"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("fold1.curve.svg", "fold1.panel.json", "refined.h5ad", "refinement.json")
    ]
    assert read_json(folder / "fold1.panel.json")["selection"]["scope"] == "cohort"


def refine(path, *options):
    return CliRunner().invoke(app, ["expression", "refine", str(path), *options])


def test_one_fold_at_a_time_ends_in_the_folder_that_all_at_once_leave(refined_job, tmp_path):
    folder = refined_job.parent / "expression"
    refine(refined_job)
    at_once = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".h5ad"}
    genes = ExpressionTable.load(folder / "refined.h5ad").genes
    folder.rename(tmp_path / "before")
    for number in ("1", "0"):
        assert refine(refined_job, "--fold", number).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".h5ad"} == at_once
    assert ExpressionTable.load(folder / "refined.h5ad").genes == genes


@pytest.mark.parametrize("options", [("--scope", "cohort"), ()], ids=["another scope", "another size"])
def test_panels_of_two_choices_never_stand_in_one_folder(refined_job, options):
    folder = refined_job.parent / "expression"
    refine(refined_job)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if not options:
        refined_job.write_text(refined_job.read_text().replace("'size': 6", "'size': 12"))
    done = refine(refined_job, *options, "--fold", "1")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "choose all folds anew (without --fold)" in said
    assert "fold 0, scope fold" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert refine(refined_job, *options).exit_code == 0
    scopes = {read_json(folder / f"fold{number}.panel.json")["selection"]["scope"] for number in range(2)}
    assert scopes == {read_json(folder / "refinement.json")["scope"]} == {"cohort" if options else "fold"}


def test_a_run_stops_where_genes_were_chosen_with_a_scope_that_its_configuration_does_not_name(refined_job):
    refine(refined_job, "--scope", "cohort")
    done = CliRunner().invoke(app, ["pretrain", str(refined_job)])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "chose with scope 'cohort', but the configuration says `scope: fold`" in said
    assert "change the section `refinement` to how they were chosen" in said
    refined_job.write_text(refined_job.read_text().replace("'size'", "'scope': cohort, 'size'"))
    config = load_config(refined_job)
    cohort = prepare_cohort(config)
    for fold in cohort.folds:
        refuse_other_choice(config, cohort, fold)
    assert unread_choice(config, cohort) is None
    refined_job.write_text(refined_job.read_text().split("refinement:")[0])
    with pytest.raises(ConfigError, match="has no section `refinement`"):
        refuse_other_choice(load_config(refined_job), cohort, cohort.folds[0])


def test_a_run_stops_where_genes_of_its_scope_were_chosen_by_other_settings(refined_job):
    refine(refined_job)
    refined_job.write_text(refined_job.read_text().replace("'size': 6", "'size': 12"))
    done = CliRunner().invoke(app, ["pretrain", str(refined_job)])
    assert done.exit_code == 1
    assert "chose for fold 0 by other settings or from other data" in " ".join(done.output.split())
    config = load_config(refined_job)
    said = unread_choice(config, prepare_cohort(config))
    assert said is not None
    assert "are not those of the runs" in said
    assert refine(refined_job).exit_code == 0
    assert CliRunner().invoke(app, ["pretrain", str(refined_job), "--fold", "0"]).exit_code == 0


def test_without_a_section_the_command_says_which_one_to_write(job):
    with pytest.raises(ConfigError, match=r"no section `refinement`; `refinement: \{\}`"):
        refine_cohort(job, prepare_cohort(job), [])


def test_inspect_says_what_is_in_the_table_and_draws_it(refined_job):
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job)])
    assert done.exit_code == 0, done.output
    folder = refined_job.parent / "expression"
    found = read_json(folder / "inspection.json")
    assert (found["patients"], found["genes"]) == (40, 30)
    assert list(found["groupings"]) == ["subtype"]
    assert sum(found["groupings"]["subtype"]["groups"].values()) == 40
    for picture in ("components.svg", "library_sizes.svg"):
        assert "</svg>" in (folder / picture).read_text()
    first = (folder / "components.svg").read_bytes()
    CliRunner().invoke(app, ["expression", "inspect", str(refined_job)])
    assert (folder / "components.svg").read_bytes() == first


def test_inspect_draws_a_picture_for_batch_and_for_cohort(refined_job):
    clinical = load_config(refined_job).cohort.clinical
    assert clinical is not None
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job), "--by", "subtype", "--by", "event"])
    assert done.exit_code == 0, done.output
    folder = refined_job.parent / "expression"
    found = read_json(folder / "inspection.json")["groupings"]
    assert list(found) == ["subtype", "event"]
    assert all(0 <= share <= 1 for grouping in found.values() for share in grouping["between_groups"])
    drawn = (folder / "components.svg").read_text()
    for name in (
        ">subtype<",
        ">event<",
        *(f">{group} ({count})<" for group, count in found["event"]["groups"].items()),
    ):
        assert name in drawn
    for column in ("subtype", "event"):
        assert f"lie between the groups of '{column}'" in " ".join(done.output.split())


def test_inspect_by_a_column_that_is_not_there_names_those_that_are(refined_job):
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job), "--by", "batch"])
    assert done.exit_code == 1
    assert "there is no column 'batch'" in " ".join(done.output.split())


def test_inspect_looks_at_the_patients_of_the_slide_table_and_at_all_where_there_is_none(refined_job, tmp_path):
    config = load_config(refined_job)
    assert config.cohort.expression is not None
    table = pd.read_csv(config.cohort.expression.path)
    stranger = table.iloc[:1].assign(case_id="STRANGER")
    settings = yaml.safe_load(refined_job.read_text())
    settings["cohort"]["expression"]["path"] = str(tmp_path / "more.csv")
    pd.concat([table, stranger]).to_csv(tmp_path / "more.csv", index=False)
    refined_job.write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job)])
    assert f"{len(table)} patients of the slide table" in " ".join(done.output.split())
    found = read_json(refined_job.parent / "expression" / "inspection.json")
    assert (found["patients"], found["cohort_only"]) == (len(table), True)
    assert found["left_out"] == {"expression: not a patient of the cohort": 1}
    settings["cohort"]["slides"]["path"] = str(tmp_path / "none.csv")
    refined_job.write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job)])
    assert f"{len(table) + 1} patients (all of the file" in " ".join(done.output.split())


def test_inspect_says_what_the_numbers_look_like_where_the_configuration_is_wrong(refined_job):
    refined_job.write_text(refined_job.read_text().replace("log2(RSEM), simulated", "counts"))
    done = CliRunner().invoke(app, ["expression", "inspect", str(refined_job)])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "in 'counts' but has" in said
    assert "correct `units`" in said
