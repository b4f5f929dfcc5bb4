"""Contributions of genes add up, are exact where that can be, and their intervals know about folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.linear_model import Ridge

from mirror.errors import ConfigError
from mirror.explain.gene_effect import gene_effects
from mirror.explain.gene_table import COLUMNS, RunEffects, mean_null, summarise_effects
from mirror.explain.genes import Output, Profiles, added, contributions, head_effects, reference
from mirror.explain.null_effects import null_effects
from mirror.explain.offered_genes import why_not
from mirror.explain.targets import Agreement, Head
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes, build_canonical
from mirror.nn.mirror import Mirror, MirrorSizes, build_mirror
from mirror.seeding import rng_for

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
    effect = gene_effects((given.values - mean.mean) / mean.deviation, (exact.value - exact.at_mean)[:, None])[:, 0]
    np.testing.assert_allclose(exact.effect, effect)
    np.testing.assert_allclose(integrated.effect, effect, atol=1e-9)


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


@pytest.mark.parametrize("model", [canonical(correction=0.5), published()], ids=["corrected", "published"])
@pytest.mark.parametrize("view", ["expression", "fused"])
def test_what_the_expression_adds_is_the_same_with_whichever_slide(model: CanonicalMirror | Mirror, view: str) -> None:
    mean = reference(("T",), np.random.default_rng(5).normal(size=(30, GENES)))
    rng, target = np.random.default_rng(6), head(model, view)
    slides = [None, *(rng.normal(size=(PATIENTS, model.slide_width)) for _ in range(2))]
    given = [profiles(slide=slide) for slide in slides]
    first, *others = (added(Output(model, target, one), one, mean) for one in given)
    assert first.std() > 0
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-9)


@pytest.mark.parametrize("model", [canonical(), published()], ids=["canonical", "published"])
def test_the_null_is_the_effect_of_outputs_that_were_dealt_out(model: CanonicalMirror | Mirror) -> None:
    given, mean, target = profiles(), reference(("T",), profiles(4).values), head(model, "fused")
    null = null_effects(model, target, given, mean, fold=2, seed=7, draws=4)
    for draw in range(4):
        order = rng_for(7, "dealt out", 2, draw).permutation(PATIENTS)
        # The outputs of other patients, as the model itself gives them.
        others = Profiles(given.patients, given.values[order])
        dealt = added(Output(model, target, others), others, mean)
        np.testing.assert_allclose(null[:, draw], gene_effects(mean.standardise(given.values), dealt[:, None])[:, 0])
    np.testing.assert_array_equal(null_effects(model, target, given, mean, fold=2, seed=7, draws=2), null[:, :2])
    assert not np.allclose(null_effects(model, target, given, mean, fold=1, seed=7, draws=4), null)


def test_genes_that_vary_as_one_have_a_null_that_moves_as_one() -> None:
    given, model = profiles(), canonical()
    given.values[:, 1] = 3 * given.values[:, 0] - 2
    mean = reference(("T",), given.values)
    null = null_effects(model, head(model), given, mean, fold=0, seed=0, draws=200)
    np.testing.assert_allclose(null[0], null[1])
    assert np.abs(null.mean(axis=1)).max() < 0.2 * null.std(axis=1).min()


@given(st.integers(0, 2**32 - 1))
def test_effects_are_a_ridge_regression_of_the_number_in_its_own_deviations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genes, numbers = rng.normal(size=(30, 45)), rng.normal(size=(30, 3)) * [1.0, 5.0, 0.0] + 4
    genes[:, 7] = 2.0  # never varies
    penalty = (1 + np.sqrt(45 / 30)) ** 2
    found = gene_effects(genes, numbers)
    for column in (0, 1):
        number = numbers[:, column] / numbers[:, column].std()
        oracle = Ridge(alpha=30 * penalty).fit(genes, number).coef_ * (1 + penalty)
        np.testing.assert_allclose(found[:, column], oracle, atol=1e-9)
    assert np.abs(found[7]).max() < 1e-12 and not found[:, 2].any()
    # By the number's direction, whatever its unit and origin.
    np.testing.assert_allclose(gene_effects(genes, -3 * numbers + 1), -found, atol=1e-9)
    np.testing.assert_allclose(gene_effects(genes + 5, numbers), found, atol=1e-9)


def test_a_gene_that_varies_by_one_and_alone_has_its_covariance_with_the_number() -> None:
    rng = np.random.default_rng(1)
    genes, _ = np.linalg.qr(rng.normal(size=(40, 6)) - 0.0)
    genes -= genes.mean(axis=0)
    genes = np.linalg.qr(genes)[0] * np.sqrt(40)  # uncorrelated, of variance one
    number = rng.normal(size=(40, 1))
    covariance = genes.T @ (number - number.mean()) / 40 / number.std()
    np.testing.assert_allclose(gene_effects(genes, number), covariance, atol=1e-9)


def test_effects_name_genes_that_neither_weights_nor_single_covariances_name() -> None:
    """Planted genes of a factor, beside programmes of many genes. The head tells the factor, and has some weight on a
    programme and on every gene, as heads of few patients have."""
    patients, genes, planted = 120, 300, np.arange(20)
    found: list[list[float]] = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        factor, programmes = rng.normal(size=patients), rng.normal(size=(patients, 8))
        loadings, signs = 0.8 * rng.normal(size=(8, genes)), rng.choice([-1.0, 1.0], len(planted))
        x = programmes @ loadings + 1.5 * rng.normal(size=(patients, genes))
        x[:, planted] += 1.4 * factor[:, None] * signs
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        tells = np.zeros(genes)
        tells[planted] = signs
        tells -= np.linalg.lstsq(loadings.T, tells, rcond=None)[0] @ loadings  # of no programme
        weights = tells / np.std(z @ tells) + 0.06 * rng.normal(size=genes) + 0.003 * loadings[0]
        output = z @ weights
        ranked = gene_effects(z, output[:, None])[:, 0], weights, z.T @ (output - output.mean())
        found.append([float(np.isin(np.argsort(-np.abs(one))[:20], planted).mean()) for one in ranked])
    effects, slopes, covariances = np.mean(found, axis=0)
    assert effects > 0.8 and max(slopes, covariances) < 0.6


def test_effects_of_a_head_change_with_the_weights_of_the_model() -> None:
    model, given = canonical(), profiles()
    mean, target = reference(("T",), profiles(4).values), head(model)
    own = head_effects(Output(model, target, given), given, mean)
    with torch.no_grad():
        for axes in (model.gene_axes, model.tail_axes):
            axes.copy_(
                axes.flatten()[torch.randperm(axes.numel(), generator=torch.Generator().manual_seed(3))].view_as(axes)
            )
    assert np.corrcoef(own, head_effects(Output(model, target, given), given, mean))[0, 1] < 0.9


def test_genes_are_named_where_planted_ones_were_found_and_nowhere_unmeasured() -> None:
    for model in (canonical(), published()):
        for view in ("expression", "fused"):
            assert why_not(model, head(model, view)) is None
    assert "was not measured" in (why_not(canonical(), head(canonical(), "shared")) or "")
