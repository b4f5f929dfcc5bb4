"""Tiles of the cohort that look alike. Legend: T tiles, D feature width, K nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.feature_store import Bag, FeatureStore
from mirror.viewer.contents import Unknown

_BLOCK_BYTES = 16 << 20
"""Features that are in memory at a time while tiles are compared."""


class Alike(NamedTuple):
    """A tile and the cosine of its features with those that were asked about."""

    slide: str
    tile: int
    cosine: float


class Step(NamedTuple):
    """How far a search is: slides done, slides in all, and the nearest so far, best first."""

    done: int
    of: int
    nearest: list[Alike]


def similar(store: FeatureStore, slide: str, tile: int) -> NDArray[np.float32]:
    """The cosine (T,) of every tile of a slide with one of them. Raises `Unknown` where it has no such tile."""
    bag, wanted = store.bag(slide), _direction(store, slide, tile)
    return np.concatenate([_cosines(rows, wanted) for _, rows in _blocks(bag)])


def nearest(
    store: FeatureStore, owners: Mapping[str, str], slide: str, tile: int, *, count: int, others: bool
) -> Iterator[Step]:
    """The `count` tiles of the cohort nearest to one, by cosine; a step a slide, the last one with the result.

    `others`: of other patients alone. Never more than a block of features is in memory, whatever the cohort's size.
    Raises `Unknown` where the slide has no such tile, `DataError` where a file cannot be read.
    """
    wanted = _direction(store, slide, tile)
    asked = [name for name in owners if not others or owners[name] != owners[slide]]
    best: list[Alike] = []
    for done, name in enumerate(asked):
        yield Step(done, len(asked), best)
        for start, rows in _blocks(store.bag(name)):
            cosines = _cosines(rows, wanted)
            if name == slide and start <= tile < start + len(rows):
                cosines[tile - start] = -np.inf  # a tile is no neighbour of its own
            top = np.argpartition(-cosines, min(count, len(cosines)) - 1)[:count]
            best += [Alike(name, int(start + row), float(cosines[row])) for row in top if np.isfinite(cosines[row])]
            best = sorted(best, key=lambda one: (-one.cosine, one.slide, one.tile))[:count]
    yield Step(len(asked), len(asked), best)


def open_store(paths: Mapping[str, Path]) -> FeatureStore:
    """The feature files of the cohort."""
    return FeatureStore(paths, keep_open=16)


def _direction(store: FeatureStore, slide: str, tile: int) -> NDArray[np.float32]:
    bag = store.bag(slide)
    if not 0 <= tile < bag.tiles:
        raise Unknown(f"slide '{slide}' has the tiles 0 to {bag.tiles - 1}, no tile {tile}")
    row = bag.read(np.array([tile], dtype=np.intp))[0]
    return row / max(float(np.linalg.norm(row)), 1e-12)


def _blocks(bag: Bag) -> Iterator[tuple[int, NDArray[np.float32]]]:
    step = max(1, _BLOCK_BYTES // (4 * bag.width))
    for start in range(0, bag.tiles, step):
        yield start, bag.read(np.arange(start, min(start + step, bag.tiles)))


def _cosines(rows: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: Any = np.linalg.norm(rows, axis=1)
    return (rows @ wanted / np.maximum(norms, 1e-12)).astype(np.float32)
