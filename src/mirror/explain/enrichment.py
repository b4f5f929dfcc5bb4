"""Which gene sets stand out among the effects of genes.

A set is called where it stands out in both ways that are usual (Goeman and Buehlmann, 2007). Against the panel: its
effects are higher, or larger, than those of other genes, by their ranks, so that a few strong genes do not make sets of
others look lowered, nor any set that holds one of them look raised. And against chance: they are further from zero than
where there is nothing to go along with (`null_effects`). The first alone takes genes for independent, and calls sets of
genes that move together (Wu and Smyth, 2012), as preranked tests of libraries do; the second alone calls any set that
the output goes along with at all.

Legend: G genes of the panel, M of a set, B draws of the null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, gamma, norm, rankdata

from mirror.evaluation.metrics import Floats
from mirror.explain.gene_sets import SetInPanel


class EnrichedSet(NamedTuple):
    """A set among the effects. `genes` of it are in the panel, `missing` are not, both by name.

    `signed`: how many standard deviations of the null the mean of its effects lies above the null's (positive: its
    genes go along with more of the target), `p_signed` two-sided. `size`: the mean square of its effects, whichever
    their signs, over what the null has on average; `p_size` of larger ones. Either p is the larger of both tests', so
    that it holds for whichever of their nulls is true. `q`: the smaller of both after Benjamini and Hochberg over both
    kinds of all sets. NaN of a set that is not tested.
    """

    name: str
    genes: tuple[str, ...]
    missing: tuple[str, ...]
    signed: float
    p_signed: float
    size: float
    p_size: float
    q: float


def enrich(effects: Floats, null: Floats, genes: Sequence[str], sets: Sequence[SetInPanel]) -> tuple[EnrichedSet, ...]:
    """Test every set, in the order of `sets`.

    `effects` (G,) of one target, `null` (G, B) of `null_effects`. An effect counts in standard deviations of its own
    null, so that a gene which the encoder weighs heavily in every direction does not lead for that alone. Sets with
    fewer or more genes in the panel than `gene_sets` says are not tested.
    """
    tested = [one for one in sets if one.tested]
    if not tested:
        return tuple(_untested(one, genes) for one in sets)
    scale = null.std(axis=1)
    scale = np.where(scale > 1e-12 * scale.max(initial=0.0), scale, np.inf)
    observed, drawn = effects / scale, null / scale[:, None]
    ranks = rankdata(observed), rankdata(np.abs(observed))
    numbers = np.array([_tested(list(one.columns), observed, drawn, *ranks) for one in tested])
    q = false_discovery_control(numbers[:, [1, 3]].T.ravel()).reshape(2, -1).min(axis=0)
    rows = iter(np.column_stack([numbers, q]).tolist())
    return tuple(
        EnrichedSet(one.name, _names(one, genes), one.missing, *next(rows)) if one.tested else _untested(one, genes)
        for one in sets
    )


def _tested(
    columns: list[int], effects_G: Floats, null_GB: Floats, ranks_G: Floats, size_ranks_G: Floats
) -> tuple[float, float, float, float]:
    """`signed`, `p_signed`, `size` and `p_size` of one set."""
    own_M, drawn_MB = effects_G[columns], null_GB[columns]
    means_B, squares_B = drawn_MB.mean(axis=0), (drawn_MB**2).mean(axis=0)
    signed = (own_M.mean() - means_B.mean()) / max(means_B.std(ddof=1), 1e-12)
    # Both have to point the same way.
    p_signed = min(1.0, 2 * max(norm.sf(abs(signed)), norm.sf(np.sign(signed) * _above_panel(columns, ranks_G))))
    # Squares of what is normal along some directions: a gamma of the null's mean and variance, between one direction
    # (a set that moves as one) and as many as genes. It needs no more draws for a small p-value.
    size, mean, variance = (own_M**2).mean(), max(squares_B.mean(), 1e-12), max(squares_B.var(ddof=1), 1e-12)
    by_chance = gamma.sf(size, mean**2 / variance, scale=variance / mean)
    p_size = max(by_chance, norm.sf(_above_panel(columns, size_ranks_G)))
    return float(signed), float(p_signed), float(size / mean), float(p_size)


def _above_panel(columns: list[int], ranks_G: Floats) -> float:
    """The rank sum of a set less its mean, in standard deviations over all sets of as many genes of the panel."""
    own, genes = len(columns), len(ranks_G)
    if own == genes:
        return -np.inf  # there is nothing that the whole panel stands out from
    return (ranks_G[columns].sum() - own * (genes + 1) / 2) / np.sqrt(own * (genes - own) * (genes + 1) / 12)


def _names(one: SetInPanel, genes: Sequence[str]) -> tuple[str, ...]:
    return tuple(genes[column] for column in one.columns)


def _untested(one: SetInPanel, genes: Sequence[str]) -> EnrichedSet:
    return EnrichedSet(one.name, _names(one, genes), one.missing, *[float("nan")] * 5)
