"""The slides and the profile of each patient, as supervised models read them: drawn for training, whole for judging.

Legend: B patients, T tiles, D tile-feature width, G genes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirror.data.datasets import draw_tiles
from mirror.data.feature_store import FeatureStore
from mirror.seeding import generator_for, rng_for

KEPT_BYTES = 2 << 30
"""Tile features that are kept in memory once they were read; the others are read again in each epoch."""


class PatientBags:
    """Tiles by slide, slides by patient, and a profile by patient, (G,) float32; a patient may lack the latter."""

    def __init__(
        self,
        store: FeatureStore,
        slides: Mapping[str, Sequence[str]],
        profiles: Mapping[str, NDArray[np.float32]],
        *,
        seed: int,
    ) -> None:
        self._store, self._slides, self._profiles, self._seed = store, slides, profiles, seed
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._room = KEPT_BYTES

    def with_profiles(self, profiles: Mapping[str, NDArray[np.float32]]) -> PatientBags:
        """The same slides, what was read of them included, with other profiles."""
        other = copy.copy(self)
        other._profiles = profiles
        return other

    def drawn(self, patients: Sequence[str], *, tiles: int, epoch: int) -> Tensor:
        """(B, T, D): of each patient `tiles` tiles of one slide, both drawn afresh each epoch."""
        bags: list[NDArray[np.float32]] = []
        for patient in patients:
            slides = self._slides[patient]
            slide = slides[int(rng_for(self._seed, "slide", patient, epoch).integers(len(slides)))]
            bag = self._bag(slide)
            generator = generator_for(self._seed, "tiles", slide, epoch)
            bags.append(bag[draw_tiles(len(bag), tiles, generator=generator)])
        return torch.from_numpy(np.stack(bags))

    def whole(self, patient: str) -> list[Tensor]:
        """All tiles of each of the patient's slides, (1, T, D)."""
        return [torch.from_numpy(self._bag(slide))[None] for slide in self._slides[patient]]

    def profile(self, patients: Sequence[str]) -> Tensor:
        """(B, G) of patients who have one."""
        return torch.from_numpy(np.stack([self._profiles[patient] for patient in patients]))

    def moments(self, patients: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean and deviation (D,) of the tiles of these patients, every slide counting the same."""
        slides = [slide for patient in patients for slide in self._slides[patient]]
        first = np.mean([self._bag(slide).mean(axis=0, dtype=np.float64) for slide in slides], axis=0)
        second = np.mean([((self._bag(slide) - first) ** 2).mean(axis=0) for slide in slides], axis=0)
        scale = np.where(second > 1e-12, np.sqrt(second), 1.0)
        return torch.from_numpy(first).float(), torch.from_numpy(scale).float()

    def _bag(self, slide: str) -> NDArray[np.float32]:
        if slide in self._kept:
            return self._kept[slide]
        bag = self._store.bag(slide).read()
        if bag.nbytes <= self._room:
            self._kept[slide] = bag
            self._room -= bag.nbytes
        return bag
