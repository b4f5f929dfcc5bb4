"""Everything that was fitted in the runs of a configuration, with the patients it remembers; for the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mirror.artefacts import read_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.panel import GenePanel, apply, fit_panel
from mirror.errors import ArtefactError, DataError
from mirror.evaluation.audit.memories import Memory, Refit
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.metrics import Floats
from mirror.tasks.canonical_start import standardise
from mirror.training.checkpoint import load_weights
from mirror.training.runs import RunFolder, run_folder
from mirror.types import Fold
from mirror.workflow.evaluation_files import account_file

CHOSEN_INSIDE = "choose genes inside each fold: `refinement.scope: fold`"


class FittedThings(NamedTuple):
    """By run, called `seed 0, fold 1`: its fold, whom it was `trained` on, and whom pooled cohorts lent it. `skipped`
    says what could not be fitted anew."""

    folds: Mapping[str, Fold]
    trained: Mapping[str, frozenset[str]]
    pooled: Mapping[str, tuple[str, ...]]
    memories: tuple[Memory, ...]
    refits: tuple[Refit, ...]
    skipped: tuple[str, ...]


def fitted_things(config: Config, cohort: Cohort, folds: Sequence[Fold]) -> FittedThings:
    """Of every finished run of the configuration, and of its evaluation; of those that are not there, nothing."""
    found: dict[str, Fold] = {}
    trained: dict[str, frozenset[str]] = {}
    pooled: dict[str, tuple[str, ...]] = {}
    memories: list[Memory] = []
    refits: list[Refit] = []
    skipped: list[str] = []
    for seed in config.seeds:
        for fold in folds:
            run = run_folder(config.output, seed=seed, fold=fold.number)
            if not run.record.exists():
                continue
            name, record = f"seed {seed}, fold {fold.number}", run.read_record()
            found[name], trained[name] = fold, frozenset(map(str, record.get("patients", ())))
            pooled[name] = tuple(str(one) for part in record.get("pool", ()) for one in part.get("fitted_on", ()))
            memories += _of_run(run, record, fold, name)
            refits += _panel_moments(run, cohort, name)
            try:
                refits += _model_moments(run, record, cohort, name)
            except (ArtefactError, DataError) as error:
                skipped.append(f"the moments of a model were not fitted anew ({str(error).splitlines()[0]})")
    memories += _of_evaluation(config, {(seed, fold.number): fold for seed in config.seeds for fold in folds})
    return FittedThings(found, trained, pooled, tuple(memories), tuple(refits), tuple(skipped))


def _halves(fold: Fold) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(fold.train), frozenset(fold.test)


def _of_run(run: RunFolder, record: Mapping[str, Any], fold: Fold, name: str) -> Iterable[Memory]:
    named = record.get("patients")
    yield Memory("weights and closed form", name, None if named is None else frozenset(map(str, named)), *_halves(fold))
    # Patients whom a pooled cohort lent belong to no half of this one; `check_pooled` looks for its test patients.
    if any("fitted_on" not in part for part in record.get("pool", ())):
        yield Memory("what pooled cohorts lent", name, None, *_halves(fold))
    panel = GenePanel.load(run.panel)
    yield Memory("moments of the gene panel", name, frozenset(panel.fitted_on), *_halves(fold))
    if panel.selection is not None:
        seen, mild = frozenset(panel.selection.selected_on), panel.selection.criterion == "variance"
        yield Memory("choice of genes", name, seen, *_halves(fold), mild=mild, remedy=CHOSEN_INSIDE)
    if run.embeddings.exists():
        obs = load_embeddings(run.embeddings).obs
        roles = zip(obs["patient"].astype(str), obs["role"].astype(str), strict=True)
        told = frozenset(patient for patient, role in roles if role == "train")
        yield Memory("patients that embeddings call training", name, told, *_halves(fold))


def _of_evaluation(config: Config, folds: Mapping[tuple[int, int], Fold]) -> Iterable[Memory]:
    """Scalers and components of representations; probes, heads, penalties, intervals and censoring weights."""
    if not account_file(config).exists():
        return
    account = read_json(account_file(config))
    people = {key: frozenset(names) for key, names in account.get("patients", {}).items()}
    kinds = {
        "scaled_on": "scalers and components of representations",
        "fitted_on": "probes, survival heads, penalties, time bins and censoring weights",
    }
    for run in account["runs"]:
        fold = folds.get((run["seed"], run["fold"]))
        if fold is None:
            continue
        for kind, what in kinds.items():
            # One memory a list of patients, not one a representation: it is the same list for most.
            for key in dict.fromkeys(count.get(kind) for count in run["counts"]):
                where = f"seed {run['seed']}, fold {run['fold']}"
                remedy = "delete scores.parquet and run `mirror evaluate` again"
                yield Memory(what, where, people.get(key), *_halves(fold), remedy=remedy)


def _panel_moments(run: RunFolder, cohort: Cohort, name: str) -> Iterable[Refit]:
    panel = GenePanel.load(run.panel)
    if panel.transform == "none" or cohort.expression is None or not panel.fitted_on:
        return
    known = set(cohort.expression.patients)
    if not known.issuperset(panel.fitted_on) or not set(cohort.expression.genes).issuperset(panel.genes):
        return  # of another cohort: `Memory` says so
    again = fit_panel(cohort.expression, panel.fitted_on, transform=panel.transform, genes=panel.genes)
    yield Refit(
        "moments of the gene panel",
        name,
        np.concatenate([panel.mean, panel.scale]),
        np.concatenate([again.mean, again.scale]),
        np.tile(again.scale, 2),
    )


def _model_moments(run: RunFolder, record: Mapping[str, Any], cohort: Cohort, name: str) -> Iterable[Refit]:
    """Means and scales inside a canonical model; the published one standardises nothing itself."""
    if "correlations" not in record or not run.embeddings.exists() or cohort.expression is None:
        return
    weights = load_weights(run.weights).tensors
    table = load_embeddings(run.embeddings)
    owners = table.obs["patient"].astype(str).to_numpy()
    named = sorted(map(str, record["patients"]))
    tiles = pd.DataFrame(np.asarray(table.obsm["X_raw_slide"], dtype=np.float64)).groupby(owners).mean()
    panel = GenePanel.load(run.panel)
    profiled = sorted(set(named) & set(cohort.expression.patients))
    genes = apply(panel, cohort.expression, profiled).values.astype(np.float64)
    sides = (("slide", tiles.reindex(named).to_numpy()), ("gene", genes))
    for side, values in sides:
        again = standardise(values)
        found: Floats = np.concatenate([weights[f"{side}_{part}"].double().numpy() for part in ("mean", "scale")])
        refitted = np.concatenate([again.mean, again.scale])
        yield Refit(f"{side} moments of the model", name, found, refitted, np.tile(again.scale, 2))
