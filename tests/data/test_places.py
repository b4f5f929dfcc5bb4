"""Where tiles lie: what files of three tools say of it, and what is made of one that says nothing."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.feature_store import Bag
from mirror.data.places import tile_places
from mirror.errors import DataError

COORDS = np.array([[0, 0], [256, 0], [768, 0], [0, 256], [256, 512]])


def foreign(path: Path, coords: np.ndarray, **attributes: object) -> Bag:
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((len(coords), 4), dtype=np.float32)
        file["coords"] = coords
        file["coords"].attrs.update(attributes)
    return Bag(path)


def test_our_own_file_says_all_of_it(tmp_path: Path) -> None:
    facts = BagFacts(tile_level0_px=512.5, slide_mpp=0.25)
    write_bag(tmp_path / "a.h5", np.ones((5, 4)), coords=COORDS, facts=facts, order_seed=3)
    found = tile_places(Bag(tmp_path / "a.h5"))
    assert found is not None and (found.side, found.side_from, found.mpp) == (512.5, "file", 0.25)
    assert sorted(map(tuple, found.coords)) == sorted(map(tuple, COORDS))


def test_tridents_attribute_counts_and_else_the_spacing_does(tmp_path: Path) -> None:
    told = tile_places(foreign(tmp_path / "t.h5", COORDS, patch_size_level0=1024))
    silent = tile_places(foreign(tmp_path / "c.h5", COORDS))
    assert told is not None and (told.side, told.side_from) == (1024, "file")
    assert silent is not None and (silent.side, silent.side_from, silent.mpp) == (256, "spacing", None)


def test_without_coordinates_there_are_no_places(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 4), tmp_path / "a.pt")
    write_bag(tmp_path / "um.h5", np.ones((5, 4)), coords=COORDS, coords_unit="um")
    assert tile_places(Bag(tmp_path / "a.pt")) is None
    assert tile_places(Bag(tmp_path / "um.h5")) is None


def test_a_side_that_nobody_can_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not say how wide a tile is"):
        tile_places(foreign(tmp_path / "one.h5", np.array([[0, 0], [300, 700]])))
