"""Seconds and memory of explaining one slide, by preset, method and number of tiles.

    OMP_NUM_THREADS=2 python benchmarks/explain.py                 # 100, 2,000 and 10,000 tiles
    OMP_NUM_THREADS=1 python benchmarks/explain.py --tiles 100     # to see that it runs

Features of 1,024 numbers a tile. Rows of a method are one number of one slide with features in memory, by the presets'
own sizes and weights as drawn: time does not depend on what was learnt; peak is what the process holds more than
before, at its most. `pattern` is without the training patients, which are read once a run.

Rows `command` are `mirror explain slide` as a process of its own, from its start to its end, on a cohort of 240
patients whose default preset is trained first: imports, all layers, all files, and the pictures on an empty map; in
rows `first` nothing of the run has been explained before, so training patients are read and heads fitted too. Rows
`whole` are the same of a slide of the cohort, its own file of 100,000 x 100,000 px (`--side`; 10,000 tiles of 48
numbers): all targets, and pictures with the slide's pixels. Peak is all that it holds. The floor is a process that
imports torch and does nothing: row `start`. Of processes `cpu` is what they had of all processors, seconds, which a
busy machine moves less. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from view import GRID, SLIDE, prepare

from mirror.config import load_config
from mirror.data.feature_file import write_bag
from mirror.explain.pattern import Seen
from mirror.explain.relevance import Method, Model, Subject, relevance
from mirror.explain.targets import Head
from mirror.nn.canonical import CanonicalSizes, build_canonical
from mirror.nn.mirror import MirrorSizes, build_mirror
from mirror.simulate.cohort import FACTS, SimulationSizes, simulate_cohort
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.pretrain import pretrain_fold

WIDTH, GENES = 1_024, 2_000
IN_TIME = 10.0


def models() -> dict[str, tuple[Model, tuple[Method, ...]]]:
    """Preset -> its model at its own sizes, and the methods that say anything of it."""
    sizes = {
        "tile_dim": WIDTH, "genes": GENES, "components": 32, "hidden": 64, "dropout": 0.1, "prototypes": 32,
        "mask_ratio": 0.5, "temperature": 0.2, "style_temperature": 0.1,
    }  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    closed = CanonicalSizes(**sizes, private=0.3, start="canonical", tail=160, correction=0.0)
    pooled = CanonicalSizes(**sizes, private=0.0, start="none", tail=0, correction=1.0)
    tokens = MirrorSizes(tile_dim=WIDTH, genes=GENES, tiles=2_048)
    networks: tuple[Method, ...] = ("pattern", "integrated-gradients", "attention-gradient", "attention")
    return {
        "mirror": (build_canonical(closed, generator=generator).eval(), ("pattern", "contributions")),
        "alignment-only": (build_canonical(pooled, generator=generator).eval(), networks),
        # Integrated gradients would take minutes (a pseudo-inverse a head, layer and point), and are not offered.
        "published": (build_mirror(tokens, generator=generator).eval(), ("pattern", *networks[2:])),
    }


def peak() -> float:
    """Most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def training_patients(model: Model) -> Seen:
    """As many as in BRCA's training half, with numbers as drawn."""
    rng, count = np.random.default_rng(1), 600
    slides = torch.from_numpy(rng.standard_normal((count, model.slide_width), dtype=np.float32))
    expression = torch.zeros(count, model.expression_width)
    return Seen(
        rng.standard_normal((count, WIDTH)),
        model.views(slides, expression),
        expression,
        np.eye(WIDTH),
        np.ones(WIDTH),
        tuple(map(str, range(count))),
    )


def one_slide(model: Model, method: Method, tiles: int) -> dict[str, Any]:
    """Seconds and additional memory of one number of one slide."""
    rng = np.random.default_rng(0)
    subject = Subject(rng.standard_normal((tiles, WIDTH)).astype(np.float32), None, np.zeros(WIDTH))
    view = model.views(torch.zeros(1, model.slide_width), torch.zeros(1, model.expression_width))["X_slide"]
    head = Head("class:B", "log-odds", "slide", np.ones(view.shape[1]), 0.0, ())
    seen = training_patients(model) if method == "pattern" else None
    before, begun = peak(), time.perf_counter()
    relevance(model, subject, None if method == "attention" else head, method, seen=seen)
    return {"tiles": tiles, "seconds": round(time.perf_counter() - begun, 3), "peak_mb": round(peak() - before)}


def process(*command: str) -> dict[str, Any]:
    """A process from start to end."""
    begun = time.perf_counter()
    run = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(run.pid, 0)
    if code:
        raise SystemExit(f"{' '.join(command)} failed; its words are above")
    seconds, busy = time.perf_counter() - begun, used.ru_utime + used.ru_stime
    return {"seconds": round(seconds, 3), "cpu": round(busy, 3), "peak_mb": round(used.ru_maxrss / 1024)}


def commands(sizes: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole command on new slides of so many tiles, and what a process costs that does nothing."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        simulate_cohort(folder, seed=0, sizes=SimulationSizes(tile_features=WIDTH, tiles=(100, 100)))
        config = load_config(folder / "demo.yaml")
        cohort = prepare_cohort(config)
        run = pretrain_fold(config, cohort, cohort.folds[0], config.seeds[0])
        embed_run(run, cohort, fold=cohort.folds[0], path=run.embeddings)
        yield "start", {"tiles": 0, **process("-c", "import torch")}
        for tiles in sizes:
            rows = np.random.default_rng(tiles).standard_normal((tiles, WIDTH))
            across = np.arange(tiles) % 100, np.arange(tiles) // 100
            coords = np.stack(across, axis=1) * int(FACTS.tile_level0_px or 0)
            write_bag(folder / f"new{tiles}" / "slide.h5", rows, coords=coords, facts=FACTS)
            new = "--features", str(folder / f"new{tiles}"), "--output", str(folder / f"explained{tiles}")
            for row in ("first", "command"):
                yield row, {"tiles": tiles, **process("-m", "mirror", "explain", "slide", f"{folder}/demo.yaml", *new)}


def whole_slide(side: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole command on a large slide with its file, as the first of its run and again."""
    with tempfile.TemporaryDirectory() as place:
        config = prepare(Path(place), side=side)
        named = "--slide", SLIDE, "--slides", str(Path(place, "scans.csv"))
        for row in ("whole, first", "whole"):
            yield row, {"tiles": GRID * GRID, **process("-m", "mirror", "explain", "slide", str(config), *named)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[100, 2_000, 10_000])
    parser.add_argument("--side", type=int, default=100_000, help="of the slide with a file, level-0 px")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(f"{'preset':15} {'method':22} {'tiles':>7} {'seconds':>9} {'cpu':>7} {'peak MB':>8}", flush=True)

    def add(preset: str, method: str, row: dict[str, Any]) -> None:
        rows.append({"preset": preset, "method": method, **row, "in_time": row["seconds"] < IN_TIME})
        shown = f"{row['seconds']:9.3f} {row.get('cpu', ''):>7} {row['peak_mb']:8}"
        print(f"{preset:15} {method:22} {row['tiles']:7} {shown}", flush=True)

    for method, row in commands(sorted(given.tiles)):
        add("mirror", method, row)
    for method, row in whole_slide(given.side):
        add("mirror", method, row)
    for tiles in sorted(given.tiles):
        for preset, (model, methods) in models().items():
            for method in methods:
                add(preset, method, one_slide(model, method, tiles))
    print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
