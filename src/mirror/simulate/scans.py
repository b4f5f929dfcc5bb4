"""Slides with known truth: pyramidal TIFFs whose texture carries a patient's factors, as scanners would write them.

Legend: H, W height and width, px.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from mirror.artefacts import write_aside, write_text
from mirror.seeding import rng_for
from mirror.simulate.cohort import DEMO_CONFIG, SimulationSizes, Truth, draw_truth, write_tables
from mirror.simulate.planted import write_planted
from mirror.types import Progress, silent

MPP = 0.5
"""um/px of level 0; level 1 is four times coarser."""
TILE_PX = 128
MAP_PX = 8
"""Level-0 px between the places of the map that says where the tumour is."""

# Optical density of haematoxylin and eosin in red, green, blue (Ruifrok and Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
_GLASS = 243.0
_HUGE_PIECE = 512


class Tissue(NamedTuple):
    """What a piece of tissue looks like: nuclei in 10,000 um2, their radius in um, strength of either stain, and the
    wavelength of its fibres in um."""

    density: float
    radius: float
    haematoxylin: float
    eosin: float
    wavelength: float


STROMA = Tissue(density=8.0, radius=2.2, haematoxylin=0.8, eosin=0.55, wavelength=24.0)


def tumour_of(visible: NDArray[np.float64], *, contrast: float = 1.0) -> Tissue:
    """The tumour of a patient with the factors `visible` (4,): shared (subtype, survival), slide-only (the same).

    `contrast`: how strongly they show; with 1 the nuclei that a tile has by chance vary about as much as by a factor.
    """
    bounded = contrast * np.clip(visible, -2.5, 2.5)
    return Tissue(
        density=22.0 * float(np.exp(0.30 * bounded[0])),
        radius=3.2 * float(np.exp(0.16 * bounded[1])),
        haematoxylin=1.0,
        eosin=0.45 * float(np.exp(0.25 * bounded[2])),
        wavelength=14.0 * float(np.exp(0.35 * bounded[3])),
    )


class DrawnScan(NamedTuple):
    """RGB (H, W, 3) of a slide, and where in it the tumour is (H, W)."""

    image: NDArray[np.uint8]
    tumour: NDArray[np.bool_]


def draw_scan(tumour: Tissue, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """RGB (side, side, 3) of a slide, as `draw_planted` draws it."""
    return draw_planted(tumour, side, rng).image


def draw_planted(tumour: Tissue, side: int, rng: np.random.Generator) -> DrawnScan:
    """A slide `side` px wide: a round tumour in stroma on glass.

    Its own stain strengths vary from slide to slide by more than the factors do.
    """
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    wobble = _field(side, side / 6, rng) * 0.06
    tissue = np.maximum(abs(x), abs(y)) + wobble < 0.44
    centre = rng.uniform(-0.12, 0.12, 2)
    inside = np.hypot(x - centre[0], y - centre[1]) + wobble < rng.uniform(0.28, 0.36)
    density = np.zeros((side, side, 2), dtype=np.float32)
    for kind, where in ((STROMA, tissue & ~inside), (tumour, tissue & inside)):
        density[where] = _densities(kind, side, rng)[where]
    density *= np.exp(rng.normal(0, (0.15, 0.15))).astype(np.float32)
    light = _GLASS * np.exp(-density @ _STAINS.astype(np.float32))
    light += rng.normal(0, 2.0, (side, side, 1)).astype(np.float32)
    return DrawnScan(np.clip(light, 0, 255).astype(np.uint8), tissue & inside)


def write_scan(path: Path, image: NDArray[np.uint8], *, mpp: float | None) -> None:
    """Write a tiled TIFF of two levels that OpenSlide reads; without `mpp` its header says no resolution."""
    import tifffile

    resolution: dict[str, Any] = {}
    if mpp is not None:
        resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    shared: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib", "metadata": None}
    height, width = (length // 4 * 4 for length in image.shape[:2])
    coarse = image[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3)).astype(np.uint8)
    with write_aside(path) as aside, tifffile.TiffWriter(aside) as file:
        file.write(image, **shared, **resolution)
        file.write(coarse, subfiletype=1, **shared)


def write_huge_scan(path: Path, side: int) -> None:
    """A pyramid of 0.25 um/px and five coarser levels, `side` px wide; tissue in the middle fifth, glass around it.

    Two pieces over and over, so that it is small on disk and in memory.
    """
    import tifffile

    pattern = draw_scan(tumour_of(np.zeros(4)), 2 * _HUGE_PIECE, rng_for(0, "huge"))
    pattern = pattern[_HUGE_PIECE // 2 :, _HUGE_PIECE // 2 :][:_HUGE_PIECE, :_HUGE_PIECE]
    pattern = pattern & 0xE0  # without its noise it is small on disk
    tissue, glass = (zlib.compress(piece.tobytes()) for piece in (pattern, np.full_like(pattern, 243)))

    def pieces(length: int) -> Iterator[bytes]:
        count = -(-length // _HUGE_PIECE)
        for row in range(count):
            for column in range(count):
                middle = all(0.4 <= (place + 0.5) / count <= 0.6 for place in (row, column))
                yield tissue if middle else glass

    with write_aside(path) as aside, tifffile.TiffWriter(aside, bigtiff=True) as file:
        for level in range(6):
            length = side // 2**level
            file.write(
                pieces(length),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(_HUGE_PIECE, _HUGE_PIECE),
                photometric="rgb",
                compression="zlib",
                subfiletype=1 if level else 0,
                metadata=None,
                resolution=(1e4 / (0.25 * 2**level),) * 2,
                resolutionunit="CENTIMETER",
            )


def simulate_scans(
    folder: Path,
    *,
    seed: int,
    sizes: SimulationSizes | None = None,
    side: int = 1024,
    contrast: float = 1.0,
    progress: Progress = silent,
) -> Truth:
    """Write slides, their manifest, settings to extract them, and the tables and configuration of a cohort on them.

    Three flaws that every archive has: one slide without resolution (the manifest gives it), one that breaks off in the
    middle (SIM-LOST-DX1), one that no table lists (SIM-STRAY-DX1).
    """
    sizes = sizes or SimulationSizes(patients=120)
    truth = draw_truth(sizes, seed=seed)
    rng = rng_for(seed, "scans")
    rows: list[dict[str, str]] = []
    manifest: list[dict[str, str]] = []

    def write(slide: str, visible: NDArray[np.float64], mpp: float | None = MPP) -> Path:
        path = folder / "scans" / f"{slide}.tif"
        drawn = draw_planted(tumour_of(visible, contrast=contrast), side, rng)
        write_scan(path, drawn.image, mpp=mpp)
        write_planted(folder, slide, drawn.tumour[::MAP_PX, ::MAP_PX], px=MAP_PX)
        manifest.append({"slide": slide, "path": f"scans/{path.name}", "mpp": "" if mpp is not None else str(MPP)})
        return path

    for number, patient in enumerate(truth.patients):
        progress(number, len(truth.patients), "simulating slides")
        for slide_number in range(1 + (rng.random() < sizes.two_slides)):
            slide = f"{patient}-DX{slide_number + 1}"
            write(slide, truth.factors[number, :4], None if number == 0 else MPP)
            rows.append({"slide_id": slide, "case_id": patient})
    write("SIM-STRAY-DX1", truth.factors[0, :4])
    lost = write("SIM-LOST-DX1", truth.factors[0, :4])
    with lost.open("r+b") as file:
        file.truncate(lost.stat().st_size // 2)
    with write_aside(folder / "scans.csv") as aside:
        pd.DataFrame(manifest).to_csv(aside, index=False)
    write_tables(folder, truth, pd.DataFrame(rows), sizes, seed=seed)
    write_text(folder / "slides.yaml", SLIDES_CONFIG)
    write_text(
        folder / "demo.yaml", f"# seed {seed}\n{DEMO_CONFIG}".replace("path: features}", "path: extracted/features}")
    )
    progress(len(truth.patients), len(truth.patients))
    return truth


def _densities(kind: Tissue, side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Amount of either stain (H, W, 2) in a field full of one kind of tissue."""
    count = rng.poisson(kind.density * (side * MPP / 100) ** 2)
    seeds = np.zeros((side, side), dtype=np.float32)
    np.add.at(seeds, tuple(rng.integers(0, side, (2, count))), 1.0)
    sigma = kind.radius / MPP / 1.5
    # A nucleus alone peaks at 1 / (2 pi sigma2); a steep sigmoid turns the blurred seeds into discs.
    blurred: Any = gaussian_filter(seeds, sigma, truncate=3.0) * (2 * np.pi * sigma**2)
    nuclei = 1 / (1 + np.exp(-14 * (blurred - 0.45)))
    along = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) * MPP
    bend = _field(side, side / 8, rng) * 12.0
    fibres = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(along) + y * np.sin(along) + bend) / kind.wavelength)
    eosin = kind.eosin * (0.5 + 0.5 * fibres) * (1 - 0.5 * nuclei)
    return np.stack([kind.haematoxylin * (0.05 + 0.95 * nuclei), eosin], axis=-1).astype(np.float32)


def _field(side: int, scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random field (side, side) of about unit size that varies over `scale` pixels."""
    coarse = rng.standard_normal((int(side / scale) + 3,) * 2).astype(np.float32)
    field: Any = zoom(coarse, (side + 2) / (coarse.shape[0] - 1), order=1)
    return field[:side, :side]


SLIDES_CONFIG = f"""\
# How the demo's slides become features: mirror slides slides.yaml
slides: scans.csv
output: extracted
encoder: stain-texture   # classical, needs no weights; with weights: uni, conch, phikon, virchow2, resnet50 ...
tile_px: {TILE_PX}              # small slides, small tiles; 512 px is the default
mpp: {MPP}
"""
