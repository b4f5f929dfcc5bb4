"""The curve of quality against the number of pairs: the same probes on representations of ever more training patients.

    python experiments/pairs_curve.py configs/brca.yaml --pool rcc.yaml gbmlgg.yaml hnsc.yaml lihc.yaml --output curve

Of each fold's training patients who have both modalities, n drawn at random (fewer are a part of more) train a model of
the configuration's preset; it embeds everybody, and the probes see the labels of all training patients whatever n is:
what changes along the curve is the pretraining alone. `all` has every pair; `all + pool` those and the pooled cohorts'
training patients of the same fold (`--pool-weight` in the canonical directions). Rows have means over folds, seeds of a
fold averaged first, ± their standard deviation; recall@10 is slide to expression among held-out patients. The last line
is one JSON object. --survival adds Cox's c-index, which takes most of the time. With --output the runs and the numbers
of each point stay in that folder, and the same command goes on where it was stopped, further seeds or sizes included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from points import kept

from mirror.config import Config, load_config, read_mapping, resolve
from mirror.data.cohort import Cohort
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.retrieval import held_out_retrieval
from mirror.seeding import rng_for
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import pretrain_fold

VIEWS = ("slide", "expression", "fused")


def fewer_pairs(cohort: Cohort, fold: Fold, pairs: int | None, *, seed: int) -> Fold:
    """`fold` with `pairs` of its training patients who have both modalities, or with all of them (None).

    For one seed and fold, fewer are a part of more. Asked for more than there are, it has all.
    """
    seen = set(cohort.slides.loc[cohort.slides["has_expression"], "patient"])
    both = np.array(sorted(seen & set(fold.train)), dtype=object)
    order = rng_for(seed, "pairs", fold.number).permutation(both)
    return fold._replace(train=tuple(sorted(order[:pairs])))


def measure(config: Config, cohort: Cohort, fold: Fold, few: Fold, *, seed: int, survival: bool) -> dict[str, float]:
    """Train on `few`, embed everybody, judge on `fold`: scores of `VIEWS` by name, `pairs` and `recall@10`."""
    run = pretrain_fold(config, cohort, few, seed)

    def judged() -> dict[str, float]:
        embed_run(run, cohort, fold=fold, path=run.embeddings)
        embeddings = load_embeddings(run.embeddings)
        table = patient_table(cohort, embeddings)
        if not survival:
            table = replace(table, time=np.full(len(table.patients), np.nan))
        result = evaluate_fold(table, fold, config.evaluation, seed=seed, representations=VIEWS)
        found = {
            f"{one.representation} {one.protocol}": one.value
            for one in result.scores
            if (one.protocol, one.metric)
            in (("linear", "auroc"), (f"shot{config.evaluation.foremost_shots}", "auroc"), ("cox", "c_index"))
            and not np.isnan(one.value)
        }
        retrieval = held_out_retrieval(embeddings)
        recall = {} if retrieval is None else {"recall@10": retrieval.recall[10]}
        pooled = sum(int(part["pairs"]) for part in run.read_record().get("pool", ()))
        return {"pairs": float(len(few.train) + pooled), **found, **recall}

    return kept(run, config, cohort, fold, VIEWS, survival, measure=judged)


def study(
    variants: dict[str, tuple[Config, int | None]], *, folds: Sequence[int] | None, seeds: Sequence[int], survival: bool
) -> pd.DataFrame:
    """One row a variant, fold and seed; a variant is a configuration and the number of own pairs (None: all)."""
    lines: list[dict[str, Any]] = []
    for name, (config, pairs) in variants.items():
        cohort = prepare_cohort(config)
        for fold in cohort.folds:
            if folds is not None and fold.number not in folds:
                continue
            for seed in seeds:
                few = fewer_pairs(cohort, fold, pairs, seed=seed)
                numbers = measure(config, cohort, fold, few, seed=seed, survival=survival)
                lines.append({"row": name, "fold": fold.number, "seed": seed, **numbers})
                print(f"{name}, fold {fold.number}, seed {seed}", file=sys.stderr, flush=True)
    return pd.DataFrame(lines)


def print_table(name: str, lines: pd.DataFrame) -> None:
    """The table in Markdown, and the means as JSON."""
    by_fold = lines.drop(columns="seed").groupby(["row", "fold"], sort=False).mean()
    mean, spread = (getattr(by_fold.groupby("row", sort=False), how)() for how in ("mean", "std"))
    measured = [column for column in mean.columns if column != "pairs"]
    print(f"| {name} | pairs | {' | '.join(measured)} |\n|{'---|' * (2 + len(measured))}")
    for row in mean.index:
        cells = [f"{mean.loc[row, one]:.3f} ± {spread.loc[row, one]:.3f}" for one in measured]
        print(f"| {row} | {mean.loc[row, 'pairs']:.0f} | {' | '.join(cells)} |")
    print(json.dumps(mean.round(4).to_dict(orient="index")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--pairs", type=int, nargs="*", default=[100, 200, 300, 400, 500, 600])
    parser.add_argument(
        "--pool", nargs="*", default=[], help="configuration files of cohorts, from the config's folder"
    )
    parser.add_argument("--pool-weight", type=float, help="what a pooled patient counts (default: the preset's)")
    parser.add_argument("--folds", type=int, nargs="*", help="these folds only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--survival", action="store_true")
    parser.add_argument("--output", type=Path, help="folder for runs and numbers (default: one that is removed)")
    given = parser.parse_args()
    with nullcontext(given.output) if given.output else tempfile.TemporaryDirectory() as folder:

        def moved(config: Config, name: str) -> Config:
            return config.model_copy(update={"output": Path(folder, name)})

        own = load_config(given.config)
        variants: dict[str, tuple[Config, int | None]] = {
            **{str(pairs): (moved(own, str(pairs)), pairs) for pairs in given.pairs},
            "all": (moved(own, "all"), None),
        }
        if given.pool:
            pooled = resolve({**read_mapping(given.config), "pool": given.pool}, where=given.config)
            if given.pool_weight is not None:
                settings = pooled.pretraining.model_copy(update={"pool_weight": given.pool_weight})
                pooled = pooled.model_copy(update={"pretraining": settings})
            variants["all + pool"] = (moved(pooled, "pool"), None)
        lines = study(variants, folds=given.folds, seeds=given.seeds, survival=given.survival)
    print_table(own.name, lines)


if __name__ == "__main__":
    main()
