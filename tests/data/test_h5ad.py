"""What is read without anndata is what anndata reads, and what needs it is left to it."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.artefacts import SCHEMA
from mirror.data.expression import ExpressionTable
from mirror.data.h5ad import read_plain
from mirror.errors import ArtefactError
from mirror.evaluation.embed import Embeddings, load_embeddings, read_embeddings, save_embeddings


def written(path: Path) -> Path:
    views = {"X_slide": np.array([[1.5, np.nan], [-0.0, 3e-38]], dtype=np.float32), "X_é": np.eye(2, dtype=np.float32)}
    found = Embeddings(("S1", "no slide: β"), ("P1", "β"), views)
    told = {"run": "r", "missing_genes": "", "fraction": 0.25}
    save_embeddings(path, found, roles={"P1": "train", "β": "test"}, provenance=told)
    return path


def test_a_table_of_embeddings_is_read_as_anndata_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5ad")
    plain, table = read_plain(path), anndata.read_h5ad(path)
    assert plain is not None and plain.uns == dict(table.uns) and plain.uns["schema"] == SCHEMA
    pd.testing.assert_frame_equal(plain.obs, pd.DataFrame(table.obs))
    assert list(plain.obs_names) == list(table.obs_names) and list(plain.obsm) == sorted(table.obsm)
    for name, view in plain.obsm.items():
        assert view.dtype == table.obsm[name].dtype
        np.testing.assert_array_equal(view, table.obsm[name])


def test_an_expression_table_comes_back_as_it_was(tmp_path: Path) -> None:
    values = np.array([[1.0, np.nan, 2.5], [0.0, -1.0, 3.0]], dtype=np.float32)
    table = ExpressionTable(("P2", "P1"), ("B", "A", "Γ"), values, "log2(TPM + 1)", "given.csv")
    table.save(tmp_path / "x.h5ad")
    assert read_plain(tmp_path / "x.h5ad") is not None
    back = ExpressionTable.load(tmp_path / "x.h5ad")
    assert (back.patients, back.genes, back.units, back.source) == (
        table.patients,
        table.genes,
        table.units,
        table.source,
    )
    np.testing.assert_array_equal(back.values, values)


def test_other_columns_are_left_to_anndata(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5ad")
    table = load_embeddings(path)
    table.obs["patient"] = table.obs["patient"].astype("category")
    table.write_h5ad(path)
    assert read_plain(path) is None
    assert list(read_embeddings(path).obs["patient"]) == ["P1", "β"]


def test_what_is_wrong_is_said_as_before(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is missing; run `mirror embed` first"):
        read_embeddings(tmp_path / "gone.h5ad")
    path = written(tmp_path / "e.h5ad")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ArtefactError, match="is damaged"):
        read_embeddings(path)
