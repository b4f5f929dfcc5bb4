"""Slides to features: our reading against LazySlide's own feature extraction, and the memory of a very large slide.

    python benchmarks/slides.py [--slide FILE --mpp 0.25] [--tile-px 512] [--rounds 3] [--threads N] [--huge]

Both sides extract the same tiles of the same slide with the same network (`--encoder random-resnet18`, on the CPU) and
take turns, so a noisy machine disturbs both alike; the ratio of a round compares neighbours in time, and `cpu_ratio`
(LazySlide's CPU seconds over ours) hardly moves with the noise. The features are compared too: they must be equal.
Without `--slide` a simulated one is used.

LazySlide runs twice in a round: as it comes (`num_workers=0`: it reads and encodes in turn), and with as many workers,
processes of torch's loader, as we have reading threads. The second is the fair comparison; its CPU seconds are spent
in other processes in part, so `cpu_ratio` is of the first.

`--huge` also extracts a simulated pyramidal TIFF of 100,000 x 100,000 px, written tile by tile (a few patterns over and
over, so it is small on disk), and prints the resident peak of that process, beside the peak of a process that has
only imported the same libraries.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mirror.ids import SlideId
from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, draw_scan, tumour_of, write_huge_scan, write_scan
from mirror.slides.encoders import imagenet_transform, load_encoder
from mirror.slides.manifest import SlideEntry
from mirror.slides.reading import TileReader, reading_threads
from mirror.slides.scan import open_scan, read_overview, resolution_of
from mirror.slides.settings import ExtractionConfig
from mirror.slides.tissue import find_tissues, lay_tiles

HUGE_PX = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float, help="resolution of the slide, where its header has none")
    parser.add_argument("--encoder", default="random-resnet18")
    parser.add_argument("--tile-px", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--extract-huge", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.extract_huge is not None:
        extract_huge(given.extract_huge)
        return
    with tempfile.TemporaryDirectory() as folder:
        slide = given.slide or simulated(Path(folder))
        config = ExtractionConfig(
            slides=slide, output=Path(folder), encoder=given.encoder, tile_px=given.tile_px, threads=given.threads
        )
        result = compare(SlideEntry(SlideId(slide.stem), slide, given.mpp), config, rounds=given.rounds)
        if given.huge:
            result |= memory(Path(folder))
    print(json.dumps(result))


def simulated(folder: Path) -> Path:
    path = folder / "simulated.tif"
    write_scan(path, draw_scan(tumour_of(np.zeros(4)), 5120, rng_for(0, "benchmark")), mpp=MPP)
    return path


def compare(entry: SlideEntry, config: ExtractionConfig, *, rounds: int) -> dict[str, Any]:
    import lazyslide as zs

    encoder = load_encoder(config, torch.device("cpu"))
    # What LazySlide is given to prepare a tile with: the encoder's own transform, which ours wraps.
    transform = imagenet_transform() if config.encoder == "random-resnet18" else encoder.prepare
    threads = reading_threads(config.threads)
    ours: list[float] = []
    theirs: dict[int, list[float]] = {0: [], threads: []}
    waited: list[float] = []
    work: list[float] = []
    with open_scan(entry.path) as scan:
        resolution = resolution_of(scan, entry)
        find_tissues(scan, read_overview(scan, resolution), resolution, config.tissue_method)
        tiles = len(lay_tiles(scan, resolution, config).coords)
        print(
            f"{entry.path.name}: {tiles} tiles of {config.tile_px} px, {threads} reading threads, "
            f"{torch.get_num_threads()} of torch"
        )
        for number in range(rounds + 1):
            begun, cpu_begun = time.perf_counter(), time.process_time()
            reader = TileReader(scan, encoder.prepare, batch=config.batch, threads=threads)
            mine = torch.cat([encoder.encode(batch) for batch in reader]).numpy()
            middle, cpu_middle = time.perf_counter(), time.process_time()
            took: dict[int, float] = {}
            cpu: dict[int, float] = {}
            for workers in theirs:
                started, cpu_started = time.perf_counter(), time.process_time()
                other = zs.tl.feature_extraction(
                    scan,
                    encoder.encode,
                    transform=transform,
                    batch_size=config.batch,
                    num_workers=workers,
                    pbar=False,
                    return_features=True,
                    device="cpu",
                    model_name="theirs",
                )
                took[workers], cpu[workers] = time.perf_counter() - started, time.process_time() - cpu_started
                np.testing.assert_array_equal(mine, other)
            if number:  # the first round warms caches and code
                ours.append(tiles / (middle - begun))
                for workers, seconds in took.items():
                    theirs[workers].append(tiles / seconds)
                work.append(cpu[0] / (cpu_middle - cpu_begun))
                waited.append(reader.waited / (middle - begun))
                beside = ", ".join(
                    f"LazySlide with {workers} workers {speeds[-1]:6.1f}, ratio {ours[-1] / speeds[-1]:.2f}"
                    for workers, speeds in theirs.items()
                )
                print(
                    f"  round {number}: ours {ours[-1]:6.1f} tiles/s, {beside} "
                    f"(of CPU seconds with 0 {work[-1]:.2f}), waiting {waited[-1]:.0%}"
                )
    ratios = {workers: _median_ratio(ours, speeds) for workers, speeds in theirs.items()}
    return {
        "slide": entry.path.name,
        "tiles": tiles,
        "encoder": encoder.name,
        "threads": threads,
        "torch_threads": torch.get_num_threads(),
        "ours_tiles_per_second": round(statistics.median(ours), 2),
        "lazyslide_tiles_per_second": {n: round(statistics.median(speeds), 2) for n, speeds in theirs.items()},
        "ratio": ratios,
        "cpu_ratio": round(statistics.median(work), 3),
        "waiting_for_tiles": round(statistics.median(waited), 3),
    }


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def memory(folder: Path) -> dict[str, Any]:
    path = folder / "huge.tif"
    begun = time.perf_counter()
    write_huge_scan(path, HUGE_PX)
    print(
        f"huge.tif: {HUGE_PX:,} x {HUGE_PX:,} px, {path.stat().st_size / 2**20:.0f} MiB on disk, "
        f"written in {time.perf_counter() - begun:.0f} s"
    )
    idle = _peak(Path(__file__).with_name("nothing-there"))
    peak = _peak(path)
    print(
        f"  peak of the extraction {peak['peak_mib']:.0f} MiB, {peak['tiles']} tiles in {peak['seconds']:.0f} s; "
        f"with the libraries imported and nothing done {idle['peak_mib']:.0f} MiB"
    )
    return {
        "huge_px": HUGE_PX,
        "huge_tiles": peak["tiles"],
        "huge_seconds": round(peak["seconds"], 1),
        "huge_peak_mib": round(peak["peak_mib"]),
        "idle_peak_mib": round(idle["peak_mib"]),
    }


def _peak(path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--extract-huge", str(path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def extract_huge(path: Path) -> None:
    """In a process of its own: the whole way of `mirror slides` on one slide."""
    from mirror.workflow.slides import extract_slides

    begun = time.perf_counter()
    tiles = 0
    if path.exists():
        manifest = path.with_suffix(".csv")
        manifest.write_text(f"slide,path,mpp\nhuge,{path},\n")
        output = path.parent / "out"
        report = extract_slides(ExtractionConfig(slides=manifest, output=output, encoder="random-resnet18"))
        assert not report.failed, report.failed
        tiles = report.done[0].tiles or 0
    # Not getrusage: its peak is inherited from the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    print(json.dumps({"peak_mib": peak, "tiles": tiles, "seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
