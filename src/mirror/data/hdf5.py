"""HDF5 files: features read without loading them, files written in one piece. The one place that knows h5py.

Legend: T tiles, D feature width.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mirror.artefacts import SCHEMA, write_aside
from mirror.data.mapped import MappedRows
from mirror.errors import DataError, first_line

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def hdf5_aside(path: Path) -> Generator[h5py.File]:
    """Yield an HDF5 file in memory, which takes its place at `path` when the block ends well.

    HDF5 that meets a full disk cannot close its file any more, and the process dies of it at its end; one plain write
    fails cleanly. Raises `MirrorError` naming the file then, as `write_aside` does.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    with write_aside(path) as aside:
        aside.write_bytes(image.getbuffer())


class TileScale(NamedTuple):
    """How an encoder saw the tiles: `mpp` um/px, `tile_px` their side in px; None where a file does not say it.

    `magnification` is the nominal one (20 for 20x) that a tool names: no `mpp` follows from it, nor it from `mpp`.
    """

    mpp: float | None = None
    tile_px: int | None = None
    magnification: float | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> TileScale:
        """The scale as it was kept under these names; what is not among them is not known."""
        return cls(*((kept or {}).get(name) for name in cls._fields))


UNTOLD = TileScale()


class OpenedFeatures(NamedTuple):
    """Features (T, D) or (1, T, D) not read yet; tile encoder, its revision and the tiles' scale where they are
    told."""

    features: NDArray[Any] | MappedRows | h5py.Dataset | Tensor
    encoder: str | None = None
    revision: str | None = None
    scale: TileScale = UNTOLD


def open_features(path: Path) -> OpenedFeatures:
    """Open the dataset `features`. Raises `DataError` when the file is unreadable or has none."""
    try:
        return _features_of(h5py.File(path, "r"), path)
    except FileNotFoundError:
        raise DataError(f"{path} is gone; build the cohort again") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # whatever HDF5 makes of damaged bytes
        raise DataError(f"{path} is unreadable or truncated ({first_line(error)}); copy or extract it again") from error


def gather(dataset: h5py.Dataset, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of a chunked dataset: neighbouring ones are read in one piece, which is faster than one by one.

    Raises `DataError` when a chunk is damaged.
    """
    if not len(rows):
        return np.empty((0, dataset.shape[-1]), dtype=dataset.dtype)
    chunk = dataset.chunks[-2] if dataset.chunks else 1
    wanted, place = np.unique(rows, return_inverse=True)
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > max(8, chunk)) + 1)
    try:
        pieces = [dataset[..., int(run[0]) : int(run[-1]) + 1, :] for run in runs]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{dataset.file.filename} is damaged ({first_line(error)}); copy or extract it again"
        ) from error
    taken = [piece.reshape(-1, piece.shape[-1])[run - run[0]] for piece, run in zip(pieces, runs, strict=True)]
    return np.concatenate(taken)[place]


def read_coords(path: Path, tiles: int) -> NDArray[Any] | None:
    """The positions (T, 2) in the dataset `coords`, or None. Raises `DataError` when they are not one for each tile."""
    with h5py.File(path, "r") as file:
        dataset = file.get("coords")
        if not isinstance(dataset, h5py.Dataset):
            return None
        coords = dataset[()]
    if coords.size % tiles or coords.size // tiles < 2:
        raise DataError(f"{path} has coords of shape {coords.shape} for {tiles} tiles; extract its features again")
    return coords.reshape(tiles, -1)[:, :2]


def read_attributes(path: Path, dataset: str | None = None) -> dict[str, Any]:
    """Attributes of the file, or of one of its datasets (none where that is not there), as plain Python values.

    Raises `DataError` when the file is unreadable.
    """
    try:
        with h5py.File(path, "r") as file:
            if dataset is not None and dataset not in file:
                return {}
            attributes = (file if dataset is None else file[dataset]).attrs
            return {
                name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()
            }
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is unreadable or truncated ({first_line(error)}); copy or extract it again") from error


def stated_magnification(holders: Iterable[Any]) -> float | None:
    """The nominal magnification (20 for 20x) in the attributes of a file or dataset, by TRIDENT's name; None without.

    Raises `ValueError` or `TypeError` where it is no number.
    """
    told = (holder.attrs.get("target_magnification") for holder in holders)
    return next((float(value) for value in told if value is not None), None)


def _features_of(file: h5py.File, path: Path) -> OpenedFeatures:
    schema = file.attrs.get("mirror_schema", SCHEMA)
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema}, this version reads {SCHEMA}; import or extract it again")
    dataset = file.get("features")
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
        raise DataError(
            f"{path} has no dataset `features` of floats but {', '.join(file) or 'nothing'}; files of other tools: "
            "rename theirs to `features`, or convert them"
        )
    revision = file.attrs.get("encoder_revision")
    return OpenedFeatures(
        _mapped(file, dataset), _encoder(file, dataset), None if revision is None else str(revision), _scale(file)
    )


def _mapped(file: h5py.File, dataset: h5py.Dataset) -> NDArray[Any] | MappedRows | h5py.Dataset:
    """The dataset mapped straight from the file, where it lies there in one piece."""
    offset = dataset.id.get_offset()
    in_one_piece = dataset.chunks is None and dataset.external is None and not file.userblock_size
    if offset is None or not in_one_piece:
        return dataset
    if "order_seed" in file.attrs and len(dataset.shape) == 2 and 0 not in dataset.shape:
        return MappedRows(Path(file.filename), dataset.dtype, dataset.shape, offset=offset)
    return np.memmap(file.filename, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)


def _scale(file: h5py.File) -> TileScale:
    """Our own attributes, or TRIDENT's; its magnification is nominal, so no resolution is made of it."""
    coords = [file["coords"]] if "coords" in file else []
    tile_px = file.attrs.get("tile_px", coords[0].attrs.get("patch_size") if coords else None)
    mpp = file.attrs.get("mpp")
    return TileScale(
        None if mpp is None else float(mpp),
        None if tile_px is None else round(float(tile_px)),
        stated_magnification([file, *coords]),
    )


def _encoder(file: h5py.File, dataset: h5py.Dataset) -> str | None:
    holders = [file, dataset, *([file["coords"]] if "coords" in file else [])]
    named = [str(holder.attrs["encoder"]) for holder in holders if "encoder" in holder.attrs]
    # TRIDENT writes the word when it does not know.
    return next((name for name in named if name not in ("", "None")), None)
