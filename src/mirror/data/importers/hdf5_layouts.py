"""Feature files in HDF5, told apart by what is in them: STAMP, TRIDENT, CLAM, UNI2-h archives, AtlasPatch, ...

The order of the questions matters: `feats` is STAMP's, a dataset `features` TRIDENT's and its relatives', a group
`features` AtlasPatch's. Legend: T tiles, D feature width.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mirror.data.feature_file import BagFacts, CoordsUnit
from mirror.data.hdf5 import stated_magnification
from mirror.data.importers.found import (
    Asked,
    Content,
    FoundBag,
    NoBag,
    as_bag,
    as_positions,
    encoder_of_folder,
    named,
    smallest_step,
)
from mirror.errors import DataError

STAMP_V1_STRIDE = 224
"""Tiles of STAMP 1 and marugoto were 256 um wide and 224 px; their positions are in those pixels."""


def recognise_hdf5(path: Path, asked: Asked) -> FoundBag | NoBag:
    """Say what an HDF5 file is. Raises `DataError` where it is no layout that is known, or holds several encoders."""
    with h5py.File(path, "r") as file:
        if "mirror_schema" in file.attrs:
            return NoBag("mirror", "our own file already; use it as it is")
        if isinstance(file.get("feats"), h5py.Dataset):
            return _stamp(file, path)
        features = file.get("features")
        if isinstance(features, h5py.Dataset):
            return _with_features(file, path)
        if isinstance(features, h5py.Group):
            # What an interrupted extraction leaves.
            chosen = _choose([name for name in map(str, features) if not name.startswith("__tmp_")], path, asked)
            return _bag(file, path, layout="AtlasPatch", key=f"features/{chosen}", coords="coords", encoder=chosen)
        if isinstance(file.get("patch_embeddings"), h5py.Dataset):
            return _bag(file, path, layout="Kronos", key="patch_embeddings", coords="coords")
        models = [name for name, item in file.items() if isinstance(item, h5py.Group) and "features" in item]
        if models:
            chosen = _choose(models, path, asked)
            key = f"{chosen}/features"
            return _bag(file, path, layout="WSI-toolbox", key=key, coords="coordinates", encoder=chosen)
        if "imgs" in file:
            return NoBag("CLAM (very old)", "pixels of tiles; extract features from them first")
        if "coords" in file:
            return NoBag(_of_positions(file["coords"]), "positions only, used beside the features")
        if "slide_features" in file:
            return NoBag("AtlasPatch", "a slide's vector, not tiles")
        raise DataError(f"{path} has {', '.join(file) or 'nothing'}: no layout of tile features that is known")


def _stamp(file: Any, path: Path) -> FoundBag | NoBag:
    if file.attrs.get("feat_type") in ("slide", "patient") or file["feats"].ndim < 2:
        return NoBag("STAMP", "a slide's or a patient's vector, not tiles")
    # Its files lie under `<extractor>-<hash of its code>`.
    folders = [re.fullmatch(r"(.+)-[0-9a-f]{8}", folder.name) for folder in path.parents[:3]]
    encoder = named(file.attrs.get("extractor"), *(match[1] for match in folders if match))
    return _bag(file, path, layout="STAMP", key="feats", coords="coords", encoder=encoder)


def _with_features(file: Any, path: Path) -> FoundBag | NoBag:
    features, coords = file["features"], file.get("coords")
    holders = [features.attrs, *([] if coords is None else [coords.attrs]), file.attrs]
    if coords is not None and "patch_size_level0" in coords.attrs:
        layout = "TRIDENT"
    elif features.ndim == 3:
        layout = "UNI2-h archive"
    else:
        layout = "CLAM"
    if features.ndim == 1:
        return NoBag(layout, "a slide's vector, not tiles")
    encoder = named(*(holder.get(name) for name in ("encoder", "extractor") for holder in holders))
    return _bag(file, path, layout=layout, key="features", coords="coords", encoder=encoder)


def _of_positions(coords: Any) -> str:
    attributes = getattr(coords, "attrs", {})
    return "TRIDENT" if "patch_size_level0" in attributes else "CLAM" if "patch_level" in attributes else "positions"


def _choose(encoders: list[str], path: Path, asked: Asked) -> str:
    if asked.encoder in encoders:
        return asked.encoder
    if len(encoders) == 1:
        return encoders[0]
    raise DataError(f"{path} has features of {', '.join(sorted(encoders)) or 'no encoder'}; name one with --encoder")


def _bag(file: Any, path: Path, *, layout: str, key: str, coords: str, encoder: str | None = None) -> FoundBag:
    if file[key].attrs.get("writing", False):  # WSI-toolbox makes room for all rows first
        raise DataError(f"{path}: {key} was still being written when its tool stopped; extract it again")
    shape = file[key].shape[-2:]
    if len(shape) != 2:
        raise DataError(f"{path}: features of shape {file[key].shape} are no bag of tiles")
    read = partial(_read, path, layout, key, coords)
    return FoundBag(
        path.stem,
        layout,
        int(shape[0]),
        int(shape[1]),
        encoder or encoder_of_folder(path),
        coords in file,
        read,
        stated_magnification([file, *([file[coords]] if coords in file else [])]),
    )


def _read(path: Path, layout: str, key: str, coords_key: str) -> Content:
    with h5py.File(path, "r") as opened:
        file: Any = opened  # what h5py's stubs say of an item fits none of them
        features = as_bag(file[key][()], path)
        found = file.get(coords_key)
        attributes = {**file.attrs, **(found.attrs if found is not None else {})}
        positions = None if found is None else as_positions(found[()], len(features), path)
    if layout == "STAMP":
        return _describe_stamp(features, positions, attributes)
    if layout == "WSI-toolbox":
        return _describe_wsi_toolbox(features, positions, attributes)
    return _describe(path, features, positions, attributes)


def _describe_stamp(features: NDArray[Any], coords: NDArray[Any] | None, attributes: dict[str, Any]) -> Content:
    version = named(attributes.get("stamp_version"))
    tile_um, tile_px = _number(attributes, "tile_size_um", "tile_size"), _number(attributes, "tile_size_px")
    unit: CoordsUnit = "um" if named(attributes.get("unit")) == "um" else "unknown"
    notes: tuple[str, ...] = ()
    if unit == "unknown" and not attributes and coords is not None and _on_grid(coords, STAMP_V1_STRIDE):
        coords, unit, tile_um, tile_px = coords / STAMP_V1_STRIDE * 256.0, "um", 256.0, 224.0
        notes = ("positions are multiples of 224 without a unit, as STAMP 1 wrote them: read as tiles of 256 um",)
    elif unit == "unknown":
        tile_um = None
    mpp = tile_um / tile_px if tile_um and tile_px else None
    facts = BagFacts(
        encoder_revision=named(attributes.get("code_hash")),
        mpp=mpp,
        tile_px=None if tile_px is None else round(tile_px),
        source=f"STAMP {version}" if version else "STAMP",
    )
    return Content(features, coords, unit, facts, tile_um, notes=notes)


def _describe(path: Path, features: NDArray[Any], coords: NDArray[Any] | None, attributes: dict[str, Any]) -> Content:
    level0 = _number(attributes, "patch_size_level0")
    unit: CoordsUnit = "um" if named(attributes.get("unit")) == "um" else "unknown" if level0 is None else "level0_px"
    tile_px, overlap = _number(attributes, "patch_size"), _number(attributes, "overlap")
    notes: list[str] = []
    if unit == "unknown" and coords is not None:
        patches = _clam_patches(path)
        if patches is not None and np.array_equal(coords, patches.coords):
            unit, level0, tile_px = "level0_px", patches.tile_level0_px, patches.tile_px
            notes.append("unit and tile side from CLAM's patches file, which has the same positions")
        elif patches is not None:
            notes.append("CLAM's patches file has other positions, and was not used")
    facts = BagFacts(
        tile_px=None if tile_px is None else round(tile_px),
        overlap_px=None if overlap is None else round(overlap),
        tile_level0_px=level0,
    )
    return Content(features, coords, unit, facts, notes=tuple(notes))


def _describe_wsi_toolbox(features: NDArray[Any], coords: NDArray[Any] | None, attributes: dict[str, Any]) -> Content:
    """Its positions are in pixels `scale` times coarser than level 0; of a slide that it turned they are turned too,
    which no attribute says, so that their unit stays unknown."""
    tile_px, scale = _number(attributes, "patch_size"), _number(attributes, "scale")
    facts = BagFacts(
        mpp=_number(attributes, "mpp"),
        tile_px=None if tile_px is None else round(tile_px),
        tile_level0_px=None if tile_px is None or scale is None else tile_px * scale,
        slide_mpp=_number(attributes, "original_mpp"),
    )
    note = () if scale is None else (f"positions are in px {scale:g} times as wide as those of level 0",)
    return Content(features, coords, "unknown", facts, notes=note)


class _Patches(NamedTuple):
    coords: NDArray[Any]
    tile_px: float
    tile_level0_px: float


def _clam_patches(path: Path) -> _Patches | None:
    """CLAM's file of positions for the same slide, which says what its feature file does not."""
    for folder in path.parents[:3]:
        patches = folder / "patches" / path.name
        if not patches.is_file():
            continue
        with h5py.File(patches, "r") as opened:
            file: Any = opened
            coords = file.get("coords")
            if coords is not None and {"downsample", "patch_size"} <= coords.attrs.keys():
                side = float(coords.attrs["patch_size"])
                return _Patches(coords[()], side, side * float(np.ravel(coords.attrs["downsample"])[0]))
    return None


def _on_grid(coords: NDArray[Any], step: float) -> bool:
    return smallest_step(coords) == step and not np.any(coords % step)


def _number(attributes: dict[str, Any], *names: str) -> float | None:
    for name in names:
        value = attributes.get(name)
        if value is not None and re.fullmatch(r"[0-9.eE+-]+", str(value)):
            return float(value)
    return None
