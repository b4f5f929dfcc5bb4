"""Licences of tile encoders, as LazySlide's zoo has them: what may be done with features, and with what is made of
them."""

from __future__ import annotations

from typing import Any, NamedTuple


class EncoderTerms(NamedTuple):
    """`licence` as its authors call it; `commercial` use, None where the zoo does not say; `gated`: to be asked for."""

    name: str
    licence: str
    commercial: bool | None
    gated: bool
    page: str | None

    @property
    def sentence(self) -> str:
        """All of it, for a table's cell."""
        use = {True: "commercial use allowed", False: "no commercial use", None: "commercial use not stated"}
        return f"{self.licence}, {use[self.commercial]}{', to be asked for' if self.gated else ''}"


def encoder_terms() -> dict[str, EncoderTerms]:
    """Name -> terms of every encoder of tiles in the zoo, in order of name. Loads no weights."""
    from lazyslide_models import MODEL_REGISTRY, list_models

    named = sorted({*list_models("vision"), *list_models("multimodal")})
    tiles = {name: card for name in named if hasattr(card := MODEL_REGISTRY[name], "encode_image")}
    return {name: _terms(name, card) for name, card in tiles.items()}


def _terms(name: str, card: Any) -> EncoderTerms:
    licence = getattr(card, "license", None)
    words = licence if isinstance(licence, str) else ", ".join(map(str, licence or ())) or "not stated"
    commercial = getattr(card, "commercial", None)
    return EncoderTerms(name, words, commercial, bool(getattr(card, "is_gated", False)), getattr(card, "hf_url", None))
