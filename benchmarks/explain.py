"""Seconds and memory of explaining one slide, by preset, method and number of tiles.

    OMP_NUM_THREADS=2 python benchmarks/explain.py                 # 100, 2,000 and 10,000 tiles
    OMP_NUM_THREADS=1 python benchmarks/explain.py --tiles 100     # to see that it runs

Features of 1,024 numbers a tile, the presets' own sizes, weights as drawn: time does not depend on what was learnt. A
row is one number of one slide, features in memory; peak is what the process holds more than before, at its most. The
row `command` is `explain_slides` on a slide of a simulated cohort of about 100 tiles that is trained first: heads are
fitted, all layers explained, all files written, the slide's pictures drawn on an empty map. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mirror.config import load_config
from mirror.explain.relevance import Method, Model, Subject, relevance
from mirror.explain.targets import Head
from mirror.nn.canonical import CanonicalSizes, build_canonical
from mirror.nn.mirror import MirrorSizes, build_mirror
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explain_slide import Wanted, explain_slides
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
    networks: tuple[Method, ...] = ("integrated-gradients", "attention-gradient", "attention")
    return {
        "mirror": (build_canonical(closed, generator=generator).eval(), ("contributions",)),
        "alignment-only": (build_canonical(pooled, generator=generator).eval(), networks),
        # Nothing is offered of it; integrated gradients would take minutes (a pseudo-inverse a head, layer and point).
        "published": (build_mirror(tokens, generator=generator).eval(), networks[1:]),
    }


def peak() -> float:
    """Most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_slide(model: Model, method: Method, tiles: int) -> dict[str, Any]:
    """Seconds and additional memory of one number of one slide."""
    rng = np.random.default_rng(0)
    subject = Subject(rng.standard_normal((tiles, WIDTH)).astype(np.float32), None, np.zeros(WIDTH))
    view = model.views(torch.zeros(1, model.slide_width), torch.zeros(1, model.expression_width))["X_slide"]
    head = Head("class:B", "log-odds", "slide", np.ones(view.shape[1]), 0.0, ())
    before, begun = peak(), time.perf_counter()
    relevance(model, subject, None if method == "attention" else head, method)
    return {"tiles": tiles, "seconds": round(time.perf_counter() - begun, 3), "peak_mb": round(peak() - before)}


def command() -> dict[str, Any]:
    """The whole command on one slide, heads and files included."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        simulate_cohort(folder, seed=0, sizes=SimulationSizes(patients=60, tiles=(100, 100)))
        config = load_config(folder / "demo.yaml")
        cohort = prepare_cohort(config)
        run = pretrain_fold(config, cohort, cohort.folds[0], config.seeds[0])
        embed_run(run, cohort, fold=cohort.folds[0], path=run.embeddings)
        slides = cohort.slides
        name = str(slides.loc[slides["patient"].isin(cohort.folds[0].test), "slide"].iloc[0])
        before, begun = peak(), time.perf_counter()
        (found,) = explain_slides(config, Wanted(names=[name]))
        seconds = time.perf_counter() - begun
        tiles = json.loads((found.folder / "relevance.json").read_text())["tiles"]
    return {"tiles": tiles, "seconds": round(seconds, 3), "peak_mb": round(peak() - before)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[100, 2_000, 10_000])
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(f"{'preset':15} {'method':22} {'tiles':>7} {'seconds':>9} {'peak MB':>8}", flush=True)

    def add(preset: str, method: str, row: dict[str, Any]) -> None:
        rows.append({"preset": preset, "method": method, **row, "in_time": row["seconds"] < IN_TIME})
        print(f"{preset:15} {method:22} {row['tiles']:7} {row['seconds']:9.3f} {row['peak_mb']:8}", flush=True)

    add("mirror", "command", command())
    for tiles in sorted(given.tiles):
        for preset, (model, methods) in models().items():
            for method in methods:
                add(preset, method, one_slide(model, method, tiles))
    print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
