"""Contributions of genes add up, are exact where that can be, and their intervals know about folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from mirror.errors import ConfigError
from mirror.explain.gene_table import COLUMNS, RunEffects, mean_null, summarise_effects
from mirror.explain.genes import Output, Profiles, along, contributions, reference
from mirror.explain.null_heads import null_effects
from mirror.explain.offered_genes import why_not
from mirror.explain.targets import Agreement, Head
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes, build_canonical
from mirror.nn.mirror import Mirror, MirrorSizes, build_mirror
from mirror.types import Fold

GENES, TILES, PATIENTS = 9, 6, 14


def canonical(*, correction: float = 0.0) -> CanonicalMirror:
    sizes = CanonicalSizes(
        tile_dim=TILES,
        genes=GENES,
        components=3,
        hidden=5,
        dropout=0.1,
        prototypes=4,
        mask_ratio=0.5,
        temperature=0.2,
        style_temperature=0.1,
        private=0.3,
        start="canonical",
        tail=2,
        correction=correction,
    )
    model = build_canonical(sizes, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(drawn.abs() + 0.5 if "scale" in name or name == "correlations" else drawn)
    return model.eval()


def published() -> Mirror:
    sizes = MirrorSizes(
        tile_dim=TILES, genes=GENES, tiles=8, width=24, style_hidden=8, style_out=8, style_latent=4, prototypes=5
    )
    return build_mirror(sizes, generator=torch.Generator().manual_seed(0)).eval()


def profiles(seed: int = 0, **slide: np.ndarray) -> Profiles:
    rng = np.random.default_rng(seed)
    return Profiles(tuple(f"P{row:02d}" for row in range(PATIENTS)), rng.normal(size=(PATIENTS, GENES)) + 1, **slide)


def head(model: CanonicalMirror | Mirror, view: str = "expression") -> Head:
    columns = model.views(torch.zeros(1, model.slide_width), torch.zeros(1, model.expression_width))[f"X_{view}"]
    weights = np.random.default_rng(2).normal(size=columns.shape[1])
    return Head("class:B", "log-odds", view, weights, 0.7, ())


def test_exact_contributions_are_the_integrated_gradients_and_add_up() -> None:
    model, given = canonical(), profiles()
    mean = reference(("T",), np.random.default_rng(5).normal(size=(30, GENES)))
    exact = contributions(model, head(model), given, mean)
    integrated = contributions(model, head(model), given, mean, method="integrated gradients")
    assert exact.method == "exact"
    np.testing.assert_allclose(exact.contributions, integrated.contributions, atol=1e-6)
    np.testing.assert_allclose(exact.contributions.sum(axis=1), exact.value - exact.at_mean, atol=1e-9)
    assert exact.error < 1e-9
    # By hand: one gene moved by one deviation moves the output by its effect, whoever's it is.
    output = Output(model, head(model), given)
    moved = given.values.copy()
    moved[:, 4] += mean.deviation[4]
    rises = output.values(torch.from_numpy(moved)) - exact.value
    np.testing.assert_allclose(rises, exact.effect[4], atol=1e-9)


@pytest.mark.parametrize("model", [canonical(correction=0.5), published()], ids=["corrected", "published"])
def test_networks_are_explained_by_sums_that_come_out(model: CanonicalMirror | Mirror) -> None:
    mean = reference(("T",), np.random.default_rng(5).normal(size=(30, GENES)))
    found = contributions(model, head(model), profiles(), mean)
    assert found.method == "integrated gradients" and found.error < 0.02
    with pytest.raises(ConfigError, match="not affine"):
        contributions(model, head(model), profiles(), mean, method="exact")


@pytest.mark.parametrize("model", [canonical(), published()], ids=["canonical", "published"])
def test_the_agreement_of_a_patient_is_the_cosine_and_comes_from_the_genes(model: CanonicalMirror | Mirror) -> None:
    rng = np.random.default_rng(3)
    width = 3 if isinstance(model, CanonicalMirror) else 24
    slide = rng.normal(size=(PATIENTS, width))
    given = profiles(slide=slide)
    mean = reference(("T",), rng.normal(size=(30, GENES)))
    found = contributions(model, Agreement(), given, mean)
    embedded = model.double().embed_expression(torch.from_numpy(given.values))
    views = model.views(torch.zeros(PATIENTS, model.slide_width).double(), embedded)
    views = {**views, "X_align_slide": torch.from_numpy(slide)}
    np.testing.assert_allclose(found.value, Agreement().value(views).detach().numpy(), atol=1e-9)
    assert found.error < 0.02
    np.testing.assert_allclose(found.effect, found.contributions.mean(axis=0))
    model.float()


def test_a_model_that_is_explained_stays_as_it_was() -> None:
    model = canonical()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    contributions(model, head(model), profiles(), reference(("T",), profiles(4).values))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.gene_axes.dtype == torch.float32


def test_intervals_are_of_folds_whose_seeds_are_averaged_first() -> None:
    genes = ("A", "B")
    runs = [
        RunEffects(seed, fold, genes, np.array([fold + seed, 1.0]), np.array([1.0, 2.0]), 0.25)
        for seed in (0, 1)
        for fold in (0, 1, 2)
    ]
    runs.append(RunEffects(0, 3, ("A",), np.array([3.5]), np.array([1.0]), 0.25))
    table = summarise_effects("risk", runs)
    assert tuple(table.columns) == COLUMNS
    (a,) = table[table["gene"] == "A"].itertuples()
    folds = np.array([0.5, 1.5, 2.5, 3.5])
    half = t.ppf(0.975, 3) * folds.std(ddof=1) * np.sqrt(1 / 4 + 0.25)
    assert (a.effect, a.folds, a.runs) == (2.0, 4, 7)
    assert (a.low, a.high) == (pytest.approx(2 - half), pytest.approx(2 + half))
    (b,) = table[table["gene"] == "B"].itertuples()
    assert (b.low, b.high, b.folds) == (1.0, 1.0, 3)
    one = summarise_effects("risk", runs[:1])
    assert one[["low", "high"]].isna().all(axis=None) and list(one["gene"]) == ["B", "A"]


def test_the_null_of_a_mean_is_the_mean_of_nulls() -> None:
    rng = np.random.default_rng(0)
    nulls = [(0, ("A", "B"), rng.normal(size=(2, 5))), (0, ("B", "A"), rng.normal(size=(2, 5)))]
    nulls.append((1, ("A",), rng.normal(size=(1, 5))))
    found = mean_null(("B", "A"), nulls)
    np.testing.assert_allclose(found[0], (nulls[0][2][1] + nulls[1][2][0]) / 2)
    np.testing.assert_allclose(found[1], ((nulls[0][2][0] + nulls[1][2][1]) / 2 + nulls[2][2][0]) / 2)


def test_heads_with_nothing_to_find_move_genes_as_the_encoder_ties_them() -> None:
    from test_targets import cohort

    model, table = canonical(), cohort(classes=("A", "B"))
    fold = Fold(0, table.patients[:80], table.patients[80:])
    mean = reference(("T",), profiles(4).values)
    width = model.views(torch.zeros(1, model.slide_width), torch.zeros(1, model.expression_width))["X_expression"]
    rng = np.random.default_rng(1)
    table.views["expression"] = rng.normal(size=(120, width.shape[1]))  # type: ignore[index]
    with torch.no_grad():
        model.gene_axes[1] = model.gene_axes[0] * model.gene_scale[1] / model.gene_scale[0]
        model.tail_axes[1] = model.tail_axes[0] * model.gene_scale[1] / model.gene_scale[0]
    null = null_effects(model, head(model), profiles(), mean, table, fold, seed=0, draws=200)
    assert null.shape == (GENES, 200) and np.abs(null.mean(axis=1)).max() < 0.4 * null.std(axis=1).max()
    assert np.corrcoef(null[0], null[1])[0, 1] > 0.999
    again = null_effects(model, head(model), profiles(), mean, table, fold, seed=0, draws=3)
    np.testing.assert_array_equal(again, null[:, :3])


@given(st.integers(0, 2**32 - 1))
def test_genes_along_numbers_are_their_covariance_in_units_of_the_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genes, added = rng.normal(size=(30, 4)), rng.normal(size=(30, 3)) * [1.0, 5.0, 0.0]
    every = np.cov(np.hstack([genes, added]).T, bias=True)
    oracle = np.divide(every[:4, 4:], added.std(axis=0), out=np.zeros((4, 3)), where=added.std(axis=0) > 0)
    np.testing.assert_allclose(along(genes, added), oracle, atol=1e-12)


def test_genes_are_named_where_planted_ones_were_found_and_nowhere_unmeasured() -> None:
    assert why_not(canonical(), head(canonical())) is None
    assert why_not(canonical(), head(canonical(), "fused")) is None
    assert "0.35 are found" in (why_not(published(), head(published())) or "")
    assert "was not measured" in (why_not(published(), head(published(), "fused")) or "")
