"""Whether the whole table ends at chance where there is nothing to be found: labels and survival dealt out anew.

    python experiments/shuffled_labels.py configs/brca.yaml configs/coadread.yaml configs/blca.yaml
    python experiments/shuffled_labels.py configs/brca.yaml --supervised --shuffles 8

Labels are dealt out among the patients who have one, survival (time and event together) among those who have it; folds
and embeddings stay, which have seen neither (unless genes were chosen by the label: those labels say nothing of these).
Then every representation is judged under every protocol as `mirror evaluate` does it, with --supervised the supervised
models too, trained anew on what was dealt out. Retrieval reads no outcome and is left out. The runs must be embedded.

A line a cell: AUROC or c-index with its 95 % interval. Of one shuffle the interval is over patients, as in every table
of `mirror evaluate`; it takes the models of the folds for independent, and here they are not: by chance a shuffle
agrees with a direction of the data in all folds or in none. Of several shuffles it is of their mean, over shuffles, and
has no such weakness. Of many true intervals one in twenty misses, so the table as a whole is at chance where no cell is
surely off 0.5 after Holm's correction over all cells. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from mirror.config import Config, SupervisedConfig, load_config
from mirror.data.cohort import Cohort
from mirror.evaluation.bootstrap import RESAMPLES, holm
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.intervals import interval_table
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.scores import RunOrigin, score_table, stamped
from mirror.evaluation.supervised import SupervisedFold
from mirror.seeding import rng_for
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.evaluate import chosen_genes
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.supervised import train_fold

CHANCE, SURE = 0.5, 0.05
SHOWN = ("auroc", "c_index")


def dealt_out(cohort: Cohort, *, shuffle: int) -> Cohort:
    """The cohort with its labels, and its survival, on other patients; who has none has none."""
    patients = cohort.patients
    for columns in (["label"], ["time", "event"]):
        known = patients.index[patients[columns[0]].notna()]
        order = rng_for(shuffle, "shuffled outcomes", columns[0]).permutation(len(known))
        patients = patients.assign(
            **{
                name: patients[name].where(
                    ~patients.index.isin(known), patients.loc[known, name].iloc[order].set_axis(known)
                )
                for name in columns
            }
        )
    owner = cohort.slides["patient"]
    moved = {name: patients[name].reindex(owner).set_axis(owner.index) for name in ("label", "time", "event")}
    return replace(cohort, slides=cohort.slides.assign(**moved))


def judge(
    config: Config, *, shuffles: Sequence[int], with_supervised: bool = False, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """A row a cell of the table: representation, protocol, metric, estimate, low, high, p, p_holm.

    Over patients where there is one shuffle, over shuffles where there are several.
    """
    found = [_judge_one(config, number, with_supervised=with_supervised) for number in shuffles]
    keys = ["representation", "protocol", "metric"]
    if len(found) == 1:
        table = interval_table(*found[0], seed=0, resamples=resamples)
        table = table[table["metric"].isin(SHOWN)].reset_index(drop=True)
        error, freedom = (table["high"] - table["low"]) / (2 * t.ppf(0.975, np.inf)), np.inf
    else:
        scores = pd.concat([one.assign(shuffle=number) for number, (one, _) in zip(shuffles, found, strict=True)])
        scores = scores[scores["metric"].isin(SHOWN)]
        values = scores.groupby([*keys, "shuffle"], sort=False)["value"].mean().groupby(keys, sort=False)
        table = values.agg(estimate="mean", sd="std").reset_index()
        freedom = len(shuffles) - 1
        error = table["sd"] / np.sqrt(len(shuffles))
        reach = t.ppf(0.975, freedom) * error
        table = table.assign(low=table["estimate"] - reach, high=table["estimate"] + reach)
    off = np.abs(table["estimate"] - CHANCE)
    # A model that says the same of everybody is at 0.5 exactly, every time.
    p = np.where(off < 1e-12, 1.0, 2 * t.sf(off / np.maximum(error, 1e-300), freedom))
    return table.assign(p=p, p_holm=holm(p))


def _judge_one(config: Config, shuffle: int, *, with_supervised: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and predictions of one dealing."""
    cohort = dealt_out(prepare_cohort(config), shuffle=shuffle)
    scores: list[pd.DataFrame] = []
    predictions: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
            run = run_folder(config.output, seed=seed, fold=fold.number)
            table = patient_table(cohort, load_embeddings(run.embeddings), genes=chosen_genes(config, run))
            trained = SupervisedFold()
            if with_supervised:
                trained = train_fold(config, cohort, fold, seed, folder=Path(folder))
            result = evaluate_fold(table, fold, config.evaluation, seed=seed, supervised=trained)
            origin = RunOrigin(config.name, fold.number, seed, config.preset)
            scores.append(score_table(result.scores, origin))
            predictions.append(stamped(result.predictions, origin))
            print(f"{config.name}: shuffle {shuffle}, seed {seed}, fold {fold.number} judged", flush=True)
    return pd.concat(scores, ignore_index=True), pd.concat(predictions, ignore_index=True)


def print_cells(name: str, cells: pd.DataFrame) -> dict[str, Any]:
    """Print every cell and what they say together; return the latter."""
    print(f"\n{name}, outcomes dealt out anew\n\n| row | protocol | metric | value | 95 % interval | covers 0.5 |")
    print("|---|---|---|---|---|---|")
    covered = (cells["low"] <= CHANCE) & (cells["high"] >= CHANCE)
    for cell, inside in zip(cells.itertuples(index=False), covered, strict=True):
        said = "yes" if inside else f"no (p {cell.p:.3f}, Holm {cell.p_holm:.3f})"
        print(
            f"| {cell.representation} | {cell.protocol} | {cell.metric} | {cell.estimate:.3f} "
            f"| {cell.low:.3f} to {cell.high:.3f} | {said} |"
        )
    sure = int((cells["p_holm"] < SURE).sum())
    result = {
        "cohort": name,
        "cells": len(cells),
        "covering": int(covered.sum()),
        "surely_off_chance": sure,
        "mean_auroc": _mean(cells, "auroc"),
        "mean_c_index": _mean(cells, "c_index"),
        "at_chance": sure == 0,
    }
    print(
        f"\n{name}: {result['covering']} of {len(cells)} intervals cover 0.5 (about {0.95 * len(cells):.0f} are to be "
        f"expected); {sure} cells are surely off chance after Holm's correction"
    )
    return result


def _mean(cells: pd.DataFrame, metric: str) -> float | None:
    of = cells.loc[cells["metric"] == metric, "estimate"]
    return round(float(of.mean()), 4) if len(of) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--shuffles", type=int, default=1, help="How often outcomes are dealt out.")
    parser.add_argument("--supervised", action="store_true", help="The supervised models too; minutes a fold.")
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for path in asked.configs:
        config = load_config(path)
        if asked.supervised and config.supervised is None:
            config = config.model_copy(update={"supervised": SupervisedConfig()})
        cells = judge(config, shuffles=range(asked.shuffles), with_supervised=asked.supervised)
        results.append(print_cells(config.name, cells))
    print(json.dumps({"shuffles": asked.shuffles, "cohorts": results}))


if __name__ == "__main__":
    main()
