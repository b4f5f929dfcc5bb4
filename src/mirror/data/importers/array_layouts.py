"""Feature files that are one array: `.pt`, `.npy`, `.npz`, with what slideflow, slide2vec and Owkin's tools lay beside.

Nothing is unpickled. Legend: T tiles, D feature width.
"""

from __future__ import annotations

import json
import re
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.data.feature_file import BagFacts, CoordsUnit
from mirror.data.feature_store import open_tensor
from mirror.data.importers.found import Asked, Content, FoundBag, NoBag, as_bag, as_positions, encoder_of_folder, named
from mirror.errors import DataError, first_line

_INDEX = (".index.npz", ".index.npy")
_DEEPEST_ZOOM = 30
"""Levels of a deepzoom pyramid: side 2^30, more than any slide has."""


def recognise_array(path: Path, asked: Asked) -> FoundBag | NoBag:
    """Say what a `.pt`, `.npy` or `.npz` file is. Raises `DataError` where it holds no bag of floats."""
    del asked
    if path.name.endswith((*_INDEX, ".coordinates.npz")):
        return NoBag("slideflow" if path.name.endswith(_INDEX) else "slide2vec", "positions, used beside the features")
    kind = _json(path.with_name(f"{path.stem}.meta.json")).get("artifact_type", "tile_embeddings")
    if kind != "tile_embeddings" or any(folder.name == "slide_latents" for folder in path.parents[:2]):
        return NoBag("slide2vec", f"{kind if kind != 'tile_embeddings' else 'slide_latents'}, not tiles")
    features = _open(path)
    if features.ndim == 1:
        return NoBag("vector", "one vector, not tiles")
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]
    if features.ndim != 2:
        raise DataError(f"{path}: features of shape {tuple(features.shape)} are no bag of tiles")
    if isinstance(features, np.ndarray):
        as_bag(features, path)  # whole numbers are positions or labels, and must not count as a second width
    tiles, width = map(int, features.shape)
    encoder = encoder_of_folder(path)
    meta, index = _beside(path, ".meta.json"), next(filter(None, (_beside(path, name) for name in _INDEX)), None)
    if path.suffix == ".npy" and _is_owkin(features):
        about = _json(path.with_name("metadata.json"))
        slide = path.parent.name.removesuffix(".svs") if path.stem == "features" else path.stem
        encoder = named(about.get("features_extractor"), encoder)
        return FoundBag(slide, "Owkin npy", tiles, width - 3, encoder, True, partial(_read_owkin, path, about))
    if index is not None:
        about = _json(path.with_name("bags_config.json"))
        extractor = about.get("extractor")
        name = named(extractor.get("class")) if isinstance(extractor, dict) else None
        encoder = name.rsplit(".", 1)[-1] if name else encoder
        return FoundBag(
            path.stem, "slideflow", tiles, width, encoder, True, partial(_read_slideflow, path, index, about)
        )
    if meta is not None:
        about = _json(meta)
        encoder = named(about.get("encoder_name"), encoder)
        coords = _slide2vec_positions(path)
        read = partial(_read_slide2vec, path, coords, about)
        return FoundBag(path.stem, "slide2vec", tiles, width, encoder, coords is not None, read)
    tangle = re.fullmatch(r"(.+)_features", path.parent.name)
    if tangle and path.suffix == ".pt" and (path.parent.parent / "rna").is_dir():
        return FoundBag(path.stem, "TANGLE", tiles, width, encoder or tangle[1], False, partial(_read_bare, path))
    layout = "eva" if path.suffix == ".pt" and _of_eva(path) else f"bare {path.suffix}"
    return FoundBag(path.stem, layout, tiles, width, encoder, False, partial(_read_bare, path))


def _open(path: Path) -> NDArray[Any] | torch.Tensor:
    """The array, mapped where the format allows it."""
    if path.suffix == ".pt":
        return _stacked(path) if _of_eva(path) else open_tensor(path)
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    bags = [name for name, array in arrays.items() if array.ndim in (2, 3) and array.dtype.kind == "f"]
    key = "features" if "features" in bags else bags[0] if len(bags) == 1 else None
    if key is None:
        raise DataError(
            f"{path} has {', '.join(arrays) or 'nothing'}: none or several may be the features (tiles, width)"
        )
    return arrays[key]


def _read_array(path: Path) -> NDArray[Any]:
    array = _open(path)
    # numpy has no bfloat16.
    return as_bag(array.float().numpy() if isinstance(array, torch.Tensor) else np.asarray(array), path)


def _read_bare(path: Path) -> Content:
    return Content(_read_array(path), None, "unknown", BagFacts())


def _read_slideflow(path: Path, index: Path, about: dict[str, Any]) -> Content:
    features = _read_array(path)
    opened = np.load(index, allow_pickle=False)
    coords = as_positions(opened if isinstance(opened, np.ndarray) else opened["arr_0"], len(features), index)
    tile_px, tile_um = _number(about.get("tile_px")), _number(about.get("tile_um"))
    facts = BagFacts(
        mpp=tile_um / tile_px if tile_um and tile_px else None, tile_px=None if tile_px is None else round(tile_px)
    )
    return Content(features, coords, "unknown", facts, tile_um, centres=True)


def _slide2vec_positions(path: Path) -> Path | None:
    for folder in (path.parent, *path.parents[1:3]):
        coords = folder / "tiles" / f"{path.stem}.coordinates.npz"
        if coords.is_file():
            return coords
    return None


def _read_slide2vec(path: Path, positions: Path | None, about: dict[str, Any]) -> Content:
    features = _read_array(path)
    coords: NDArray[Any] | None = None
    unit: CoordsUnit = "unknown"
    notes: tuple[str, ...] = ()
    if positions is not None:
        with np.load(positions, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        for x, y in (("x_lv0", "y_lv0"), ("x", "y")):
            if x in arrays and y in arrays:
                arrays["coordinates"] = np.stack([arrays[x], arrays[y]], axis=1)
                break
        if "coordinates" in arrays:
            coords = as_positions(arrays["coordinates"], len(features), positions)
            # Its tiler gives positions and `tile_size_lv0` in the same pixels.
            unit = "level0_px" if "tile_size_lv0" in about else "unknown"
        else:
            notes = (f"{positions.name} has {', '.join(arrays)}: no positions that are known",)
    tile_px = _number(about.get("requested_tile_size_px"))
    facts = BagFacts(
        mpp=_number(about.get("requested_spacing_um")),
        tile_px=None if tile_px is None else round(tile_px),
        tile_level0_px=_number(about.get("tile_size_lv0")),
    )
    return Content(features, coords, unit, facts, notes=notes)


def _is_owkin(array: NDArray[Any] | torch.Tensor) -> bool:
    """Three whole numbers before the features: one deepzoom level, and addresses that differ from tile to tile."""
    if isinstance(array, torch.Tensor) or array.shape[1] < 4 or not len(array):
        return False
    address = np.asarray(array[:, :3], dtype=np.float64)
    whole = bool(np.isfinite(address).all() and (address >= 0).all() and (address == np.floor(address)).all())
    if not whole or np.ptp(address[:, 0]) or address[0, 0] > _DEEPEST_ZOOM:
        return False
    rest = np.asarray(array[:64, 3:], dtype=np.float64)
    return len(np.unique(address[:, 1:], axis=0)) == len(array) and not (rest == np.floor(rest)).all()


def _read_owkin(path: Path, about: dict[str, Any]) -> Content:
    array = _read_array(path)
    features, addresses = array[:, 3:], array[:, 1:3].astype(np.float64)
    side, size, level = _number(about.get("absolute_tile_size")), about.get("slide_size"), _number(about.get("level"))
    known = side is not None and isinstance(size, list) and len(size) == 2 and level == float(array[0, 0])
    tile_px = _number(about.get("tile_size"))
    if known and side is not None and bool((addresses * side < np.asarray(size, dtype=np.float64)).all()):
        facts = BagFacts(
            mpp=_number(about.get("tile_mpp")), tile_px=None if tile_px is None else round(tile_px), tile_level0_px=side
        )
        return Content(features, addresses * side, "level0_px", facts)
    note = f"positions are deepzoom addresses at level {array[0, 0]:.0f}; without metadata.json their size is not known"
    return Content(features, addresses, "unknown", BagFacts(), addresses=True, notes=(note,))


def _of_eva(path: Path) -> bool:
    """Whether eva's manifest lies beside the file, or in one of the folders above that its names come with."""
    for folder in path.parents[:3]:
        if (folder / "manifest.csv").is_file():
            with (folder / "manifest.csv").open(encoding="utf-8", errors="replace") as file:
                return {"origin", "embeddings"} <= set(file.readline().strip().split(","))
    return False


def _stacked(path: Path) -> torch.Tensor:
    """The tiles of a file of eva, which writes them as a list of vectors."""
    content = torch.load(path, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(path))
    if isinstance(content, list) and content and all(isinstance(one, torch.Tensor) for one in content):
        return torch.cat([one.reshape(-1, one.shape[-1]) for one in content])
    return open_tensor(path)


def _beside(path: Path, ending: str) -> Path | None:
    beside = path.with_name(path.stem + ending)
    return beside if beside.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or no JSON ({first_line(error)}); copy it again") from error
    return content if isinstance(content, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
