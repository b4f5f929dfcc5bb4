"""Style code, prototypes, alignment scale and downstream head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mirror.nn.alignment import Alignment
from mirror.nn.heads import FusionHead
from mirror.nn.style import StyleCoder

WIDTH = 12


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coder(prototypes: int = 7) -> StyleCoder:
    module = StyleCoder(WIDTH, hidden=9, out=8, latent=5, prototypes=prototypes)
    module.initialise(torch.Generator().manual_seed(0))
    return module


def test_without_noise_the_code_is_its_mean() -> None:
    out = coder()(normal(4, WIDTH), torch.zeros(4, 5))
    assert torch.equal(out.code_BZ, out.mean_BZ)


def test_the_code_has_the_variance_it_says() -> None:
    one = normal(1, WIDTH).expand(20_000, -1)
    out = coder()(one, normal(20_000, 5, seed=1))
    torch.testing.assert_close(out.code_BZ.var(dim=0).log(), out.log_variance_BZ[0], rtol=0, atol=0.05)
    torch.testing.assert_close(out.code_BZ.mean(dim=0), out.mean_BZ[0], rtol=0, atol=0.03)


@pytest.mark.parametrize("prototypes", [7, 30])
def test_prototypes_start_orthogonal(prototypes: int) -> None:
    """Rows are orthonormal while there are at most as many as coordinates; columns are when there are more."""
    weight = coder(prototypes).prototypes.weight.detach()
    gram = weight @ weight.T if prototypes <= WIDTH else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(len(gram)), rtol=0, atol=1e-5)


def test_normalised_prototypes_keep_their_direction_and_have_length_one() -> None:
    module = coder(30)
    before = module.prototypes.weight.detach().clone()
    module.normalise_prototypes()
    after = module.prototypes.weight.detach()
    torch.testing.assert_close(after.norm(dim=1), torch.ones(30))
    torch.testing.assert_close(torch.cosine_similarity(before, after), torch.ones(30))
    assert module.prototypes.weight.requires_grad


def test_the_scale_starts_at_one_over_the_temperature() -> None:
    scale = Alignment(WIDTH)(normal(3, WIDTH), normal(3, WIDTH, seed=1)).scale
    assert float(scale.detach()) == pytest.approx(1 / 0.07, rel=1e-5)


@pytest.mark.parametrize(("given", "kept"), [(-0.3, 0.0), (2.0, 2.0), (9.0, math.log(100))])
def test_the_clamped_scale_stays_between_one_and_a_hundred(given: float, kept: float) -> None:
    module = Alignment(WIDTH)
    with torch.no_grad():
        module.log_scale.fill_(given)
    module.clamp_scale()
    assert float(module.log_scale.detach()) == pytest.approx(kept)


def test_alignment_does_not_see_how_long_an_embedding_is() -> None:
    module, slides, expression = Alignment(WIDTH), normal(3, WIDTH), normal(3, WIDTH, seed=1)
    torch.testing.assert_close(module(5 * slides, expression / 3).logits_BB, module(slides, expression).logits_BB)


def test_logits_have_slides_in_rows() -> None:
    out = Alignment(WIDTH)(normal(3, WIDTH), normal(3, WIDTH, seed=1))
    torch.testing.assert_close(out.logits_BB[0, 2], out.scale * (out.slide_BE[0] @ out.expression_BE[2]))


def test_adding_is_concatenating_with_the_same_weights_for_both() -> None:
    generator = torch.Generator()
    add = FusionHead(WIDTH, 3, fusion="add", generator=generator)
    concat = FusionHead(WIDTH, 3, fusion="concat", generator=generator)
    weights = {"weight": add.linear.weight.detach().repeat(1, 2), "bias": add.linear.bias.detach()}
    concat.linear.load_state_dict(weights)
    a, b = normal(4, WIDTH), normal(4, WIDTH, seed=1)
    torch.testing.assert_close(add(a, b), concat(a, b))


def test_a_head_is_a_function_of_its_generator() -> None:
    heads = [FusionHead(WIDTH, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    same, again, other = (head.linear.weight for head in heads)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
