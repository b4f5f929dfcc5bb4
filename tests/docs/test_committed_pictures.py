"""The pictures that pages show have the colours that they had when they were taken."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from project_scripts import load_script

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
ENDS = [255 * np.array(mpl.colormaps["RdBu_r"](end)[:3]) for end in (0.0, 1.0)]
"""Dark blue and dark red, which are 62 apart at the most in one channel: a palette made one colour of both."""


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def scale_of(page: np.ndarray, *, tolerance: float) -> tuple[int, int, int] | None:
    """Row and both ends of the longest stretch that begins as dark blue, ends as dark red and is lightest halfway."""
    best: tuple[int, int, int] | None = None
    for row in range(len(page)):
        low, high = (np.flatnonzero((abs(page[row] - end) <= tolerance).all(axis=1)) for end in ENDS)
        if not len(low) or not len(high) or high[-1] - low[0] < 60:
            continue
        line = page[row, low[0] : high[-1] + 1]
        middle = line[len(line) // 2]
        if middle.min() > 235 and (best is None or high[-1] - low[0] > best[2] - best[1]):
            best = row, int(low[0]), int(high[-1])
    return best


@pytest.mark.parametrize(("name", "tolerance"), [("heat.png", 6), ("view.png", 15)])
def test_the_scale_of_a_heat_goes_from_the_maps_one_end_to_its_other(name: str, tolerance: float) -> None:
    page = rgb(PICTURES / name)
    found = scale_of(page, tolerance=tolerance)  # the page's scale is a tenth as long: every pixel is a mean of steps
    assert found is not None, f"docs/pictures/{name} has no scale with the colours of RdBu; take it again"
    row, left, right = found
    # In between, too: the pictures are made smaller, and a scale may end in arrows, so by eighths and loosely.
    for share in (0.25, 0.5, 0.75):
        seen = page[row, round(left + share * (right - left))]
        near = [255 * np.array(mpl.colormaps["RdBu_r"](at)[:3]) for at in np.linspace(share - 0.1, share + 0.1, 41)]
        assert min(abs(seen - one).max() for one in near) <= 8
    darkest = page.reshape(-1, 3)[page.sum(axis=2).argmin()]
    assert np.ptp(darkest) <= 45, "text is of the colour of ink"


def test_a_picture_keeps_its_colours_when_it_is_made_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = load_script("docs/update_pictures")
    page = np.full((600, 1200, 3), 255, dtype=np.uint8)
    page[:400] = np.random.default_rng(0).integers(0, 255, (400, 1200, 3))  # many more colours than a palette has
    page[500:520, 100:1100] = (255 * mpl.colormaps["RdBu_r"](np.linspace(0, 1, 1000))[:, :3]).round()
    Image.fromarray(page).save(tmp_path / "page.png")
    monkeypatch.setattr("sys.argv", ["update_pictures.py", str(tmp_path / "page.png"), str(tmp_path / "small.png")])
    pictures.main()
    assert scale_of(rgb(tmp_path / "small.png"), tolerance=6) is not None
