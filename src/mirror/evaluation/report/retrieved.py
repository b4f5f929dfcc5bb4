"""Retrieval, shown: which expression profiles a slide finds, and which slides a profile finds.

One run's test patients who have both, whom training never saw; closeness is the cosine of the aligned views (n
patients).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd

from mirror.evaluation.metrics import Floats
from mirror.evaluation.retrieval import ALIGNED, Retrieval, retrieval

TOP = 5
QUERIES = 5


class Hit(NamedTuple):
    """One found patient: name, label (None without), cosine, and whether it is the one that was looked for."""

    patient: str
    label: str | None
    cosine: float
    own: bool


class Query(NamedTuple):
    """A patient's slide or profile, the place of its own counterpart from 1, and the closest ones."""

    patient: str
    label: str | None
    rank: int
    hits: tuple[Hit, ...]


class Direction(NamedTuple):
    """`title` says what looks for what; `ranks` (n,) of every test patient, ascending; `same_label` the share of the
    `TOP` closest others with the query's label, `same_label_chance` that of patients drawn blindly; NaN without."""

    title: str
    numbers: Retrieval
    ranks: tuple[int, ...]
    queries: tuple[Query, ...]
    same_label: float
    same_label_chance: float


class Retrieved(NamedTuple):
    """Both directions of one run."""

    run: str
    directions: tuple[Direction, ...]


def retrieved(embeddings: anndata.AnnData, labels: Mapping[str, str | None], *, run: str) -> Retrieved | None:
    """Both directions among the test patients of `embeddings`; None where it has no aligned views or no such patient.

    The queries shown are the best, the worst and those evenly between by the place of their counterpart: no choice.
    """
    if any(view not in embeddings.obsm for view in ALIGNED):
        return None
    tested = (embeddings.obs["role"] == "test").to_numpy()
    owners = embeddings.obs["patient"].astype(str).to_numpy()[tested]
    slide, profile = (
        pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64)[tested]).groupby(owners).mean()
        for view in ALIGNED
    )
    both = ~(slide.isna().any(axis=1) | profile.isna().any(axis=1))
    names = [str(name) for name in slide.index[both]]
    if len(names) < 2:
        return None
    x, y = slide[both].to_numpy(), profile[both].to_numpy()
    told = [labels.get(name) for name in names]
    sides = (("Slide looks for its expression", x, y), ("Expression looks for its slide", y, x))
    return Retrieved(run, tuple(_direction(title, a, b, names, told) for title, a, b in sides))


def _direction(title: str, x: Floats, y: Floats, names: list[str], labels: list[str | None]) -> Direction:
    unit_x, unit_y = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-300) for part in (x, y))
    cosine = unit_x @ unit_y.T
    own = np.diagonal(cosine)
    ranks = 1 + (cosine > own[:, None]).sum(axis=1)
    order = np.lexsort((names, ranks))
    places = np.unique(np.linspace(0, len(names) - 1, min(QUERIES, len(names))).round().astype(int))
    closest = np.argsort(-cosine, axis=1, kind="stable")
    queries = tuple(
        Query(
            names[row],
            labels[row],
            int(ranks[row]),
            tuple(Hit(names[at], labels[at], float(cosine[row, at]), bool(at == row)) for at in closest[row, :TOP]),
        )
        for row in order[places]
    )
    return Direction(
        title, retrieval(x, y), tuple(int(one) for one in np.sort(ranks)), queries, *_same(closest, labels)
    )


def _same(closest: np.ndarray, labels: list[str | None]) -> tuple[float, float]:
    told = np.array([label or "" for label in labels], dtype=object)
    known = np.flatnonzero(told != "")
    if len(known) < 2:
        return float("nan"), float("nan")
    shares: list[float] = []
    for row in known:
        others = [at for at in closest[row] if at != row and told[at]][:TOP]
        shares.append(float(np.mean(told[others] == told[row])))
    counts = pd.Series(told[known]).value_counts().to_numpy(np.float64)
    chance = float((counts * (counts - 1)).sum() / (len(known) * (len(known) - 1)))
    return float(np.mean(shares)), chance
