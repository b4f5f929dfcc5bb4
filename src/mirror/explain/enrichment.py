"""Which gene sets stand out among the effects of genes, tested against heads that had nothing to find.

The test is competitive: does a set rank higher than the panel's other genes? Its null is what the same encoder gives to
heads whose answers were dealt out among the patients at random, gene by gene: genes that vary together, or that the
encoder weighs together, have effects that move together there too. Permuting genes instead, as preranked tests of
libraries do, takes genes for independent and calls every set of genes that move together (Wu and Smyth, 2012; Goeman
and Buehlmann, 2007); the tests of this file show it.

Legend: G genes of the panel, B drawings of the null, S sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, norm, rankdata

from mirror.evaluation.metrics import Floats
from mirror.explain.gene_sets import SetInPanel


class EnrichedSet(NamedTuple):
    """A set among the effects. `genes` of it are in the panel, `missing` are not, both by name.

    `signed` and `size` are how many standard deviations of the null the set's mean rank lies above the null's mean:
    among signed effects (positive: its genes raise the target's output), and among their sizes, whichever the sign.
    `p_signed` is two-sided, `p_size` of larger sizes alone; `q` is the smaller of both after Benjamini and Hochberg
    over both tests of all sets. NaN of a set that is not tested.
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

    `effects` (G,) of one target, `null` (G, B) the effects of heads without anything to find. An effect counts in
    standard deviations of its own null, so that a gene which the encoder weighs heavily in every direction does not
    lead for that alone. Sets with fewer or more genes in the panel than `gene_sets` says are not tested.
    """
    tested = [one for one in sets if one.tested]
    if not tested:
        return tuple(_untested(one, genes) for one in sets)
    scale = null.std(axis=1)
    scale = np.where(scale > 1e-12 * scale.max(initial=0.0), scale, np.inf)
    observed, drawn = effects / scale, null / scale[:, None]
    signed = _scores(observed, drawn, tested)
    size = _scores(np.abs(observed), np.abs(drawn), tested)
    p_signed, p_size = 2.0 * norm.sf(np.abs(signed)), norm.sf(size)
    q = false_discovery_control(np.concatenate([p_signed, p_size])).reshape(2, -1).min(axis=0)
    rows = iter(np.stack([signed, p_signed, size, p_size, q], axis=1).tolist())
    return tuple(
        EnrichedSet(one.name, _names(one, genes), one.missing, *next(rows)) if one.tested else _untested(one, genes)
        for one in sets
    )


def _scores(observed: Floats, drawn: Floats, sets: Sequence[SetInPanel]) -> Floats:
    """(S,): the mean rank of each set, less the null's mean, over the null's deviation.

    A mean of ranks is close to normal from five genes on, and has lighter tails than a normal where they move together;
    so the normal's p-value needs no more drawings for a small one, and errs on the careful side.
    """
    ranks, null = rankdata(observed), rankdata(drawn, axis=0)
    means = np.array([ranks[list(one.columns)].mean() for one in sets])
    nulls = np.stack([null[list(one.columns)].mean(axis=0) for one in sets])
    return (means - nulls.mean(axis=1)) / np.maximum(nulls.std(axis=1, ddof=1), 1e-12)


def _names(one: SetInPanel, genes: Sequence[str]) -> tuple[str, ...]:
    return tuple(genes[column] for column in one.columns)


def _untested(one: SetInPanel, genes: Sequence[str]) -> EnrichedSet:
    return EnrichedSet(one.name, _names(one, genes), one.missing, *[float("nan")] * 5)
