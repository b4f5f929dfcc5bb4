"""Every file of a folder, and what it is: told apart by what is in it, in the order of docs/data-formats.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from mirror.data.importers.array_layouts import recognise_array
from mirror.data.importers.found import Asked, FoundBag, NoBag
from mirror.data.importers.hdf5_layouts import recognise_hdf5
from mirror.data.importers.zarr_layouts import recognise_zarr
from mirror.errors import DataError, MirrorError, first_line

T = TypeVar("T")

_READERS: dict[str, Callable[[Path, Asked], FoundBag | NoBag]] = {
    ".zarr": recognise_zarr,
    ".h5": recognise_hdf5,
    ".hdf5": recognise_hdf5,
    ".pt": recognise_array,
    ".npy": recognise_array,
    ".npz": recognise_array,
}

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""UNI2-h's features come as one archive a cohort, LazySlide's stores as zip files too."""


class Sighting(NamedTuple):
    """A file (or a `.zarr` folder), and what it is; `found` is the error where it cannot be read."""

    path: Path
    found: FoundBag | NoBag | DataError


def look_through(folder: Path, asked: Asked, *, but: Path) -> Iterator[Sighting]:
    """Say of every file under `folder`, in order of name, what it is; hidden files and the folder `but` are left out.

    Raises `DataError` when there is no such folder; never because of a single file.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the one with the feature files")
    for path in files_of(folder, but=but):
        yield Sighting(path, recognise(path, asked))


def files_of(folder: Path, *, but: Path) -> Iterator[Path]:
    """Files under `folder` and its subfolders in order of name, a `.zarr` folder being one."""
    for path in sorted(folder.iterdir()):
        # A link may lead back to a folder above it, or to itself, which `resolve` raises an error for.
        real = Path(os.path.realpath(path))
        if path.name.startswith(".") or real == but.resolve() or folder.resolve().is_relative_to(real):
            continue
        if path.is_dir() and path.suffix != ".zarr":
            yield from files_of(path, but=but)
        else:
            yield path


def recognise(path: Path, asked: Asked) -> FoundBag | NoBag | DataError:
    """What one file is. Whatever goes wrong with it is given back and not raised."""
    reader = _READERS.get(path.suffix)
    if reader is None and path.name.endswith(_ARCHIVES):
        return NoBag("", "an archive; unpack it and import what was in it")
    if reader is None:
        return NoBag("", "no feature file by its ending")
    return attempt(path, lambda: reader(path, asked))


def attempt(path: Path, read: Callable[[], T]) -> T | DataError:
    """What `read` gives, or what was wrong with the file as a `DataError`."""
    try:
        return read()
    except MirrorError as error:
        return error if isinstance(error, DataError) else DataError(str(error))
    except Exception as error:  # damaged bytes make every library fail in a way of its own
        what = f"{type(error).__name__}: {first_line(error)}"
        return DataError(f"{path} is damaged or of another kind ({what}); copy or extract it again")
