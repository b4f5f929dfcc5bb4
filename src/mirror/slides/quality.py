"""Pictures to judge a cohort by: a sheet a slide, and one page with all of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mirror.artefacts import write_aside, write_text
from mirror.slides.account import SlideAccount, State
from mirror.slides.scan import Overview
from mirror.slides.tissue import TileGrid

SIDE = 1000
"""Longest side of a sheet, px."""
_OUTLINE = (0, 150, 60)
_TILE = (30, 60, 220)
_LARGE = 40
"""Width of a tile on the sheet, px, from which its line may be thick enough to be seen on the contact page."""
_ORDER: dict[State, int] = {"failed": 0, "started": 1, "waiting": 2, "done": 3}


def write_sheet(path: Path, overview: Overview, grid: TileGrid | None, tissues: Sequence[object] = ()) -> None:
    """Write the slide's picture with the outline of its tissue (green) and its tiles (blue) as JPEG.

    Without a grid the picture and whatever tissue was found stand alone: that shows why a slide failed.
    """
    height, width = overview.image.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    enlarge = max(1, round(700 / max(height, width))) if shrink == 1.0 else 1  # a small region, as sample slides are
    by = shrink * enlarge / overview.downsample
    size = (max(1, round(width * shrink * enlarge)), max(1, round(height * shrink * enlarge)))
    picture = cv2.resize(overview.image, size, interpolation=cv2.INTER_AREA if enlarge == 1 else cv2.INTER_LINEAR)
    if grid is not None:
        shade = picture.copy()
        line = 2 if grid.side * by > _LARGE else 1
        for x, y in grid.coords:
            corner, opposite = _point(x, y, by), _point(x + grid.side, y + grid.side, by)
            cv2.rectangle(shade, corner, opposite, _TILE, line)
        picture = cv2.addWeighted(shade, 0.7, picture, 0.3, 0)
    for tissue in tissues:
        for ring in (tissue.exterior, *tissue.interiors):  # pyright: ignore[reportAttributeAccessIssue]
            points: NDArray[np.int32] = np.rint(np.asarray(ring.coords)[:, :2] * by).astype(np.int32)
            cv2.polylines(picture, [points], True, _OUTLINE, 2)
    image = io.BytesIO()
    Image.fromarray(picture).save(image, "JPEG", quality=85)
    with write_aside(path) as aside:
        aside.write_bytes(image.getvalue())


def write_contact_page(path: Path, accounts: Iterable[SlideAccount], sheets: Path) -> None:
    """Write one HTML page with every slide's sheet and account, those that failed first and those done last."""
    ordered = sorted(accounts, key=lambda account: (_ORDER[account.state], account.slide))
    done = sum(account.state == "done" for account in ordered)
    cards = "\n".join(_card(account, path.parent, sheets) for account in ordered)
    write_text(path, _PAGE.format(total=len(ordered), done=done, cards=cards))


def _card(account: SlideAccount, beside: Path, sheets: Path) -> str:
    sheet = sheets / f"{account.slide}.jpg"
    address = quote(sheet.relative_to(beside).as_posix())
    picture = (
        f'<a href="{address}"><img loading="lazy" alt="" src="{address}"></a>'
        if sheet.exists()
        else "<p>no picture</p>"
    )
    if account.state == "done":
        # Of a slide whose process was killed right after it was done only the file is there to tell.
        facts = f"{account.tiles:,} tiles"
        facts += "" if account.untiled is None else f", {account.untiled:.0%} of the tissue in none"
        facts += "" if account.mpp is None else f", {account.mpp:g} um/px"
        facts += "" if account.mpp_source is None else f" ({account.mpp_source})"
        facts += "" if account.seconds is None else f", {account.seconds:.0f} s"
    else:
        facts = account.error or account.state
    return (
        f'<figure class="{account.state}">{picture}<figcaption><b>{escape(account.slide)}</b><br>'
        f"{escape(facts)}</figcaption></figure>"
    )


def _point(x: float, y: float, by: float) -> tuple[int, int]:
    return round(float(x) * by), round(float(y) * by)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{done} of {total} slides</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 1.5em; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1em; }}
figure {{ margin: 0; padding: .5em; border: 1px solid #ccc; overflow-wrap: anywhere; }}
figure.failed, figure.started {{ border: 2px solid #c22; }}
figure.waiting {{ color: #777; }}
img {{ max-width: 100%; max-height: 260px; }}
</style>
<h1>{done} of {total} slides have features</h1>
<p>Tissue is outlined in green, tiles are blue. Slides that failed stand first, then those not yet done.</p>
<main>
{cards}
</main>
</html>
"""
