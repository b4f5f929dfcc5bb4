"""Where on the slide: relevance of every tile for numbers of its patient, as a table, pictures and QuPath's GeoJSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mirror.artefacts import remove, write_aside, write_json
from mirror.config import Config, FeaturesConfig
from mirror.data.cohort import Cohort
from mirror.data.feature_store import Bag, FeatureStore, find_bags
from mirror.data.places import places_or_reason
from mirror.data.slide_table import ReadOwners, read_slides
from mirror.errors import ArtefactError, ConfigError, raise_together
from mirror.explain.relevance_file import read_relevance_file
from mirror.ids import SlideId
from mirror.tasks.trained import FeatureKind
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.explained import RunName, explain_folder, explained_run, run_judging
from mirror.workflow.slide_files import SlideLookup, slide_entries
from mirror.workflow.slide_layers import Asked, Fitted, facts_of, layers_of
from mirror.workflow.slide_pictures import EMPTY_MAP, draw_layers


class Wanted(NamedTuple):
    """What to explain, None where all or the default is meant: names of slides, what of each, by which run; `slides`
    where slide files are, `features` a folder of slides that are not the cohort's."""

    names: Sequence[str] | None = None
    asked: Asked = Asked()
    run: RunName | None = None
    slides: Path | None = None
    features: Path | None = None
    output: Path | None = None


class ExplainedSlide(NamedTuple):
    """What was written of a slide. `notes` say what could not be, and why; no layers and no files where its features
    could not be read."""

    slide: str
    patient: str
    role: str
    run: str
    folder: Path
    layers: tuple[dict[str, Any], ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]


_SEEN = {
    "train": "which was TRAINED on this patient",
    "test": "which has not seen this patient (test half)",
    "unused": "which has not seen this patient (in neither half)",
    "new": "which has not seen this patient (not of the cohort)",
}


class _Item(NamedTuple):
    """A slide, whose it is, by which run; and the slide of the cohort whose features a new one has, to the last bit."""

    slide: str
    patient: str
    run: RunName
    same_as: str | None = None


class _Given(NamedTuple):
    """The slides to explain, and those whose features cannot be read, with the reason; of new ones, what they are."""

    store: FeatureStore
    items: list[_Item]
    kind: FeatureKind | None = None
    unread: Sequence[tuple[_Item, str]] = ()


def explain_slides(
    config: Config, wanted: Wanted, *, cohort: Cohort | None = None, progress: Progress = silent
) -> list[ExplainedSlide]:
    """Explain slides of the cohort, each by a model that has not seen its patient, or new ones (`features`).

    `cohort` is that of the configuration as the caller holds it already, who answers for its being of today's tables.
    Raises `ConfigError` for names that there are not, or a method that is not offered, `DataError` for features that do
    not fit the model.
    """
    if cohort is None:
        cohort = prepare_cohort(config, keep=False, progress=progress)
    given = _of_cohort(config, cohort, wanted) if wanted.features is None else _new(config, cohort, wanted)
    store, items = given.store, given.items
    scans = SlideLookup(slide_entries(config, wanted.slides, wanted.features), wanted.slides)
    found: list[ExplainedSlide] = []
    fitted: Fitted | None = None
    for number, item in enumerate(items):
        progress(number, len(items), item.slide)
        if fitted is None or fitted.run.name != item.run:
            explained = explained_run(config, cohort, item.run)
            fitted = Fitted(explained, (wanted.output or explained.output) / "fitted.safetensors")
            if given.kind is not None:
                fitted.run.trained.check_fits(given.kind)
        found.append(_explain(fitted, item, store.bag(item.slide), wanted, scans))
    progress(len(items), len(items))
    return [*found, *(_unread(config, item, reason, wanted) for item, reason in given.unread)]


def _of_cohort(config: Config, cohort: Cohort, wanted: Wanted) -> _Given:
    owners = dict(zip(cohort.slides["slide"], cohort.slides["patient"].astype(str), strict=True))
    names = list(owners) if wanted.names is None else [SlideId(name) for name in dict.fromkeys(wanted.names)]
    strange = (f"'{name}'{_slides_of(name, owners)}" for name in names if name not in owners)
    raise_together(ConfigError, "no such slide in this cohort (new ones are given with --features):", strange)
    judged = {patient for fold in cohort.folds for patient in fold.test}
    if wanted.names is None and wanted.run is None:
        names = [name for name in names if owners[name] in judged]
    items = [_Item(name, owners[name], wanted.run or run_judging(cohort, config, owners[name])) for name in names]
    return _Given(FeatureStore(cohort.paths, keep_open=1), sorted(items, key=lambda item: (item.run, item.slide)))


def _slides_of(name: str, owners: Mapping[SlideId, str]) -> str:
    """Where a patient was named instead of a slide."""
    own = [slide for slide, patient in owners.items() if patient == name]
    return f" is a patient, with the slides {', '.join(own)}" if own else ""


def _new(config: Config, cohort: Cohort, wanted: Wanted) -> _Given:
    """Slides of a folder of features; without expression, each is its own patient.

    Raises `DataError` where none of them can be read.
    """
    assert wanted.features is not None
    every = list(find_bags(wanted.features, given_as="--features"))
    names = every if wanted.names is None else [SlideId(name) for name in dict.fromkeys(wanted.names)]
    raise_together(
        ConfigError,
        f"{wanted.features} has no features of these slides:",
        (name for name in names if name not in every),
    )
    read = read_slides(
        ReadOwners({name: name for name in names}, (), len(names), str(wanted.features)),
        FeaturesConfig(path=wanted.features, on_bad="exclude"),
    )
    store = FeatureStore({row.slide: row.path for row in read.slides}, keep_open=1)
    run = wanted.run or RunName(config.seeds[0], cohort.folds[0].number)
    unread = {one.item: one.reason for one in read.excluded if one.kind == "slide"}
    known = dict(zip(cohort.slides["feature_hash"], cohort.slides["slide"], strict=True))
    same = {row.slide: known.get(row.summary.feature_hash) for row in read.slides}
    items = [_Item(name, name, run, same.get(name)) for name in names]
    return _Given(
        store,
        [item for item in items if item.slide not in unread],
        FeatureKind(read.slides[0].summary.width, read.encoder, read.scale),
        [(item, unread[item.slide]) for item in items if item.slide in unread],
    )


def _unread(config: Config, item: _Item, reason: str, wanted: Wanted) -> ExplainedSlide:
    """Of a slide whose features cannot be read, nothing; what an earlier call left of it is of other features."""
    folder = (wanted.output or explain_folder(config, item.run)) / "slides" / item.slide
    notes = [f"left out: {reason}"]
    if folder.exists():
        notes.append(f"what an earlier call made of it is still in {folder}")
    return ExplainedSlide(item.slide, item.patient, "new", str(item.run), folder, (), (), tuple(notes))


def _explain(
    fitted: Fitted,
    item: _Item,
    bag: Bag,
    wanted: Wanted,
    scans: SlideLookup,
) -> ExplainedSlide:
    run = fitted.run
    subject = fitted.subject(bag.read(), item.patient)
    notes: list[str] = []
    layers = layers_of(fitted, subject, wanted.asked, notes)
    if list(run.cohort.owners.values()).count(item.patient) > 1:
        notes.append(
            "this patient has other slides too: a number here is of this slide alone, and heads are fitted and judged "
            "on the mean over a patient's slides"
        )
    places, unplaced = places_or_reason(bag)
    if places is None:
        notes.append(f"{unplaced}: a table, and no pictures nor GeoJSON")
    folder = (wanted.output or run.output) / "slides" / item.slide
    owner = run.cohort.owners.get(item.same_as or item.slide)
    role = run.role(item.patient if item.same_as is None or owner is None else owner)
    if item.same_as is not None:
        notes.append(
            f"these are the features of the cohort's slide {item.same_as}, of patient {owner} ({role} of {run.name}): "
            "it is not new; leave --features out"
        )
    elif wanted.features is not None and owner is not None:
        notes.append(
            f"the cohort has a slide of this name, of patient {owner} ({run.role(owner)} of {run.name}): if it is the "
            "same, it is not new to the model; leave --features out"
        )
    table = pd.DataFrame({"tile": np.arange(bag.tiles, dtype=np.int32)})
    if places is not None:
        table["x"], table["y"] = places.coords.astype(np.int32).T
    for layer in layers:
        table[layer.name] = layer.found.values.astype(np.float32)
    gone = [name for name in _clear(folder) if name not in table.columns]
    if gone:
        notes.append(
            f"an earlier call's {', '.join(gone)} made way, with their pictures: a slide has the layers of one call; "
            "ask for all of them together, or name another --output"
        )
    with write_aside(folder / "relevance.parquet") as aside:
        table.to_parquet(aside, index=False)
    files, origin = ["relevance.parquet"], None
    if places is not None:
        model = f"patient {item.patient}; model of run {run.name}, {_SEEN[role]}"
        entry = scans.entries.get(SlideId(item.slide))
        if entry is None:
            notes.append(f"{scans.lacking(item.slide)}: {EMPTY_MAP}")
        drawn = draw_layers(folder, item.slide, layers, places, entry, model=model, notes=notes)
        files, origin = [*files, *drawn.files], drawn.origin
    facts = tuple(facts_of(layer) for layer in layers)
    about = {
        "slide": item.slide,
        "patient": item.patient,
        "role": role,
        "run": str(run.name),
        "model": run.trained.fingerprint,
        "preset": run.trained.preset,
        "tiles": bag.tiles,
        "tile_level0_px": None if places is None else places.side,
        "tile_level0_px_from": None if places is None else places.side_from,
        "mpp": None if places is None else places.mpp,
        "geojson_origin": origin,
        "layers": facts,
        "files": files,
        "notes": notes,
    }
    # Last: it says that the others are complete.
    write_json(folder / "relevance.json", about)
    return ExplainedSlide(
        item.slide, item.patient, role, str(run.name), folder, facts, (*files, "relevance.json"), tuple(notes)
    )


def _clear(folder: Path) -> list[str]:
    """Remove what an earlier call left of a slide, so that pictures are always those of the table beside them; the
    names of its layers, as far as they can be read."""
    layers: list[str] = []
    if (folder / "relevance.json").exists():
        with suppress(ArtefactError):  # a damaged one is removed like any other
            layers = [layer.name for layer in read_relevance_file(folder / "relevance.json").layers]
    for pattern in ("relevance.json", "relevance.geojson", "overlay-*.png", "tiles-*.png"):
        for path in folder.glob(pattern):
            remove(path)
    return layers
