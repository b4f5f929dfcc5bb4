"""What a slide's own file shows of it and of its tiles, or why it shows nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.data.places import TilePlaces
from mirror.errors import DataError
from mirror.explain.overlay import PICTURE_PX

if TYPE_CHECKING:
    from mirror.slides.looks import Looks
    from mirror.slides.manifest import SlideEntry


def looks_of(
    entry: SlideEntry, places: TilePlaces, rows: Iterable[int], *, otherwise: str, notes: list[str]
) -> Looks | None:
    """The slide, and the pictures of the tiles in `rows`.

    None where the file cannot be read or has none of the tiles; then `notes` says so, and what is done `otherwise`.
    Where it lacks only some of the tiles, `notes` says that.
    """
    from mirror.slides.looks import look_at

    corners = [places.corner(row) for row in sorted(set(rows))]
    try:
        looks = look_at(entry, mpp=places.mpp, tiles=corners, side=places.side, px=PICTURE_PX)
    except DataError as error:
        notes.append(f"{error}: {otherwise}")
        return None
    outside = places.outside(looks.size)
    if outside.all():
        notes.append(f"{_misfit(entry.path, places, looks)}: {otherwise}")
        return None
    if outside.any():
        notes.append(f"{_misfit(entry.path, places, looks)}: they are missing in the heat, and white as pictures")
    return looks


def _misfit(path: Path, places: TilePlaces, looks: Looks) -> str:
    """How many tiles lie outside the slide, by how much, and what may be wrong."""
    outside, (width, height) = places.outside(looks.size), looks.size
    (left, up), (right, down) = places.coords.min(axis=0).tolist(), places.coords.max(axis=0) + round(places.side)
    return (
        f"{outside.sum():,} of {len(outside):,} tiles lie outside {path}, which has {width:,} x {height:,} px where "
        f"tiles reach from ({left:,}, {up:,}) to ({right:,}, {down:,}); is it the file of another slide (then name the "
        "right one with --slides), or are the coordinates those of another level (features want level-0 px)?"
    )
