"""Can heat be better than its head? How well a head judges test patients beside what its pattern finds on their slides.

    python experiments/head_and_heat.py FOLDER [FOLDER ...] [--only mirror alignment-only published]

Folders are those of slides with pixels that `experiments/explanations_true.py --scans FOLDER` has simulated, or where
`mirror demo --slides` has run. Per folder, preset, target and what its head reads:

* patients: whom the head was fitted on;
* head: AUROC of the class, or c-index of the risk, on the fold's test patients;
* knows: Spearman correlation of the head's number with the factor behind it, over the test patients: what the head is
  worth where the truth is known;
* planted: AUROC of the method `pattern` for the tumour's tiles, as in `explanations_true.py`.

Then over all rows of a target the rank correlation of `head` and of `knows` with `planted`. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from planted_slides import factor_behind, planted, readable, slides_of, true_factors
from scipy.stats import spearmanr
from simulated_presets import PRESETS
from simulated_runs import scanned

from mirror.explain.head_score import HeadScore
from mirror.explain.relevance import relevance
from mirror.workflow.explained import ExplainedRun


def rows_of(run: ExplainedRun, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """The class and the risk on either representation."""
    slides, seen = slides_of(run, folder, count), run.seen()
    truth = true_factors(folder)
    for reads in ("slide", "fused"):
        for target in run.targets(["class:B", "risk"], reads):
            some = readable(slides, target)
            judged = run.judged(target)
            assert isinstance(judged, HeadScore)
            patients, values = run.numbers(target, sorted(run.fold.test))
            factor = factor_behind(target.name, truth.loc[list(patients)]).to_numpy()
            found = [relevance(run.trained.model, slide.subject, target, "pattern", seen=seen) for slide in some]
            yield {
                "target": target.name, "reads": reads, "patients": len(target.fitted_on), "head": judged.value,
                "knows": float(spearmanr(values, factor).statistic),
                "planted": planted(some, target.name, [one.values for one in found]),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(PRESETS), default=["mirror"], help="these presets")
    parser.add_argument("--slides", type=int, default=200, help="slides of test patients to explain")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    print("| slides | preset | target | reads | patients | head | knows | planted |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for folder in given.folders:
        for preset in given.only:
            for row in rows_of(scanned(folder, preset), folder, given.slides):
                lines.append({"folder": folder.name, "preset": preset, **row})
                numbers = " | ".join(f"{row[name]:.3f}" for name in ("head", "knows", "planted"))
                print(
                    f"| {folder.name} | {preset} | {row['target']} | {row['reads']} | {row['patients']} | {numbers} |",
                    flush=True,
                )
    print("\n| target | rows | head with planted | knows with planted |\n|---|---|---|---|")
    table = pd.DataFrame(lines)
    for name, rows in table.groupby("target"):
        found = [float(np.asarray(spearmanr(rows[one], rows["planted"]).statistic)) for one in ("head", "knows")]
        print(f"| {name} | {len(rows)} | {found[0]:.2f} | {found[1]:.2f} |")
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
