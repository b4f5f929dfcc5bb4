"""Retrieval across modalities: does a held-out patient's slide find that patient's expression among all others'?

n patients, d dimensions; row i of both matrices is one patient. Closeness is the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.errors import DataError
from mirror.evaluation.metrics import TOP, Floats

if TYPE_CHECKING:
    import anndata

ALIGNED = ("X_align_slide", "X_align_expression")
"""The views of an embedding in which both modalities are comparable; not every model has them."""
_ROUNDING = 1e-12


class Ranks(NamedTuple):
    """Of each query, (n,): how many rows are `closer` to it than its own, how many are as close, its own among them
    (`tied`), and the closest one (`first`; of equally close ones that which comes first)."""

    closer: Floats
    tied: Floats
    first: NDArray[np.intp]

    def found(self, k: int) -> Floats:
        """The chance, in [0, 1], that its own row is among the k closest, equally close ones in random order."""
        return np.clip((k - self.closer) / self.tied, 0.0, 1.0)

    @property
    def rank(self) -> Floats:
        """The place of its own row, from 1; the middle one among equally close rows."""
        return self.closer + (self.tied + 1) / 2


class Retrieval(NamedTuple):
    """`recall[k]` the share of queries whose own row is among the k closest, `chance[k]` that of a random order.

    `median_rank` from 1 (first) to `gallery`, the number of patients; of a random order it is (gallery + 1) / 2.
    """

    recall: Mapping[int, float]
    chance: Mapping[int, float]
    median_rank: float
    gallery: int


def rank_rows(queries: Floats, gallery: Floats) -> Ranks:
    """Where row i of `gallery` (n, d) stands among all, sorted by closeness to row i of `queries` (n, d).

    A row of zeros is as close to everything. Raises `DataError` when the shapes differ, there is no row, or one is not
    finite.
    """
    if queries.shape != gallery.shape or queries.ndim != 2 or not len(queries):
        raise DataError(f"retrieval compares two (n, d) matrices, n > 0; given are {queries.shape}, {gallery.shape}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise DataError("retrieval compares finite rows; leave out patients who lack a modality")
    closeness = _directions(queries) @ _directions(gallery).T
    own = np.diagonal(closeness)[:, None]
    closer = (closeness > own + _ROUNDING).sum(axis=1)
    tied = (np.abs(closeness - own) <= _ROUNDING).sum(axis=1)
    return Ranks(closer.astype(np.float64), tied.astype(np.float64), closeness.argmax(axis=1))


def retrieval(queries: Floats, gallery: Floats, *, top: tuple[int, ...] = TOP) -> Retrieval:
    """How well row i of `queries` (n, d) finds row i of `gallery` (n, d).

    Rows that are equally close stand in random order, and recall is its expectation: embeddings that say nothing are
    at chance, not at the top. Raises `DataError` as `rank_rows` does.
    """
    ranks, n = rank_rows(queries, gallery), len(queries)
    return Retrieval(
        recall={k: float(ranks.found(k).mean()) for k in top},
        chance={k: min(k, n) / n for k in top},
        median_rank=float(np.median(ranks.rank)),
        gallery=n,
    )


def held_out_retrieval(embeddings: anndata.AnnData) -> Retrieval | None:
    """Slide -> expression among a run's test patients who have both, a slide view being the mean of their slides.

    None where the model has no aligned views or no test patient has both modalities.
    """
    if any(view not in embeddings.obsm for view in ALIGNED):
        return None
    tested = (embeddings.obs["role"] == "test").to_numpy()
    owners = embeddings.obs["patient"].astype(str).to_numpy()[tested]
    slide, expression = (
        pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64)[tested]).groupby(owners).mean().to_numpy()
        for view in ALIGNED
    )
    both = ~(np.isnan(slide).any(axis=1) | np.isnan(expression).any(axis=1))
    return retrieval(slide[both], expression[both]) if both.any() else None


def _directions(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x, dtype=np.float64), where=length > 0)
