"""`cohort`: where features, slides, expression, clinical table and folds lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mirror.config.clinical import ClinicalConfig
from mirror.config.expression import ExpressionConfig
from mirror.config.section import Section


class FeaturesConfig(Section):
    """Tile features: a folder with one `.pt` or `.h5` file a slide, named `<slide>.<ending>`.

    This path, and those of all tables of the cohort, may be URLs that fsspec reads (`s3://...`)."""

    path: Path
    encoder: str | None = None
    """Name of the tile encoder; taken from the files' own attributes where they have one."""
    on_bad: Literal["stop", "exclude"] = "stop"
    """An empty, NaN, unreadable or truncated bag stops the run, or is left out and listed in excluded.csv."""


class SlidesConfig(Section):
    """The slide table: which slide belongs to which patient."""

    path: Path
    slide: str = "slide_id"
    patient: str = "case_id"


class FoldsConfig(Section):
    """Cross-validation by patient: the user's own folds from a file, or stratified by label and event."""

    path: Path | None = None
    count: Annotated[int, Field(ge=2)] = 5
    seed: int = 0


class CohortConfig(Section):
    """Where the cohort's data lies."""

    features: FeaturesConfig
    slides: SlidesConfig
    expression: ExpressionConfig | None = None
    clinical: ClinicalConfig | None = None
    folds: FoldsConfig = FoldsConfig()
