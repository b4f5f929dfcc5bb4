"""What methods say of models whose answer is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from mirror.config import ModelConfig, read_preset
from mirror.errors import ConfigError
from mirror.explain.offered import MEASURED, PASSED, anything_offered, default_method, kind_of, kind_told, why_not
from mirror.explain.pattern import Seen, as_tiles_say
from mirror.explain.relevance import Described, Model, Subject, is_affine, relevance, target_value
from mirror.explain.targets import Agreement, Embedding, Head
from mirror.nn.canonical import CanonicalMirror, CanonicalSizes, build_canonical
from mirror.nn.mirror import Mirror, MirrorSizes, build_mirror

TILE_DIM, GENES, TILES = 6, 5, 11


def canonical(**changes: object) -> CanonicalMirror:
    """A model of the closed form, every tensor of it drawn."""
    sizes = {
        "tile_dim": TILE_DIM, "genes": GENES, "components": 3, "hidden": 8, "dropout": 0.0, "prototypes": 3,
        "mask_ratio": 0.5, "temperature": 0.2, "style_temperature": 0.1, "private": 0.3, "start": "none", "tail": 2,
        "correction": 0.0,
    }  # fmt: skip
    model = build_canonical(CanonicalSizes(**{**sizes, **changes}), generator=torch.Generator().manual_seed(0))  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        positive = "scale" in name or "correlations" in name
        buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.1 if positive
                     else torch.randn(buffer.shape, generator=generator))  # fmt: skip
    return model.eval()


def published(attention: str = "exact") -> Mirror:
    sizes = MirrorSizes(
        tile_dim=TILE_DIM, genes=GENES, tiles=TILES, width=24, slide_heads=4, expression_heads=4, landmarks=4,
        attention=attention, style_hidden=8, style_out=8, style_latent=4, prototypes=3,
    )  # fmt: skip  # pyright: ignore[reportArgumentType]
    model = build_mirror(sizes, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        model.slide_encoder.class_token.normal_(generator=torch.Generator().manual_seed(2))
    return model


def subject(*, profile: bool = True, tiles: int = TILES) -> Subject:
    rng = np.random.default_rng(0)
    genes = rng.normal(size=GENES).astype(np.float32) if profile else None
    return Subject(rng.normal(1.0, 1.0, (tiles, TILE_DIM)).astype(np.float32), genes, rng.normal(size=TILE_DIM))


def head(model: CanonicalMirror | Mirror, representation: str) -> Head:
    views = model.views(torch.zeros(1, model.slide_width), torch.zeros(1, model.expression_width))
    weights = np.random.default_rng(5).normal(size=views[f"X_{representation}"].shape[1])
    return Head("class:B", "log-odds", representation, weights, 0.3, ())


@pytest.mark.parametrize("representation", ["slide", "fused"])
def test_contributions_sum_to_the_number_less_that_of_the_mean_tile(representation: str) -> None:
    model, given = canonical(), subject()
    target = head(model, representation)
    found = relevance(model, given, target, "contributions")
    assert found.values.sum() == pytest.approx(found.value - found.baseline, rel=1e-4)
    assert found.value == pytest.approx(target_value(model, given, target), rel=1e-6)


def test_a_contribution_is_what_replacing_the_tile_by_the_mean_tile_takes_away() -> None:
    model, given = canonical(), subject()
    target = head(model, "fused")
    found = relevance(model, given, target, "contributions")
    for tile in range(TILES):
        without = given.tiles_TD.copy()
        without[tile] = given.baseline_D
        lost = found.value - target_value(model, given._replace(tiles_TD=without), target)
        assert found.values[tile] == pytest.approx(lost, abs=1e-4)


@pytest.mark.parametrize("model", [canonical(correction=1.0), published(), published("nystrom")])
def test_integrated_gradients_sum_to_the_difference_and_equal_a_fine_sum_by_hand(model) -> None:
    given = subject()
    target = head(model, "slide")
    found = relevance(model, given, target, "integrated-gradients")
    assert found.values.sum() == pytest.approx(found.value - found.baseline, rel=0.02)
    tiles, mean = torch.from_numpy(given.tiles_TD)[None], torch.from_numpy(given.baseline_D).float()
    slopes = torch.zeros_like(tiles)
    steps = 200
    for step in range(steps):  # the midpoint rule
        at = (mean + (step + 0.5) / steps * (tiles - mean)).requires_grad_()
        slide = model.embed_slide(at)
        value = target.value(model.views(slide, slide.new_zeros(1, model.expression_width)))
        slopes += torch.autograd.grad(value.sum(), at)[0] / steps
    expected = ((tiles - mean) * slopes).sum(dim=2)[0].numpy()
    scale = float(np.abs(expected).max())
    assert found.values == pytest.approx(expected, abs=0.03 * scale)


@pytest.mark.parametrize("model", [canonical(correction=1.0), published()])
def test_attention_gradient_is_the_slope_along_a_tiles_attention_score(model) -> None:
    """A little more of a tile's score takes attention from all others: `a_t * slope . (value_t - pooled)` for it."""
    given = subject()
    target = head(model, "slide")
    found = relevance(model, given, target, "attention-gradient")
    assert found.values.sum() == pytest.approx(0.0, abs=1e-5 * np.abs(found.values).max() + 1e-6) or isinstance(
        model, Mirror
    )  # the class token attends to itself too
    if isinstance(model, CanonicalMirror):
        score = model.slide_network.score
        plain = score.forward
        step = 1e-2
        for tile in (0, 4):

            def pushed(h: torch.Tensor, tile: int = tile) -> torch.Tensor:
                out = plain(h).clone()
                out[:, tile] += step
                return out

            score.forward = pushed
            more = target_value(model, given, target)
            score.forward = plain
            assert (more - found.value) / step == pytest.approx(found.values[tile], rel=0.05, abs=1e-4)


@pytest.mark.parametrize("model", [canonical(), published(), published("nystrom")])
def test_attention_is_a_share_of_the_slide_and_the_same_in_any_units_of_nothing_else(model) -> None:
    found = relevance(model, subject(), None, "attention")
    assert found.values.shape == (TILES,) and found.values.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(found.value)


def test_agreement_has_both_modalities_or_is_refused() -> None:
    model = canonical()
    found = relevance(model, subject(), Agreement(), "integrated-gradients")
    assert -1 <= found.value <= 1
    with pytest.raises(ConfigError, match="needs expression, which this patient has not"):
        relevance(model, subject(profile=False), Agreement(), "integrated-gradients")


@pytest.mark.parametrize("model", [canonical(), canonical(correction=1.0), published()])
def test_a_number_of_both_modalities_is_what_either_adds_whatever_the_other_is(model) -> None:
    usual = model.embed_expression(torch.randn(7, GENES, generator=torch.Generator().manual_seed(3))).detach()
    rng, target = np.random.default_rng(8), head(model, "fused")
    found = {}
    for slide in range(2):
        tiles = rng.normal(1.0, 1.0, (TILES, TILE_DIM)).astype(np.float32)
        for patient in range(2):
            profile = np.random.default_rng(patient).normal(size=GENES).astype(np.float32)
            given = subject()._replace(tiles_TD=tiles, profile_G=profile, mean_expression_E=usual.mean(dim=0).numpy())
            found[slide, patient] = relevance(model, given, target, "pattern", seen=training(model))
    for (slide, patient), one in found.items():
        assert one.value == pytest.approx(one.usual + one.from_slide + one.from_expression, abs=1e-9)
        assert one.from_slide == pytest.approx(found[slide, 1 - patient].from_slide, abs=1e-4)
        assert one.from_expression == pytest.approx(found[1 - slide, patient].from_expression, abs=1e-4)
        assert abs(one.from_slide) > 1e-2 and abs(one.from_expression) > 1e-2
    alone = relevance(model, subject(), head(model, "slide"), "pattern", seen=training(model))
    assert np.isnan(alone.usual) and alone.value == pytest.approx(alone.baseline + alone.from_slide)


@pytest.mark.parametrize("model", [canonical(), canonical(correction=1.0), published()])
def test_what_numbers_of_a_slide_have_in_common_is_computed_once(model, monkeypatch: pytest.MonkeyPatch) -> None:
    given, seen = subject(), training(model)
    centre = np.zeros(len(head(model, "slide").weights))
    targets = [head(model, "fused"), head(model, "slide"), Agreement(), Embedding(centre, np.eye(len(centre)), ())]
    each = [relevance(model, given, target, "pattern", seen=seen) for target in targets]
    counted, embed = [], model.embed_slide
    monkeypatch.setattr(model, "embed_slide", lambda tiles: counted.append(len(tiles)) or embed(tiles))
    described = Described(model, given)
    for target, alone in zip(targets, each, strict=True):
        found = described.relevance(target, "pattern", seen=seen)
        np.testing.assert_array_equal(found.values, alone.values)
        np.testing.assert_array_equal(found[1:], alone[1:])
    assert counted == [1, 1], "the slide, and as many mean tiles"


def training(model: CanonicalMirror | Mirror, *, patients: int = 30, seed: int = 3) -> Seen:
    """Patients with slides of a few tiles and expression as drawn; the last has no expression."""
    rng = np.random.default_rng(seed)
    slides = torch.from_numpy(rng.normal(size=(patients, 4, TILE_DIM)).astype(np.float32))
    expression = model.embed_expression(torch.from_numpy(rng.normal(size=(patients, GENES)).astype(np.float32)))
    expression = expression.detach().clone()
    expression[-1] = torch.nan
    with torch.no_grad():
        views = model.views(model.embed_slide(slides), expression)
    means = slides.mean(dim=1).double().numpy()
    return Seen(means, views, expression, np.eye(TILE_DIM), np.ones(TILE_DIM), tuple(map(str, range(patients))))


@pytest.mark.parametrize("model", [canonical(), canonical(correction=1.0), published()])
def test_a_pattern_of_both_modalities_is_of_what_the_slide_says_whatever_the_expression(model) -> None:
    seen, given, target = training(model), subject(), head(model, "fused")
    found = relevance(model, given, target, "pattern", seen=seen).values
    # The same slides, each beside the expression of somebody else, and the last one as before without any.
    own = seen.expression
    others = torch.cat([own[:-1].roll(1, dims=0), own[-1:]])
    slides = torch.from_numpy(np.random.default_rng(3).normal(size=(30, 4, TILE_DIM)).astype(np.float32))
    with torch.no_grad():
        views = model.views(model.embed_slide(slides), others)
    exchanged = replace(seen, views=views, expression=others)
    scale = np.abs(found).max()
    np.testing.assert_allclose(
        relevance(model, given, target, "pattern", seen=exchanged).values, found, atol=1e-3 * scale
    )
    # By hand: everybody beside one expression; who has none of their own does not count.
    with torch.no_grad():
        beside = model.views(model.embed_slide(slides), own[:1].expand_as(own))
    numbers = target.value(beside).numpy()
    numbers[-1] = np.nan
    expected = as_tiles_say(given.tiles_TD, seen, numbers)
    np.testing.assert_allclose(expected - expected.mean(), found, atol=1e-3 * scale)
    assert scale > 0


@pytest.mark.parametrize("model", [canonical(), canonical(correction=1.0), published()])
def test_a_pattern_of_the_agreement_is_of_how_slides_agree_with_this_patients_expression(model) -> None:
    seen, given = training(model), subject()
    found = relevance(model, given, Agreement(), "pattern", seen=seen).values
    with torch.no_grad():
        assert given.profile_G is not None
        expression = model.embed_expression(torch.from_numpy(given.profile_G)[None])
        views = model.views(model.embed_slide(torch.from_numpy(given.tiles_TD)[None]), expression)
    e = views["X_align_expression"].double()[0]
    numbers = seen.views["X_align_slide"].double() @ e / (e.norm() * views["X_align_slide"].double().norm())
    expected = as_tiles_say(given.tiles_TD, seen, numbers.numpy())
    np.testing.assert_allclose(found, expected - expected.mean(), atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("model", [canonical(), canonical(correction=1.0), published()])
def test_a_pattern_of_the_embedding_is_of_how_slides_lie_along_this_slides_own_direction(model) -> None:
    seen, given = training(model), subject(profile=False)
    view = seen.views["X_slide"].double().numpy()
    target = Embedding.of(view, seen.fitted_on)
    variances, axes = np.linalg.eigh(np.cov(view.T, bias=True))
    kept = variances > 1e-9 * variances.max()
    root = axes[:, kept] @ np.diag(variances[kept] ** -0.5) @ axes[:, kept].T
    found = relevance(model, given, target, "pattern", seen=seen)
    with torch.no_grad():
        slide = model.embed_slide(torch.from_numpy(given.tiles_TD)[None])
        own = model.views(slide, slide.new_full((1, model.expression_width), torch.nan))["X_slide"].double()[0].numpy()
    away = own - view.mean(axis=0)
    distance = np.sqrt(away @ root @ away)
    assert found.value == pytest.approx(distance, rel=1e-5)
    expected = as_tiles_say(given.tiles_TD, seen, view @ root @ away)
    expected = (expected - expected.mean()) / distance
    np.testing.assert_allclose(found.values, expected, atol=1e-5 * np.abs(expected).max())


def test_values_of_a_pattern_are_less_those_of_the_slides_mean_tile() -> None:
    model, given = canonical(), subject()
    seen, target = training(model), head(model, "slide")
    found = relevance(model, given, target, "pattern", seen=seen).values
    stained = given._replace(tiles_TD=given.tiles_TD + np.float32(3.0))  # all tiles alike: nothing of where
    assert found.sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(relevance(model, stained, target, "pattern", seen=seen).values, found, atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "model", "offered"),
    [
        ("mirror", canonical, True),
        ("alignment-only", lambda: canonical(correction=1.0), True),
        ("published", lambda: published("nystrom"), False),
    ],
)
def test_what_is_offered_of_a_preset_is_known_before_any_model_is_there(
    preset: str, model: Callable[[], Model], offered: bool
) -> None:
    settings = TypeAdapter[ModelConfig](ModelConfig).validate_python(read_preset(preset)["model"])
    kind = kind_told(settings)
    assert kind == kind_of(model()) and anything_offered(kind) == offered
    if preset == "published":
        exact = settings.model_copy(update={"attention": "exact"})
        assert kind_told(exact) == kind_of(published()) and not anything_offered(kind_told(exact))


def test_what_has_passed_both_exams_is_offered_and_the_rest_has_a_reason_with_its_figure() -> None:
    closed, pooled, tokens = canonical(start="canonical"), canonical(correction=1.0), published()
    risk = replace(head(tokens, "slide"), name="risk")
    for model, target in (
        (closed, head(closed, "fused")),
        (closed, replace(head(closed, "slide"), name="risk")),
        (closed, Agreement()),
        (pooled, head(pooled, "slide")),
    ):
        assert default_method(model, target) == "pattern" and why_not(model, target, "pattern") is None
    refused = ((closed, head(closed, "slide")), (closed, None), (tokens, None), (tokens, Agreement()), (tokens, risk))
    for model, target in refused:
        reason = why_not(model, target, default_method(model, target))
        assert reason is not None and "no method passed" in reason
    reason = why_not(closed, replace(head(closed, "slide"), name="risk"), "contributions")
    assert reason is not None and re.search(r"risk of the slide alone of .* AUROC of 0\.\d+, .* take pattern", reason)
    for model in (tokens, published("nystrom")):  # finds the planted tiles, but they can be removed
        assert re.search(r"removal costs no more .* in [12] of 7 simulated", str(why_not(model, risk, "pattern")))
    same = MEASURED[0]._replace(fused=(0.99, 0.95), left=(0.6, 0.93))
    assert "0.93 is left" in str(same.reason("fused")) and same._replace(left=(0.6, 0.89)).reason("fused") is None
    assert "was not measured" in str(why_not(pooled, head(pooled, "slide"), "contributions"))
    easy_alone = [one for one in MEASURED if one.planted[0] >= PASSED > one.planted[1]]
    assert easy_alone and all(one.of("slide") < PASSED for one in easy_alone)


def test_a_method_that_cannot_speak_of_a_model_is_refused_with_one_that_can() -> None:
    affine, network = canonical(), published()
    assert is_affine(affine, head(affine, "slide")) and not is_affine(network, head(network, "slide"))
    with pytest.raises(ConfigError, match="take 'contributions', which are exact"):
        relevance(affine, subject(), head(affine, "slide"), "attention-gradient")
    with pytest.raises(ConfigError, match="take 'integrated-gradients'"):
        relevance(network, subject(), head(network, "slide"), "contributions")
    with pytest.raises(ConfigError, match="name a target"):
        relevance(network, subject(), None, "attention-gradient")
