"""The slide encoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mirror.errors import DataError
from mirror.nn.attention import AttentionForm
from mirror.nn.layers import GridConvolution
from mirror.nn.slide_encoder import SlideEncoder

WIDTH, TILE_DIM = 16, 5
FORMS = {
    "published": AttentionForm(heads=4, landmarks=8),
    "slide": AttentionForm(heads=4, landmarks=8, pinv_scaling="slide", mask_padding=True),
    "exact": AttentionForm(heads=4, landmarks=8, kind="exact"),
}


def encoder(form: str) -> SlideEncoder:
    module = SlideEncoder(TILE_DIM, WIDTH, attention=FORMS[form])
    module.initialise(torch.Generator().manual_seed(0))
    return module.eval()


def tiles(slides: int, count: int) -> Tensor:
    return torch.randn(slides, count, TILE_DIM, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("form", ["slide", "exact"])
@pytest.mark.parametrize("count", [1, 2, 17, 64])
def test_a_slide_is_encoded_the_same_alone_and_in_company(form: str, count: int) -> None:
    module, company = encoder(form), tiles(4, count)
    company[1:] *= 5
    torch.testing.assert_close(module(company)[:1], module(company[:1]), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 60), st.sampled_from(sorted(FORMS)))
@settings(max_examples=40, deadline=None)
def test_any_number_of_tiles_gives_that_many_tokens_and_a_class_token(count: int, form: str) -> None:
    out = encoder(form)(tiles(2, count))
    assert out.shape == (2, 1 + count, WIDTH)
    assert torch.isfinite(out).all()


def test_tiles_that_are_missing_to_a_square_are_the_first_ones_again() -> None:
    """Seven tiles are completed by the first two, so giving all nine changes nothing for the first seven."""
    module, seven = encoder("exact"), tiles(2, 7)
    nine = torch.cat([seven, seven[:, :2]], dim=1)
    assert torch.equal(module(nine)[:, :8], module(seven))


def test_thousands_of_tiles_are_encoded() -> None:
    with torch.no_grad():
        out = encoder("slide")(tiles(1, 32_000))
    assert out.shape == (1, 32_001, WIDTH)
    assert torch.isfinite(out).all()


def test_a_slide_without_tiles_is_refused() -> None:
    with pytest.raises(DataError, match="without tiles"):
        encoder("exact")(torch.zeros(1, 0, TILE_DIM))


def test_the_grid_convolution_is_the_sum_of_its_parts() -> None:
    module, side = GridConvolution(WIDTH), 6
    x = torch.randn(2, side * side, WIDTH, generator=torch.Generator().manual_seed(0))
    image = x.transpose(1, 2).reshape(2, WIDTH, side, side)
    expected = image + sum(
        F.conv2d(image, conv.weight, conv.bias, padding=conv.padding, groups=WIDTH)  # pyright: ignore[reportArgumentType]
        for conv in (module.conv7, module.conv5, module.conv3)
    )
    torch.testing.assert_close(module(x, side), expected.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)
