"""Genes that carry one coordinate of a simulated factor each: what explanations of expression must find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mirror.seeding import rng_for

EXPRESSED = ("shared_subtype", "shared_survival", "expression_subtype", "expression_survival")
"""The coordinates that show in the expression, as truth.csv calls them."""

STRENGTH = 2.0
"""Size of a loading; with it a planted gene has a fifth of its variance from its factor, the rest is nuisance."""


def gene_name(number: int) -> str:
    """What a simulated gene is called."""
    return f"GENE{number:04d}"


def planted_loadings(count: int, *, genes: int, seed: int) -> NDArray[np.float64]:
    """(4, `genes`): of each coordinate `STRENGTH` up or down at `count` genes of its own, else 0."""
    rng = rng_for(seed, "planted genes")
    loadings = np.zeros((len(EXPRESSED), genes))
    own = rng.permutation(genes)[: len(EXPRESSED) * count].reshape(len(EXPRESSED), count)
    for row, places in zip(loadings, own, strict=True):
        row[places] = STRENGTH * rng.choice([-1.0, 1.0], count)
    return loadings


def planted_genes(count: int, *, genes: int, seed: int) -> dict[str, tuple[str, ...]]:
    """Coordinate -> the genes that carry it in a cohort of that many `genes`, simulated with `seed`."""
    loadings = planted_loadings(count, genes=genes, seed=seed)
    return {
        name: tuple(gene_name(int(place)) for place in np.flatnonzero(row))
        for name, row in zip(EXPRESSED, loadings, strict=True)
    }
