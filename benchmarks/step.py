"""A pretraining step against the number of tiles: the `nystrom-attention` package, ours, and the default preset.

    python benchmarks/step.py [--tiles 64 512 2048 8192 32768] [--rounds 3] [--picture docs/pictures/step_cost.png]

Variants, each in a process of its own, which take turns so that a noisy machine disturbs all alike:

* `package`: the published model with the attention of the `nystrom-attention` package,
* `published`: the same numbers from our attention (their losses are printed),
* `nystrom`: ours with the scaling of each slide by itself and without padding rows,
* `exact`: what Nystrom approximates,
* `mirror`: the default preset's model and objective.

All read the same batch. Peak memory is a process's resident peak (of the GPU, where there is one: allocated). A step
that needs more memory than the machine has free, or is expected to take longer than `--limit` seconds, is a row that
says so. `--recompute` has layers over tiles keep their input alone, as `pretraining.recompute` does on large bags.
Seconds are of the processor where one thread computes, so that other work of the machine changes little; else by clock.
Ratios of times are medians over rounds of two neighbours in time; beside them their least and their largest.

Floors: the operations of a step as torch's counter has them, over the rate of a large float32 product measured in this
run; and the memory of weights, gradients, two moments and the batch, libraries included as in the resident peak.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from steps.variants import VARIANTS, Size, clock_of, worker

ALONE_FROM = 8192
"""From this many tiles on a batch has one slide and every variant one timed step: they take minutes."""


class Row(NamedTuple):
    """One variant at one size. `seconds` of each round; bytes; `failed` says why there are none."""

    variant: str
    size: Size
    seconds: tuple[float, ...]
    peak: int
    floor_bytes: int
    flops: float
    loss: float
    failed: str


class Process:
    """The process of one variant at one size."""

    def __init__(self, variant: str, size: Size, *, recompute: bool) -> None:
        sizes = [part for name in size._fields for part in (f"--{name}", str(getattr(size, name)))]
        command = [sys.executable, __file__, *sizes, "--worker", variant]
        command += ["--recompute"] if recompute else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with status {self._process.wait()} before it answered")
        return json.loads(line)

    def step(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(
    size: Size, variants: Sequence[str], *, rounds: int, rate: float, limit: float, recompute: bool
) -> list[Row]:
    """Every variant at one size, in turns."""
    processes: dict[str, Process] = {}
    first: dict[str, dict[str, Any]] = {}
    for variant in variants:
        expected = expected_flops(variant, size) / rate
        if expected > limit:
            first[variant] = {
                "failed": f"left out: some {expected:.0f} s a step are expected, above --limit {limit:.0f}"
            }
            continue
        processes[variant] = Process(variant, size, recompute=recompute)
        first[variant] = processes[variant].read()  # one at a time: the first step is the largest
    steps: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, process in processes.items():
            if "failed" not in first[variant]:
                found = process.step()
                first[variant] |= {"failed": found["failed"]} if "failed" in found else {}
                steps[variant].append(found)
    for process in processes.values():
        process.close()
    return [
        Row(
            variant,
            size,
            tuple(step["seconds"] for step in steps[variant]) if "failed" not in first[variant] else (),
            max((step["peak"] for step in steps[variant] if "peak" in step), default=0),
            first[variant].get("floor", 0),
            first[variant].get("flops", math.nan),
            first[variant].get("loss", math.nan),
            first[variant].get("failed", ""),
        )
        for variant in variants
    ]


def expected_flops(variant: str, size: Size) -> float:
    """Of the term that grows fastest, three layers forward and backward: to tell minutes from hours beforehand."""
    tokens, width = size.tiles + 1, size.width
    if variant == "exact":
        return size.slides * 3 * 3.5 * 4 * tokens**2 * width
    if variant == "mirror":
        return size.slides * 3 * 2 * tokens * size.features * 64
    return size.slides * 3 * 3 * (4 * 2 * tokens * (width // 2) * width + 2 * tokens * 4 * width**2)


def product_rate(device: torch.device) -> float:
    """Floating point operations a second of a large float32 product, the best of five."""
    side = 8192 if device.type == "cuda" else 1536
    clock, a = clock_of(device), torch.randn(side, side, device=device)
    best = math.inf
    for _ in range(5):
        begun = clock()
        float((a @ a)[0, 0])
        best = min(best, clock() - begun)
    return 2 * side**3 / best


def table(rows: Sequence[Row], rate: float) -> list[str]:
    """One line a row; ratios are package / it, above 1 is better."""
    by = {(row.size.tiles, row.variant): row for row in rows}
    lines = [
        f"{'tiles':>6} {'variant':<10}{'step s':>9}{'slides/s':>10}{'package / it':>14}{'of rounds':>15}{'peak GB':>9}"
        f"{'package / it':>14}{'TFLOP':>8}{'floor s':>9}{'of floor':>9}{'floor GB':>9}{'loss':>9}"
    ]
    for row in rows:
        if row.failed:
            lines.append(f"{row.size.tiles:>6} {row.variant:<10}{row.failed}")
            continue
        package = by.get((row.size.tiles, "package"))
        seconds, floor = statistics.median(row.seconds), row.flops / rate
        lines.append(
            f"{row.size.tiles:>6} {row.variant:<10}{seconds:>9.3f}{row.size.slides / seconds:>10.2f}"
            f"{statistics.median(ratios(package, row)):>14.2f}{spread(ratios(package, row)):>15}"
            f"{row.peak / 1e9:>9.2f}{memory_ratio(package, row):>14.2f}"
            f"{row.flops / 1e12:>8.3f}{floor:>9.3f}{floor / seconds:>9.2f}{row.floor_bytes / 1e9:>9.2f}{row.loss:>9.4f}"
        )
    return lines


def ratios(package: Row | None, row: Row) -> list[float]:
    """The package's seconds over this row's in each round, neighbours in time; not a number where one is missing."""
    if package is None or package.failed or row.failed:
        return [math.nan]
    return [p / o for p, o in zip(package.seconds, row.seconds, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The least and the largest of several."""
    return f"{min(values):.2f}-{max(values):.2f}" if len(values) > 1 else ""


def memory_ratio(package: Row | None, row: Row) -> float:
    return math.nan if package is None or package.failed or row.failed else package.peak / row.peak


def growth(rows: Sequence[Row], variant: str) -> float:
    """Exponent of a slide's seconds in T between the two largest sizes measured: 1 is linear, 2 quadratic."""
    measured = [row for row in rows if row.variant == variant and not row.failed]
    if len(measured) < 2:
        return math.nan
    a, b = measured[-2:]
    cost = [statistics.median(row.seconds) / row.size.slides for row in (a, b)]
    return math.log(cost[1] / cost[0]) / math.log(b.size.tiles / a.size.tiles)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Seconds a slide and peak memory against T, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    colours = dict(zip(VARIANTS, ("#999999", "#0072B2", "#56B4E9", "#D55E00", "#009E73"), strict=True))
    markers = dict(zip(VARIANTS, "svDo^", strict=True))
    for variant in dict.fromkeys(row.variant for row in rows):
        mine = [row for row in rows if row.variant == variant and not row.failed]
        tiles = [row.size.tiles for row in mine]
        style = {"color": colours[variant], "marker": markers[variant], "label": variant}
        axes[0].plot(tiles, [statistics.median(row.seconds) / row.size.slides for row in mine], **style)
        axes[1].plot(tiles, [row.peak / 1e9 for row in mine], **style)
    for axis, title in zip(axes, ("seconds a slide", "peak memory of the step, GB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="tiles a slide", title=title)
        axis.set_xticks([row.size.tiles for row in rows], [f"{row.size.tiles:,}" for row in rows])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 512, 2048, 8192, 32768])
    parser.add_argument("--slides", type=int, default=4, help=f"of a batch; one from {ALONE_FROM} tiles on")
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--genes", type=int, default=10_234)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3, help=f"timed steps; one from {ALONE_FROM} tiles on")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds that a step may be expected to take")
    parser.add_argument("--recompute", action="store_true", help="layers over tiles run again in the backward pass")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        size = Size(options.slides, options.tiles[0], options.features, options.genes, options.width)
        worker(options.worker, size, recompute=options.recompute)
        return

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = product_rate(device)
    seconds = "of the processor" if clock_of(device) is time.process_time else "by the clock"
    print(
        f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32, seconds {seconds}; "
        f"a large product runs at {rate / 1e9:.0f} GFLOP/s\n"
        f"{options.slides} slides (one from {ALONE_FROM:,} tiles on) x tiles x {options.features}, "
        f"{options.genes:,} genes, width {options.width}",
        flush=True,
    )
    rows: list[Row] = []
    for tiles in options.tiles:
        alone = tiles >= ALONE_FROM
        size = Size(1 if alone else options.slides, tiles, options.features, options.genes, options.width)
        rounds = 1 if alone else options.rounds
        found = measure(
            size, options.variants, rounds=rounds, rate=rate, limit=options.limit, recompute=options.recompute
        )
        lines = table(found, rate)
        print("\n".join(lines if not rows else lines[1:]), flush=True)
        rows += found
    if options.picture:
        draw(rows, options.picture)
    print(json.dumps(summary(rows, rate, device)))


def summary(rows: Sequence[Row], rate: float, device: torch.device) -> dict[str, Any]:
    """What the last line says: package / default preset, and package / published with exact attention."""
    by = {(row.size.tiles, row.variant): row for row in rows}
    result: dict[str, Any] = {"device": device.type, "gflops_of_a_product": round(rate / 1e9, 1)}
    for tiles in dict.fromkeys(row.size.tiles for row in rows):
        package = by.get((tiles, "package"))
        for variant, name in (("mirror", ""), ("exact", "_exact"), ("published", "_published")):
            row = by.get((tiles, variant))
            if row is not None and package is not None and not row.failed and not package.failed:
                found = ratios(package, row)
                result[f"step_time_ratio{name}_{tiles}"] = round(statistics.median(found), 3)
                if len(found) > 1:
                    result[f"step_time_ratio{name}_{tiles}_range"] = [round(min(found), 3), round(max(found), 3)]
                result[f"peak_memory_ratio{name}_{tiles}"] = round(memory_ratio(package, row), 3)
        published = by.get((tiles, "published"))
        if package is not None and published is not None and not math.isnan(package.loss - published.loss):
            result[f"loss_gap_{tiles}"] = abs(package.loss - published.loss) / package.loss
    result["growth"] = {
        variant: round(exponent, 2)
        for variant in dict.fromkeys(row.variant for row in rows)
        if not math.isnan(exponent := growth(rows, variant))
    }
    return result


if __name__ == "__main__":
    main()
