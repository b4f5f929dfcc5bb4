"""One recognised file into one of ours: positions in level-0 pixels where their unit is known, nothing guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mirror.artefacts import fingerprint
from mirror.data.feature_file import BagFacts, CoordsUnit, read_coords_unit, read_facts, write_bag
from mirror.data.importers.found import Asked, Content, FoundBag, smallest_step
from mirror.errors import DataError

_VERSION = 4
"""Of what is taken from a file: another number has everything imported again."""


class Converted(NamedTuple):
    """What came of a file: the unit its positions have in ours (None: it has none), and remarks for the user."""

    coords_unit: CoordsUnit | None
    notes: tuple[str, ...]


class Origin(NamedTuple):
    """What a file of ours is made of: the source as seen from the output's folder, and `stamp_of` it."""

    path: str
    stamp: str


def convert(found: FoundBag, target: Path, *, asked: Asked, slide_mpp: float | None, made_of: Origin) -> Converted:
    """Read a file and write it as ours, its rows in random order.

    `slide_mpp` (um/px of level 0) makes pixels of micrometres. Raises `DataError` for an empty bag, NaN, values beyond
    float16 and positions that do not fit, and whatever a damaged file makes the libraries raise.
    """
    if not found.tiles:
        raise DataError("an empty bag (0 tiles); extract its features again or leave the slide out")
    content = in_level0_pixels(_with_unit(found.read(), asked), slide_mpp)
    notes = [*content.notes, *_remarks(content)]
    side = content.facts.tile_level0_px
    if side is None and content.coords is not None and content.coords_unit == "level0_px":
        side = smallest_step(content.coords)
        if side is not None:
            notes.append(f"tile side taken from the smallest step between tiles: {side:g} px at level 0")
    if asked.encoder is None and found.encoder is None:
        notes.append("no encoder is named; name it with --encoder")
    facts = replace(
        content.facts,
        encoder=asked.encoder or found.encoder,
        tile_level0_px=side,
        target_magnification=found.magnification,
        source=content.facts.source or found.layout,
        source_stamp=made_of.stamp,
        source_path=made_of.path,
        source_remarks="\n".join(notes) or None,
    )
    write_bag(
        target, content.features, coords=content.coords, coords_unit=content.coords_unit, facts=facts, order_seed=0
    )
    return Converted(None if content.coords is None else content.coords_unit, tuple(notes))


def in_level0_pixels(content: Content, slide_mpp: float | None) -> Content:
    """Micrometres, and centres of tiles, become corners in level-0 pixels where the slide's resolution is known.

    Everything else stays as it is.
    """
    mpp = slide_mpp or content.facts.slide_mpp
    facts = replace(content.facts, slide_mpp=mpp)
    if mpp is not None and content.tile_um is not None:
        facts = replace(facts, tile_level0_px=content.tile_um / mpp)
        if content.centres and content.coords is not None:
            corners = content.coords - content.tile_um / mpp / 2
            return content._replace(coords=corners, coords_unit="level0_px", facts=facts)
    if content.coords is None or content.coords_unit != "um" or mpp is None:
        return content._replace(facts=facts)
    return content._replace(coords=content.coords / mpp, coords_unit="level0_px", facts=facts)


def stamp_of(path: Path, found: FoundBag, *, asked: Asked, slide_mpp: float | None) -> str:
    """A hash of what an import depends on: size and time of the source and of what lies beside, what the user said."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path, *_beside(path)]
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return fingerprint(_VERSION, states, found.layout, found.encoder, found.has_coords, asked._asdict(), slide_mpp)


def converted_before(path: Path, facts: BagFacts) -> Converted:
    """What `convert` gave when it wrote `path`."""
    return Converted(read_coords_unit(path), tuple((facts.source_remarks or "").splitlines()))


def facts_if_ours(path: Path) -> BagFacts | None:
    """What a file of ours says of itself, or None where there is none that can be read."""
    try:
        return read_facts(path)
    except DataError:
        return None


def _beside(path: Path) -> list[Path]:
    """Where tools lay what is read along with an array or an HDF5 file, there or not."""
    named = [f"{path.stem}{ending}" for ending in (".meta.json", ".index.npz", ".index.npy")]
    beside = [path.with_name(name) for name in (*named, "bags_config.json", "metadata.json")]
    for folder in path.parents[:3]:
        beside += [folder / "patches" / path.name, folder / "tiles" / f"{path.stem}.coordinates.npz"]
    return beside


def _with_unit(content: Content, asked: Asked) -> Content:
    unsaid = content.coords is not None and content.coords_unit == "unknown"
    if not unsaid or content.centres or content.addresses or asked.coords_unit == "unknown":
        return content
    note = f"positions are taken as {asked.coords_unit}, as --coords-unit says"
    return content._replace(coords_unit=asked.coords_unit, notes=(*content.notes, note))


def _remarks(content: Content) -> list[str]:
    if content.coords is None:
        return []
    notes: list[str] = []
    copies = len(content.coords) - len(np.unique(content.coords, axis=0))
    if copies:
        notes.append(f"{copies} tiles have the position of another one")
    if content.coords_unit == "um":
        notes.append("positions are kept in um; --slide-mpp makes them level-0 px")
    if content.centres and content.coords_unit == "unknown":
        notes.append("positions are the tiles' centres in level-0 px; --slide-mpp makes corners of them")
    elif content.coords_unit == "unknown" and not content.addresses:
        notes.append("the unit of positions is not said; --coords-unit names it")
    return notes
