"""The variants of a training step, each in a process of its own that is told when to step."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from steps.memory import available_bytes, resident_peak
from torch import Tensor, nn

VARIANTS = ("package", "published", "nystrom", "exact", "mirror")


class Size(NamedTuple):
    """One measured size."""

    slides: int
    tiles: int
    features: int
    genes: int
    width: int


class Stepper:
    """A model of one variant with its objective and optimiser, ready to step on the batch of all."""

    def __init__(self, variant: str, size: Size, device: torch.device, *, recompute: bool = False) -> None:
        from mirror.config import ObjectiveWeights, read_preset
        from mirror.nn.canonical import CanonicalSizes, build_canonical
        from mirror.nn.layers import recompute_residuals
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
            recompute_residuals(model, recompute)
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


def worker(variant: str, size: Size, *, recompute: bool) -> None:
    """A variant's process: counts on a first step, then a timed step for each line it is sent; answers in JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        room = available_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))  # an error of ours instead of the kernel's kill
    try:
        base = resident_peak(device)
        stepper = Stepper(variant, size, device, recompute=recompute)
        flops, loss = operations(stepper)
        answer({"flops": flops, "loss": loss, "floor": base + stepper.least_bytes()})
        clock = clock_of(device)
        for _ in sys.stdin:
            begun = clock()
            stepper.step()
            answer({"seconds": clock() - begun, "peak": resident_peak(device)})
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        answer({"failed": f"needs more than the {available_bytes() / 1e9:.0f} GB that are free"})


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds of the processor where one thread does all the work, else by the clock."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def answer(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)
