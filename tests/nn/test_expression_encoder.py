"""The expression encoder."""

from __future__ import annotations

import pytest
import torch

from mirror.errors import ConfigError
from mirror.nn.expression_encoder import ChunkAttention, ExpressionEncoder


def test_chunk_attention_equals_a_slow_loop() -> None:
    heads, size = 6, 4
    width = heads * size
    generator = torch.Generator().manual_seed(0)
    module = ChunkAttention(width, heads=heads, dropout=0.1).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4, generator=generator)
    x = torch.randn(3, width, generator=generator, dtype=torch.float64)
    mixed = torch.zeros_like(x)
    for b in range(3):
        q, k, v = (module.qkv(x[b])[part * width : (part + 1) * width] for part in range(3))
        for i in range(heads):
            chunk = [slice(j * size, (j + 1) * size) for j in range(heads)]
            weights = torch.stack([q[chunk[i]] @ k[chunk[j]] / size**0.5 for j in range(heads)]).softmax(0)
            for c in range(size):
                # The trap of the published form: channels outside, chunks inside.
                mixed[b, c * heads + i] = sum(weights[j] * v[chunk[j]][c] for j in range(heads))
    torch.testing.assert_close(module(x), module.project(mixed))


def encoder() -> ExpressionEncoder:
    module = ExpressionEncoder(9, 24, heads=12, depth=2, mlp_ratio=2.572, dropout=0.1)
    module.initialise(torch.Generator().manual_seed(0))
    return module


def test_a_patient_is_encoded_the_same_alone_and_in_company() -> None:
    module = encoder().eval()
    profiles = torch.randn(5, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(profiles)[:1], module(profiles[:1]))


def test_dropout_acts_in_training_and_not_in_evaluation() -> None:
    module = encoder()
    profiles = torch.randn(5, 9, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(module.train()(profiles), module(profiles))
    assert torch.equal(module.eval()(profiles), module(profiles))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 24 is not a multiple of 7 expression heads"):
        ChunkAttention(24, heads=7, dropout=0.0)
