"""How much of what slides differ by is noise to a tile: what `pattern` finds by `mirror.explain.pattern.BETWEEN`.

    python experiments/pattern_noise.py FOLDER [FOLDER ...] [--between 0 0.1 0.25 0.5 1 2]

Folders are those of slides with pixels that `experiments/explanations_true.py --scans FOLDER` has simulated, or where
`mirror demo --slides` has run. Per folder, target and what its head reads: AUROC of the pattern for the tumour's tiles,
as `planted` there, by the share of the covariance of mean tiles that counts as noise. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from planted_slides import planted, readable, slides_of
from simulated_runs import scanned

from mirror.explain.relevance import relevance
from mirror.explain.targets import AGREEMENT


def rows_of(folder: Path, count: int, shares: list[float]) -> list[dict[str, Any]]:
    """Every target on either representation, the agreement once, by each of `shares`."""
    run = scanned(folder)
    slides, seen, model = slides_of(run, folder, count), run.seen(), run.trained.model
    targets = [target for reads in ("slide", "fused") for target in run.targets(["class:B", "risk"], reads)]
    rows: list[dict[str, Any]] = []
    for target in [*targets, *run.targets([AGREEMENT], "slide")]:
        some = readable(slides, target)
        row: dict[str, Any] = {"folder": folder.name, "target": target.name, "reads": target.representation}
        for share in shares:
            noise = replace(seen, between=share)
            found = [relevance(model, slide.subject, target, "pattern", seen=noise).values for slide in some]
            row[str(share)] = planted(some, target.name, found)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--between", type=float, nargs="+", default=[0.0, 0.1, 0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--slides", type=int, default=200, help="slides of test patients to explain")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    print("| slides | target | reads |", " | ".join(map(str, given.between)), "|")
    print("|---|---|---|" + "---|" * len(given.between), flush=True)
    for folder in given.folders:
        for row in rows_of(folder, given.slides, given.between):
            lines.append(row)
            found = " | ".join(f"{row[str(share)]:.3f}" for share in given.between)
            print(f"| {row['folder']} | {row['target']} | {row['reads']} | {found} |", flush=True)
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
