"""The pretraining stage: one run a fold and seed, on that fold's training patients and nobody else's data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import torch

from mirror.artefacts import fingerprint, write_text
from mirror.config import (
    CanonicalModelConfig,
    CohortConfig,
    Config,
    PublishedModelConfig,
    changes_from_preset,
    dump_config,
)
from mirror.data.cohort import Cohort, build_cohort
from mirror.data.datasets import PairedSlides, PairLoader
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import GenePanel, apply, fit_panel, panel_of
from mirror.errors import ArtefactError, ConfigError, DataError, LeakError, raise_together
from mirror.nn.layers import recompute_residuals
from mirror.nn.mirror import Mirror, build_mirror
from mirror.seeding import generator_for
from mirror.tasks.canonical_pretraining import CanonicalPretraining
from mirror.tasks.pretraining import Pretraining, mirror_sizes
from mirror.training.checkpoint import save_weights
from mirror.training.compiled import compile_in_place
from mirror.training.device import choose_device
from mirror.training.distributed import Ranks
from mirror.training.loop import Records, Schedule, last_state, train
from mirror.training.runs import RunFolder, run_folder
from mirror.types import WHOLE, Fold, Progress, silent
from mirror.workflow.canonical import (
    common_genes,
    finish,
    paired_slides,
    same_fold,
    sizes_record,
    started_model,
    training_cohort,
)
from mirror.workflow.refine import fold_panel, refinement_mark, refuse_other_choice
from mirror.workflow.study import INDIFFERENT

RECOMPUTE_TILES = 8192
"""`recompute: auto` is on for bags of more tiles than this: their layers hold gigabytes a slide."""


def pretrain_fold(
    config: Config,
    cohort: Cohort,
    fold: Fold,
    seed: int,
    *,
    overwrite: bool = False,
    ranks: Ranks | None = None,
    progress: Progress = silent,
) -> RunFolder:
    """Train one run, go on with an interrupted one, or leave a finished one as it is.

    Every one of several `ranks` calls this; the first one writes what there is to write.
    A run of other settings or data in the folder, or one that cannot go on because its metrics are gone, is removed
    when `overwrite` says so, else `ArtefactError` is raised.
    Raises `DataError` when the fold has fewer than two training slides with expression, `LeakError` when a pooled
    cohort would train on its test patients, `ConfigError` when genes were chosen for this output under another scope.
    """
    refuse_other_choice(config, cohort, fold)
    run = run_folder(config.output, seed=seed, fold=fold.number)
    slides = training_slides(config, cohort, fold)
    mark = run_fingerprint(config, cohort, fold, seed)
    refined = refinement_mark(config, cohort, fold)
    mark = mark if refined is None else fingerprint(mark, refined)
    ranks = ranks or Ranks()
    stale = False
    try:
        if run.is_complete(mark):
            return run
        last_state(Records(run.metrics, run.state, mark))  # refuses another run's before anything is written
    except ArtefactError:
        if not overwrite:
            raise
        stale = True
    ranks.wait()  # until all have looked: what is there is changed from here on
    began = time.monotonic()
    panel = fold_panel(config, cohort, fold)
    pool = pooled_cohorts(config)
    if pool:
        panel = panel_of(panel, common_genes(panel, pool))
    if ranks.first:
        if stale:
            run.clear()
        write_text(run.config, dump_config(config))
        panel.save(run.panel)
    ranks.wait()
    train_run = _train_canonical if isinstance(config.model, CanonicalModelConfig) else _train_published
    facts = train_run(config, cohort, fold, seed, _Work(run, mark, slides, panel, pool, ranks), progress)
    if not ranks.first:
        return run
    train_slides = cohort.slides["patient"].isin(fold.train)
    without_slide = training_patients_without_slide(config, cohort, fold)
    run.finish(
        fingerprint=mark,
        name=config.name,
        preset=config.preset,
        changed_from_preset=changes_from_preset(config),
        inputs=cohort.facts["inputs"],
        seed=seed,
        fold=None if fold.number == WHOLE else fold.number,
        pairs=int(slides["has_expression"].sum()),
        patients=sorted({*panel.fitted_on, *slides["patient"]}),
        slides_without_expression=int((train_slides & ~cohort.slides["has_expression"]).sum()),
        patients_without_slide=len(without_slide),
        encoder=cohort.encoder,
        tiles=cohort.facts.get("tiles"),
        seconds=round(time.monotonic() - began, 1),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    )
    return run


class _Work(NamedTuple):
    """A run to be trained: where, under which fingerprint, on which slides and genes, with which pooled cohorts, by
    which processes."""

    run: RunFolder
    mark: str
    slides: pd.DataFrame
    panel: GenePanel
    pool: tuple[Cohort, ...]
    ranks: Ranks


def _train_published(
    config: Config, cohort: Cohort, fold: Fold, seed: int, work: _Work, progress: Progress
) -> dict[str, Any]:
    del fold
    assert cohort.expression is not None  # there are pairs
    panel, slides = work.panel, work.slides
    part = PairedSlides(
        FeatureStore(dict(zip(slides["slide"], slides["path"], strict=True))),
        dict(zip(slides["slide"], slides["patient"], strict=True)),
        apply(panel, cohort.expression, panel.fitted_on),
        tiles=config.pretraining.tiles,
        seed=seed,
    )
    device = choose_device(config.device)
    model = first_model(config, cohort, genes=len(panel.genes), seed=seed).to(device)
    task = Pretraining(
        model, config.pretraining.weights, ranks=work.ranks, rows_at_once=config.pretraining.rows_at_once
    )
    wanted = config.pretraining.recompute
    recompute_residuals(model, wanted == "on" or (wanted == "auto" and config.pretraining.tiles > RECOMPUTE_TILES))
    history = _train(config, task, [part], work, seed, progress)
    if work.ranks.first:
        save_weights(work.run.weights, model.state_dict(), sizes=asdict(model.sizes))
    return {"device": str(device), "last_epoch": history[-1] if history else {}}


def _train_canonical(
    config: Config, cohort: Cohort, fold: Fold, seed: int, work: _Work, progress: Progress
) -> dict[str, Any]:
    own = training_cohort(cohort, work.slides, work.panel, progress=progress)
    parts = [own]
    for other in work.pool:
        assert other.expression is not None  # `common_genes` has seen to it
        there = same_fold(other, fold)
        tested = sorted(set(there.train) & set(fold.test))
        raise_together(
            LeakError,
            f"a pooled cohort would train on test patients of fold {fold.number}; give both cohorts the same folds of "
            "the patients they share, or pool another:",
            tested,
        )
        train = {*training_pairs(other, there)["patient"], *training_patients_without_slide(config, other, there)}
        panel = fit_panel(other.expression, train, transform=work.panel.transform, genes=work.panel.genes)
        parts.append(training_cohort(other, training_slides(config, other, there), panel, progress=progress))
    device = choose_device(config.device)
    model = started_model(config, parts, seed=seed).to(device)
    loaded = [paired_slides(part, config, seed, like=None if part is own else own) for part in parts]
    task = CanonicalPretraining(
        model, config.pretraining.weights, ranks=work.ranks, rows_at_once=config.pretraining.rows_at_once
    )
    history = _train(config, task, loaded, work, seed, progress)
    if work.ranks.first:
        finish(model, own, device=device)
        save_weights(work.run.weights, model.state_dict(), sizes=sizes_record(model))
    pooled = [
        {"patients": len(part.patients), "pairs": part.pairs, "fitted_on": list(part.patients)} for part in parts[1:]
    ]
    return {
        "device": str(device),
        "last_epoch": history[-1] if history else {},
        "correlations": [round(float(rho), 4) for rho in model.correlations],
        "genes": len(work.panel.genes),
        "pool": pooled,
    }


def _train(
    config: Config,
    task: Pretraining | CanonicalPretraining,
    parts: Sequence[PairedSlides],
    work: _Work,
    seed: int,
    progress: Progress,
) -> list[dict[str, float]]:
    """The loop on the batches of `parts`, from the state left behind if there is one; each epoch's mean terms."""
    settings, device = config.pretraining, choose_device(config.device)
    share = work.ranks.share
    batches = PairLoader(
        *parts,
        batch=settings.batch,
        seed=seed,
        workers=settings.workers,
        pin_memory=device.type == "cuda",
        share=share,
    )
    if settings.compile:
        compile_in_place(task.model)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser]
    optimiser = kind(task.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    return train(
        task,
        batches,
        optimiser,
        schedule=Schedule(settings.epochs, seed, device, settings.precision, settings.checkpoint_seconds),
        records=Records(work.run.metrics, work.run.state, work.mark),
        share=share,
        progress=progress,
    )


def pooled_cohorts(config: Config) -> tuple[Cohort, ...]:
    """The cohorts of `pool`, read and joined. Raises `ConfigError` where the kind of model cannot use them."""
    if config.pool and not isinstance(config.model, CanonicalModelConfig):
        raise ConfigError("`pool` needs a model of `kind: canonical`, as `preset: mirror` has; remove it, or use that")
    return tuple(_pooled(section.model_dump_json()) for section in config.pool)


@lru_cache(maxsize=16)
def _pooled(section: str) -> Cohort:  # every fold of every seed asks for it again
    return build_cohort(CohortConfig.model_validate_json(section))


def training_slides(config: Config, cohort: Cohort, fold: Fold) -> pd.DataFrame:
    """The rows of `cohort.slides` that a fold trains on: its pairs, and slides without expression where wanted."""
    pairs = training_pairs(cohort, fold)
    if config.pretraining.one_modality == "leave_out":
        return pairs
    return cohort.slides[cohort.slides["patient"].isin(fold.train)].sort_values("slide")


def training_patients_without_slide(config: Config, cohort: Cohort, fold: Fold) -> list[str]:
    """The training patients who have expression alone, where those train."""
    if config.pretraining.one_modality == "leave_out":
        return []
    return sorted(set(fold.train) & set(cohort.without_slide.index))


def training_pairs(cohort: Cohort, fold: Fold) -> pd.DataFrame:
    """The rows of `cohort.slides` that a fold trains on: slides of its training patients who have expression."""
    slides = cohort.slides
    pairs = slides[slides["patient"].isin(fold.train) & slides["has_expression"]].sort_values("slide")
    if cohort.expression is None or len(pairs) < 2:
        raise DataError(
            f"fold {fold.number} has {len(pairs)} training slides whose patients have expression; pretraining pairs "
            "the two modalities and needs at least two: "
            + ("name the table in `cohort.expression`" if cohort.expression is None else "make fewer or other folds")
        )
    return pairs


def run_fingerprint(config: Config, cohort: Cohort, fold: Fold, seed: int) -> str:
    """What a run is made from: settings, seed, and the very features and expression it is trained on."""
    assert cohort.expression is not None
    slides = training_slides(config, cohort, fold)
    patients = {*slides["patient"], *training_patients_without_slide(config, cohort, fold)}
    values = cohort.expression.of(sorted(patients & set(cohort.expression.patients)))
    mark = fingerprint(
        config.model.model_dump(mode="json", exclude_defaults=True),
        # A switch at its published setting is no part of the mark: runs from before there was one stay what they are.
        config.pretraining.model_dump(mode="json", exclude=INDIFFERENT, exclude_defaults=True),
        seed,
        slides[["slide", "patient", "feature_hash"]].to_numpy().tolist(),
        values.content_hash(),
    )
    for other in pooled_cohorts(config):
        held = [list(fold) for fold in other.folds]
        table = "" if other.expression is None else other.expression.content_hash()
        mark = fingerprint(mark, other.slides[["slide", "patient", "feature_hash"]].to_numpy().tolist(), table, held)
    return mark


def first_model(config: Config, cohort: Cohort, *, genes: int, seed: int) -> Mirror:
    """The untrained published model of a configuration, on the CPU."""
    assert isinstance(config.model, PublishedModelConfig)
    sizes = mirror_sizes(config.model, tile_dim=cohort.feature_dim, genes=genes, tiles=config.pretraining.tiles)
    return build_mirror(sizes, generator=generator_for(seed, "weights"))


def wanted_runs(config: Config, cohort: Cohort, *, fold: int | None, seed: int | None) -> list[tuple[int, Fold]]:
    """The (seed, fold) pairs to work on: all of the configuration's, or the one fold or seed that is asked for.

    Raises `ConfigError` when the cohort has no such fold or the configuration no such seed.
    """
    numbers = [one.number for one in cohort.folds]
    if fold is not None and fold not in numbers:
        raise ConfigError(f"there is no fold {fold}; the cohort has {', '.join(map(str, numbers))}")
    if seed is not None and seed not in config.seeds:
        raise ConfigError(f"seed {seed} is not among `seeds` ({', '.join(map(str, config.seeds))}); add it there")
    seeds = config.seeds if seed is None else (seed,)
    return [(number, one) for number in seeds for one in cohort.folds if fold in (None, one.number)]
