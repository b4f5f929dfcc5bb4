"""Which gene sets stand out among the effects of genes, tested against heads that had nothing to find.

The test is competitive: are a set's effects higher, or larger, than the panel's? Its null is what the same encoder
gives to heads whose answers were dealt out among the patients at random: genes that vary together, or that the encoder
weighs together, have effects that move together there too. Permuting genes instead, as the preranked tests of libraries
do, takes genes for independent and calls sets of genes that move together (Goeman and Buehlmann, 2007; Wu and Smyth,
2012); the tests of this file show it.

Legend: G genes of the panel, B drawings of the null, S sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, gamma, norm

from mirror.evaluation.metrics import Floats
from mirror.explain.gene_sets import SetInPanel


class EnrichedSet(NamedTuple):
    """A set among the effects. `genes` of it are in the panel, `missing` are not, both by name.

    `signed`: how many standard deviations of the null the mean of its effects lies above the null's (positive: its
    genes raise the target's output), `p_signed` two-sided. `size`: the mean square of its effects, whichever
    their signs, over what the null has on average; `p_size` of larger ones. `q`: the smaller of both after Benjamini
    and Hochberg over both tests of all sets. NaN of a set that is not tested.
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
    observed, drawn = (effects / scale)[:, None], null / scale[:, None]
    signed, signed_null = _means(observed, tested), _means(drawn, tested)
    z = (signed[:, 0] - signed_null.mean(axis=1)) / np.maximum(signed_null.std(axis=1, ddof=1), 1e-12)
    size, size_null = _squares(observed, tested)[:, 0], _squares(drawn, tested)
    # Squares of what is normal along some directions: a gamma of the null's mean and variance, between one direction
    # (a set that moves as one) and as many as genes. It needs no more draws for a small p-value.
    mean, variance = size_null.mean(axis=1), np.maximum(size_null.var(axis=1, ddof=1), 1e-12)
    p_signed, p_size = 2.0 * norm.sf(np.abs(z)), gamma.sf(size, mean**2 / variance, scale=variance / mean)
    q = false_discovery_control(np.concatenate([p_signed, p_size])).reshape(2, -1).min(axis=0)
    rows = iter(np.stack([z, p_signed, size / mean, p_size, q], axis=1).tolist())
    return tuple(
        EnrichedSet(one.name, _names(one, genes), one.missing, *next(rows)) if one.tested else _untested(one, genes)
        for one in sets
    )


def _means(effects: Floats, sets: Sequence[SetInPanel]) -> Floats:
    """(S, B) of effects (G, B): a set's mean less the panel's median, over the panel's usual size."""
    centred = effects - np.median(effects, axis=0)
    return np.stack([centred[list(one.columns)].mean(axis=0) for one in sets]) / _usual(effects)


def _squares(effects: Floats, sets: Sequence[SetInPanel]) -> Floats:
    """(S, B) of effects (G, B): the mean square of a set over the square of the panel's usual size."""
    return np.stack([(effects[list(one.columns)] ** 2).mean(axis=0) for one in sets]) / _usual(effects) ** 2


def _usual(effects: Floats) -> Floats:
    """(B,): the median size of an effect. A median here and above, because a few strong genes must neither make all
    others look lowered nor hide themselves behind their own size."""
    return np.maximum(np.median(np.abs(effects), axis=0), 1e-150)


def _names(one: SetInPanel, genes: Sequence[str]) -> tuple[str, ...]:
    return tuple(genes[column] for column in one.columns)


def _untested(one: SetInPanel, genes: Sequence[str]) -> EnrichedSet:
    return EnrichedSet(one.name, _names(one, genes), one.missing, *[float("nan")] * 5)
