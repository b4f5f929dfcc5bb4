"""Losses and gradients of single steps, computed by one process or by several that share every batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from mirror.config import CanonicalModelConfig, ObjectiveWeights, PublishedModelConfig, read_preset
from mirror.nn.canonical import build_canonical
from mirror.nn.mirror import build_mirror
from mirror.seeding import generator_for
from mirror.tasks.canonical_pretraining import CanonicalPretraining, canonical_sizes
from mirror.tasks.pretraining import Pretraining, mirror_sizes
from mirror.training.distributed import Ranks
from mirror.types import PairedBatch, Share

TILES, WIDTH, GENES = 20, 6, 15
SMALL: dict[str, dict[str, Any]] = {
    "published": {"width": 24, "style_hidden": 16, "style_out": 12, "style_latent": 8, "prototypes": 10},
    "canonical": {"components": 6, "hidden": 12, "prototypes": 5},
}
PRESETS = ("published", "alignment-only", "mirror")
BATCHES = (8, 7, 2, 1)
"""Divided evenly, unevenly, down to one row a rank, and one rank without any."""


class Step(NamedTuple):
    """Named terms, and the gradient of every parameter by name."""

    terms: dict[str, Tensor]
    gradients: dict[str, Tensor]


Steps: TypeAlias = dict[tuple[str, int], Step]
"""By preset and size of the batch."""


def task_of(
    preset: str, ranks: Ranks, *, dropout: float = 0.0, rows_at_once: int | None = None
) -> Pretraining | CanonicalPretraining:
    """The task of a preset at a small size, its weights moved away from zero.

    Where not all rows are encoded at once, slides do not depend on their company.
    """
    sections = read_preset(preset)
    kind = sections["model"].get("kind", "published")
    settings: dict[str, Any] = {**sections["model"], **SMALL[kind], "dropout": dropout}
    weights = ObjectiveWeights(**sections["pretraining"]["weights"])
    if kind == "published":
        if rows_at_once is not None:
            settings["pinv_scaling"] = "slide"
        sizes = mirror_sizes(PublishedModelConfig(**settings), tile_dim=WIDTH, genes=GENES, tiles=TILES)
        model = build_mirror(sizes, generator=generator_for(0, "weights"))
        return Pretraining(model, weights, ranks=ranks, rows_at_once=rows_at_once)
    model = build_canonical(
        canonical_sizes(CanonicalModelConfig(**settings), tile_dim=WIDTH, genes=GENES),
        generator=generator_for(0, "weights"),
    )
    for parameter in model.parameters():  # a network that starts at zero has no gradient behind its last layer
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator_for(0, "moved"))
    return CanonicalPretraining(model, weights, ranks=ranks, rows_at_once=rows_at_once)


def batch_of(size: int, share: Share, *, lone: bool) -> PairedBatch:
    """A batch whose first patient has two slides (of more than two); where `lone`, some have no expression."""
    generator = generator_for(size, "batch")
    tiles = torch.randn(size, TILES, WIDTH, generator=generator)
    expression = torch.randn(size, GENES, generator=generator)
    names = tuple(f"p{max(row - int(size > 2), 0)}" for row in range(size))
    if lone and size > 2:
        expression[2::3] = torch.nan
        expression[-1] = torch.nan
        tiles[1] = torch.nan
    rows = share.computed(size)
    return PairedBatch(tuple(f"s{row}" for row in range(size)), names, tiles[rows], expression[rows])


def steps(share: Share = Share(), rows_at_once: int | None = None) -> Steps:  # noqa: B008 - immutable
    """One step for each preset and size of batch."""
    found: Steps = {}
    for preset in PRESETS:
        task = task_of(preset, Ranks(share), rows_at_once=rows_at_once)
        for size in BATCHES:
            task.model.zero_grad()
            batch = batch_of(size, share, lone=preset != "published")
            terms = task.terms(batch, generator=generator_for(0, "draws", size))
            terms["total"].backward()
            gradients = {
                name: torch.zeros_like(one) if one.grad is None else one.grad.clone()
                for name, one in task.model.named_parameters()
            }
            found[preset, size] = Step({name: term.detach() for name, term in terms.items()}, gradients)
    return found


def work(rank: int, world: int, folder: Path, rows_at_once: int | None) -> None:
    """The steps as one of several processes takes them, left in `folder` by each."""
    torch.set_num_threads(1)
    store = f"file://{folder / 'meet'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    taken = steps(Share(rank, world), rows_at_once)
    torch.save({key: step._asdict() for key, step in taken.items()}, folder / f"rank{rank}.pt")
    dist.destroy_process_group()
