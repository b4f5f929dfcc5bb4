"""Sampled bags a second: blocks of our file against whole float32 `.pt` files, as neighbours store them.

    python benchmarks/loader.py               # 200 slides of 10,000 tiles x 1,024: 12 GB in a temporary folder
    python benchmarks/loader.py --slides 20   # to see that it runs; --folder chooses the disk

Each slide is stored twice, as a float32 tensor by `torch.save` and as our float16 file with its rows in random order,
and a sample of 2,048 tiles is taken from either as float32. Warm: both files are read through before each is timed, the
two ways in turn. Cold: the file is dropped from the page cache, one sample is taken, and the pages that are in the
cache afterwards (mincore) are counted, the kernel's own reading ahead included. Two other ways to sample are shown for
comparison: scattered rows of a float16 file in its own order, and one contiguous window of a file in random order.
One thread. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.data.datasets import draw_tiles
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import Bag
from mirror.seeding import generator_for, rng_for

TILES, WIDTH, SAMPLE, COLD_SLIDES = 10_000, 1_024, 2_048, 20


class Way(NamedTuple):
    """A way to take a sample: from which of a slide's files, and how, given the file and the slide's number."""

    name: str
    ending: str
    take: Callable[[Path, int], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="Where the temporary folder is made.")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # a worker of a loader has one
    ways = (
        Way("whole float32 .pt", "pt", whole_pt),
        Way("float16, scattered rows", "own.h5", scattered),
        Way("float16, one window", "random.h5", window),
        Way("float16, blocks (ours)", "random.h5", blocks),
    )
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        compared = min(asked.slides, COLD_SLIDES)
        write_cohort(folder, asked.slides, own_order=compared)
        warm = warm_seconds(folder, ways, asked.slides, compared)
        found = [(way, float(np.mean(warm[way.name])), *cold(folder, way, compared)) for way in ways]
    print(f"{asked.slides} slides x {TILES:,} tiles x {WIDTH:,}, samples of {SAMPLE:,}; cold: {compared} slides")
    print(f"{'':26}{'warm slides/s':>14}{'cold slides/s':>14}{'of the file read':>18}{'MB read':>9}")
    for way, seconds, cold_seconds, share, size in found:
        print(f"{way.name:26}{1 / seconds:14.1f}{1 / cold_seconds:14.1f}{share:18.3f}{share * size / 1e6:9.1f}")
    theirs, *_, ours = found
    result = {
        "slides": asked.slides,
        "slides_per_second": round(1 / ours[1], 1),
        "whole_pt_slides_per_second": round(1 / theirs[1], 1),
        "speedup": round(theirs[1] / ours[1], 2),
        "bytes_fraction": round(ours[3], 4),
        "bytes_fraction_of_pt": round(ours[3] * ours[4] / theirs[4], 4),
        "cold_speedup": round(theirs[2] / ours[2], 2),
    }
    print(json.dumps(result))


def write_cohort(folder: Path, slides: int, *, own_order: int) -> None:
    """The same numbers shifted a little from slide to slide: how they compress does not matter, nothing does."""
    features = rng_for(0, "benchmark").standard_normal((TILES, WIDTH), dtype=np.float32)
    for slide in range(slides):
        features += 0.01
        torch.save(torch.from_numpy(features), folder / f"{slide}.pt")
        write_bag(folder / f"{slide}.random.h5", features, order_seed=0)
        if slide < own_order:
            write_bag(folder / f"{slide}.own.h5", features)


def whole_pt(path: Path, slide: int) -> torch.Tensor:
    features = torch.load(path, weights_only=True)
    return features[torch.randperm(len(features), generator=generator_for(0, "tiles", slide))[:SAMPLE]]


def scattered(path: Path, slide: int) -> torch.Tensor:
    bag = Bag(path)
    return torch.from_numpy(bag.read(draw_tiles(bag.tiles, SAMPLE, generator=generator_for(0, "tiles", slide))))


def window(path: Path, slide: int) -> torch.Tensor:
    bag = Bag(path)
    first = int(torch.randint(bag.tiles, (1,), generator=generator_for(0, "tiles", slide)))
    return torch.from_numpy(bag.read((first + np.arange(SAMPLE)) % bag.tiles))


def blocks(path: Path, slide: int) -> torch.Tensor:
    bag = Bag(path)
    rows = draw_tiles(bag.tiles, SAMPLE, generator=generator_for(0, "tiles", slide), block=bag.block)
    return torch.from_numpy(bag.read(rows))


def warm_seconds(folder: Path, ways: tuple[Way, ...], slides: int, compared: int) -> dict[str, list[float]]:
    """Seconds of each way for each slide, its file in the cache; files in their own order exist for some slides."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    for slide in range(slides):
        for way in ways:
            path = folder / f"{slide}.{way.ending}"
            if way.ending == "own.h5" and slide >= compared:
                continue
            read_through(path)
            began = time.perf_counter()
            sample = way.take(path, slide)
            taken[way.name].append(time.perf_counter() - began)
            assert sample.shape == (SAMPLE, WIDTH) and sample.dtype == torch.float32
    return taken


def cold(folder: Path, way: Way, slides: int) -> tuple[float, float, int]:
    """Mean seconds of a sample from a file that was not in the cache, share of the file read for it, file's bytes."""
    seconds: list[float] = []
    shares: list[float] = []
    for slide in range(slides):
        path = folder / f"{slide}.{way.ending}"
        drop_from_cache(path)
        assert resident_share(path) < 0.01, "this file system does not let go of its cache; choose another --folder"
        began = time.perf_counter()
        way.take(path, slide)
        seconds.append(time.perf_counter() - began)
        shares.append(resident_share(path))
    return float(np.mean(seconds)), float(np.mean(shares)), (folder / f"0.{way.ending}").stat().st_size


def read_through(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def drop_from_cache(path: Path) -> None:
    """Ask the kernel to forget the file's pages; it keeps those that are not on the disk yet, hence the sync."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_share(path: Path) -> float:
    """Share of the file's pages that are in the page cache (mincore), without touching them."""
    with path.open("rb") as file:
        # A private mapping can be written to, which ctypes wants; nothing is.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    there: NDArray[np.uint8] = np.zeros(-(-len(mapped) // mmap.PAGESIZE), dtype=np.uint8)
    start = ctypes.c_char.from_buffer(mapped)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.mincore(
        ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped)), ctypes.c_void_p(there.ctypes.data)
    )
    del start
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return float((there & 1).mean())


if __name__ == "__main__":
    main()
