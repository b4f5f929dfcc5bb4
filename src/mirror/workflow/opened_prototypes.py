"""Prototypes, opened: who and what is in each of a run, and how alike those of other runs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import anndata
import numpy as np

from mirror.config import Config
from mirror.data.feature_store import FeatureStore
from mirror.errors import ConfigError
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.metrics import Floats
from mirror.evaluation.prototypes import Membership, gene_shifts, membership
from mirror.evaluation.report.prototypes import Prototype, opened_prototype
from mirror.explain.parts import PartShares
from mirror.explain.prototypes import Association, Coverage, Stability, coverage, stability
from mirror.nn.canonical import CanonicalMirror
from mirror.workflow.explained import ExplainedRun, RunName
from mirror.workflow.prototype_tiles import NearTile, near_tiles, nearest_slides
from mirror.workflow.prototypes import learned_directions


class OpenedPrototype(NamedTuple):
    """One prototype of one run. `match_seeds` and `match_folds`: the mean over other seeds of the fold, over other
    folds of the seed, of its best match; None where there are none."""

    found: Prototype
    slides: tuple[str, ...]
    tiles: tuple[NearTile, ...]
    match_seeds: float | None
    match_folds: float | None


class RunPrototypes(NamedTuple):
    """The prototypes in use of one run, the largest first; `rand_seeds` and `rand_folds` are mean adjusted Rand indices
    with the other seeds of the fold and the other folds of the seed."""

    run: RunName
    coverage: Coverage
    rand_seeds: float | None
    rand_folds: float | None
    prototypes: tuple[OpenedPrototype, ...]


class ExplainedPrototypes(NamedTuple):
    """`parts`, by run, are empty, and `no_parts` says why, where the preset does not tell parts apart. `notes`, by
    slide: what of its tiles could not be drawn, and why."""

    folder: Path
    runs: tuple[RunPrototypes, ...]
    tests: tuple[Association, ...]
    parts: Mapping[str, tuple[PartShares, ...]]
    no_parts: str | None
    notes: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Divided(NamedTuple):
    """The embeddings of a run, the directions (P, K) of its prototypes, and the patients as they divide them."""

    embeddings: anndata.AnnData
    directions: Floats
    found: Membership


def divided(config: Config, one: ExplainedRun) -> Divided:
    """Raises `ConfigError` where the run has no prototypes or no aligned views."""
    directions = learned_directions(config, one.folder)
    embeddings = load_embeddings(one.folder.embeddings)
    found = None if directions is None else membership(embeddings, directions)
    if directions is None or found is None:
        raise ConfigError(f"{one.folder.path} has no prototypes or no aligned views; run `mirror embed` again")
    return Divided(embeddings, directions, found)


def opened_run(one: ExplainedRun, every: Mapping[RunName, Divided]) -> RunPrototypes:
    """The prototypes of a run, beside those of `every` run of its configuration."""
    name, own = one.name, every[one.name]
    seeds = [other for run, other in every.items() if run.fold == name.fold and run.seed != name.seed]
    folds = [other for run, other in every.items() if run.seed == name.seed and run.fold != name.fold]
    by_seed, by_fold = (_stabilities(own, others) for others in (seeds, folds))
    roles = dict(zip(own.found.patients, own.found.roles, strict=True))
    members = {number: own.found.members(number) for number in own.found.in_use}
    shifts = gene_shifts(one.cohort.expression, {number: set(names) for number, names in members.items()})
    store = FeatureStore(one.cohort.paths, keep_open=1)
    model = one.trained.model
    assert isinstance(model, CanonicalMirror)  # others have no learned directions
    opened: list[OpenedPrototype] = []
    for number, names in members.items():
        slides = nearest_slides(own.embeddings, names, own.directions[number])
        opened.append(
            OpenedPrototype(
                opened_prototype(number, names, one.cohort.patients, roles, shifts),
                tuple(slides),
                tuple(near_tiles(model, store, slides, own.directions[number])),
                _mean(other.best_match.get(number) for other in by_seed),
                _mean(other.best_match.get(number) for other in by_fold),
            )
        )
    return RunPrototypes(
        name,
        coverage(own.found, temperature=model.sizes.style_temperature),
        _mean(other.adjusted_rand for other in by_seed),
        _mean(other.adjusted_rand for other in by_fold),
        tuple(opened),
    )


def _stabilities(own: Divided, others: Sequence[Divided]) -> list[Stability]:
    found = (stability(own.found, other.found) for other in others)
    return [one for one in found if one is not None]


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
