"""`mirror view` on a slide of 100,000 x 100,000 px: how soon it is there, holes while it moves, latency, memory.

    python benchmarks/view.py [--side 100000] [--pieces 300]

A simulated cohort is run, one of its slides is a pyramidal TIFF of that size with 10,000 tiles on it, and the real
command serves it. Measured from outside, in headless Chromium:

* `page_s`, from an empty window until map, patient and the last piece of the slide's first view are there: the first
  page that this server and this browser have had, and the next one. Its floor, `empty_page_s`, is what an empty page of
  the same server takes in the same browser.
* `first_view_s`, from the choice of a slide to the last piece of its first view. Its floor, `read_s`, is what OpenSlide
  takes to read those pieces in this process, without server and browser.
* Holes while the slide is pulled and zoomed by wheel: a frame is sampled at 640 places, and a place where nothing of
  the slide is drawn, not even a coarser level, is a hole. `hole_share` is of all samples, `hole_frames` the most
  frames in a row that had any; `sharp_s` is how long after the last move the last fine piece came.

Then over HTTP: the latency of pieces of all levels that nobody asked for before, and a search for the nearest tiles.
Seconds are by the clock, so they grow with what else the machine does; the seconds of processor time beside them do
not. Started with `nice -n -15`, it comes before that other work, and keeps the browser there too, which would take the
usual priority again. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from mirror.data.feature_file import BagFacts, write_bag
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.scans import write_huge_scan
from mirror.slides.deep_zoom import DeepZoom

SLIDE, OTHER = "SIM-0000-DX1", "SIM-0001-DX1"
GRID = 100
FRAMES = """
const viewer = document.querySelector('.openseadragon-canvas canvas:not(.heat)');
const small = document.createElement('canvas'); small.width = 32; small.height = 20;
const pen = small.getContext('2d', {willReadFrequently: true});
const seen = window.seen = {frames: 0, samples: 0, holes: 0, row: 0, longest: 0, over: false};
function look() {
  const before = seen.holes;
  pen.clearRect(0, 0, 32, 20);
  pen.drawImage(viewer, 0, 0, 32, 20);
  const pixels = pen.getImageData(0, 0, 32, 20).data;
  for (let at = 3; at < pixels.length; at += 4) { seen.samples += 1; if (pixels[at] < 250) seen.holes += 1; }
  seen.frames += 1;
  seen.row = seen.holes > before ? seen.row + 1 : 0;
  seen.longest = Math.max(seen.longest, seen.row);
  if (!seen.over) requestAnimationFrame(look);
}
look();
"""


USABLE = """
function look() {
  const map = document.getElementById('map-canvas'), patient = document.getElementById('patient-body');
  if (map?.hasAttribute('aria-label') && patient.textContent) window.usable = performance.now();
  else requestAnimationFrame(look);
}
requestAnimationFrame(look);
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--pieces", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, side=given.side)
        read = read_seconds(folder / "huge.tif")
        begun = time.perf_counter()
        with served(config, folder / "scans.csv") as (address, process):
            result = {"start_s": round(time.perf_counter() - begun, 2), "start_cpu_s": cpu_seconds(process.pid)}
            print(f"  started in {result['start_s']:.1f} s, {result['start_cpu_s']:.1f} of them processor time")
            idle = peak_mib(process)
            result |= in_browser(address, folder, process.pid)
            result["read_s"] = round(read, 3)
            print(f"  first view {result['first_view_s']:.2f} s, to read it alone {read:.2f} s")
            result |= over_http(address, pieces=given.pieces, side=given.side)
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


def read_seconds(path: Path) -> float:
    """Seconds in which the pieces of a slide's first view are read, by nobody but this process."""
    begun = time.perf_counter()
    zoom = DeepZoom({SLIDE: path})
    pyramid = zoom.pyramid(SLIDE)
    long = max(pyramid.width, pyramid.height) / 2 ** (pyramid.most_level - pyramid.least_level)
    across = range(math.ceil(long / pyramid.piece))
    for column, row in itertools.product(across, across):
        zoom.piece(SLIDE, pyramid.least_level, column, row)
    return time.perf_counter() - begun


def in_browser(address: str, folder: Path, server: int) -> dict[str, Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(next(filter(None, map(shutil.which, ("chromium", "chromium-browser")))))
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    for flag in (*flags, *quiet, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        size = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": USABLE})
        own = service.process.pid
        threading.Thread(target=keep_before, args=(own,), daemon=True).start()
        empty: list[float] = []
        for _ in range(3):
            browser.get("about:blank")
            browser.get(f"{address}nothing")
            empty.append(browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
        pages: list[float] = []
        cpu: list[list[float]] = []
        for _ in range(2):
            browser.get("about:blank")
            before = cpu_seconds(server), cpu_seconds(own)
            browser.get(f"{address}#slide={SLIDE}")
            pages.append(max(pieces_end(browser, SLIDE), browser.execute_script("return window.usable")) / 1000)
            cpu.append([round(cpu_seconds(one) - then, 2) for one, then in zip((server, own), before, strict=True)])
        # The other name is the same file under a name that nobody has opened: nothing of it is in any cache.
        begun = browser.execute_script(
            "window.begun = performance.now(); const find = document.getElementById('find'); find.focus();"
            f"find.value = '{OTHER[:8]}'; find.dispatchEvent(new Event('input'));"
            "find.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'})); return window.begun"
        )
        first = (pieces_end(browser, OTHER) - begun) / 1000
        pan = moved(browser, lambda: [drag(browser, start=(880, 480), by=(-430, -260), steps=20) for _ in range(8)])
        zoom = moved(browser, lambda: [wheel(browser, by) for by in (-120,) * 4 + (120,) * 12 + (-120,) * 6])
    finally:
        browser.quit()
    floor = float(np.median(empty)) / 1000
    (server_first, browser_first), (server_next, browser_next) = cpu
    print(
        f"  page {pages[0]:.2f} s, the next one {pages[1]:.2f} s, an empty one {floor:.2f} s\n"
        f"  processor seconds of server and browser: {server_first:.2f} + {browser_first:.2f}, the next page "
        f"{server_next:.2f} + {browser_next:.2f}"
    )
    for name, seen in (("pan", pan), ("zoom", zoom)):
        print(
            f"  {name}: {seen['frames']} frames, {seen['pieces']} new pieces; holes in {seen['hole_share']:.2%} of the "
            f"samples, in at most {seen['hole_frames']} frames in a row; sharp {seen['sharp_s']:.2f} s after the end"
        )
    return {
        "empty_page_s": round(floor, 3),
        "page_s": [round(one, 3) for one in pages],
        "page_server_cpu_s": [server_first, server_next],
        "page_browser_cpu_s": [browser_first, browser_next],
        "first_view_s": round(first, 3),
        "pan": pan,
        "zoom": zoom,
    }


def pieces_end(browser: Any, slide: str) -> float:
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


def moved(browser: Any, move: Callable[[], object]) -> dict[str, Any]:
    """What a reader sees of the huge slide while `move` moves it, from a place in the middle of its tissue."""
    browser.execute_script("location.hash = arguments[0]", f"slide={SLIDE}&x=48000&y=48000&z=0.25")
    browser.refresh()
    pieces_end(browser, SLIDE)
    before = browser.execute_script("return location.hash")
    browser.execute_script("performance.setResourceTimingBufferSize(5000)")
    begun = browser.execute_script("return performance.getEntriesByType('resource').length")
    browser.execute_script(FRAMES)
    move()
    stopped = browser.execute_script("return performance.now()")
    sharp = pieces_end(browser, SLIDE)
    pieces = browser.execute_script("return performance.getEntriesByType('resource').length") - begun
    seen = browser.execute_script("window.seen.over = true; return window.seen")
    after = browser.execute_script("return location.hash")
    assert after != before, f"the slide did not move: {after}"
    return {
        "frames": seen["frames"],
        "pieces": pieces,
        "hole_share": round(seen["holes"] / seen["samples"], 5),
        "hole_frames": seen["longest"],
        "sharp_s": round(max(0.0, sharp - stopped) / 1000, 3),
    }


def wheel(browser: Any, by: int) -> None:
    event = {"type": "mouseWheel", "x": 800, "y": 420, "deltaX": 0, "deltaY": by}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    time.sleep(0.1)


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


def family_of(pid: int) -> dict[int, float]:
    """A process and all that it started and that still run, with their processor seconds."""
    told: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            words = path.read_text().rsplit(")", 1)[1].split()
            told[int(path.parent.name)] = int(words[1]), (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    family = {pid}
    while more := {one for one, (parent, _) in told.items() if parent in family} - family:
        family |= more
    return {one: told[one][1] for one in family if one in told}


def cpu_seconds(pid: int) -> float:
    return round(sum(family_of(pid).values()), 2)


def keep_before(pid: int) -> None:
    """As long as a process runs, none of what it started has a lower priority than this one was given."""
    wanted = os.getpriority(os.PRIO_PROCESS, 0)
    while wanted < 0 and (family := family_of(pid)):
        for task in (task for one in family for task in Path(f"/proc/{one}/task").glob("*")):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), wanted)
        time.sleep(0.05)


def peak_mib(process: subprocess.Popen[str]) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
