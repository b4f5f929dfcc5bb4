"""Truths about the layouts that expression comes in, and about identifiers of genes."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mirror.config import ExpressionConfig, GeneMapConfig, SampleSheetConfig
from mirror.data.expression import read_expression
from mirror.data.identifiers import is_nameless, symbol_of, without_version
from mirror.errors import ConfigError, DataError


def config(path: Path, **changes) -> ExpressionConfig:
    settings = {"path": path, "orientation": "genes_in_rows", "units": "log2(TPM + 1)", **changes}
    return ExpressionConfig(**{name: value for name, value in settings.items() if value is not None})


@pytest.mark.parametrize(
    ("identifier", "bare"),
    [
        ("ENSG00000141510.18", "ENSG00000141510"),
        ("ENST00000456328.2", "ENST00000456328"),
        ("ENSMUSG00000059552.8", "ENSMUSG00000059552"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSG00000141510", "ENSG00000141510"),
        ("ENSGR0000182378.10", "ENSGR0000182378"),
        ("ENSTR0000431238.7", "ENSTR0000431238"),
        ("RP11-34P13.7", "RP11-34P13.7"),
        ("TP53", "TP53"),
    ],
)
def test_only_ensembl_identifiers_lose_their_version(identifier, bare):
    assert without_version(identifier) == bare


@pytest.mark.parametrize(
    ("identifier", "symbol"), [("TP53", "TP53"), ("TP53|7157", "TP53"), ("?|100130426", None), ("?", None)]
)
def test_a_row_of_the_tcga_pipeline_has_a_symbol_or_is_nameless(identifier, symbol):
    assert symbol_of(identifier) == symbol
    assert is_nameless(identifier) == (symbol is None)


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "parquet"])
def test_only_the_columns_of_the_cohort_are_read_and_the_others_are_listed(ending, tmp_path):
    names = [f"TCGA-AA-{number:04d}-{kind}A" for number in range(6) for kind in ("01", "11")]
    frame = pd.DataFrame(np.arange(36.0).reshape(3, 12), index=["A", "B", "C"], columns=names).rename_axis("sample")
    path = tmp_path / f"m.{ending}"
    if ending == "parquet":
        frame.reset_index().to_parquet(path)
    else:
        frame.to_csv(path, sep="\t")
        if ending == "tsv":  # a cell that nobody asks for need not be a number
            path.write_text(path.read_text().replace("10.0", "n.d."))
    settings = config(path, identifiers="tcga", units="FPKM")
    patients = {"TCGA-AA-0001", "TCGA-AA-0003", "TCGA-ZZ-0000"}
    part = read_expression(settings, patients=patients)
    assert part.table.patients == ("TCGA-AA-0001", "TCGA-AA-0003")
    np.testing.assert_array_equal(part.table.values, frame.to_numpy().T[[2, 6]])
    assert Counter(entry.reason for entry in part.excluded) == {
        "not a patient of the cohort": 8,
        "not a tumour (sample type 11)": 2,
    }
    assert (part.rows_given, part.genes_given) == (12, 3)
    if ending != "tsv":
        whole = read_expression(settings).table.of(part.table.patients)
        assert whole.content_hash() == part.table.content_hash()


def test_a_table_of_strangers_is_refused_with_names_of_both(tmp_path):
    (tmp_path / "m.tsv").write_text("sample\tX1\tX2\nA\t1\t2\n")
    with pytest.raises(DataError, match=r"m\.tsv belongs to a patient of the cohort: it has X1, X2, the cohort P1"):
        read_expression(config(tmp_path / "m.tsv"), patients=["P1"])


def test_a_table_read_sideways_shows_what_its_rows_are_called(tmp_path):
    (tmp_path / "m.tsv").write_text("gene\tTCGA-AA-0001-01\nTP53\t1\n")
    settings = config(tmp_path / "m.tsv", orientation="patients_in_rows", identifiers="tcga")
    with pytest.raises(DataError, match=r"it has TP53, the cohort TCGA-AA-0001; .* or `orientation` where these are"):
        read_expression(settings, patients=["TCGA-AA-0001"])


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_only_the_rows_of_the_cohort_are_kept_of_a_table_with_patients_in_rows(ending, tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.data.text_files._BLOCK_BYTES", 512)
    frame = pd.DataFrame(np.arange(600.0).reshape(200, 3), columns=list("ABC"))
    frame.insert(0, "case", [f"P{number}" for number in range(200)])
    path = tmp_path / f"m.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    settings = config(path, orientation="patients_in_rows", units="FPKM")
    read = read_expression(settings, patients={"P199", "P7", "P100", "P500"})
    assert read.table.patients == ("P7", "P100", "P199")
    np.testing.assert_array_equal(read.table.values, frame.iloc[[7, 100, 199], 1:])
    assert (len(read.excluded), read.rows_given) == (197, 200)
    assert {entry.reason for entry in read.excluded} == {"not a patient of the cohort"}


def test_a_table_longer_than_a_block_is_put_together_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.data.text_files._BLOCK_BYTES", 4096)
    values = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    frame = pd.DataFrame(values, index=[f"G{n}" for n in range(3000)], columns=list("abcd")).rename_axis("id")
    frame.to_csv(tmp_path / "m.tsv", sep="\t")
    read = read_expression(config(tmp_path / "m.tsv", units="z-score")).table
    assert read.genes == tuple(frame.index)
    np.testing.assert_array_equal(read.values, values.T)
    lines = (tmp_path / "m.tsv").read_text().splitlines()
    lines[2901] = "G2900\tx\t1\t1\t1"
    (tmp_path / "m.tsv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="row 2901, column 'a': 'x'"):
        read_expression(config(tmp_path / "m.tsv", units="z-score"))


def test_a_cbioportal_table_is_read_by_symbol_or_by_number(tmp_path):
    (tmp_path / "both.txt").write_text("Hugo_Symbol\tEntrez_Gene_Id\tP1\tP2\nTP53\t7157\t1\t2\n\t999\t3\t4\n")
    (tmp_path / "number.txt").write_text("Entrez_Gene_Id\tP1\tP2\n7157\t1\t2\n")
    (tmp_path / "neither.txt").write_text("gene\tP1\n7157\t1\n")
    cbioportal = {"layout": "cbioportal", "orientation": None}
    both = read_expression(config(tmp_path / "both.txt", **cbioportal))
    assert (both.table.genes, both.table.patients) == (("TP53", "999"), ("P1", "P2"))
    np.testing.assert_array_equal(both.table.values, [[1, 3], [2, 4]])
    assert both.excluded == ()
    assert read_expression(config(tmp_path / "number.txt", **cbioportal)).table.genes == ("7157",)
    with pytest.raises(DataError, match="none of the columns Hugo_Symbol, Entrez_Gene_Id; its first is 'gene'"):
        read_expression(config(tmp_path / "neither.txt", **cbioportal))


@pytest.mark.parametrize("patients", [None, {"P2"}])
def test_a_cbioportal_table_as_parquet_is_the_same_table(patients, tmp_path):
    text = "Hugo_Symbol\tEntrez_Gene_Id\tP1\tP2\nTP53\t7157\t1\t2\n\t999\t3\t4\nORPHAN\t\t5\t6\n\t\t7\t8\n"
    (tmp_path / "t.txt").write_text(text)
    # The gap makes floats of the numbers: 7157.0.
    pd.read_csv(tmp_path / "t.txt", sep="\t").to_parquet(tmp_path / "t.parquet")
    cbioportal = {"layout": "cbioportal", "orientation": None}
    read = [
        read_expression(config(tmp_path / f"t.{end}", **cbioportal), patients=patients) for end in ("txt", "parquet")
    ]
    assert read[0].table.genes == ("TP53", "999", "ORPHAN")
    assert read[0].table.content_hash() == read[1].table.content_hash()
    assert [entry[:3] for entry in read[0].excluded] == [entry[:3] for entry in read[1].excluded]
    assert [entry.reason for entry in read[0].excluded if entry.kind == "gene"] == ["no name"]


def test_only_the_columns_that_are_asked_for_are_read_of_a_parquet_file(tmp_path):
    # A column of another patient that is no number would be refused if it were opened.
    frame = pd.DataFrame({"id": ["A", "B"], "P1": [1.0, 2.0], "P2": ["n.d.", "n.d."]})
    frame.to_parquet(tmp_path / "m.parquet")
    np.testing.assert_array_equal(
        read_expression(config(tmp_path / "m.parquet"), patients={"P1"}).table.values, [[1, 2]]
    )
    with pytest.raises(DataError, match=r"(?s)not numbers; list them in `ignore_columns`.*'P2'"):
        read_expression(config(tmp_path / "m.parquet"))


@pytest.mark.parametrize("orientation", ["patients_in_rows", "genes_in_rows"])
def test_only_the_samples_of_the_cohort_are_read_of_an_h5ad_file(orientation, tmp_path):
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3), index=["P1", "P2", "P3", "P4"], columns=["A", "B", "C"])
    frame = frame if orientation == "patients_in_rows" else frame.T
    for ending, form in (("dense", np.asarray), ("sparse", scipy.sparse.csr_matrix)):
        path = tmp_path / f"{ending}.h5ad"
        anndata.AnnData(
            X=form(frame.to_numpy()), obs=pd.DataFrame(index=frame.index), var=pd.DataFrame(index=frame.columns)
        ).write_h5ad(path)
        part = read_expression(config(path, orientation=orientation), patients={"P4", "P2"})
        assert part.table.patients == ("P2", "P4")
        np.testing.assert_array_equal(part.table.values, [[3, 4, 5], [9, 10, 11]])
        assert [(entry.item, entry.reason) for entry in part.excluded] == [
            ("P1", "not a patient of the cohort"),
            ("P3", "not a patient of the cohort"),
        ]
        assert part.rows_given == 4
        with pytest.raises(
            DataError, match=r"no sample of .*h5ad belongs to a patient of the cohort: it has P1, P2, P3"
        ):
            read_expression(config(path, orientation=orientation), patients={"X"})


@pytest.mark.parametrize("orientation", ["patients_in_rows", "genes_in_rows"])
def test_samples_whose_name_is_no_barcode_are_listed_as_that(orientation, tmp_path):
    frame = pd.DataFrame({"A": [1.0, 2, 3]}, index=["TCGA-AA-0001-01A", "GTEX-1117F-0226-SM", "TCGA-AA-0002-01"])
    (frame if orientation == "patients_in_rows" else frame.T).rename_axis("id").to_csv(tmp_path / "m.tsv", sep="\t")
    settings = config(tmp_path / "m.tsv", orientation=orientation, identifiers="tcga")
    read = read_expression(settings, patients={"TCGA-AA-0001", "TCGA-AA-0002"})
    assert read.table.patients == ("TCGA-AA-0001", "TCGA-AA-0002")
    assert [(entry.item, entry.reason) for entry in read.excluded] == [("GTEX-1117F-0226-SM", "not a TCGA barcode")]
    assert read.rows_given == 3


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_of_several_samples_of_one_barcode_the_fullest_then_the_largest_stands_in_any_order(order, tmp_path):
    columns = [
        ("TCGA-AA-0001-01", "1", "9"),
        ("TCGA-AA-0001-01", "2", "9"),
        ("TCGA-AA-0001-01", "", "99"),
        ("TCGA-AA-0001-06", "3", "3"),
    ]
    table = zip(("gene", "A", "B"), *(columns[at] for at in order), strict=True)
    (tmp_path / "m.tsv").write_text("".join("\t".join(row) + "\n" for row in table))
    read = read_expression(config(tmp_path / "m.tsv", identifiers="tcga", units="RSEM"))
    np.testing.assert_array_equal(read.table.values, [[2, 9]])
    assert Counter(entry.reason for entry in read.excluded) == {
        "another sample of this barcode has fewer gaps, or as few and a larger sum, or as large a one and the larger "
        "value of the first gene, in alphabetical order, in which they differ": 2,
        "'TCGA-AA-0001-01' stands for patient TCGA-AA-0001": 1,
    }
    assert read.rows_given == 4


@settings(max_examples=25, deadline=None)
@given(rows=st.permutations(range(6)), columns=st.permutations(range(4)))
def test_samples_of_one_barcode_that_were_normalised_to_one_distribution_stand_in_any_order(
    rows, columns, tmp_path_factory
):
    values = np.array([[4, 3, 2, 1], [4, 1, 3, 2], [1, 2, 3, 4], [2, 4, 3, 1], [2, 1, 4, 3], [2, 4, 1, 3]], dtype=float)
    names = ["TCGA-AA-0001-01"] * 3 + ["TCGA-AA-0002-01"] * 3
    frame = pd.DataFrame(values, index=names, columns=["D", "B", "A", "C"])
    path = tmp_path_factory.mktemp("ties") / "m.tsv"
    frame.iloc[list(rows), list(columns)].rename_axis("id").to_csv(path, sep="\t")
    settings = config(path, orientation="patients_in_rows", identifiers="tcga", units="RSEM")
    table = read_expression(settings).table.of(["TCGA-AA-0001", "TCGA-AA-0002"])
    found = pd.DataFrame(table.values, columns=list(table.genes))[["A", "B", "C", "D"]]
    np.testing.assert_array_equal(found, [[3, 2, 4, 1], [4, 1, 3, 2]])


STAR = """# gene-model: GENCODE v36
gene_id\tgene_name\tgene_type\tunstranded\ttpm_unstranded
N_unmapped\t\t\t100\t
N_multimapping\t\t\t100\t
N_noFeature\t\t\t100\t
N_ambiguous\t\t\t100\t
ENSG00000000003.15\tTSPAN6\tprotein_coding\t{0}\t{0}.5
ENSG00000141510.18\tTP53\tprotein_coding\t7\t1.25
"""


STAR_LAYOUT = {"layout": "gdc_star", "orientation": None}


def star_folder(folder: Path) -> Path:
    """Two files as gdc-client leaves them, and their sample sheet."""
    for number, name in enumerate(("aaa", "bbb")):
        (folder / "star" / f"folder-{name}").mkdir(parents=True)
        path = folder / "star" / f"folder-{name}" / f"{name}.rna_seq.augmented_star_gene_counts.tsv"
        path.write_text(STAR.format(number))
    (folder / "sheet.tsv").write_text(
        "File ID\tFile Name\tSample ID\n"
        "1\taaa.rna_seq.augmented_star_gene_counts.tsv\tTCGA-AA-0001-01A\n"
        "2\tbbb.rna_seq.augmented_star_gene_counts.tsv\tTCGA-AA-0002-01A\n"
    )
    return folder / "star"


def star_config(folder: Path, **changes) -> ExpressionConfig:
    settings = {
        "layout": "gdc_star",
        "orientation": None,
        "value": "tpm_unstranded",
        "units": "TPM",
        "samples": SampleSheetConfig(path=folder / "sheet.tsv"),
        "identifiers": "tcga",
        "gene_ids": "without_version",
        **changes,
    }
    return config(folder / "star", **settings)


def test_a_folder_of_star_counts_is_read_with_its_sample_sheet(tmp_path):
    star_folder(tmp_path)
    table = read_expression(star_config(tmp_path)).table
    assert table.patients == ("TCGA-AA-0001", "TCGA-AA-0002")
    assert table.genes == ("ENSG00000000003", "ENSG00000141510")
    np.testing.assert_array_equal(table.values, np.array([[0.5, 1.25], [1.5, 1.25]], dtype=np.float32))
    bare = read_expression(
        star_config(tmp_path, samples=None, identifiers="patient", value="unstranded", units="counts")
    )
    assert bare.table.patients == ("aaa", "bbb")
    np.testing.assert_array_equal(bare.table.values, [[0, 7], [1, 7]])
    for read in (bare, read_expression(star_config(tmp_path))):
        assert [entry.item for entry in read.excluded] == [
            "N_unmapped",
            "N_multimapping",
            "N_noFeature",
            "N_ambiguous",
        ]
        assert read.genes_given == len(read.table.genes) + len(read.excluded)


def test_a_star_file_takes_ensembl_identifiers_to_symbols(tmp_path):
    folder = star_folder(tmp_path)
    one = next(folder.rglob("*.tsv"))
    gene_map = GeneMapConfig(path=one, identifier="gene_id", symbol="gene_name")
    assert read_expression(star_config(tmp_path, gene_map=gene_map)).table.genes == ("TSPAN6", "TP53")


def add_aliquots(folder: Path) -> None:
    """Two more files of the first sample, in folders that sort before and behind; one sample of nobody's."""
    sheet = folder / "sheet.tsv"
    for number, (name, under, sample) in enumerate(
        [("bab", "0", "TCGA-AA-0001-01A"), ("000", "z", "TCGA-AA-0001-01A"), ("ccc", "1", "TCGA-ZZ-0001-01A")], start=5
    ):
        path = folder / "star" / under / f"{name}.rna_seq.augmented_star_gene_counts.tsv"
        path.parent.mkdir()
        path.write_text(STAR.format(number))
        sheet.write_text(sheet.read_text() + f"{number}\t{path.name}\t{sample}\n")


def test_of_several_files_of_a_sample_the_first_by_name_stands_and_the_others_are_counted(tmp_path):
    star_folder(tmp_path)
    add_aliquots(tmp_path)
    read = read_expression(star_config(tmp_path), patients={"TCGA-AA-0001", "TCGA-AA-0002"})
    assert read.table.patients == ("TCGA-AA-0001", "TCGA-AA-0002")
    np.testing.assert_array_equal(read.table.values[:, 0], [6.5, 1.5])
    name = "rna_seq.augmented_star_gene_counts.tsv"
    tallies, others = read.excluded[:4], read.excluded[4:]
    assert {entry.reason for entry in tallies} == {"counts reads of no gene"}
    assert [(entry.item, entry.reason) for entry in others] == [
        ("TCGA-ZZ-0001-01A", "not a patient of the cohort"),
        (f"TCGA-AA-0001-01A (aaa.{name})", f"'000.{name}' stands for sample TCGA-AA-0001-01A"),
        (f"TCGA-AA-0001-01A (bab.{name})", f"'000.{name}' stands for sample TCGA-AA-0001-01A"),
    ]
    assert read.rows_given == 5


def test_star_files_of_strangers_are_not_read(tmp_path):
    star_folder(tmp_path)
    add_aliquots(tmp_path)
    next(tmp_path.rglob("ccc*")).write_text("")
    read_expression(star_config(tmp_path), patients={"TCGA-AA-0001"})
    with pytest.raises(DataError, match=r"ccc\.rna_seq.*cannot be read"):
        read_expression(star_config(tmp_path))
    with pytest.raises(
        DataError, match=r"no sample of .*star belongs to a patient of the cohort.*or `samples`, the sample"
    ):
        read_expression(star_config(tmp_path, samples=None), patients={"TCGA-AA-0001"})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace("tpm_unstranded", "tpm"), "has no column 'tpm_unstranded' but gene_id, gene_name"),
        (lambda text: text.replace("1.25", "high"), r"not numbers.*ENSG00000141510\.18: 'high'"),
        (lambda text: text.replace("ENSG00000141510.18", "ENSG00000141510.17"), "has other genes than .*aaa"),
    ],
)
def test_a_spoiled_star_file_is_named(spoil, says, tmp_path):
    path = next(star_folder(tmp_path).rglob("bbb*"))
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DataError, match=rf"(?s)bbb\.rna_seq.*{says}"):
        read_expression(star_config(tmp_path))


def test_star_files_that_the_sheet_does_not_know_and_folders_without_any_are_named(tmp_path):
    folder = star_folder(tmp_path)
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text("\n".join(sheet.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(DataError, match=r"(?s)names no sample for these files.*bbb\.rna_seq"):
        read_expression(star_config(tmp_path))
    for file in folder.rglob("*.tsv"):
        file.unlink()
    with pytest.raises(DataError, match="has no file"):
        read_expression(star_config(tmp_path))


def transcripts(folder: Path) -> ExpressionConfig:
    """Two samples of four transcripts of two genes, and one that the map does not know."""
    linear = pd.DataFrame(
        {"P1": [3, 4, 0, 7, 9], "P2": [0, 1, 1, 2, 9]}, index=[f"ENST0000000000{n}.{n}" for n in range(1, 6)]
    )
    np.log2(linear + 1).rename_axis("id").to_csv(folder / "t.tsv", sep="\t")
    (folder / "map.tsv").write_text(
        "Level3\tSymbol\n" + "".join(f"ENST0000000000{n}\t{'AABB'[n - 1]}\n" for n in range(1, 5))
    )
    gene_map = GeneMapConfig(path=folder / "map.tsv", identifier="Level3", symbol="Symbol")
    return config(folder / "t.tsv", gene_map=gene_map, duplicates="sum")


def test_transcripts_add_up_to_genes_on_the_linear_scale(tmp_path):
    read = read_expression(transcripts(tmp_path))
    assert read.table.genes == ("A", "B")
    np.testing.assert_allclose(np.exp2(read.table.values) - 1, [[7, 7], [1, 3]], rtol=1e-5)
    assert Counter(entry.reason for entry in read.excluded) == {
        "not in the gene map": 1,
        "one of several columns of this gene: their sum on the linear scale": 2,
    }
    assert read.genes_given == len(read.table.genes) + len(read.excluded)


def test_columns_are_not_summed_that_are_no_amounts(tmp_path):
    settings = transcripts(tmp_path).model_copy(update={"units": "other, arbitrary"})
    with pytest.raises(
        ConfigError, match="`duplicates: sum` needs amounts or their logarithms, not 'other, arbitrary'"
    ):
        read_expression(settings)


def test_a_map_of_other_identifiers_is_refused_with_examples(tmp_path):
    settings = transcripts(tmp_path)
    (tmp_path / "map.tsv").write_text("Level3\tSymbol\n7157\tTP53\n")
    with pytest.raises(DataError, match=r"t\.tsv has no gene that .*map\.tsv knows: its identifiers are ENST"):
        read_expression(settings)


def test_rows_that_count_reads_of_no_gene_leave_before_anything_is_summed(tmp_path):
    tallies = ("__no_feature", "N_unmapped", "N_noFeature", "Unassigned_Ambiguity")
    lines = ["gene\tP1\tP2", "A\t1\t3", "B\t3\t1", *(f"{name}\t900\t-1" for name in tallies)]
    (tmp_path / "m.tsv").write_text("\n".join(lines) + "\n")
    read = read_expression(config(tmp_path / "m.tsv", units="counts", convert_to="CPM"))
    assert read.table.genes == ("A", "B")
    np.testing.assert_allclose(read.table.values, [[250_000, 750_000], [750_000, 250_000]])
    assert [(entry.item, entry.reason) for entry in read.excluded] == [
        (name, "counts reads of no gene") for name in tallies
    ]
    assert read.genes_given == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("g\tP1\tP2\n", "has no gene: it has only a header"),
        ("g\tP1\n?\t1\n\t2\n", r"has no gene: its identifiers are \?, ; check `orientation` and `id`"),
        ("P1\tP2\nA\t1\t2\n", "R writes it without a name for the first column: give it one"),
        ("g\tband\tP1\nA\t17p\t2\n", r"(?s)list a column of text in `ignore_columns`:.*row 1, column 'band': '17p'"),
    ],
)
def test_what_is_no_table_of_genes_is_refused_with_the_remedy(text, says, tmp_path):
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_expression(config(tmp_path / "m.tsv"))


def test_nameless_rows_leave_when_asked_and_are_listed(tmp_path):
    (tmp_path / "m.tsv").write_text("g\tP1\n?|100130426\t1\nTP53|7157\t2\n")
    read = read_expression(config(tmp_path / "m.tsv", nameless_genes="exclude"))
    assert read.table.genes == ("TP53|7157",)
    assert [entry.item for entry in read.excluded] == ["?|100130426"]


@pytest.mark.parametrize("nameless", ["keep", "exclude"])
def test_rows_called_by_a_bare_question_mark_are_nameless_and_never_one_gene(nameless, tmp_path):
    (tmp_path / "m.tsv").write_text("g\tP1\n?\t1\nTP53\t2\n?\t5\n")
    read = read_expression(config(tmp_path / "m.tsv", nameless_genes=nameless))
    assert read.table.genes == ("TP53",)
    assert [(entry.item, entry.reason) for entry in read.excluded] == [
        ("(column 1)", "no name"),
        ("(column 3)", "no name"),
    ]


def test_the_table_is_in_the_units_it_was_converted_to(tmp_path):
    (tmp_path / "m.tsv").write_text("g\tP1\tP2\nA\t3\t0\nB\t1\t1\n")
    read = read_expression(config(tmp_path / "m.tsv", units="TPM", convert_to="log2(TPM + 1)")).table
    assert read.units == "log2(TPM + 1)"
    np.testing.assert_allclose(read.values, [[2, 1], [0, 1]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wanted", ["CPM", "log2(CPM + 1)"])
def test_a_sample_of_zeros_stays_one_when_shares_are_made(wanted, tmp_path):
    (tmp_path / "m.tsv").write_text("g\tP1\tP2\tP3\nA\t3\t0\t\nB\t1\t0\t\n")
    read = read_expression(config(tmp_path / "m.tsv", units="counts", convert_to=wanted))
    assert read.table.patients == ("P1", "P2")
    assert read.table.values[1].tolist() == [0, 0]
    assert [(entry.item, entry.reason) for entry in read.excluded] == [("P3", "no value for any gene")]


def test_negative_counts_stop_the_reading(tmp_path):
    (tmp_path / "m.tsv").write_text("g\tP1\tP2\nA\t3\t-1\n")
    with pytest.raises(DataError, match=r"(?s)m\.tsv is in 'counts' but has 1 negative values.*'P2', gene 'A': -1"):
        read_expression(config(tmp_path / "m.tsv", units="counts"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"orientation": None}, "`orientation` .* is needed"),
        ({"layout": "cbioportal"}, "for it alone"),
        ({"layout": "gdc_star", "orientation": None}, "`value`, such as tpm_unstranded"),
        ({"samples": {"path": "x"}}, "`samples` belongs"),
        ({**STAR_LAYOUT, "value": "tpm_unstranded", "units": "counts"}, "`value: tpm_unstranded` is in TPM, not in"),
        ({**STAR_LAYOUT, "value": "unstranded", "units": "log2(counts + 1)"}, "`value: unstranded` is in counts, not"),
        ({**STAR_LAYOUT, "value": "tpm_unstrand", "units": "TPM"}, "no column of GDC STAR.*mean 'tpm_unstranded'"),
        ({"units": "log2(TMP + 1)"}, r"did you mean 'log2\(TPM \+ 1\)'"),
        ({"convert_to": "log2 TPM"}, r"did you mean 'log2\(TPM \+ 1\)'"),
    ],
)
def test_a_layout_with_half_of_its_settings_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        config(Path("x"), **changes)


def test_a_truncated_gzip_with_a_cut_is_refused(tmp_path):
    text = "id\tP1\tP2\n" + "".join(f"G{n}\t{n * 7919 % 1000}.5\t1\n" for n in range(8000))
    whole = gzip.compress(text.encode())
    (tmp_path / "m.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"m\.tsv\.gz cannot be read.*truncated"):
        read_expression(config(tmp_path / "m.tsv.gz", units="z-score"), patients=["P1"])


def test_shares_are_of_all_that_was_measured_whatever_the_map_knows(tmp_path):
    fpkm = pd.DataFrame({"P1": [3.0, 1, 4, 2], "P2": [1.0, 1, 0, 8]}, index=["T1", "T2", "T3", "T4"])
    fpkm.rename_axis("id").to_csv(tmp_path / "m.tsv", sep="\t")
    (tmp_path / "map.tsv").write_text("Level3\tSymbol\nT1\tA\nT2\tA\nT3\tB\n")  # T4 is not known to it
    gene_map = GeneMapConfig(path=tmp_path / "map.tsv", identifier="Level3", symbol="Symbol")
    settings = config(tmp_path / "m.tsv", units="FPKM", convert_to="log2(TPM + 1)", gene_map=gene_map, duplicates="sum")
    read = read_expression(settings).table
    tpm = fpkm / fpkm.sum() * 1e6
    expected = np.log2(np.array([tpm.loc["T1"] + tpm.loc["T2"], tpm.loc["T3"]]) + 1)
    np.testing.assert_allclose(read.values, expected.T, rtol=1e-5)


@pytest.mark.parametrize("name", ["HiSeqV2", "HiSeqV2.gz"])
def test_xena_tables_without_an_ending_have_tabs(name, tmp_path):
    text = b"sample\tP1\tP2\nA\t3\t0\nB\t1\t1\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert read_expression(config(tmp_path / name)).table.genes == ("A", "B")
