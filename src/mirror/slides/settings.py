"""What `mirror slides` is told: which slides, which tiles, which encoder. A closed tree like the cohort's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mirror.artefacts import fingerprint
from mirror.config import Fraction, Positive, Section, checked, read_mapping

WITHOUT_WEIGHTS = ("random-resnet18", "stain-texture")
"""Encoders of our own that need no weights; all other names are LazySlide's or timm's."""


class ExtractionConfig(Section):
    """Slides to tile features, all in one folder `output`."""

    slides: Path
    """The manifest, a csv file with the columns `slide`, `path` and where needed `mpp`; or a folder of slides."""
    output: Path
    """Gets `features/`, `slides.jsonl`, `contact.html` and `quality/`."""
    encoder: str
    """A name of LazySlide's zoo (`uni`, `conch`, `phikon`, `virchow2`, `gigapath` ...) or of timm (`resnet50`);
    without any weights `random-resnet18` (seeded) and `stain-texture` (classical)."""
    weights: Path | None = None
    """A file with the encoder's weights; the hub's cache when not given."""
    seed: int = 0
    """Of `random-resnet18`."""
    tile_px: Positive = 512
    """Side of a tile, at `mpp`."""
    mpp: Annotated[float, Field(gt=0)] = 0.5
    """Resolution at which tiles are read, um/px: 0.5 is 20x, 0.25 is 40x, 1.0 is 10x."""
    overlap_px: Annotated[int, Field(ge=0)] = 0
    """What neighbouring tiles share of their side, at `mpp`."""
    edge: bool = False
    """Whether the last row and column of tiles, which reach beyond the bounding box of a piece of tissue, are taken."""
    tissue_method: Literal["otsu", "entropy"] = "otsu"
    """LazySlide's ways to tell tissue from glass."""
    background: Fraction = 0.3
    """Largest share of a tile that may lie outside the tissue's outline, within which gaps of glass are filled."""
    on_unknown_mpp: Literal["stop", "exclude"] = "stop"
    """A slide without plausible resolution stops the command before any work, or is left out as a failure."""
    batch: Positive = 32
    """Tiles encoded at a time; changes speed and memory, not the features."""
    threads: Positive | None = None
    """Threads that read tiles; as many as there are CPUs (at most 16) when not given."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _overlap_leaves_a_step(self) -> Self:
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"`overlap_px` {self.overlap_px} must be smaller than `tile_px` {self.tile_px}")
        return self

    @model_validator(mode="after")
    def _weights_have_a_use(self) -> Self:
        if self.weights is not None and self.encoder in WITHOUT_WEIGHTS:
            raise ValueError(f"`weights` has no use: `encoder: {self.encoder}` has none; leave it out")
        return self


DECIDE = ("encoder", "seed", "tile_px", "mpp", "overlap_px", "edge", "tissue_method", "background")
"""The keys that decide what the features are; the others say where, and how fast. (What the weights are, the encoder's
revision says.)"""


def settings_mark(config: ExtractionConfig) -> str:
    """A hash of all settings that decide what the features are."""
    return fingerprint(config.model_dump(mode="json", include=set(DECIDE)))


def load_extraction(path: Path) -> ExtractionConfig:
    """Read, check, resolve paths. Raises `ConfigError` that names file, key and remedy."""
    return checked(read_mapping(path), ExtractionConfig, where=path)
