"""Effects of genes where there is nothing for them to go along with: the null of the enrichment of gene sets.

Of a class or the risk, what the expression adds to a head's output is dealt out anew among the test patients; of the
agreement the slides are, and there a network is taken by its slope at the training mean. Genes that vary together have
effects that move together under the null as well.

A draw deals alike for every seed of a fold, so effects that are means over runs have nulls that are.

Legend: N patients, G genes, K columns of an aligned view, B draws.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mirror.evaluation.metrics import Floats
from mirror.explain.gene_effect import gene_effects
from mirror.explain.genes import Output, Profiles, Reference, added
from mirror.explain.relevance import Model
from mirror.explain.targets import Agreement, Target
from mirror.seeding import rng_for

DRAWS = 500


def null_effects(
    model: Model, target: Target, profiles: Profiles, mean: Reference, *, fold: int, seed: int, draws: int = DRAWS
) -> Floats:
    """(G, B) effects, as `GeneContributions.effect` has them, where nothing goes along with anything.

    `seed` and `fold` say how patients are dealt; they are to be those of the study, whichever run this is.
    """
    output = Output(model, target, profiles)
    orders = (rng_for(seed, "dealt out", fold, draw).permutation(len(profiles.patients)) for draw in range(draws))
    if isinstance(target, Agreement):
        return _unpaired(output, profiles, mean, orders)
    given = added(output, profiles, mean)
    return gene_effects(mean.standardise(profiles.values), np.stack([given[order] for order in orders], axis=1))


def _unpaired(output: Output, profiles: Profiles, mean: Reference, orders: Iterator[np.ndarray]) -> Floats:
    assert profiles.slide is not None
    with torch.no_grad():
        own = output.view(torch.from_numpy(profiles.values), "X_align_expression").numpy()
    slides = profiles.slide / np.maximum(np.linalg.norm(profiles.slide, axis=1, keepdims=True), 1e-12)
    away = (profiles.values - mean.mean) / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    slopes = torch.autograd.functional.jacobian(
        lambda x_G: output.view(x_G[None], "X_align_expression")[0], torch.from_numpy(mean.mean), vectorize=True
    )
    slopes_KG = np.asarray(slopes.numpy(), dtype=np.float64)
    found = [(slopes_KG * (slides[order].T @ away)).sum(axis=0) / len(slides) for order in orders]
    return np.stack(found, axis=1)
