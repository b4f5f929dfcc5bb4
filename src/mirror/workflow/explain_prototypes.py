"""The stage that opens the prototypes of a study's runs, and tells shared from private in what heads say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata
import numpy as np
import torch

from mirror.artefacts import remove, write_aside, write_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.data.places import tile_places
from mirror.errors import ConfigError
from mirror.evaluation.embed import NO_SLIDE, load_embeddings
from mirror.evaluation.metrics import Floats
from mirror.evaluation.prototypes import Membership, gene_shifts, membership, unit_rows
from mirror.evaluation.report.prototypes import Prototype, opened_prototype
from mirror.explain.caption import Caption
from mirror.explain.overlay import Example, Shown, draw_sheet, png
from mirror.explain.parts import PartShares, has_parts, head_shares, variance_shares
from mirror.explain.prototypes import (
    Association,
    Coverage,
    Stability,
    associations,
    corrected,
    coverage,
    stability,
)
from mirror.explain.targets import AGREEMENT, CLASS, Head, target_names
from mirror.ids import SlideId
from mirror.nn.canonical import CanonicalMirror
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explained import ExplainedRun, RunName, explained_run, places
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.prototypes import learned_directions, why_none
from mirror.workflow.slide_files import slide_entries
from mirror.workflow.slide_looks import looks_of

if TYPE_CHECKING:
    from mirror.slides.manifest import SlideEntry

DRAWN = 8
"""Prototypes whose tiles are drawn; prototypes.json names those of all."""
SLIDES_LOOKED, TILES, TILES_A_SLIDE = 8, 12, 3
"""Of a prototype, the slides nearest to it that are searched for tiles, the tiles named, and those of one slide."""


class NearTile(NamedTuple):
    """A tile near a prototype: its row in the feature file, its place in level-0 px where known, and the cosine of the
    slide that it alone would be with the prototype."""

    slide: str
    tile: int
    x: int | None
    y: int | None
    closeness: float


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


class _Loaded(NamedTuple):
    embeddings: anndata.AnnData
    directions: Floats
    found: Membership


def explain_prototypes(
    config: Config,
    *,
    run: RunName | None = None,
    slides: Path | None = None,
    output: Path | None = None,
    progress: Progress = silent,
) -> ExplainedPrototypes:
    """Open the prototypes of every run of the configuration, or of `run` alone, and write prototypes.json: to `output`,
    where it is given, as it would be to the folder of the explanations.

    Where slide files are (`slides`, else as `slide_entries` knows them), prototypes.png shows the nearest tiles of the
    largest prototypes. Stability is over all runs of the configuration in either case. Raises `ConfigError` where the
    preset learns no prototypes, `ArtefactError` where runs are not trained or not embedded.
    """
    reason = why_none(config)
    if reason is not None:
        raise ConfigError(f"the models of '{config.name}' (preset {config.preset}) have no prototypes: {reason}")
    cohort = prepare_cohort(config, keep=False, progress=progress)
    every = [RunName(seed, fold.number) for seed, fold in wanted_runs(config, cohort, fold=None, seed=None)]
    if run is not None and run not in every:
        wanted_runs(config, cohort, fold=run.fold, seed=run.seed)  # says what there is
    names = every if run is None else [run]
    loaded: dict[RunName, _Loaded] = {}
    explained: dict[RunName, ExplainedRun] = {}
    for number, name in enumerate(every):
        progress(number, 2 * len(every), f"{name}, reading")
        explained[name] = explained_run(config, cohort, name)
        loaded[name] = _load(config, explained[name])
    entries = slide_entries(config, slides, None)
    tests: list[Association] = []
    parts: dict[str, tuple[PartShares, ...]] = {}
    opened: list[RunPrototypes] = []
    classes = explained[names[0]].table.classes
    for number, name in enumerate(names):
        progress(len(every) + number * len(every) / len(names), 2 * len(every), f"{name}, opening")
        tests += associations(str(name), loaded[name].found, cohort.patients, classes)
        opened.append(_opened(explained[name], loaded, name))
        if has_parts(explained[name].trained.model):
            parts[str(name)] = tuple(_parts(explained[name]))
    progress(1, 1)
    no_parts = None if parts else f"the preset {config.preset} does not tell shared and private parts apart"
    written = places(config, run, output)
    notes: dict[str, tuple[str, ...]] = {}
    result = ExplainedPrototypes(written.folder, tuple(opened), tuple(corrected(tests)), parts, no_parts, notes)
    for one in opened:
        own = [test for test in result.tests if test.run == str(one.run)]
        place = written.of(one.run)
        notes |= _draw(place / "prototypes.png", one, entries, cohort, config.name)
        write_json(place / "prototypes.json", _run_json(one, own, parts.get(str(one.run), ())))
    if run is None:
        write_json(written.folder / "prototypes.json", study_json(result))
    return result


def study_json(found: ExplainedPrototypes) -> dict[str, Any]:
    """What a study's runs have in common; each run's own prototypes.json has its prototypes."""
    return {
        "runs": [_facts(one) for one in found.runs],
        "tests": [_test_json(one) for one in found.tests],
        "parts": {run: [_share_json(one) for one in shares] for run, shares in found.parts.items()},
        "no_parts": found.no_parts,
        "notes": {slide: list(own) for slide, own in found.notes.items()},
    }


def _load(config: Config, one: ExplainedRun) -> _Loaded:
    directions = learned_directions(config, one.folder)
    embeddings = load_embeddings(one.folder.embeddings)
    found = None if directions is None else membership(embeddings, directions)
    if directions is None or found is None:
        raise ConfigError(f"{one.folder.path} has no prototypes or no aligned views; run `mirror embed` again")
    return _Loaded(embeddings, directions, found)


def _opened(one: ExplainedRun, loaded: Mapping[RunName, _Loaded], name: RunName) -> RunPrototypes:
    own = loaded[name]
    seeds = [other for run, other in loaded.items() if run.fold == name.fold and run.seed != name.seed]
    folds = [other for run, other in loaded.items() if run.seed == name.seed and run.fold != name.fold]
    by_seed, by_fold = (_stabilities(own, others) for others in (seeds, folds))
    roles = dict(zip(own.found.patients, own.found.roles, strict=True))
    members = {number: own.found.members(number) for number in own.found.in_use}
    shifts = gene_shifts(one.cohort.expression, {number: set(names) for number, names in members.items()})
    store = FeatureStore(one.cohort.paths, keep_open=1)
    model = one.trained.model
    assert isinstance(model, CanonicalMirror)  # others have no learned directions
    opened: list[OpenedPrototype] = []
    for number, names in members.items():
        slides = _slides(own, number, names)
        opened.append(
            OpenedPrototype(
                opened_prototype(number, names, one.cohort.patients, roles, shifts),
                tuple(slides),
                tuple(_near_tiles(model, store, slides[:SLIDES_LOOKED], own.directions[number])),
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


def _stabilities(own: _Loaded, others: Sequence[_Loaded]) -> list[Stability]:
    found = (stability(own.found, other.found) for other in others)
    return [one for one in found if one is not None]


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _draw(
    path: Path, one: RunPrototypes, entries: Mapping[SlideId, SlideEntry], cohort: Cohort, name: str
) -> dict[str, tuple[str, ...]]:
    """The contact sheet, of those tiles whose slide file and place are known; none of them, no sheet. What is wrong
    with a slide's file, by slide."""
    remove(path)  # an earlier call's may show what this one cannot
    told: dict[str, tuple[str, ...]] = {}
    sections: list[tuple[str, list[Example]]] = []
    store, side_um = FeatureStore(cohort.paths, keep_open=1), None
    for opened in one.prototypes[:DRAWN]:
        pictures: list[Example] = []
        for slide in dict.fromkeys(tile.slide for tile in opened.tiles):
            entry, places = entries.get(SlideId(slide)), tile_places(store.bag(slide))
            if entry is None or places is None:
                continue
            near = [tile for tile in opened.tiles if tile.slide == slide]
            notes: list[str] = []
            otherwise = "there are no pictures of its tiles"
            looks = looks_of(entry, places, (tile.tile for tile in near), otherwise=otherwise, notes=notes)
            if notes:
                told[slide] = tuple(notes)
            if looks is None:
                continue
            side_um = None if looks.mpp is None else places.side * looks.mpp
            corners = (tuple(places.coords[tile.tile].tolist()) for tile in near)
            pictures += [
                Example(looks.tiles[corner], tile.tile, tile.closeness, slide)
                for corner, tile in zip(corners, near, strict=True)
            ]
        if pictures:
            pictures.sort(key=lambda example: -example.value)
            patients, tested = len(opened.found.patients), opened.found.tested
            heading = f"prototype {opened.found.title}: {patients} patients, {tested} of them test patients"
            sections.append((heading, pictures))
    if not sections:
        return told
    values = np.array([example.value for _, examples in sections for example in examples])
    shown = Shown("closeness", values, "cosine of the tile with the prototype", signed=False)
    looked = f"at most {TILES_A_SLIDE} tiles of a slide, of the {SLIDES_LOOKED} slides nearest to each"
    caption = Caption(
        f"{name}: tiles nearest to the {len(sections)} largest prototypes", (f"model of run {one.run}; {looked}",)
    )
    with write_aside(path) as aside:
        aside.write_bytes(png(draw_sheet(sections, shown, caption, side_um=side_um)))
    return told


def _slides(own: _Loaded, number: int, names: Sequence[str]) -> list[str]:
    """The slides of a prototype's patients, the nearest to it first."""
    obs = own.embeddings.obs
    wanted = obs["patient"].astype(str).isin(set(names)).to_numpy()
    wanted &= ~np.array([str(slide).startswith(NO_SLIDE) for slide in obs.index])
    views = np.asarray(own.embeddings.obsm["X_align_slide"], dtype=np.float64)[wanted]
    closeness = unit_rows(views) @ unit_rows(own.directions[number][None])[0]
    order = np.argsort(-closeness, kind="stable")
    return [str(slide) for slide in obs.index[wanted][order]]


@torch.no_grad()
def _near_tiles(
    model: CanonicalMirror, store: FeatureStore, slides: Sequence[str], direction: Floats
) -> list[NearTile]:
    unit = unit_rows(direction[None])[0]
    found: list[NearTile] = []
    for slide in slides:
        bag = store.bag(slide)
        tiles_TD = torch.from_numpy(bag.read())
        embedded = model.embed_slide(tiles_TD[:, None])
        nothing = torch.full((len(tiles_TD), model.expression_width), torch.nan)
        views = model.views(embedded, nothing)["X_align_slide"].double().numpy()
        closeness = unit_rows(views) @ unit
        places = tile_places(bag)
        for row in np.argsort(-closeness, kind="stable")[:TILES_A_SLIDE]:
            x, y = (None, None) if places is None else map(int, places.coords[row])
            found.append(NearTile(slide, int(row), x, y, float(closeness[row])))
    return sorted(found, key=lambda tile: -tile.closeness)[:TILES]


def _parts(one: ExplainedRun) -> list[PartShares]:
    """Of the representation, of the last class where there are two (of both it is the same), and of the risk."""
    model = one.trained.model
    assert isinstance(model, CanonicalMirror)
    rows = one.table.rows(sorted(one.fold.test))
    fused = one.table.views["fused"][rows] if "fused" in one.table.views else np.empty((0, 1))
    fused = fused[~np.isnan(fused).any(axis=1)]
    if len(fused) < 2:
        return []
    names = [name for name in target_names(one.table) if name != AGREEMENT]
    classes = [name for name in names if name.startswith(CLASS)]
    names = [name for name in names if len(classes) != 2 or name != classes[0]]
    heads = [target for target in one.targets(names, "fused") if isinstance(target, Head)]
    return [variance_shares(model, fused), *(head_shares(one.name, model, one.weights, fused) for one in heads)]


def _facts(one: RunPrototypes) -> dict[str, Any]:
    return {
        "run": str(one.run),
        "coverage": one.coverage._asdict(),
        "adjusted_rand_over_seeds": one.rand_seeds,
        "adjusted_rand_over_folds": one.rand_folds,
    }


def _run_json(one: RunPrototypes, tests: Sequence[Association], parts: Sequence[PartShares]) -> dict[str, Any]:
    return {
        **_facts(one),
        "prototypes": [
            {
                **opened.found._asdict(),
                "genes": [shift._asdict() for shift in opened.found.genes],
                "slides": opened.slides,
                "tiles": [tile._asdict() for tile in opened.tiles],
                "best_match_over_seeds": opened.match_seeds,
                "best_match_over_folds": opened.match_folds,
            }
            for opened in one.prototypes
        ],
        "tests": [_test_json(test) for test in tests],
        "parts": [_share_json(share) for share in parts],
    }


def _share_json(one: PartShares) -> dict[str, Any]:
    return {"of": one.of, "patients": one.patients, **{name: _number(share) for name, share in one.shares.items()}}


def _test_json(one: Association) -> dict[str, Any]:
    return {name: _number(value) for name, value in one._asdict().items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
