"""The stage that says which genes targets come from, over folds and seeds.

Targets are a class, the risk and the agreement with the slide. Everything is said of test patients: each run explains
those whom its model and its heads have not seen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from mirror.artefacts import hash_file, remove, write_aside, write_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ConfigError, DataError
from mirror.explain.caption import Caption
from mirror.explain.enrichment import EnrichedSet, enrich
from mirror.explain.gene_picture import gene_picture
from mirror.explain.gene_sets import GeneSet, in_panel, read_gene_sets
from mirror.explain.gene_table import INTERVAL, RunEffects, mean_null, summarise_effects
from mirror.explain.genes import GeneContributions, Profiles, Reference, contributions, reference
from mirror.explain.null_effects import DRAWS, null_effects
from mirror.explain.offered_genes import require_offered, why_not
from mirror.explain.patient_genes import write_patient_genes
from mirror.explain.targets import AGREEMENT, FUSED, Target, distinct_targets
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explained import ExplainedRun, RunName, explained_run, places
from mirror.workflow.pretrain import wanted_runs

Representation = Literal["expression", "fused"]


class ExplainedTarget(NamedTuple):
    """One target over runs: `genes` with the columns of `gene_table`, `sets` where gene sets were given.

    `error` is the worst of `GeneContributions.error`; `patients` counts test patients, each once whatever the seeds.
    """

    name: str
    unit: str
    method: str
    error: float
    patients: int
    genes: pd.DataFrame
    sets: tuple[EnrichedSet, ...]


class ExplainedExpression(NamedTuple):
    """What the stage found and where it lies: `folder` has expression.parquet, expression.json and the pictures.

    `representation` is what heads read; `not_offered` says of which targets genes are not named, and why.
    """

    folder: Path
    representation: Representation
    runs: tuple[RunName, ...]
    targets: tuple[ExplainedTarget, ...]
    not_offered: tuple[str, ...]


class _Found(NamedTuple):
    effects: RunEffects
    given: GeneContributions
    null: np.ndarray | None


def explain_expression(
    config: Config,
    *,
    run: RunName | None = None,
    targets: Sequence[str] | None = None,
    gene_sets: Path | None = None,
    representation: Representation = "expression",
    output: Path | None = None,
    progress: Progress = silent,
) -> ExplainedExpression:
    """Explain `targets` in every run of the configuration, or in `run` alone; None: all that the cohort has, of two
    classes the second. Files go to `output`, where it is given, as they would go to the folder of the explanations.

    Raises `ConfigError` where a model reads no expression or a target does not exist, `DataError` for gene sets that
    cannot be read, `ArtefactError` where runs are not trained or not embedded.
    """
    sets = None if gene_sets is None else read_gene_sets(gene_sets)
    cohort = prepare_cohort(config, keep=False, progress=progress)
    if cohort.expression is None:
        raise ConfigError(f"'{config.name}' has no expression to explain; name a table in `cohort.expression`")
    names = _runs(config, cohort, run)
    written = places(config, run, output)
    found: dict[str, list[_Found]] = defaultdict(list)
    refused: dict[str, str] = {}
    for number, name in enumerate(names):
        one = explained_run(config, cohort, name)
        asked = one.targets(list(targets or distinct_targets(one.table)), representation)
        model = one.trained.model
        for target in asked if targets else ():
            require_offered(model, target)
        refused |= {target.name: reason for target in asked if (reason := why_not(model, target)) is not None}
        wanted = [target for target in asked if target.name not in refused]
        if not wanted:
            raise ConfigError("; ".join(refused.values()) + "; take the preset `mirror`")
        for place, target in enumerate(wanted):
            progress(number * len(wanted) + place, len(names) * len(wanted), f"{name}, {target.name}")
            found[target.name].append(_explain(one, target, null=sets is not None))
        parts = {target.name: [found[target.name][-1]] for target in wanted}
        by_patient = _by_patient([own for (own,) in parts.values()])
        write_patient_genes(written.of(name) / "expression_patients.parquet", by_patient, model=one.trained.fingerprint)
        if run is None:
            _write_table(written.of(name) / "expression.parquet", [_summary(*item) for item in parts.items()])
    progress(1, 1)
    explained = tuple(_explained(target, parts, sets) for target, parts in found.items())
    account = ExplainedExpression(written.folder, representation, tuple(names), explained, tuple(refused.values()))
    _write(config.name, account, gene_sets, sets)
    return account


def picture_file(folder: Path, target: str) -> Path:
    """The picture of a target's leading genes."""
    plain = re.sub(r"[^\w.-]+", "-", target)
    return folder / f"expression-{plain}.png"


def profiles_of(one: ExplainedRun, target: Target) -> tuple[Profiles, Reference]:
    """The test patients of a run who have what `target` reads, and its training patients' profiles.

    Raises `ConfigError` where the model reads no expression, `DataError` where the fold has nobody to explain.
    """
    if not one.profiles:
        raise ConfigError(f"the model of {one.name} reads no expression; there is nothing to explain")
    train, test = ([name for name in sorted(half) if name in one.profiles] for half in (one.fold.train, one.fold.test))
    slide = None
    if target.representation != "expression":
        views = one.table.views["align_slide" if target.name == AGREEMENT else target.representation]
        has = np.asarray(~np.isnan(views[one.table.rows(test)]).any(axis=1))
        test = [name for name, there in zip(test, has, strict=True) if there]
        slide = views[one.table.rows(test)] if target.name == AGREEMENT else None
    if not test or not train:
        raise DataError(f"{one.name}: no test patient has what '{target.name}' reads; take another fold")
    seen, values = (np.stack([one.profiles[name] for name in half]).astype(np.float64) for half in (train, test))
    return Profiles(tuple(test), values, slide), reference(tuple(train), seen)


def _explain(one: ExplainedRun, target: Target, *, null: bool) -> _Found:
    panel = one.trained.panel
    profiles, mean = profiles_of(one, target)
    assert panel is not None  # without one there are no profiles
    model = one.trained.model
    given = contributions(model, target, profiles, mean)
    if target.representation == FUSED:  # with each patient's own slide, which contributions of genes do not depend on
        view = torch.from_numpy(one.table.views[FUSED][one.table.rows(profiles.patients)])
        value = target.value({f"X_{FUSED}": view}).numpy()
        given = replace(given, value=value, at_mean=value - (given.value - given.at_mean))
    share = len(profiles.patients) / len(mean.fitted_on)
    effects = RunEffects(one.name.seed, one.name.fold, panel.genes, given.effect, given.size, share)
    # Every seed of a fold is dealt alike.
    seed = one.config.seeds[0]
    drawn = null_effects(model, target, profiles, mean, fold=one.name.fold, seed=seed) if null else None
    return _Found(effects, given, None if drawn is None else drawn.astype(np.float32))


def _explained(target: str, parts: Sequence[_Found], sets: Sequence[GeneSet] | None) -> ExplainedTarget:
    table = _summary(target, parts)
    enriched: tuple[EnrichedSet, ...] = ()
    if sets is not None:
        genes = tuple(table["gene"])
        nulls = [(part.effects.fold, part.effects.genes, part.null) for part in parts if part.null is not None]
        enriched = enrich(table["effect"].to_numpy(), mean_null(genes, nulls), genes, in_panel(sets, genes))
    first = parts[0].given
    return ExplainedTarget(
        target,
        first.unit,
        first.method,
        max(part.given.error for part in parts),
        len({patient for part in parts for patient in part.given.patients}),
        table,
        enriched,
    )


def _summary(target: str, parts: Sequence[_Found]) -> pd.DataFrame:
    return summarise_effects(target, [part.effects for part in parts])


def _runs(config: Config, cohort: Cohort, run: RunName | None) -> list[RunName]:
    seed, fold = (None, None) if run is None else run
    return [RunName(seed, fold.number) for seed, fold in wanted_runs(config, cohort, fold=fold, seed=seed)]


def _by_patient(parts: Sequence[_Found]) -> pd.DataFrame:
    """A row a target and test patient: `patient`, `target`, `value`, `at_mean`, and a column a gene."""
    frames = [
        pd.concat(
            [
                pd.DataFrame(
                    {
                        "patient": part.given.patients,
                        "target": part.given.target,
                        "value": part.given.value,
                        "at_mean": part.given.at_mean,
                    }
                ),
                pd.DataFrame(part.given.contributions.astype(np.float32), columns=list(part.effects.genes)),
            ],
            axis=1,
        )
        for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def _write_table(path: Path, tables: Sequence[pd.DataFrame]) -> None:
    with write_aside(path) as aside:
        pd.concat(tables, ignore_index=True).to_parquet(aside, index=False)


def _write(name: str, account: ExplainedExpression, gene_sets: Path | None, sets: Sequence[GeneSet] | None) -> None:
    _write_table(account.folder / "expression.parquet", [one.genes for one in account.targets])
    for path in account.folder.glob("expression-*.png"):
        remove(path)  # pictures are always those of the table beside them
    for one in account.targets:
        folds = one.genes["folds"].max()
        with write_aside(picture_file(account.folder, one.name)) as aside:
            of = "both modalities" if account.representation == FUSED else "the expression"
            of = "slide and expression" if one.name == AGREEMENT else f"a head on {of}"
            runs = str(account.runs[0]) if len(account.runs) == 1 else f"{len(account.runs)} runs"
            told = f"{of}, {one.patients} test patients of {runs}"
            about = Caption(f"{name}: {one.name}", (told,))
            aside.write_bytes(gene_picture(one.genes, about, target=one.name, unit=one.unit, folds=int(folds)))
    write_json(
        account.folder / "expression.json",
        {
            "runs": [str(run) for run in account.runs],
            "representation": account.representation,
            "interval": INTERVAL,
            "targets": [_account(one) for one in account.targets],
            "not_offered": account.not_offered,
            "gene_sets": None if gene_sets is None or sets is None else _source(gene_sets, sets),
        },
    )


def _source(path: Path, sets: Sequence[GeneSet]) -> Mapping[str, Any]:
    return {"file": path.name, "hash": hash_file(path), "sets": len(sets), "null_draws": DRAWS}


def _account(one: ExplainedTarget) -> Mapping[str, Any]:
    return {
        "target": one.name,
        "unit": one.unit,
        "method": one.method,
        "error": one.error,
        "patients": one.patients,
        "sets": [
            {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
            for row in (found._asdict() for found in one.sets)
        ],
    }
