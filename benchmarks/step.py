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
says so.

Floors: the operations of a step as torch's counter has them, over the rate of a large float32 product measured in this
run; and the memory of weights, gradients, two moments and the batch, libraries included as in the resident peak.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

VARIANTS = ("package", "published", "nystrom", "exact", "mirror")
ALONE_FROM = 8192
"""From this many tiles on a batch has one slide and every variant one timed step: they take minutes."""


class Size(NamedTuple):
    """One measured size."""

    slides: int
    tiles: int
    features: int
    genes: int
    width: int


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


class Stepper:
    """A model of one variant with its objective and optimiser, ready to step on the batch of all."""

    def __init__(self, variant: str, size: Size, device: torch.device) -> None:
        from mirror.config import ObjectiveWeights, read_preset
        from mirror.nn.canonical import CanonicalSizes, build_canonical
        from mirror.nn.mirror import MirrorSizes, build_mirror
        from mirror.seeding import generator_for
        from mirror.tasks.canonical_pretraining import CanonicalPretraining
        from mirror.tasks.pretraining import Pretraining
        from mirror.types import PairedBatch

        preset = read_preset("mirror" if variant == "mirror" else "published")
        weights = ObjectiveWeights(**preset["pretraining"]["weights"])
        first = generator_for(0, "weights")
        if variant == "mirror":
            settings = {name: value for name, value in preset["model"].items() if name != "kind"}
            sizes = CanonicalSizes(tile_dim=size.features, genes=size.genes, **settings)
            self.task: Any = CanonicalPretraining(build_canonical(sizes, generator=first).to(device), weights)
        else:
            sizes = MirrorSizes(
                tile_dim=size.features,
                genes=size.genes,
                tiles=size.tiles,
                width=size.width,
                dropout=0.0,  # the package drops out its padding rows too: equal seeds would not give equal numbers
                attention="exact" if variant == "exact" else "nystrom",
                pinv_scaling="slide" if variant == "nystrom" else "batch",
                mask_padding=variant == "nystrom",
            )
            model = build_mirror(sizes, generator=first)
            if variant == "package":
                use_package(model)
            self.task = Pretraining(model.to(device), weights)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[preset["pretraining"].get("optimiser", "adam")]
        self._optimiser = kind(self.task.model.parameters(), lr=2e-5, fused=variant != "package")
        self._draws = lambda: generator_for(0, "draws", device=device)
        batch = generator_for(0, "batch")
        self._batch = PairedBatch(
            slides=tuple(map(str, range(size.slides))),
            patients=tuple(map(str, range(size.slides))),
            tiles_BTD=torch.randn(size.slides, size.tiles, size.features, generator=batch).to(device),
            expression_BG=torch.randn(size.slides, size.genes, generator=batch).to(device),
        )

    def step(self) -> float:
        """One whole training step; the loss before its update."""
        terms: dict[str, Tensor] = self.task.terms(self._batch, generator=self._draws())
        self._optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        self._optimiser.step()
        self.task.after_update()
        return float(terms["total"].detach())  # waits for the device

    def least_bytes(self) -> int:
        """Weights, gradients, two moments of what is trained, what is not, and the batch."""
        trained = sum(p.nbytes for p in self.task.model.parameters())
        kept = sum(b.nbytes for b in self.task.model.buffers())
        return 4 * trained + kept + self._batch.tiles_BTD.nbytes + self._batch.expression_BG.nbytes


def use_package(model: nn.Module) -> None:
    """Put the package's attention, with the same weights, in the place of every slide attention of `model`."""
    from nystrom_attention import NystromAttention

    from mirror.nn.attention import PINV_STEPS, TokenAttention

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, TokenAttention):
                continue
            width, form = child.project.in_features, child.form
            attention = NystromAttention(
                dim=width,
                dim_head=width // form.heads,
                heads=form.heads,
                num_landmarks=form.landmarks,
                pinv_iterations=PINV_STEPS,
                residual=True,
                dropout=form.dropout,
            )
            attention.to_qkv.weight = child.qkv.weight
            attention.res_conv.weight = child.value_conv.weight
            projection: nn.Linear = attention.to_out[0]
            projection.weight, projection.bias = child.project.weight, child.project.bias
            setattr(parent, name, attention)


def operations(stepper: Stepper) -> tuple[float, float]:
    """Floating point operations of one step, and its loss."""
    from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

    def convolution_backward(
        out: Sequence[int], x: Sequence[int], w: Sequence[int], _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool,
        *_: Any, out_shape: Any = None, **__: Any,
    ) -> int:  # fmt: skip
        # torch's own formula forgets the groups, which makes a depthwise convolution a thousand times too dear
        del out_shape
        return 2 * conv_flop_count(x, w, out, transposed=transposed)

    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward}
    ) as counter:
        loss = stepper.step()
    return float(counter.get_total_flops()), loss


def worker(variant: str, size: Size) -> None:
    """A variant's process: counts on a first step, then a timed step for each line it is sent; answers in JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        room = available_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))  # an error of ours instead of the kernel's kill
    try:
        base = resident_peak(device)
        stepper = Stepper(variant, size, device)
        flops, loss = operations(stepper)
        answer({"flops": flops, "loss": loss, "floor": base + stepper.least_bytes()})
        for _ in sys.stdin:
            begun = time.perf_counter()
            stepper.step()
            answer({"seconds": time.perf_counter() - begun, "peak": resident_peak(device)})
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        answer({"failed": f"needs more than the {available_bytes() / 1e9:.0f} GB that are free"})


def answer(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


def resident_peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


class Process:
    """The process of one variant at one size."""

    def __init__(self, variant: str, size: Size) -> None:
        sizes = [part for name in size._fields for part in (f"--{name}", str(getattr(size, name)))]
        command = [sys.executable, __file__, *sizes, "--worker", variant]
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


def measure(size: Size, variants: Sequence[str], *, rounds: int, rate: float, limit: float) -> list[Row]:
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
        processes[variant] = Process(variant, size)
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
    a = torch.randn(side, side, device=device)
    best = math.inf
    for _ in range(5):
        begun = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best


def table(rows: Sequence[Row], rate: float) -> list[str]:
    """One line a row; ratios are package / it, above 1 is better."""
    by = {(row.size.tiles, row.variant): row for row in rows}
    lines = [
        f"{'tiles':>6} {'variant':<10}{'step s':>9}{'slides/s':>10}{'package / it':>14}{'peak GB':>9}"
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
            f"{ratio(package, row):>14.2f}{row.peak / 1e9:>9.2f}{memory_ratio(package, row):>14.2f}"
            f"{row.flops / 1e12:>8.3f}{floor:>9.3f}{floor / seconds:>9.2f}{row.floor_bytes / 1e9:>9.2f}{row.loss:>9.4f}"
        )
    return lines


def ratio(package: Row | None, row: Row) -> float:
    """Median over rounds of the package's seconds over this row's: neighbours in time."""
    if package is None or package.failed or row.failed:
        return math.nan
    return statistics.median(p / o for p, o in zip(package.seconds, row.seconds, strict=True))


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
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a step may be expected to take")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, Size(options.slides, options.tiles[0], options.features, options.genes, options.width))
        return

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = product_rate(device)
    print(
        f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32; a large product runs at "
        f"{rate / 1e9:.0f} GFLOP/s\n{options.slides} slides (one from {ALONE_FROM:,} tiles on) x tiles x "
        f"{options.features}, {options.genes:,} genes, width {options.width}",
        flush=True,
    )
    rows: list[Row] = []
    for tiles in options.tiles:
        alone = tiles >= ALONE_FROM
        size = Size(1 if alone else options.slides, tiles, options.features, options.genes, options.width)
        rounds = 1 if alone else options.rounds
        found = measure(size, options.variants, rounds=rounds, rate=rate, limit=options.limit)
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
                result[f"step_time_ratio{name}_{tiles}"] = round(ratio(package, row), 3)
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
