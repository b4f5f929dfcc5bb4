"""What of a known truth an embedding keeps: the factor both modalities show, the slide's own, the expression's own.

    python experiments/retention_proof.py [--patients 400] [--seeds 0 1 2] [--rows published alignment-only mirror]

The cohort of `simulate/cohort.py`, drawn anew for every seed: each of its three factors has two coordinates. Rows are
the presets at sizes that suit the simulated data, the raw features, the mean tile, and views of the default preset. A
row's number is R^2 of ridge regression (penalty chosen by leave-one-out on training patients) from the fused view (or
the one named) to a factor, on test patients, mean over both coordinates, over folds, then over seeds ± their standard
deviation. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from simulated_presets import PRESETS, SHOWN, configuration
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from mirror.data.cohort import Cohort
from mirror.evaluation.embed import load_embeddings
from mirror.simulate.cohort import FACTORS, SimulationSizes, simulate_cohort
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.pretrain import pretrain_fold

Floats = NDArray[np.float64]

VIEWS = ("X_slide", "X_shared", "X_slide_private", "X_expression_private")


def recovered(x: Floats, truth: pd.DataFrame, fold: Fold) -> dict[str, float]:
    """R^2 of each factor on test patients from the rows `x` of the patients in `truth`; rows of NaN are left out."""
    there = ~np.isnan(x).any(axis=1)
    train, test = (truth.index.isin(half) & there for half in (fold.train, fold.test))
    scaler = StandardScaler().fit(x[train])
    found: dict[str, float] = {}
    for factor in FACTORS:
        y = truth[[name for name in truth.columns if name.startswith(f"{factor}_")]].to_numpy()
        scores = []
        for column in range(y.shape[1]):
            probe = RidgeCV(np.logspace(-2, 5, 15)).fit(scaler.transform(x[train]), y[train, column])
            scores.append(probe.score(scaler.transform(x[test]), y[test, column]))
        found[factor] = float(np.mean(scores))
    return found


def by_patient(table: Any, view: str, patients: pd.Index) -> Floats:
    """A view's mean over each patient's slides, in the order of `patients`."""
    rows = pd.DataFrame(np.asarray(table.obsm[view], dtype=np.float64))
    return rows.groupby(table.obs["patient"].to_numpy()).mean().reindex(patients).to_numpy()


def study(folder: Path, rows: Sequence[str], *, seed: int) -> list[dict[str, Any]]:
    """R^2 of `rows`, and of further views, on every fold of one simulated cohort."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        config = configuration(folder, row)
        cohort: Cohort = prepare_cohort(config)
        truth = pd.read_csv(folder / "truth.csv", index_col="case_id").loc[cohort.patients.index]
        for fold in cohort.folds:
            run = pretrain_fold(config, cohort, fold, seed)
            embed_run(run, cohort, fold=fold, path=run.embeddings)
            table = load_embeddings(run.embeddings)
            views = {row: by_patient(table, "X_fused", truth.index)}
            if row == "mirror":
                assert cohort.expression is not None
                raw = pd.DataFrame(cohort.expression.values, index=list(cohort.expression.patients))
                tiles = by_patient(table, "X_raw_slide", truth.index)
                views["mean tile"] = tiles
                views["raw features"] = np.hstack([tiles, raw.reindex(truth.index).to_numpy(dtype=np.float64)])
                views |= {f"mirror {view}": by_patient(table, view, truth.index) for view in VIEWS}
            for name, x in views.items():
                lines.append({"row": name, "seed": seed, "fold": fold.number, **recovered(x, truth, fold)})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(PRESETS), default=list(SHOWN))
    given = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            simulate_cohort(Path(folder), seed=seed, sizes=SimulationSizes(patients=given.patients))
            lines += study(Path(folder), given.rows, seed=seed)
    per_seed = pd.DataFrame(lines).groupby(["row", "seed"], sort=False)[list(FACTORS)].mean()
    mean = per_seed.groupby("row", sort=False).mean()
    spread = per_seed.groupby("row", sort=False).std(ddof=0)
    print(f"| R^2 from | {' | '.join(FACTORS)} |\n|{'---|' * (1 + len(FACTORS))}")
    for row in mean.index:
        cells = [f"{mean.loc[row, one]:.3f} ± {spread.loc[row, one]:.3f}" for one in FACTORS]
        print(f"| {row} | {' | '.join(cells)} |")
    print(json.dumps(mean.round(4).to_dict(orient="index")))


if __name__ == "__main__":
    main()
