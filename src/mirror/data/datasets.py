"""Pairs of slide and expression for training: tiles drawn afresh each epoch, the same with any number of workers.

Legend: B pairs, T tiles, D tile-feature width, G genes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from mirror.data.ahead import ahead
from mirror.data.feature_store import FeatureStore
from mirror.data.mapped import draw_blocks
from mirror.data.panel import AppliedPanel
from mirror.errors import DataError
from mirror.seeding import generator_for
from mirror.types import PairedBatch, Share


class BatchKey(NamedTuple):
    """Names a batch completely: the pairs at `positions` of the cohort `part`, as the epoch `epoch` sees them.

    The tiles and profiles of its `share` are read.
    """

    epoch: int
    positions: tuple[int, ...]
    part: int = 0
    share: Share = Share()


def draw_tiles(available: int, wanted: int, *, generator: torch.Generator, block: int = 1) -> NDArray[np.intp]:
    """Rows of `wanted` tiles in random order, with replacement only where the slide has fewer (METHOD section 6).

    A `block` larger than 1 says that the file has its rows in random order, of which `block` neighbours are read
    together.
    """
    if available >= wanted and block > 1:
        return draw_blocks(available, wanted, block=block, generator=generator)
    if available >= wanted:
        drawn = torch.randperm(available, generator=generator)[:wanted]
    else:
        drawn = torch.randint(available, (wanted,), generator=generator)
    return drawn.numpy().astype(np.intp)


def batches_of_epoch(pairs: int, batch: int, *, seed: int, epoch: int) -> tuple[BatchKey, ...]:
    """The shuffled batches of an epoch, each pair in exactly one.

    The last batch may be smaller; a last pair that would be alone joins the batch before it, because a contrastive
    batch of one has no negatives.
    """
    order = torch.randperm(pairs, generator=generator_for(seed, "order", epoch)).tolist()
    starts = list(range(0, pairs, batch))
    if len(starts) > 1 and pairs - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], pairs]
    return tuple(BatchKey(epoch, tuple(order[start:end])) for start, end in zip(starts, ends, strict=True))


class Affine(NamedTuple):
    """`x * scale + shift`, both float32 of the columns' number: one cohort's features in another's units."""

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]


class PairedSlides(Dataset[PairedBatch]):
    """Slides with the expression of their patients; asked for whole batches, which it reads into one tensor.

    `owners` gives each slide its patient, `profiles` the patients' expression as the panel gives it. A slide whose
    patient has none gets a row of NaN where `lone` allows it; patients of `profiles` named in `without_slide` follow
    after the slides, with tiles of NaN. `tile_units` takes the features to other units. Raises `DataError` when there
    are fewer than two slides, or a patient has no profile and `lone` is False.
    """

    def __init__(
        self,
        store: FeatureStore,
        owners: Mapping[str, str],
        profiles: AppliedPanel,
        *,
        tiles: int,
        seed: int,
        lone: bool = False,
        without_slide: Sequence[str] = (),
        tile_units: Affine | None = None,
    ) -> None:
        if len(owners) < 2:
            raise DataError(f"{len(owners)} slides have expression; training needs two pairs at least")
        self.slides = (*owners, *("" for _ in without_slide))
        self.patients = (*owners.values(), *without_slide)
        place = {patient: row for row, patient in enumerate(profiles.patients)}
        absent = sorted(set(self.patients) - set(place))
        if absent and not lone:
            raise DataError(
                f"{len(absent)} patients have no expression ({', '.join(absent[:5])}); leave their slides out"
            )
        nobody = np.full((1, profiles.values.shape[1]), np.nan, dtype=profiles.values.dtype)
        self._profile = np.array([place.get(patient, len(place)) for patient in self.patients])
        self._values_PG = np.concatenate([profiles.values, nobody]) if absent else profiles.values
        self._tile_units = tile_units
        self._store, self._tiles, self._seed = store, tiles, seed

    def __len__(self) -> int:
        return len(self.slides)

    def __getitem__(self, key: BatchKey) -> PairedBatch:
        computed = key.positions[key.share.computed(len(key.positions))]
        width = self._store.bag(self.slides[0]).width
        tiles_BTD = torch.full((len(computed), self._tiles, width), torch.nan)
        for place, slide in enumerate(self.slides[position] for position in computed):
            if not slide:
                continue
            bag = self._store.bag(slide)
            generator = generator_for(self._seed, "tiles", slide, key.epoch)
            rows = draw_tiles(bag.tiles, self._tiles, generator=generator, block=bag.block)
            tiles_BTD[place] = torch.from_numpy(bag.read(rows))
        if self._tile_units is not None:
            tiles_BTD = tiles_BTD * torch.from_numpy(self._tile_units.scale) + torch.from_numpy(self._tile_units.shift)
        expression_BG = torch.from_numpy(self._values_PG[self._profile[list(computed)]])
        slides = tuple(self.slides[position] for position in key.positions)
        patients = tuple(self.patients[position] for position in key.positions)
        return PairedBatch(slides, patients, tiles_BTD, expression_BG)


class PooledSlides(Dataset[PairedBatch]):
    """The slides of several cohorts; a batch is of one of them, so that negatives are of the same disease."""

    def __init__(self, parts: Sequence[PairedSlides]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, key: BatchKey) -> PairedBatch:
        return self.parts[key.part][key]


class PairLoader:
    """Reads the batches of one epoch after another, ahead of what is computed on them.

    In `workers` processes that stay alive between epochs, or, with none, one batch ahead in a thread.

    `batch` is the size of the whole batch, of which only the rows of `share` are read.
    """

    def __init__(
        self,
        *parts: PairedSlides,
        batch: int,
        seed: int,
        workers: int = 0,
        pin_memory: bool = False,
        share: Share = Share(),  # noqa: B008 - immutable
    ) -> None:
        self._order = _EpochOrder(tuple(map(len, parts)), batch, seed, share)
        self._loader = DataLoader(
            PooledSlides(parts),
            batch_size=None,  # the sampler names whole batches
            sampler=self._order,
            collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType] (typed for lists of items only)
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # torch draws a seed for each epoch; not from the global stream of the caller
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._order)

    def epoch(self, number: int) -> Iterator[PairedBatch]:
        """The batches of epoch `number`, which depend on nothing but the seed and that number."""
        self._order.epoch = number
        for batch in ahead(self._loader) if self._loader.num_workers == 0 else self._loader:
            # Pinning turns the tuples of names into lists.
            yield batch._replace(slides=tuple(batch.slides), patients=tuple(batch.patients))


class _EpochOrder(Sampler[BatchKey]):
    def __init__(self, parts: tuple[int, ...], batch: int, seed: int, share: Share) -> None:
        self.epoch = 0
        self._parts, self._batch, self._seed, self._share = parts, batch, seed, share

    def __len__(self) -> int:
        return sum(len(batches_of_epoch(pairs, self._batch, seed=self._seed, epoch=0)) for pairs in self._parts)

    def __iter__(self) -> Iterator[BatchKey]:
        keys = [
            key._replace(part=part, share=self._share)
            for part, pairs in enumerate(self._parts)
            for key in batches_of_epoch(pairs, self._batch, seed=self._seed, epoch=self.epoch)
        ]
        if len(self._parts) == 1:
            return iter(keys)
        order = torch.randperm(len(keys), generator=generator_for(self._seed, "cohorts", self.epoch)).tolist()
        return iter([keys[place] for place in order])


def _as_it_is(batch: PairedBatch) -> PairedBatch:
    return batch
