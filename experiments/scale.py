"""What a cohort of 1,000, 12,000 and 1,000,000 slides costs, from what one slide, one tile and one pair cost here.

    python experiments/scale.py           # prints the tables of docs/scale.md
    python experiments/scale.py --write   # and puts them there

Measured on one thread of this machine, in seconds of the processor: tiles from a simulated slide through the encoder
without weights, a feature file, its sample for training, a training step of the default preset, its closed form at two
sizes, an embedding. Computed: everything multiplied from that, with the sizes that stand in the tables (SIZES). Nothing
is typed by hand.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mirror.artefacts import write_text
from mirror.config import CanonicalModelConfig, ObjectiveWeights, read_preset
from mirror.data.datasets import draw_tiles
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import Bag, inspect_bag
from mirror.nn.canonical import CanonicalMirror, build_canonical
from mirror.seeding import generator_for, rng_for
from mirror.tasks.canonical_pretraining import CanonicalPretraining, canonical_sizes
from mirror.tasks.canonical_start import TrainingMeans, start
from mirror.types import PairedBatch

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
COHORTS = (1_000, 12_000, 1_000_000)
HOUR, GB = 3600.0, 1e9


class Sizes(NamedTuple):
    """What is taken for a slide and a study."""

    tiles: int = 10_000
    width: int = 1_024
    genes: int = 2_000
    folds: int = 5
    seeds: int = 1


SIZES = Sizes()
STARTS = (500, 1_000)
"""Patients of the two closed forms that are timed, both below the number of genes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    measured = measure()
    tables = {"measured": measured_table(measured), "projected": projected_table(measured)}
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        print(table, end="\n\n")
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    if asked.write:
        write_text(PAGE, text)


def seconds(work: Callable[[], object], *, rounds: int = 3) -> float:
    """Processor seconds of `work`, the least of several times."""
    took: list[float] = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return min(took)


def measure() -> dict[str, float]:
    """Every measured number by its name: seconds, and bytes."""
    found = {"tile": a_tile()}
    rng = rng_for(0, "scale")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "slide.h5"
        features = rng.standard_normal((SIZES.tiles, SIZES.width), dtype=np.float32)
        write_bag(path, features, order_seed=0)
        bag = Bag(path)
        found["bytes of a slide"] = float(path.stat().st_size)
        found["checking a slide"] = seconds(lambda: inspect_bag(path))
        found["mean tile of a slide"] = seconds(lambda: bag.read().mean(axis=0, dtype=np.float64))
        found["a sample"] = seconds(lambda: bag.read(_drawn(bag)))
        model = _model()
        whole = torch.from_numpy(bag.read())[None]
        with torch.inference_mode():
            found["embedding a slide"] = seconds(lambda: model.eval().embed_slide(whole))
    found["a pair of a step"] = a_pair(model)
    for patients in STARTS:
        found[f"closed form, {patients} patients"] = seconds(lambda n=patients: a_start(n), rounds=1)
    found["bytes of a model"] = float(sum(one.numel() * one.element_size() for one in model.state_dict().values()))
    return found


def a_tile() -> float:
    """Seconds of a tile of 512 px: tissue, reading, `random-resnet18` (11 million weights)."""
    from mirror.simulate.scans import MPP, draw_scan, tumour_of, write_scan
    from mirror.slides.settings import ExtractionConfig
    from mirror.workflow.slides import extract_slides

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slides").mkdir()
        write_scan(folder / "slides" / "a.tif", draw_scan(tumour_of(np.zeros(4)), 5_120, rng_for(0, "scale")), mpp=MPP)
        settings = {"slides": folder / "slides", "output": folder / "out", "encoder": "random-resnet18", "threads": 1}
        config = ExtractionConfig.model_validate(settings)
        begun = time.process_time()
        report = extract_slides(config)
        return (time.process_time() - begun) / sum(account.tiles or 0 for account in report.done)


def _drawn(bag: Bag) -> np.ndarray:
    tiles = int(read_preset("mirror")["pretraining"]["tiles"])
    return draw_tiles(bag.tiles, tiles, generator=generator_for(0, "scale"), block=bag.block)


def _model() -> CanonicalMirror:
    settings = CanonicalModelConfig(**read_preset("mirror")["model"])
    sizes = canonical_sizes(settings, tile_dim=SIZES.width, genes=SIZES.genes)
    return build_canonical(sizes, generator=generator_for(0, "weights"))


def a_pair(model: CanonicalMirror) -> float:
    """Seconds of a pair in a training step, forward, backward and update, at the preset's batch and tiles."""
    settings = read_preset("mirror")["pretraining"]
    batch, tiles = int(settings["batch"]), int(settings["tiles"])
    names = tuple(map(str, range(batch)))
    pairs = PairedBatch(names, names, torch.randn(batch, tiles, SIZES.width), torch.randn(batch, SIZES.genes))
    task = CanonicalPretraining(model.train(), ObjectiveWeights(**settings["weights"]))
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimiser.zero_grad()
        task.terms(pairs, generator=generator_for(0, "draws"))["total"].backward()
        optimiser.step()

    return seconds(step) / batch


def a_start(patients: int) -> None:
    """The closed form and its cross-validated correlations."""
    rng = rng_for(0, "start", patients)
    shared = rng.standard_normal((patients, 8))
    slide, genes = (
        shared @ rng.standard_normal((8, width)) + rng.standard_normal((patients, width))
        for width in (SIZES.width, SIZES.genes)
    )
    start(_model(), TrainingMeans(slide, genes, np.ones(patients)), own=np.ones(patients, dtype=bool), seed=0)


def closed_form(measured: dict[str, float], patients: int) -> float:
    """Seconds of the closed form: by the power of the two measured sizes up to the number of genes, then linear.

    The decomposition is of a matrix of as many rows as there are patients or genes, whichever are fewer.
    """
    low, high = (measured[f"closed form, {size} patients"] for size in STARTS)
    power = math.log(high / low) / math.log(STARTS[1] / STARTS[0])
    at_genes = high * (min(patients, SIZES.genes) / STARTS[1]) ** power
    return at_genes * max(1.0, patients / SIZES.genes)


def measured_table(measured: dict[str, float]) -> str:
    lines = ["| measured | |", "|---|---|"]
    for name, value in measured.items():
        shown = f"{value / 1e6:.1f} MB" if name.startswith("bytes") else f"{value * 1000:.2f} ms"
        lines.append(f"| {name.removeprefix('bytes of ')} | {shown} |")
    return "\n".join(lines)


def projected_table(measured: dict[str, float]) -> str:
    settings = read_preset("mirror")["pretraining"]
    runs, train = SIZES.folds * SIZES.seeds, 1 - 1 / SIZES.folds
    rows: dict[str, list[str]] = {}

    def put(name: str, value: float, unit: str) -> None:
        rows.setdefault(f"{name}, {unit}", []).append(f"{value:,.2f}" if value < 10 else f"{value:,.0f}")

    for slides in COHORTS:
        pairs = slides * train
        epoch = pairs * (measured["a pair of a step"] + measured["a sample"])
        put("features on disk", slides * measured["bytes of a slide"] / GB, "GB")
        put("expression in memory, 4 bytes a value", slides * SIZES.genes * 4 / GB, "GB")
        put("closed form in memory, 8 bytes a value", pairs * (SIZES.width + SIZES.genes) * 8 / GB, "GB")
        put("slides to features, encoder without weights", slides * SIZES.tiles * measured["tile"] / HOUR, "h")
        put("cohort: reading every feature file once", slides * measured["checking a slide"] / HOUR, "h")
        put("all runs: mean tiles", 2 * runs * pairs * measured["mean tile of a slide"] / HOUR, "h")
        put("all runs: closed form", runs * closed_form(measured, int(pairs)) / HOUR, "h")
        put(f"all runs: {settings['epochs']} epochs", runs * int(settings["epochs"]) * epoch / HOUR, "h")
        whole = measured["embedding a slide"] + measured["mean tile of a slide"]
        put("all runs: embedding", runs * slides * whole / HOUR, "h")
        put("jobs of the workflow, one a slide", slides + 2 * runs + 3, "jobs")
    head = [
        "| computed | " + " | ".join(f"{count:,} slides" for count in COHORTS) + " |",
        "|---|" + "---|" * len(COHORTS),
    ]
    return "\n".join([*head, *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items())])


if __name__ == "__main__":
    main()
