"""How far tokens reach through attention, without its matrix: against the matrix itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mirror.nn import attention
from mirror.nn.attention import AttentionForm, TokenAttention, nystrom_attention
from mirror.nn.layers import PreNormResidual
from mirror.nn.rollout import attention_rollout
from mirror.nn.slide_encoder import SlideEncoder

WIDTH, HEADS = 24, 4
NYSTROM = AttentionForm(heads=HEADS, landmarks=10)
FORMS = {
    "exact": replace(NYSTROM, kind="exact"),
    "nystrom": NYSTROM,
    "nystrom, masked": replace(NYSTROM, pinv_scaling="slide", mask_padding=True),
}


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module.eval().double()


def matrix(layer: TokenAttention, tokens: torch.Tensor) -> torch.Tensor:
    """(B, H, N, N): the attention of `forward`, found by attending to one-hot values."""
    q, k, _, padding = layer.heads(tokens)
    one_hot = torch.eye(k.shape[2], dtype=q.dtype).expand(*q.shape[:2], -1, -1)
    if layer.form.kind == "exact":
        return torch.nn.functional.scaled_dot_product_attention(q, k, one_hot)
    return nystrom_attention(q, k, one_hot, form=layer.form, padding=padding)[..., padding:]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [7, 30, 47])
def test_reach_is_the_weighed_rows_of_the_matrix(form: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_ROWS", 8)  # several blocks, some of them without weight
    layer = drawn(TokenAttention(WIDTH, FORMS[form]))
    assert isinstance(layer, TokenAttention)
    tokens = torch.randn(2, length, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    weights = torch.rand(2, length, generator=torch.Generator().manual_seed(2)).double()
    weights[:, 3:-2] = 0.0
    expected = (weights[:, None, None] @ matrix(layer, tokens)).squeeze(2)
    torch.testing.assert_close(layer.reach(tokens, weights), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tiles", [9, 30])
def test_rollout_is_the_product_of_the_layers_half_identity_each(form: str, tiles: int) -> None:
    encoder = drawn(SlideEncoder(12, WIDTH, attention=FORMS[form]))
    assert isinstance(encoder, SlideEncoder)
    bag = torch.randn(1, tiles, 12, generator=torch.Generator().manual_seed(3)).double()
    first = encoder.tokens(bag)
    product = None
    for layer, tokens in ((encoder.attention2, encoder.between(first)), (encoder.attention1, first)):
        assert isinstance(layer, PreNormResidual) and isinstance(layer.inner, TokenAttention)
        mixed = matrix(layer.inner, layer.norm(tokens)).mean(dim=1)
        half = (torch.eye(mixed.shape[1], dtype=mixed.dtype) + mixed) / 2
        product = half if product is None else product @ half
    assert product is not None
    row = product[0, 0, 1:]
    expected = row[:tiles].clone()
    expected[: len(row) - tiles] += row[tiles:]  # the tokens that fill up the square are the first tiles again
    torch.testing.assert_close(attention_rollout(encoder, bag)[0], expected / expected.sum(), rtol=1e-5, atol=1e-8)
