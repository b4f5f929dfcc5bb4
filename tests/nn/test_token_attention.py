"""Attention over slide tokens: Nystrom and exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mirror.errors import ConfigError
from mirror.nn import attention
from mirror.nn.attention import AttentionForm, TokenAttention, iterative_pinv, nystrom_attention, run_means

WIDTH, HEADS = 24, 4
PUBLISHED = AttentionForm(heads=HEADS, landmarks=10)
EXACT = replace(PUBLISHED, kind="exact")
OURS = replace(PUBLISHED, pinv_scaling="slide", mask_padding=True)


def layer(form: AttentionForm) -> TokenAttention:
    """The same weights for every form, large enough for attention to be far from uniform."""
    module = TokenAttention(WIDTH, form).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module


def tokens(slides: int, length: int, *, seed: int = 0) -> Tensor:
    return torch.randn(slides, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def peer(module: TokenAttention, landmarks: int) -> torch.nn.Module:
    """The `nystrom-attention` package with the weights of `module`."""
    from nystrom_attention import NystromAttention

    other = NystromAttention(WIDTH, dim_head=WIDTH // HEADS, heads=HEADS, num_landmarks=landmarks, dropout=0.1)
    names = {"qkv": "to_qkv", "project": "to_out.0", "value_conv": "res_conv"}
    state = {}
    for name, tensor in module.state_dict().items():
        part, kind = name.split(".")
        state[f"{names[part]}.{kind}"] = tensor
    other.load_state_dict(state)
    return other.eval()


@pytest.mark.parametrize("length", [1, 7, 10, 39, 64, 100])
def test_the_published_form_equals_the_nystrom_attention_package(length: int) -> None:
    """Outputs and gradients, in float64: in float32 the two orders of the products round apart by some 1e-4."""
    module = layer(PUBLISHED).double()
    other = peer(module, PUBLISHED.landmarks).double()
    ours, theirs = (tokens(2, length).double().requires_grad_() for _ in range(2))
    out, expected = module(ours), other(theirs)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-8)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-7)
    parts = {"to_qkv": module.qkv, "to_out.0": module.project, "res_conv": module.value_conv}
    for name, part in parts.items():
        gradient = other.get_submodule(name).weight.grad
        torch.testing.assert_close(part.weight.grad, gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("length", [10, 20, 38, 39, 57])
def test_masked_padding_equals_the_package_told_which_rows_are_real(length: int) -> None:
    """Compared where every run of the package has a real row; its wholly masked landmarks still take part."""
    module = layer(replace(PUBLISHED, mask_padding=True))
    x = tokens(2, length)
    real = torch.ones(2, length, dtype=torch.bool)
    torch.testing.assert_close(module(x), peer(module, PUBLISHED.landmarks)(x, mask=real), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [10, 30, 70])
def test_masked_padding_changes_nothing_where_there_is_none(length: int) -> None:
    x = tokens(2, length)
    masked = layer(replace(PUBLISHED, mask_padding=True))
    assert torch.equal(masked(x), layer(PUBLISHED)(x))


def test_masked_padding_equals_an_exact_multiple_of_fewer_landmarks() -> None:
    """36 tokens and 10 landmarks make 9 runs of 4: nothing is left of the tenth."""
    x = tokens(2, 36)
    masked = layer(replace(PUBLISHED, mask_padding=True))
    assert torch.equal(masked(x), layer(replace(PUBLISHED, landmarks=9))(x))


def test_published_padding_takes_part() -> None:
    x = tokens(1, 39)
    assert not torch.allclose(layer(replace(PUBLISHED, mask_padding=True))(x), layer(PUBLISHED)(x), atol=1e-3)


@pytest.mark.parametrize("form", [EXACT, OURS, replace(OURS, mask_padding=False)])
@pytest.mark.parametrize("length", [1, 9, 39])
def test_a_slide_attends_the_same_alone_and_in_company(form: AttentionForm, length: int) -> None:
    x = tokens(5, length)
    x[1:] *= 4
    module = layer(form)
    torch.testing.assert_close(module(x)[:1], module(x[:1]), rtol=1e-5, atol=1e-5)


def test_published_scaling_lets_company_shine_through() -> None:
    x = tokens(5, 39)
    x[1:] *= 4
    module = layer(PUBLISHED)
    assert not torch.allclose(module(x)[:1], module(x[:1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 40])
def test_exact_attention_equals_a_naive_loop(length: int) -> None:
    module, x = layer(EXACT).double(), tokens(2, length).double()
    q, k, v = module.qkv(x).chunk(3, dim=-1)
    expected = torch.zeros_like(x)
    size = WIDTH // HEADS
    for b in range(2):
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            for i in range(length):
                weights = torch.stack([q[b, i, part] @ k[b, j, part] / size**0.5 for j in range(length)]).softmax(0)
                expected[b, i, part] = sum(weights[j] * v[b, j, part] for j in range(length))
                for tap in range(33):
                    if 0 <= i + tap - 16 < length:
                        expected[b, i, part] += module.value_conv.weight[h, 0, tap, 0] * v[b, i + tap - 16, part]
    torch.testing.assert_close(module(x), module.project(expected))


def test_exact_attention_without_the_convolution_does_not_see_the_order() -> None:
    module, x = layer(EXACT), tokens(2, 30)
    with torch.no_grad():
        module.value_conv.weight.zero_()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_a_single_token_gets_the_same_from_every_masked_form() -> None:
    x = tokens(3, 1)
    torch.testing.assert_close(layer(OURS)(x), layer(EXACT)(x))


def test_with_a_landmark_for_every_token_nystrom_approaches_exact_attention() -> None:
    """Then F = A = C, and A pinv(A) A = A: where the six steps converge, here by keys that stand apart."""
    q = 6 * torch.eye(8)[None, None].repeat(2, HEADS, 1, 1)
    v = torch.randn(2, HEADS, 8, 8, generator=torch.Generator().manual_seed(0))
    form = replace(OURS, landmarks=20)
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, v)
    torch.testing.assert_close(nystrom_attention(q, q, v, form=form), expected, rtol=1e-4, atol=1e-4)


def test_auto_is_exact_up_to_its_number_of_tokens_and_nystrom_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "AUTO_TOKENS", 30)
    auto = layer(replace(PUBLISHED, kind="auto"))
    assert torch.equal(auto(tokens(1, 30)), layer(EXACT)(tokens(1, 30)))
    assert torch.equal(auto(tokens(1, 31)), layer(PUBLISHED)(tokens(1, 31)))


@pytest.mark.parametrize("scaling", ["batch", "slide"])
def test_the_pseudo_inverse_inverts(scaling: str) -> None:
    noise = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    matrices = (8 * torch.eye(6) + noise).softmax(dim=-1)
    inverse = iterative_pinv(matrices, scaling=scaling)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(matrices @ inverse, torch.eye(6).expand(2, 3, 6, 6), rtol=0, atol=1e-4)


def test_run_means_are_means_of_runs_counted_from_the_end() -> None:
    x = torch.arange(7.0).reshape(1, 1, 7, 1)
    assert run_means(x, 3).flatten().tolist() == [0.0, 2.0, 5.0]


def test_nothing_of_tokens_by_landmarks_is_kept_for_the_backward_pass() -> None:
    form = replace(OURS, landmarks=32)
    length = 1024
    module = layer(form)
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(tokens(1, length)).sum().backward()
    assert 0 < max(sizes) <= 3 * length * WIDTH < HEADS * length * form.landmarks


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 24 is not a multiple of 5 slide heads"):
        TokenAttention(24, AttentionForm(heads=5, landmarks=8))
