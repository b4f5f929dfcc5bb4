"""What the same encoder gives to heads that had nothing to find: the null of the enrichment of gene sets.

Of a class or the risk: the answers are dealt out anew among the cohort's patients, and a ridge regression on the fold's
training patients answers them from the same view; its penalty is the one under which ridge regression on the true
answers points most nearly where the head itself does. Of the agreement: slides are dealt out anew among the test
patients. Views that are no affine functions of the panel are taken by their slope at the training mean.

One draw deals alike in every fold and seed, so effects that are means over runs have nulls that are.

Legend: N patients, n training patients of the fold with an answer, G genes, D columns of the view, B draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mirror.evaluation.fitted import class_codes
from mirror.evaluation.metrics import Flags, Floats
from mirror.evaluation.representations import PatientTable
from mirror.explain.genes import FUSED, Output, Profiles, Reference, along
from mirror.explain.relevance import Model
from mirror.explain.targets import CLASS, Agreement, Head, Target
from mirror.seeding import rng_for
from mirror.types import Fold

DRAWS = 500
_RIDGES = np.logspace(-6, 2, 33)
"""Penalties tried, in units of the largest squared singular value of the view."""


class Answers(NamedTuple):
    """(N,) by patient of the table: what a head is to answer, and who has an answer at all."""

    value: Floats
    known: Flags


def answers(target: Target, table: PatientTable) -> Answers:
    """A class's indicator, or martingale residuals (event less the Nelson-Aalen hazard until then), which is what Cox's
    model sees of survival before it has any coefficient."""
    if target.name.startswith(CLASS):
        codes = class_codes(table)
        wanted = table.classes.index(target.name.removeprefix(CLASS))
        return Answers((codes == wanted).astype(np.float64), codes >= 0)
    known = ~np.isnan(table.time)
    value = np.zeros(len(known))
    time, event = table.time[known], table.event[known].astype(np.float64)
    moments, place = np.unique(time, return_inverse=True)
    at_risk = (time[:, None] >= moments).sum(axis=0)
    value[known] = event - np.cumsum(np.bincount(place, event, minlength=len(moments)) / at_risk)[place]
    return Answers(value, known)


def null_effects(
    model: Model,
    target: Target,
    profiles: Profiles,
    mean: Reference,
    table: PatientTable,
    fold: Fold,
    *,
    seed: int,
    draws: int = DRAWS,
) -> Floats:
    """(G, B) effects, in the sense of `GeneContributions.effect` up to one factor, where there is nothing to find."""
    if isinstance(target, Agreement):
        return _unpaired(model, target, profiles, mean, fold, seed=seed, draws=draws)
    assert isinstance(target, Head)
    x = table.views[target.representation]
    given = answers(target, table)
    everyone = np.flatnonzero(given.known)
    dealt = np.zeros((len(x), draws))
    for draw in range(draws):
        rng = rng_for(seed, "answers dealt out", CLASS if target.name.startswith(CLASS) else target.name, draw)
        dealt[everyone, draw] = given.value[rng.permutation(everyone)]
    train = table.rows(sorted(fold.train))
    rows = train[given.known[train] & ~np.isnan(x[train]).any(axis=1)]
    deviation = x[rows].std(axis=0)
    deviation = np.where(deviation > 1e-9 * max(deviation.max(initial=0.0), 1e-300), deviation, np.inf)
    z = (x[rows] - x[rows].mean(axis=0)) / deviation
    left, values, right = np.linalg.svd(z, full_matrices=False)
    own = left.T @ (given.value[rows] - given.value[rows].mean())
    wanted = right @ (target.weights * np.where(np.isinf(deviation), 0.0, deviation))
    ridges = _RIDGES * values[0] ** 2
    pointed = [values / (values**2 + ridge) * own for ridge in ridges]
    ridge = ridges[int(np.argmax([_cosine(one, wanted) for one in pointed]))]
    weights = right.T @ ((values / (values**2 + ridge))[:, None] * (left.T @ dealt[rows])) / deviation[:, None]
    slopes = _slopes_at_mean(model, target, profiles, mean, target.view)
    rises = slopes.T @ weights
    if target.representation != FUSED:
        return rises * mean.deviation[:, None]
    away = profiles.values - mean.mean
    return along(away / np.where(mean.deviation > 0, mean.deviation, np.inf), away @ rises)


def _unpaired(
    model: Model,
    target: Target,
    profiles: Profiles,
    mean: Reference,
    fold: Fold,
    *,
    seed: int,
    draws: int,
) -> Floats:
    assert profiles.slide is not None
    output = Output(model, target, profiles)
    with torch.no_grad():
        own = output.view(torch.from_numpy(profiles.values), "X_align_expression").numpy()
    slides = profiles.slide / np.maximum(np.linalg.norm(profiles.slide, axis=1, keepdims=True), 1e-12)
    away = (profiles.values - mean.mean) / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    slopes = _slopes_at_mean(model, target, profiles, mean, "X_align_expression")
    found = np.empty((away.shape[1], draws))
    for draw in range(draws):
        order = rng_for(seed, "slides dealt out", fold.number, draw).permutation(len(slides))
        found[:, draw] = (slopes * (slides[order].T @ away)).sum(axis=0) / len(slides)
    return found


def _slopes_at_mean(model: Model, target: Target, profiles: Profiles, mean: Reference, view: str) -> Floats:
    """(D, G): by how much each column of a view rises with each gene, at the training patients' mean profile."""
    output = Output(model, target, profiles)
    rows = torch.autograd.functional.jacobian(
        lambda x_G: output.view(x_G[None], view)[0], torch.from_numpy(mean.mean), vectorize=True
    )
    return np.asarray(rows.numpy(), dtype=np.float64)


def _cosine(first: Floats, second: Floats) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-300))
