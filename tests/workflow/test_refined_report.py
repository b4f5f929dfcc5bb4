"""A refined job from end to end: rows of chosen genes beside those of all, and a page that says what each saw."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from small_job import write_config

from mirror.config import Config, load_config
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError
from mirror.evaluation.embed import load_embeddings
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import pretrain_fold
from mirror.workflow.refine import refine_cohort, refinement_folder
from mirror.workflow.report import write_report


class Done(NamedTuple):
    """A finished job."""

    config: Config
    scores: pd.DataFrame
    page: str


def run_job(simulated: Path, output: Path, scope: str | None) -> Done:
    path = write_config(simulated, output)
    if scope is not None:
        path.write_text(f"{path.read_text()}refinement: {{scope: {scope}, size: 6, folds: 2, step: 0.2}}\n")
    config = load_config(path)
    cohort = prepare_cohort(config)
    for fold in cohort.folds:
        run = pretrain_fold(config, cohort, fold, 0)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    scores = evaluate_runs(config)
    return Done(config, scores, write_report(config).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def jobs(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Done]:
    """The small job without refinement, with genes chosen inside folds, and with those chosen on the whole cohort."""
    folder = tmp_path_factory.mktemp("refined")
    return {scope: run_job(simulated, folder / str(scope), scope) for scope in (None, "fold", "cohort")}


def test_rows_of_the_chosen_genes_stand_after_those_of_all_genes_and_only_where_genes_were_chosen(jobs):
    rows = {scope: list(dict.fromkeys(done.scores["representation"])) for scope, done in jobs.items()}
    assert {"slide", "expression", "fused", "raw_slide", "raw_expression", "raw_fused", "pca4_fused"} <= {*rows[None]}
    after = rows[None].index("raw_fused") + 1
    chosen = ["panel_expression", "panel_fused"]
    assert rows["fold"] == rows["cohort"] == [*rows[None][:after], *chosen, *rows[None][after:]]


@pytest.mark.parametrize("scope", ["fold", "cohort"])
def test_rows_of_all_genes_score_the_same_whether_genes_were_chosen_or_not(jobs, scope):
    tables = [jobs[name].scores for name in (None, scope)]
    free = [table[table["representation"].str.match("raw|pca")].reset_index(drop=True) for table in tables]
    assert len(free[0]) > 0
    pd.testing.assert_frame_equal(*free)


@pytest.mark.parametrize("scope", ["fold", "cohort"])
def test_the_view_of_a_run_has_the_genes_of_its_panel_as_they_are_in_the_table(jobs, scope):
    config = jobs[scope].config
    cohort = prepare_cohort(config)
    assert cohort.expression is not None
    run = run_folder(config.output, seed=0, fold=1)
    panel = GenePanel.load(run.panel)
    table = patient_table(cohort, load_embeddings(run.embeddings), genes=panel.genes)
    rows = table.rows(cohort.expression.patients)
    expected = cohort.expression.with_genes(panel.genes).values
    np.testing.assert_array_equal(table.views["panel_expression"][rows], expected)
    assert table.views["panel_expression"].shape == (40, 6)


def top(page: str) -> str:
    return page.split("</header>")[0]


def test_the_page_of_the_published_scope_warns_on_top_and_says_which_rows_saw_what(jobs):
    page = jobs["cohort"].page.replace("&#39;", "'")
    assert "Genes were chosen once, on the whole cohort, as published: values and labels of test patients" in top(page)
    reading = (
        "'Expression', 'Both', 'Aligned modalities', 'Expression, chosen genes' and 'Both, chosen genes' read the "
        "chosen genes and are opti"
    )
    assert reading in top(page)
    assert "'Slide' reads slides alone, but its training was shown these genes." in top(page)
    free = (
        "'Mean tile', 'Expression as given', 'Both as given', 'PCA 4, slide', 'PCA 4, expression' and 'PCA 4, both' "
        "read all genes of the table or slides"
    )
    assert free in top(page)
    assert (
        "test patients of fold 1 are among them, so scores there of whatever reads these genes are optimistic" in page
    )


def test_the_page_of_genes_chosen_inside_folds_says_so_and_warns_of_nothing(jobs):
    page = jobs["fold"].page.replace("&#39;", "'")
    assert 'aria-label="Warnings"' not in page
    assert "Genes were chosen inside each fold, on its training patients." in page
    assert "training patients of fold 1 only" in page
    assert "hosen genes" not in jobs[None].page.split('id="words"')[0]


def test_the_page_says_of_panels_of_another_scope_what_they_saw_and_that_it_reads_none(jobs):
    config = jobs["fold"].config
    published = config.model_copy(update={"refinement": config.refinement.model_copy(update={"scope": "cohort"})})
    cohort = prepare_cohort(config)
    try:
        refine_cohort(published, cohort, cohort.folds)
        page = write_report(config).read_text(encoding="utf-8").replace("&#39;", "'")
    finally:
        shutil.rmtree(refinement_folder(config))
    said = " ".join(page.split())
    assert "The panels in expression/ are not those of the runs: `mirror expression refine` chose" in said
    assert "with scope 'cohort', but the configuration says `scope: fold`. No row here reads them." in said
    assert "with their labels: the whole cohort, as published." in page
    assert "chosen with scope" not in jobs["fold"].page


def test_an_artefact_of_the_cohort_stands_on_top_of_the_page(simulated, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    table = pd.read_csv(simulated / "expression.csv.gz")
    labels = pd.read_csv(simulated / "clinical.csv").set_index("case_id")["subtype"].reindex(table["case_id"])
    genes = [name for name in table if name != "case_id"][:12]
    for gene in genes:
        table[gene] += 20  # above the floors to come
        for name in ("A", "B"):  # as if each class were a study: its zeros became a number of its own
            rows = np.flatnonzero((labels == name).to_numpy())[:10]
            table.loc[rows, gene] = {"A": 0.11, "B": 0.22}[name] + 0.001 * genes.index(gene)
    table.to_csv(data / "expression.csv", index=False)
    path = write_config(simulated, tmp_path / "out")
    text = path.read_text().replace(str(simulated / "expression.csv.gz"), str(data / "expression.csv"))
    path.write_text(text.replace("log2(RSEM), simulated", "z-score of each class"))
    config = load_config(path)
    cohort = prepare_cohort(config)
    for fold in cohort.folds:
        run = pretrain_fold(config, cohort, fold, 0)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    evaluate_runs(config, representations=["fused", "raw_fused"])
    page = write_report(config).read_text(encoding="utf-8").replace("&#39;", "'")
    assert "Expression tells the groups in column 'subtype' apart by artefact: in 12 of 30 genes" in top(page)
    assert "Expression-based subtyping is not to be trusted here" in top(page)


def test_runs_of_one_scope_are_not_scored_as_those_of_another(jobs):
    config = jobs["cohort"].config
    assert config.refinement is not None
    other = config.model_copy(update={"refinement": config.refinement.model_copy(update={"scope": "fold"})})
    with pytest.raises(ArtefactError, match=r"genes of scope 'cohort', the configuration is of scope 'fold'"):
        evaluate_runs(other)
    with pytest.raises(ArtefactError, match="the configuration is of no refinement"):
        evaluate_runs(config.model_copy(update={"refinement": None}))
