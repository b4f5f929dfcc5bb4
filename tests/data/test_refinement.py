"""Truths about the choice of genes: what it sees, what it does not, and that it is the same for the same patients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mirror.config import CuratedGenesConfig, GeneMapConfig, RefinementConfig
from mirror.data.elimination import eliminate
from mirror.data.expression import ExpressionTable
from mirror.data.panel import GenePanel, apply
from mirror.data.refinement import refine_panel, survival_classes
from mirror.errors import ArtefactError, ConfigError, DataError
from mirror.types import Fold

PATIENTS = tuple(f"P{number:02d}" for number in range(48))
GENES = tuple(f"G{number:02d}" for number in range(40))
FOLD = Fold(0, PATIENTS[:36], PATIENTS[36:])


def cohort(seed: int = 0) -> tuple[ExpressionTable, pd.DataFrame]:
    """Five genes that tell two classes apart weakly, and five others that shorten the time to the event."""
    rng = np.random.default_rng(seed)
    kind = np.arange(48) % 2
    values = rng.normal(size=(48, 40)).astype(np.float32)
    values[:, :5] += 1.2 * kind[:, None]
    time = np.exp(3 - values[:, 5:10].sum(axis=1) / 2 + 0.2 * rng.normal(size=48))
    endpoints = pd.DataFrame(
        {"label": np.where(kind, "B", "A"), "time": time, "event": pd.array(rng.random(48) < 0.8, dtype="boolean")},
        index=pd.Index(PATIENTS),
    )
    return ExpressionTable(PATIENTS, GENES, values, "log2(TPM + 1)", "table.csv"), endpoints


def refine(table, endpoints, fold=FOLD, **settings) -> GenePanel:
    return refine_panel(table, endpoints, fold, RefinementConfig(**settings), transform="standardise")


def content(panel: GenePanel, path: Path) -> str:
    panel.save(path)
    return path.read_text()


def shuffled(endpoints: pd.DataFrame) -> pd.DataFrame:
    """Endpoints of the fold's test patients dealt out among them again, reversed and made wrong."""
    changed = endpoints.copy()
    test = list(FOLD.test)
    changed.loc[test, "label"] = np.random.default_rng(5).permutation(endpoints.loc[test, "label"])
    changed.loc[test, "time"] = endpoints.loc[test, "time"].to_numpy()[::-1] * 3
    changed.loc[test, "event"] = ~endpoints.loc[test, "event"].to_numpy()
    return changed


CRITERIA = [{"criterion": "label"}, {"criterion": "survival", "intervals": 2}, {"criterion": "variance", "size": 7}]


@pytest.mark.parametrize("settings", CRITERIA, ids=lambda settings: settings["criterion"])
def test_the_panel_of_a_fold_does_not_move_when_test_patients_get_other_endpoints_and_values(settings, tmp_path):
    table, endpoints = cohort()
    values = table.values.copy()
    values[36:] = np.random.default_rng(9).normal(scale=100, size=(12, 40))
    before = content(refine(table, endpoints, **settings), tmp_path / "a.json")
    after = refine(replace(table, values=values), shuffled(endpoints), **settings)
    assert content(after, tmp_path / "b.json") == before


@pytest.mark.parametrize("settings", CRITERIA[:2], ids=lambda settings: settings["criterion"])
def test_with_the_published_scope_the_panel_does_move_with_the_endpoints_of_test_patients(settings):
    table, endpoints = cohort()
    before = refine(table, endpoints, scope="cohort", **settings)
    after = refine(table, shuffled(endpoints), scope="cohort", **settings)
    assert before.selection != after.selection


@pytest.mark.parametrize("settings", CRITERIA, ids=lambda settings: settings["criterion"])
def test_the_panel_is_the_same_for_any_order_of_rows_columns_patients_and_training_list(settings, tmp_path):
    table, endpoints = cohort()
    rng = np.random.default_rng(2)
    rows, columns = rng.permutation(48), rng.permutation(40)
    turned = ExpressionTable(
        tuple(PATIENTS[row] for row in rows),
        tuple(GENES[column] for column in columns),
        table.values[rows][:, columns],
        table.units,
        table.source,
    )
    fold = Fold(0, tuple(rng.permutation(FOLD.train)), FOLD.test)
    before = content(refine(table, endpoints, **settings), tmp_path / "a.json")
    after = refine(turned, endpoints.iloc[rng.permutation(48)], fold, **settings)
    assert content(after, tmp_path / "b.json") == before


def panels_of_all_criteria(folder):
    curated = write_list(folder / "list.csv")
    panels = [refine(*cohort(), curated=curated, **settings) for settings in CRITERIA]
    return "\n".join(str(content(panel, folder / "p.json")) for panel in panels)


def test_the_panel_is_the_same_whatever_seeds_the_hashes_of_strings(tmp_path):
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, str(Path(sys.argv[1])));"
        "from test_refinement import panels_of_all_criteria; print(panels_of_all_criteria(Path(sys.argv[2])))"
    )
    found = {panels_of_all_criteria(tmp_path) + "\n"}  # by the seed of this process, any
    for seed in ("0", "4242"):
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1
    assert found.pop().count('"genes"') == 3


@pytest.mark.parametrize("scope", ["fold", "cohort"])
def test_the_panel_with_its_selection_survives_a_round_trip(scope, tmp_path):
    curated = write_list(tmp_path / "list.csv")
    panel = refine(*cohort(), scope=scope, curated=curated)
    panel.save(tmp_path / "panel.json")
    again = GenePanel.load(tmp_path / "panel.json")
    assert (again.genes, again.units, again.fitted_on) == (panel.genes, panel.units, panel.fitted_on)
    assert again.selection == panel.selection
    np.testing.assert_array_equal(again.mean, panel.mean)


@pytest.mark.parametrize(
    ("key", "value"), [("origins", ["curated"]), ("scope", "all"), ("mean_score", [1.0]), ("sizes", 3)]
)
def test_a_damaged_selection_is_refused(key, value, tmp_path):
    refine(*cohort()).save(tmp_path / "panel.json")
    damaged = json.loads((tmp_path / "panel.json").read_text())
    damaged["selection"][key] = value
    (tmp_path / "panel.json").write_text(json.dumps(damaged))
    with pytest.raises(ArtefactError, match=r"panel\.json is damaged"):
        GenePanel.load(tmp_path / "panel.json")


def test_the_genes_are_those_of_the_elimination_on_the_training_patients_alone():
    table, endpoints = cohort()
    panel = refine(table, endpoints)
    found = eliminate(table.values[:36], endpoints["label"].to_numpy()[:36])
    assert panel.genes == tuple(GENES[column] for column in found.kept)
    assert panel.selection is not None
    assert set(panel.selection.origins) == {"elimination"}
    assert panel.selection.sizes == tuple(found.sizes)
    np.testing.assert_array_equal(panel.selection.mean_score, found.mean_score)
    assert panel.selection.selected_on == panel.fitted_on == FOLD.train


def test_a_size_that_is_asked_for_is_the_nearest_round_that_has_as_many_genes():
    panel = refine(*cohort(), step=4, size=10)
    assert len(panel.genes) == 12
    with pytest.raises(ConfigError, match="`size` is 41, but only 40 genes can be judged"):
        refine(*cohort(), size=41)


def test_the_most_variable_genes_are_taken_where_no_label_is_used():
    table, endpoints = cohort()
    table.values[:36, [3, 17]] *= 20
    panel = refine(table, endpoints.assign(label=None), criterion="variance", size=2)
    assert panel.genes == ("G03", "G17")
    assert panel.selection is not None
    assert (panel.selection.sizes, set(panel.selection.origins)) == ((), {"variance"})


def test_under_the_published_scope_the_moments_still_come_from_the_training_patients():
    table, endpoints = cohort()
    panel = refine(table, endpoints, scope="cohort")
    assert panel.fitted_on == FOLD.train
    columns = table.columns(panel.genes)
    np.testing.assert_allclose(panel.mean, table.values[:36][:, columns].mean(axis=0), rtol=1e-4)


def test_the_note_says_whom_the_choice_saw():
    table, endpoints = cohort()
    endpoints.loc[["P01", "P40"], "label"] = None
    inside, outside = refine(table, endpoints).selection, refine(table, endpoints, scope="cohort").selection
    assert inside is not None
    assert outside is not None
    assert inside.note == "Genes were chosen on 35 patients, with their labels: training patients of fold 0 only."
    assert "46 patients, with their labels: the whole cohort, as published. 11 of the 12 test patients" in outside.note
    assert "P40" not in outside.selected_on


def test_a_missing_value_counts_as_the_mean_of_its_gene_and_a_gene_without_any_is_not_chosen():
    table, endpoints = cohort()
    table.values[:36, 1] = np.nan  # a telling gene, but only test patients have it
    table.values[3, 0] = np.nan
    filled = table.values.copy()
    filled[3, 0] = np.nanmean(filled[:36, 0].astype(np.float64))
    keep = [column for column in range(40) if column != 1]
    expected = eliminate(filled[:36][:, keep], endpoints["label"].to_numpy()[:36])
    assert refine(table, endpoints).genes == tuple(GENES[keep[column]] for column in expected.kept)


def test_survival_classes_leave_out_those_whose_interval_is_not_known():
    endpoints = pd.DataFrame(
        {"time": [1.0, 2, 3, 4, 1.5, 9, np.nan], "event": pd.array([1, 1, 1, 1, 0, 0, None], dtype="boolean")},
        index=pd.Index(list("abcdefg")),
    )
    classes = survival_classes(endpoints, RefinementConfig(criterion="survival", intervals=2))
    assert classes.to_dict() == {
        "a": "interval 1",
        "b": "interval 1",
        "c": "interval 2",
        "d": "interval 2",
        "f": "interval 2",
    }


def test_without_an_event_there_is_nothing_to_choose_by_and_the_remedy_is_named():
    table, endpoints = cohort()
    endpoints["event"] = pd.array([False] * 48, dtype="boolean")
    with pytest.raises(
        DataError, match=r"none of the 36 patients .* had the event.*`clinical\.event_convention`, or cho"
    ):
        refine(table, endpoints, criterion="survival")


def test_too_few_events_for_the_intervals_are_counted_and_the_keys_to_change_are_named():
    table, endpoints = cohort()
    endpoints["event"] = pd.array([number < 7 for number in range(48)], dtype="boolean")
    with pytest.raises(DataError) as raised:
        refine(table, endpoints, criterion="survival")
    said = str(raised.value)
    assert "cuts the time of 7 events into 4 intervals" in said
    assert "lower `refinement.intervals` or `refinement.folds`, or choose by `variance`" in said
    assert "interval 1 has 2" in said
    assert refine(table, endpoints, criterion="survival", intervals=2, folds=2).selection is not None


def test_events_at_one_time_make_no_intervals():
    table, endpoints = cohort()
    endpoints["time"], endpoints["event"] = 0.0, pd.array([True] * 48, dtype="boolean")
    with pytest.raises(DataError, match=r"all 36 are in interval \d: the events share one time"):
        refine(table, endpoints, criterion="survival")


def write_list(path: Path) -> CuratedGenesConfig:
    path.write_text("gene,cancer_type\nG00,BRCA\nG39,BRCA\nG39,LUAD\nTP53,BRCA\nG20,LUAD\n")
    return CuratedGenesConfig(path=path, cancer_type="cancer_type", cancer_types=("BRCA",))


def test_curated_genes_join_whatever_their_rank_and_say_where_they_come_from(tmp_path):
    table, endpoints = cohort()
    table.values[:, 39] = 0  # it tells nothing apart, so no elimination keeps it
    panel = refine(table, endpoints, curated=write_list(tmp_path / "list.csv"), size=10)
    assert panel.selection is not None
    origin = dict(zip(panel.genes, panel.selection.origins, strict=True))
    assert list(panel.genes) == sorted(panel.genes)
    assert (origin["G39"], "G20" in origin) == ("curated", False)
    assert origin["G00"] == "both"
    assert panel.selection.curated_missing == ("TP53",)


def test_all_transcripts_of_a_curated_gene_are_found_through_the_map_with_or_without_version(tmp_path):
    table, endpoints = cohort()
    names = (*(f"ENST{number:011d}.{number % 3 + 1}" for number in range(38)), "GENE7|123", "?|100130426")
    (tmp_path / "map.tsv").write_text(
        "Level3\tSymbol\nENST00000000005\tTP53\nENST00000000009.7\tTP53\nENST00000000001\tOTHER\n"
    )
    (tmp_path / "list.csv").write_text("gene\nTP53\nGENE7\n?\n")
    curated = CuratedGenesConfig(
        path=tmp_path / "list.csv",
        gene_map=GeneMapConfig(path=tmp_path / "map.tsv", identifier="Level3", symbol="Symbol"),
    )
    selection = refine(replace(table, genes=names), endpoints, curated=curated, size=4)
    asked = {
        gene
        for gene, origin in zip(selection.genes, selection.selection.origins, strict=True)
        if origin != "elimination"
    }
    assert asked == {"ENST00000000005.3", "ENST00000000009.1", "GENE7|123"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gene,cancer_type\nNOPE,BRCA\n", r"none of the 1 genes of .*list\.csv is in the expression table: .*G00"),
        ("gene,cancer_type\nG01,LUAD\n", r"has no gene of BRCA in column 'cancer_type'; it has LUAD"),
        ("symbol,cancer_type\nG01,BRCA\n", r"no column 'gene'"),
        ("gene,cancer_type\n,BRCA\n", r"no symbol in column 'gene'"),
    ],
)
def test_a_bad_list_of_genes_is_named_with_the_remedy(text, says, tmp_path):
    curated = write_list(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        refine(*cohort(), curated=curated)


def test_a_map_that_gives_an_identifier_two_genes_is_refused_with_its_row(tmp_path):
    (tmp_path / "map.csv").write_text("id,symbol\nENSG00000000001.1,A\nENSG00000000002,B\nENSG00000000001.2,C\n")
    (tmp_path / "list.csv").write_text("gene\nA\n")
    gene_map = GeneMapConfig(path=tmp_path / "map.csv", identifier="id", symbol="symbol")
    with pytest.raises(DataError, match=r"(?s)map\.csv.*row 3: 'ENSG00000000001\.2' is C, an earlier row says A"):
        refine(*cohort(), curated=CuratedGenesConfig(path=tmp_path / "list.csv", gene_map=gene_map))


def test_a_class_with_fewer_members_than_folds_is_named():
    table, endpoints = cohort()
    endpoints.loc[endpoints.index[:3], "label"] = "rare"
    with pytest.raises(DataError, match="rare has 3"):
        refine(table, endpoints)


def test_a_cohort_without_the_endpoint_is_told_what_else_to_choose_by():
    table, endpoints = cohort()
    with pytest.raises(
        DataError, match=r"no patient to choose genes on has a label; .*to `survival`, or to `variance`"
    ):
        refine(table, endpoints.assign(label=None))


def test_the_panel_reads_other_tables_by_name():
    table, endpoints = cohort()
    panel = refine(table, endpoints)
    applied = apply(panel, table.with_genes(tuple(reversed(table.genes))), FOLD.test)
    expected = (table.values[36:][:, table.columns(panel.genes)] - panel.mean) / panel.scale
    np.testing.assert_allclose(applied.values, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"criterion": "variance"}, "give `size`"), ({"curated": {"path": "x", "cancer_type": "t"}}, "belong together")],
)
def test_settings_that_say_half_of_what_they_need_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        RefinementConfig(**settings)
