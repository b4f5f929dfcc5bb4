"""How much of a best free baseline is the choice of it on the very folds that are reported.

    python experiments/chosen_baseline.py configs/sweeps/pretraining.yaml [--row mirror] [--folds 2 3 4]

Of a finished sweep, for each cohort and measure of the fused view: the best free baseline by its mean over all folds,
as the sweep's table has it; the baseline as somebody has it who chooses, fold by fold, by the mean over the others; and
the row's difference to either, mean over folds (seeds of a fold averaged first) ± standard error over folds. The first
choice favours the baseline. The second is against it: a fold where a baseline does badly speaks for it on the others.
The last row of a measure is the mean of the cohorts' differences. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from mirror.evaluation.scores import read_scores
from mirror.sweep import load_sweep, resolve_sweep
from mirror.workflow.evaluation_files import scores_file


def by_fold(scores: pd.DataFrame, protocol: str, metric: str) -> pd.DataFrame:
    """Representations of both modalities in rows, folds in columns; seeds averaged."""
    asked = scores[(scores["protocol"] == protocol) & (scores["metric"] == metric)]
    both = asked[asked["representation"].str.fullmatch("fused|.*_fused")]
    return both.groupby(["representation", "fold"])["value"].mean().unstack("fold").dropna()


def chosen_elsewhere(baselines: pd.DataFrame) -> pd.Series:
    """Of every fold (a column of `baselines`) the value there of the row that is best on the other folds."""
    return pd.Series(
        {fold: baselines.loc[baselines.drop(columns=fold).mean(axis=1).idxmax(), fold] for fold in baselines}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--row", default="mirror")
    parser.add_argument("--folds", type=int, nargs="+", help="as if there were these folds only")
    given = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for cohort in resolve_sweep(load_sweep(given.sweep)):
        baselines, row = (read_scores(scores_file(one)) for one in (cohort.baselines, cohort.rows[given.row]))
        shots = f"shot{cohort.baselines.evaluation.foremost_shots}"
        for protocol, metric in (("linear", "auroc"), (shots, "auroc"), ("cox", "c_index")):
            free, own = by_fold(baselines, protocol, metric), by_fold(row, protocol, metric)
            if free.empty or own.empty:
                continue
            if given.folds is not None:
                free, own = free[given.folds], own[given.folds]
            best, elsewhere, ours = free.loc[free.mean(axis=1).idxmax()], chosen_elsewhere(free), own.loc["fused"]
            found.setdefault(f"{protocol} {metric}", {})[cohort.name] = {
                given.row: ours.mean(),
                "best free": best.mean(),
                "difference": (ours - best).mean(),
                "its error": (ours - best).sem(),
                "chosen on other folds": elsewhere.mean(),
                "difference to it": (ours - elsewhere).mean(),
                "error of that": (ours - elsewhere).sem(),
            }
    for measure, cohorts in found.items():
        print(
            f"| {measure} | {given.row} | best free | difference | chosen on other folds | difference |\n|{'---|' * 6}"
        )
        for name, one in cohorts.items():
            print(
                f"| {name} | {one[given.row]:.3f} | {one['best free']:.3f} | {one['difference']:+.3f} ± "
                f"{one['its error']:.3f} | {one['chosen on other folds']:.3f} | {one['difference to it']:+.3f} ± "
                f"{one['error of that']:.3f} |"
            )
        mean = pd.DataFrame(cohorts).mean(axis=1)
        print(f"| mean | | | {mean['difference']:+.3f} | | {mean['difference to it']:+.3f} |\n")
    print(json.dumps({measure: pd.DataFrame(cohorts).round(4).to_dict() for measure, cohorts in found.items()}))


if __name__ == "__main__":
    main()
