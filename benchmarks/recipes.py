"""A recipe from its sources to its dataset card at full size: 197,044 transcripts x 1,000 samples, simulated.

    python benchmarks/recipes.py                          # brca
    python benchmarks/recipes.py brca nsclc rcc coadread  # all four
    python benchmarks/recipes.py --rows 5000              # fewer transcripts, to see that it runs

The sources are a server on this machine that answers as they do; `mirror data plan`, `fetch` and `refine` are
processes of their own, whose peak of memory (libraries included) is theirs. Of the panels it is counted how much of
what tells the classes apart, which is known, they hold. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from mirror.acquire.settings import load_recipe, recipe_names
from mirror.data.panel import GenePanel
from mirror.simulate.archive import Archive
from mirror.simulate.sources import SIGNAL, SourceSizes, simulate_sources, transcript_name

TRANSCRIPTS, SAMPLES = 197_044, 1_000
PATIENTS = 880
"""With their normals 924 samples; the others are of other projects."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(recipe_names())} (brca)")
    parser.add_argument("--rows", type=int, default=TRANSCRIPTS)
    asked = parser.parse_args()
    found: dict[str, float] = {}
    for name in asked.recipes or ["brca"]:
        with tempfile.TemporaryDirectory() as folder:
            numbers = of_recipe(name, Path(folder), asked.rows)
        print(name, *(f"{key} {value}" for key, value in numbers.items()), sep="   ", flush=True)
        found |= {f"{name}_{key}": value for key, value in numbers.items()}
    print(json.dumps(found))


def of_recipe(name: str, folder: Path, rows: int) -> dict[str, float]:
    """Seconds and GB of each command, and what the panels hold."""
    sizes = SourceSizes(patients=PATIENTS, transcripts=rows, others=SAMPLES - 924)
    content, _ = simulate_sources(load_recipe(name), folder / "sources", seed=0, sizes=sizes)
    matrix = folder / "sources" / "matrix.tsv.gz"
    numbers: dict[str, float] = {"matrix_gb": round(matrix.stat().st_size / 1e9, 2)}
    with Archive(content) as archive:
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"hosts": archive.hosts.model_dump(), "toil": {"transcripts": rows}}))
        for step in ("plan", "fetch", "refine"):
            arguments = [step, name, "--output", str(folder / "data"), "--settings", str(settings)]
            numbers |= {f"{step}_{key}": value for key, value in timed(arguments).items()}
    panels = {path.name.split(".")[0]: GenePanel.load(path) for path in (folder / "data/refined").glob("*.panel.json")}
    signal = {transcript_name(row) for row in range(SIGNAL)}
    inside = [panel for name, panel in panels.items() if name != "published"]
    for kind, some in (("fold", inside), ("published", [panels["published"]])):
        held = [len(signal & {*panel.genes}) / SIGNAL for panel in some]
        numbers[f"{kind}_transcripts"] = round(sum(len(panel.genes) for panel in some) / len(some), 1)
        numbers[f"{kind}_signal"] = round(sum(held) / len(some), 3)
    print((folder / "data/DATASET_CARD.md").read_text(), file=sys.stderr)
    return numbers


def timed(arguments: list[str]) -> dict[str, float]:
    """One `mirror data` command: seconds by the clock and of the processor, and the peak of memory in GB."""
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "mirror", "data", *arguments], os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"mirror data {arguments[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss / 1e6, 2),
    }


if __name__ == "__main__":
    main()
