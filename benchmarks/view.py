"""`mirror view` on a slide of 100,000 x 100,000 px: how soon it is there, holes while panning, latency, memory.

    python benchmarks/view.py [--side 100000] [--pieces 300]

A simulated cohort is run, one of its slides is a pyramidal TIFF of that size with 10,000 tiles on it, and the real
command serves it. Measured from outside: in headless Chromium the time from the choice of the slide to its last piece
of the first view (`first_view_s`; from an empty window, page and data included, `page_s`), and the share of samples in
which a frame of a fast pan shows nothing where slide should be (`holes`); over HTTP the latency of pieces of all levels
that nobody asked for before; the peak of the server's memory beside what it needs without any slide; and the seconds of
a search for the nearest tiles. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from mirror.data.feature_file import BagFacts, write_bag
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.scans import write_huge_scan

SLIDE, OTHER = "SIM-0000-DX1", "SIM-0001-DX1"
GRID = 100
FRAMES = """
const viewer = document.querySelector('.openseadragon-canvas canvas:not(.heat)');
const small = document.createElement('canvas'); small.width = 32; small.height = 20;
const pen = small.getContext('2d', {willReadFrequently: true});
const seen = window.seen = {frames: 0, samples: 0, holes: 0, over: false};
function look() {
  pen.clearRect(0, 0, 32, 20);
  pen.drawImage(viewer, 0, 0, 32, 20);
  const pixels = pen.getImageData(0, 0, 32, 20).data;
  for (let at = 3; at < pixels.length; at += 4) { seen.samples += 1; if (pixels[at] < 250) seen.holes += 1; }
  seen.frames += 1;
  if (!seen.over) requestAnimationFrame(look);
}
look();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--pieces", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, side=given.side)
        with served(config, folder / "scans.csv") as (address, process):
            idle = peak_mib(process)
            result = in_browser(address, folder) | over_http(address, pieces=given.pieces, side=given.side)
            result |= {"server_peak_mib": round(peak_mib(process)), "server_idle_mib": round(idle)}
    print(json.dumps({"side_px": given.side, **result}))


def prepare(folder: Path, *, side: int) -> Path:
    """A cohort whose first slide is huge, run as far as the page needs."""
    sizes = SimulationSizes(patients=40, genes=40, tile_features=48, tiles=(8, 20))
    simulate_cohort(folder, seed=0, sizes=sizes)
    step = side // GRID
    corners = np.stack(np.unravel_index(np.arange(GRID * GRID), (GRID, GRID)), axis=1)[:, ::-1] * step
    features = rng_for(0, "huge tiles").standard_normal((GRID * GRID, sizes.tile_features)).astype(np.float32)
    facts = BagFacts(encoder="simulated", mpp=0.5, tile_px=512, tile_level0_px=float(step), slide_mpp=0.25)
    write_bag(folder / "features" / f"{SLIDE}.h5", features, coords=corners, facts=facts)
    begun = time.perf_counter()
    write_huge_scan(folder / "huge.tif", side)
    (folder / "scans.csv").write_text(f"slide,path\n{SLIDE},huge.tif\n{OTHER},huge.tif\n")
    size = (folder / "huge.tif").stat().st_size / 2**20
    print(f"huge.tif: {side:,} x {side:,} px, {size:.0f} MiB, written in {time.perf_counter() - begun:.0f} s")
    config = folder / "demo.yaml"
    text = config.read_text().replace("model: {components: 16}", "model: {components: 6}")
    config.write_text(text.replace("pretraining: {tiles: 48}", "pretraining: {tiles: 12, epochs: 1}"))
    subprocess.run([sys.executable, "-m", "mirror", "run", str(config)], check=True, capture_output=True)
    return config


@contextmanager
def served(config: Path, slides: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "mirror", "view", str(config), "--no-browser", "--port", "0"]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        [*command, "--slides", str(slides)], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "http://" in line)
            yield next(word for word in line.split() if word.startswith("http://")), process
        finally:
            process.send_signal(signal.SIGINT)


def in_browser(address: str, folder: Path) -> dict[str, Any]:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(next(filter(None, map(shutil.which, ("chromium", "chromium-browser")))))
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
    for flag in (*flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:

        def pieces_end(slide: str) -> float:
            """ms from the navigation to the last piece of the slide, once none has come for a second."""
            script = (
                "return performance.getEntriesByType('resource').filter(e => e.name.includes('/picture/piece') && "
                f"e.name.includes('slide={slide}')).map(e => e.responseEnd)"
            )
            before: list[float] = []
            while True:
                time.sleep(1.0)
                ends = browser.execute_script(script)
                if ends and len(ends) == len(before):
                    return max(ends)
                before = ends

        browser.get(f"{address}#slide={SLIDE}")
        page = pieces_end(SLIDE) / 1000
        # The other name is the same file under a name that nobody has opened: nothing of it is in any cache.
        begun = browser.execute_script(
            "window.begun = performance.now(); const find = document.getElementById('find'); find.focus();"
            f"find.value = '{OTHER[:8]}'; find.dispatchEvent(new Event('input'));"
            "find.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'})); return window.begun"
        )
        first = (pieces_end(OTHER) - begun) / 1000
        browser.execute_script("location.hash = arguments[0]", f"slide={SLIDE}&x=48000&y=48000&z=0.25")
        browser.refresh()
        pieces_end(SLIDE)
        WebDriverWait(browser, 20).until(lambda b: b.find_element(By.CSS_SELECTOR, ".openseadragon-canvas canvas"))
        before = browser.execute_script("return location.hash")
        browser.execute_script(FRAMES)
        for _ in range(8):  # a hand that pulls the slide, 530 px in about a third of a second
            drag(browser, start=(950, 500), by=(-450, -280), steps=20)
        time.sleep(1.5)
        seen = browser.execute_script("window.seen.over = true; return window.seen")
        moved = browser.execute_script("return location.hash")
        assert moved != before, f"the slide did not move: {moved}"
    finally:
        browser.quit()
    print(f"  page {page:.2f} s, first view {first:.2f} s, {seen['frames']} frames of a pan, {seen['holes']} holes")
    return {
        "page_s": round(page, 3),
        "first_view_s": round(first, 3),
        "pan_frames": seen["frames"],
        "pan_samples": seen["samples"],
        "holes": round(seen["holes"] / seen["samples"], 5),
    }


def drag(browser: Any, *, start: tuple[int, int], by: tuple[int, int], steps: int) -> None:
    """A pull with the mouse button down, as the browser gets it from a hand."""

    def event(kind: str, share: float) -> None:
        place = {"x": start[0] + by[0] * share, "y": start[1] + by[1] * share}
        pressed = {"button": "left", "buttons": 1, "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **place, **pressed})

    event("mousePressed", 0.0)
    for step in range(1, steps + 1):
        event("mouseMoved", step / steps)
        time.sleep(0.016)
    event("mouseReleased", 1.0)


def over_http(address: str, *, pieces: int, side: int) -> dict[str, Any]:
    host = address.removeprefix("http://").strip("/")
    connection = http.client.HTTPConnection(host)

    def get(path: str, **query: Any) -> bytes:
        connection.request("GET", f"{path}?{urlencode(query)}", headers={"Host": host})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, (path, query, content)
        return content

    pyramid = json.loads(get("/data/slide", slide=SLIDE))["picture"]
    rng = rng_for(0, "pieces")
    took: list[float] = []
    for _ in range(pieces):
        level = int(rng.integers(pyramid["least_level"], pyramid["most_level"] + 1))
        across = -(-(side // 2 ** (pyramid["most_level"] - level)) // pyramid["piece"])
        middle = [int(rng.integers(int(0.38 * across), int(0.62 * across) + 1)) for _ in range(2)]
        column, row = (min(across - 1, one) for one in middle)
        begun = time.perf_counter()
        get("/picture/piece", slide=SLIDE, level=level, column=column, row=row)
        took.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    lines = get("/data/nearest", slide=SLIDE, tile=5050).splitlines()
    nearest = time.perf_counter() - begun
    p50, p95 = (float(np.percentile(took, share)) * 1000 for share in (50, 95))
    print(f"  {pieces} pieces: p50 {p50:.1f} ms, p95 {p95:.1f} ms; nearest tiles {nearest:.2f} s")
    return {
        "pieces": pieces,
        "piece_p50_ms": round(p50, 1),
        "piece_p95_ms": round(p95, 1),
        "nearest_s": round(nearest, 3),
        "nearest_found": len(json.loads(lines[-1])["nearest"]),
    }


def peak_mib(process: subprocess.Popen[str]) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
