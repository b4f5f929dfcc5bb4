"""A slide whose pixels fill only a part of the canvas, as a Leica scanner writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

CLICKS = 100
"""Steps of the scanner's stage a pixel; positions are written in them."""


def write_bounded(
    path: Path, image: np.ndarray, *, canvas: tuple[int, int], at: tuple[int, int], mpp: float = 0.5
) -> None:
    """BigTIFF that OpenSlide opens as `leica`: `image` (H, W, 3) with its corner `at` (x, y) of the `canvas`
    (width, height), level-0 px."""
    height, width = image.shape[:2]

    def size(across: int, down: int) -> str:
        return f'sizeX="{across}" sizeY="{down}"'

    left, up, *wide = (CLICKS * length for length in (*at, width, height))
    description = f"""<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
 <collection name="c" {size(CLICKS * canvas[0], CLICKS * canvas[1])}>
  <image name="i">
   <pixels {size(width, height)}><dimension ifd="0" {size(width, height)}/></pixels>
   <view {size(*wide)} offsetX="{left}" offsetY="{up}" spacingZ="0"/>
   <scanSettings>
    <objectiveSettings><objective>20</objective></objectiveSettings>
    <illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>
   </scanSettings>
  </image>
 </collection>
</scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            image, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None, description=description,
            resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER",
        )  # fmt: skip
