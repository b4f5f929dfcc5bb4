"""Bags of tile features: one file a slide, of which just the rows that are asked for are read.

Legend: T tiles, D feature width.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.artefacts import hash_bytes
from mirror.data.hdf5 import UNTOLD, OpenedFeatures, TileScale, gather, open_features, read_coords
from mirror.data.mapped import MappedRows
from mirror.errors import DataError, first_line, raise_together
from mirror.ids import SlideId

ENDINGS = (".pt", ".h5")
_BLOCK_BYTES = 8 << 20  # what `inspect_bag` holds in memory at a time


def find_bags(folder: Path, *, given_as: str = "`features.path`") -> dict[SlideId, Path]:
    """Every `.pt` and `.h5` file of `folder`, by slide (the file name without its ending), in order of slide.

    `given_as`: the key or option that named the folder, as errors call it. Raises `DataError` when the folder is
    missing or has no such file, or has a slide in both formats.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder of tile features {folder}; correct {given_as}")
    bags: dict[SlideId, Path] = {}
    twice: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.stem, path.suffix)):
        if path.suffix not in ENDINGS or path.name.startswith("."):
            continue
        slide = SlideId(path.stem)
        if slide in bags:
            twice.append(f"{bags[slide]} and {path}")
        bags[slide] = path
    raise_together(DataError, "a slide has two feature files; remove one of each pair:", twice)
    if not bags:
        raise DataError(f"{folder} has no {' or '.join(ENDINGS)} file; {given_as} wants one file a slide")
    return bags


class Bag:
    """The tile features of one slide, opened but not read.

    Attributes: `path`; `tiles` T; `width` D; `encoder`, the tile encoder's name, `revision`, which of its weights, and
    `scale`, how it saw the tiles, None where the file does not say; `block`, how many neighbouring rows are best
    read together: 1 unless the rows are stored in a random order. Raises `DataError` when the file is unreadable,
    is empty, or holds no (T, D) or (1, T, D) features.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        opened = open_features(path) if path.suffix == ".h5" else OpenedFeatures(open_tensor(path))
        self._source, self.encoder, self.revision, self.scale = opened
        shape = tuple(self._source.shape)
        if len(shape) == 3 and shape[0] == 1:
            shape = shape[1:]
            # h5py has no views: a chunked (1, T, D) dataset keeps its leading axis until it is read.
            if isinstance(self._source, np.ndarray | torch.Tensor):
                self._source = self._source[0]
        if len(shape) != 2 or shape[1] == 0:
            raise DataError(f"{path} has features of shape {shape}; expected (tiles, width) or (1, tiles, width)")
        if shape[0] == 0:
            raise DataError(f"{path} is an empty bag (0 tiles); extract its features again or leave the slide out")
        self.tiles, self.width = int(shape[0]), int(shape[1])
        self.block = self._source.block if isinstance(self._source, MappedRows) else 1

    def read(self, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Features (n, D) of the `rows` asked for, in that order, repeats and all; of all tiles when None."""
        if rows is None:
            rows = np.arange(self.tiles)
        # A clipped or wrapped index would be another tile's features.
        if len(rows) and (rows.min() < 0 or rows.max() >= self.tiles):
            raise IndexError(f"{self.path} has {self.tiles} tiles; row {int(rows.max())} was asked for")
        match self._source:
            case MappedRows():
                return _as_float32(self._source.take(rows))
            case np.ndarray():
                return _as_float32(self._source[rows])
            case torch.Tensor():
                return self._source[torch.from_numpy(rows)].float().numpy()
            case _:
                return _as_float32(gather(self._source, rows))

    def coords(self) -> NDArray[Any] | None:
        """Positions (T, 2) of the tiles as the file has them, or None where it has none."""
        return read_coords(self.path, self.tiles) if self.path.suffix == ".h5" else None


class FeatureStore:
    """The bags of many slides, the last `keep_open` of them kept open.

    It can be sent to the worker processes of a loader, each of which opens the files it needs for itself.
    """

    def __init__(self, paths: Mapping[str, Path], *, keep_open: int = 64) -> None:
        self._paths = {SlideId(slide): Path(path) for slide, path in paths.items()}
        self._keep_open = keep_open
        self._open: OrderedDict[SlideId, Bag] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._paths)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict[SlideId, Bag]()}

    def bag(self, slide: str) -> Bag:
        """The opened bag of `slide`. Raises `DataError` when the store has none or the file is bad."""
        # An HDF5 handle that crossed a fork shares state with the parent's: open anew.
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        name = SlideId(slide)
        if name not in self._paths:
            raise DataError(f"slide '{slide}' has no feature file in this cohort; build the cohort again")
        bag = self._open.pop(name, None) or Bag(self._paths[name])
        self._open[name] = bag
        if len(self._open) > self._keep_open:
            self._open.popitem(last=False)
        return bag


@dataclass(frozen=True, slots=True)
class BagSummary:
    """What is in a feature file. `bad_rows` counts tiles with a NaN or infinite value, `first_bad_row` is from 0."""

    tiles: int
    width: int
    feature_hash: str
    bad_rows: int
    first_bad_row: int | None
    encoder: str | None
    revision: str | None = None
    scale: TileScale = UNTOLD


def inspect_bag(path: Path) -> BagSummary:
    """Read a whole bag, a few megabytes at a time. Raises `DataError` as `Bag` does; bad rows are only counted.

    The hash is of the values as float32, so the same features in `.pt` and `.h5`, chunked or not, have the same one.
    """
    bag = Bag(path)
    step = max(1, _BLOCK_BYTES // (4 * bag.width))
    bad: list[int] = []

    def blocks() -> Iterable[bytes | memoryview]:
        yield f"{bag.width}:".encode()
        for start in range(0, bag.tiles, step):
            rows_TD = bag.read(np.arange(start, min(start + step, bag.tiles)))
            bad.extend(start + np.flatnonzero(~np.isfinite(rows_TD).all(axis=1)))
            yield rows_TD.data

    digest = hash_bytes(blocks())
    first = int(bad[0]) if bad else None
    return BagSummary(bag.tiles, bag.width, digest, len(bad), first, bag.encoder, bag.revision, bag.scale)


def open_tensor(path: Path) -> torch.Tensor:
    """The one tensor of floats in a `.pt` file, mapped. Executes nothing; raises `DataError` for anything else."""
    try:
        # The format of before torch 1.6 is no zip archive and cannot be mapped.
        content = torch.load(path, mmap=zipfile.is_zipfile(path), weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise DataError(f"{path} is gone; build the cohort again") from None
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is no tensor file, or holds objects that could execute code when loaded, and was not loaded; "
            "save the plain tensor again with torch.save"
        ) from error
    except Exception as error:  # damaged bytes make torch's own unpickler fail in any way at all
        raise DataError(f"{path} is unreadable or truncated ({first_line(error)}); copy or extract it again") from error
    if not isinstance(content, torch.Tensor) or not content.is_floating_point():
        what = sorted(map(str, content))[:10] if isinstance(content, dict) else ""
        kind = content.dtype if isinstance(content, torch.Tensor) else type(content).__name__
        raise DataError(f"{path} holds {kind} {what}; expected one tensor of floats (tiles, width)")
    return content


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    # torch widens float16 ten times faster than numpy, but knows neither foreign byte orders nor long doubles.
    if values.dtype == np.float16 and values.dtype.isnative:
        return torch.from_numpy(values).float().numpy()
    return values.astype(np.float32, copy=False)
