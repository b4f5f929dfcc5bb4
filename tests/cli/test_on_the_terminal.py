"""What tables and lines look like on a terminal of 80 columns: whole numbers, and names as they are."""

from __future__ import annotations

import ast
import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import mirror.cli
import mirror.cli.explain_prototypes as cli_prototypes
from mirror.cli.explain_expression import gene_table, set_table
from mirror.cli.explain_prototypes import GENES, genes_told, part_table, prototype_table, run_table
from mirror.cli.explain_slide import slide_table
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.evaluation.prototypes import GeneShift
from mirror.evaluation.report.prototypes import Prototype
from mirror.explain.enrichment import EnrichedSet
from mirror.explain.gene_table import COLUMNS
from mirror.explain.parts import PARTS, PartShares
from mirror.explain.prototypes import Association, Coverage
from mirror.workflow.explain_expression import ExplainedTarget
from mirror.workflow.explain_slide import ExplainedSlide
from mirror.workflow.explained import RunName
from mirror.workflow.opened_prototypes import ExplainedPrototypes, OpenedPrototype, RunPrototypes

FOLDER = Path(mirror.cli.__file__).parent
GENES_OF_A_CLASS = pd.DataFrame(
    {
        "gene": ["TP53", "ENSG00000228630_READTHROUGH_TRANSCRIPT_VARIANT_12"], "target": "class:B",
        "effect": [-12.3456, 0.5], "size": [10.25, 0.5], "low": [-13.25, 0.125], "high": [-11.5, 0.875],
        "folds": 5, "runs": 15,
    }
)[list(COLUMNS)]  # fmt: skip

NUMBERS = ("number", "means", "slide", "expression", "adds", "method, of")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def target(name: str, unit: str = "log-odds", sets: tuple[EnrichedSet, ...] = ()) -> ExplainedTarget:
    return ExplainedTarget(name, unit, "exact", 0.0, 40, GENES_OF_A_CLASS, sets)


@pytest.mark.usefixtures("terminal")
def test_a_class_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    enriched = EnrichedSet("a:B:set", ("TP53",), (), 2.0, 0.01, 1.5, 0.02, 0.03)
    screen().print(gene_table(target("class:B", sets=(enriched,))))
    screen().print(set_table(target("class:B", sets=(enriched,))))
    screen(stderr=True).print("[bold]explain[/]   :B: and :x:", highlight=False)
    screen(stderr=True).print("error:", "no target class:B: here", markup=False)
    said = capsys.readouterr()
    assert "class:B: effect" in said.out and "class:B: gene sets" in said.out and "a:B:set" in said.out
    assert ":B: and :x:" in said.err and "no target class:B: here" in said.err


def test_every_command_prints_where_nothing_is_an_emoji() -> None:
    made = {
        path.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        if (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "Console"
    }
    assert made == {"screen.py"}, "consoles are made in one place, with emoji off"


def test_a_bar_has_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.cli.progress.PATIENCE_SECONDS", 0.0)
    text = io.StringIO()
    with progress_bar(Console(file=text, width=200, force_terminal=True), "slides :B:") as progress:
        progress(0, 2, "slide :x: [red]")
        progress(1, 2, "slide :x: [red]")
        time.sleep(0.3)  # the bar is drawn ten times a second
    assert "slides :B:" in text.getvalue() and "slide :x: [red]" in text.getvalue()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("unit", ["log-odds", "log-odds against the geometric mean of the other classes"])
def test_no_number_of_a_gene_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str], unit: str) -> None:
    screen().print(gene_table(target("class:CHRCC", unit)))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    for whole in ("effect", "95 % interval", "mean size", "folds", "-12.3456", "-13.2500, -11.5000", "10.2500"):
        assert whole in said


@pytest.mark.usefixtures("terminal")
def test_no_number_of_a_slide_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    layer = {"name": "class:CHRCC", "method": "integrated-gradients", "representation": "fused"}
    layer |= {"value": -12.3456, "at_mean_tile": 1.25, "at_means": -0.0001, "from_slide": -13.5956}
    layer |= {"from_expression": 1.2501, "sum": -13.5, "head": {"metric": "auroc", "value": 0.8351}}
    one = ExplainedSlide("S1", "P1", "test", "seed0/fold0", tmp_path, (layer,), (), ())
    screen().print(slide_table(one))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    for whole in (
        "0.84",
        "c-index",
        "-12.346",
        "+0.000",
        "-13.596",
        "+1.250",
        "class:CHRCC",
        "gradients",
        "both, sum",
        *NUMBERS,
    ):
        assert whole in said


@pytest.mark.usefixtures("terminal")
def test_no_number_of_prototypes_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    patients = tuple(f"P{number}" for number in range(10_437))
    genes = tuple(GeneShift("ENSG00000228630_READTHROUGH", -11.25, 0.01) for _ in range(GENES + 2))
    prototype = Prototype(127, patients, 2_087, {}, 0, 0, None, genes)
    opened = OpenedPrototype(prototype, (), (), 0.25, 0.75)
    cover = Coverage(128, 127, 126, 1.0, 0.995, 126.5)
    runs = tuple(RunPrototypes(RunName(12, fold), cover, -0.05, 0.35, (opened,)) for fold in (10, 11))
    tests = [("label:CHRCC", "all", 1234.567, 1.2e-103), ("survival", "test", 0.125, 0.5)]
    found = ExplainedPrototypes(
        tmp_path,
        runs,
        tuple(Association(str(runs[0].run), 127, name, among, 10_437, 1_563, x, p, p) for name, among, x, p in tests),
        {str(one.run): (PartShares("class:CHRCC", dict.fromkeys(PARTS, -0.25), 40),) for one in runs},
        None,
    )
    for table in (run_table(found), prototype_table(runs[0]), cli_prototypes.test_table(found), part_table(found)):
        screen().print(table)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    for whole in (
        "127/128", "126", "100%", "126.5", "effective", "-0.05", "0.35",  # cover
        "prototype", "10437", "2087", "of them", "0.25", "0.75",  # prototypes
        "OR 1234.57", "O/E 0.12", "1.2e-103", "Holm p", "10437, 1563", "survival",  # tests
        "shared", "slide only", "expression", "only, tail", "-0.25 ± 0.00",  # shares
    ):  # fmt: skip
        assert whole in said, whole


@pytest.mark.usefixtures("terminal")
def test_no_number_of_a_gene_set_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    name = "REACTOME_" + "A_VERY_LONG_NAME_" * 6
    enriched = EnrichedSet(name, ("TP53",) * 1000, ("X",) * 1000, -12.34, 1e-30, 123.4, 0.02, 1.2e-103)
    screen().print(set_table(target("class:B", sets=(enriched,))))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    for whole in ("genes", "missing", "signed z", "size/chance", "1000", "-12.34", "123.4x", "1.2e-103"):
        assert whole in said


def test_genes_of_a_prototype_are_named_and_the_others_counted() -> None:
    genes = tuple(GeneShift(f"G{number}", 3.0 - 0.1 * number, 0.01) for number in np.arange(GENES + 1234))
    assert genes_told(genes[:2]) == "G0 +3.0, G1 +2.9"
    assert genes_told(genes).endswith(f"G{GENES - 1} +2.7 and 1,234 more") and genes_told(()) == ""
