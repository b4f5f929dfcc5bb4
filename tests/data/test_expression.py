"""Truths about expression tables."""

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

from mirror.config import ExpressionConfig
from mirror.data.expression import ExpressionTable, read_expression
from mirror.errors import ArtefactError, DataError

VALUES = np.array([[1.5, -2.0, 0.0], [0.25, np.nan, 3.0]], dtype=np.float32)
FRAME = pd.DataFrame(VALUES, index=["P1", "P2"], columns=["TP53", "ERBB2", "?|100130426"])


def config(path: Path, orientation: str = "patients_in_rows", **changes: str) -> ExpressionConfig:
    return ExpressionConfig(path=path, orientation=orientation, units="other, log2", **changes)


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.rename_axis("id").reset_index().to_parquet(path)
    elif path.suffix == ".h5ad":
        anndata.AnnData(
            X=frame.to_numpy(), obs=pd.DataFrame(index=frame.index), var=pd.DataFrame(index=frame.columns)
        ).write_h5ad(path)
    else:
        frame.to_csv(path, sep="," if ".csv" in path.name else "\t", index_label="id")
    return path


def assert_is_frame(table: ExpressionTable) -> None:
    assert table.patients == ("P1", "P2")
    assert table.genes == ("TP53", "ERBB2", "?|100130426")
    np.testing.assert_array_equal(table.values, VALUES)
    assert (table.values.dtype, table.units) == (np.float32, "other, log2")


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "tsv.gz", "txt", "parquet", "h5ad"])
@pytest.mark.parametrize("orientation", ["patients_in_rows", "genes_in_rows"])
def test_every_format_and_orientation_gives_the_same_table(ending, orientation, tmp_path):
    frame = FRAME if orientation == "patients_in_rows" else FRAME.T
    read = read_expression(config(write(frame, tmp_path / f"e.{ending}"), orientation))
    assert_is_frame(read.table)
    assert (read.rows_given, read.genes_given, read.excluded) == (2, 3, ())


def test_names_of_an_h5ad_are_read_as_those_of_any_table(tmp_path):
    table = anndata.AnnData(
        X=VALUES, obs=pd.DataFrame({"case": [17.0, np.nan]}, index=["a", "b"]), var=pd.DataFrame(index=FRAME.columns)
    )
    table.write_h5ad(tmp_path / "m.h5ad")
    with pytest.raises(DataError, match="row 2 has no name; give it one or remove it"):
        read_expression(config(tmp_path / "m.h5ad", id="case"))
    table[:1].copy().write_h5ad(tmp_path / "m.h5ad")
    assert read_expression(config(tmp_path / "m.h5ad", id="case")).table.patients == ("17",)


def test_a_sparse_h5ad_is_read_as_what_it_stands_for(tmp_path):
    values = np.array([[0, 2.0], [3.0, 0]], dtype=np.float32)
    anndata.AnnData(
        X=scipy.sparse.csr_matrix(values), obs=pd.DataFrame(index=["P1", "P2"]), var=pd.DataFrame(index=["A", "B"])
    ).write_h5ad(tmp_path / "e.h5ad")
    np.testing.assert_array_equal(read_expression(config(tmp_path / "e.h5ad")).table.values, values)


def test_a_parquet_with_the_names_in_its_index_is_read_the_same(tmp_path):
    FRAME.to_parquet(tmp_path / "e.parquet")
    assert_is_frame(read_expression(config(tmp_path / "e.parquet")).table)


def test_the_names_may_stand_in_any_column(tmp_path):
    frame = FRAME.reset_index(names="case")[["TP53", "case", "ERBB2", "?|100130426"]]
    frame.to_csv(tmp_path / "e.csv", index=False)
    assert_is_frame(read_expression(config(tmp_path / "e.csv", id="case")).table)


@settings(max_examples=25, deadline=None)
@given(rows=st.permutations(range(4)), columns=st.permutations(range(4)))
def test_the_value_of_a_patient_and_gene_does_not_depend_on_the_order_of_the_file(rows, columns, tmp_path_factory):
    path = tmp_path_factory.mktemp("order") / "e.csv"
    table = pd.DataFrame(
        np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32), index=list("abcd"), columns=list("XXXY")
    )
    write(table.iloc[list(rows), list(columns)], path)
    read = read_expression(config(path)).table
    order = [read.genes.index("X"), read.genes.index("Y")]
    expected = np.stack([table["X"].mean(axis=1), table["Y"]], axis=1)
    first = read.rows("abcd")[:, order]
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    write(table, path)
    np.testing.assert_array_equal(read_expression(config(path)).table.rows("abcd"), first)


def test_several_columns_of_a_gene_become_their_mean_and_each_further_one_is_listed(tmp_path):
    (tmp_path / "e.csv").write_text("id,A,B,A,A,B\nP1,1,5,2,6,5\nP2,1,5,NA,3,5\n")
    read = read_expression(config(tmp_path / "e.csv"))
    assert read.table.genes == ("A", "B")
    np.testing.assert_array_equal(read.table.values, [[3, 5], [2, 5]])
    assert [(entry.item, entry.reason) for entry in read.excluded] == [
        ("A (column 3)", "one of several columns of this gene: their mean"),
        ("A (column 4)", "one of several columns of this gene: their mean"),
        ("B (column 5)", "a copy of another column of this gene"),
    ]
    assert read.genes_given == len(read.table.genes) + len(read.excluded)


def test_a_gene_without_a_name_and_a_patient_without_a_value_are_listed(tmp_path):
    (tmp_path / "e.csv").write_text("id,A,\nP1,1,2\nP2,NA,\nP3,0,1\n")
    read = read_expression(config(tmp_path / "e.csv"))
    assert read.table.patients == ("P1", "P3")
    assert [(entry.kind, entry.item, entry.reason) for entry in read.excluded] == [
        ("gene", "(column 2)", "no name"),
        ("expression", "P2", "no value for any gene"),
    ]


def test_an_identical_copy_of_a_row_is_listed_and_counted_once(tmp_path):
    (tmp_path / "e.csv").write_text("id,A,B\nP1,1,NA\nP2,2,3\nP1,1,NA\n")
    read = read_expression(config(tmp_path / "e.csv"))
    assert read.table.patients == ("P1", "P2")
    assert [entry.item for entry in read.excluded] == ["P1"]


SAMPLES = """id,A
TCGA-AA-0001-11A-11R,9
TCGA.AA.0001.06A.11R,8
TCGA-AA-0001-01B-11R,2
TCGA-AA-0001-01A-11R,1
TCGA-AA-0002-06A-11R,4
TCGA-AA-0003-11A-11R,5
"""


def test_of_a_tcga_patients_samples_the_first_primary_tumour_stands_and_normals_are_listed(tmp_path):
    (tmp_path / "e.csv").write_text(SAMPLES)
    read = read_expression(config(tmp_path / "e.csv", identifiers="tcga"))
    assert read.table.patients == ("TCGA-AA-0001", "TCGA-AA-0002")
    np.testing.assert_array_equal(read.table.values, [[1], [4]])
    assert {entry.item: entry.reason for entry in read.excluded} == {
        "TCGA-AA-0001-11A-11R": "not a tumour (sample type 11)",
        "TCGA-AA-0003-11A-11R": "not a tumour (sample type 11)",
        "TCGA-AA-0001-01B-11R": "'TCGA-AA-0001-01A-11R' stands for patient TCGA-AA-0001",
        "TCGA.AA.0001.06A.11R": "'TCGA-AA-0001-01A-11R' stands for patient TCGA-AA-0001",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,A,B\nP1,1,x7\nP2,1,2\n", r"row 1, column 'B': 'x7'"),
        ("id,A,B\nP1,1,2\nP2,inf,2\n", "1 infinite values.*\n.*'P2', gene 'A'"),
        ("id,A\nP1,1\nP2,1\nP1,2\n", r"'P1' stands there with different values \(row 1 and row 3\)"),
        ("id,A\nP1,1\n,2\n", "row 2 has no name"),
        ("id,A,B\nP1,1,2\nP2,1\n", "more or fewer cells"),
        ("id,A,B\nP1,NA,\n", "is a patient's expression; check `orientation`"),
        ("id,A,B\n", r"has no sample: .*; check `orientation`"),
        ("", "has 0 columns"),
        ("id;A;B\n1;2;3\n", "delimited by something else"),
    ],
)
def test_a_bad_table_is_refused_with_file_row_and_column(text, says, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"(?s)bad\.csv.*{says}|{says}.*bad\.csv"):
        read_expression(config(path))


def test_every_column_with_a_cell_that_is_no_number_is_named_at_once(tmp_path):
    (tmp_path / "bad.csv").write_text("id,A,B\nP1,1,x\nP2,y,2\n")
    with pytest.raises(DataError, match=r"(?s)row 2, column 'A': 'y'.*row 1, column 'B': 'x'"):
        read_expression(config(tmp_path / "bad.csv"))


def test_a_truncated_gzip_is_refused(tmp_path):
    whole = gzip.compress(b"id,A\n" + b"".join(b"P%d,%d.5\n" % (n, n * 7919) for n in range(5000)))
    (tmp_path / "bad.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"bad\.csv\.gz cannot be read.*truncated"):
        read_expression(config(tmp_path / "bad.csv.gz"))


@pytest.mark.parametrize("ending", ["parquet", "h5ad"])
def test_a_damaged_binary_table_is_refused(ending, tmp_path):
    path = write(FRAME, tmp_path / f"bad.{ending}")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"bad\.{ending} is not a readable"):
        read_expression(config(path))


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5ad"])
def test_a_missing_table_is_named(ending, tmp_path):
    with pytest.raises(DataError, match=rf"there is no .*table .*none\.{ending}"):
        read_expression(config(tmp_path / f"none.{ending}"))


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "e.xlsx").touch()
    with pytest.raises(DataError, match=r"e\.xlsx is none of \.csv.*\.parquet"):
        read_expression(config(tmp_path / "e.xlsx"))


def test_a_missing_name_column_is_reported_with_the_nearest(tmp_path):
    write(FRAME.rename_axis("case_id"), tmp_path / "e.csv")
    with pytest.raises(DataError, match="no column 'ide'; did you mean 'id'"):
        read_expression(config(tmp_path / "e.csv", id="ide"))


def test_names_that_are_no_barcodes_are_all_listed(tmp_path):
    (tmp_path / "e.csv").write_text("id,A\nTCGA-AA-0001,1\nfoo,2\nbar,3\n")
    with pytest.raises(DataError, match=r"(?s)'foo' is not a TCGA barcode.*'bar' is not"):
        read_expression(config(tmp_path / "e.csv", identifiers="tcga"))


def test_the_table_survives_a_round_trip_and_is_ours_to_read_again(tmp_path):
    table = ExpressionTable(("P1", "P2"), tuple(FRAME.columns), VALUES, "other, log2", "somewhere.csv")
    table.save(tmp_path / "expression.h5ad")
    again = ExpressionTable.load(tmp_path / "expression.h5ad")
    assert_is_frame(again)
    assert again.source == "somewhere.csv"
    assert again.content_hash() == table.content_hash()
    assert_is_frame(read_expression(config(tmp_path / "expression.h5ad")).table)
    assert list(tmp_path.iterdir()) == [tmp_path / "expression.h5ad"]


def test_our_table_refuses_to_be_called_by_other_units(tmp_path):
    ExpressionTable(("P1",), ("A",), np.ones((1, 1), np.float32), "z-score", "x.csv").save(tmp_path / "e.h5ad")
    with pytest.raises(DataError, match=r"is in 'z-score', the configuration says 'other, log2'"):
        read_expression(config(tmp_path / "e.h5ad"))


def test_a_foreign_or_damaged_h5ad_is_not_loaded_as_ours(tmp_path):
    write(FRAME, tmp_path / "foreign.h5ad")
    (tmp_path / "damaged.h5ad").write_bytes(b"\x89HDF\r\n")
    for name, says in (
        ("foreign", "not an expression table"),
        ("damaged", "not a readable"),
        ("absent", "there is no"),
    ):
        with pytest.raises(ArtefactError, match=says):
            ExpressionTable.load(tmp_path / f"{name}.h5ad")


def test_a_patient_who_is_not_there_is_named():
    table = ExpressionTable(("P1",), ("A",), np.ones((1, 1), np.float32), "other, log2", "x.csv")
    with pytest.raises(DataError, match=r"1 patients have no expression in x\.csv \(P9\)"):
        table.rows(["P1", "P9"])


def test_a_real_xena_matrix_is_read_with_its_nameless_and_double_genes(shared):
    read = read_expression(
        ExpressionConfig(
            path=shared / "expression" / "rtcga_rsem_log2.tsv.gz",
            orientation="genes_in_rows",
            identifiers="tcga",
            units="log2(RSEM + 1)",
        )
    )
    assert (read.rows_given, read.genes_given) == (317, 20_531)
    assert read.table.values.shape == (304, 20_530)
    assert Counter((entry.kind, entry.reason) for entry in read.excluded) == {
        ("expression", "not a tumour (sample type 11)"): 13,
        ("gene", "one of several columns of this gene: their mean"): 1,
    }
    assert "?|100130426" in read.table.genes
