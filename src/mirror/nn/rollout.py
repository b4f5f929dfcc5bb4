"""Attention rollout (Abnar and Zuidema, 2020): which tiles a slide's class token is made of, through both layers.

Each layer counts half as itself and half as its attention, averaged over heads. The convolutions beside and between the
attention layers keep a token in its place, and are counted so.

Legend: B slides, T tiles, N tokens (class token, tiles, filling), E width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mirror.nn.attention import TokenAttention
from mirror.nn.layers import PreNormResidual
from mirror.nn.slide_encoder import SlideEncoder


def attention_rollout(encoder: SlideEncoder, tiles_BTD: Tensor) -> Tensor:
    """Share of each tile in the class token (B, T); rows sum to one."""
    first_BNE = encoder.tokens(tiles_BTD)
    second_BNE = encoder.between(first_BNE)
    weights_BN = torch.zeros_like(first_BNE[..., 0])
    weights_BN[:, 0] = 1.0
    for layer, tokens_BNE in ((encoder.attention2, second_BNE), (encoder.attention1, first_BNE)):
        weights_BN = (weights_BN + attention_of(layer).reach(layer.norm(tokens_BNE), weights_BN).mean(dim=1)) / 2
    shares_BT = on_tiles(weights_BN, tiles_BTD.shape[1])
    return shares_BT / shares_BT.sum(dim=1, keepdim=True)


def on_tiles(weights_BN: Tensor, tiles: int) -> Tensor:
    """(B, T): what falls to the tokens that fill up the square belongs to the tiles that they repeat."""
    own_BT, filling = weights_BN[:, 1 : 1 + tiles].clone(), weights_BN[:, 1 + tiles :]
    own_BT[:, : filling.shape[1]] += filling
    return own_BT


def attention_of(layer: PreNormResidual) -> TokenAttention:
    """The attention inside a layer of the slide encoder."""
    assert isinstance(layer.inner, TokenAttention)
    return layer.inner
