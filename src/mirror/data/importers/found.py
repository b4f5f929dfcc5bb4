"""What a file of another tool turns out to be, before and after its features are read.

Legend: T tiles, D feature width.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.feature_file import BagFacts, CoordsUnit
from mirror.errors import DataError

_GENERIC = ("tile", "tiles", "patch", "patches", "slide", "slides", "h5", "pt", "raw")
"""What `features_<word>` may say without naming an encoder."""


class Asked(NamedTuple):
    """What the user says besides: which encoder is meant, and in which unit files that do not say it have positions."""

    encoder: str | None = None
    coords_unit: CoordsUnit = "unknown"


class Content(NamedTuple):
    """One slide's features (T, D) as the tool wrote them; `coords` (T, 2) top left corners as (x, y), or None.

    `tile_um` is the side of a tile in micrometres where the file says that and not its pixels. `centres`: the positions
    are those of the tiles' centres, in level-0 pixels, which corners can be made of once the side is known.
    `addresses`: they count tiles, so that no unit makes positions of them. `notes` are remarks for the user on what was
    understood and what was not.
    """

    features: NDArray[Any]
    coords: NDArray[Any] | None
    coords_unit: CoordsUnit
    facts: BagFacts
    tile_um: float | None = None
    centres: bool = False
    addresses: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundBag:
    """The tile features of one slide, recognised and not read. `read` gives its `Content`.

    `magnification` is a nominal one (20 for 20x), where the tool names it: no resolution follows from it, but features
    of two are not one cohort.
    """

    slide: str
    layout: str
    tiles: int
    width: int
    encoder: str | None
    has_coords: bool
    read: Callable[[], Content] = field(repr=False, compare=False)
    magnification: float | None = None


class NoBag(NamedTuple):
    """A file that belongs to some tool and has no tile features to import, with the reason."""

    layout: str
    reason: str


def encoder_of_folder(path: Path) -> str | None:
    """The encoder that a folder above is named for: `features_<encoder>`, as TRIDENT has it.

    No other form is taken for one here: `brca_features` or `cohort-20240101` name no encoder.
    """
    for folder in path.parents[:3]:
        match = re.fullmatch(r"features_(.+)", folder.name)
        if match and match[1].lower() not in _GENERIC:
            return match[1]
    return None


def named(*candidates: object) -> str | None:
    """The first of the candidates that is a name; TRIDENT writes the word None when it does not know."""
    for candidate in candidates:
        text = candidate.decode() if isinstance(candidate, bytes) else candidate
        if isinstance(text, str) and text not in ("", "None"):
            return text
    return None


def as_bag(features: NDArray[Any], path: Path) -> NDArray[Any]:
    """(T, D) of (T, D) or (1, T, D). Raises `DataError` for any other shape and for what is no number."""
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]
    if features.ndim != 2 or features.dtype.kind != "f":
        raise DataError(f"{path}: features of shape {features.shape} and type {features.dtype} are no bag of tiles")
    return features


def as_positions(coords: NDArray[Any], tiles: int, path: Path) -> NDArray[Any]:
    """(T, 2) of (T, 2 or more), with or without a leading 1. Raises `DataError` when they are not one a tile."""
    if coords.ndim == 3 and coords.shape[0] == 1:
        coords = coords[0]
    if coords.ndim != 2 or len(coords) != tiles or coords.shape[1] < 2:
        raise DataError(f"{path}: positions of shape {coords.shape} do not fit {tiles} tiles; extract the slide again")
    return coords[:, :2]


def smallest_step(coords: NDArray[Any]) -> float | None:
    """The smallest distance of two tiles of one row or of one column: their side, where they do not overlap.

    Not of any two: each piece of tissue may have a grid of its own, shifted against the others by any distance.
    """
    steps: list[NDArray[Any]] = []
    for along, across in ((0, 1), (1, 0)):
        ordered = coords[np.lexsort((coords[:, along], coords[:, across]))]
        same = ordered[1:, across] == ordered[:-1, across]
        steps.append((ordered[1:, along] - ordered[:-1, along])[same])
    positive = np.concatenate(steps)
    positive = positive[positive > 0]
    return float(positive.min()) if positive.size else None
