"""The pretraining stage: one run a fold and seed, on that fold's training patients and nobody else's data."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime

import pandas as pd
import torch

from mirror.artefacts import fingerprint, write_text
from mirror.config import Config, changes_from_preset, dump_config
from mirror.data.cohort import Cohort
from mirror.data.datasets import PairedSlides, PairLoader
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import apply
from mirror.errors import ArtefactError, ConfigError, DataError
from mirror.nn.mirror import Mirror, build_mirror
from mirror.seeding import generator_for
from mirror.tasks.pretraining import Pretraining, mirror_sizes
from mirror.training.checkpoint import load_state, save_weights
from mirror.training.device import choose_device
from mirror.training.loop import Records, Schedule, train
from mirror.training.runs import RunFolder, run_folder
from mirror.types import Fold, Progress, silent
from mirror.workflow.refine import fold_panel, refinement_mark, refuse_other_scope

# What changes how fast a run is, but not what it is.
_INDIFFERENT = {"workers", "checkpoint_seconds"}


def pretrain_fold(
    config: Config, cohort: Cohort, fold: Fold, seed: int, *, overwrite: bool = False, progress: Progress = silent
) -> RunFolder:
    """Train one run, go on with an interrupted one, or leave a finished one as it is.

    A run of other settings or data in the folder is removed when `overwrite` says so, else `ArtefactError` is raised.
    Raises `DataError` when the fold has fewer than two training slides with expression, `ConfigError` when genes were
    chosen for this output under another scope.
    """
    refuse_other_scope(config)
    run = run_folder(config.output, seed=seed, fold=fold.number)
    pairs = training_pairs(cohort, fold)
    mark = run_fingerprint(config, cohort, pairs, seed)
    refined = refinement_mark(config, cohort, fold)
    mark = mark if refined is None else fingerprint(mark, refined)
    try:
        if run.is_complete(mark):
            return run
        load_state(run.state, fingerprint=mark)  # refuses another run's before anything is written
    except ArtefactError:
        if not overwrite:
            raise
        run.clear()
    began = time.monotonic()
    device = choose_device(config.device)
    settings = config.pretraining
    assert cohort.expression is not None  # there are pairs
    panel = fold_panel(config, cohort, fold)
    write_text(run.config, dump_config(config))
    panel.save(run.panel)
    batches = PairLoader(
        PairedSlides(
            FeatureStore(dict(zip(pairs["slide"], pairs["path"], strict=True))),
            dict(zip(pairs["slide"], pairs["patient"], strict=True)),
            apply(panel, cohort.expression, panel.fitted_on),
            tiles=settings.tiles,
            seed=seed,
        ),
        batch=settings.batch,
        seed=seed,
        workers=settings.workers,
        pin_memory=device.type == "cuda",
    )
    model = first_model(config, cohort, genes=len(panel.genes), seed=seed).to(device)
    optimiser = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    history = train(
        Pretraining(model, settings.weights),
        batches,
        optimiser,
        schedule=Schedule(settings.epochs, seed, device, settings.precision, settings.checkpoint_seconds),
        records=Records(run.metrics, run.state, mark),
        progress=progress,
    )
    save_weights(run.weights, model.state_dict(), sizes=asdict(model.sizes))
    train_slides = cohort.slides["patient"].isin(fold.train)
    run.finish(
        fingerprint=mark,
        name=config.name,
        preset=config.preset,
        changed_from_preset=changes_from_preset(config),
        inputs=cohort.facts["inputs"],
        seed=seed,
        fold=fold.number,
        pairs=len(pairs),
        patients=list(panel.fitted_on),
        slides_without_expression=int((train_slides & ~cohort.slides["has_expression"]).sum()),
        encoder=cohort.encoder,
        device=str(device),
        seconds=round(time.monotonic() - began, 1),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        last_epoch=history[-1],
    )
    return run


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


def run_fingerprint(config: Config, cohort: Cohort, pairs: pd.DataFrame, seed: int) -> str:
    """What a run is made from: settings, seed, and the very features and expression it is trained on."""
    assert cohort.expression is not None
    values = cohort.expression.of(sorted(set(pairs["patient"])))
    return fingerprint(
        config.model.model_dump(mode="json"),
        config.pretraining.model_dump(mode="json", exclude=_INDIFFERENT),
        seed,
        pairs[["slide", "patient", "feature_hash"]].to_numpy().tolist(),
        values.content_hash(),
    )


def first_model(config: Config, cohort: Cohort, *, genes: int, seed: int) -> Mirror:
    """The untrained model of a configuration, on the CPU."""
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
