"""Frozen encoders: embed once and probe, against encoding every slide again in every epoch of a probe's training.

    python benchmarks/probe.py                                   # five folds of ../shared/cohorts/brca
    python benchmarks/probe.py --folds 1 --measured-epochs 1     # quicker; what is not run is scaled up, and said

Ours: one pass of each fold's encoders over all slides, then the full protocol of `mirror evaluate` on that fold (every
representation, every number of shots, survival, retrieval) and the intervals of all scores. Published: one linear probe
a fold, 100 epochs, in each of which the frozen encoders read drawn tiles of every training slide, the layer steps, and
the test slides are encoded to be judged. So one of their probes is compared with all of ours. Their epochs are all
alike: --measured-epochs of them are run on each fold, and the mean is multiplied by 100.

Both use the published model at the width and tiles given, untrained: weights do not change what a pass costs. Both may
use all cores: the protocol by a job a core, as `mirror evaluate` runs it, everything else by threads. Seconds are by
the clock; the ratio is also given by processor time, which a busy machine disturbs less. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor

from mirror.config import Config, load_config, read_preset
from mirror.data.cohort import Cohort
from mirror.data.datasets import PairedSlides, PairLoader
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import GenePanel, apply, fit_panel
from mirror.evaluation.embed import embed_slides
from mirror.evaluation.intervals import interval_table
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.scores import RunOrigin, score_table, stamped
from mirror.nn.heads import FusionHead
from mirror.nn.mirror import Mirror
from mirror.seeding import generator_for
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import first_model, training_pairs

PUBLISHED_EPOCHS = 100
CPU = torch.device("cpu")


class Seconds(NamedTuple):
    """By the clock and by the processor."""

    wall: float
    processor: float

    def __add__(self, other: Seconds) -> Seconds:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Seconds(self.wall + other.wall, self.processor + other.processor)

    def times(self, factor: float) -> Seconds:
        return Seconds(self.wall * factor, self.processor * factor)


def _processor() -> float:
    """Processor seconds of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class Timer:
    """Seconds since it was made, of jobs of other processes too."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), _processor()

    def read(self) -> Seconds:
        get_reusable_executor().shutdown(wait=True)  # a job that goes on waiting is not counted
        return Seconds(time.perf_counter() - self._began[0], _processor() - self._began[1])


def embed_once(model: Mirror, cohort: Cohort, fold: Fold) -> tuple[anndata.AnnData, Seconds]:
    """All slides of the cohort by all their tiles."""
    assert cohort.expression is not None
    timer = Timer()
    profiles = apply(_panel(cohort, fold), cohort.expression, cohort.expression.patients)
    expression = dict(zip(profiles.patients, profiles.values, strict=True))
    store = FeatureStore(cohort.paths, keep_open=1)
    found = embed_slides(model, store, cohort.slides, expression, device=CPU)
    obs = pd.DataFrame({"patient": list(found.patients)}, index=list(found.slides))
    return anndata.AnnData(obs=obs, obsm={name: np.asarray(view) for name, view in found.views.items()}), timer.read()


def encode_every_epoch(model: Mirror, config: Config, cohort: Cohort, fold: Fold, *, epochs: int) -> Seconds:
    """The mean epoch of one linear probe in whose training the frozen encoders run again and again."""
    assert cohort.expression is not None
    labels = cohort.patients["label"].dropna()
    classes = sorted(labels.unique())
    profiles = apply(_panel(cohort, fold), cohort.expression, cohort.expression.patients)
    loaders: list[PairLoader] = []
    for half in (fold, Fold(fold.number, fold.test, fold.train)):
        pairs = training_pairs(cohort, half)
        pairs = pairs[pairs["patient"].isin(labels.index)]
        owners = dict(zip(pairs["slide"], pairs["patient"], strict=True))
        store = FeatureStore(dict(zip(pairs["slide"], pairs["path"], strict=True)))
        part = PairedSlides(store, owners, profiles, tiles=config.pretraining.tiles, seed=0)
        loaders.append(PairLoader(part, batch=config.pretraining.batch, seed=0))
    head = FusionHead(model.sizes.width, len(classes), generator=generator_for(0, "head"))
    optimiser = torch.optim.Adam(head.parameters(), lr=config.pretraining.learning_rate)
    model.eval()
    timer = Timer()
    for epoch in range(epochs):
        for training, loader in zip((True, False), loaders, strict=True):
            for batch in loader.epoch(epoch):
                with torch.no_grad():
                    encoded = model.embed_slide(batch.tiles_BTD), model.embed_expression(batch.expression_BG)
                if training:
                    target = torch.tensor([classes.index(labels[patient]) for patient in batch.patients])
                    optimiser.zero_grad(set_to_none=True)
                    F.cross_entropy(head(*encoded), target, label_smoothing=0.1).backward()
                    optimiser.step()
    return timer.read().times(1 / epochs)


def probe(config: Config, cohort: Cohort, embedded: dict[int, anndata.AnnData], *, jobs: int) -> tuple[int, Seconds]:
    """The full protocol on each embedded fold in so many jobs, intervals included; how many numbers that gives."""
    timer = Timer()
    scores: list[pd.DataFrame] = []
    predictions: list[pd.DataFrame] = []
    for fold in cohort.folds:
        if fold.number in embedded:
            table = patient_table(cohort, embedded[fold.number])
            result = evaluate_fold(table, fold, config.evaluation, seed=0, n_jobs=jobs)
            origin = RunOrigin(config.name, fold.number, 0, config.preset)
            scores.append(score_table(result.scores, origin))
            predictions.append(stamped(result.predictions, origin))
    numbers = pd.concat(scores, ignore_index=True)
    interval_table(numbers, pd.concat(predictions, ignore_index=True), seed=0)
    return len(numbers), timer.read()


def measure(config: Config, *, folds: int, epochs: int, jobs: int) -> dict[str, float | int]:
    """Measure both ways on the first `folds` folds, print the table, return the line of JSON."""
    cohort = prepare_cohort(config)
    assert cohort.expression is not None
    chosen = cohort.folds[:folds]
    embedded: dict[int, anndata.AnnData] = {}
    embedding = published = Seconds(0.0, 0.0)
    for fold in chosen:
        model = first_model(config, cohort, genes=len(cohort.expression.genes), seed=0)
        embedded[fold.number], once = embed_once(model, cohort, fold)
        embedding += once
        published += encode_every_epoch(model, config, cohort, fold, epochs=epochs).times(PUBLISHED_EPOCHS)
        print(f"fold {fold.number}: embedded", flush=True)
    numbers, probing = probe(config, cohort, embedded, jobs=jobs)
    scale = len(cohort.folds) / len(chosen)
    embedding, probing, published = (part.times(scale) for part in (embedding, probing, published))
    said = "" if scale == 1 else f" (measured on {len(chosen)}, multiplied by {scale:g})"
    print(
        f"\n{config.name}: {len(cohort.slides)} slides, {len(cohort.folds)} folds{said}, "
        f"{torch.get_num_threads()} threads, {jobs} jobs"
    )
    print(f"{'':58}{'clock s':>10}{'processor s':>13}")
    for name, part in (
        ("ours: embed all slides, once a fold", embedding),
        (f"ours: the full protocol, {round(numbers * scale)} numbers with intervals", probing),
        (f"published: one linear probe, {PUBLISHED_EPOCHS} epochs from {epochs} measured", published),
    ):
        print(f"{name:58}{part.wall:10.1f}{part.processor:13.1f}")
    ours = embedding + probing
    return {
        "speedup": round(published.wall / ours.wall, 2),
        "speedup_processor": round(published.processor / ours.processor, 2),
        "speedup_of_one_probe_after_embedding": round(published.processor / embedding.processor, 2),
        "seconds": round(probing.wall, 1),
        "processor_seconds": round(probing.processor, 1),
        "embedding_seconds": round(embedding.wall, 1),
        "published_seconds": round(published.wall, 1),
        "jobs": jobs,
        "folds_measured": len(chosen),
        "epochs_measured": epochs,
    }


def _panel(cohort: Cohort, fold: Fold) -> GenePanel:
    assert cohort.expression is not None
    return fit_panel(cohort.expression, fold.train, transform="none")


def settings(path: Path, *, width: int, tiles: int, output: Path) -> Config:
    """The cohort of a configuration with the published model at this size."""
    config = load_config(path)
    preset = read_preset("published")
    model = {**preset["model"], "width": width, "attention": "auto", "style_hidden": 64, "prototypes": 64}
    changed = {"model": model, "pretraining": {**preset["pretraining"], "tiles": tiles}, "output": output, "pool": ()}
    return Config.model_validate({**config.model_dump(), "preset": "published", **changed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "configs" / "brca.yaml"
    parser.add_argument("config", nargs="?", type=Path, default=default)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--measured-epochs", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=cpu_count())
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--tiles", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = settings(asked.config, width=asked.width, tiles=asked.tiles, output=Path(folder))
        print(json.dumps(measure(config, folds=asked.folds, epochs=asked.measured_epochs, jobs=asked.jobs)))


if __name__ == "__main__":
    main()
