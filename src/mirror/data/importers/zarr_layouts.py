"""Feature stores in Zarr: LazySlide / wsidata (SpatialData) and tiatoolbox.

Zarr arrays may name a codec that unpickles what it reads; such a store is refused before any of it is read. Legend: T
tiles, D feature width.
"""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from mirror.data.feature_file import BagFacts
from mirror.data.importers.found import Asked, Content, FoundBag, NoBag, as_bag, as_positions, named
from mirror.errors import DataError

_METADATA = ("zarr.json", ".zarray", ".zmetadata", ".zgroup")
_WKB_POLYGON = 3


def recognise_zarr(path: Path, asked: Asked) -> FoundBag | NoBag:
    """Say what a folder ending in `.zarr` is. Raises `DataError` where it is not known, or holds several encoders."""
    refuse_pickles(path)
    slide = path.name.removesuffix(".zarr")
    if (path / "shapes").is_dir():
        return _wsidata(path, slide, asked)
    group: Any = zarr.open_group(path, mode="r")
    # From its version 2.1 on the features are called what they are.
    key = next((name for name in ("probabilities", "features") if name in group), None)
    if key is not None and "coordinates" in group:
        tiles, width = group[key].shape[-2:]
        read = partial(_read_tiatoolbox, path, key)
        return FoundBag(slide, "tiatoolbox", int(tiles), int(width), None, True, read)
    raise DataError(f"{path} has {', '.join(sorted(group)) or 'nothing'}: no layout of tile features that is known")


def refuse_pickles(path: Path) -> None:
    """Raises `DataError` when an array of the store would be unpickled, which may execute anything."""
    for name in _METADATA:
        for file in path.rglob(name):
            if b"pickle" in file.read_bytes().lower():
                raise DataError(f"{file} asks to unpickle its array, which could execute code; nothing of it was read")


def _wsidata(path: Path, slide: str, asked: Asked) -> FoundBag | NoBag:
    tables = sorted(table.name for table in (path / "tables").glob("*") if table.is_dir())
    if not tables:
        return NoBag("LazySlide", "tissue and tiles without features")
    group: Any = zarr.open_group(path, mode="r")
    stored: list[tuple[str, str, str]] = []
    for table in tables:
        region = named(dict(group[f"tables/{table}/uns/spatialdata_attrs"].attrs).get("region")) or _region(
            group, table
        )
        stored.append((table.removesuffix(f"_{region}"), table, region))
    # One encoder may stand there twice, of two sets of tiles (`tile_key`): then its table is named in full.
    meant = [one for one in stored if asked.encoder in one[:2]] or stored
    if len(meant) > 1:
        encoders = {encoder for encoder, _, _ in meant}
        names = [encoder if len(encoders) == len(meant) else table for encoder, table, _ in meant]
        raise DataError(f"{path} has features of {', '.join(names)}; name one with --encoder")
    chosen, table, region = meant[0]
    tiles, width = group[f"tables/{table}/X"].shape
    return FoundBag(
        slide, "LazySlide", int(tiles), int(width), chosen, True, partial(_read_wsidata, path, table, region)
    )


def _region(group: Any, table: str) -> str:
    return str(np.asarray(group[f"tables/{table}/uns/spatialdata_attrs/region"][...]).item())


def _read_wsidata(path: Path, table: str, region: str) -> Content:
    read = anndata.read_zarr(path / "tables" / table)
    values: Any = read.X
    features = as_bag(values if isinstance(values, np.ndarray) else np.asarray(values.todense()), path)
    shapes = pq.read_table(path / "shapes" / region / "shapes.parquet", columns=["tile_id", "geometry"])
    place = {tile: row for row, tile in enumerate(shapes.column("tile_id").to_pylist())}
    wanted = read.obs["tile_id"].tolist()
    absent = [tile for tile in wanted if tile not in place]
    if absent or len(place) != shapes.num_rows:
        raise DataError(f"{path}: {len(absent)} tiles of {table} are not in shapes/{region}, or stand there twice")
    geometry = shapes.column("geometry").to_pylist()
    boxes = np.array([_bounds(geometry[place[tile]], path) for tile in wanted], dtype=np.float64).reshape(-1, 4)
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    spec, slide = (
        _mapping(_mapping(attributes.get("tile_spec")).get(region)),
        _mapping(attributes.get("slide_properties")),
    )
    height, stride = spec.get("height"), spec.get("stride_height")
    sides = boxes[:, 2:] - boxes[:, :2]
    facts = BagFacts(
        mpp=spec.get("mpp"),
        tile_px=None if height is None else int(height),
        overlap_px=None if height is None or stride is None else max(0, int(height) - int(stride)),
        tile_level0_px=float(np.median(sides)) if len(sides) else None,
        slide_mpp=slide.get("mpp"),
    )
    return Content(features, boxes[:, :2], "level0_px", facts)


def _bounds(polygon: bytes, path: Path) -> tuple[float, float, float, float]:
    """Least x and y, largest x and y, of a polygon in well-known binary; its first vertex may be any corner."""
    order = "<" if polygon[:1] == b"\x01" else ">"
    kind, rings = struct.unpack_from(f"{order}II", polygon, 1)
    if kind != _WKB_POLYGON or rings < 1:
        raise DataError(f"{path}: a tile is no polygon (kind {kind})")
    (points,) = struct.unpack_from(f"{order}I", polygon, 9)
    corners = np.frombuffer(polygon, f"{order}f8", 2 * points, 13).reshape(points, 2)
    return *corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_tiatoolbox(path: Path, key: str) -> Content:
    group: Any = zarr.open_group(path, mode="r")
    features = as_bag(np.asarray(group[key][...]), path)
    corners: NDArray[Any] = np.asarray(group["coordinates"][...])
    coords = as_positions(corners, len(features), path)
    return Content(features, coords, "unknown", BagFacts())
