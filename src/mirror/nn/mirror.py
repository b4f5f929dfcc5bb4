"""The whole model: two encoders and the heads of its objectives (METHOD sections 1-5).

Legend: B pairs, T tiles, S = 1 + T, D tile-feature width, G expression features, E width, Z style latent width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mirror.nn.alignment import Alignment, AlignmentOutput
from mirror.nn.attention import AttentionForm
from mirror.nn.draws import Draws, draw_mask
from mirror.nn.expression_encoder import ExpressionEncoder
from mirror.nn.retention import ExpressionRetention, RetentionOutput, SlideRetention
from mirror.nn.slide_encoder import SlideEncoder
from mirror.nn.style import StyleCoder, StyleOutput


@dataclass(frozen=True, slots=True)
class MirrorSizes:
    """Every size and switch of the model; the defaults are the published form.

    `tile_dim`, `genes` and `tiles` (rows of the slide retention's position table) come from the data. `landmarks`
    None means half the width. See `AttentionForm` for the attention's switches.
    """

    tile_dim: int
    genes: int
    tiles: int
    width: int = 768
    slide_heads: int = 8
    landmarks: int | None = None
    attention: Literal["nystrom", "exact", "auto"] = "nystrom"
    pinv_scaling: Literal["batch", "slide"] = "batch"
    mask_padding: bool = False
    expression_heads: int = 12
    expression_depth: int = 2
    expression_mlp_ratio: float = 4.0
    dropout: float = 0.1
    style_hidden: int = 512
    style_out: int = 256
    style_latent: int = 128
    prototypes: int = 3000
    mask_ratio: float = 0.75

    @property
    def attention_form(self) -> AttentionForm:
        """The part of it that the slide's attention layers take."""
        return AttentionForm(
            heads=self.slide_heads,
            landmarks=self.landmarks or self.width // 2,
            kind=self.attention,
            pinv_scaling=self.pinv_scaling,
            mask_padding=self.mask_padding,
            dropout=self.dropout,
        )


class MirrorOutput(NamedTuple):
    """Everything the losses need: both encodings and the output of each objective's head."""

    tokens_BSE: Tensor
    expression_BE: Tensor
    alignment: AlignmentOutput
    slide_retention: RetentionOutput
    expression_retention: RetentionOutput
    slide_style: StyleOutput
    expression_style: StyleOutput


class Mirror(nn.Module):
    """Structure only: first weights come from `build_mirror`, trained ones from a checkpoint.

    `forward` changes nothing and draws nothing but dropout. A training step calls `before_forward`, `draw`, the model
    itself, and `after_update` once the optimiser has stepped.
    """

    def __init__(self, sizes: MirrorSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, dropout, attention = sizes.width, sizes.dropout, sizes.attention_form
        heads, mlp_ratio = sizes.expression_heads, sizes.expression_mlp_ratio
        self.slide_encoder = SlideEncoder(sizes.tile_dim, width, attention=attention)
        self.expression_encoder = ExpressionEncoder(
            sizes.genes, width, heads=heads, depth=sizes.expression_depth, mlp_ratio=mlp_ratio, dropout=dropout
        )
        self.alignment = Alignment(width)
        self.slide_retention = SlideRetention(width, sizes.tiles, attention=attention)
        self.expression_retention = ExpressionRetention(width, heads=heads, mlp_ratio=mlp_ratio, dropout=dropout)
        self.style = StyleCoder(
            width,
            hidden=sizes.style_hidden,
            out=sizes.style_out,
            latent=sizes.style_latent,
            prototypes=sizes.prototypes,
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Fill every parameter (METHOD section 6); the same generator state gives the same weights."""
        self.slide_encoder.initialise(generator)
        self.expression_encoder.initialise(generator)
        self.alignment.initialise(generator)
        self.slide_retention.initialise(generator)
        self.expression_retention.initialise(generator)
        self.style.initialise(generator)

    def encode_slide(self, tiles_BTD: Tensor) -> Tensor:
        """Tile features (B, T, D), any T from 1 on, to tokens (B, 1 + T, E), class token first."""
        return self.slide_encoder(tiles_BTD)

    def encode_expression(self, expression_BG: Tensor) -> Tensor:
        """Profiles (B, G) to embeddings (B, E)."""
        return self.expression_encoder(expression_BG)

    def embed_slide(self, tiles_BTD: Tensor) -> Tensor:
        """Class tokens (B, E) of slides."""
        return self.encode_slide(tiles_BTD)[:, 0]

    def embed_expression(self, expression_BG: Tensor) -> Tensor:
        """Embeddings (B, E) of profiles."""
        return self.encode_expression(expression_BG)

    @property
    def slide_width(self) -> int:
        """Columns of what `embed_slide` gives."""
        return self.sizes.width

    @property
    def expression_width(self) -> int:
        """Columns of what `embed_expression` gives."""
        return self.sizes.width

    def views(self, slide_NE: Tensor, expression_NE: Tensor) -> dict[str, Tensor]:
        """What a patient is described by: either embedding (N, E) and both side by side (N, 2 E).

        A row of NaN in one modality is one in the fused view: half a representation would be read as a whole one.
        `X_align_slide` and `X_align_expression` (N, E) are the projections of the alignment, compared by their cosine.
        """
        fused = torch.cat([slide_NE, expression_NE], dim=1)
        fused = fused.masked_fill(fused.isnan().any(dim=1, keepdim=True), float("nan"))
        aligned = self.alignment(slide_NE, expression_NE)
        return {
            "X_slide": slide_NE,
            "X_expression": expression_NE,
            "X_fused": fused,
            "X_align_slide": aligned.slide_BE,
            "X_align_expression": aligned.expression_BE,
        }

    def draw(self, batch: int, tiles: int, *, generator: torch.Generator, device: torch.device | str) -> Draws:
        """Masks and style noise for one forward, drawn on the generator's device and handed over on `device`."""
        width, latent, ratio = self.sizes.width, self.sizes.style_latent, self.sizes.mask_ratio

        def noise() -> Tensor:
            return torch.randn(batch, latent, generator=generator, device=generator.device).to(device)

        return Draws(
            draw_mask(batch, tiles, mask_ratio=ratio, generator=generator).to(device),
            draw_mask(batch, width, mask_ratio=ratio, generator=generator).to(device),
            noise(),
            noise(),
        )

    def before_forward(self) -> None:
        """To be called before every training forward: prototypes back to length one, in place."""
        self.style.normalise_prototypes()

    def after_update(self) -> None:
        """To be called after every update: the alignment's scale back into its range, in place."""
        self.alignment.clamp_scale()

    def forward(self, tiles_BTD: Tensor, expression_BG: Tensor, draws: Draws) -> MirrorOutput:
        """Encode both and run every head. Raises `ConfigError` when T is not the position table's."""
        tokens_BSE = self.encode_slide(tiles_BTD)
        expression_BE = self.encode_expression(expression_BG)
        class_BE = tokens_BSE[:, 0]
        return MirrorOutput(
            tokens_BSE,
            expression_BE,
            self.alignment(class_BE, expression_BE),
            self.slide_retention(tokens_BSE, draws.slide_mask_BT),
            self.expression_retention(expression_BE, draws.expression_mask_BE),
            self.style(class_BE, draws.slide_noise_BZ),
            self.style(expression_BE, draws.expression_noise_BZ),
        )


def build_mirror(sizes: MirrorSizes, *, generator: torch.Generator) -> Mirror:
    """A model with first weights, on the generator's device; torch's global random state is not touched."""
    with torch.device("meta"):  # else every layer would first fill itself from the global generator
        model = Mirror(sizes)
    model.to_empty(device=generator.device)
    model.initialise(generator)
    return model
