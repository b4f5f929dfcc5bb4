"""One switch at a time: what every row of a sweep file does to retrieval and to the parts of the representation.

    python experiments/one_switch.py configs/sweeps/switches.yaml [--rows cluster-0 cluster-1] [--folds 0 1]

Rows are trained and embedded where `mirror sweep` of the same file has them; what is finished there is not done again,
so the same command goes on where it was stopped. `recall@10` is slide to expression among held-out patients; `shared`,
`slide private` and `expression private` are 10-shot AUROC of those parts (empty where a model has none, or the cohort
no labels). Cells are means over folds, seeds of a fold averaged first, ± their standard deviation; `difference` is
recall@10 minus that of the sweep's `compared` row on the same folds and seeds, ± its standard error over folds.
--config takes another cohort's file, --seeds other seeds than the sweep's. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from points import kept

from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ConfigError
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.retrieval import held_out_retrieval
from mirror.sweep import load_sweep, resolve_sweep
from mirror.training.runs import RunFolder
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import pretrain_fold, wanted_runs

PARTS = {"shared": "fused", "slide_private": "slide", "expression_private": "expression"}
"""Each part, and the view of the same modalities in whose place it is judged."""


def judge(run: RunFolder, config: Config, cohort: Cohort, fold: Fold, seed: int) -> dict[str, float]:
    """`recall@10` and the scores of the parts, without what the model or the cohort has no number for."""
    embed_run(run, cohort, fold=fold, path=run.embeddings, device=config.device)
    embeddings = load_embeddings(run.embeddings)
    retrieval = held_out_retrieval(embeddings)
    recall = {} if retrieval is None else {"recall@10": retrieval.recall[10]}
    return recall | parts_scores(embeddings, cohort, config, fold, seed)


def parts_scores(
    embeddings: anndata.AnnData, cohort: Cohort, config: Config, fold: Fold, seed: int
) -> dict[str, float]:
    """Few-shot AUROC of each of `PARTS` on the fold's test patients; nothing where the model has no parts."""
    if any(f"X_{part}" not in embeddings.obsm for part in PARTS):
        return {}
    for part, view in PARTS.items():
        embeddings.obsm[f"X_{view}"] = embeddings.obsm[f"X_{part}"]
    table = patient_table(cohort, embeddings)
    table = replace(table, time=np.full(len(table.patients), np.nan))  # survival is not asked for
    result = evaluate_fold(table, fold, config.evaluation, seed=seed, representations=tuple(PARTS.values()))
    part_of = {view: part.replace("_", " ") for part, view in PARTS.items()}
    wanted = (f"shot{config.evaluation.foremost_shots}", "auroc")
    scores = [score for score in result.scores if (score.protocol, score.metric) == wanted]
    return {part_of[score.representation]: score.value for score in scores if not math.isnan(score.value)}


def measure(rows: dict[str, Config], folds: Sequence[int] | None) -> pd.DataFrame:
    """One line a row, seed and fold."""
    lines: list[dict[str, Any]] = []
    for row, config in rows.items():
        cohort = prepare_cohort(config)
        for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
            if folds is not None and fold.number not in folds:
                continue
            run = pretrain_fold(config, cohort, fold, seed)
            judged = partial(judge, run, config, cohort, fold, seed)
            numbers = kept(run, config, cohort, fold, tuple(PARTS), measure=judged)
            lines.append({"row": row, "seed": seed, "fold": fold.number, **numbers})
            print(f"{row}, seed {seed}, fold {fold.number}", file=sys.stderr, flush=True)
    return pd.DataFrame(lines)


def print_table(name: str, lines: pd.DataFrame, compared: str) -> None:
    """The table in Markdown, and the means as JSON."""
    by_fold = lines.drop(columns="seed").groupby(["row", "fold"], sort=False).mean()
    recall = by_fold["recall@10"].unstack("fold").reindex(lines["row"].unique())
    difference = recall - recall.loc[compared]
    error = difference.std(axis=1) / np.sqrt(difference.notna().sum(axis=1))
    mean, spread = (getattr(by_fold.groupby("row", sort=False), how)() for how in ("mean", "std"))
    measured = [str(column) for column in mean.columns]
    print(f"| {' | '.join([name, measured[0], 'difference', *measured[1:]])} |\n|{'---|' * (2 + len(measured))}")
    for row in mean.index:
        cells = [_cell(mean.loc[row, one], spread.loc[row, one]) for one in measured]
        moved = "" if row == compared else _cell(difference.loc[row].mean(), error.loc[row], sign="+")
        print(f"| {row} | {' | '.join([cells[0], moved, *cells[1:]])} |")
    print(json.dumps({row: known.dropna().round(4).to_dict() for row, known in mean.iterrows()}))


def _cell(mean: float, spread: float, *, sign: str = "") -> str:
    return "" if math.isnan(mean) else f"{mean:{sign}.3f}{'' if math.isnan(spread) else f' ± {spread:.3f}'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--config", type=Path, help="a cohort's configuration, instead of the sweep's cohorts")
    parser.add_argument("--rows", nargs="+", help="these rows only; the compared one always")
    parser.add_argument("--folds", type=int, nargs="+", help="these folds only")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: the sweep's")
    given = parser.parse_args()
    sweep = load_sweep(given.sweep)
    compared = sweep.compared or next(iter(sweep.rows))
    changes: dict[str, Any] = {} if given.seeds is None else {"seeds": tuple(given.seeds)}
    if given.config is not None:
        changes["cohorts"] = (given.config.resolve(),)
    if given.rows is not None:
        unknown = sorted(set(given.rows) - set(sweep.rows))
        if unknown:
            raise ConfigError(f"{given.sweep} has no row {', '.join(unknown)}; it has {', '.join(sweep.rows)}")
        changes["rows"] = {name: row for name, row in sweep.rows.items() if name == compared or name in given.rows}
    for cohort in resolve_sweep(sweep.model_copy(update=changes)):
        print_table(cohort.name, measure(dict(cohort.rows), given.folds), compared)


if __name__ == "__main__":
    main()
