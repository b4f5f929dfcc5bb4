"""A contrastive batch that does not fit in memory: pairs encoded a few at a time (`pretraining.rows_at_once`).

    python benchmarks/large_batch.py [--tiles 128] [--pairs 8 64 128 1024] [--at-once 8]

The published model with exact attention, without dropout. One step of every number of pairs, in a process of its own,
encoded `--at-once` at a time; the smallest number also is in one go, whose loss must be the same. Peak memory is the
resident peak of the process (of the GPU, where there is one: allocated). A further pair costs its tiles and what the
objectives need of it; what the two batches before the largest one say of it is compared with the largest one itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import NamedTuple

import torch


class Step(NamedTuple):
    """One step: its loss, seconds and the peak of its process, bytes."""

    loss: float
    seconds: float
    peak: int


def worker(pairs: int, tiles: int, at_once: int | None) -> None:
    """One step in this process; answers in JSON."""
    from steps.memory import resident_peak

    from mirror.config import ObjectiveWeights, read_preset
    from mirror.nn.mirror import MirrorSizes, build_mirror
    from mirror.seeding import generator_for
    from mirror.tasks.pretraining import Pretraining
    from mirror.types import PairedBatch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = MirrorSizes(tile_dim=768, genes=1500, tiles=tiles, dropout=0.0, attention="exact")
    model = build_mirror(sizes, generator=generator_for(0, "weights")).to(device)
    weights = ObjectiveWeights(**read_preset("published")["pretraining"]["weights"])
    task = Pretraining(model, weights, rows_at_once=at_once)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-5, fused=True)
    names = tuple(map(str, range(pairs)))
    drawn = generator_for(0, "batch")
    batch = PairedBatch(
        names, names, torch.randn(pairs, tiles, 768, generator=drawn), torch.randn(pairs, 1500, generator=drawn)
    )
    begun = time.perf_counter()
    terms = task.terms(batch, generator=generator_for(0, "draws", device=device))
    terms["total"].backward()
    optimiser.step()
    loss = float(terms["total"].detach())
    print(json.dumps(Step(loss, time.perf_counter() - begun, resident_peak(device))))


def measured(pairs: int, tiles: int, at_once: int | None) -> Step:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--worker", json.dumps([pairs, tiles, at_once])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Step(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=128)
    parser.add_argument("--pairs", type=int, nargs="+", default=[8, 64, 128, 1024], help="three at least")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(*json.loads(asked.worker))
        return
    counts = sorted(set(asked.pairs))
    if len(counts) < 3:
        parser.error("--pairs takes three numbers at least: the largest is foretold from two others")
    whole = measured(counts[0], asked.tiles, None)
    steps = {count: measured(count, asked.tiles, asked.at_once) for count in counts}
    print(f"{asked.tiles} tiles, width 768, {asked.at_once} pairs at once, {torch.get_num_threads()} threads")
    print(f"{'pairs':>8} {'at once':>8} {'s a pair':>9} {'peak GB':>8} {'loss':>10}")
    for count, at_once, step in [(counts[0], counts[0], whole), *((n, asked.at_once, s) for n, s in steps.items())]:
        print(f"{count:8d} {at_once:8d} {step.seconds / count:9.3f} {step.peak / 1e9:8.2f} {step.loss:10.6f}")
    one, other, most = counts[-3:]
    further = (steps[other].peak - steps[one].peak) / (other - one)
    foretold = steps[other].peak + (most - other) * further
    grown = (steps[most].peak - steps[other].peak) / (most - other)
    print(f"a further pair: {grown / 1e6:.1f} MB, of them its tiles {asked.tiles * 768 * 4 / 1e6:.1f} MB")
    print(f"{most} pairs: {steps[most].peak / 1e9:.2f} GB, foretold from {one} and {other}: {foretold / 1e9:.2f} GB")
    print(
        json.dumps(
            {
                "loss_gap": abs(steps[counts[0]].loss - whole.loss),
                "seconds_ratio": (steps[most].seconds / most) / (whole.seconds / counts[0]),
                "peak_ratio": steps[most].peak / whole.peak,
                "megabytes_a_pair": grown / 1e6,
                f"gigabytes_at_{most}": steps[most].peak / 1e9,
                "foretold_gigabytes": foretold / 1e9,
            }
        )
    )


if __name__ == "__main__":
    main()
