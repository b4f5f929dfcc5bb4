"""What a scanner left out, shown as the glass that it is: OpenSlide gives those pixels as black and transparent."""

from __future__ import annotations

from PIL import Image


def on_white(region: Image.Image) -> Image.Image:
    """An RGBA region of OpenSlide as RGB, white where it has no pixels."""
    ground = Image.new("RGB", region.size, "white")
    ground.paste(region, mask=region.getchannel("A"))
    return ground
