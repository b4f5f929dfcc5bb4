"""A pretraining step of the published model: our attention against the `nystrom-attention` package, in one run.

    python benchmarks/step.py [--slides 4 --tiles 2048 --rounds 3]

Each variant trains the same model (same weights, batch, masks) and takes turns with the others, so a noisy machine
disturbs all alike; the ratio of a round compares neighbours in time. Peak memory is the resident peak of a process of
its own. `package` and `nystrom` compute the same numbers (their losses are printed); `exact` is what Nystrom
approximates, and what `attention: auto` runs at this size.

Floor: a Nystrom step at the published size spends 3 layers x 6 pseudo-inverse steps x 4 products of 384 x 384 in each
of 8 heads a slide, three times over with the backward pass; the table prints that arithmetic and the rate reached.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

import torch
from nystrom_attention import NystromAttention
from torch import nn

from mirror.config import ObjectiveWeights, read_preset
from mirror.nn.attention import PINV_STEPS, TokenAttention
from mirror.nn.mirror import Mirror, MirrorSizes, build_mirror
from mirror.seeding import generator_for
from mirror.tasks.pretraining import Pretraining
from mirror.types import PairedBatch

VARIANTS = ("package", "nystrom", "exact")


class Size(NamedTuple):
    """One measured size; the defaults of the command line are the published one."""

    slides: int
    tiles: int
    features: int
    genes: int
    width: int


class Stepper:
    """A model of one variant, ready to step on the same batch as the others."""

    def __init__(self, variant: str, size: Size, device: torch.device) -> None:
        sizes = MirrorSizes(
            tile_dim=size.features,
            genes=size.genes,
            tiles=size.tiles,
            width=size.width,
            dropout=0.0,  # the package drops out its padding rows too, so equal seeds would not give equal numbers
            attention="exact" if variant == "exact" else "nystrom",
        )
        model = build_mirror(sizes, generator=generator_for(0, "weights"))
        if variant == "package":
            use_package(model)
        self._task = Pretraining(
            model.to(device), ObjectiveWeights(**read_preset("published")["pretraining"]["weights"])
        )
        self._optimiser = torch.optim.Adam(model.parameters(), lr=2e-5)
        self._device = device
        generator = generator_for(0, "batch")
        self._batch = PairedBatch(
            slides=(),
            patients=(),
            tiles_BTD=torch.randn(size.slides, size.tiles, size.features, generator=generator).to(device),
            expression_BG=torch.randn(size.slides, size.genes, generator=generator).to(device),
        )

    def step(self) -> float:
        """One whole training step; the loss before its update."""
        terms = self._task.terms(self._batch, generator=generator_for(0, "draws", device=self._device))
        self._optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        self._optimiser.step()
        self._task.after_update()
        return float(terms["total"].detach())  # waits for the device


def use_package(model: Mirror) -> None:
    """Put the package's attention, with the same weights, in the place of every slide attention of `model`."""
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


def peak_bytes(variant: str, size: Size, device: torch.device) -> int:
    """Peak memory of two steps: of the GPU where there is one, else resident memory of this (fresh) process."""
    stepper = Stepper(variant, size, device)
    stepper.step()
    stepper.step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pinv_flops(size: Size) -> float:
    """Floating point operations of the pseudo-inverses of one step, forward and backward."""
    return 3 * 3 * size.slides * 8 * PINV_STEPS * 4 * 2 * (size.width // 2) ** 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=4)
    parser.add_argument("--tiles", type=int, default=2048)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--genes", type=int, default=10_234)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = Size(options.slides, options.tiles, options.features, options.genes, options.width)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.memory_of:
        print(peak_bytes(options.memory_of, size, device))
        return

    arguments = [a for name in size._fields for a in (f"--{name}", str(getattr(size, name)))]
    peaks: dict[str, int] = {}
    for variant in VARIANTS:
        command = [sys.executable, __file__, *arguments, "--memory-of", variant]
        peaks[variant] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    steppers = {variant: Stepper(variant, size, device) for variant in VARIANTS}
    losses = {variant: stepper.step() for variant, stepper in steppers.items()}  # the first step also warms up
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(options.rounds):
        for variant, stepper in steppers.items():
            begun = time.perf_counter()
            stepper.step()
            seconds[variant].append(time.perf_counter() - begun)
    ratios = {
        variant: statistics.median(p / o for p, o in zip(seconds["package"], seconds[variant], strict=True))
        for variant in VARIANTS
    }

    print(f"{size.slides} slides x {size.tiles} tiles x {size.features}, {size.genes} genes, width {size.width}, fp32")
    print(
        f"{device.type}, {torch.get_num_threads()} threads, {options.rounds} rounds in turns, torch {torch.__version__}"
    )
    print(f"{'attention':<10}{'step s':>9}{'package / it':>14}{'peak GB':>9}{'package / it':>14}{'loss':>10}")
    for variant in VARIANTS:
        print(
            f"{variant:<10}{statistics.median(seconds[variant]):>9.2f}{ratios[variant]:>14.2f}"
            f"{peaks[variant] / 1e9:>9.2f}{peaks['package'] / peaks[variant]:>14.2f}{losses[variant]:>10.4f}"
        )
    rate = pinv_flops(size) / statistics.median(seconds["nystrom"]) / 1e9
    print(
        f"pseudo-inverses alone: {pinv_flops(size) / 1e12:.2f} TFLOP a Nystrom step "
        f"({rate:.0f} GFLOP/s if it did nothing else)"
    )
    result = {
        "step_time_ratio": round(ratios["nystrom"], 3),
        "peak_memory_ratio": round(peaks["package"] / peaks["nystrom"], 3),
        "step_time_ratio_exact": round(ratios["exact"], 3),
        "peak_memory_ratio_exact": round(peaks["package"] / peaks["exact"], 3),
        "loss_gap": abs(losses["package"] - losses["nystrom"]) / losses["package"],
        "step_seconds": {variant: round(statistics.median(times), 3) for variant, times in seconds.items()},
        "tiles": size.tiles,
        "device": device.type,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
