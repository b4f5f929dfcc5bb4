"""Encoders of the supervised baselines: what a patient is described by before one linear layer.

Multiple-instance models of a slide's tiles: their mean, gated attention (ABMIL, Ilse et al. 2018), TransMIL (Shao et
al. 2021, the slide encoder of METHOD section 1); an MLP of the profile; and a pretrained model, to be tuned on.
Each is called with tiles (B, T, D) and profiles (B, G), of which it takes what it needs.

Legend: B patients, T tiles, D tile-feature width, G genes, E width, C outputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from mirror.nn.attention import AttentionForm
from mirror.nn.canonical import CanonicalMirror, TilePooling
from mirror.nn.initialise import initialise_layers
from mirror.nn.layers import Mlp
from mirror.nn.slide_encoder import SlideEncoder

Modality = Literal["slide", "expression", "fused"]
HEADS = 4


class Embedder(Protocol):
    """What either kind of pretrained model offers."""

    @property
    def slide_width(self) -> int: ...
    @property
    def expression_width(self) -> int: ...
    def embed_slide(self, tiles_BTD: Tensor, /) -> Tensor: ...
    def embed_expression(self, expression_BG: Tensor, /) -> Tensor: ...
    def views(self, slide_NE: Tensor, expression_NE: Tensor, /) -> dict[str, Tensor]: ...


class MeanPooling(nn.Module):
    """The mean tile, (B, D)."""

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        del expression_BG
        return tiles_BTD.mean(dim=1)


class GatedAttention(nn.Module):
    """ABMIL: tiles weighed by gated attention, (B, E)."""

    def __init__(self, tile_dim: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.pool = TilePooling(tile_dim, width, width, dropout=dropout)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights."""
        initialise_layers(self, linear="fan_in", generator=generator)

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        del expression_BG
        return self.pool(tiles_BTD).relu()


class TransMil(nn.Module):
    """The class token of the slide encoder, (B, E)."""

    def __init__(self, tile_dim: int, width: int, *, dropout: float) -> None:
        super().__init__()
        form = AttentionForm(heads=HEADS, landmarks=max(1, width // 2), kind="auto", dropout=dropout)
        self.encoder = SlideEncoder(tile_dim, width, attention=form)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        self.encoder.initialise(generator)

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        del expression_BG
        return self.encoder(tiles_BTD)[:, 0]


class ExpressionMlp(nn.Module):
    """Two layers on the profile, (B, E)."""

    def __init__(self, genes: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.mlp = Mlp(genes, width, width, dropout=dropout)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights."""
        initialise_layers(self, linear="fan_in", generator=generator)

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        del tiles_BTD
        return self.mlp(expression_BG).relu()


class Pretrained(nn.Module):
    """A pretrained model and the view of it that is tuned on: of slides, of expression, or of both.

    Of a canonical model that view takes its networks whole, whatever share of them (`correction`) probes were given:
    where that is none, there would be nothing to tune. The model is changed in place.
    """

    def __init__(self, model: nn.Module, modality: Modality) -> None:
        super().__init__()
        if isinstance(model, CanonicalMirror):
            model.sizes = replace(model.sizes, correction=1.0)
        self.model, self.modality = model, modality

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        model = cast("Embedder", self.model)
        if self.modality == "fused":
            parts = model.embed_slide(tiles_BTD), model.embed_expression(expression_BG)
        elif self.modality == "slide":
            slide = model.embed_slide(tiles_BTD)
            parts = slide, slide.new_full((len(slide), model.expression_width), torch.nan)
        else:
            expression = model.embed_expression(expression_BG)
            parts = expression.new_full((len(expression), model.slide_width), torch.nan), expression
        return model.views(*parts)[f"X_{self.modality}"]


class SupervisedModel(nn.Module):
    """An encoder, its inputs and outputs standardised by training patients, and one linear layer: logits (B, C).

    The four buffers are what `standardise_tiles` and `standardise_columns` were given; the identity before.
    """

    tile_mean: Tensor
    tile_scale: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, *, tile_dim: int, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, outputs)
        for name, columns in (("tile_", tile_dim), ("", width)):
            self.register_buffer(f"{name}mean", torch.zeros(columns))
            self.register_buffer(f"{name}scale", torch.ones(columns))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def columns(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        """What the linear layer sees, (B, E)."""
        encoded = self.encoder((tiles_BTD - self.tile_mean) / self.tile_scale, expression_BG)
        return (encoded - self.mean) / self.scale

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor) -> Tensor:
        return self.head(self.columns(tiles_BTD, expression_BG))

    @torch.no_grad()
    def standardise_tiles(self, mean_D: Tensor, scale_D: Tensor) -> None:
        """Take tiles to mean 0 and deviation 1 before the encoder."""
        self.tile_mean.copy_(mean_D)
        self.tile_scale.copy_(scale_D)

    @torch.no_grad()
    def standardise_columns(self, columns_NE: Tensor) -> None:
        """Take the encoder's columns, as these patients have them now, to mean 0 and deviation 1."""
        self.mean.copy_(columns_NE.mean(dim=0))
        deviation = columns_NE.std(dim=0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))
