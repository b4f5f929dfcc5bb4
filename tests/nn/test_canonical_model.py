"""The canonical model: what it hides, what it says of a patient with either modality alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mirror.nn.canonical import CanonicalMirror, CanonicalSizes, build_canonical
from mirror.nn.supervised import Modality, Pretrained

SIZES = CanonicalSizes(
    tile_dim=7,
    genes=11,
    components=4,
    hidden=6,
    dropout=0.0,
    prototypes=5,
    mask_ratio=0.5,
    temperature=0.2,
    style_temperature=0.1,
    private=0.3,
    start="canonical",
)
NAN = float("nan")


def model(sizes: CanonicalSizes = SIZES, *, trained: bool = False) -> CanonicalMirror:
    generator = torch.Generator().manual_seed(0)
    built = build_canonical(sizes, generator=generator)
    with torch.no_grad():
        built.slide_axes.normal_(generator=generator)
        built.gene_axes.normal_(generator=generator)
        built.correlations.copy_(torch.tensor([0.9, 0.5, 0.2, 0.0]))
        if trained:
            for parameter in built.parameters():
                parameter.normal_(generator=generator)
    return built.eval()


def pairs(batch: int = 3, tiles: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, tiles, 7, generator=generator), torch.randn(batch, 11, generator=generator)


def test_an_untrained_model_is_its_closed_form() -> None:
    tiles, genes = pairs()
    mine = model()
    torch.testing.assert_close(mine.embed_slide(tiles), tiles.mean(dim=1) @ mine.slide_axes)
    torch.testing.assert_close(mine.embed_expression(genes), genes @ mine.gene_axes)


def test_without_a_start_the_networks_say_something_from_the_first_step() -> None:
    mine = build_canonical(replace(SIZES, start="none"), generator=torch.Generator().manual_seed(0)).eval()
    tiles, genes = pairs()
    assert mine.embed_slide(tiles).abs().min() > 0
    assert mine.embed_expression(genes).abs().min() > 0


def test_hidden_tiles_and_genes_do_not_change_what_is_encoded() -> None:
    mine, (tiles, genes) = model(trained=True), pairs()
    draws = mine.draw(3, 8, generator=torch.Generator().manual_seed(2), device="cpu")
    noise = torch.Generator().manual_seed(3)
    other_tiles = torch.where(draws.tiles_BT.unsqueeze(2), torch.randn(tiles.shape, generator=noise), tiles)
    other_genes = torch.where(draws.genes_BG, torch.randn(genes.shape, generator=noise), genes)
    one, other = mine(tiles, genes, draws), mine(other_tiles, other_genes, draws)
    torch.testing.assert_close(one.slide_BK, other.slide_BK)
    torch.testing.assert_close(one.expression_BK, other.expression_BK)
    torch.testing.assert_close(one.slide_retention.prediction, other.slide_retention.prediction)
    torch.testing.assert_close(one.expression_retention.prediction, other.expression_retention.prediction)


def test_what_a_slide_costs_falls_with_the_share_of_tiles_that_is_hidden() -> None:
    def operations(mask_ratio: float) -> int:
        mine = build_canonical(replace(SIZES, mask_ratio=mask_ratio), generator=torch.Generator().manual_seed(0))
        tiles, genes = pairs(tiles=400)
        draws = mine.draw(3, 400, generator=torch.Generator().manual_seed(2), device="cpu")
        with FlopCounterMode(display=False) as counter:
            mine(tiles, genes, draws)
        return sum(counter.get_flop_counts()["CanonicalMirror.slide_network.embed"].values())

    whole = operations(0.0)
    assert whole == 2 * 3 * 400 * 7 * 6
    assert [operations(ratio) * 4 for ratio in (0.25, 0.5, 0.75)] == [3 * whole, 2 * whole, whole]


def test_what_is_to_be_rebuilt_is_the_mean_hidden_tile_and_the_hidden_genes() -> None:
    mine, (tiles, genes) = model(), pairs()
    draws = mine.draw(3, 8, generator=torch.Generator().manual_seed(2), device="cpu")
    out = mine(tiles, genes, draws)
    slow = torch.stack([tile[hidden].mean(dim=0) for tile, hidden in zip(tiles, draws.tiles_BT, strict=True)])
    torch.testing.assert_close(out.slide_retention.target, slow)
    assert torch.equal(out.expression_retention.mask, draws.genes_BG)
    torch.testing.assert_close(out.expression_retention.target, genes)


def test_a_slide_is_encoded_the_same_alone_and_in_company() -> None:
    mine, (tiles, _) = model(trained=True), pairs()
    alone = torch.cat([mine.embed_slide(one[None]) for one in tiles])
    torch.testing.assert_close(mine.embed_slide(tiles), alone)


def test_the_order_of_tiles_does_not_matter() -> None:
    mine, (tiles, _) = model(trained=True), pairs()
    torch.testing.assert_close(mine.embed_slide(tiles), mine.embed_slide(tiles.flip(1)))


def test_a_patient_with_one_modality_has_a_shared_part_and_that_modalitys_own() -> None:
    mine = model()
    u, gap = torch.randn(2, 4, generator=torch.Generator().manual_seed(4)), torch.full((2, 4), NAN)
    slide_only, expression_only = mine.views(u, gap), mine.views(gap, u)
    rho = mine.correlations
    for views, own, other in (
        (slide_only, "X_slide_private", "X_expression_private"),
        (expression_only, "X_expression_private", "X_slide_private"),
    ):
        torch.testing.assert_close(views["X_shared"], rho.sqrt() * u)
        torch.testing.assert_close(views[own], (1 - rho) * u)
        assert views[other].isnan().all()
        assert views["X_fused"].isnan().all()
    assert not slide_only["X_slide"].isnan().any()
    assert not expression_only["X_expression"].isnan().any()


def test_the_shared_part_is_the_posterior_mean_of_probabilistic_canonical_correlation() -> None:
    # One direction: z ~ N(0, 1), u = sqrt(rho) z + noise of variance 1 - rho, v alike; E[z | u, v] by normal algebra.
    mine = model()
    u, v = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(5)).unbind()
    shared = mine.views(u, v)["X_shared"]
    for j, rho in enumerate(mine.correlations.tolist()):
        covariance = torch.tensor([[1.0, rho], [rho, 1.0]])
        weights = torch.linalg.solve(covariance, torch.full((2,), rho**0.5))
        torch.testing.assert_close(shared[:, j], weights[0] * u[:, j] + weights[1] * v[:, j])


def test_a_private_part_is_what_the_other_modality_cannot_predict() -> None:
    mine = model()
    generator = torch.Generator().manual_seed(6)
    rho = mine.correlations
    z, a, b = torch.randn(3, 200_000, 4, generator=generator).unbind()
    u, v = rho.sqrt() * z + (1 - rho).sqrt() * a, rho.sqrt() * z + (1 - rho).sqrt() * b
    views = mine.views(u, v)
    for private, other in (("X_slide_private", v), ("X_expression_private", u)):
        assert (other * views[private]).mean(dim=0).abs().max() < 0.01


@pytest.mark.parametrize("private", [0.0, 0.3])
def test_without_a_private_weight_the_fused_view_is_the_shared_part_alone(private: float) -> None:
    mine = model(replace(SIZES, private=private))
    u, v = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(5)).unbind()
    fused = mine.fused(u, v)
    torch.testing.assert_close(fused[:, :4], mine.correlations * (u + v))
    assert bool((fused[:, 4:] == 0).all()) == (private == 0.0)


def test_the_tail_stands_in_what_probes_get_and_nowhere_else() -> None:
    tiles, genes = pairs()
    long = model(replace(SIZES, tail=3))
    with torch.no_grad():
        long.tail_axes.normal_(generator=torch.Generator().manual_seed(7))
    short = model()
    u, v, w = long.embed_slide(tiles), long.embed_expression(genes), short.embed_expression(genes)
    assert v.shape == (3, long.expression_width) == (3, 7)
    torch.testing.assert_close(v[:, :4], w)
    torch.testing.assert_close(v[:, 4:], genes @ long.tail_axes)
    views, others = long.views(u, v), short.views(u, w)
    for name in views.keys() - {"X_expression", "X_fused"}:
        torch.testing.assert_close(views[name], others[name])
    torch.testing.assert_close(long.fused(u, v)[:, -3:], 0.3 * v[:, 4:])
    alone = torch.cat([short.expression_alone(w), 0.15 * v[:, 4:]], dim=1)
    torch.testing.assert_close(long.expression_alone(v), alone)
    torch.testing.assert_close(long.fused(u, v)[:, :-3], short.fused(u, w))
    gap = torch.full_like(u, NAN)
    assert long.views(gap, v)["X_fused"].isnan().all()
    assert long.views(gap, v)["X_expression"].isfinite().all()
    assert long.views(u, torch.full_like(v, NAN))["X_fused"].isnan().all()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_probes_get_the_share_of_the_correction_and_the_aligned_views_all_of_it(share: float) -> None:
    tiles, genes = pairs()
    part, whole, none = model(replace(SIZES, correction=share), trained=True), model(trained=True), model()
    for other in (whole, none):
        other.load_state_dict({**other.state_dict(), **dict(part.named_buffers())})
    embedded = [(one.embed_slide(tiles), one.embed_expression(genes)) for one in (part, whole, none)]
    assert embedded[0][0].shape == (3, part.slide_width) and embedded[0][1].shape == (3, part.expression_width)
    for side, probed in enumerate(part.for_probes(*embedded[0])):
        torch.testing.assert_close(probed, torch.lerp(embedded[2][side], embedded[1][side], share))
    views, all_of_it = part.views(*embedded[0]), whole.views(*embedded[1])
    for name in ("X_align_slide", "X_align_expression", "X_shared", "X_slide_private", "X_expression_private"):
        torch.testing.assert_close(views[name], all_of_it[name])
    if share == 0.0:
        for name in ("X_slide", "X_expression", "X_fused"):
            torch.testing.assert_close(views[name], none.views(*embedded[2])[name])


def test_a_slide_alone_loses_nothing_of_its_components_where_it_has_its_private_part() -> None:
    # The last of the four directions correlates with nothing: `rho u` has no trace of it.
    tiles, _ = pairs(batch=9)
    for kept in (False, True):
        mine = model(replace(SIZES, slide_private=kept))
        u = mine.embed_slide(tiles)
        alone = mine.slide_alone(u)
        shown = alone @ torch.linalg.lstsq(alone, u[:, 3:], driver="gelsd").solution
        assert torch.allclose(shown, u[:, 3:], atol=1e-4) == kept


def test_a_slide_alone_has_the_inner_products_of_its_shared_and_its_private_part_side_by_side() -> None:
    mine = model(replace(SIZES, slide_private=True))
    u = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    beside = torch.cat([mine.correlations * u, 0.15 * u], dim=1)
    torch.testing.assert_close(mine.slide_alone(u) @ mine.slide_alone(u).mT, beside @ beside.mT)
    without = model(replace(SIZES, slide_private=False))
    torch.testing.assert_close(without.slide_alone(u), without.correlations * u)
    gap = torch.full_like(u, NAN)
    views, others = mine.views(u, gap), without.views(u, gap)
    for name in views.keys() - {"X_slide"}:
        torch.testing.assert_close(views[name], others[name], equal_nan=True)


@pytest.mark.parametrize("modality", ["slide", "expression", "fused"])
def test_what_is_fine_tuned_reaches_the_networks_though_probes_were_given_the_closed_form(modality: Modality) -> None:
    sizes = replace(SIZES, tail=3, correction=0.0, slide_private=True)
    tuned = Pretrained(model(sizes, trained=True), modality)
    tuned(*pairs()).square().sum().backward()
    read = {"slide": ("slide",), "expression": ("expression",), "fused": ("slide", "expression")}[modality]
    for name in read:
        network = getattr(tuned.model, f"{name}_network")
        assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in network.parameters())
