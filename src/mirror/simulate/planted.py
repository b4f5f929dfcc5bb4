"""Where in a simulated slide its factors sit: a map of the tumour beside the slides, for explanations to be held to.

Legend: T tiles, H, W height and width of a map.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirror.artefacts import write_aside


def write_planted(folder: Path, slide: str, tumour_HW: NDArray[np.bool_], *, px: int) -> None:
    """Write which places of a slide are tumour, each `px` level-0 px wide, to `planted/<slide>.npz`."""
    content = io.BytesIO()
    np.savez_compressed(content, tumour=tumour_HW, px=np.int64(px))
    with write_aside(folder / "planted" / f"{slide}.npz") as aside:
        aside.write_bytes(content.getvalue())


def planted_share(folder: Path, slide: str, coords_T2: NDArray[np.integer], side: float) -> NDArray[np.float64]:
    """How much of each tile is tumour (T,): of tiles `side` wide with their corners at `coords_T2` (x, y), level-0
    px. What a tile has beyond the map counts as glass."""
    with np.load(folder / "planted" / f"{slide}.npz", allow_pickle=False) as content:
        tumour_HW, px = content["tumour"], int(content["px"])
    summed = np.pad(tumour_HW.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    height, width = tumour_HW.shape
    low, high = np.rint(coords_T2 / px).astype(int), np.rint((coords_T2 + side) / px).astype(int)
    (left, top), (right, bottom) = (np.clip(ends.T, 0, [[width], [height]]) for ends in (low, high))
    inside = summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left]
    return inside / np.maximum((high - low).prod(axis=1), 1)
