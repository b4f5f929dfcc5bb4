"""One slide from its file to its features. Legend: T tiles, D feature width."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.artefacts import remove_asides
from mirror.data.feature_file import BagFacts, read_facts, write_bag
from mirror.errors import DataError
from mirror.ids import SlideId
from mirror.slides.encoders import TileEncoder
from mirror.slides.manifest import SlideEntry
from mirror.slides.quality import write_sheet
from mirror.slides.reading import TileReader, reading_threads
from mirror.slides.scan import Resolution, Scan, open_scan, read_overview, resolution_of
from mirror.slides.settings import ExtractionConfig
from mirror.slides.tissue import find_tissues, lay_tiles

ORDER_SEED = 0
"""Rows are stored in a random order, so that training reads a sample as a few contiguous blocks."""


class SlideFiles(NamedTuple):
    """Where one slide's results go."""

    features: Path
    sheet: Path

    def remove_remains(self) -> None:
        """Remove what a killed process left half written beside these files; only for who has claimed the slide."""
        for path in self:
            remove_asides(path)


class Extracted(NamedTuple):
    """How the extraction of a slide went: `seconds` in all, `waited` of them the encoder stood waiting for tiles;
    `untiled` is the share of the tissue that no tile covers."""

    tiles: int
    untiled: float
    resolution: Resolution
    seconds: float
    waited: float


def slide_files(folder: Path, slide: SlideId) -> SlideFiles:
    """The files of a slide under the output folder."""
    return SlideFiles(folder / "features" / f"{slide}.h5", folder / "quality" / f"{slide}.jpg")


def extract_slide(
    entry: SlideEntry,
    config: ExtractionConfig,
    encoder: TileEncoder,
    *,
    mark: str,
    tick: Callable[[int, int], None],
) -> Extracted:
    """Write the features and the quality sheet of a slide; pixels pass through memory a batch at a time.

    `tick(tiles done, tiles in all)` is called after every batch. The picture is written before anything is encoded, and
    also where no tile is found. Raises `DataError` that says what is wrong with the slide.
    """
    begun = time.monotonic()
    files = slide_files(config.output, entry.slide)
    with open_scan(entry.path) as scan:
        resolution = resolution_of(scan, entry)
        overview = read_overview(scan, resolution)
        try:
            tissues = find_tissues(scan, overview, resolution, config.tissue_method)
        except DataError:
            write_sheet(files.sheet, overview, None)
            raise
        try:
            grid = lay_tiles(scan, resolution, config)
        except DataError:
            write_sheet(files.sheet, overview, None, tissues)
            raise
        write_sheet(files.sheet, overview, grid, tissues)
        features, waited = _encode(scan, config, encoder, tick=tick)
    facts = BagFacts(
        encoder=encoder.name,
        encoder_revision=encoder.revision,
        mpp=grid.mpp,
        tile_px=config.tile_px,
        overlap_px=config.overlap_px,
        tile_level0_px=float(grid.side),
        slide_mpp=resolution.mpp,
        source=f"mirror slides {version('mirror-pathology')}",
        source_stamp=mark,
    )
    write_bag(files.features, features, coords=grid.coords, facts=facts, order_seed=ORDER_SEED)
    return Extracted(len(features), grid.untiled(), resolution, time.monotonic() - begun, waited)


def is_extracted(path: Path, mark: str) -> bool:
    """True when `path` holds the whole features of just this slide under just these settings."""
    try:
        return path.is_file() and read_facts(path).source_stamp == mark
    except DataError:
        return False


def _encode(
    scan: Scan, config: ExtractionConfig, encoder: TileEncoder, *, tick: Callable[[int, int], None]
) -> tuple[NDArray[np.float32], float]:
    reader = TileReader(scan, encoder.prepare, batch=config.batch, threads=reading_threads(config.threads))
    features: NDArray[np.float32] | None = None
    done = 0
    for batch in reader:
        rows = encoder.encode(batch).numpy()
        if rows.ndim != 2 or len(rows) != len(batch):
            raise DataError(f"encoder '{encoder.name}' gave {rows.shape} for {len(batch)} tiles; it is no tile encoder")
        if features is None:
            features = np.empty((len(reader), rows.shape[1]), dtype=np.float32)
        features[done : done + len(rows)] = rows
        done += len(rows)
        tick(done, len(reader))
    assert features is not None and done == len(reader)
    return features, reader.waited
