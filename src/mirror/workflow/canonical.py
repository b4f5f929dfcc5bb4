"""One run of the canonical model: its patients, pooled ones among them, its start, its training and its readout.

A pooled cohort lends its training patients of the same fold: standardised by themselves, they count in the directions
(`pool_weight`) and make batches of their own. What the model keeps to standardise with is the own cohort's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mirror.config import CanonicalModelConfig, Config
from mirror.data.cohort import Cohort
from mirror.data.datasets import Affine, PairedSlides
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import AppliedPanel, GenePanel, apply
from mirror.errors import ConfigError, DataError
from mirror.nn.canonical import CanonicalMirror, build_canonical
from mirror.seeding import generator_for
from mirror.tasks.canonical_pretraining import canonical_sizes, fit_readouts
from mirror.tasks.canonical_start import Standard, TrainingMeans, standardise, start
from mirror.types import Fold, Progress, silent

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingCohort:
    """A cohort's slides to train on (rows of `Cohort.slides`), its patients' profiles as its panel gives them, those
    who have a profile and no slide, and per patient the mean tile (N, D) and the profile (N, G), rows of NaN where
    there is none."""

    slides: pd.DataFrame
    store: FeatureStore
    profiles: AppliedPanel
    without_slide: tuple[str, ...]
    patients: tuple[str, ...]
    mean_tiles: Floats
    expression: Floats

    @property
    def pairs(self) -> int:
        """Patients with both modalities."""
        lacking = np.isnan(self.expression).any(axis=1) | np.isnan(self.mean_tiles).any(axis=1)
        return int((~lacking).sum())


def common_genes(panel: GenePanel, pool: Sequence[Cohort]) -> tuple[str, ...]:
    """The panel's genes that every pooled cohort has, in the panel's order. Raises `DataError` when there is none."""
    genes = panel.genes
    for cohort in pool:
        named = set() if cohort.expression is None else set(cohort.expression.genes)
        genes = tuple(gene for gene in genes if gene in named)
        if not genes:
            raise DataError(
                "the cohorts to pool have no gene in common; name their genes alike (`gene_map`), or pool fewer"
            )
    return genes


def same_fold(cohort: Cohort, fold: Fold) -> Fold:
    """The fold of a pooled cohort that has the number of the own one's. Raises `ConfigError` when there is none."""
    for one in cohort.folds:
        if one.number == fold.number:
            return one
    raise ConfigError(
        f"a pooled cohort has no fold {fold.number}, its folds are {[one.number for one in cohort.folds]}; "
        "give all cohorts as many folds"
    )


def training_cohort(
    cohort: Cohort, slides: pd.DataFrame, panel: GenePanel, *, progress: Progress = silent
) -> TrainingCohort:
    """Read the mean tiles of `slides`, and the profiles of everyone `panel` was fitted on."""
    store = FeatureStore(dict(zip(slides["slide"], slides["path"], strict=True)))
    assert cohort.expression is not None
    profiles = apply(panel, cohort.expression, panel.fitted_on)
    means: dict[str, list[Floats]] = {}
    for number, (slide, patient) in enumerate(zip(slides["slide"], slides["patient"], strict=True)):
        progress(number, len(slides), "reading mean tiles")
        means.setdefault(str(patient), []).append(store.bag(slide).read().mean(axis=0, dtype=np.float64))
    without_slide = tuple(sorted(set(profiles.patients) & set(cohort.without_slide.index)))
    patients = tuple(sorted({*means, *without_slide}))
    place = {patient: row for row, patient in enumerate(profiles.patients)}
    expression = np.full((len(patients), profiles.values.shape[1]), np.nan)
    for row, patient in enumerate(patients):
        if patient in place:
            expression[row] = profiles.values[place[patient]]
    nothing = [np.full(cohort.feature_dim, np.nan)]
    tiles = np.stack([np.mean(means.get(patient, nothing), axis=0) for patient in patients])
    return TrainingCohort(slides, store, profiles, without_slide, patients, tiles, expression)


def paired_slides(part: TrainingCohort, config: Config, seed: int, *, like: TrainingCohort | None) -> PairedSlides:
    """The cohort as the loader reads it; a pooled one in the units of `like`, the own cohort."""
    profiles, units = part.profiles, None
    if like is not None:
        units = _units(standardise(part.mean_tiles), standardise(like.mean_tiles))
        genes = _units(standardise(part.expression), standardise(like.expression))
        profiles = profiles._replace(values=profiles.values * genes.scale + genes.shift)
    return PairedSlides(
        part.store,
        dict(zip(part.slides["slide"], part.slides["patient"], strict=True)),
        profiles,
        tiles=config.pretraining.tiles,
        seed=seed,
        lone=config.pretraining.one_modality == "train",
        without_slide=part.without_slide,
        tile_units=units,
    )


def _units(own: Standard, wanted: Standard) -> Affine:
    scale = wanted.scale / own.scale
    return Affine(scale.astype(np.float32), (wanted.mean - own.mean * scale).astype(np.float32))


def started_model(config: Config, parts: Sequence[TrainingCohort], *, seed: int) -> CanonicalMirror:
    """The model in closed form, fitted on the training patients of the own cohort, `parts[0]`, and the pooled ones."""
    own, settings = parts[0], config.model
    assert isinstance(settings, CanonicalModelConfig)
    sizes = canonical_sizes(settings, tile_dim=own.mean_tiles.shape[1], genes=own.expression.shape[1])
    model = build_canonical(sizes, generator=generator_for(seed, "weights"))
    slide, expression = [own.mean_tiles], [own.expression]
    for part in parts[1:]:
        for rows, x in ((slide, part.mean_tiles), (expression, part.expression)):
            standard = standardise(x)
            rows.append((x - standard.mean) / standard.scale)
    counts = [len(part.patients) for part in parts]
    is_own = np.arange(sum(counts)) < counts[0]
    weight = np.where(is_own, 1.0, config.pretraining.pool_weight)
    means = TrainingMeans(np.concatenate(slide), np.concatenate(expression), weight)
    start(model, means, own=is_own, seed=seed)
    return model


@torch.no_grad()
def finish(model: CanonicalMirror, own: TrainingCohort, *, device: torch.device) -> None:
    """Fit the readouts on the trained components of the own training patients, all tiles of all their slides."""
    model.eval()
    sums: dict[str, list[torch.Tensor]] = {}
    for slide, patient in zip(own.slides["slide"], own.slides["patient"], strict=True):
        tiles = torch.from_numpy(own.store.bag(slide).read())[None].to(device)
        sums.setdefault(str(patient), []).append(model.embed_slide(tiles)[0])
    nothing = [torch.full((model.slide_width,), float("nan"), device=device)]
    slide_NU = torch.stack([torch.stack(sums.get(patient, nothing)).mean(dim=0) for patient in own.patients])
    expression_NE = torch.full((len(own.patients), model.expression_width), float("nan"), device=device)
    has = ~np.isnan(own.expression).any(axis=1)
    values = torch.from_numpy(own.expression[has].astype(np.float32)).to(device)
    expression_NE[torch.from_numpy(has).to(device)] = model.embed_expression(values)
    fit_readouts(model, slide_NU, expression_NE)


def sizes_record(model: CanonicalMirror) -> dict[str, Any]:
    """What the file of weights says of the model."""
    return {"kind": "canonical", **asdict(model.sizes)}
