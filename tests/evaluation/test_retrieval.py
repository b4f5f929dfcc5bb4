"""Retrieval across modalities: equal to the slow way, at chance where there is nothing to find."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import DataError
from mirror.evaluation import weighted
from mirror.evaluation.retrieval import held_out_retrieval, rank_rows, retrieval


def pairs(seed: int, n: int, *, signal: float = 0.0, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(n, d))
    return queries, signal * queries + rng.normal(size=(n, d))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), signal=st.floats(0, 3))
def test_recall_and_rank_are_those_of_a_slow_loop(seed: int, n: int, signal: float) -> None:
    queries, gallery = pairs(seed, n, signal=signal)
    ranks = []
    for i in range(n):
        cosines = [
            float(np.dot(queries[i], row) / (np.linalg.norm(queries[i]) * np.linalg.norm(row))) for row in gallery
        ]
        order = sorted(range(n), key=lambda j: -cosines[j])
        ranks.append(order.index(i) + 1)
    found = retrieval(queries, gallery)
    assert found.recall == pytest.approx({k: sum(rank <= k for rank in ranks) / n for k in (1, 5, 10)})
    assert found.median_rank == pytest.approx(float(np.median(ranks)))
    assert found.gallery == n


def test_a_gallery_of_the_queries_themselves_is_found_whole() -> None:
    queries, _ = pairs(0, 40)
    found = retrieval(queries, 3.0 * queries)
    assert set(found.recall.values()) == {1.0}
    assert found.median_rank == 1.0


def test_unrelated_embeddings_are_at_chance() -> None:
    results = [retrieval(*pairs(seed, 50)) for seed in range(200)]
    for k, chance in ((1, 0.02), (5, 0.1), (10, 0.2)):
        assert results[0].chance[k] == chance
        values = [one.recall[k] for one in results]
        assert abs(np.mean(values) - chance) < 4 * np.std(values) / np.sqrt(len(values))


@given(n=st.integers(1, 40), value=st.floats(-5, 5))
def test_embeddings_that_are_all_the_same_are_at_chance_exactly(n: int, value: float) -> None:
    same = np.full((n, 7), value)
    found = retrieval(same, same)
    assert found.recall == pytest.approx(found.chance)
    assert found.median_rank == pytest.approx((n + 1) / 2)


def test_shapes_that_differ_and_missing_rows_are_refused() -> None:
    queries, gallery = pairs(0, 4)
    with pytest.raises(DataError, match="two"):
        retrieval(queries, gallery[:, :3])
    with pytest.raises(DataError, match="lack"):
        retrieval(np.where(np.arange(4)[:, None] == 1, np.nan, queries), gallery)


def test_only_held_out_patients_with_both_modalities_are_in_the_gallery() -> None:
    queries, gallery = pairs(3, 6, signal=1.0)
    gallery[5] = np.nan
    owners, roles = ["a", "b", "b", "c", "d", "e"], ["test", "test", "test", "train", "test", "test"]
    gallery[2] = gallery[1]
    table = anndata.AnnData(
        obs=pd.DataFrame({"patient": owners, "role": roles}, index=[f"s{row}" for row in range(6)]),
        uns={},
    )
    assert held_out_retrieval(table) is None
    table.obsm["X_align_slide"], table.obsm["X_align_expression"] = queries, gallery
    slides = np.stack([queries[0], (queries[1] + queries[2]) / 2, queries[4]])
    assert held_out_retrieval(table) == retrieval(slides, gallery[[0, 1, 4]])


@given(seed=st.integers(0, 10_000), n=st.integers(2, 30))
def test_drawn_patients_are_repeated_queries_in_the_same_gallery(seed: int, n: int) -> None:
    ranks = rank_rows(*pairs(seed, n, signal=0.5))
    frame = pd.DataFrame({"patient": [f"P{row:02d}" for row in range(n)], "closer": ranks.closer, "tied": ranks.tied})
    (cells,) = weighted.fold_cells(frame.assign(fold=0, seed=0, draw=0))
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=3)
    for times, *found in zip(
        counts,
        *(weighted.STATISTICS[name](cells)(counts.astype(float)) for name in ("recall@5", "median_rank")),
        strict=True,
    ):
        rows = np.repeat(np.arange(n), times)
        assert found == pytest.approx([ranks.found(5)[rows].mean(), np.median(ranks.rank[rows])])


def test_the_patient_found_first_is_the_closest_one() -> None:
    queries = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = rank_rows(queries, np.array([[0.0, 2.0], [3.0, 0.1], [1.0, 1.2]]))
    assert found.first.tolist() == [1, 0, 2]
    assert found.rank.tolist() == [3.0, 3.0, 1.0]
