"""The closed form: against scikit-learn, against simulation, and blind to whom it must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cross_decomposition import CCA

from mirror.errors import DataError
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes, build_canonical
from mirror.tasks.canonical_start import (
    TrainingMeans,
    directions,
    held_out_correlations,
    standardise,
    start,
    tail_axes,
    whitening,
)

SIZES = CanonicalSizes(
    tile_dim=8, genes=12, components=8, hidden=4, dropout=0.0, prototypes=3, mask_ratio=0.5, temperature=0.2,
    style_temperature=0.1, private=0.3, start="canonical",
)  # fmt: skip


def correlated(n: int = 400, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean tiles (n, 8) and profiles (n, 12) that share two factors."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    x = z @ rng.normal(size=(2, 8)) + rng.normal(size=(n, 8)) + 3.0
    g = z @ rng.normal(size=(2, 12)) + rng.normal(size=(n, 12)) - 1.0
    return x, g


def started(x: NDArray[np.float64], g: NDArray[np.float64], *, sizes: CanonicalSizes = SIZES) -> CanonicalMirror:
    model = build_canonical(sizes, generator=torch.Generator().manual_seed(0))
    everyone = np.ones(len(x), dtype=bool)
    start(model, TrainingMeans(x, g, np.ones(len(x))), own=everyone, seed=0)
    return model.eval()


def standard(x: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, scale = standardise(x)
    return (x - mean) / scale


def test_with_all_components_the_directions_are_those_of_canonical_correlation() -> None:
    x, g = (standard(one) for one in correlated())
    found = directions(x, g, np.ones(len(x)), components=12)
    u, v = CCA(n_components=2, scale=False, max_iter=5000, tol=1e-12).fit_transform(x, g)
    for j in range(2):
        assert abs(np.corrcoef(x @ found.slide[:, j], u[:, j])[0, 1]) > 0.999
        assert found.correlations[j] == pytest.approx(np.corrcoef(u[:, j], v[:, j])[0, 1], abs=1e-4)


def test_components_have_variance_one_and_correlate_with_their_partner_alone() -> None:
    x, g = correlated()
    model = started(x, g)
    u = model.embed_slide(torch.from_numpy(x[:, None].astype(np.float32))).detach().numpy()
    v = model.embed_expression(torch.from_numpy(g.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(np.cov(u.T, bias=True), np.eye(8), atol=1e-4)
    cross = u.T @ v / len(u)
    np.testing.assert_allclose(cross - np.diag(np.diag(cross)), 0.0, atol=1e-4)


def test_held_out_correlations_of_noise_are_near_zero_where_fitted_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(120, 8)), rng.normal(size=(120, 12))
    weight, own = np.ones(120), np.ones(120, dtype=bool)
    assert directions(x, g, weight, components=8).correlations[0] > 0.4
    assert held_out_correlations(x, g, weight, own, components=8, seed=0).max() < 0.2


def test_held_out_correlations_find_as_many_directions_as_there_are() -> None:
    x, g = (standard(one) for one in correlated())
    found = held_out_correlations(x, g, np.ones(400), np.ones(400, dtype=bool), components=8, seed=0)
    assert (found[:2] > 0.5).all()
    assert (found[2:] < 0.2).all()


def test_patients_with_one_modality_count_in_its_whitening_and_break_nothing() -> None:
    x, g = correlated()
    lone = g.copy()
    lone[350:] = np.nan
    model, fewer = started(x, lone), started(x[:350], g[:350])
    assert torch.isfinite(model.slide_axes).all()
    assert not torch.equal(model.slide_mean, fewer.slide_mean)
    torch.testing.assert_close(model.gene_mean, fewer.gene_mean)


def test_the_order_of_patients_does_not_matter_for_the_directions() -> None:
    x, g = (standard(one) for one in correlated())
    order = np.random.default_rng(1).permutation(400)
    one = directions(x, g, np.ones(400), components=6)
    other = directions(x[order], g[order], np.ones(400), components=6)
    np.testing.assert_allclose(one.slide, other.slide, atol=1e-8)


def test_a_pooled_patient_of_no_weight_changes_no_direction() -> None:
    x, g = (standard(one) for one in correlated())
    strangers = np.random.default_rng(2).normal(size=(50, 20))
    weight = np.r_[np.ones(400), np.zeros(50)]
    pooled = directions(np.r_[x, strangers[:, :8]], np.r_[g, strangers[:, 8:]], weight, components=6)
    alone = directions(x, g, np.ones(400), components=6)
    np.testing.assert_allclose(np.abs(pooled.slide), np.abs(alone.slide), atol=1e-8)


def test_what_stands_in_a_wide_table_is_found_as_in_a_narrow_one() -> None:
    # More genes than patients: axes come from the matrix of patients.
    rng = np.random.default_rng(3)
    x, g = correlated(60)
    wide = np.hstack([g, g @ rng.normal(size=(12, 80))])
    found = directions(standard(x), standard(wide), np.ones(60), components=5)
    np.testing.assert_allclose(np.var(standard(wide) @ found.expression, axis=0), 1.0, atol=1e-6)


def test_a_constant_gene_is_harmless() -> None:
    x, g = correlated()
    g[:, 3] = 7.0
    assert torch.isfinite(started(x, g).gene_axes).all()


def test_too_few_pairs_are_refused_with_the_remedy() -> None:
    x, g = correlated(9)
    with pytest.raises(DataError, match=r"9 training patients have both modalities.*pool"):
        started(x, g)


def test_without_a_start_only_the_standardisation_is_fitted() -> None:
    x, g = correlated()
    model = started(x, g, sizes=replace(SIZES, start="none"))
    assert not model.slide_axes.any()
    np.testing.assert_allclose(model.slide_mean.numpy(), x.mean(axis=0), rtol=1e-5)


def test_the_tail_follows_the_components_at_its_natural_scale() -> None:
    _, g = (standard(one) for one in correlated())
    everyone = np.ones(len(g))
    tail = g @ tail_axes(g, everyone, components=4, tail=5)
    variances = np.linalg.eigvalsh(g.T @ g / len(g))[::-1]
    np.testing.assert_allclose(np.var(tail, axis=0), variances[4:9] / variances[4], atol=1e-8)
    np.testing.assert_allclose(tail.T @ (g @ whitening(g, everyone, components=4)), 0.0, atol=1e-6)


def test_components_and_a_long_tail_lose_nothing_linear_of_the_profile() -> None:
    x, g = correlated()
    model = started(x, g, sizes=replace(SIZES, components=4, tail=20))
    found = model.embed_expression(torch.from_numpy(g.astype(np.float32))).detach().double().numpy()
    assert found.shape == (400, 24) and not found[:, 12:].any()  # the rank is 12
    rebuilt = found @ np.linalg.lstsq(found, standard(g), rcond=None)[0]
    np.testing.assert_allclose(rebuilt, standard(g), atol=1e-3)
    short = started(x, g, sizes=replace(SIZES, components=4))
    torch.testing.assert_close(
        model.embed_expression(torch.from_numpy(g.astype(np.float32)))[:, :4],
        short.embed_expression(torch.from_numpy(g.astype(np.float32))),
    )
