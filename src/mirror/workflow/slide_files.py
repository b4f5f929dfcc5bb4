"""Where the slide files of a cohort lie: as told, or as `mirror slides` left it beside the features."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mirror.config import Config
from mirror.errors import ConfigError
from mirror.ids import SlideId

if TYPE_CHECKING:
    from mirror.slides.manifest import SlideEntry


class SlideLookup(NamedTuple):
    """Where slide files are, and the folder or manifest that was `given`, None where nothing was."""

    entries: Mapping[SlideId, SlideEntry]
    given: Path | None

    def lacking(self, slide: str) -> str:
        """That there is no file of a slide, and what there is."""
        if self.given is None:
            return "the slide file is not known (--slides FOLDER, or slides.jsonl beside the features)"
        some = ", ".join(sorted(self.entries)[:3]) + (", ..." if len(self.entries) > 3 else "")
        return (
            f"{self.given} has no slide '{slide}', but {some} (names of files without their ending; a manifest says "
            "which file is of which slide)"
        )


def slide_entries(config: Config, slides: Path | None, features: Path | None) -> Mapping[SlideId, SlideEntry]:
    """Where slide files are: as told, else as `mirror slides` left it beside the features; empty where nobody says."""
    told = slides
    if told is None:
        beside = (features or Path(config.cohort.features.path)).parent / "slides.jsonl"
        told = beside if beside.exists() else None
    if told is None or (slides is None and not _can_read()):
        return {}
    if not _can_read():
        raise ConfigError('reading slides needs the extra: pip install "mirror-pathology[slides]"')
    from mirror.slides.manifest import entries_of

    return entries_of(told)


def _can_read() -> bool:
    return importlib.util.find_spec("wsidata") is not None
