"""Where the canonical model starts: whitened components and canonical directions in closed form, no gradient.

k leading principal components of the mean tile, and of the profile, each whitened on everyone who has that modality; on
the n pairs the singular values of `Z_s' Z_g / n` are the canonical correlations (Hotelling, 1936), its singular vectors
the directions. Fitted on few pairs those values are inflated, so directions are weighted by what they correlate on
patients left out of the fit. The components of expression that follow the k, the tail, keep the ratios of their own
deviations, the first of them near one, and so continue where the whitened ones end.

Legend: N patients, n pairs, D tile-feature width, G genes, k components, m components of the tail.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.errors import DataError
from mirror.nn.canonical import CanonicalMirror
from mirror.seeding import rng_for

Floats = NDArray[np.float64]

FOLDS, REPEATS = 5, 3
"""Cross-validation of the correlations: folds, and how often they are drawn."""


class Standard(NamedTuple):
    """Mean and deviation (D,) of columns; a constant column has deviation one."""

    mean: Floats
    scale: Floats


class Directions(NamedTuple):
    """Canonical directions of both modalities, (D, k) and (G, k), and the correlations on those they were fitted on."""

    slide: Floats
    expression: Floats
    correlations: Floats


class Principal(NamedTuple):
    """Axes (D, k) of length one and the deviation along each (k,), falling."""

    axes: Floats
    deviations: Floats


class TrainingMeans(NamedTuple):
    """Training patients' mean tiles (N, D) and profiles (N, G), a row of NaN where a patient lacks the modality.

    `weight` (N,): how much a patient counts in the directions; patients of pooled cohorts may count less.
    """

    slide: Floats
    expression: Floats
    weight: Floats


@torch.no_grad()
def start(model: CanonicalMirror, patients: TrainingMeans, *, own: NDArray[np.bool_], seed: int) -> None:
    """Fit the closed form of `model` in place on training patients, those `own` (N,) to the cohort and pooled ones.

    Rows of pooled patients come standardised by their own cohort; those of `own` patients are standardised here, and
    that is what the model keeps. With `start: none` it keeps nothing else. Raises `DataError` when there are fewer
    pairs than twice the folds.
    """
    sides: list[Floats] = []
    for name, x in (("slide", patients.slide), ("gene", patients.expression)):
        standard = standardise(x[own])
        sides.append(np.where(own[:, None], (x - standard.mean) / standard.scale, x))
        getattr(model, f"{name}_mean").copy_(torch.from_numpy(standard.mean))
        getattr(model, f"{name}_scale").copy_(torch.from_numpy(standard.scale))
    if model.sizes.start == "none":
        return
    x_s, x_g = sides
    found = directions(x_s, x_g, patients.weight, components=model.sizes.components)
    rank = len(found.correlations)
    model.slide_axes[:, :rank].copy_(torch.from_numpy(found.slide))
    model.gene_axes[:, :rank].copy_(torch.from_numpy(found.expression))
    if model.sizes.tail:
        beyond = tail_axes(x_g, patients.weight, components=model.sizes.components, tail=model.sizes.tail)
        model.tail_axes[:, : beyond.shape[1]].copy_(torch.from_numpy(beyond))
    model.correlations.zero_()
    held_out = held_out_correlations(x_s, x_g, patients.weight, own, components=model.sizes.components, seed=seed)
    model.correlations[:rank].copy_(torch.from_numpy(held_out[:rank]))


def standardise(x: Floats) -> Standard:
    """Mean and deviation over the rows of `x` (N, D) that are there. Raises `DataError` when none is."""
    x = x[~np.isnan(x).any(axis=1)]
    if not len(x):
        raise DataError("no training patient has one of the modalities; name its table in the configuration")
    mean, scale = x.mean(axis=0), x.std(axis=0)
    return Standard(mean, np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1.0), scale, 1.0))


def directions(x_s: Floats, x_g: Floats, weight: Floats, *, components: int) -> Directions:
    """Canonical directions within the `components` leading whitened components of standardised `x_s` and `x_g`.

    Each modality is whitened on all rows that have it; the rank is below `components` where the data's is. Along a
    direction the rows have variance one. The sign makes the largest coordinate of the slide's direction positive.
    """
    white_s, white_g = (whitening(x, weight, components=components) for x in (x_s, x_g))
    pair = ~np.isnan(x_s).any(axis=1) & ~np.isnan(x_g).any(axis=1)
    z_s, z_g = x_s[pair] @ white_s, x_g[pair] @ white_g
    share = weight[pair, None] / weight[pair].sum()
    # Where not everyone is a pair, the pairs alone are not white: a ridge-free second whitening on them.
    root_s, root_g = (inverse_root(z.T @ (share * z)) for z in (z_s, z_g))
    u, rho, vt = np.linalg.svd(root_s @ (z_s.T @ (share * z_g)) @ root_g, full_matrices=False)
    a, b = white_s @ root_s @ u, white_g @ root_g @ vt.T
    sign = np.sign(a[np.abs(a).argmax(axis=0), np.arange(a.shape[1])])
    return Directions(a * sign, b * sign, np.minimum(rho, 1.0))


def held_out_correlations(
    x_s: Floats, x_g: Floats, weight: Floats, own: NDArray[np.bool_], *, components: int, seed: int
) -> Floats:
    """Correlation of each pair of directions on `own` pairs left out of their fit, (k,), in [0, 1], mean over folds.

    Raises `DataError` when the cohort has fewer than twice as many pairs as there are folds.
    """
    pairs = np.flatnonzero(own & ~np.isnan(x_s).any(axis=1) & ~np.isnan(x_g).any(axis=1))
    if len(pairs) < 2 * FOLDS:
        raise DataError(
            f"{len(pairs)} training patients have both modalities; canonical directions need {2 * FOLDS} at least: "
            "pool cohorts (`pool`), or use `preset: published`"
        )
    found: list[Floats] = []
    for repeat in range(REPEATS):
        order = rng_for(seed, "held out", repeat).permutation(pairs)
        for part in range(FOLDS):
            out = order[part::FOLDS]
            rest = np.setdiff1d(np.arange(len(x_s)), out)
            fitted = directions(x_s[rest], x_g[rest], weight[rest], components=components)
            found.append(columnwise_correlation(x_s[out] @ fitted.slide, x_g[out] @ fitted.expression))
    rank = min(map(len, found))
    return np.clip(np.mean([one[:rank] for one in found], axis=0), 0.0, 1.0)


def columnwise_correlation(u: Floats, v: Floats) -> Floats:
    """Pearson's correlation of column j of `u` with column j of `v`, both (n, k); 0 where one is constant."""
    u, v = u - u.mean(axis=0), v - v.mean(axis=0)
    size = np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
    return np.divide((u * v).sum(axis=0), size, out=np.zeros(u.shape[1]), where=size > 0)


def whitening(x: Floats, weight: Floats, *, components: int) -> Floats:
    """(D, k): the leading principal axes of the rows of `x` that are there, over their deviations."""
    axes, deviations = principal(x, weight, components=components)
    return axes / deviations


def tail_axes(x: Floats, weight: Floats, *, components: int, tail: int) -> Floats:
    """(D, m): principal axes number `components` + 1 and on, at most `tail`, over the deviation of the first of them.

    Along axis j the rows have the deviation of component j over that of component `components` + 1: 1 or less, falling.
    """
    axes, deviations = principal(x, weight, components=components + tail)
    return axes[:, components:] / deviations[components : components + 1]


def principal(x: Floats, weight: Floats, *, components: int) -> Principal:
    """The `components` leading principal axes of the rows of `x` (N, D) that are there; the rank where that is less."""
    there = ~np.isnan(x).any(axis=1)
    share = np.sqrt(weight[there, None] / weight[there].sum())
    scaled = share * x[there]
    wide = scaled.shape[1] > scaled.shape[0]
    values, vectors = np.linalg.eigh(scaled @ scaled.T if wide else scaled.T @ scaled)
    leading = np.argsort(-values, kind="stable")[:components]
    leading = leading[values[leading] > 1e-8 * values[-1]]
    deviations = np.sqrt(values[leading])
    return Principal(scaled.T @ vectors[:, leading] / deviations if wide else vectors[:, leading], deviations)


def inverse_root(moment: Floats) -> Floats:
    """Symmetric inverse square root of a second moment (k, k); directions without variance stay out."""
    values, vectors = np.linalg.eigh(moment)
    kept = values > 1e-8 * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T
