"""Tiles of the cohort that look alike: a high cosine of their features, less the cohort's mean tile and each feature by
its deviation. As they come, features of all tiles point nearly the same way, and every cosine is nearly one.

Legend: T tiles, D feature width, K nearest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.feature_store import Bag, FeatureStore
from mirror.viewer.contents import Unknown

_BLOCK_BYTES = 16 << 20
"""Features that are in memory at a time while tiles are compared."""
HELD_BYTES = 256 << 20
"""Features that stay in memory from one search to the next; slides that come when it is full are read anew."""
REMEMBERED = 512
"""Searches whose result is kept."""
SLIDES, TILES = 256, 64
"""Most slides, and most tiles of each, that the cohort's mean tile is taken over: evenly spaced, so always the same."""


class Alike(NamedTuple):
    """A tile and the cosine of its features with those that were asked about, both about the cohort's mean tile."""

    slide: str
    tile: int
    cosine: float


class Step(NamedTuple):
    """How far a search is: slides done, slides in all, and the nearest so far, best first."""

    done: int
    of: int
    nearest: list[Alike]


class Scale(NamedTuple):
    """The cohort's mean tile (D,), and one over the deviation of each feature (D,), 0 of those that never differ."""

    mean: NDArray[np.float32]
    per_deviation: NDArray[np.float32]


class Tiles:
    """The tiles of a cohort, and the searches among them. `owners` slide -> patient.

    A search that was finished is remembered, and so are as many tiles as `held_bytes` takes, as directions: a second
    search reads only what has no place there. May be used by several threads.
    """

    def __init__(self, store: FeatureStore, owners: Mapping[str, str], *, held_bytes: int = HELD_BYTES) -> None:
        self._store, self._owners = store, owners
        self._left = held_bytes
        self._held: dict[str, NDArray[np.float32]] = {}
        self._found: OrderedDict[tuple[str, int, int, bool], Step] = OrderedDict()
        self._lock = threading.Lock()

    def bag(self, slide: str) -> Bag:
        """The feature file of a slide."""
        return self._store.bag(slide)

    @cached_property
    def scale(self) -> Scale:
        """What directions are taken about, of at most `SLIDES` slides and `TILES` tiles of each."""
        names = list(self._owners)
        bags = [self.bag(names[at]) for at in _spread(len(names), SLIDES)]
        rows = np.concatenate([bag.read(_spread(bag.tiles, TILES)) for bag in bags]).astype(np.float64)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        usable = deviation > 1e-6 * np.abs(rows).max(initial=0.0)
        per_deviation = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=usable)
        return Scale(mean.astype(np.float32), per_deviation.astype(np.float32))

    def similar(self, slide: str, tile: int) -> NDArray[np.float32]:
        """The cosine (T,) of every tile of a slide with one of them. Raises `Unknown` where it has no such tile."""
        wanted = self._direction(slide, tile)
        return np.concatenate([rows @ wanted for _, rows in self._directions(slide)])

    def nearest(self, slide: str, tile: int, *, count: int, others: bool) -> Iterator[Step]:
        """The `count` tiles of the cohort nearest to one, by cosine; a step a slide, the last one with the result.

        `others`: of other patients alone. What was asked before is answered in one step. Beside what is held, never
        more than a block of features is in memory, whatever the cohort's size. Raises `Unknown` where the slide has no
        such tile, `DataError` where a file cannot be read.
        """
        asked = (slide, tile, count, others)
        with self._lock:
            known = self._found.get(asked)
        if known is not None:
            yield known
            return
        last: Step | None = None
        for last in self._search(slide, tile, count=count, others=others):
            yield last
        assert last is not None
        with self._lock:
            self._found[asked] = last
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)

    def _search(self, slide: str, tile: int, *, count: int, others: bool) -> Iterator[Step]:
        wanted, owner = self._direction(slide, tile), self._owners[slide]
        asked = [name for name in self._owners if not others or self._owners[name] != owner]
        best: list[Alike] = []
        for done, name in enumerate(asked):
            yield Step(done, len(asked), best)
            for start, rows in self._directions(name):
                cosines = rows @ wanted
                if name == slide and start <= tile < start + len(rows):
                    cosines[tile - start] = -np.inf  # a tile is no neighbour of its own
                top = np.argpartition(-cosines, min(count, len(cosines)) - 1)[:count]
                best += [Alike(name, int(start + row), float(cosines[row])) for row in top if np.isfinite(cosines[row])]
                best = sorted(best, key=lambda one: (-one.cosine, one.slide, one.tile))[:count]
        yield Step(len(asked), len(asked), best)

    def _direction(self, slide: str, tile: int) -> NDArray[np.float32]:
        bag = self.bag(slide)
        if not 0 <= tile < bag.tiles:
            raise Unknown(f"slide '{slide}' has the tiles 0 to {bag.tiles - 1}, no tile {tile}")
        return self._unit(bag.read(np.array([tile], dtype=np.intp)))[0]

    def _directions(self, slide: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Blocks of a slide's tiles, each of length one, and the first row of each."""
        held = self._held.get(slide)
        if held is not None:
            yield 0, held
            return
        bag = self.bag(slide)
        fits = 4 * bag.tiles * bag.width <= self._left
        keep = np.empty((bag.tiles, bag.width), dtype=np.float32) if fits else None
        step = max(1, _BLOCK_BYTES // (4 * bag.width))
        for start in range(0, bag.tiles, step):
            rows = self._unit(bag.read(np.arange(start, min(start + step, bag.tiles))))
            if keep is not None:
                keep[start : start + len(rows)] = rows
            yield start, rows
        if keep is not None:
            self._keep(slide, keep)

    def _unit(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        away = (rows.astype(np.float32) - self.scale.mean) * self.scale.per_deviation
        norms: Any = np.linalg.norm(away, axis=1, keepdims=True)
        return (away / np.maximum(norms, 1e-12)).astype(np.float32)

    def _keep(self, slide: str, rows: NDArray[np.float32]) -> None:
        with self._lock:
            # Another search may have been as quick, or have taken the place.
            if slide not in self._held and rows.nbytes <= self._left:
                self._left -= rows.nbytes
                self._held[slide] = rows


def open_store(paths: Mapping[str, Path]) -> FeatureStore:
    """The feature files of the cohort."""
    return FeatureStore(paths, keep_open=16)


def _spread(of: int, most: int) -> NDArray[np.intp]:
    """`most` of the first `of` whole numbers, evenly spaced; all where there are no more."""
    return np.unique(np.linspace(0, of - 1, min(of, most)).round().astype(np.intp))
