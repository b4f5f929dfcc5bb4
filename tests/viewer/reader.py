"""A person at the page of `mirror view`, in a headless Chromium."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

DESK, TABLET = (1440, 900), (768, 1024)
INKED = """
const heat = document.querySelector('canvas.heat'), canvas = new OffscreenCanvas(heat.width, heat.height);
const pen = canvas.getContext('2d', {willReadFrequently: true});
pen.drawImage(heat, 0, 0);
const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
let inked = 0, most = 0;
for (let at = 3; at < pixels.length; at += 4) { if (pixels[at]) inked += 1; most = Math.max(most, pixels[at]); }
return [inked, most];
"""


class Reader:
    """A person at the page."""

    def __init__(self, browser: webdriver.Chrome, page: str) -> None:
        self.browser, self.page = browser, page

    def open(self, hash_: str = "", size: tuple[int, int] = DESK) -> None:
        self.resize(size)
        self.browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self.browser.get("about:blank")
        self.browser.get(f"{self.page}#{hash_}")
        self.until(lambda: self.text("patient-body") and self.text("slide-title") not in ("", "Slide"))
        self.until(lambda: not self.text("slide-note").startswith("Opening"))

    def resize(self, size: tuple[int, int]) -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def until(self, true: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, 20, poll_frequency=0.05).until(lambda _: true())

    def at(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return self.at(name).text

    def state(self) -> dict[str, str]:
        script = "return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"
        return self.browser.execute_script(script)

    def heat(self) -> tuple[int, int]:
        """Pixels of the layer that are drawn, and the strongest of them."""
        return tuple(self.browser.execute_script(INKED))

    def still(self) -> dict[str, str]:
        """The state once nothing moves any more."""
        seen, since = self.state(), time.monotonic()

        def unmoved() -> bool:
            nonlocal seen, since
            if (now := self.state()) != seen:
                seen, since = now, time.monotonic()
            return "z" in seen and time.monotonic() - since > 0.6

        self.until(unmoved)
        return seen

    def pull(self, name: str, keys: str) -> None:
        self.at(name).send_keys(keys)
