"""What the retention decoders see and what they do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mirror.errors import ConfigError
from mirror.nn.attention import AttentionForm
from mirror.nn.draws import draw_mask, hidden_count, parted
from mirror.nn.retention import ExpressionRetention, SlideRetention

WIDTH, TILES = 24, 13


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mask(positions: int) -> Tensor:
    return draw_mask(3, positions, mask_ratio=0.75, generator=torch.Generator().manual_seed(5))


def slide_decoder() -> SlideRetention:
    module = SlideRetention(WIDTH, TILES, attention=AttentionForm(heads=4, landmarks=6))
    module.initialise(torch.Generator().manual_seed(0))
    return module.eval()


def expression_decoder() -> ExpressionRetention:
    module = ExpressionRetention(WIDTH, heads=12, mlp_ratio=4.0, dropout=0.1)
    module.initialise(torch.Generator().manual_seed(0))
    return module.eval()


def test_the_slide_decoder_does_not_see_hidden_tiles_and_sees_all_others() -> None:
    tokens, hidden = normal(3, 1 + TILES, WIDTH).requires_grad_(), mask(TILES)
    slide_decoder()(tokens, hidden).prediction.sum().backward()
    assert tokens.grad is not None
    seen = (tokens.grad != 0).any(dim=2)
    assert torch.equal(seen[:, 1:], ~hidden)
    assert seen[:, 0].all()


def test_the_expression_decoder_does_not_see_hidden_coordinates_and_sees_all_others() -> None:
    module, hidden = expression_decoder(), mask(WIDTH)
    with torch.no_grad():
        module.embed.weight.copy_(torch.eye(WIDTH))  # so that coordinates are those of the embedding itself
    embedding = normal(3, WIDTH).requires_grad_()
    module(embedding, hidden).prediction.square().sum().backward()
    assert embedding.grad is not None
    assert torch.equal(embedding.grad != 0, ~hidden)


def test_targets_are_what_was_given() -> None:
    tokens, embedding = normal(3, 1 + TILES, WIDTH), normal(3, WIDTH)
    assert torch.equal(slide_decoder()(tokens, mask(TILES)).target, tokens[:, 1:])
    assert torch.equal(expression_decoder()(embedding, mask(WIDTH)).target, embedding)


def test_another_number_of_tiles_than_the_position_tables_is_refused() -> None:
    with pytest.raises(ConfigError, match="slides of 5 tiles meet a position table of 13"):
        slide_decoder()(normal(3, 6, WIDTH), mask(5))


@given(st.integers(1, 8), st.integers(1, 300), st.floats(0, 0.99))
def test_a_mask_hides_exactly_as_many_as_it_says(rows: int, positions: int, ratio: float) -> None:
    drawn = draw_mask(rows, positions, mask_ratio=ratio, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (rows, positions)
    assert drawn.sum(dim=1).tolist() == [positions - int(positions * (1 - ratio))] * rows
    assert hidden_count(positions, ratio) == positions - int(positions * (1 - ratio))


@given(rows=st.integers(1, 4), tiles=st.integers(1, 40), ratio=st.floats(0, 0.99))
def test_tiles_are_parted_as_the_mask_says_and_keep_their_order(rows: int, tiles: int, ratio: float) -> None:
    x_BTD = torch.arange(rows * tiles * 2.0).view(rows, tiles, 2)
    mask_BT = draw_mask(rows, tiles, mask_ratio=ratio, generator=torch.Generator().manual_seed(tiles))
    seen, hidden = parted(x_BTD, mask_BT, mask_ratio=ratio)
    for x_TD, mask_T, one, other in zip(x_BTD, mask_BT, seen, hidden, strict=True):
        assert torch.equal(one, x_TD[~mask_T])
        assert torch.equal(other, x_TD[mask_T])


def test_every_position_is_hidden_equally_often() -> None:
    drawn = draw_mask(20_000, 12, mask_ratio=0.75, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.float().mean(dim=0), torch.full((12,), 0.75), rtol=0, atol=0.02)
