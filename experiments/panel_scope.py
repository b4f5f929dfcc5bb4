"""What a panel of genes that was chosen on test patients too is worth, without any network.

    python experiments/panel_scope.py configs/brca_refined.yaml

Genes are chosen by the configuration's elimination against the subtype, twice: inside each fold on its training
patients (`fold`, leak-free), and once on the whole cohort (`cohort`, as published), test patients and their labels
included. Everything else is the same and is fitted on training patients: the linear and the few-shot probe of
`mirror evaluate` on the values of the chosen genes (`panel_expression`) and on these beside the mean tile
(`panel_fused`). All genes (`raw_expression`, `raw_fused`) stand on top.

Panels have a fixed number of genes (--sizes; of an elimination the nearest round that has as many) and do without the
configuration's curated list, which sees no label and dilutes the leak. `best` is the size that each elimination finds
best, `best + list` that united with the list, as `mirror run` has it but for --step. Then the same with labels that are
dealt out anew among the patients (--shuffles times): they say nothing, so whatever is above 0.5 is the leak.

Scores are AUROC, means over folds ± standard deviation over folds; differences are paired within folds, mean ± standard
error over folds. With shuffled labels each shuffle is one value, the mean over its folds: means over shuffles ±
standard deviation over shuffles, differences ± standard error over shuffles. `shared` are the genes that a fold's panel
has in common with the cohort's, as a share of the former, mean over folds. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import numpy as np
import pandas as pd

from mirror.config import Config, RefinementConfig, load_config
from mirror.data.cohort import Cohort
from mirror.data.curated import find_curated
from mirror.data.feature_store import FeatureStore
from mirror.data.refinement import Eliminated, eliminate_genes
from mirror.errors import ConfigError
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.representations import PatientTable
from mirror.seeding import rng_for
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.patient_table import patient_table

ALL_GENES, CHOSEN = ("raw_expression", "raw_fused"), ("panel_expression", "panel_fused")
SCOPES = ("fold", "cohort")
BEST, LISTED = "best", "best + list"


class Case(NamedTuple):
    """One cohort with its labels: the free views of its patients, and the elimination of each scope and fold."""

    cohort: Cohort
    table: PatientTable
    by_fold: Mapping[int, Eliminated]
    on_all: Eliminated

    def panel(self, kind: str, scope: str, fold: int, refinement: RefinementConfig) -> tuple[str, ...]:
        """The genes of one panel, in order of name."""
        done = self.on_all if scope == "cohort" else self.by_fold[fold]
        chosen = set(done.kept(int(kind) if kind.isdecimal() else None))
        if kind == LISTED:
            assert refinement.curated is not None and self.cohort.expression is not None
            chosen |= set(find_curated(refinement.curated, self.cohort.expression.genes).genes)
        return tuple(sorted(chosen))


def free_table(cohort: Cohort) -> PatientTable:
    """The patients by mean tile and expression, without survival: subtypes are what is asked here."""
    store = FeatureStore(cohort.paths, keep_open=1)
    embeddings = anndata.AnnData(obs=cohort.slides.set_index("slide")[["patient"]])
    embeddings.obsm["X_raw_slide"] = np.stack([store.bag(name).read().mean(axis=0) for name in cohort.slides["slide"]])
    table = patient_table(cohort, embeddings)
    return replace(table, time=np.full(len(table.patients), np.nan))


def make_case(cohort: Cohort, table: PatientTable, labels: pd.Series, refinement: RefinementConfig) -> Case:
    """Eliminate on the training patients of each fold and on everybody, with `labels` (by patient) for the cohort's."""
    assert cohort.expression is not None
    endpoints = cohort.patients.assign(label=labels)
    profiled = sorted(set(cohort.expression.patients) & set(map(str, endpoints.index)))

    def on(patients: set[str]) -> Eliminated:
        chosen = [patient for patient in profiled if patient in patients]
        return eliminate_genes(cohort.expression, endpoints.loc[chosen], refinement)

    named = tuple(None if pd.isna(label) else str(label) for label in labels.reindex(list(table.patients)))
    by_fold = {fold.number: on(set(fold.train)) for fold in cohort.folds}
    return Case(cohort, replace(table, labels=named), by_fold, on(set(profiled)))


def scores_of(case: Case, config: Config, kinds: Sequence[str], *, rows: Sequence[str] = CHOSEN) -> pd.DataFrame:
    """AUROC of every fold: panel, scope, representation, protocol, fold, value."""
    assert config.refinement is not None
    raw = case.table.views["raw_expression"]
    assert case.cohort.expression is not None
    scored: list[dict[str, Any]] = []

    def score(table: PatientTable, names: Sequence[str], **said: str) -> None:
        for fold in case.cohort.folds:
            if "scope" in said:
                genes = case.panel(said["panel"], said["scope"], fold.number, config.refinement)
                view = raw[:, case.cohort.expression.columns(genes)]
                table = replace(table, views={**table.views, "panel_expression": view})
            result = evaluate_fold(table, fold, config.evaluation, seed=0, representations=names)
            scored.extend(
                {
                    "representation": one.representation,
                    "protocol": one.protocol,
                    "fold": fold.number,
                    "value": one.value,
                }
                | said
                for one in result.scores
                if one.metric == "auroc"
            )

    score(case.table, [name.replace("panel", "raw") for name in rows], panel="all genes")
    for kind in kinds:
        for scope in SCOPES:
            score(case.table, rows, panel=kind, scope=scope)
    return pd.DataFrame(scored)


def shuffled_labels(labels: pd.Series, *, seed: int) -> pd.Series:
    """The known labels, dealt out anew among the patients who have one."""
    known = labels.dropna().sort_index()
    return labels.where(labels.isna(), pd.Series(rng_for(seed, "labels").permutation(known), index=known.index))


def panels_of(case: Case, refinement: RefinementConfig, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Sizes and overlaps of the panels."""
    for kind in kinds:
        cohort = set(case.panel(kind, "cohort", 0, refinement))
        folds = [set(case.panel(kind, "fold", number, refinement)) for number in case.by_fold]
        shared = [len(panel & cohort) / len(panel) for panel in folds]
        yield {"panel": kind, "fold": [len(panel) for panel in folds], "cohort": len(cohort), "shared": np.mean(shared)}


def print_scores(title: str, scores: pd.DataFrame, *, unit: str) -> list[dict[str, Any]]:
    """Print means and paired differences over the values of `unit` (a fold, a shuffle); return them for JSON."""
    protocols = list(dict.fromkeys(scores["protocol"]))
    print(f"\n{title}\n\n| panel | row | {' | '.join(f'{p}: fold | cohort | cohort - fold' for p in protocols)} |")
    print("|---" * (2 + 3 * len(protocols)) + "|")
    found: list[dict[str, Any]] = []
    for (panel, row), part in scores.groupby(["panel", "representation"], sort=False):
        cells: list[str] = []
        for protocol in protocols:
            own = part[part["protocol"] == protocol]
            if own["scope"].isna().all():
                values = own.groupby(unit)["value"].mean()
                cells += [f"{values.mean():.3f} ± {values.std():.3f}", "", ""]
                found.append({"panel": panel, "row": row, "protocol": protocol, "mean": values.mean()})
                continue
            by_scope = own.pivot_table(index=unit, columns="scope", values="value")
            gap = by_scope["cohort"] - by_scope["fold"]
            cells += [f"{by_scope[scope].mean():.3f} ± {by_scope[scope].std():.3f}" for scope in SCOPES]
            cells.append(f"{gap.mean():+.3f} ± {gap.sem():.3f}")
            means = {scope: by_scope[scope].mean() for scope in SCOPES}
            gaps = {"gap": gap.mean(), "sem": gap.sem()}
            found.append({"panel": panel, "row": row, "protocol": protocol, **means, **gaps})
        print(f"| {panel} | {row} | {' | '.join(cells)} |", flush=True)
    return found


def study(config: Config, *, sizes: Sequence[int], shuffles: int) -> dict[str, Any]:
    """Print all tables; return their numbers."""
    refinement = config.refinement
    if refinement is None or refinement.criterion != "label" or config.cohort.expression is None:
        raise ConfigError("this needs a cohort with expression, and `refinement.criterion: label`")
    cohort = prepare_cohort(config)
    table, labels = free_table(cohort), cohort.patients["label"]
    case = make_case(cohort, table, labels, refinement)
    met = [len(case.on_all.kept(size)) for size in sizes]
    kinds = [*map(str, dict.fromkeys(met)), BEST, *([] if refinement.curated is None else [LISTED])]
    panels = list(panels_of(case, refinement, kinds))
    print(f"{config.name}: {len(case.on_all.patients)} patients, {len(case.on_all.genes)} genes\n")
    print("| panel | genes, scope fold | genes, scope cohort | shared |\n|---|---|---|---|")
    for one in panels:
        counts = ", ".join(map(str, one["fold"]))
        print(f"| {one['panel']} | {counts} | {one['cohort']} | {one['shared']:.2f} |", flush=True)
    result = {
        "panels": panels,
        "labels": print_scores("Labels as they are", scores_of(case, config, kinds), unit="fold"),
    }
    dealt: list[pd.DataFrame] = []
    for number in range(shuffles):
        null = make_case(cohort, table, shuffled_labels(labels, seed=number), refinement)
        dealt.append(scores_of(null, config, kinds, rows=CHOSEN[:1]).assign(shuffle=number))
    if dealt:
        by_shuffle = pd.concat(dealt, ignore_index=True)
        result["shuffled"] = print_scores(f"Labels shuffled, {shuffles} times", by_shuffle, unit="shuffle")
        print_short(result)
    return result


def print_short(result: Mapping[str, Any]) -> None:
    """The linear probe on the chosen genes alone, labels as they are beside shuffled ones."""
    print("\nIn short: linear AUROC of `panel_expression`\n")
    print("| panel | inside each fold | on the whole cohort | difference | shuffled: inside | on the whole cohort |")
    print("|---|---|---|---|---|---|")
    rows: dict[str, list[str]] = {}
    for part in ("labels", "shuffled"):
        for one in result[part]:
            if (one["row"], one["protocol"]) == (CHOSEN[0], "linear"):
                gap = [f"{one['gap']:+.3f} ± {one['sem']:.3f}"] if part == "labels" else []
                name = f"{one['panel']} genes" if one["panel"].isdecimal() else one["panel"]
                rows.setdefault(name, []).extend([f"{one['fold']:.3f}", f"{one['cohort']:.3f}", *gap])
    print("\n".join(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=[20, 50, 200], help="fixed numbers of genes")
    parser.add_argument("--step", type=float, default=0.01, help="of the elimination; small, so that sizes are met")
    parser.add_argument("--shuffles", type=int, default=5)
    given = parser.parse_args()
    config = load_config(given.config)
    refinement = (config.refinement or RefinementConfig()).model_copy(update={"step": given.step})
    config = config.model_copy(update={"refinement": refinement})
    print(json.dumps(study(config, sizes=given.sizes, shuffles=given.shuffles)))


if __name__ == "__main__":
    main()
