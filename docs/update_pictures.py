"""The pictures of the documentation: the top of a page, as Chromium shows it, or a picture as a command wrote it.

python docs/update_pictures.py runs/brca/report.html docs/pictures/brca_report.png [HEIGHT]
python docs/update_pictures.py demo-slides/run/explain/seed0/fold2/slides/SIM-0063-DX1/overlay-risk.png \\
    docs/pictures/heat.png
python docs/update_pictures.py \\
    'http://127.0.0.1:8907/#run=seed0/fold2&slide=SIM-0063-DX1&patient=SIM-0063&layer=seed0/fold2:risk&tile=15' \\
    docs/pictures/view.png 900
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

WIDTH, HEIGHT, SHOWN = 1280, 2050, 1000
"""Of the page in pixels, and the width of the picture."""


SERVED_SECONDS = 12
"""What a page of a server gets to fetch its pictures."""


def photograph(page: str, *, height: int) -> bytes:
    """The upper `height` pixels of `page`, a file or an address, PNG. Needs chromium and chromedriver."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    with tempfile.TemporaryDirectory() as profile:
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            served = page.startswith("http://")
            browser.get(page if served else Path(page).resolve().as_uri())
            if served:
                time.sleep(SERVED_SECONDS)
            return base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
        finally:
            browser.quit()


def main() -> None:
    page, target, *height = sys.argv[1:]
    if page.endswith(".png"):
        shot = Image.open(page).convert("RGB")
    else:
        content = photograph(page, height=int(height[0]) if height else HEIGHT)
        shot = Image.open(io.BytesIO(content)).convert("RGB")
    small = shot.resize((SHOWN, round(shot.height * SHOWN / shot.width)), Image.Resampling.LANCZOS)
    small.save(target, optimize=True)  # without a palette, which would make one colour of a scale's two dark ends
    print(f"{target}: {Path(target).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
