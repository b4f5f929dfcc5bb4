"""`model`: sizes of the networks, one section a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mirror.config.section import Fraction, Positive, Section, Weight


class PublishedModelConfig(Section):
    """`kind: published`: sizes of the networks (METHOD sections 1-5); what the data decides is not here."""

    width: Positive
    slide_heads: Positive
    landmarks: Positive | None
    attention: Literal["nystrom", "exact", "auto"]
    pinv_scaling: Literal["batch", "slide"]
    mask_padding: bool
    expression_heads: Positive
    expression_depth: Positive
    expression_mlp_ratio: Annotated[float, Field(gt=0)]
    dropout: Fraction
    style_hidden: Positive
    style_out: Positive
    style_latent: Positive
    prototypes: Positive
    mask_ratio: Fraction

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        for name in ("slide_heads", "expression_heads"):
            heads = getattr(self, name)
            if self.width % heads:
                raise ValueError(f"`width` {self.width} is not a multiple of `{name}` {heads}")
        return self


class CanonicalModelConfig(Section):
    """`kind: canonical`: both modalities along canonical directions, networks on top of them that start at zero."""

    kind: Literal["canonical"]
    start: Literal["canonical", "none"]
    """`canonical`: from the closed form on the training patients. `none`: networks alone, from random weights."""
    components: Positive
    """Whitened components a modality, and as many canonical directions."""
    private: Weight
    """Weight of what only one modality says, beside what both say, in the fused view; 0 leaves it out."""
    tail: Annotated[int, Field(ge=0)] = 0
    """Principal components of expression that follow the first `components`, at their natural scale beside the private
    parts: what probes get is then nearly all that is linear in the profile."""
    correction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of what the networks add to the closed form that probes get; the aligned views and the parts have all of
    it. With `start: none` there is nothing else: 1."""
    slide_private: bool = False
    """Whether `X_slide`, too, has what only the slide says, at half of the weight `private`; without it, it has what
    expression says as well and nothing else."""
    hidden: Positive
    """Width of either network's middle."""
    dropout: Fraction
    mask_ratio: Fraction
    """Share of the tiles and of the genes that are hidden from the encoders in training, and to be rebuilt."""
    temperature: Annotated[float, Field(gt=0)]
    """By which the cosines of the alignment are divided."""
    same_patient: Literal["left_out", "negatives"] = "left_out"
    """Other slides of a pair's own patient in the alignment: `left_out` of its negatives, because they are the same
    tumour, or `negatives` like those of anybody else (published)."""
    prototypes: Positive
    style_temperature: Annotated[float, Field(gt=0)]
    """By which the cosines with the prototypes are divided."""


def _model_kind(model: Any) -> str:
    kind = model.get("kind", "published") if isinstance(model, Mapping) else getattr(model, "kind", "published")
    return kind if kind in MODEL_KINDS else "published"


MODEL_KINDS: dict[str, type[Section]] = {"published": PublishedModelConfig, "canonical": CanonicalModelConfig}
ModelConfig = Annotated[
    Annotated[PublishedModelConfig, Tag("published")] | Annotated[CanonicalModelConfig, Tag("canonical")],
    Discriminator(_model_kind),
]
